"""Draws an avatar: layers of anti-aliased shapes from back to front, each with its colour and its parsing class."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int32

from jaxedit.avatars.colors import Palette, from_wheel, mix, palette, shade
from jaxedit.avatars.factors import Factors
from jaxedit.avatars.geometry import CENTRE, ZOOM, Geometry, keypoints, measure, narrowed, outline, turned
from jaxedit.avatars.shapes import Field, Number, between, coverage, ellipse, rounded_box, segment, wave
from jaxedit.regions import PARSING_CLASSES

_CLASS = {name: index for index, name in enumerate(PARSING_CLASSES)}


class Rendering(NamedTuple):
    """One picture and what is exactly true of it.

    Attributes:
        image: `[size, size, 3]` float32 in [-1, 1].
        parsing: `[size, size]` int32, indices into `PARSING_CLASSES`.
        keypoints: `[68, 2]` float32 (x, y), -1..1 from edge to edge; see `geometry.keypoints`.
    """

    image: Float[Array, "size size 3"]
    parsing: Int32[Array, "size size"]
    keypoints: Float[Array, "68 2"]


class _Canvas(NamedTuple):
    """The picture so far: `rgb` 0..1 in planes, and the class of the topmost layer that covers most of each pixel."""

    rgb: Float[Array, "3 size size"]
    label: Int32[Array, "size size"]


class _View(NamedTuple):
    """Coordinates of the pixels: of the picture, and of the upright face; and the size of a pixel."""

    x: Field
    y: Field
    u: Field
    v: Field
    pixel: float

    def paint(self, canvas: _Canvas, distance: Field, color: Array, name: str | None = None, opacity: Number = 1.0):
        """Lays a shape over the canvas; with a `name` its pixels take that class."""
        alpha = coverage(distance, self.pixel) * opacity
        color = color if color.ndim == 3 else color[:, None, None]
        rgb = canvas.rgb + alpha[None] * (color - canvas.rgb)
        return _Canvas(rgb, canvas.label if name is None else jnp.where(alpha > 0.5, _CLASS[name], canvas.label))

    def tint(self, canvas: _Canvas, weight: Field, color: Array) -> _Canvas:
        """Mixes a colour in softly."""
        return canvas._replace(rgb=canvas.rgb + weight[None] * (color[:, None, None] - canvas.rgb))


def render(factors: Factors, *, size: int) -> Rendering:
    """Draws an avatar.

    Args:
        factors: As made by `sample_factors`.
        size: Height and width in pixels; any, with details made for 64 and more.

    Returns:
        The picture, its parsing map and its keypoints. Differentiable in the factors except for the parsing map.
    """
    g = measure(factors)
    axis = ((jnp.arange(size, dtype=jnp.float32) + 0.5) * (2.0 / size) - 1.0) / ZOOM
    x, y = jnp.meshgrid(axis, axis)
    cosine, sine = jnp.cos(g.roll), jnp.sin(g.roll)
    u, v = x * cosine + (y - CENTRE) * sine, (y - CENTRE) * cosine - x * sine
    view = _View(x, y, u, v, 2.0 / (size * ZOOM))
    colors = palette(factors)
    head = lax.optimization_barrier(_head(view, factors, g, colors))
    canvas = _Canvas(_background(view, factors), jnp.zeros((size, size), jnp.int32))
    for layer in (
        lambda canvas: _back_hair(view, canvas, factors, head),
        lambda canvas: _body(view, canvas, factors, g, colors),
        lambda canvas: _ears(view, canvas, factors, g, colors, head),
        lambda canvas: _face(view, canvas, factors, g, colors, head),
        lambda canvas: _beard(view, canvas, factors, g, colors, head),
        lambda canvas: _nose(view, canvas, g, colors),
        lambda canvas: _mouth(view, canvas, factors, g, colors),
        lambda canvas: _eye(view, canvas, factors, g, colors, -1.0, "l"),
        lambda canvas: _eye(view, canvas, factors, g, colors, 1.0, "r"),
        lambda canvas: _front_hair(view, canvas, factors, g, head),
        lambda canvas: _brow(view, canvas, g, colors, -1.0, "l"),
        lambda canvas: _brow(view, canvas, g, colors, 1.0, "r"),
        lambda canvas: _eyeglasses(view, canvas, factors, g, colors),
        lambda canvas: _hat(view, canvas, factors, g, colors),
    ):
        # Otherwise XLA draws some layers again in each that lies above them: on CPUs 2 to 6 times the work.
        canvas = lax.optimization_barrier(layer(canvas))
    rgb = jnp.clip(canvas.rgb * (1.0 + 0.10 * factors.brightness), 0.0, 1.0)
    return Rendering(2.0 * jnp.moveaxis(rgb, 0, -1) - 1.0, canvas.label, keypoints(g))


def _worn(factor: Number) -> Number:
    """Opacity of a thing that is there or not: a narrow ramp about one half."""
    return jnp.clip(4.0 * (factor - 0.5) + 0.5, 0.0, 1.0)


def _background(view: _View, factors: Factors) -> Array:
    hue, value, chroma = factors.background
    base = from_wheel(hue, 0.50 + 0.42 * value, 0.15 + 0.40 * chroma)
    glow = jnp.exp(-(jnp.square(view.x) + jnp.square(view.y + 0.1)) / 0.9) - 0.25 * view.y
    return jnp.clip(base[:, None, None] * (0.86 + 0.22 * glow[None]), 0.0, 1.0)


def _hair_color(view: _View, factors: Factors, colors: Palette) -> Array:
    """Strands along the head; curls break them into blobs."""
    u, v, curl = view.u, view.v, factors.hair_curl
    strands = wave(34.0 * u * (1.0 + 0.35 * v) + 5.0 * curl * wave(11.0 * v))
    blobs = wave(21.0 * u + 2.0 * wave(9.0 * v)) * wave(21.0 * v + 2.0 * wave(9.0 * u))
    gloss = jnp.exp(-jnp.square((v + 0.52 - 0.35 * jnp.square(u) - 0.12 * u * factors.light) / 0.09))
    light = 1.0 + 0.10 * (1.0 - curl) * strands + 0.22 * curl * blobs + 0.30 * (1.0 - 0.7 * curl) * gloss
    light = light + 0.16 * factors.light * u - 0.14 * jnp.clip(v, 0.0, 1.0)
    return jnp.clip(colors.hair[:, None, None] * light[None] + 0.05 * gloss[None], 0.0, 1.0)


def _frizz(view: _View, factors: Factors) -> Field:
    """How far the outline of the hair is moved outwards."""
    u, v = view.u, view.v
    waves = wave(19.0 * u + 1.0) * wave(19.0 * v) + 0.5 * wave(31.0 * u - 17.0 * v)
    return factors.hair_curl * (0.035 + 0.030 * waves) + 0.035 * factors.hair_volume


class _Head(NamedTuple):
    """What several layers have in common: distances to the face and the hair, and the hair's colour."""

    face: Field
    hair: Field
    locks: Field
    hair_color: Float[Array, "3 size size"]


def _head(view: _View, factors: Factors, g: Geometry, colors: Palette) -> _Head:
    frizz = _frizz(view, factors)
    cx, cy = turned(g, 0.0, -0.10, "hair")
    hair = ellipse(view.u - cx, view.v - cy, g.half_width + 0.10, g.top + 0.11) - frizz
    return _Head(_face_distance(view, g), hair, _locks(view, factors, g) - frizz, _hair_color(view, factors, colors))


def _locks(view: _View, factors: Factors, g: Geometry) -> Field:
    """Long hair: a rounded box that grows downwards, as wide as the hair is."""
    cx, _ = turned(g, 0.0, 0.0, "hair")
    end = 0.10 + 0.80 * factors.hair_length
    half = g.half_width + 0.045 + 0.07 * factors.hair_length
    spread = 1.0 + 0.10 * jnp.clip(view.v, 0.0, 1.0)
    return rounded_box((view.u - cx) / spread, view.v + 0.25 - 0.5 * end, half, 0.25 + 0.5 * end, 0.16)


def _back_hair(view: _View, canvas: _Canvas, factors: Factors, head: _Head) -> _Canvas:
    canvas = view.paint(canvas, head.hair, head.hair_color * 0.72, "hair")
    long = jnp.clip(4.0 * factors.hair_length - 0.6, 0.0, 1.0)
    return view.paint(canvas, head.locks, head.hair_color * 0.72, "hair", long)


def _body(view: _View, canvas: _Canvas, factors: Factors, g: Geometry, colors: Palette) -> _Canvas:
    neck_x = 0.35 * view.u + 0.65 * view.x - 0.04 * g.yaw
    half = 0.215 + 0.05 * (factors.gender - 0.5)
    shadow = 1.0 - 0.26 * jnp.exp(-jnp.square((view.v - g.bottom - 0.02) / 0.15))
    light = shadow + 0.12 * factors.light * neck_x / half
    neck = rounded_box(neck_x, view.y - 0.65, half, 0.38, 0.05)
    canvas = view.paint(canvas, neck, shade(colors.skin * 0.93, light), "neck")
    shoulders = ellipse(view.x, view.y - 1.14, 0.84 + 0.12 * (factors.gender - 0.5), 0.44)
    neckline = ellipse(view.x, view.y - 0.66, 0.26, 0.125)
    chest = view.paint(canvas, shoulders, shade(colors.skin * 0.93, light), "neck")
    folds = 1.0 - 0.10 * wave(9.0 * view.x + 1.57) + 0.18 * factors.light * view.x
    canvas = view.paint(chest, jnp.maximum(shoulders, -neckline), shade(colors.clothing, folds), "cloth")
    collar = jnp.abs(neckline - 0.03) - 0.028
    canvas = view.paint(canvas, jnp.maximum(shoulders, collar), colors.clothing * 0.72, "cloth")
    chain = jnp.maximum(jnp.abs(ellipse(neck_x, view.y - 0.62, 0.215, 0.115)) - 0.024, 0.63 - view.y)
    beads = 0.85 + 0.25 * wave(38.0 * neck_x)
    gold = shade(jnp.array([0.98, 0.82, 0.30]), beads)
    return view.paint(canvas, chain, gold, "neck_l", _worn(factors.necklace))


def _ears(view: _View, canvas: _Canvas, factors: Factors, g: Geometry, colors: Palette, head: _Head) -> _Canvas:
    places = {}
    for side, name in ((-1.0, "l"), (1.0, "r")):
        cx, cy = turned(g, side * (g.half_width + 0.03), g.eye_y + 0.13, "ears")
        places[side] = cx, cy
        x, y = view.u - cx, view.v - cy
        canvas = view.paint(canvas, ellipse(x, y, 0.62 * g.ear, g.ear), colors.skin * 0.94, f"{name}_ear")
        inner = ellipse(x + 0.02 * side, y, 0.30 * g.ear, 0.62 * g.ear)
        canvas = view.paint(canvas, inner, colors.skin * 0.76)
    locks = jnp.maximum(head.locks, 0.70 * g.half_width - jnp.abs(view.u))
    canvas = view.paint(
        canvas, locks, head.hair_color * 0.86, "hair", jnp.clip(4.0 * factors.hair_length - 1.4, 0.0, 1.0)
    )
    for side in (-1.0, 1.0):
        cx, cy = places[side]
        x, y = view.u - cx, view.v - cy - g.ear - 0.045
        canvas = view.paint(
            canvas, ellipse(x, y, 0.048, 0.062), colors.accent * 1.15 + 0.1, "ear_r", _worn(factors.earrings)
        )
    return canvas


def _face_coordinates(view: _View, g: Geometry) -> tuple[Field, Field]:
    cx, cy = turned(g, 0.0, 0.0, "face")
    return view.u - cx, view.v - cy


def _face_distance(view: _View, g: Geometry) -> Field:
    """Distance to the outline: the horizontal one, shorter where the outline slopes, or the vertical one."""
    x, y = _face_coordinates(view, g)
    half, slope = outline(g, y)
    sideways = (jnp.abs(x) - half) / jnp.sqrt(1.0 + jnp.square(jnp.clip(slope, -3.0, 3.0)))
    return jnp.maximum(sideways, jnp.maximum(y - g.bottom, -g.top - y))


def _face(view: _View, canvas: _Canvas, factors: Factors, g: Geometry, colors: Palette, head: _Head) -> _Canvas:
    x, y = _face_coordinates(view, g)
    distance = head.face
    rim = jnp.exp(-jnp.square(jnp.minimum(distance, 0.0) / 0.10))
    light = 1.03 + 0.20 * factors.light * x / g.half_width - 0.06 * y - 0.13 * rim
    canvas = view.paint(canvas, distance, shade(colors.skin, light), "skin")
    inside = coverage(distance, view.pixel)
    for side in (-1.0, 1.0):
        cx, cy = turned(g, side * (g.eye_x + 0.06), 0.17, "mouth")
        cheek = jnp.exp(-(jnp.square(view.u - cx) + jnp.square(view.v - cy)) / 0.016)
        blush = (0.14 + 0.16 * factors.smile) * (1.0 - 0.6 * factors.age)
        canvas = view.tint(
            canvas, inside * cheek * blush, jnp.array([0.93, 0.36, 0.33]) * (1.0 - 0.4 * factors.skin_tone)
        )
    return _wrinkles(view, canvas, factors, g, colors)


def _wrinkles(view: _View, canvas: _Canvas, factors: Factors, g: Geometry, colors: Palette) -> _Canvas:
    crease = colors.skin * 0.66
    for side in (-1.0, 1.0):
        ax, ay = turned(g, side * (g.nose_width + 0.02), g.nose_y + 0.01, "mouth")
        bx, by = turned(g, side * (g.mouth_width + 0.05), g.mouth_y - 0.02, "mouth")
        fold = segment(view.u, view.v, ax, ay, bx, by) - 0.012
        canvas = view.paint(canvas, fold, crease, None, jnp.minimum(0.85 * factors.age + 0.18 * factors.smile, 1.0))
        cx, cy = turned(g, side * g.eye_x, g.eye_y + g.eye_open + 0.055, "eyes")
        bag = jnp.abs(between(view.u - cx, view.v - cy, 0.11, 0.05, 0.012, 0.012)) - 0.004
        canvas = view.paint(canvas, bag, crease, None, 0.75 * factors.age)
    for height in (0.115, 0.19):
        cx, cy = turned(g, 0.0, g.brow_y - height, "brows")
        line = between(view.u - cx, view.v - cy, 0.20, -0.03, 0.014, 0.014)
        canvas = view.paint(canvas, line, crease, None, 0.80 * factors.age)
    return canvas


def _beard(view: _View, canvas: _Canvas, factors: Factors, g: Geometry, colors: Palette, head: _Head) -> _Canvas:
    x, y = _face_coordinates(view, g)
    mx, my = turned(g, 0.0, g.mouth_y, "mouth")
    cheek = 0.16 + 0.55 * jnp.square(x / g.half_width) * (g.eye_y + 0.14 - 0.16) / 0.55
    jaw = jnp.maximum(head.face - 0.025, cheek + 0.18 - 0.62 * jnp.square(x / g.half_width) - y)
    bare = ellipse(view.u - mx, view.v - my, g.mouth_width + 0.02, 0.085 + 0.6 * g.mouth_open)
    moustache = between(view.u - mx, view.v - my + 0.075, g.mouth_width + 0.06, 0.045, 0.050, 0.035)
    strands = 1.0 + 0.05 * wave(34.0 * view.u + 6.0 * wave(7.0 * view.v))
    color = shade(colors.hair * 0.88 + 0.02, strands)
    canvas = view.paint(canvas, jnp.maximum(jaw, -bare), color, "skin", 0.94 * factors.beard)
    return view.paint(canvas, moustache, color, "skin", 0.94 * factors.beard)


def _nose(view: _View, canvas: _Canvas, g: Geometry, colors: Palette) -> _Canvas:
    tip_x, tip_y = turned(g, 0.0, g.nose_y, "nose")
    root_x, root_y = turned(g, 0.0, g.eye_y + 0.02, "eyes")
    u, v = view.u, view.v
    along = jnp.clip((v - root_y) / (tip_y - root_y), 0.0, 1.0)
    middle = root_x + along * (tip_x - root_x)
    bridge = jnp.maximum(jnp.abs(u - middle) - 0.030 - 0.035 * along, jnp.maximum(root_y - v, v - tip_y))
    wings = ellipse(u - tip_x, v - tip_y, g.nose_width + 0.012, 0.062)
    shape = jnp.minimum(bridge, wings)
    light = 0.90 - 0.10 * jnp.clip((v - tip_y) / 0.06, 0.0, 1.0) + 0.15 * jnp.exp(-jnp.square((u - middle) / 0.028))
    canvas = view.paint(canvas, shape, shade(colors.skin * jnp.array([1.0, 0.955, 0.94]), light), "nose")
    for side in (-1.0, 1.0):
        hole = ellipse(u - tip_x - side * 0.55 * g.nose_width, v - tip_y - 0.032, 0.024, 0.015)
        canvas = view.paint(canvas, hole, colors.skin * 0.42)
    return canvas


def _mouth(view: _View, canvas: _Canvas, factors: Factors, g: Geometry, colors: Palette) -> _Canvas:
    cx, cy = turned(g, 0.0, g.mouth_y, "mouth")
    x, y = view.u - cx, view.v - cy + 0.5 * g.mouth_bend
    half = g.mouth_width * jnp.sqrt(1.0 - jnp.square(g.yaw))
    up, down = 0.3 * g.mouth_open, 0.7 * g.mouth_open
    canvas = view.paint(canvas, between(x, y, half, g.mouth_bend, -down, down + 1.3 * g.lip), colors.lips, "l_lip")
    canvas = view.paint(canvas, between(x, y, half, g.mouth_bend, up + g.lip, -up), colors.lips * 0.86, "u_lip")
    opening = between(x, y, 0.93 * half, g.mouth_bend, up, down)
    canvas = view.paint(canvas, opening, jnp.array([0.30, 0.06, 0.08]), "mouth")
    teeth = between(x, y, 0.86 * half, g.mouth_bend, up, 0.25 * g.mouth_open)
    canvas = view.paint(canvas, teeth, jnp.array([0.97, 0.96, 0.93]), None, jnp.clip(12.0 * g.mouth_open, 0.0, 1.0))
    seam = jnp.abs(y - g.mouth_bend * (1.0 - jnp.square(x / half))) - 0.009
    closed = jnp.clip(1.0 - 14.0 * g.mouth_open, 0.0, 1.0)
    return view.paint(canvas, jnp.maximum(seam, jnp.abs(x) - half), colors.lips * 0.5, None, closed)


def _eye(
    view: _View, canvas: _Canvas, factors: Factors, g: Geometry, colors: Palette, side: float, name: str
) -> _Canvas:
    cx, cy = turned(g, side * g.eye_x, g.eye_y, "eyes")
    half = g.eye_width * narrowed(g, side)
    x = view.u - cx
    y = view.v - cy + side * g.eye_tilt * x
    opening = between(x, y, half, 0.0, g.eye_open, g.eye_open)
    lashes = 0.010 + 0.016 * (1.0 - factors.gender)
    lid = between(x, y + 0.004, half + 0.012, 0.0, g.eye_open + lashes, -0.2 * g.eye_open)
    canvas = view.paint(canvas, lid, jnp.array([0.10, 0.07, 0.07]))
    canvas = view.paint(canvas, opening, jnp.array([0.97, 0.97, 0.98]), f"{name}_eye")
    ix = x - 0.05 * g.yaw
    iris = jnp.maximum(ellipse(ix, y, 0.066, 0.066), opening)
    canvas = view.paint(canvas, iris, colors.iris)
    pupil = jnp.maximum(ellipse(ix, y, 0.031, 0.031), opening)
    canvas = view.paint(canvas, pupil, jnp.array([0.03, 0.03, 0.04]))
    glint = jnp.maximum(ellipse(ix - 0.024, y + 0.026, 0.017, 0.017), opening)
    return view.paint(canvas, glint, jnp.array([1.0, 1.0, 1.0]))


def _brow(view: _View, canvas: _Canvas, g: Geometry, colors: Palette, side: float, name: str) -> _Canvas:
    cx, cy = turned(g, side * (g.eye_x + 0.005), g.brow_y, "brows")
    half = 1.25 * g.eye_width * narrowed(g, side)
    x = view.u - cx
    y = view.v - cy + side * g.brow_angle * x
    shape = between(x, y, half, -0.035, g.brow_thickness, g.brow_thickness)
    return view.paint(canvas, shape, colors.hair * 0.62 + 0.03, f"{name}_brow")


def _front_hair(view: _View, canvas: _Canvas, factors: Factors, g: Geometry, head: _Head) -> _Canvas:
    x, y = _face_coordinates(view, g)
    cap, hair = head.hair, head.hair_color
    strands = wave(26.0 * view.u + 3.0 * wave(5.0 * view.u))
    hairline = -0.36 - 0.05 * (factors.gender - 0.5) + 0.16 * factors.hair_part * x - 0.03 * factors.age
    window = ellipse(x, y - 0.35, g.half_width * 0.955, 0.35 - hairline)
    sides = y - (g.eye_y + 0.02 + 0.10 * factors.hair_length + 0.02 * strands)
    canvas = view.paint(canvas, jnp.maximum(jnp.maximum(cap, -window), sides), hair, "hair")
    end = mix(jnp.float32(-0.52), g.brow_y + 0.005, factors.bangs)
    fringe = y - (end + 0.05 * jnp.square(x / g.half_width) + (0.012 + 0.02 * factors.hair_curl) * strands)
    fringe = jnp.maximum(jnp.maximum(cap, fringe), jnp.abs(x) - g.half_width * 0.98)
    return view.paint(canvas, fringe, hair * 0.97, "hair", jnp.clip(6.0 * factors.bangs, 0.0, 1.0))


def _eyeglasses(view: _View, canvas: _Canvas, factors: Factors, g: Geometry, colors: Palette) -> _Canvas:
    frame, rim = colors.accent * 0.35, 0.020
    lenses, rims = [], []
    for side in (-1.0, 1.0):
        cx, cy = turned(g, side * (g.eye_x + 0.005), g.eye_y + 0.015, "eyes")
        half = 0.172 * narrowed(g, side)
        corner = mix(jnp.float32(0.128), jnp.float32(0.035), factors.glasses_shape)
        lens = rounded_box(view.u - cx, view.v - cy, half, 0.132, corner)
        lenses.append(lens)
        rims.append(jnp.abs(lens) - rim)
    (lx, ly), (rx, _) = (turned(g, side * (g.eye_x - 0.16), g.eye_y, "eyes") for side in (-1.0, 1.0))
    rims.append(segment(view.u, view.v - ly, lx, 0.0, rx, 0.0) - rim * 0.8)
    for side in (-1.0, 1.0):
        ax, ay = turned(g, side * (g.eye_x + 0.17), g.eye_y, "eyes")
        bx, by = turned(g, side * g.half_width, g.eye_y + 0.02, "ears")
        rims.append(segment(view.u, view.v, ax, ay, bx, by) - rim * 0.8)
    glass = jnp.minimum(*lenses)
    shine = 0.16 + 0.20 * jnp.exp(-jnp.square((view.u - view.v * 0.6 + 0.12) / 0.05))
    canvas = view.tint(
        canvas, coverage(glass, view.pixel) * shine * _worn(factors.eyeglasses), jnp.array([0.90, 0.96, 1.0])
    )
    every = rims[0]
    for distance in rims[1:]:
        every = jnp.minimum(every, distance)
    canvas = view.paint(canvas, every, frame, None, _worn(factors.eyeglasses))
    worn = (jnp.minimum(every, glass) < 0.0) & (factors.eyeglasses > 0.5)
    return canvas._replace(label=jnp.where(worn, _CLASS["eye_g"], canvas.label))


def _hat(view: _View, canvas: _Canvas, factors: Factors, g: Geometry, colors: Palette) -> _Canvas:
    cx, cy = turned(g, 0.0, -0.14, "hair")
    x, y = view.u - cx, view.v - cy
    brim_y = -0.30 + 0.10 * jnp.square(x / g.half_width)
    crown = jnp.maximum(ellipse(x, y, g.half_width + 0.14, g.top + 0.13), y - brim_y)
    knit = 1.0 + 0.10 * wave(30.0 * x) + 0.15 * factors.light * x
    canvas = view.paint(canvas, crown, shade(colors.accent, knit), "hat", _worn(factors.hat))
    brim = jnp.maximum(jnp.abs(y - brim_y - 0.03) - 0.065, jnp.abs(x) - g.half_width - 0.13)
    return view.paint(canvas, brim, shade(colors.accent * 0.72, knit), "hat", _worn(factors.hat))
