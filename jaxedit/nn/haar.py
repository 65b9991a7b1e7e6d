"""The inverse Haar transform, which doubles the size of activations without a convolution."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def inverse_haar(x: Float[Array, "height width bands"]) -> Float[Array, "out_height out_width channels"]:
    """Puts four bands of half the size together: one level of the orthonormal inverse Haar transform.

    Args:
        x: `[height, width, 4 * channels]`, any float dtype. The bands lie side by side: low pass, the differences of
            rows, those of columns, and those of both.

    Returns:
        `[2 * height, 2 * width, channels]` in the dtype of `x`. Equal to `DWTInverse(wave="db1")` of pytorch_wavelets,
        which takes the three bands of differences channel by channel.
    """
    height, width, bands = x.shape
    low, rows, columns, both = jnp.split(0.5 * x, 4, axis=-1)
    upper, lower = low + rows, low - rows
    same, other = columns + both, columns - both
    pixels = jnp.stack([upper + same, upper - same, lower + other, lower - other], axis=2)
    pixels = pixels.reshape(height, width, 2, 2, bands // 4).transpose(0, 2, 1, 3, 4)
    return pixels.reshape(2 * height, 2 * width, bands // 4)
