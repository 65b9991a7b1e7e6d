"""Bilinear resizing with the corners kept in place."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def resize_align_corners(
    x: Float[Array, "height width features"], *, height: int, width: int
) -> Float[Array, "{height} {width} features"]:
    """Resizes bilinearly so that corner pixels stay corner pixels.

    Args:
        x: `[height, width, features]`, any float dtype.
        height: Of the result.
        width: Of the result.

    Returns:
        `[height, width, features]` in the dtype of `x`. Equal to `torch.nn.functional.interpolate(mode="bilinear",
        align_corners=True)`.
    """
    sizes = (height, width)
    scales, shifts = (jnp.array(numbers) for numbers in zip(*map(_placing, x.shape[:2], sizes), strict=True))
    return jax.image.scale_and_translate(
        x, (*sizes, x.shape[2]), (0, 1), scales, shifts, method="linear", antialias=False
    )


def _placing(size: int, new: int) -> tuple[float, float]:
    """Scale and shift that keep the middles of the first and the last pixel where they are."""
    if size == 1:
        return float(new), 0.0
    scale = (new - 1) / (size - 1) if new > 1 else 1.0
    return scale, 0.5 - 0.5 * scale
