"""`jaxedit train-surrogate`: pairs of latents and what is read off their pictures, and SGF's mapping fitted to them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import batch, checkpoints, faces, progress
from jaxedit.atomic import replacing
from jaxedit.cli.options import TrainSurrogate
from jaxedit.cli.records import sample_condition
from jaxedit.cli.surrogates import (
    CAPTIONER,
    Seen,
    condition_of,
    given_conditions,
    latent_of,
    picture_of,
    pictures_at_once,
)
from jaxedit.conditions import Conditions, calibrated
from jaxedit.faces import FaceNetworks
from jaxedit.generators.base import space_named
from jaxedit.networks.auxiliary_mapping import AuxiliaryConfig, AuxiliaryMapping
from jaxedit.training import surrogate
from jaxedit.training.folder import holding
from jaxedit.training.supervised import FitConfig

_CHUNK = 2000  # pairs in a file
_CALIBRATED = 200  # samples that say where measures such as the age have their middle
_HELD_OUT = 0.05
_FEWEST = 100


def run(command: TrainSurrogate) -> None:
    """Draws pairs, fits the mapping, writes it and says what held-out pairs tell of it.

    Args:
        command: The options.

    Raises:
        ValueError: Options that do not fit, pictures of which nothing finite can be said, or another training in the
            folder; one line.
        OSError: A file cannot be read or written.
    """
    if command.samples < _FEWEST:
        raise ValueError(f"--samples {command.samples}; {_FEWEST} or more would be right")
    if len(set(command.condition)) < len(command.condition):
        raise ValueError("--condition: the same twice")
    generator = checkpoints.load(command.checkpoint)
    space = command.space or generator.spaces[min(1, len(generator.spaces) - 1)].name
    if len(space_named(generator, space).shape) != 1 or space_named(generator, space).field:
        raise ValueError(f"--space {space}: its latents are no vectors; {generator.spaces[0].name} would be right")
    if "captions" in command.condition:
        _train_captioner(command)
    seen = Seen(generator, sample_condition(command, generator), _conditions(command))
    identity = {
        "generator": generator.fingerprint or str(command.checkpoint),
        "space": space,
        "condition": sorted(command.condition),
        "names": seen.conditions.names,
        "truncation_psi": command.truncation_psi,
        "class": command.label,
        "seed": command.seed,
    }
    with holding(command.output / "pairs", identity | {"samples": command.samples}):
        seen, pairs = _pairs(command, seen, space)
    _fit(command, seen, pairs, identity)


def _conditions(command: TrainSurrogate) -> Conditions:
    return given_conditions(command, command.condition, command.attributes, command.output)


def _train_captioner(command: TrainSurrogate) -> None:
    """The network that tells the embedding of a caption, before anything else."""
    if str(command.checkpoint) != checkpoints.BUILT_IN:
        raise ValueError("--condition captions: sentences are about avatars; give the checkpoint `avatars`")
    from jaxedit import sentences
    from jaxedit.avatars.training import captioning

    if (command.output / CAPTIONER).exists():
        return
    encoder = sentences.load(command.sentences)
    print(f"captions are embedded by {encoder.name}")
    params, config = captioning.fit_captioner(
        jax.random.key(command.seed),
        encoder,
        images=command.captioner_images,
        directory=command.output / "captioner_training",
    )
    metadata = {"source": "fitted to avatars by jaxedit", "sentences": encoder.name}
    checkpoints.save(command.output / CAPTIONER, params=params, config=config, metadata=metadata)


def _pairs(command: TrainSurrogate, seen: Seen, space: str) -> tuple[Seen, surrogate.Pairs]:
    """The pairs of the seeds 0, 1, ..., in files of which those that are there are kept."""
    folder = command.output / "pairs"
    seen = _calibrated(command, seen, space, folder / "calibration.npz")
    files = range(math.ceil(command.samples / _CHUNK))
    missing = [index for index in files if not _file(folder, index).exists()]
    total = sum(_count(command, index) for index in missing)
    found = batch.map_samples(
        _pair,
        seen,
        (key for index in missing for key in _keys(command, index)),
        batch_size=pictures_at_once(seen.generator, max(total, 1)),
        options={"space": space},
    )
    if missing:
        with progress.bar(found, total=total, unit="pair", first="compiling") as counted:
            drawn = iter(counted)
            for index in missing:
                z, c = batch.collected([next(drawn) for _ in range(_count(command, index))])
                if not np.isfinite(z).all() or not np.isfinite(c).all():
                    raise ValueError(f"{command.checkpoint}: samples of which nothing finite can be said")
                _write(_file(folder, index), z=z, c=c)
    loaded = [np.load(_file(folder, index)) for index in files]
    z, c = (np.concatenate([one[name] for one in loaded])[: command.samples] for name in ("z", "c"))
    return seen, surrogate.Pairs(jnp.asarray(z), jnp.asarray(c))


def _calibrated(command: TrainSurrogate, seen: Seen, space: str, path: Path) -> Seen:
    """Where scores are measures, such as years, their middle and scale are those of random samples."""
    if not isinstance(seen.conditions.networks.get("attributes"), FaceNetworks):
        return seen
    if not path.exists():
        keys = _keys(command, 0)[:_CALIBRATED]
        size = pictures_at_once(seen.generator, len(keys))
        found = batch.map_samples(_scored, seen, keys, batch_size=size, options={"space": space})
        with progress.bar(found, total=len(keys), unit="picture", first="compiling") as counted:
            scores = np.stack([np.asarray(one) for one in counted])
        middle, scale = calibrated(scores, signed=np.isin(faces.ATTRIBUTES, faces.DECIDED))
        _write(path, middle=middle, scale=scale)
    with np.load(path) as stored:
        found = dataclasses.replace(seen.conditions, middle=stored["middle"], scale=stored["scale"])
    return seen._replace(conditions=found)


def _fit(command: TrainSurrogate, seen: Seen, pairs: surrogate.Pairs, identity: dict[str, Any]) -> None:
    first = seen.generator.spaces[0].name
    layers = command.layers or (6 if identity["space"] == first else 15)
    config = AuxiliaryConfig(pairs.z.shape[1], pairs.c.shape[1], layers, command.width)
    held = max(_FEWEST // 2, min(2000, round(_HELD_OUT * len(pairs.z))))
    params = surrogate.fit(
        jax.random.key(command.seed),
        surrogate.Pairs(pairs.z[held:], pairs.c[held:]),
        config=config,
        training=FitConfig(command.steps, command.learning_rate, warmup=0.01, weight_decay=0.0),
        batch_size=command.batch_size,
        directory=command.output / "training",
    )
    measured = jax.jit(surrogate.measure)(params, surrogate.Pairs(pairs.z[:held], pairs.c[:held]))
    numbers = {name: float(value) for name, value in measured.items()}
    conditions = seen.conditions
    metadata = {
        "source": "trained by jaxedit",
        **identity,
        "middle": np.asarray(conditions.middle).tolist(),
        "scale": np.asarray(conditions.scale).tolist(),
        "measured": numbers,
    }
    path = command.output / "surrogate"
    checkpoints.save(path, params=params, config=config, metadata=metadata, replace=True)
    print(
        f"{path}: {AuxiliaryMapping(params, config)}; on {held} held-out pairs, in units of the latents' variance:"
        f" error {numbers['error']:.3f}, of the best constant {numbers['constant']:.3f}, with others' conditions"
        f" {numbers['other']:.3f}; norm of the Jacobian to the condition {numbers['condition_norm']:.2f}, second term"
        f" of the series to the first {numbers['ratio']:.2f}"
    )


def _keys(command: TrainSurrogate, index: int) -> np.ndarray:
    """Of the samples of a file."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(command.seed), index), _CHUNK)
    return np.asarray(jax.random.key_data(keys))[: _count(command, index)]


def _count(command: TrainSurrogate, index: int) -> int:
    return min(_CHUNK, command.samples - index * _CHUNK)


def _file(folder: Path, index: int) -> Path:
    return folder / f"pairs{index:05d}.npz"


def _write(path: Path, **arrays: Any) -> None:
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def _drawn(seen: Seen, key: jax.Array, space: str) -> jax.Array:
    z = jax.random.normal(jax.random.wrap_key_data(key), (seen.generator.config.z_dim,))
    return latent_of(seen, z, space=space)


def _pair(seen: Seen, key: jax.Array, *, space: str) -> tuple[jax.Array, jax.Array]:
    latent = _drawn(seen, key, space)
    return latent, condition_of(seen, latent, space=space)


def _scored(seen: Seen, key: jax.Array, *, space: str) -> jax.Array:
    return seen.conditions.scores(picture_of(seen, _drawn(seen, key, space), space=space))
