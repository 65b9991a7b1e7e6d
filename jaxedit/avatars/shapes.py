"""Signed distances to plane shapes: negative inside, in the units of the coordinates, exact enough near the edge."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

Field = Float[Array, "height width"]
Number = float | Float[Array, ""] | Field


def ellipse(x: Field, y: Field, rx: Number, ry: Number) -> Field:
    """Distance to an axis-parallel ellipse at the origin, of first order in the distance from its edge."""
    scaled = jnp.sqrt(jnp.square(x / rx) + jnp.square(y / ry) + 1e-9)
    gradient = jnp.sqrt(jnp.square(x / rx**2) + jnp.square(y / ry**2) + 1e-9)
    return scaled * (scaled - 1.0) / gradient


def rounded_box(x: Field, y: Field, rx: Number, ry: Number, corner: Number) -> Field:
    """Distance to a rectangle of half sizes `rx` and `ry` at the origin, corners rounded with radius `corner`."""
    dx, dy = jnp.abs(x) - rx + corner, jnp.abs(y) - ry + corner
    outside = jnp.sqrt(jnp.square(jnp.maximum(dx, 0.0)) + jnp.square(jnp.maximum(dy, 0.0)) + 1e-9)
    return outside + jnp.minimum(jnp.maximum(dx, dy), 0.0) - corner


def segment(x: Field, y: Field, ax: Number, ay: Number, bx: Number, by: Number) -> Field:
    """Distance to a line segment from (ax, ay) to (bx, by); subtract half a thickness for a stroke."""
    dx, dy = bx - ax, by - ay
    along = jnp.clip(((x - ax) * dx + (y - ay) * dy) / (dx**2 + dy**2 + 1e-9), 0.0, 1.0)
    return jnp.sqrt(jnp.square(x - ax - along * dx) + jnp.square(y - ay - along * dy) + 1e-9)


def between(x: Field, y: Field, width: Number, bend: Number, above: Number, below: Number) -> Field:
    """Distance to the lens between two parabolas with common ends.

    Args:
        x: Coordinates across.
        y: Coordinates down.
        width: Half the distance of the ends.
        bend: How far the middle of both hangs below the ends.
        above: Height of the upper parabola's middle above the bend.
        below: Depth of the lower parabola's middle below the bend.
    """
    arch = 1.0 - jnp.square(x / width)
    middle = bend * arch
    slope = 2.0 * jnp.abs(x) / width**2 * (jnp.abs(bend) + 0.5 * (jnp.abs(above) + jnp.abs(below)))
    inside = jnp.maximum(middle - above * arch - y, y - middle - below * arch)
    return jnp.maximum(inside / jnp.sqrt(1.0 + jnp.square(slope)), jnp.abs(x) - width)


def coverage(distance: Field, pixel: float) -> Field:
    """How much of each pixel a shape covers, 0..1: an edge is one pixel wide."""
    return jnp.clip(0.5 - distance / pixel, 0.0, 1.0)


def wave(x: Field) -> Field:
    """A sine of parabolic arcs, exact at its zeros and peaks: a tenth of the cost of the true one."""
    phase = x * (0.5 / jnp.pi)
    phase = phase - jnp.round(phase)
    return 16.0 * phase * (0.5 - jnp.abs(phase))
