"""Parsing from the feature maps of a generator: a linear probe of every layer (Xu and Zheng, 2021, LinearGAN).

What a generator draws can be read off its feature maps linearly, so that a hundred labelled samples are enough where a
parser of images takes tens of thousands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params


@dataclasses.dataclass(frozen=True)
class FeatureParserConfig:
    """The architecture.

    Attributes:
        widths: Channels of the feature maps, from the first layer to the last.
        classes: Number of classes.
        resolution: Side of the parsing, in pixels.
    """

    widths: tuple[int, ...]
    classes: int = 19
    resolution: int = 256

    def __post_init__(self):
        if not self.widths or min(*self.widths, self.classes, self.resolution) < 1:
            raise ValueError(f"widths {self.widths}, {self.classes} classes at {self.resolution} px: all are positive")


def init(key: Key[Array, ""], *, config: FeatureParserConfig) -> Params:
    """Draws the parameters of an untrained probe.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"layer0": [channels, classes], ..., "bias": [classes]}`, float32.
    """
    keys = jax.random.split(key, len(config.widths))
    layers = {
        f"layer{index}": 0.01 * jax.random.normal(keys[index], (width, config.classes))
        for index, width in enumerate(config.widths)
    }
    return {**layers, "bias": jnp.zeros(config.classes)}


def segment(
    params: Params, features: Sequence[Float[Array, "_ _ _"]], *, config: FeatureParserConfig
) -> Float[Array, "resolution resolution classes"]:
    """Scores the classes of every pixel: the sum of a 1x1 convolution of each map, enlarged bilinearly.

    Args:
        params: As made by `init`.
        features: `[height, width, channels]` float32 each, as from `directions.local.feature_maps`.
        config: The architecture.

    Returns:
        `[resolution, resolution, classes]` logits. `LSE` of LinearGAN, whose weights of the layers are part of the
        convolutions here.

    Raises:
        ValueError: Feature maps of other numbers of channels.
    """
    if (widths := tuple(maps.shape[-1] for maps in features)) != config.widths:
        raise ValueError(f"feature maps of {widths} channels; this probe reads {config.widths}")
    by_size: dict[tuple[int, ...], Any] = {}
    for index, maps in enumerate(features):
        scores = jnp.einsum("hwi,io->hwo", maps, params[f"layer{index}"], preferred_element_type=jnp.float32)
        by_size[scores.shape] = by_size.get(scores.shape, 0) + scores
    size = (config.resolution, config.resolution, config.classes)
    enlarged = [jax.image.resize(scores, size, "linear") for scores in by_size.values()]
    return sum(enlarged, params["bias"][None, None])


@flax.struct.dataclass(repr=False)
class FeatureParser(Described):
    """A probe as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: FeatureParserConfig = flax.struct.field(pytree_node=False)

    def __call__(self, features: Sequence[Float[Array, "_ _ _"]]) -> Float[Array, "resolution resolution classes"]:
        """See `segment`."""
        return segment(self.params, features, config=self.config)

    def parse(self, features: Sequence[Float[Array, "_ _ _"]]) -> Int[Array, "resolution resolution"]:
        """The likeliest class of every pixel, int32."""
        return jnp.argmax(self(features), axis=-1).astype(jnp.int32)
