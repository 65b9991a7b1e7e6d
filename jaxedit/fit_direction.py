"""`jaxedit fit-direction`: a direction from a file or folder of latents and their labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxedit import checkpoints
from jaxedit.arrays import Reader, read_arrays
from jaxedit.directions import files, svm
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.options import FitDirection, Space
from jaxedit.spaces import Direction, join_styles

_LATENTS = (".npy", ".npz", ".safetensors", ".pt", ".pth")
_LABELS = ("labels.npy", "labels.txt", "labels.csv")
_BATCH = 256


def run(command: FitDirection, reader: Reader) -> None:
    """Fits a direction and writes it.

    Args:
        command: The options.
        reader: Reads the files of latents.

    Raises:
        ValueError: Latents, labels or options that do not fit; one line.
        OSError: A file cannot be read or written.
    """
    _check(command)
    held = command.latents_space or command.space
    names, latents = _read_latents(command.latents, reader, axes=3 if held == "w_plus" else 2)
    labels = _read_labels(_label_file(command), names, len(latents))
    generator = None if command.checkpoint is None else checkpoints.load(command.checkpoint)
    latents = _in_space(latents, held, command.space, generator, command.latents)
    if generator is not None:
        example = Direction(name=command.output.stem, space=command.space, vector=latents[0])
        files.check_direction(example, generator, where=str(command.latents))
    conditions = [
        files.load_direction(path, generator=generator, space=command.space, read=reader) for path in command.condition
    ]
    for path, condition in zip(command.condition, conditions, strict=True):
        if np.shape(condition.vector) != latents.shape[1:]:
            raise ValueError(f"{path}: a direction of shape {np.shape(condition.vector)}; latents {latents.shape[1:]}")
    if command.fraction is not None:
        chosen, labels = svm.select_extremes(labels, fraction=command.fraction)
        latents = latents[chosen]
    boundary = svm.fit_boundary(
        jax.random.key(command.seed),
        latents,
        labels,
        name=command.output.stem,
        space=command.space,
        sparsity=command.sparsity,
        source="" if generator is None else generator.fingerprint,
    )
    direction = boundary.direction
    if conditions:
        direction = svm.condition(direction, conditions)
    command.output.parent.mkdir(parents=True, exist_ok=True)
    files.save_direction(command.output, direction)
    zeros = f", {np.mean(np.asarray(direction.vector) == 0):.1%} zeros" if command.space == "s" else ""
    accuracy = (
        f"{boundary.direction.accuracy:.1%} of the held-out samples right, {boundary.train_accuracy:.1%} of the others"
    )
    print(f"{command.output}: {len(labels)} samples, {accuracy}{zeros}")


def _check(command: FitDirection) -> None:
    if command.output.suffix != ".safetensors":
        raise ValueError(f"--output {command.output}: directions are written as .safetensors files")
    if command.output.exists() and command.existing == "error":
        raise FileExistsError(f"{command.output} exists already; choose another --output or --existing overwrite")
    if not 0 <= command.sparsity < 1:
        raise ValueError(f"--sparsity is {command.sparsity}; 0 to below 1 would be right")
    if command.latents_space not in (None, command.space) and command.checkpoint is None:
        raise ValueError(f"--checkpoint is needed to take latents from {command.latents_space} to {command.space}")


def _read_latents(path: Path, reader: Reader, *, axes: int) -> tuple[list[str], np.ndarray]:
    """The latents of a file, or of all array files of a folder in the order of their names; and one name for each."""
    found = [path]
    if path.is_dir():
        found = sorted(f for f in path.iterdir() if f.suffix in _LATENTS and f.name not in _LABELS)
        if not found:
            raise ValueError(f"{path}: holds no latents ({', '.join(_LATENTS)})")
    names, parts = [], []
    for file in found:
        arrays = reader(file)
        if len(arrays) != 1:
            raise ValueError(f"{file}: holds {len(arrays)} arrays; latents are one array")
        stored = next(iter(arrays.values()))
        shape = (1, *stored.shape) if stored.ndim == axes - 1 else stored.shape
        if stored.dtype.kind != "f":
            raise ValueError(f"{file}: latents are {stored.dtype}; they are floats")
        if len(shape) != axes:
            raise ValueError(f"{file}: latents of shape {shape}; {axes} axes would be right, or one less for one")
        if parts and shape[1:] != parts[0].shape[1:]:
            raise ValueError(f"{file}: latents of shape {shape[1:]}, those before are {parts[0].shape[1:]}")
        array = np.asarray(stored).reshape(shape)
        names += [file.stem] * len(array)
        parts.append(array.astype(np.float32))
    return names, np.concatenate(parts)


def _label_file(command: FitDirection) -> Path:
    if command.labels is not None:
        return command.labels
    found = [command.latents / name for name in _LABELS if (command.latents / name).is_file()]
    if not found:
        raise ValueError(
            f"{command.latents}: no labels; name their file with --labels, or put {_LABELS[1]} beside the latents"
        )
    return found[0]


def _read_labels(path: Path, names: list[str], count: int) -> np.ndarray:
    """One number per latent: in their order, or for `NAME NUMBER` lines by the name of the latent's file."""
    if path.suffix == ".npy":
        labels = np.asarray(read_arrays(path)[""]).reshape(-1)
    else:
        try:
            rows = [re.split(r"[\s,;]+", line.strip()) for line in path.read_text("utf-8").splitlines() if line.strip()]
            widths = {len(row) for row in rows}
            if widths == {2}:
                table = {Path(name).stem: float(value) for name, value in rows}
                missing = [name for name in names if name not in table]
                if missing:
                    raise ValueError(f"there is none for {missing[0]}")
                labels = np.array([table[name] for name in names])
            elif widths == {1}:
                labels = np.array([float(row[0]) for row in rows])
            else:
                raise ValueError("lines are NUMBER, or NAME NUMBER")
        except ValueError as error:
            raise ValueError(f"{path}: not readable as labels ({error})") from error
    if labels.dtype.kind not in "fiub" or not np.isfinite(labels).all():
        raise ValueError(f"{path}: labels are finite numbers")
    if len(labels) != count:
        raise ValueError(f"{path}: {len(labels)} labels for {count} latents")
    return labels.astype(np.float64)


def _in_space(latents: np.ndarray, held: Space, wanted: Space, generator: StyleGAN2Generator | None, path: Path) -> Any:
    """Takes latents through the generator to the space of the direction."""
    if held == wanted:
        return latents
    order: list[Space] = ["z", "w", "w_plus", "s"]
    if order.index(held) > order.index(wanted) or wanted == "w_plus":
        raise ValueError(f"there is no way from {held} to {wanted}; from z to w, and from z, w and w_plus to s")
    assert generator is not None
    config = generator.config
    shapes = {"z": (config.z_dim,), "w": (config.w_dim,), "w_plus": (config.num_ws, config.w_dim)}
    if latents.shape[1:] != shapes[held]:
        raise ValueError(
            f"{path}: latents of shape {latents.shape[1:]}; in {held} of this generator they are {shapes[held]}"
        )

    def mapped(latent: jax.Array) -> jax.Array:
        w = generator.map(latent) if held == "z" else latent
        return w if wanted == "w" else join_styles(generator.styles(w))

    compiled = jax.jit(jax.vmap(mapped))
    batches = np.array_split(latents, -(-len(latents) // _BATCH))
    return np.concatenate([np.asarray(compiled(batch)) for batch in batches])
