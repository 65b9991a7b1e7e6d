"""Regions of faces: parsing classes, which region an attribute belongs to, and masks.

A mask is `[height, width]` bool, True inside the region.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Int

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
}
"""Facial component -> parsing classes: the last column of Table I of Style Intervention."""

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

_DILATION = 50 / 1024  # of the image side: Style Intervention, section IV-A


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
    for name in region.split("+"):
        parts = ATTRIBUTE_COMPONENTS.get(name, (name,))
        for part in parts:
            if part not in COMPONENTS and part not in PARSING_CLASSES:
                known = ", ".join(dict.fromkeys((*COMPONENTS, *ATTRIBUTE_COMPONENTS, *PARSING_CLASSES)))
                raise ValueError(f"no region {name!r}; there are {known}, and sums such as hair+face")
            found.update(COMPONENTS.get(part, (part,)))
    return tuple(name for name in PARSING_CLASSES if name in found)


def mask_of(parsing: Int[ArrayLike, "height width"], classes: Sequence[str]) -> Bool[Array, "height width"]:
    """The pixels of some parsing classes.

    Args:
        parsing: Indices into `PARSING_CLASSES`.
        classes: Names from `PARSING_CLASSES`, as from `classes_of`.

    Returns:
        The mask.

    Raises:
        ValueError: No such class.
    """
    if unknown := [name for name in classes if name not in PARSING_CLASSES]:
        raise ValueError(f"no parsing class {unknown[0]!r}; there are {', '.join(PARSING_CLASSES)}")
    chosen = jnp.array([PARSING_CLASSES.index(name) for name in classes], jnp.int32)
    return (jnp.asarray(parsing)[..., None] == chosen[None, None]).any(axis=-1)


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
