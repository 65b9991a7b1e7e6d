"""Who a face is: `FaceRecognitionNet` of face-api.js, dlib's residual network with batch normalisation as scales."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.networks.face_blocks import MEAN, FullConv, check_sizes, normalized
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params

_MOST_BLOCKS = 256


@dataclasses.dataclass(frozen=True)
class FaceRecognitionConfig:
    """The architecture; face-api's (and dlib's) by default.

    Attributes:
        resolution: Side of the chips in pixels.
        width: Channels of the first stage; each other one has twice as many.
        blocks: Residual blocks that keep the size, per stage; one that halves it lies before each other stage and one
            after the last.
        dimensions: Length of the embedding.
    """

    resolution: int = 150
    width: int = 32
    blocks: tuple[int, ...] = (3, 3, 2, 2)
    dimensions: int = 128

    def __post_init__(self):
        if not 1 <= len(self.blocks) <= 8 or sum(self.blocks) > _MOST_BLOCKS or self.dimensions < 1:
            raise ValueError(
                f"blocks are {self.blocks}, dimensions {self.dimensions}; 1 to 8 stages, at most {_MOST_BLOCKS} blocks "
                "and a positive length would be right"
            )
        check_sizes(self.resolution, self.widths, smallest=4 * (3 << (len(self.blocks) - 1)) + 7)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.width << stage for stage in range(len(self.blocks)))


class Scale(nn.Module):
    """Each channel times a number, plus a number."""

    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return x * scale[None, None] + bias[None, None]


class ScaledConv(nn.Module):
    """A convolution and its scale; no zeros lie around the image where it has a stride."""

    features: int
    size: int = 3
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        x = FullConv(self.features, self.size, self.stride, padded=self.stride == 1, name="conv")(x)
        return Scale(name="scale")(x)


class Residual(nn.Module):
    """Two convolutions around a shortcut; with `down` the size is halved, the shortcut averaged, and zeros are added
    to whichever of the two has fewer pixels or channels."""

    features: int
    down: bool = False

    @nn.compact
    def __call__(self, x):
        y = nn.relu(ScaledConv(self.features, stride=2 if self.down else 1, name="conv1")(x))
        y = ScaledConv(self.features, name="conv2")(y)
        if self.down:
            height, width, channels = x.shape[0] // 2, x.shape[1] // 2, x.shape[2]
            x = jnp.mean(x[: 2 * height, : 2 * width].reshape(height, 2, width, 2, channels), axis=(1, 3))
            x = jnp.pad(x, ((0, 0), (0, 0), (0, self.features - channels)))
            y = jnp.pad(y, ((0, height - y.shape[0]), (0, width - y.shape[1]), (0, 0)))
        return nn.relu(x + y)


class FaceRecognitionNetwork(nn.Module):
    """One chip to `[dimensions]`."""

    config: FaceRecognitionConfig

    @nn.compact
    def __call__(self, chip):
        config = self.config
        x = nn.relu(ScaledConv(config.width, 7, 2, name=f"conv{config.width}_down")(normalized(chip, MEAN)))
        x = nn.max_pool(x, (3, 3), strides=(2, 2))
        for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
            if stage:
                x = Residual(width, True, name=f"conv{width}_down")(x)
            for block in range(blocks):
                x = Residual(width, name=f"conv{width}_{block + 1}")(x)
        x = Residual(width, True, name=f"conv{width}_down_out")(x)
        return nn.Dense(config.dimensions, use_bias=False, name="fc")(jnp.mean(x, axis=(0, 1)))


def init(key: Key[Array, ""], *, config: FaceRecognitionConfig) -> Params:
    """Draws the parameters of an untrained network.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ...}`, float32; below that the official names.
    """
    variables: Any = FaceRecognitionNetwork(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def embed(
    params: Params, chip: Float[Array, "resolution resolution 3"], *, config: FaceRecognitionConfig
) -> Float[Array, " dimensions"]:
    """Describes who a face is.

    Args:
        params: As made by `init`.
        chip: `[resolution, resolution, 3]` float32 RGB about [-1, 1]: the aligned face, see
            `networks.face_crops.chip_of`.
        config: The architecture.

    Returns:
        `[dimensions]`, not normalised. Of the official weights, two of one person are mostly less than 0.6 apart
        (Euclidean distance), and so are about 3 % of those of others, most of them children.
    """
    embedding: Any = FaceRecognitionNetwork(config).apply(params, chip)
    return embedding


@flax.struct.dataclass(repr=False)
class FaceRecognition(Described):
    """A recognition network as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: FaceRecognitionConfig = flax.struct.field(pytree_node=False)

    def __call__(self, chip: Float[Array, "resolution resolution 3"]) -> Float[Array, " dimensions"]:
        """See `embed`."""
        return embed(self.params, chip, config=self.config)
