"""SE-ResNet-50 (Hu et al., "Squeeze-and-Excitation Networks", 2018) of VGGFace2: who a face is, or its attributes.

Names and shapes are those of `VGGFace2-pytorch:models/senet.py`. SGF's attribute classifier is this network, fine-tuned
with another head.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.networks.bottleneck import BottleneckConfig, BottleneckTrunk
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params

_MEAN = (91.4953, 103.8827, 131.0912)  # of VGGFace2, for BGR from 0 to 255
_SQUEEZE = 16
_SMALLEST_IMAGE, _LARGEST_IMAGE, _MOST_CLASSES = 8, 1 << 13, 1 << 15


@dataclasses.dataclass(frozen=True)
class SEResNet50Config(BottleneckConfig):
    """The architecture; `senet50` of VGGFace2-pytorch by default.

    Attributes:
        width: See `BottleneckConfig`; 4 or more.
        blocks: See `BottleneckConfig`.
        dilations: See `BottleneckConfig`; all 1 in the official one.
        resolution: Side to which images are resized.
        classes: Length of the output: identities, or attributes.
    """

    resolution: int = 224
    classes: int = 8631

    def __post_init__(self):
        super().__post_init__()
        if self.width < 4:
            raise ValueError(f"width is {self.width}; blocks that weigh their channels need 4 or more")
        if not _SMALLEST_IMAGE <= self.resolution <= _LARGEST_IMAGE:
            raise ValueError(f"resolution is {self.resolution}; it has to be {_SMALLEST_IMAGE} to {_LARGEST_IMAGE}")
        if not 1 <= self.classes <= _MOST_CLASSES:
            raise ValueError(f"classes is {self.classes}; it has to be 1 to {_MOST_CLASSES}")


class SEResNet(nn.Module):
    """One image to logits and pooled features; the trunk's parameters lie beside the head's, as in the official one."""

    config: SEResNet50Config
    train: bool = False

    def setup(self):
        self.trunk = BottleneckTrunk(self.config, caffe=True, padding=0, squeeze=_SQUEEZE, train=self.train)
        nn.share_scope(self, self.trunk)
        self.fc = nn.Dense(self.config.classes)

    def __call__(self, image):
        side = self.config.resolution
        image = jax.image.resize(image, (side, side, 3), "linear", antialias=True)
        pixels = 127.5 * image[..., ::-1] + 127.5 - jnp.asarray(_MEAN, image.dtype)[None, None]
        features = jnp.mean(self.trunk(pixels)[-1], axis=(0, 1))
        return self.fc(features), features


def init(key: Key[Array, ""], *, config: SEResNet50Config) -> Params:
    """Draws the parameters of an untrained network.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ..., "batch_stats": ...}`, float32; below that the official names, with kernels HWIO.
    """
    variables: Any = SEResNet(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def classify(
    params: Params, image: Float[Array, "height width 3"], *, config: SEResNet50Config
) -> Float[Array, " classes"]:
    """Scores the identities, or the attributes, of a face.

    Args:
        params: As made by `init`.
        image: `[height, width, 3]` float32 RGB about [-1, 1], a square crop about the face. Where it is not of
            `config.resolution`, it is resized, bilinearly and with antialiasing where it gets smaller.
        config: The architecture.

    Returns:
        `[classes]` logits; equal to `SENet` of VGGFace2-pytorch for an image of 224 px.
    """
    outputs: Any = SEResNet(config).apply(params, image)
    return outputs[0]


def pooled_features(
    params: Params, image: Float[Array, "height width 3"], *, config: SEResNet50Config
) -> Float[Array, " features"]:
    """Describes a face by the features that its classes are read from.

    Args:
        params: As made by `init`.
        image: As for `classify`.
        config: The architecture.

    Returns:
        `[features]`, not negative, 2048 of the official network; equal to `SENet` with `include_top=False`.
    """
    outputs: Any = SEResNet(config).apply(params, image)
    return outputs[1]


@flax.struct.dataclass(repr=False)
class SEResNet50(Described):
    """A network as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: SEResNet50Config = flax.struct.field(pytree_node=False)

    def __call__(self, image: Float[Array, "height width 3"]) -> Float[Array, " classes"]:
        """See `classify`."""
        return classify(self.params, image, config=self.config)

    def pooled_features(self, image: Float[Array, "height width 3"]) -> Float[Array, " features"]:
        """See `pooled_features`."""
        return pooled_features(self.params, image, config=self.config)
