"""`jaxedit palette`: one sample along two directions, in a sheet of rows and columns."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import numpy as np

from jaxedit import batch, checkpoints, images, progress, sheets
from jaxedit.cli.given_directions import given_direction, with_spaces
from jaxedit.cli.options import Palette
from jaxedit.cli.records import sample_condition
from jaxedit.generators.base import Generator, sample_z
from jaxedit.spaces import Direction, edited

_MOST = 256


def run(command: Palette) -> None:
    """Draws the sheet.

    Args:
        command: The options.

    Raises:
        ValueError: Not two directions that fit, too many strengths, or pictures that are not finite; one line.
        OSError: A file cannot be read or written.
    """
    if len(command.direction) != 2:
        raise ValueError(f"--direction: {len(command.direction)} of them; a palette takes two")
    if command.output.suffix.lower() != ".png":
        raise ValueError(f"--output {command.output}: the sheet is a .png file")
    if not 0 < len(command.strengths) ** 2 <= _MOST:
        raise ValueError(f"--strengths: {len(command.strengths)} of them; at most {int(_MOST**0.5)} would be right")
    if command.output.exists() and command.existing == "error":
        raise FileExistsError(f"{command.output} exists already; choose another --output or --existing overwrite")
    generator = checkpoints.load(command.checkpoint)
    command = with_spaces(command, generator)
    directions = tuple(given_direction(path, command, generator) for path in command.direction)
    anonymous = tuple(dataclasses.replace(direction, name="", source="") for direction in directions)
    shared = (
        generator,
        sample_condition(command, generator),
        anonymous,
        sample_z(command.seed, generator.config.z_dim),
    )
    strengths = np.asarray(list(itertools.product(command.strengths, command.strengths)), np.float32)
    size = batch.choose_batch_size(len(strengths), jax.local_device_count())
    drawn = batch.map_samples(_drawn, shared, strengths, batch_size=size)
    with progress.bar(drawn, total=len(strengths), unit="picture", first="compiling") as counted:
        found = [jax.tree.map(np.asarray, one) for one in counted]
    if not all(one.finite for one in found):
        raise ValueError(f"{command.checkpoint}: pictures are not finite numbers")
    down, right = ([f"{direction.name} {strength:+g}" for strength in command.strengths] for direction in directions)
    command.output.parent.mkdir(parents=True, exist_ok=True)
    images.save_png(command.output, sheets.labelled_sheet([one.image for one in found], rows=down, columns=right))
    print(f"{command.output}: seed {command.seed}, {directions[0].name} by rows and {directions[1].name} by columns")


def _drawn(
    shared: tuple[Generator, dict[str, Any], tuple[Direction, ...], jax.Array], strengths: jax.Array
) -> batch.Drawn:
    generator, condition, directions, z = shared
    edits = list(zip(directions, strengths, strict=True))
    return batch.drawn(generator.render(edited(generator, z, edits, **condition)))
