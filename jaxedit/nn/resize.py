"""Bilinear resizing with the corners kept in place."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
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
    if x.shape[0] != height:
        x = jnp.einsum("oh,hwc->owc", jnp.asarray(_matrix(x.shape[0], height), x.dtype), x)
    if x.shape[1] != width:
        x = jnp.einsum("ow,hwc->hoc", jnp.asarray(_matrix(x.shape[1], width), x.dtype), x)
    return x


def _matrix(size: int, out: int) -> np.ndarray:
    """`[out, size]`: each row weighs the two pixels around the place that it is read from."""
    places = np.arange(out) * ((size - 1) / max(out - 1, 1))
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(size)[None]))
