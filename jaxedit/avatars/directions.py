"""The directions that come with the built-in generator: one per attribute, in Z, W and S."""

from __future__ import annotations

import importlib.resources
from typing import Literal

from jaxedit.avatars.factors import ATTRIBUTES
from jaxedit.directions import files
from jaxedit.spaces import Direction

FittedSpace = Literal["z", "w", "s"]


def load_direction(attribute: str, *, space: FittedSpace = "w") -> Direction:
    """Reads a direction that comes with the package.

    Args:
        attribute: One of `ATTRIBUTES`.
        space: "z", "w" or "s".

    Returns:
        The direction, towards "has it".

    Raises:
        ValueError: There is no such attribute.
    """
    if attribute not in ATTRIBUTES:
        raise ValueError(f"there is no attribute {attribute!r}; there are {', '.join(ATTRIBUTES)}")
    folder = importlib.resources.files("jaxedit.avatars") / "weights" / "directions" / space
    with importlib.resources.as_file(folder) as path:
        return files.load_direction(path / f"{attribute}.safetensors")


def load_directions(*, space: FittedSpace = "w") -> tuple[Direction, ...]:
    """Reads the directions that come with the package.

    Args:
        space: "z", "w" or "s".

    Returns:
        One direction per name in `ATTRIBUTES`, towards "has it".
    """
    return tuple(load_direction(attribute, space=space) for attribute in ATTRIBUTES)
