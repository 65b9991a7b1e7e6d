"""What the three networks of L2M-GAN share, which are those of StarGAN v2 (Choi et al., 2020): residual blocks with
instance normalisation, the trunk of style encoder and discriminator, and their widths.

Names and shapes are those of `stargan-v2:core/model.py`. Everything starts as there: He-normal kernels, biases 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxedit.nn.convolution import conv2d
from jaxedit.nn.nearest import nearest_conv2d, pooled_conv2d

HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
_EPSILON = 1e-5
_SMALLEST_IMAGE, _LARGEST_IMAGE, _WIDEST = 64, 1 << 13, 1 << 14
_SCALE = 2**-0.5  # of the sum of a block's two paths


@dataclasses.dataclass(frozen=True)
class WidthsConfig:
    """What the architectures share; the published one for 256 px by default.

    Attributes:
        resolution: Side of the images in pixels, a power of two from 64.
        width: Channels at full size, doubled with each halving; 16384 / resolution in the published ones.
        max_width: Of channels.
    """

    resolution: int = 256
    width: int = 64
    max_width: int = 512

    def __post_init__(self):
        size = self.resolution
        if not _SMALLEST_IMAGE <= size <= _LARGEST_IMAGE or size & (size - 1):
            raise ValueError(
                f"resolution is {size}; it has to be a power of two from {_SMALLEST_IMAGE} to {_LARGEST_IMAGE}"
            )
        if not 1 <= self.width <= self.max_width <= _WIDEST:
            widths = f"width is {self.width} and max_width {self.max_width}"
            raise ValueError(f"{widths}; 1 to {_WIDEST} would be right, the first at most the second")

    def widths(self, final: int) -> tuple[int, ...]:
        """Channels at full size and after each halving, down to the size `final`."""
        halvings = self.resolution.bit_length() - final.bit_length()
        return tuple(min(self.width << level, self.max_width) for level in range(halvings + 1))


def check_image(image: Array, config: WidthsConfig) -> None:
    """Raises ValueError unless `image` is one image of the configured size."""
    if image.shape != (config.resolution, config.resolution, 3):
        right = (config.resolution, config.resolution, 3)
        raise ValueError(f"the image has shape {image.shape}; {right} is right: functions take one sample")


def leaky_relu(x: Array) -> Array:
    """With slope 0.2 and no gain."""
    return jax.nn.leaky_relu(x, 0.2)


def dense(features: int, name: str) -> nn.Dense:
    """A dense layer that no device rounds."""
    return nn.Dense(features, kernel_init=HE, precision=lax.Precision.HIGHEST, name=name)


def same_conv2d(x: Array, kernel: Array) -> Array:
    """Keeps the size."""
    pad = kernel.shape[0] // 2
    return conv2d(x, kernel, padding=((pad, pad), (pad, pad)))


def valid_conv2d(x: Array, kernel: Array) -> Array:
    """Where the kernel lies inside the image."""
    return conv2d(x, kernel, padding=((0, 0), (0, 0)))


class Conv(nn.Module):
    """A convolution with a bias."""

    features: int
    size: int = 3
    convolve: Callable[[Array, Array], Array] = same_conv2d
    use_bias: bool = True

    @nn.compact
    def __call__(self, x):
        x = self.convolve(x, self.param("kernel", HE, (self.size, self.size, x.shape[-1], self.features)))
        return x + self.param("bias", nn.initializers.zeros, (self.features,))[None, None] if self.use_bias else x


def standardized(x: Array) -> Array:
    """Each channel with mean 0 and variance 1 over the image."""
    centred = x - jnp.mean(x, axis=(0, 1), keepdims=True)
    return centred * lax.rsqrt(jnp.mean(jnp.square(centred), axis=(0, 1), keepdims=True) + _EPSILON)


class InstanceNorm(nn.Module):
    """Equal to `torch.nn.InstanceNorm2d` with `affine=True`."""

    @nn.compact
    def __call__(self, x):
        scale, bias = (
            self.param(name, init, (x.shape[-1],))[None, None]
            for name, init in (("scale", nn.initializers.ones), ("bias", nn.initializers.zeros))
        )
        return scale * standardized(x) + bias


class AdaIN(nn.Module):
    """Adaptive instance normalisation: a style scales and shifts the channels."""

    @nn.compact
    def __call__(self, x, style):
        scale, shift = jnp.split(dense(2 * x.shape[-1], "fc")(style), 2)
        return (1 + scale)[None, None] * standardized(x) + shift[None, None]


class ResBlock(nn.Module):
    """Equal to `ResBlk`, whose shortcut is pooled before its 1x1 convolution here, which is the same and cheaper."""

    features: int
    normalize: bool
    down: bool

    @nn.compact
    def __call__(self, x):
        y = InstanceNorm(name="norm1")(x) if self.normalize else x
        y = Conv(x.shape[-1], convolve=pooled_conv2d if self.down else same_conv2d, name="conv1")(leaky_relu(y))
        y = InstanceNorm(name="norm2")(y) if self.normalize else y
        y = Conv(self.features, name="conv2")(leaky_relu(y))
        if self.down:
            height, width, channels = x.shape
            x = jnp.mean(x.reshape(height // 2, 2, width // 2, 2, channels), axis=(1, 3))
        if x.shape[-1] != self.features:
            x = Conv(self.features, 1, use_bias=False, name="conv1x1")(x)
        return (x + y) * _SCALE


class AdaINBlock(nn.Module):
    """Equal to `AdainResBlk`, whose shortcut is enlarged after its 1x1 convolution here, which is the same and cheaper.

    The shortcut is left out where high-pass skips replace it.
    """

    features: int
    up: bool
    shortcut: bool

    @nn.compact
    def __call__(self, x, style):
        y = leaky_relu(AdaIN(name="norm1")(x, style))
        y = Conv(self.features, convolve=nearest_conv2d if self.up else same_conv2d, name="conv1")(y)
        y = Conv(self.features, name="conv2")(leaky_relu(AdaIN(name="norm2")(y, style)))
        if not self.shortcut:
            return y
        if x.shape[-1] != self.features:
            x = Conv(self.features, 1, use_bias=False, name="conv1x1")(x)
        if self.up:
            x = jnp.repeat(jnp.repeat(x, 2, axis=0), 2, axis=1)
        return (x + y) * _SCALE


def trunk(image: Array, config: WidthsConfig, prefix: str) -> Any:
    """The layers from an image to `[1, 1, channels]`, called `PREFIX.0` and so on in the module that calls this."""
    check_image(image, config)
    first, *widths = config.widths(4)
    x = Conv(first, name=f"{prefix}.0")(image)
    for index, width in enumerate(widths, start=1):
        x = ResBlock(width, normalize=False, down=True, name=f"{prefix}.{index}")(x)
    x = Conv(widths[-1], 4, valid_conv2d, name=f"{prefix}.{len(widths) + 2}")(leaky_relu(x))
    return leaky_relu(x)
