"""Colours of an avatar: what its factors say about skin, hair, lips, eyes, clothing and accessories."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxedit.avatars.factors import Factors
from jaxedit.avatars.shapes import Field, Number

Color = Float[Array, " 3"]


class Palette(NamedTuple):
    """RGB, about 0..1."""

    skin: Color
    hair: Color
    lips: Color
    iris: Color
    accent: Color
    clothing: Color


def mix(first: Array, second: Array, weight: Number | Array) -> Array:
    """From the first to the second, by a weight of 0..1."""
    return first + weight * (second - first)


def from_wheel(hue: Number, value: Number, chroma: Number) -> Color:
    """A colour from the cosine wheel: hue 0..1, value and chroma 0..1."""
    wheel = 0.5 + 0.5 * jnp.cos(2.0 * jnp.pi * (hue - jnp.array([0.0, 1.0, 2.0]) / 3.0))
    return value * (1.0 - chroma * (1.0 - wheel))


def palette(factors: Factors) -> Palette:
    """The colours of an avatar."""
    stops = jnp.array(
        [[1.0, 0.87, 0.78], [0.95, 0.76, 0.60], [0.80, 0.57, 0.40], [0.58, 0.37, 0.24], [0.38, 0.23, 0.15]]
    )
    place = factors.skin_tone * 4.0
    weights = jnp.maximum(1.0 - jnp.abs(jnp.arange(5.0) - place), 0.0)
    tone = jnp.matmul(weights, stops, precision=lax.Precision.HIGHEST)
    skin = tone + factors.skin_warmth * jnp.array([0.02, 0.0, -0.035])
    lightness = jnp.clip(2.0 * factors.hair_lightness, 0.0, 2.0)
    black, brown, blond = (
        jnp.array([0.09, 0.07, 0.08]),
        jnp.array([0.36, 0.21, 0.12]),
        jnp.array([0.93, 0.78, 0.45]),
    )
    hair = mix(mix(black, brown, jnp.minimum(lightness, 1.0)), blond, jnp.maximum(lightness - 1.0, 0.0))
    hair = mix(hair, jnp.array([0.70, 0.27, 0.10]), factors.hair_red)
    hair = mix(hair, jnp.array([0.74, 0.75, 0.78]), factors.hair_grey)
    bare = mix(skin * 0.86, jnp.array([0.78, 0.38, 0.36]) * (1.0 - 0.45 * factors.skin_tone), 0.55)
    return Palette(
        skin=skin,
        hair=hair,
        lips=mix(bare, jnp.array([0.80, 0.08, 0.20]), 0.85 * factors.lipstick),
        iris=mix(jnp.array([0.33, 0.19, 0.09]), jnp.array([0.25, 0.55, 0.80]), factors.eye_color),
        accent=from_wheel(factors.accent, jnp.float32(0.70), jnp.float32(0.75)),
        clothing=from_wheel(factors.clothing[0], 0.35 + 0.55 * factors.clothing[1], 0.2 + 0.6 * factors.clothing[2]),
    )


def shade(color: Color, weight: Field) -> Array:
    """A colour lit by a weight per pixel, `[3, height, width]`."""
    return jnp.clip(color[:, None, None] * weight[None], 0.0, 1.0)
