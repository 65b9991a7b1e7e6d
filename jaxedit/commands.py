"""What the commands of the command line do."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxedit import batch, checkpoints, demo, images, inspection
from jaxedit.arrays import Reader
from jaxedit.codes import MAX_PICTURES, Codes, chosen_codes, chosen_seeds, latents_digest, parse_seeds, seed_codes
from jaxedit.digests import digest
from jaxedit.directions import files
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.options import Command, Demo, Drawing, Edit, FitDirection, Generate, Info, Intervene, TrainStyleGAN2
from jaxedit.records import (
    begin_pictures,
    check_latent_options,
    check_record,
    drawing_settings,
    existing,
)
from jaxedit.spaces import Direction, Space, edited_styles, resolve_layers

MAX_GRID = 1024


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
    seeds = parse_seeds(command.seeds)
    generator = checkpoints.load(command.checkpoint)
    codes = seed_codes(seeds, generator)
    pictures = [Picture(f"{name}.png", position, 0.0) for position, name in enumerate(codes.names)]
    columns = math.ceil(math.sqrt(len(pictures)))
    _draw(command, generator, codes, pictures, columns=columns, settings={}, from_seeds=True)


def edit(command: Edit, read_arrays: Reader) -> None:
    """Draws every code at every strength."""
    seeds = chosen_seeds(command)
    _check_strengths(command)
    generator = checkpoints.load(command.checkpoint)
    directions = load_directions(command.direction, generator, read_arrays, space=command.space, layers=command.layers)
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
        columns=len(command.strengths),
        settings=settings,
        from_seeds=command.latents is None,
        edits=tuple(zip(directions, weights, strict=True)),
    )


def load_directions(
    paths: Sequence[Path],
    generator: StyleGAN2Generator,
    read_arrays: Reader,
    *,
    space: Space | None = None,
    layers: str | None = None,
) -> list[Direction]:
    """Reads direction files, checks that they fit the generator, and limits them to layers."""
    directions = [files.load_direction(path, generator=generator, space=space, read=read_arrays) for path in paths]
    if layers is None:
        return directions
    if len({direction.space == "s" for direction in directions}) > 1:
        raise ValueError("--layers means rows of W+ for some of these directions and style layers for others")
    config = generator.config
    return [dataclasses.replace(d, layers=resolve_layers(layers, d.space, config=config)) for d in directions]


def _check_strengths(command: Edit) -> None:
    strengths, weights = command.strengths, command.weights
    if not command.direction:
        raise ValueError("give at least one --direction")
    if not strengths or not np.isfinite((*strengths, *weights)).all():
        raise ValueError("--strengths and --weights take finite numbers")
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
    columns: int,
    settings: dict[str, Any],
    from_seeds: bool,
    edits: tuple[tuple[Direction, float], ...] = (),
) -> None:
    """Draws pictures to files: everything that can be checked is checked before anything is compiled."""
    check_latent_options(command, generator, from_seeds=from_seeds)
    label = _class_vector(command, generator, from_seeds)
    rows = math.ceil(len(pictures) / columns)
    if command.grid and max(rows, columns) > MAX_GRID:
        raise ValueError(f"--grid: a sheet of {columns} x {rows} pictures is too large (at most {MAX_GRID} a side)")
    names = [picture.name for picture in pictures]
    present = existing(command, names)
    todo = [picture for picture in pictures if command.existing != "skip" or picture.name not in present]
    size = batch.choose_batch_size(len(todo), command.batch_size)
    settings = settings | drawing_settings(command, generator)
    record = check_record(command, settings, names, present)
    output = command.output
    output.mkdir(parents=True, exist_ok=True)

    render = functools.partial(
        _render,
        noise_mode=command.noise_mode,
        compute_dtype=jnp.dtype(command.compute_dtype),
        truncation_psi=command.truncation_psi,
        truncation_cutoff=command.truncation_cutoff,
    )
    drawn = batch.map_samples(render, (generator, edits, label), _samples(codes, todo), batch_size=size)
    with batch.PngWriter() as writer:
        for index, image in enumerate(tqdm(drawn, total=len(todo), unit="picture", disable=None)):
            if index == 0:
                begin_pictures(output, record, settings, [picture.name for picture in todo])
            writer.write(output / todo[index].name, image)
    if command.grid:
        tiles = (images.read_png(output / picture.name) for picture in pictures)
        images.save_png(output / "grid.png", images.image_grid(tiles, columns=columns, rows=rows))
    kept = len(pictures) - len(todo)
    print(f"{output}: {len(todo)} pictures written" + (f", {kept} kept" if kept else ""))


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
