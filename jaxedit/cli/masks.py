"""Masks from files: where images may change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxedit import images
from jaxedit.digests import file_digest
from jaxedit.messages import warn


def mask_files(masks: Path, names: Sequence[str], *, side: int) -> dict[str, Path]:
    """Finds the mask of each picture; odd ones among them are warned of.

    Args:
        masks: A picture for all, or a folder with NAME.png for each.
        names: Of the pictures.
        side: Pixels of the pictures, each way.

    Returns:
        Name -> file.

    Raises:
        ValueError: A mask is no picture, of another size, or drawn in its transparency; or none of them says anything.
        OSError: One is missing or can't be read.
    """
    folder = masks.is_dir()
    found = {name: masks / f"{name}.png" if folder else masks for name in names}
    same = {}  # masks that are all of one kind, with what that means
    for path in dict.fromkeys(found.values()):
        mask = read_mask(path)
        if mask.shape != (side, side):
            raise ValueError(f"{path}: {mask.shape[1]} x {mask.shape[0]} pixels; the images have {side} x {side}")
        if mask.all() or not mask.any():
            same[path] = "every pixel may change" if mask.any() else "no pixel may change, as none is white (255)"
    if same:
        path, meaning = next(iter(same.items()))
        others = f", and {len(same) - 1} more masks are like that" if len(same) > 1 else ""
        message = f"{path}: {meaning}{others}; a mask is white where the image may change and black elsewhere"
        if len(same) == len(set(found.values())):
            raise ValueError(message)
        warn(message)
    return found


def read_mask(path: Path) -> np.ndarray:
    """White pixels of a picture.

    Args:
        path: PNG, JPEG or WebP of 8 bits per channel or less.

    Returns:
        `[height, width]` bool, True where the picture is brighter than grey.

    Raises:
        ValueError: Not such a picture, or one whose shape is in its transparency.
        OSError: It can't be read.
    """
    picture = images.open_picture(path)
    if picture.mode.startswith(("I", "F")):
        raise ValueError(f"{path}: a mask has 8 bits or less per channel")
    if picture.has_transparency_data and np.asarray(picture.convert("RGBA"))[..., 3].min() < 255:
        raise ValueError(f"{path}: parts are transparent; a mask says in white and black where the image may change")
    return np.asarray(picture.convert("L")) > 127


def masks_digest(path: Path) -> str | dict[str, str]:
    """What stands for a mask, or for each of a folder."""
    if not path.is_dir():
        return file_digest(path)
    return {name: file_digest(path / name) for name in sorted(file.name for file in path.glob("*.png"))}
