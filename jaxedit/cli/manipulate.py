"""`jaxedit manipulate`: edits by SGF, one after the other, towards attributes, keypoints or captions."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from jaxedit import batch, checkpoints, images, progress, sentences, sgf, sheets
from jaxedit.atomic import write_verified
from jaxedit.claims import claiming
from jaxedit.cli.array_files import read_arrays
from jaxedit.cli.codes import parse_seeds
from jaxedit.cli.options import Manipulate
from jaxedit.cli.records import class_condition
from jaxedit.cli.surrogates import (
    CAPTIONER,
    Seen,
    condition_of,
    field_of,
    given_conditions,
    latent_of,
    picture_of,
    pictures_at_once,
)
from jaxedit.conditions import POINTS, Target
from jaxedit.generators.base import Generator, sample_z
from jaxedit.messages import warn
from jaxedit.networks.auxiliary_mapping import AuxiliaryMapping

_TOGETHER = 64
_COLUMNS = 8  # of a path's sheet
_TABLES = (".npy", ".npz", ".safetensors", ".csv", ".txt")


class Edit(NamedTuple):
    """One edit: what it is called, and its target for a picture's condition."""

    name: str
    target: Callable[[jax.Array], Target]


class Moved(NamedTuple):
    """What an edit did to the samples: their latents at its end, its paths, and the distance that was reached."""

    latents: np.ndarray
    info: sgf.Info
    reached: np.ndarray


def run(command: Manipulate) -> None:
    """Edits, draws and reports.

    Args:
        command: The options.

    Raises:
        ValueError: Options that do not fit, a surrogate of another generator, or nothing finite; one line.
        OSError: A file cannot be read or written.
    """
    generator = checkpoints.load(command.checkpoint)
    seen, known = read(command, generator)
    edits, space = list(_edits(command, seen)), known["space"]
    if not edits:
        raise ValueError("nothing to change: give --to, --keypoints or --caption")
    config = sgf.SgfConfig(command.order, command.step, command.max_steps, command.threshold, command.solver)
    seeds = parse_seeds(*command.seeds)
    with claiming(command.output):
        if (command.output / "grid.png").exists() and command.existing == "error":
            raise FileExistsError(f"{command.output / 'grid.png'} exists already; --existing overwrite draws anew")
        z = np.stack([np.asarray(sample_z(seed, generator.config.z_dim)) for seed in seeds])
        start = _mapped(functools.partial(latent_of, space=space), seen, z, "compiling the generator")
        moved = _moved(seen, start, edits, space=space, config=config)
        _report(command, seeds, edits, moved, start, known)
        _draw(command, seen, seeds, edits, start, moved, space)


def read(command: Manipulate, generator: Generator) -> tuple[Seen, dict[str, Any]]:
    """Reads the networks.

    Args:
        command: Which.
        generator: The generator.

    Returns:
        All of them, and what the surrogate's file says of its training.

    Raises:
        ValueError: A surrogate of another generator or of other networks; one line.
        OSError: A file cannot be read.
    """
    path = command.surrogate / "surrogate"
    description, mapping = checkpoints.read_description(path), checkpoints.load_network(path)
    if not isinstance(mapping, AuxiliaryMapping):
        raise ValueError(f"{path}: a network of another kind than `train-surrogate` makes")
    known = description.metadata
    if known["generator"] != (generator.fingerprint or str(command.checkpoint)):
        raise ValueError(f"{path}: made for another generator than {command.checkpoint}")
    conditions = given_conditions(command, tuple(known["condition"]), tuple(known["names"]), command.surrogate)
    if list(conditions.names) != known["names"] or conditions.dimensions != mapping.config.condition_dim:
        raise ValueError(f"{path}: made with other networks; give the --faces or --classifier of `train-surrogate`")
    middle, scale = (np.asarray(known[name], np.float32) for name in ("middle", "scale"))
    conditions = dataclasses.replace(conditions, middle=middle, scale=scale)
    condition = class_condition(command, generator)
    if "truncation_psi" in generator.conditions:
        condition |= {"truncation_psi": np.asarray(known["truncation_psi"], np.float32)}
    return Seen(generator, condition, conditions, mapping.params), known


def _edits(command: Manipulate, seen: Seen) -> Iterator[Edit]:
    """In the order of the options."""
    target = seen.conditions.target
    for text in command.to:
        values = _values(text)
        target(jnp.zeros(seen.conditions.dimensions), attributes=values)  # unknown names, before all else
        yield Edit(text, functools.partial(target, attributes=values))
    for path in command.keypoints:
        yield Edit(path.stem, functools.partial(target, keypoints=_keypoints(path, seen)))
    if command.caption:
        encoder = sentences.load(command.sentences)
        trained = checkpoints.read_description(command.surrogate / CAPTIONER).metadata["sentences"]
        if trained != encoder.name:
            raise ValueError(f"--sentences: this is {encoder.name}, and `train-surrogate` had {trained}")
        for text in command.caption:
            yield Edit(text, functools.partial(target, caption=encoder.embed(text)))


def _values(text: str) -> dict[str, float]:
    """Of "smile=1,age=0.2"."""
    values = dict[str, float]()
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            values[name.strip()] = float(number)
        except ValueError:
            raise ValueError(f"--to {text!r}: {part!r} is not like smile=1") from None
        if not 0 <= values[name.strip()] <= 1:
            raise ValueError(f"--to {text!r}: probabilities are from 0 to 1")
    return values


def _keypoints(path: Path, seen: Seen) -> np.ndarray:
    """`[68, 2]` of a table, or of a picture as the network sees it."""
    if path.suffix.lower() not in _TABLES:
        if "keypoints" not in seen.conditions.networks:
            raise ValueError(f"--keypoints: this surrogate is of {' and '.join(seen.conditions.networks)}")
        side = seen.generator.config.resolution
        picture = np.asarray(images.open_picture(path).convert("RGB").resize((side, side)))
        return np.asarray(jax.jit(_located)(seen, picture))
    if path.suffix.lower() in (".csv", ".txt"):
        try:
            points = np.loadtxt(path, delimiter="," if path.suffix.lower() == ".csv" else None, dtype=np.float32)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    else:
        (stored,) = list(read_arrays(path).values())[:1]
        points = np.asarray(stored, np.float32)
    if points.shape != (POINTS, 2) or not np.isfinite(points).all():
        raise ValueError(f"{path}: keypoints of shape {points.shape}; {(POINTS, 2)} finite numbers would be right")
    return points


def _located(seen: Seen, picture: jax.Array) -> jax.Array:
    found = seen.conditions(images.from_uint8(picture))
    return found[seen.conditions.places["keypoints"]].reshape(POINTS, 2)


def _moved(seen: Seen, start: np.ndarray, edits: list[Edit], *, space: str, config: sgf.SgfConfig) -> list[Moved]:
    """All edits, one after the other, of all samples, so many at a time."""
    look = functools.partial(condition_of, space=space)
    seen_by = jax.jit(jax.vmap(look, in_axes=(None, 0)))
    parts, size = [], batch.choose_batch_size(len(start), _TOGETHER)
    begins = range(0, len(start), size)
    with progress.bar(begins, total=len(begins), unit="batch", first="compiling") as counted:
        for begin in counted:
            latents, done = jnp.asarray(start[begin : begin + size]), []
            for edit in edits:
                before = seen_by(seen, latents)
                target, weights = jax.vmap(edit.target)(before)
                options = {"config": config, "weights": weights, "smallest": jax.local_device_count()}
                _, info = sgf.run_batch(field_of, look, seen, latents, target, **options)
                latents = jax.vmap(sgf.closest)(info)
                reached = np.nanmin(np.asarray(info.distances), axis=1)
                done.append(Moved(np.asarray(latents), jax.tree.map(np.asarray, info), reached))
            parts.append(done)
    return [jax.tree.map(lambda *leaves: np.concatenate(leaves), *each) for each in zip(*parts, strict=True)]


def _report(
    command: Manipulate,
    seeds: list[int],
    edits: list[Edit],
    moved: list[Moved],
    start: np.ndarray,
    known: dict[str, Any],
) -> None:
    """manipulate.json and latents.safetensors, and a line for each edit."""
    rows = []
    for edit, found in zip(edits, moved, strict=True):
        if not np.isfinite(found.info.distances[:, 0]).all():
            raise ValueError(f"{edit.name}: the condition of a picture, or its target, is not finite")
        growing = np.asarray(jax.vmap(sgf.diverging)(found.info))
        near = found.reached < command.threshold
        for index, seed in enumerate(seeds):
            row = {
                "seed": seed,
                "edit": edit.name,
                "reached": bool(near[index]),
                "distance": float(found.reached[index]),
            }
            row |= {"steps": int(found.info.steps[index]), "series_diverges": bool(growing[index])}
            rows.append(row)
        print(f"{edit.name}: {near.sum()} of {len(seeds)} reached, in {found.info.steps.mean():.1f} steps on average")
        if growing.any():
            warn(f"{edit.name}: the series grows for {growing.sum()} of {len(seeds)} samples; try --order 0")
    settings = {"surrogate": str(command.surrogate), "space": known["space"], "order": command.order}
    settings |= {"step": command.step, "max_steps": command.max_steps, "threshold": command.threshold}
    text = json.dumps({"settings": settings | {"solver": command.solver}, "edits": rows}, indent=2)
    write_verified(command.output / "manipulate.json", f"{text}\n".encode())
    named = {
        f"seed{seed:04d}_{number}": codes[index]
        for number, codes in enumerate([start, *(found.latents for found in moved)])
        for index, seed in enumerate(seeds)
    }
    write_verified(command.output / "latents.safetensors", safetensors.numpy.save(named))


def _draw(
    command: Manipulate,
    seen: Seen,
    seeds: list[int],
    edits: list[Edit],
    start: np.ndarray,
    moved: list[Moved],
    space: str,
) -> None:
    """The pictures, the sheet of them, and that of the first samples' paths."""
    draw = functools.partial(_picture, space=space)
    columns = ["original", *(edit.name for edit in edits)]
    stages = np.stack([start, *(found.latents for found in moved)], axis=1)
    tiles = _mapped(draw, seen, stages.reshape(-1, stages.shape[-1]), "drawing")
    for index, seed in enumerate(seeds):
        for number in range(len(columns)):
            images.save_png(command.output / f"seed{seed:04d}_{number}.png", tiles[index * len(columns) + number])
    rows = [f"seed {seed}" for seed in seeds]
    images.save_png(command.output / "grid.png", sheets.labelled_sheet(tiles, rows=rows, columns=columns))
    shown, paths, names = range(min(4, len(seeds))), [], []
    for index in shown:
        for edit, found in zip(edits, moved, strict=True):
            taken = int(found.info.steps[index])
            marks = np.unique(np.linspace(0, taken, min(_COLUMNS, taken + 1)).round().astype(int))
            marks = np.concatenate([marks, np.full(_COLUMNS - len(marks), marks[-1])])
            paths.append(found.info.latents[index, marks])
            names.append(f"{rows[index]}: {edit.name}")
    way = [f"{part:.0%}" for part in np.linspace(0, 1, _COLUMNS)]
    tiles = _mapped(draw, seen, np.concatenate(paths), "drawing the paths")
    images.save_png(command.output / "path.png", sheets.labelled_sheet(tiles, rows=names, columns=way))
    print(f"{command.output}: {len(seeds) * len(columns)} pictures, grid.png and path.png")


def _mapped(function: Callable[..., Any], seen: Seen, samples: np.ndarray, first: str) -> np.ndarray:
    found = batch.map_samples(function, seen, samples, batch_size=pictures_at_once(seen.generator, len(samples)))
    with progress.bar(found, total=len(samples), unit="picture", first=first) as counted:
        stacked = np.stack([np.asarray(one) for one in counted])
    if not np.isfinite(stacked.astype(np.float32)).all():
        raise ValueError("pictures or latents are not finite numbers")
    return stacked


def _picture(seen: Seen, latent: jax.Array, *, space: str) -> jax.Array:
    return images.to_uint8(picture_of(seen, latent, space=space))
