"""Convolution of every channel with a kernel of its own."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def depthwise_conv2d(
    x: Float[Array, "height width channels"], kernel: Float[Array, "3 3 channels"]
) -> Float[Array, "height width channels"]:
    """Convolves each channel with its 3x3 kernel; zeros lie around the image.

    A sum of nine shifted products: as a grouped convolution XLA is seven times slower on CPUs, and its derivatives are
    the same kind of sum. The barrier keeps both sums one pass over memory: without it XLA computes the derivative anew,
    product by product, for everything that reads it (a gradient of a generator took 1.8 times as long).

    Args:
        x: `[height, width, channels]`, any float dtype.
        kernel: `[3, 3, channels]` in the same dtype, not flipped.

    Returns:
        Shape and dtype of `x`.
    """
    height, width, _ = x.shape
    padded = lax.optimization_barrier(jnp.pad(x, ((1, 1), (1, 1), (0, 0))))
    places = [(row, column) for row in range(3) for column in range(3)]
    return sum(
        padded[row : row + height, column : column + width] * kernel[row, column][None, None] for row, column in places
    )  # pyright: ignore[reportReturnType]
