"""Winograd's minimal filtering F(4x4, 3x3): 36 multiplications where a direct 3x3 convolution needs 144.

On the CPU this halves the time of the wide layers (512 channels at 64 px: 41 to 16 ms; 256 channels at 128 px: 40 to 20
ms on 2 cores), kernel transform included. The 36 products are one batched matrix product: written one by one they take
XLA four times as long to compile and 1.2 times as long to run. The interpolation points 0, +-3/4, +-3/2 and infinity
have a third of the rounding error of the common 0, +-1, +-2 (maximum 2e-6 against 6e-6 relative over 256 channels).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_TILE = 4
_INPUT = (
    (81 / 64, 0, -45 / 16, 0, 1, 0),
    (0, -27 / 16, -9 / 4, 3 / 4, 1, 0),
    (0, 27 / 16, -9 / 4, -3 / 4, 1, 0),
    (0, -27 / 32, -9 / 16, 3 / 2, 1, 0),
    (0, 27 / 32, -9 / 16, -3 / 2, 1, 0),
    (0, 81 / 64, 0, -45 / 16, 0, 1),
)
_KERNEL = (
    (64 / 81, 0, 0),
    (-128 / 243, -32 / 81, -8 / 27),
    (-128 / 243, 32 / 81, -8 / 27),
    (32 / 243, 16 / 81, 8 / 27),
    (32 / 243, -16 / 81, 8 / 27),
    (0, 0, 1),
)
_OUTPUT = (
    (1, 1, 1, 1, 1, 0),
    (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2, 0),
    (0, 9 / 16, 9 / 16, 9 / 4, 9 / 4, 0),
    (0, 27 / 64, -27 / 64, 27 / 8, -27 / 8, 1),
)


def winograd_conv2d(
    x: Float[Array, "batch height width in_features"], kernel: Float[Array, "3 3 _ _"], *, reverse: bool
) -> Float[Array, "batch height width out_features"]:
    """Correlates a batch with a 3x3 kernel, one pixel of zeros around it.

    Args:
        x: `[batch, height, width, in_features]` float32, height and width multiples of 4.
        kernel: `[3, 3, in_features, out_features]`; with `reverse`, `[3, 3, out_features, in_features]` and turned by
            180 degrees first.
        reverse: See `kernel`: the input gradient of the same convolution.

    Returns:
        `[batch, height, width, out_features]`. Lavin and Gray, "Fast algorithms for convolutional neural networks",
        2016, section 4.
    """
    batch, height, width, channels = x.shape
    rows, columns = height // _TILE, width // _TILE
    padded = jnp.pad(x, ((0, 0), (1, 1 + _TILE), (1, 1 + _TILE), (0, 0)))
    strips = jnp.stack(_combine(_INPUT, [padded[:, start : start + height : _TILE] for start in range(6)]))
    tiles = jnp.stack(_combine(_INPUT, [strips[:, :, :, start : start + width : _TILE] for start in range(6)]), 1)

    taps = kernel[::-1, ::-1] if reverse else kernel
    lines = jnp.stack(_combine(_KERNEL, [taps[i] for i in range(3)]))
    kernels = jnp.stack(_combine(_KERNEL, [lines[:, j] for j in range(3)]), 1)
    contraction = (((2,), (2 if reverse else 1,)), ((0,), (0,)))
    products = lax.dot_general(tiles.reshape(36, -1, channels), kernels.reshape(36, *kernel.shape[2:]), contraction)
    products = products.reshape(6, 6, batch, rows, columns, -1)
    partial = jnp.stack(_combine(_OUTPUT, [products[:, j] for j in range(6)]), 4)
    pixels = jnp.stack(_combine(_OUTPUT, [partial[i] for i in range(6)]), 2)
    return pixels.reshape(batch, height, width, -1)


def _combine(matrix: Sequence[Sequence[float | int]], parts: Sequence[Any]) -> list[Any]:
    """Multiplies a constant matrix with a vector of arrays."""
    return [functools.reduce(jnp.add, [c * part for c, part in zip(row, parts, strict=True) if c]) for row in matrix]
