"""Identity embedding: residual trunk, then a point on the unit sphere; the cosine says how alike two identities are."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from jaxedit.networks.resnet import ResNet, ResNetConfig
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params


@dataclasses.dataclass(frozen=True)
class EmbeddingConfig(ResNetConfig):
    """The architecture; the avatars' identity network by default.

    Attributes:
        resolution: See `ResNetConfig`; images have to be of this size.
        widths: See `ResNetConfig`.
        blocks: See `ResNetConfig`.
        input_stride: See `ResNetConfig`.
        dimensions: Length of the embedding.
        numbers: Measures of the identity that are estimated beside it in training, which lets it learn faster.
    """

    resolution: int = 64
    widths: tuple[int, ...] = (16, 32, 64, 64)
    blocks: int = 1
    input_stride: int = 2
    dimensions: int = 128
    numbers: int = 20


class EmbeddingNetwork(nn.Module):
    """One image to a unit vector, and estimates of the identity's numbers."""

    config: EmbeddingConfig
    train: bool = False

    @nn.compact
    def __call__(self, image):
        features = ResNet(self.config, self.train, name="trunk")(image)[-1].reshape(-1)
        x = nn.Dense(self.config.dimensions, name="head")(features)
        numbers = nn.Dense(self.config.numbers, name="numbers")(features)
        return x * lax.rsqrt(jnp.sum(jnp.square(x)) + 1e-12), numbers


def init(key: Key[Array, ""], *, config: EmbeddingConfig) -> Params:
    """Draws the parameters of an untrained network.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ..., "batch_stats": ...}`, float32.
    """
    variables: Any = EmbeddingNetwork(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def embed(
    params: Params, image: Float[Array, "resolution resolution 3"], *, config: EmbeddingConfig
) -> Float[Array, " dimensions"]:
    """Describes who is in an image.

    Args:
        params: As made by `init`.
        image: `[resolution, resolution, 3]` float32 RGB about [-1, 1].
        config: The architecture.

    Returns:
        `[dimensions]` of length 1; the dot product of two is their cosine.
    """
    found: Any = EmbeddingNetwork(config).apply(params, image)
    return found[0]


@flax.struct.dataclass(repr=False)
class IdentityEmbedding(Described):
    """An identity network as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: EmbeddingConfig = flax.struct.field(pytree_node=False)

    def __call__(self, image: Float[Array, "resolution resolution 3"]) -> Float[Array, " dimensions"]:
        """See `embed`."""
        return embed(self.params, image, config=self.config)
