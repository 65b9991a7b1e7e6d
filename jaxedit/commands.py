"""What the commands of the command line do."""

import dataclasses
import functools
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import jaxedit
from jaxedit import batch, checkpoints, demo, images, inspection
from jaxedit.atomic import replacing
from jaxedit.directions import files
from jaxedit.generators.base import sample_z
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.options import Command, Demo, Drawing, Edit, FitDirection, Generate, Info, TrainStyleGAN2
from jaxedit.spaces import Direction, Space, edited_styles, resolve_layers

MAX_PICTURES = 1_000_000
MAX_GRID = 1024


class Picture(NamedTuple):
    """One file to draw: its name, which code it shows (position in the seeds or latents) and at which strength."""

    name: str
    code: int
    strength: float


class Codes(NamedTuple):
    """The latents of a run: names, numbers that fresh noise depends on, and `latent(position)` in host memory."""

    names: Sequence[str]
    numbers: Sequence[int]
    latent: Callable[[int], np.ndarray]


def run(command: Command, read_arrays: files.Reader) -> None:
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
    elif isinstance(command, TrainStyleGAN2):
        from jaxedit.training.command import train_stylegan2

        train_stylegan2(command)
    else:
        generate(command)


def generate(command: Generate) -> None:
    """Draws the pictures of seeds."""
    seeds = parse_seeds(command.seeds)
    generator = checkpoints.load(command.checkpoint)
    codes = _seed_codes(seeds, generator)
    pictures = [Picture(f"{name}.png", position, 0.0) for position, name in enumerate(codes.names)]
    columns = math.ceil(math.sqrt(len(pictures)))
    _draw(command, generator, codes, pictures, columns=columns, settings={}, from_seeds=True)


def edit(command: Edit, read_arrays: files.Reader) -> None:
    """Draws every code at every strength."""
    if (command.seeds is None) == (command.latents is None):
        raise ValueError("give either --seeds or --latents")
    seeds = None if command.seeds is None else parse_seeds(command.seeds)
    _check_strengths(command)
    generator = checkpoints.load(command.checkpoint)
    directions = load_directions(command.direction, generator, read_arrays, space=command.space, layers=command.layers)
    if command.latents is not None:
        if any(direction.space == "z" for direction in directions):
            raise ValueError("a Z direction cannot edit --latents: it acts before the mapping network; use --seeds")
        codes = _file_codes(command.latents, generator, read_arrays)
    else:
        codes = _seed_codes(seeds or (), generator)
    if len(codes.names) * len(command.strengths) > MAX_PICTURES:
        raise ValueError(f"more than {MAX_PICTURES} pictures; divide them between several runs")
    pictures = [
        Picture(f"{name}_{strength:+g}.png", position, strength)
        for position, name in enumerate(codes.names)
        for strength in command.strengths
    ]
    weights = command.weights or (1.0,) * len(directions)
    settings = {
        "directions": [_digest(np.asarray(d.vector), d.space, d.layers, d.unit) for d in directions],
        "weights": list(weights),
        "latents": None if command.latents is None else _file_digest(command.latents),
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


def parse_seeds(text: str) -> list[int]:
    """Parses "0-31" or "0,4,7-9" to seeds in the order given, without repetition."""
    seeds: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"seeds {text!r}: {part.strip()!r} is not a number or a range such as 0-31")
        begin, end = int(first), int(last or first)
        if end < begin or end >= 2**32:
            raise ValueError(f"seeds {text!r}: {part.strip()!r} is not a range of numbers from 0 to 4294967295")
        if end - begin + len(seeds) >= MAX_PICTURES:
            raise ValueError(f"seeds {text!r}: more than {MAX_PICTURES} seeds; divide them between several runs")
        seeds.update(dict.fromkeys(range(begin, end + 1)))
    return list(seeds)


def load_directions(
    paths: Sequence[Path],
    generator: StyleGAN2Generator,
    read_arrays: files.Reader,
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


def _seed_codes(seeds: Sequence[int], generator: StyleGAN2Generator) -> Codes:
    z_dim = generator.config.z_dim
    return Codes([f"seed{seed:04d}" for seed in seeds], seeds, lambda position: sample_z(seeds[position], z_dim))


def _file_codes(path: Path, generator: StyleGAN2Generator, read_arrays: files.Reader) -> Codes:
    """W or W+ codes of a file; they stay on the disk where the format allows it."""
    config = generator.config
    arrays = read_arrays(path)
    if len(arrays) != 1:
        raise ValueError(f"{path}: holds {len(arrays)} arrays ({', '.join(sorted(arrays)[:5])}); latents are one array")
    latents = next(iter(arrays.values()))
    if latents.shape == (config.num_ws, config.w_dim) or latents.ndim == 1:
        latents = latents[None]
    row = (config.num_ws, config.w_dim)
    if latents.shape[1:] not in (row, row[1:]) or latents.dtype.kind != "f":
        raise ValueError(
            f"{path}: latents of shape {latents.shape}, {latents.dtype}; this generator takes floats "
            f"(N, {row[0]}, {row[1]}) for W+ or (N, {row[1]}) for W"
        )
    for begin in range(0, len(latents), 1024):
        if not np.isfinite(latents[begin : begin + 1024].astype(np.float32)).all():
            raise ValueError(f"{path}: holds values that are not finite float32 numbers")
    if not len(latents):
        raise ValueError(f"{path}: holds no latents")

    def latent(position: int) -> np.ndarray:
        code = np.asarray(latents[position], np.float32)
        return np.broadcast_to(code, row)

    numbers = range(len(latents))
    return Codes([f"code{number:04d}" for number in numbers], numbers, latent)


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
    label = _class_vector(command, generator, from_seeds)
    if not math.isfinite(command.truncation_psi):
        raise ValueError("--truncation-psi takes a finite number")
    if not 0 <= (command.truncation_cutoff or 0) <= generator.config.num_ws:
        raise ValueError(f"--truncation-cutoff takes a number of rows of W+, 0 to {generator.config.num_ws}")
    rows = math.ceil(len(pictures) / columns)
    if command.grid and max(rows, columns) > MAX_GRID:
        raise ValueError(f"--grid: a sheet of {columns} x {rows} pictures is too large (at most {MAX_GRID} a side)")
    present = _existing(command, pictures)
    todo = [picture for picture in pictures if command.existing != "skip" or picture.name not in present]
    size = batch.choose_batch_size(len(todo), command.batch_size)
    settings = settings | {
        "checkpoint": generator.fingerprint or str(command.checkpoint.resolve()),
        "truncation_psi": command.truncation_psi,
        "truncation_cutoff": command.truncation_cutoff,
        "noise_mode": command.noise_mode,
        "class": command.label,
        "compute_dtype": command.compute_dtype,
    }
    record = _check_record(command, settings, pictures, present)
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
                # Whatever stops the run from here on, every picture in the directory is of the recorded settings.
                for picture in todo:
                    if picture.name in present:
                        (output / picture.name).unlink()
                with replacing(output / record) as partial:
                    partial.write_text(json.dumps({"jaxedit": jaxedit.__version__, **settings}, indent=2) + "\n")
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
        given = (command.label is not None) or command.truncation_psi != 1.0 or command.truncation_cutoff is not None
        if given:
            raise ValueError("--class and --truncation-* act in the mapping network: use them with --seeds")
        return None
    if not classes and command.label is not None:
        raise ValueError("--class: this network has no classes")
    if classes and (command.label is None or not 0 <= command.label < classes):
        raise ValueError(f"this network has classes: choose one with --class 0 to --class {classes - 1}")
    return np.eye(classes, dtype=np.float32)[command.label] if classes else None


def _existing(command: Drawing, pictures: Sequence[Picture]) -> set[str]:
    """Names of all files in the output directory; any of this run's pictures are an error unless allowed."""
    output = command.output
    if not output.exists():
        return set()
    if not output.is_dir():
        raise NotADirectoryError(f"{output}: not a directory")
    present = {entry.name for entry in os.scandir(output)}
    found = [picture.name for picture in pictures if picture.name in present]
    found += ["grid.png"] if command.grid and "grid.png" in present else []
    if found and command.existing == "error":
        others = f" and {len(found) - 1} more exist" if len(found) > 1 else " exists"
        raise FileExistsError(f"{output / found[0]}{others} already; --existing skip or --existing overwrite goes on")
    return present


def _check_record(command: Drawing, settings: dict[str, Any], pictures: Sequence[Picture], present: set[str]) -> str:
    """Name of the file that keeps a run's settings: pictures of different settings never share a directory.

    An earlier run into the directory must have had the same settings, unless all its pictures are overwritten.
    """
    name = f"{type(command).__name__.lower()}.json"
    path = command.output / name
    if command.existing == "overwrite":
        different = _different(path, settings) if name in present else ["settings"]
        ours = {picture.name for picture in pictures}
        pattern = re.compile(r"seed\d{4,}\.png" if isinstance(command, Generate) else r"(seed|code)\d{4,}_.+\.png")
        others = sorted(found for found in present - ours if pattern.fullmatch(found))
        if different and others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise ValueError(
                f"{command.output}: {others[0]}{more} would stay, made with another {different[0]}; remove them or "
                "choose another --output"
            )
        return name
    if name not in present:
        return name
    different = _different(path, settings)
    if different == ["record"]:
        raise ValueError(f"{path}: not the record of an earlier run")
    if different:
        raise ValueError(
            f"{command.output}: holds pictures made with another {different[0]}; choose another --output, or "
            "--existing overwrite"
        )
    return name


def _different(path: Path, settings: dict[str, Any]) -> list[str]:
    """The settings in which a record differs; ["record"] if it is none."""
    try:
        earlier = json.loads(path.read_text())
        return [key for key, value in settings.items() if earlier[key] != value]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ["record"]


def _digest(array: np.ndarray, *fields: Any) -> str:
    return hashlib.sha256(array.tobytes() + repr(fields).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
