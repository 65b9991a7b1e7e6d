"""Directions that come with the package, in the W of StyleGAN2-FFHQ: for MobileStyleGAN, its student, and others."""

from __future__ import annotations

import importlib.resources

from jaxedit.directions import files
from jaxedit.spaces import Direction

NAMES = ("smile", "age", "gender", "mouth_open", "yaw")
"""Their names; `docs/commands.md` says what they were fitted to and what they do."""


def load_direction(name: str) -> Direction:
    """Reads a direction that comes with the package.

    Args:
        name: One of `NAMES`.

    Returns:
        The direction `[512]` in W, towards more of it (gender: towards what the network calls male; yaw: to the right).
        Its source is the published MobileStyleGAN.

    Raises:
        ValueError: There is no direction of that name.
    """
    if name not in NAMES:
        raise ValueError(f"there is no direction {name!r}; there are {', '.join(NAMES)}")
    folder = importlib.resources.files("jaxedit.directions") / "weights" / "ffhq"
    with importlib.resources.as_file(folder) as path:
        return files.load_direction(path / f"{name}.safetensors")


def load_directions() -> tuple[Direction, ...]:
    """Reads the directions that come with the package.

    Returns:
        One per name in `NAMES`.
    """
    return tuple(load_direction(name) for name in NAMES)
