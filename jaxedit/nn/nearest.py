"""Convolutions of an image that is enlarged first, every pixel four times, or halved after, every four pixels to one.

Each is one convolution with sums of neighbouring taps, which has 4 products where the convolution at full size has 9.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxedit.nn.convolution import conv2d


def nearest_conv2d(
    x: Float[Array, "height width in_features"], kernel: Float[Array, "3 3 in_features out_features"]
) -> Float[Array, "2*height 2*width out_features"]:
    """Repeats every pixel four times, then convolves; zeros lie around the image.

    Args:
        x: `[height, width, in_features]`, any float dtype.
        kernel: `[3, 3, in_features, out_features]`, not flipped.

    Returns:
        `[2 * height, 2 * width, out_features]` in the dtype of `x`. Equal to `conv2d(upscale2d(x))` of
        progressive_growing_of_gans, and to its `upscale2d_conv2d` of the flipped kernel.
    """
    return conv2d(x, _summed(kernel).astype(x.dtype), padding=((2, 2), (2, 2)), input_dilation=2)


def pooled_conv2d(
    x: Float[Array, "height width in_features"], kernel: Float[Array, "3 3 in_features out_features"]
) -> Float[Array, "height//2 width//2 out_features"]:
    """Convolves, with zeros around the image, then takes the mean of every four pixels.

    Args:
        x: `[height, width, in_features]` with even sizes, any float dtype.
        kernel: `[3, 3, in_features, out_features]`, not flipped.

    Returns:
        `[height / 2, width / 2, out_features]` in the dtype of `x`. Equal to `torch.nn.functional.avg_pool2d(conv, 2)`
        of a convolution that keeps the size.
    """
    return conv2d(x, 0.25 * _summed(kernel).astype(x.dtype), padding=((1, 1), (1, 1)), stride=2)


def _summed(kernel: Array) -> Array:
    """The kernel `[4, 4, ...]` of sums of neighbouring taps."""
    for axis in (0, 1):
        first, middle, last = (lax.slice_in_dim(kernel, tap, tap + 1, axis=axis) for tap in range(3))
        kernel = jnp.concatenate([first, first + middle, middle + last, last], axis)
    return kernel
