"""Sampling an image inside a quadrilateral."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def sample_quad(
    image: Float[Array, "height width channels"],
    corners: Float[Array | np.ndarray, "4 2"],
    *,
    size: int,
    padding: Literal["black", "mirror"],
    pool: int = 1,
) -> Float[Array, "{size} {size} channels"]:
    """Draws the inside of a quadrilateral as a square; differentiable in the image and in the corners.

    Args:
        image: `[height, width, channels]` float32 about [-1, 1].
        corners: Upper left, lower left, lower right and upper right of the square (the order of `PIL.Image.QUAD`) in
            the image: x to the right and y down, -1 and 1 at its edges. They may lie outside.
        size: Side of the square in pixels.
        padding: What lies around the image: "black" is -1, "mirror" the image reflected at the middles of its outermost
            pixels, as `numpy.pad(mode="reflect")`.
        pool: The image is averaged over squares of so many pixels first, so that a quadrilateral much larger than
            `size` does not alias: the ratio of the two sides, rounded down to a divisor of the image's, is right.

    Returns:
        `[size, size, channels]`: bilinear samples at the middles of the square's pixels, placed bilinearly between the
        corners. Equal to `PIL.Image.transform(..., QUAD, BILINEAR)` inside the image.

    Raises:
        ValueError: The image's sides are no multiples of `pool`, or the padding is unknown.
    """
    if padding not in ("black", "mirror"):
        raise ValueError(f"padding is {padding!r}; it has to be 'black' or 'mirror'")
    height, width, channels = image.shape
    if height % pool or width % pool:
        raise ValueError(f"the image is {height} x {width} px; pool={pool} needs multiples of that")
    height, width = height // pool, width // pool
    image = jnp.mean(image.reshape(height, pool, width, pool, channels), axis=(1, 3)) if pool > 1 else image

    steps = (jnp.arange(size, dtype=image.dtype) + 0.5) / size
    upper_left, lower_left, lower_right, upper_right = jnp.asarray(corners, image.dtype)[:, None, None]
    down, right = steps[:, None, None], steps[None, :, None]
    points = (1 - right) * ((1 - down) * upper_left + down * lower_left)
    points = points + right * ((1 - down) * upper_right + down * lower_right)

    extent = jnp.array([width, height], image.dtype)[None, None]
    places = jnp.reshape(0.5 * extent * (points + 1) - 0.5, (-1, 2))  # in pixels, counted from the middle of the first
    whole = jax.lax.stop_gradient(jnp.floor(places))
    part = places - whole
    pixels, total = (image + 1).reshape(-1, channels), 0.0
    for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, inside_x = _index(whole[:, 0] + x, width, padding)
        row, inside_y = _index(whole[:, 1] + y, height, padding)
        weight = (part[:, 0] if x else 1 - part[:, 0]) * (part[:, 1] if y else 1 - part[:, 1])
        total = total + (weight * inside_x * inside_y)[:, None] * pixels[row * width + column]
    return jnp.reshape(total, (size, size, channels)) - 1


def _index(
    place: Float[Array, " count"], length: int, padding: str
) -> tuple[Int[Array, " count"], Float[Array, " count"]]:
    """The pixel to read at a whole place on one axis, and 1 where the image is not black there."""
    if padding == "black":
        inside = (place >= 0) & (place < length)
        return jnp.clip(place, 0, length - 1).astype(jnp.int32), inside.astype(place.dtype)
    last = max(length - 1, 1)
    mirrored = jnp.abs((place + last) % (2 * last) - last)
    return jnp.clip(mirrored, 0, length - 1).astype(jnp.int32), jnp.ones_like(place)
