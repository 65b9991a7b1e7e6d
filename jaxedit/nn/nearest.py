"""Convolution of an image that is enlarged first, every pixel four times."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxedit.nn.convolution import conv2d


def nearest_conv2d(
    x: Float[Array, "height width in_features"], kernel: Float[Array, "3 3 in_features out_features"]
) -> Float[Array, "2*height 2*width out_features"]:
    """Repeats every pixel four times, then convolves; zeros lie around the image.

    Computed as one transposed convolution with sums of neighbouring taps, which has 4 products where the convolution of
    the enlarged image has 9.

    Args:
        x: `[height, width, in_features]`, any float dtype.
        kernel: `[3, 3, in_features, out_features]`, not flipped.

    Returns:
        `[2 * height, 2 * width, out_features]` in the dtype of `x`. Equal to `conv2d(upscale2d(x))` of
        progressive_growing_of_gans, and to its `upscale2d_conv2d` of the flipped kernel.
    """
    for axis in (0, 1):
        first, middle, last = (lax.slice_in_dim(kernel, tap, tap + 1, axis=axis) for tap in range(3))
        kernel = jnp.concatenate([first, first + middle, middle + last, last], axis)
    return conv2d(x, kernel.astype(x.dtype), padding=((2, 2), (2, 2)), input_dilation=2)
