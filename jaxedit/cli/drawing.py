"""Drawing pictures to files, which `generate` and `edit` have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import batch, images, progress, sheets
from jaxedit.claims import claiming
from jaxedit.cli.codes import ChosenLatents
from jaxedit.cli.options import Drawing
from jaxedit.cli.records import (
    begin_pictures,
    check_latent_options,
    check_record,
    class_condition,
    condition_of,
    drawing_settings,
    existing,
    render_options,
)
from jaxedit.generators.base import Generator
from jaxedit.messages import listing, warn
from jaxedit.spaces import Direction, edited

MAX_GRID = 4096


class Sheet(NamedTuple):
    """Names of the rows and columns of grid.png, which holds the pictures row by row."""

    rows: Sequence[str]
    columns: Sequence[str]


class Picture(NamedTuple):
    """One file to draw: its name, which code it shows (position in the seeds or latents) and at which strength."""

    name: str
    code: int
    strength: float


def draw(
    command: Drawing,
    generator: Generator,
    codes: ChosenLatents,
    pictures: list[Picture],
    *,
    sheet: Sheet,
    settings: dict[str, Any],
    edits: tuple[tuple[Direction, float], ...] = (),
) -> None:
    """Draws pictures to files: everything that can be checked is checked before anything is compiled."""
    conditioned = codes.space == generator.spaces[0].name
    check_latent_options(command, generator, conditioned=conditioned)
    of_class = class_condition(command, generator, conditioned)
    if command.grid and len(pictures) > MAX_GRID:
        raise ValueError(f"--grid: {len(pictures)} pictures are too many for a sheet (at most {MAX_GRID})")
    names = [picture.name for picture in pictures]
    given = {"condition": condition_of(command), "rendering": render_options(command)}
    options = {"start": codes.space} | {name: tuple(values.items()) for name, values in given.items()}
    settings, output = settings | drawing_settings(command, generator), command.output
    with claiming(output):
        present = existing(command, names)
        todo = [picture for picture in pictures if command.existing != "skip" or picture.name not in present]
        # However many are left: a batch of another size may differ in the last bit.
        size = batch.choose_batch_size(len(pictures), command.batch_size)
        record = check_record(command, settings, names, present)
        shared = (generator, edits, of_class)
        drawn = batch.map_samples(_render, shared, _samples(codes, todo), batch_size=size, options=options)
        lost = []
        shown = progress.bar(drawn, total=len(todo), unit="picture", first="compiling")
        with batch.PngWriter() as writer, shown as counted:
            for index, found in enumerate(counted):
                if index == 0:
                    begin_pictures(output, record, settings, [picture.name for picture in todo])
                if not found.finite:
                    lost.append(todo[index].name)
                    warn(f"{output / lost[-1]}: not written, its values are not finite numbers")
                else:
                    writer.write(output / todo[index].name, found.image)
        if command.grid and len(lost) < len(pictures):
            tiles = (None if name in lost else images.read_png(output / name) for name in names)
            drawn_sheet = sheets.labelled_sheet(tiles, rows=sheet.rows, columns=sheet.columns)
            images.save_png(output / "grid.png", drawn_sheet)
    kept = len(pictures) - len(todo)
    print(f"{output}: {len(todo) - len(lost)} pictures written" + (f", {kept} kept" if kept else ""))
    if lost:
        raise ValueError(f"{output}: {len(lost)} of {len(todo)} pictures are not finite numbers ({listing(lost)})")


def _render(
    shared: Any,
    sample: Any,
    *,
    start: str,
    condition: tuple[tuple[str, Any], ...],
    rendering: tuple[tuple[str, Any], ...],
) -> batch.Drawn:
    generator, edits, of_class = shared
    moves = [(direction, weight * sample["strength"]) for direction, weight in edits]
    latent = edited(generator, sample["latent"], moves, start=start, **dict(condition), **of_class)
    options = dict(rendering)
    if options.get("noise") == "random":
        options["noise"] = jax.random.fold_in(jax.random.key(0), sample["number"])
    if "compute_dtype" in options:
        options["compute_dtype"] = jnp.dtype(options["compute_dtype"])
    return batch.drawn(generator.render(latent, **options))


def _samples(codes: ChosenLatents, pictures: Iterable[Picture]) -> Iterator[dict[str, Any]]:
    for picture in pictures:
        yield {
            "latent": codes.latent(picture.code),
            "strength": np.float32(picture.strength),
            "number": np.uint32(codes.numbers[picture.code]),
        }
