"""What the commands of the command line do."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import batch, checkpoints, demo, images, inspection, progress, samples, sheets
from jaxedit.arrays import Reader
from jaxedit.claims import claiming
from jaxedit.codes import MAX_PICTURES, Codes, chosen_codes, chosen_seeds, latents_digest, parse_seeds, seed_codes
from jaxedit.digests import digest
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.given_directions import given_direction
from jaxedit.messages import listing, warn
from jaxedit.options import Command, Demo, Drawing, Edit, FitDirection, Generate, Info, Intervene, TrainStyleGAN2
from jaxedit.records import (
    begin_pictures,
    check_latent_options,
    check_record,
    drawing_settings,
    existing,
)
from jaxedit.spaces import Direction, edited_styles, resolve_layers

MAX_GRID = 4096
_ODD_STRENGTH = 1000


class Sheet(NamedTuple):
    """Names of the rows and columns of grid.png, which holds the pictures row by row."""

    rows: Sequence[str]
    columns: Sequence[str]


class Picture(NamedTuple):
    """One file to draw: its name, which code it shows (position in the seeds or latents) and at which strength."""

    name: str
    code: int
    strength: float


def run(command: Command, read_arrays: Reader) -> None:
    """Runs one command.

    Args:
        command: Its options.
        read_arrays: Reads the files of latents and directions.

    Raises:
        ValueError: Something that the user gave is wrong; one line.
        OSError: A file cannot be read or written.
    """
    if isinstance(command, Info):
        print(inspection.describe(command.path, read_arrays))
    elif isinstance(command, Demo):
        demo.run(command.output, existing=command.existing)
    elif isinstance(command, Edit):
        edit(command, read_arrays)
    elif isinstance(command, FitDirection):
        from jaxedit import fit_direction  # scikit-learn takes a second to import

        fit_direction.run(command, read_arrays)
    elif isinstance(command, Intervene):
        from jaxedit import intervene

        intervene.run(command, read_arrays)
    elif isinstance(command, TrainStyleGAN2):
        from jaxedit.training.command import train_stylegan2

        train_stylegan2(command)
    else:
        generate(command)


def generate(command: Generate) -> None:
    """Draws the pictures of seeds."""
    seeds = parse_seeds(*command.seeds)
    if command.scores and str(command.checkpoint) != checkpoints.BUILT_IN:
        raise ValueError("--scores: the built-in classifier knows the built-in generator's pictures only")
    generator = checkpoints.load(command.checkpoint)
    codes = seed_codes(seeds, generator)
    pictures = [Picture(f"{name}.png", position, 0.0) for position, name in enumerate(codes.names)]
    if command.save_latents and len(pictures) > samples.MAX_SAMPLES:
        raise ValueError(f"--save-latents: more than {samples.MAX_SAMPLES} pictures; divide them between several runs")
    sheet = Sheet(rows=[""], columns=codes.names)
    _draw(command, generator, codes, pictures, sheet=sheet, settings={}, from_seeds=True)
    if command.save_latents:
        truncation = {"truncation_psi": command.truncation_psi, "truncation_cutoff": command.truncation_cutoff}
        samples.save_latents(command.output, codes, generator, _class_vector(command, generator, True), **truncation)
    if command.scores:
        samples.save_scores(command.output, codes.names)


def edit(command: Edit, read_arrays: Reader) -> None:
    """Draws every code at every strength."""
    seeds = chosen_seeds(command)
    _check_strengths(command)
    generator = checkpoints.load(command.checkpoint)
    directions = load_directions(command, generator, read_arrays)
    codes = chosen_codes(command, seeds, generator, directions, read_arrays)
    if len(codes.names) * len(command.strengths) > MAX_PICTURES:
        raise ValueError(f"more than {MAX_PICTURES} pictures; divide them between several runs")
    pictures = [
        Picture(f"{name}_{strength:+g}.png", position, strength)
        for position, name in enumerate(codes.names)
        for strength in command.strengths
    ]
    weights = command.weights or (1.0,) * len(directions)
    settings = {
        "directions": [digest(np.asarray(d.vector), d.space, d.layers, d.unit) for d in directions],
        "weights": list(weights),
        "latents": latents_digest(command.latents),
    }
    _draw(
        command,
        generator,
        codes,
        pictures,
        sheet=Sheet(rows=codes.names, columns=[f"{strength:+g}" for strength in command.strengths]),
        settings=settings,
        from_seeds=command.latents is None,
        edits=tuple(zip(directions, weights, strict=True)),
    )


def load_directions(command: Edit, generator: StyleGAN2Generator, read_arrays: Reader) -> list[Direction]:
    """Reads directions, checks that they fit the generator, and limits them to layers."""
    directions = [given_direction(path, command, generator, read_arrays) for path in command.direction]
    if command.layers is None:
        return directions
    if len({direction.space == "s" for direction in directions}) > 1:
        raise ValueError("--layers means rows of W+ for some of these directions and style layers for others")
    config = generator.config
    return [dataclasses.replace(d, layers=resolve_layers(command.layers, d.space, config=config)) for d in directions]


def _check_strengths(command: Edit) -> None:
    strengths, weights = command.strengths, command.weights
    if not command.direction:
        raise ValueError("give at least one --direction")
    if not strengths or not np.isfinite((*strengths, *weights)).all():
        raise ValueError("--strengths and --weights take finite numbers")
    if max(map(abs, strengths)) > _ODD_STRENGTH:
        warn(f"--strengths: {max(strengths, key=abs):g} is far beyond what directions are made for, a few units")
    names = [f"{strength:+g}" for strength in strengths]
    if len(set(names)) < len(names):
        raise ValueError("--strengths: two values are the same (six digits count)")
    if weights and len(weights) != len(command.direction):
        raise ValueError(f"--weights: {len(weights)} values for {len(command.direction)} directions")


def _draw(
    command: Drawing,
    generator: StyleGAN2Generator,
    codes: Codes,
    pictures: list[Picture],
    *,
    sheet: Sheet,
    settings: dict[str, Any],
    from_seeds: bool,
    edits: tuple[tuple[Direction, float], ...] = (),
) -> None:
    """Draws pictures to files: everything that can be checked is checked before anything is compiled."""
    check_latent_options(command, generator, from_seeds=from_seeds)
    label = _class_vector(command, generator, from_seeds)
    if command.grid and len(pictures) > MAX_GRID:
        raise ValueError(f"--grid: {len(pictures)} pictures are too many for a sheet (at most {MAX_GRID})")
    names = [picture.name for picture in pictures]
    render = functools.partial(
        _render,
        noise_mode=command.noise_mode,
        compute_dtype=jnp.dtype(command.compute_dtype),
        truncation_psi=command.truncation_psi,
        truncation_cutoff=command.truncation_cutoff,
    )
    settings, output = settings | drawing_settings(command, generator), command.output
    with claiming(output):
        present = existing(command, names)
        todo = [picture for picture in pictures if command.existing != "skip" or picture.name not in present]
        # However many are left: a batch of another size may differ in the last bit.
        size = batch.choose_batch_size(len(pictures), command.batch_size)
        record = check_record(command, settings, names, present)
        drawn = batch.map_samples(render, (generator, edits, label), _samples(codes, todo), batch_size=size)
        lost = []
        shown = progress.bar(drawn, total=len(todo), unit="picture", first="compiling")
        with batch.PngWriter() as writer, shown as counted:
            for index, image in enumerate(counted):
                if index == 0:
                    begin_pictures(output, record, settings, [picture.name for picture in todo])
                if image is None:
                    lost.append(todo[index].name)
                    warn(f"{output / lost[-1]}: not written, its values are not finite numbers")
                else:
                    writer.write(output / todo[index].name, image)
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
    noise_mode: str,
    compute_dtype: Any,
    truncation_psi: float,
    truncation_cutoff: int | None,
) -> jax.Array:
    generator, edits, label = shared
    styles = edited_styles(
        generator,
        sample["latent"],
        [(direction, weight * sample["strength"]) for direction, weight in edits],
        c=label,
        truncation_psi=truncation_psi,
        truncation_cutoff=truncation_cutoff,
    )
    noise = jax.random.fold_in(jax.random.key(0), sample["number"]) if noise_mode == "random" else noise_mode
    return generator.synthesize(styles, noise=noise, compute_dtype=compute_dtype)


def _samples(codes: Codes, pictures: Iterable[Picture]) -> Iterator[dict[str, Any]]:
    for picture in pictures:
        yield {
            "latent": codes.latent(picture.code),
            "strength": np.float32(picture.strength),
            "number": np.uint32(codes.numbers[picture.code]),
        }


def _class_vector(command: Drawing, generator: StyleGAN2Generator, from_seeds: bool) -> np.ndarray | None:
    classes = generator.config.c_dim
    if not from_seeds:
        return None
    if not classes and command.label is not None:
        raise ValueError("--class: this network has no classes")
    if classes and (command.label is None or not 0 <= command.label < classes):
        raise ValueError(f"this network has classes: choose one with --class 0 to --class {classes - 1}")
    return np.eye(classes, dtype=np.float32)[command.label] if classes else None
