"""What defines an avatar: the factors, how they are distributed and correlated, and the attributes read off them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Key

IDENTITY = (
    "face_width",
    "face_height",
    "jaw",
    "chin",
    "eye_distance",
    "eye_size",
    "eye_tilt",
    "eye_height",
    "brow_height",
    "brow_thickness",
    "brow_angle",
    "nose_width",
    "nose_length",
    "mouth_width",
    "mouth_height",
    "lip_fullness",
    "ear_size",
)
"""Names of the geometry numbers that make an identity, in the order of `Factors.identity`."""

_SCALARS = (
    "skin_tone",
    "skin_warmth",
    "eye_color",
    "gender",
    "age",
    "smile",
    "mouth_open",
    "narrow_eyes",
    "yaw",
    "pitch",
    "roll",
    "hair_length",
    "hair_curl",
    "hair_volume",
    "hair_part",
    "hair_lightness",
    "hair_red",
    "hair_grey",
    "bangs",
    "beard",
    "eyeglasses",
    "glasses_shape",
    "hat",
    "earrings",
    "necklace",
    "lipstick",
    "light",
    "brightness",
    "accent",
)
_COLORS = tuple(f"{name}_{channel}" for name in ("background", "clothing") for channel in ("hue", "value", "chroma"))

LATENTS = IDENTITY + _SCALARS + _COLORS
"""Names of the normal numbers that factors are computed from."""

INFLUENCES = {
    "beard": {"gender": 0.8},
    "hair_length": {"gender": -0.75, "age": -0.25},
    "lipstick": {"gender": -0.6, "age": -0.1},
    "earrings": {"gender": -0.5},
    "necklace": {"gender": -0.3, "earrings": 0.3},
    "bangs": {"gender": -0.3, "age": -0.25},
    "brow_thickness": {"gender": 0.3},
    "hair_grey": {"age": 0.75},
    "eyeglasses": {"age": 0.45, "gender": 0.1},
    "hair_lightness": {"skin_tone": -0.5},
    "hair_curl": {"skin_tone": 0.3},
    "eye_color": {"skin_tone": -0.4, "hair_lightness": 0.3},
    "mouth_open": {"smile": 0.4},
}
"""How normal numbers depend on others: a coefficient for each parent, which add up; the rest is their own."""

ATTRIBUTES = (
    "gender",
    "age",
    "smile",
    "eyeglasses",
    "mouth_open",
    "narrow_eyes",
    "bangs",
    "black_hair",
    "blond_hair",
    "grey_hair",
    "curly_hair",
    "beard",
)
"""The binary attributes, counterparts of those in Table II of Style Intervention; see `attributes`."""


class Factors(NamedTuple):
    """Everything that `render` draws. Float32; "0..1" values concentrate near both ends, so that labels are clear.

    Attributes:
        identity: `[17]`, -2..2, geometry: one number per name in `IDENTITY`.
        skin_tone: 0 (light) .. 1 (dark). Part of the identity.
        skin_warmth: -1..1, from rosy to golden. Part of the identity.
        eye_color: 0 (brown) .. 1 (blue). Part of the identity.
        gender: Presentation, 0 (feminine) .. 1 (masculine): jaw, brows, lashes, lips.
        age: 0 (young) .. 1 (old): wrinkles, bags, thinner lips.
        smile: 0..1.
        mouth_open: 0..1.
        narrow_eyes: 0..1.
        yaw: -1..1, to the viewer's right; 1 is about 25 degrees.
        pitch: -1..1, down; 1 is about 15 degrees.
        roll: -1..1, clockwise; 1 is about 12 degrees.
        hair_length: 0 (short) .. 1 (over the shoulders).
        hair_curl: 0 (straight) .. 1 (curly).
        hair_volume: -1..1.
        hair_part: -1..1, the side that the hairline is parted on.
        hair_lightness: 0 (black), 0.5 (brown) .. 1 (blond).
        hair_red: 0..1.
        hair_grey: 0..1.
        bangs: 0..1.
        beard: 0..1.
        eyeglasses: 0..1.
        glasses_shape: 0 (round) .. 1 (square).
        hat: 0..1.
        earrings: 0..1.
        necklace: 0..1.
        lipstick: 0..1.
        light: -1..1, the side that light comes from (1: viewer's right).
        brightness: -1..1.
        accent: 0..1, hue of glasses, hat and earrings.
        background: `[3]` hue, value, chroma, 0..1.
        clothing: `[3]` hue, value, chroma, 0..1.
    """

    identity: Float[Array, " 17"]
    skin_tone: Float[Array, ""]
    skin_warmth: Float[Array, ""]
    eye_color: Float[Array, ""]
    gender: Float[Array, ""]
    age: Float[Array, ""]
    smile: Float[Array, ""]
    mouth_open: Float[Array, ""]
    narrow_eyes: Float[Array, ""]
    yaw: Float[Array, ""]
    pitch: Float[Array, ""]
    roll: Float[Array, ""]
    hair_length: Float[Array, ""]
    hair_curl: Float[Array, ""]
    hair_volume: Float[Array, ""]
    hair_part: Float[Array, ""]
    hair_lightness: Float[Array, ""]
    hair_red: Float[Array, ""]
    hair_grey: Float[Array, ""]
    bangs: Float[Array, ""]
    beard: Float[Array, ""]
    eyeglasses: Float[Array, ""]
    glasses_shape: Float[Array, ""]
    hat: Float[Array, ""]
    earrings: Float[Array, ""]
    necklace: Float[Array, ""]
    lipstick: Float[Array, ""]
    light: Float[Array, ""]
    brightness: Float[Array, ""]
    accent: Float[Array, ""]
    background: Float[Array, " 3"]
    clothing: Float[Array, " 3"]


# (steepness, threshold) of the logistic curve from a normal number to 0..1; 1 - Phi(threshold) are above one half.
_SWITCHES = {
    "gender": (4.0, 0.0),
    "age": (3.0, 0.3),
    "smile": (4.0, 0.0),
    "mouth_open": (4.0, 0.4),
    "narrow_eyes": (4.0, 0.7),
    "hair_length": (3.0, 0.0),
    "hair_curl": (5.0, 0.5),
    "hair_red": (5.0, 1.0),
    "hair_grey": (5.0, 0.8),
    "bangs": (5.0, 0.6),
    "beard": (5.0, 0.6),
    "eyeglasses": (6.0, 0.6),
    "glasses_shape": (3.0, 0.0),
    "hat": (8.0, 1.4),
    "earrings": (6.0, 0.6),
    "necklace": (6.0, 0.9),
    "lipstick": (4.0, 0.3),
    "skin_tone": (1.3, 0.3),
    "eye_color": (3.0, 0.4),
    "accent": (1.7, 0.0),
} | dict.fromkeys(_COLORS, (1.7, 0.0))


def _mixing_matrix() -> np.ndarray:
    """Rows that make correlated normal numbers, each of variance 1, from independent ones."""
    rows = np.eye(len(LATENTS))
    for child, parents in INFLUENCES.items():
        inherited = sum(weight * rows[LATENTS.index(parent)] for parent, weight in parents.items())
        rows[LATENTS.index(child)] *= np.sqrt(1.0 - np.sum(np.square(inherited)))
        rows[LATENTS.index(child)] += inherited
    return rows.astype(np.float32)


_MIX = _mixing_matrix()


def factors_from_normal(normal: Float[Array, " latents"]) -> Factors:
    """Computes factors from independent normal numbers; a smooth, fixed map.

    Args:
        normal: `[len(LATENTS)]` float32, standard normal. They are mixed as `INFLUENCES` says, then each is
            squashed to the range of its factor.

    Returns:
        The factors.
    """
    mixed = jnp.matmul(_MIX, normal, precision=lax.Precision.HIGHEST)
    value = dict(zip(LATENTS, mixed, strict=True))

    def squashed(name: str) -> Array:
        if name == "hair_lightness":  # three levels: black, brown, blond
            return 0.5 * (jax.nn.sigmoid(6.0 * (value[name] + 0.6)) + jax.nn.sigmoid(6.0 * (value[name] - 0.6)))
        if name in _SWITCHES:
            steepness, threshold = _SWITCHES[name]
            return jax.nn.sigmoid(steepness * (value[name] - threshold))
        return jnp.tanh(0.7 * value[name])

    colors = jnp.stack([squashed(name) for name in _COLORS])
    return Factors(
        identity=2.0 * jnp.tanh(0.5 * mixed[: len(IDENTITY)]),
        **{name: squashed(name) for name in _SCALARS},
        background=colors[:3],
        clothing=colors[3:],
    )


def sample_factors(key: Key[Array, ""]) -> Factors:
    """Draws the factors of one avatar.

    Args:
        key: A typed key (`jax.random.key`).

    Returns:
        Factors, correlated as `INFLUENCES` says.
    """
    return factors_from_normal(jax.random.normal(key, (len(LATENTS),)))


def with_identity(factors: Factors, other: Factors) -> Factors:
    """Gives one avatar the identity of another.

    Args:
        factors: Keeps expression, age, pose, hair, accessories, light and colours.
        other: Gives geometry, skin and eye colour.

    Returns:
        The mixed factors.
    """
    return factors._replace(
        identity=other.identity,
        skin_tone=other.skin_tone,
        skin_warmth=other.skin_warmth,
        eye_color=other.eye_color,
    )


def attributes(factors: Factors) -> Bool[Array, " 12"]:
    """Reads the binary attributes off the factors.

    They are the counterparts of the twelve in Table II of Style Intervention. Eleven are as there (gender: masculine
    presentation; age: old); "Asian" is an ethnicity, which is not drawn: `narrow_eyes` (one of CelebA's
    attributes) has its place. Hair colours exclude each other, and brown or red hair has none of the three.

    Args:
        factors: The factors.

    Returns:
        `[12]` bool, in the order of `ATTRIBUTES`.
    """
    grey = factors.hair_grey > 0.5
    coloured = grey | (factors.hair_red > 0.5)
    return jnp.stack(
        [
            factors.gender > 0.5,
            factors.age > 0.5,
            factors.smile > 0.5,
            factors.eyeglasses > 0.5,
            factors.mouth_open > 0.5,
            factors.narrow_eyes > 0.5,
            factors.bangs > 0.5,
            (factors.hair_lightness < 0.25) & ~coloured,
            (factors.hair_lightness > 0.75) & ~coloured,
            grey,
            factors.hair_curl > 0.5,
            factors.beard > 0.5,
        ]
    )
