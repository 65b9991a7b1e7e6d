"""The directions that a command was given: files, or for the built-in generator the names of its attributes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar, get_args

from jaxedit import checkpoints
from jaxedit.cli.array_files import read_arrays
from jaxedit.cli.options import Edit, FindDirection, FitDirection, Intervene, Palette
from jaxedit.directions import ffhq, files
from jaxedit.generators.base import Generator
from jaxedit.messages import warn
from jaxedit.spaces import Direction
from jaxedit.suggestions import choose

Command = TypeVar("Command", Edit, Intervene, FitDirection, FindDirection, Palette)


def with_spaces(command: Command, generator: Generator | None) -> Command:
    """The command with its spaces as the generator calls them, however they were written.

    Args:
        command: `space` and `latents_space` are names, such as "W+".
        generator: Has the spaces; None for a StyleGAN2.

    Raises:
        ValueError: There is no such space; one line.
    """
    names = ("z", "w", "w_plus", "s") if generator is None else [space.name for space in generator.spaces]
    given = {field: getattr(command, field, None) for field in ("space", "latents_space")}
    chosen = {field: choose(name, names, kind="space") for field, name in given.items() if name is not None}
    return dataclasses.replace(command, **chosen)


def given_direction(path: Path, command: Edit | Intervene | Palette, generator: Generator) -> Direction:
    """Reads a direction and checks that it fits the generator.

    Args:
        path: A file, or the name of a built-in direction.
        command: Its space and whether directions of relatives will do.
        generator: The generator to edit with it.

    Raises:
        ValueError: It doesn't fit, or there is none of that name; one line.
        OSError: The file can't be read.
    """
    named = not path.suffix and not path.exists()
    if named and str(command.checkpoint) == checkpoints.BUILT_IN:
        return _built_in(str(path), command)
    if named and str(path) in ffhq.NAMES and command.space in (None, "w"):
        direction = ffhq.load_direction(str(path))
        files.check_direction(direction, generator, any_generator=command.any_generator)
    else:
        direction = files.load_direction(
            path, generator=generator, space=command.space, any_generator=command.any_generator, read=read_arrays
        )
    if not files.made_for(direction, generator):
        warn(f"{path}: made for other weights ({direction.source[:12]}...); whether it does the same here is open")
    return direction


def _built_in(name: str, command: Edit | Intervene | Palette) -> Direction:
    from jaxedit import avatars
    from jaxedit.avatars.directions import FittedSpace

    space: Any = command.space or ("z" if isinstance(command, Intervene) and command.latents is None else "w")
    if space not in get_args(FittedSpace):
        raise ValueError(f"--direction {name}: the built-in directions are in z, w and s")
    return avatars.load_direction(choose(name, avatars.ATTRIBUTES, kind="file or built-in direction"), space=space)
