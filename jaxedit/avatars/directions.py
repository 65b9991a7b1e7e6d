"""The directions that come with the built-in generator: one per attribute, in Z, W and S."""

from __future__ import annotations

import importlib.resources
from typing import Literal

from jaxedit.avatars.factors import ATTRIBUTES
from jaxedit.directions.files import load_direction
from jaxedit.spaces import Direction

FittedSpace = Literal["z", "w", "s"]


def load_directions(*, space: FittedSpace = "w") -> tuple[Direction, ...]:
    """Reads the directions that come with the package.

    Args:
        space: "z", "w" or "s".

    Returns:
        One direction per name in `ATTRIBUTES`, towards "has it".
    """
    folder = importlib.resources.files("jaxedit.avatars") / "weights" / "directions" / space
    with importlib.resources.as_file(folder) as path:
        return tuple(load_direction(path / f"{name}.safetensors") for name in ATTRIBUTES)
