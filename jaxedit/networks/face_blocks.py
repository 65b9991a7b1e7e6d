"""What the networks of face-api share: the units that they want, convolutions with bias, and the trunk of dense blocks.

Names and shapes are those of `face-api.js:src`. Its convolutions pad as TensorFlow's "same" does: where a stride leaves
an odd number of zeros, the one more lies to the right and below.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxedit.nn import conv2d
from jaxedit.nn.depthwise import depthwise_conv2d

MEAN = (122.782, 117.001, 104.298)
"""Subtracted from RGB in [0, 255] by all of them but the detector."""

_MOST_WIDTHS, _LARGEST_WIDTH, _LARGEST_IMAGE = 16, 1 << 12, 1 << 12


def check_sizes(resolution: int, widths: Sequence[int], *, smallest: int) -> None:
    """Refuses sizes that no such network can have.

    Args:
        resolution: Side of the images in pixels.
        widths: Channels of each stage.
        smallest: Least side that the stages leave a pixel of.

    Raises:
        ValueError: One of them is out of range.
    """
    if not smallest <= resolution <= _LARGEST_IMAGE:
        raise ValueError(f"resolution is {resolution}; {smallest} to {_LARGEST_IMAGE} would be right")
    if not 1 <= len(widths) <= _MOST_WIDTHS or not all(1 <= width <= _LARGEST_WIDTH for width in widths):
        raise ValueError(f"widths are {widths}; 1 to {_MOST_WIDTHS} of at most {_LARGEST_WIDTH} would be right")


@dataclasses.dataclass(frozen=True)
class DenseTrunkConfig:
    """The trunk of dense blocks; face-api's by default.

    Attributes:
        resolution: Side of the crops in pixels.
        widths: Channels of each block; each halves the size.
    """

    resolution: int = 112
    widths: tuple[int, ...] = (32, 64, 128, 256)

    def __post_init__(self):
        check_sizes(self.resolution, self.widths, smallest=1)


def normalized(
    image: Float[Array, "height width 3"], mean: tuple[float, float, float]
) -> Float[Array, "height width 3"]:
    """From RGB about [-1, 1] to what the networks were trained on: RGB in [0, 255] minus `mean`, over 255."""
    return (127.5 * image + (127.5 - jnp.asarray(mean, image.dtype))[None, None]) / 255


class FullConv(nn.Module):
    """Convolution with bias, padded as TensorFlow's "same" or, with `padded=False`, not at all ("valid")."""

    features: int
    size: int = 3
    stride: int = 1
    padded: bool = True

    @nn.compact
    def __call__(self, x):
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        missing = [
            self.size - self.stride if n % self.stride == 0 else self.size - n % self.stride for n in x.shape[:2]
        ]
        over = [max(n, 0) if self.padded else 0 for n in missing]
        padding = ((over[0] // 2, over[0] - over[0] // 2), (over[1] // 2, over[1] - over[1] // 2))
        return conv2d(x, kernel, padding=padding, stride=self.stride) + bias[None, None]


class SeparableConv(nn.Module):
    """A 3x3 convolution of each channel, then a product of the channels, with bias, padded as TensorFlow's "same"."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        depthwise = self.param("depthwise", nn.initializers.normal(1 / 3), (3, 3, channels))
        pointwise = self.param("pointwise", nn.initializers.he_normal(), (channels, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        y = depthwise_conv2d(x, depthwise)
        if self.stride == 2:
            y = y[1 - x.shape[0] % 2 :: 2, 1 - x.shape[1] % 2 :: 2]
        return jnp.einsum("hwi,io->hwo", y, pointwise) + bias[None, None]


class DenseBlock(nn.Module):
    """Four convolutions, the first of which halves the size; each of the others sees the sum of all before it."""

    features: int
    first: bool

    @nn.compact
    def __call__(self, x):
        down = FullConv if self.first else SeparableConv
        total = nn.relu(down(self.features, stride=2, name="conv0")(x))
        for index in range(1, 4):
            total = total + SeparableConv(self.features, name=f"conv{index}")(nn.relu(total))
        return nn.relu(total)


class DenseTrunk(nn.Module):
    """One crop to pooled features, as `FaceFeatureExtractor`, then one linear layer, as `FaceProcessor`."""

    config: DenseTrunkConfig
    outputs: int

    @nn.compact
    def __call__(self, crop):
        x = normalized(crop, MEAN)
        for index, width in enumerate(self.config.widths):
            x = DenseBlock(width, index == 0, name=f"dense{index}")(x)
        return nn.Dense(self.outputs, name="fc")(jnp.mean(x, axis=(0, 1)))
