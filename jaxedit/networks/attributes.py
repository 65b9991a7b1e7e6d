"""Attribute classifier: residual trunk, global average, one logit per attribute."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.networks.resnet import ResNet, ResNetConfig
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params


@dataclasses.dataclass(frozen=True)
class AttributesConfig(ResNetConfig):
    """The architecture; the avatars' classifier by default.

    Attributes:
        resolution: See `ResNetConfig`.
        widths: See `ResNetConfig`; the last is the number of pooled features.
        blocks: See `ResNetConfig`.
        input_stride: See `ResNetConfig`.
        attributes: Number of binary attributes.
    """

    resolution: int = 64
    widths: tuple[int, ...] = (16, 32, 64, 128)
    blocks: int = 1
    input_stride: int = 2
    attributes: int = 12


class AttributeNetwork(nn.Module):
    """One image to logits and pooled features."""

    config: AttributesConfig
    train: bool = False

    @nn.compact
    def __call__(self, image):
        features = jnp.mean(ResNet(self.config, self.train, name="trunk")(image)[-1], axis=(0, 1))
        return nn.Dense(self.config.attributes, name="head")(features), features


def init(key: Key[Array, ""], *, config: AttributesConfig) -> Params:
    """Draws the parameters of an untrained classifier.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ..., "batch_stats": ...}`, float32.
    """
    variables: Any = AttributeNetwork(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def classify(
    params: Params, image: Float[Array, "height width 3"], *, config: AttributesConfig
) -> Float[Array, " attributes"]:
    """Scores the attributes of an image.

    Args:
        params: As made by `init`.
        image: `[height, width, 3]` float32 RGB about [-1, 1].
        config: The architecture.

    Returns:
        `[attributes]` logits; positive means present, `sigmoid` gives probabilities.
    """
    outputs: Any = AttributeNetwork(config).apply(params, image)
    return outputs[0]


def pooled_features(
    params: Params, image: Float[Array, "height width 3"], *, config: AttributesConfig
) -> Float[Array, " features"]:
    """Describes an image by the features that the attributes are read from, for Frechet distances.

    Args:
        params: As made by `init`.
        image: `[height, width, 3]` float32 RGB about [-1, 1].
        config: The architecture.

    Returns:
        `[features]`, not negative; as many as the last of `config.widths`.
    """
    outputs: Any = AttributeNetwork(config).apply(params, image)
    return outputs[1]


def feature_maps(
    params: Params, image: Float[Array, "height width 3"], *, config: AttributesConfig
) -> tuple[Float[Array, "_ _ _"], ...]:
    """Describes an image by the features of every stage of the trunk, for losses that compare images.

    Args:
        params: As made by `init`.
        image: `[height, width, 3]` float32 RGB about [-1, 1].
        config: The architecture.

    Returns:
        For each stage `[height, width, features]`, not negative, each half the size of the one before.
    """
    outputs: Any = ResNet(config).apply({name: tree["trunk"] for name, tree in params.items()}, image)
    return outputs


@flax.struct.dataclass(repr=False)
class AttributeClassifier(Described):
    """A classifier as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: AttributesConfig = flax.struct.field(pytree_node=False)

    def __call__(self, image: Float[Array, "height width 3"]) -> Float[Array, " attributes"]:
        """See `classify`."""
        return classify(self.params, image, config=self.config)

    def pooled_features(self, image: Float[Array, "height width 3"]) -> Float[Array, " features"]:
        """See `pooled_features`."""
        return pooled_features(self.params, image, config=self.config)

    def feature_maps(self, image: Float[Array, "height width 3"]) -> tuple[Float[Array, "_ _ _"], ...]:
        """See `feature_maps`."""
        return feature_maps(self.params, image, config=self.config)
