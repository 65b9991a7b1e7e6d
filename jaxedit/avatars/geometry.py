"""Where things are: the measures of a face from its factors, its pose, and its 68 keypoints."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxedit.avatars.factors import IDENTITY, Factors

Number = Float[Array, ""]


class Geometry(NamedTuple):
    """Measures of one face; the unit is half the picture over `ZOOM`, x to the right and y down, all float32.

    Attributes:
        half_width: Of the face.
        top: Height of the cranium above the centre.
        bottom: Depth of the chin below the centre.
        jaw: Exponent of the lower outline: 2 is round, 3 is square.
        taper: How much narrower the chin is than the cheeks, 0..1.
        eye_x: Distance of the eyes from the middle.
        eye_y: Height of the eyes (negative is above the centre).
        eye_width: Half the width of an eye.
        eye_open: Half the height of an eye.
        eye_tilt: Slope of the eyes, outer corners up.
        brow_y: Height of the brows' middle.
        brow_thickness: Half of it.
        brow_angle: Slope of the brows.
        nose_width: Half the width of the nostrils.
        nose_y: Height of the nose's tip.
        mouth_y: Height of the mouth's middle.
        mouth_width: Half of it.
        mouth_bend: How far the middle hangs below the corners.
        mouth_open: Height of the opening.
        lip: Height of the upper lip; the lower one is thicker.
        ear: Half the height of an ear.
        yaw: Sine of the turn to the viewer's right.
        pitch: Sine of the nod downwards.
        roll: Angle in radians, clockwise.
    """

    half_width: Number
    top: Number
    bottom: Number
    jaw: Number
    taper: Number
    eye_x: Number
    eye_y: Number
    eye_width: Number
    eye_open: Number
    eye_tilt: Number
    brow_y: Number
    brow_thickness: Number
    brow_angle: Number
    nose_width: Number
    nose_y: Number
    mouth_y: Number
    mouth_width: Number
    mouth_bend: Number
    mouth_open: Number
    lip: Number
    ear: Number
    yaw: Number
    pitch: Number
    roll: Number


CENTRE = 0.02  # height of the head's centre
ZOOM = 1.14  # the unit of all measures is that much larger than half the picture

# Depth of features in front of the axis that the head turns about; also the face's own shift in a turn.
DEPTH = {"face": 0.10, "eyes": 0.24, "brows": 0.25, "nose": 0.36, "mouth": 0.26, "ears": -0.06, "hair": -0.04}


def measure(factors: Factors) -> Geometry:
    """Computes the measures of a face: those of its identity, changed by gender, age and expression."""
    own = dict(zip(IDENTITY, factors.identity, strict=True))
    masculine, age, smile = factors.gender - 0.5, factors.age, factors.smile
    eye_y = -0.05 + 0.02 * own["eye_height"]
    eye_open = (0.082 + 0.011 * own["eye_size"] - 0.010 * masculine) * (1.0 - 0.52 * factors.narrow_eyes)
    mouth_y = 0.375 + 0.020 * own["mouth_height"]
    return Geometry(
        half_width=0.475 + 0.030 * own["face_width"] + 0.02 * masculine,
        top=0.56 + 0.015 * own["face_height"],
        bottom=0.645 + 0.030 * own["face_height"] + 0.02 * masculine + 0.05 * factors.mouth_open,
        jaw=2.45 + 0.22 * own["jaw"] + 0.7 * masculine,
        taper=0.12 - 0.05 * own["chin"] - 0.12 * masculine,
        eye_x=0.205 + 0.017 * own["eye_distance"],
        eye_y=eye_y,
        eye_width=0.122 + 0.011 * own["eye_size"],
        eye_open=eye_open * (1.0 - 0.12 * smile - 0.12 * age),
        eye_tilt=0.03 + 0.075 * own["eye_tilt"] - 0.06 * age + 0.08 * factors.narrow_eyes,
        brow_y=eye_y - 0.185 - 0.018 * own["brow_height"] + 0.03 * masculine,
        brow_thickness=0.032 + 0.006 * own["brow_thickness"] + 0.018 * masculine,
        brow_angle=0.10 + 0.09 * own["brow_angle"] - 0.08 * age,
        nose_width=0.092 + 0.014 * own["nose_width"] + 0.02 * masculine,
        nose_y=0.175 + 0.026 * own["nose_length"] + 0.02 * age,
        mouth_y=mouth_y,
        mouth_width=0.150 + 0.018 * own["mouth_width"] + 0.055 * smile,
        mouth_bend=-0.03 + 0.11 * smile,
        mouth_open=0.008 + 0.130 * factors.mouth_open,
        lip=0.050 + 0.011 * own["lip_fullness"] - 0.016 * masculine - 0.010 * age - 0.006 * smile,
        ear=0.125 + 0.017 * own["ear_size"],
        yaw=0.42 * factors.yaw,
        pitch=0.26 * factors.pitch,
        roll=0.20 * factors.roll,
    )


def turned(
    geometry: Geometry, x: Number | float, y: float | Float[Array, "*shape"], part: str
) -> tuple[Number, Float[Array, "*shape"]]:
    """Where a point of the frontal face goes when the head turns and nods: a rotation of it at the part's depth."""
    depth = DEPTH[part]
    across = jnp.sqrt(1.0 - jnp.square(geometry.yaw))
    upright = jnp.sqrt(1.0 - jnp.square(geometry.pitch))
    return x * across + depth * geometry.yaw, y * upright + depth * geometry.pitch


def narrowed(geometry: Geometry, side: float) -> Number:
    """Width of a feature on one side (-1: the viewer's left) relative to its frontal width: the far side shrinks."""
    return jnp.sqrt(1.0 - jnp.square(geometry.yaw)) * (1.0 - 0.45 * side * geometry.yaw)


def outline(geometry: Geometry, y: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Half the width of the face at a height `y` below its centre (negative above), and its slope there."""
    g = geometry
    below, above = jnp.clip(y / g.bottom, 1e-3, 0.999), jnp.clip(-y / g.top, 0.0, 0.999)
    power = below**g.jaw
    round_ = (1.0 - power) ** (1.0 / g.jaw)
    narrow = 1.0 - g.taper * below
    falls = (round_ * power / (below * (1.0 - power)) * narrow + g.taper * round_) / g.bottom
    arch = jnp.sqrt(1.0 - jnp.square(above))
    half = g.half_width * jnp.where(y > 0.0, round_ * narrow, arch)
    return half, g.half_width * jnp.where(y > 0.0, -falls, above / (arch * g.top))


def keypoints(geometry: Geometry) -> Float[Array, "68 2"]:
    """The 68 keypoints in the order of iBUG 300-W.

    Args:
        geometry: As made by `measure`.

    Returns:
        `[68, 2]` float32 (x, y), -1..1 from edge to edge: jaw 0-16 (from the viewer's left over the chin), brows 17-26,
        nose 27-35, eyes 36-47, outer mouth 48-59, inner mouth 60-67.
    """
    g = geometry
    parts = [_jaw(g), _brow(g, -1.0), _brow(g, 1.0), _nose(g), _eye(g, -1.0), _eye(g, 1.0), _mouth(g)]
    return _placed(g, jnp.concatenate(parts))


def _placed(geometry: Geometry, points: Float[Array, "points 2"]) -> Float[Array, "points 2"]:
    """From the upright face to the picture."""
    cosine, sine = jnp.cos(geometry.roll), jnp.sin(geometry.roll)
    rotation = jnp.stack([jnp.stack([cosine, sine]), jnp.stack([-sine, cosine])])
    return ZOOM * (jnp.matmul(points, rotation, precision=lax.Precision.HIGHEST) + jnp.array([[0.0, CENTRE]]))


def _jaw(g: Geometry) -> Array:
    angle = jnp.linspace(-0.5 * jnp.pi, 0.5 * jnp.pi, 17)
    y = g.bottom * jnp.cos(angle) * 0.998
    x = jnp.sign(angle) * outline(g, y)[0]
    across = jnp.where(jnp.abs(angle) < 1e-6, 0.0, x)
    return jnp.stack([across + DEPTH["face"] * g.yaw, y + DEPTH["face"] * g.pitch], axis=-1)


def _brow(g: Geometry, side: float) -> Array:
    along = jnp.linspace(-1.0, 1.0, 5)
    cx, cy = turned(g, side * (g.eye_x + 0.005), g.brow_y, "brows")
    half = 1.25 * g.eye_width * narrowed(g, side)
    height = -side * g.brow_angle * along * half - 0.035 * (1.0 - jnp.square(along))
    return jnp.stack([cx + along * half, cy + height], axis=-1)


def _nose(g: Geometry) -> Array:
    bridge_y = jnp.linspace(0.0, 1.0, 4) * (g.nose_y - g.eye_y) + g.eye_y
    tip_x, _ = turned(g, 0.0, g.nose_y, "nose")
    root_x, _ = turned(g, 0.0, g.eye_y, "eyes")
    _, y = turned(g, 0.0, bridge_y, "nose")
    bridge = jnp.stack([root_x + (tip_x - root_x) * jnp.linspace(0.0, 1.0, 4), y], axis=-1)
    across = jnp.linspace(-1.0, 1.0, 5)
    cx, cy = turned(g, 0.0, g.nose_y + 0.045, "nose")
    base = jnp.stack([cx + across * g.nose_width, cy - 0.02 * jnp.square(across)], axis=-1)
    return jnp.concatenate([bridge, base])


def _eye(g: Geometry, side: float) -> Array:
    cx, cy = turned(g, side * g.eye_x, g.eye_y, "eyes")
    half = g.eye_width * narrowed(g, side)
    across = jnp.array([-1.0, -0.4, 0.4, 1.0, 0.4, -0.4])
    up = jnp.array([0.0, -1.0, -1.0, 0.0, 1.0, 1.0])
    height = up * g.eye_open * (1.0 - jnp.square(across)) - side * g.eye_tilt * across * half
    return jnp.stack([cx + across * half, cy + height], axis=-1)


def _mouth(g: Geometry) -> Array:
    cx, cy = turned(g, 0.0, g.mouth_y, "mouth")
    half = g.mouth_width * jnp.sqrt(1.0 - jnp.square(g.yaw))
    upper, lower = jnp.linspace(-1.0, 1.0, 7), jnp.linspace(0.6667, -0.6667, 5)
    inner_upper, inner_lower = jnp.linspace(-0.85, 0.85, 5), jnp.array([0.45, 0.0, -0.45])
    across = jnp.concatenate([upper, lower, inner_upper, inner_lower])
    height = jnp.concatenate(
        [
            jnp.full(7, -1.0) * (0.3 * g.mouth_open + g.lip),
            jnp.full(5, 1.0) * (0.7 * g.mouth_open + 1.3 * g.lip),
            jnp.full(5, -0.3) * g.mouth_open,
            jnp.full(3, 0.7) * g.mouth_open,
        ]
    )
    arch = 1.0 - jnp.square(across)
    return jnp.stack([cx + across * half, cy - 0.5 * g.mouth_bend + (g.mouth_bend + height) * arch], axis=-1)
