"""Drawing pictures to files, which `generate`, `edit` and `translate` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import batch, images, progress, sheets
from jaxedit.claims import claiming
from jaxedit.cli.codes import ChosenLatents
from jaxedit.cli.options import Drawing, Writing
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
    """Names of the rows and columns of grid.png, which holds the pictures row by row; and what makes the picture that
    stands before those of a row, if there is one."""

    rows: Sequence[str]
    columns: Sequence[str]
    original: Callable[[int], np.ndarray] | None = None


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
    given = {"condition": condition_of(command), "rendering": render_options(command)}
    options = {"start": codes.space} | {name: tuple(values.items()) for name, values in given.items()}
    # However many are left: a batch of another size may differ in the last bit.
    size = batch.choose_batch_size(len(pictures), command.batch_size)

    def compute(todo: Sequence[int]) -> Iterator[batch.Drawn]:
        samples = _samples(codes, [pictures[index] for index in todo])
        return batch.map_samples(_render, (generator, edits, of_class), samples, batch_size=size, options=options)

    names = [picture.name for picture in pictures]
    write_pictures(command, names, compute, sheet=sheet, settings=settings | drawing_settings(command, generator))


def write_pictures(
    command: Writing,
    names: Sequence[str],
    compute: Callable[[Sequence[int]], Iterator[batch.Drawn]],
    *,
    sheet: Sheet,
    settings: dict[str, Any],
) -> None:
    """Writes those pictures that are to be written, and the sheet of all.

    Args:
        command: Where to, and what is done with pictures that exist.
        names: File names of all pictures.
        compute: Makes the pictures at these places in `names`, in order.
        sheet: Of all of them.
        settings: What the pictures depend on.

    Raises:
        ValueError: Pictures are not finite, are too many for a sheet, or others of other settings are there; one line.
        OSError: A file cannot be written.
    """
    if command.grid and len(names) > MAX_GRID:
        raise ValueError(f"--grid: {len(names)} pictures are too many for a sheet (at most {MAX_GRID})")
    output = command.output
    with claiming(output):
        present = existing(command, names)
        todo = [index for index, name in enumerate(names) if command.existing != "skip" or name not in present]
        record = check_record(command, settings, names, present)
        lost = []
        shown = progress.bar(compute(todo), total=len(todo), unit="picture", first="compiling")
        with batch.PngWriter() as writer, shown as counted:
            for place, found in enumerate(counted):
                name = names[todo[place]]
                if place == 0:
                    begin_pictures(output, record, settings, [names[index] for index in todo])
                if not found.finite:
                    lost.append(name)
                    warn(f"{output / name}: not written, its values are not finite numbers")
                else:
                    writer.write(output / name, np.asarray(found.image))
        if command.grid and len(lost) < len(names):
            drawn = sheets.labelled_sheet(_tiles(output, names, lost, sheet), rows=sheet.rows, columns=sheet.columns)
            images.save_png(output / "grid.png", drawn)
    kept = len(names) - len(todo)
    print(f"{output}: {len(todo) - len(lost)} pictures written" + (f", {kept} kept" if kept else ""))
    if lost:
        raise ValueError(f"{output}: {len(lost)} of {len(todo)} pictures are not finite numbers ({listing(lost)})")


def _tiles(output: Path, names: Sequence[str], lost: Sequence[str], sheet: Sheet) -> Iterator[np.ndarray | None]:
    per_row = len(names) // len(sheet.rows)
    for index, name in enumerate(names):
        if sheet.original is not None and index % per_row == 0:
            yield sheet.original(index // per_row)
        yield None if name in lost else images.read_png(output / name)


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
