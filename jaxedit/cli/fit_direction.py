"""`jaxedit fit-direction`: a direction from latents and their labels, read from files or drawn and looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from jaxedit import batch, checkpoints
from jaxedit.cli.array_files import read_arrays
from jaxedit.cli.given_directions import with_spaces
from jaxedit.cli.judged import judged_samples
from jaxedit.cli.labels import read_labels
from jaxedit.cli.latents import LABELS, StoredLatents, rows, stored_latents
from jaxedit.cli.options import FitDirection
from jaxedit.directions import files, svm
from jaxedit.generators.base import Generator, space_index, space_named
from jaxedit.spaces import Direction, joined

_BATCH = 256


def run(command: FitDirection) -> None:
    """Fits a direction and writes it.

    Args:
        command: The options.

    Raises:
        ValueError: Latents, labels or options that do not fit; one line.
        OSError: A file cannot be read or written.
    """
    _check(command)
    generator = None if command.checkpoint is None else checkpoints.load(command.checkpoint)
    command = with_spaces(command, generator)
    if command.samples is not None:
        if generator is None or command.latents_space not in (None, "z"):
            raise ValueError("--samples needs the --checkpoint that draws them, and they are in z")
        command = dataclasses.replace(command, latents_space="z")
    _check_way(command, generator)
    if command.samples is None or generator is None:
        latents, labels = _stored(command, generator)
    else:
        latents, labels = judged_samples(command, generator)
    conditions = _conditions(command, generator, latents.shape[1:])
    if command.fraction is not None:
        chosen, labels = svm.select_extremes(labels, fraction=command.fraction)
        latents = latents[chosen]
    boundary = svm.fit_boundary(
        jax.random.key(command.seed),
        _in_space(latents, command, generator),
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


def _stored(command: FitDirection, generator: Generator | None) -> tuple[np.ndarray, np.ndarray]:
    """Latents and labels from files."""
    if command.latents is None:
        raise ValueError("give latents, or --samples to draw them")
    stored = stored_latents(command.latents, besides=command.labels)
    shapes = _shapes(stored, command.latents_space or command.space, generator)
    labels = read_labels(
        _label_file(command, command.latents),
        stored,
        [shape[0] for shape in shapes],
        scores=command.fraction is not None,
        attribute=command.attribute,
    )
    return np.concatenate(
        [part for one, shape in zip(stored, shapes, strict=True) for part in rows(one, shape)]
    ), labels


def _check(command: FitDirection) -> None:
    if command.output.suffix != ".safetensors":
        raise ValueError(f"--output {command.output}: directions are written as .safetensors files")
    if command.output.exists() and command.existing == "error":
        raise FileExistsError(f"{command.output} exists already; choose another --output or --existing overwrite")
    if not 0 <= command.sparsity < 1:
        raise ValueError(f"--sparsity is {command.sparsity}; 0 to below 1 would be right")


def _check_way(command: FitDirection, generator: Generator | None) -> None:
    """Refuses spaces that the generator does not lead to."""
    held, wanted = command.latents_space or command.space, command.space
    if generator is None:
        if held != wanted:
            raise ValueError(f"--checkpoint is needed to take latents from {held} to {wanted}")
        if wanted == "s":
            raise ValueError(
                "--space s needs --checkpoint: styles are known by their number, which is the generator's; W latents of"
                " it are taken to s by --latents-space w"
            )
        return
    first, last = space_index(generator, held), space_index(generator, wanted)
    if first > last:
        way = " to ".join(space.name for space in generator.spaces)
        raise ValueError(f"there is no way from {held} to {wanted}; it goes from {way}")
    before = generator.spaces[last - 1]
    if first < last and (before.form == "shared" or generator.spaces[last].field):
        raise ValueError(f"from {held} to {wanted} all layers would get the same latent; fit in {before.name}")


def _shapes(stored: Sequence[StoredLatents], space: str, generator: Generator | None) -> list[tuple[int, ...]]:
    """`(N, *latent)` for each array, all latents of one shape, which is that of the generator's space."""
    latent = None if generator is None else space_named(generator, space).shape
    axes = 1 + (1 + (space == "w_plus") if latent is None else len(latent))
    shapes = []
    for one in stored:
        shape = (1, *one.array.shape) if one.array.ndim == axes - 1 else one.array.shape
        if one.array.dtype.kind != "f":
            raise ValueError(f"{one.where}: latents are {one.array.dtype}; they are floats")
        if len(shape) != axes or not shape[0]:
            raise ValueError(
                f"{one.where}: latents of shape {one.array.shape}; {axes} axes would be right, or one less for one"
            )
        if latent is not None and shape[1:] != latent:
            known = f"in {space} of this generator they are" if generator is not None else "those before are"
            raise ValueError(f"{one.where}: latents of shape {shape[1:]}; {known} {latent}")
        latent = shape[1:]
        shapes.append(shape)
    return shapes


def _conditions(command: FitDirection, generator: Generator | None, held: tuple[int, ...]) -> list[Direction]:
    shape = held if generator is None else space_named(generator, command.space).shape
    found = [
        files.load_direction(path, generator=generator, space=command.space, read=read_arrays)
        for path in command.condition
    ]
    for path, condition in zip(command.condition, found, strict=True):
        if np.shape(condition.vector) != shape:
            raise ValueError(f"{path}: a direction of shape {np.shape(condition.vector)}; latents {shape}")
    return found


def _label_file(command: FitDirection, latents: Path) -> Path:
    if command.labels is not None:
        return command.labels
    found = [latents / name for name in LABELS if (latents / name).is_file()]
    if not found:
        raise ValueError(f"{latents}: no labels; name their file with --labels, or put {LABELS[1]} beside the latents")
    return found[0]


def _in_space(latents: np.ndarray, command: FitDirection, generator: Generator | None) -> np.ndarray:
    """Takes latents through the generator to the space of the direction."""
    held = command.latents_space or command.space
    if held == command.space:
        return latents
    size, options = batch.choose_batch_size(len(latents), _BATCH), {"held": held, "wanted": command.space}
    return batch.collected(batch.map_samples(_mapped, generator, latents, batch_size=size, options=options))


def _mapped(generator: Generator, latent: jax.Array, *, held: str, wanted: str) -> jax.Array:
    for space in generator.spaces[space_index(generator, held) : space_index(generator, wanted)]:
        latent = generator.advance(space.name, latent)
    return joined(latent)
