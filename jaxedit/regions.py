"""Regions of faces: parsing classes, which region an attribute belongs to, and masks by a parser or by landmarks.

A mask is `[height, width]` bool, True inside the region.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

PARSING_CLASSES = (
    "background",
    "skin",
    "l_brow",
    "r_brow",
    "l_eye",
    "r_eye",
    "eye_g",
    "l_ear",
    "r_ear",
    "ear_r",
    "nose",
    "mouth",
    "u_lip",
    "l_lip",
    "neck",
    "neck_l",
    "cloth",
    "hair",
    "hat",
)
"""The 19 classes of CelebAMask-HQ in the order of BiSeNet's face parsing (`face-parsing.PyTorch`), which is not the
order of CelebAMask-HQ's own files. In avatars left is the viewer's left."""

COMPONENTS = {
    "hair": ("hair",),
    "mouth": ("mouth", "u_lip", "l_lip"),
    "eyes": ("l_eye", "r_eye"),
    "face": (
        *("skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear"),
        *("nose", "mouth", "u_lip", "l_lip"),
    ),
    "brows": ("l_brow", "r_brow"),
    "lips": ("u_lip", "l_lip"),
}
"""Facial component -> parsing classes: the last column of Table I of Style Intervention, then two that it lacks."""

ATTRIBUTE_COMPONENTS = {
    "gender": ("hair", "face"),
    "age": ("hair", "face"),
    "smile": ("mouth",),
    "eyeglasses": ("eyes",),
    "mouth_open": ("mouth",),
    "narrow_eyes": ("face",),
    "bangs": ("face",),
    "black_hair": ("hair",),
    "blond_hair": ("hair",),
    "grey_hair": ("hair",),
    "curly_hair": ("hair",),
    "beard": ("face",),
}
"""Attribute -> facial components: Table I of Style Intervention. Its rows for the colour and form of hair are lost in
print; they belong to the hair. The attribute that the paper names after a part of the world is `narrow_eyes` here."""

STYLESPACE_REGIONS = (
    *(("background",), ("skin",), ("l_brow", "r_brow"), ("l_eye", "r_eye"), ("l_ear", "r_ear"), ("nose",)),
    *(("mouth", "u_lip", "l_lip"), ("neck",), ("cloth",), ("hair",)),
)
"""The regions that StyleSpace's code counts channels for; other classes belong to none."""

LANDMARK_OUTLINES = {
    "mouth": tuple(range(48, 60)),
    "face": tuple(range(17)),
    "l_brow": tuple(range(17, 22)),
    "r_brow": tuple(range(22, 27)),
    "l_eye": tuple(range(36, 42)),
    "r_eye": tuple(range(42, 48)),
    "nose": (27, *range(31, 36)),
    "u_lip": (*range(48, 55), *range(64, 59, -1)),
    "l_lip": (*range(54, 60), 48, 60, *range(67, 63, -1)),
}
"""Region -> those of the 68 landmarks (iBUG 300-W) that it is drawn from: see `landmark_mask`."""

_DILATION = 50 / 1024  # of the image side: Style Intervention, section IV-A
_BROW = 0.12  # thickness, of the distance between the eyes
_FOREHEAD = 0.3  # of the distance from the chin to the brows


def classes_of(region: str) -> tuple[str, ...]:
    """The parsing classes of a region.

    Args:
        region: An attribute of `ATTRIBUTE_COMPONENTS`, a component, a parsing class, or several joined by "+".

    Returns:
        Names from `PARSING_CLASSES` in their order.

    Raises:
        ValueError: No such region; the message lists them.
    """
    found: set[str] = set()
    for part in _parts(region):
        if part not in COMPONENTS and part not in PARSING_CLASSES:
            known = ", ".join(dict.fromkeys((*COMPONENTS, *ATTRIBUTE_COMPONENTS, *PARSING_CLASSES)))
            raise ValueError(f"no region {part!r}; there are {known}, and sums such as hair+face")
        found.update(COMPONENTS.get(part, (part,)))
    return tuple(name for name in PARSING_CLASSES if name in found)


def _parts(region: str) -> list[str]:
    """The summands of a region, attributes as components."""
    return [part for name in region.split("+") for part in ATTRIBUTE_COMPONENTS.get(name, (name,))]


def mask_of(
    parsing: Int[ArrayLike, "height width"], classes: Sequence[str], *, names: Sequence[str] = PARSING_CLASSES
) -> Bool[Array, "height width"]:
    """The pixels of some parsing classes.

    Args:
        parsing: Indices into `names`.
        classes: Some of `names`, by default as from `classes_of`.
        names: All classes; those of faces by default.

    Returns:
        The mask.

    Raises:
        ValueError: No such class.
    """
    if unknown := [name for name in classes if name not in names]:
        raise ValueError(f"no parsing class {unknown[0]!r}; there are {', '.join(names)}")
    chosen = jnp.array([names.index(name) for name in classes], jnp.int32)
    return (jnp.asarray(parsing)[..., None] == chosen[None, None]).any(axis=-1)


def landmark_mask(
    landmarks: Float[ArrayLike, "68 2"], *, region: str, height: int, width: int
) -> Bool[Array, "{height} {width}"]:
    """The pixels of a region as facial landmarks outline it, where there is no parser.

    Regions have the names that `classes_of` takes, and are what a parser calls so, but drawn whole: also what hair, a
    hand, or glasses hide. Eyes, mouth and lips are the polygons of their landmarks. Landmarks say less than a parser
    of the nose, whose wings lie outside its polygon; of the brows, which are lines, drawn 0.12 of the distance between
    the eyes thick; and of the face, which has no ears, and for a forehead half an ellipse that stands on the ends of
    the jaw and tops the brows by 0.3 of the distance from the chin to them. "mouth" is the whole mouth, as in
    `classes_of`.

    Args:
        landmarks: 68 points (x, y) in the order of iBUG 300-W: x to the right and y down, -1 and 1 at the
            image's edges.
        region: A region of `LANDMARK_OUTLINES`, one of the components "eyes", "brows" and "lips", an attribute of
            `ATTRIBUTE_COMPONENTS` that has no hair, or several joined by "+". l_eye is at the viewer's left.
        height: Of the mask.
        width: Of the mask.

    Returns:
        The mask: the pixels whose centres lie inside by the even-odd rule. Nothing lies inside if a landmark, of the
        region or not, is not a finite number.

    Raises:
        ValueError: No such region, or no landmarks outline it (hair, skin, ears); the message lists those that are.
    """
    points = (jnp.asarray(landmarks, jnp.float32) + 1.0) * jnp.array([[0.5 * width, 0.5 * height]], jnp.float32)
    mask = jnp.zeros((height, width), bool)
    for name in _outlines(region):
        mask |= _drawn(points, name, height, width)
    return mask & jnp.isfinite(points).all()


def _outlines(region: str) -> list[str]:
    """The names in `LANDMARK_OUTLINES` that make up a region."""
    found: dict[str, None] = {}
    for part in _parts(region):
        names = (part,) if part in LANDMARK_OUTLINES else COMPONENTS.get(part, (part,))
        if not LANDMARK_OUTLINES.keys() >= set(names):
            known = ", ".join((*LANDMARK_OUTLINES, "eyes", "brows", "lips"))
            raise ValueError(f"no landmarks outline {part!r}; they do {known}, and sums such as eyes+mouth")
        found |= dict.fromkeys(names)
    return list(found)


def _drawn(points: Array, name: str, height: int, width: int) -> Array:
    """One outline, from points in pixels."""
    outline = points[np.array(LANDMARK_OUTLINES[name])]
    if name.endswith("brow"):
        eyes = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
        return _stroke(outline, 0.5 * _BROW * jnp.linalg.norm(eyes), height, width)
    if name == "face":
        ends, brows = points[np.array([16, 0])], points[17:27].mean(axis=0)
        middle = ends.mean(axis=0)
        top = brows + _FOREHEAD * (brows - points[8]) - middle
        arch = np.linspace(0.0, np.pi, 18, dtype=np.float32)[1:-1, None]
        arch = middle[None] + np.cos(arch) * (ends[0] - middle)[None] + np.sin(arch) * top[None]
        outline = jnp.concatenate([outline, arch])
    return _inside(outline, height, width)


def _inside(polygon: Array, height: int, width: int) -> Array:
    """Which pixels have their centres inside a polygon: an odd number of edges lies to their right."""
    columns, rows = jnp.arange(width, dtype=jnp.float32) + 0.5, jnp.arange(height, dtype=jnp.float32) + 0.5
    x, y = polygon[:, 0, None], polygon[:, 1, None]
    next_x, next_y = jnp.roll(x, -1, axis=0), jnp.roll(y, -1, axis=0)
    crosses = (y <= rows[None]) != (next_y <= rows[None])
    slope = (next_x - x) / jnp.where(crosses, next_y - y, 1.0)
    crossing = jnp.where(crosses, x + slope * (rows[None] - y), -jnp.inf)
    return jnp.logical_xor.reduce(columns[None, None] < crossing[:, :, None], axis=0)


def _stroke(line: Array, radius: Array, height: int, width: int) -> Array:
    """Which pixels have their centres within `radius` of an open line."""
    x, y = jnp.arange(width, dtype=jnp.float32)[None] + 0.5, jnp.arange(height, dtype=jnp.float32)[:, None] + 0.5
    mask = jnp.zeros((height, width), bool)
    for start, step in zip(line[:-1], jnp.diff(line, axis=0), strict=True):
        dx, dy = x - start[0], y - start[1]
        along = jnp.clip((dx * step[0] + dy * step[1]) / jnp.maximum(step @ step, 1e-9), 0.0, 1.0)
        mask |= jnp.square(dx - along * step[0]) + jnp.square(dy - along * step[1]) < jnp.square(radius)
    return mask


def dilate(mask: Bool[ArrayLike, "height width"], *, size: int | None = None) -> Bool[Array, "height width"]:
    """Grows a mask by an elliptic kernel. Equal to OpenCV's `dilate` with `getStructuringElement(MORPH_ELLIPSE)`.

    OpenCV's ellipses of even size are lopsided, and so is the result: the pixel whose neighbourhood they are lies half
    a pixel right of and below the middle.

    Args:
        mask: The mask.
        size: Side of the kernel in pixels, at least 1. By default the 50 pixels at 1024 of Style Intervention
            (section IV-A), in proportion to the height and rounded half up: 13 at 256 px, 3 at 64 px.

    Returns:
        The dilated mask.

    Raises:
        ValueError: `size` is below 1.
    """
    mask = jnp.asarray(mask, bool)
    height, width = mask.shape
    size = max(1, math.floor(_DILATION * height + 0.5)) if size is None else size
    if size < 1:
        raise ValueError(f"size is {size}; a dilation needs a kernel of 1 pixel or more")
    # How many True there are left of each column, with room for spans that leave the image.
    counts = jnp.cumsum(jnp.pad(mask, ((size, size), (1 + size, size))).astype(jnp.int32), axis=1)
    dilated = jnp.zeros_like(mask)
    for row, (first, last) in enumerate(_ellipse_spans(size)):
        top = size + row - size // 2
        before, after = size + first, size + last
        rows = counts[top : top + height]
        dilated |= rows[:, after : after + width] > rows[:, before : before + width]
    return dilated


def _ellipse_spans(size: int) -> list[tuple[int, int]]:
    """For each row of OpenCV's elliptic kernel the columns [first, last) that are set, relative to its anchor."""
    radius = size // 2
    spans = []
    for row in range(size):
        distance = row - radius
        inside = math.sqrt((radius**2 - distance**2) / radius**2) if radius else 0.0
        half = int(np.rint(radius * inside))
        spans.append((max(radius - half, 0) - radius, min(radius + half + 1, size) - radius))
    return spans
