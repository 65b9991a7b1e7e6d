"""`jaxedit find-direction`: directions that change one part of the image, by LELSD."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import batch, checkpoints, images, progress, segmenters, sheets
from jaxedit.atomic import write_verified
from jaxedit.claims import claiming
from jaxedit.cli.given_directions import with_spaces
from jaxedit.cli.given_segmenter import given_segmenter
from jaxedit.cli.options import FindDirection
from jaxedit.cli.records import sample_condition
from jaxedit.directions import files, local
from jaxedit.generators.base import Generator, sample_z, space_named
from jaxedit.methods import lelsd
from jaxedit.methods.lelsd import LelsdConfig
from jaxedit.networks.lpips import Lpips
from jaxedit.segmenters import Segmenter
from jaxedit.spaces import Direction, edited, joined, resolve_layers

SEEDS = (0, 1, 2, 3)
_LOOKED = 32  # samples that one at least has to show the part
_AT_ONCE = 4 * 256**2  # pixels of the parts that are computed together
_SEEN = 256  # px of the images that distances are measured on


def run(command: FindDirection) -> None:
    """Finds directions, writes them and draws a sheet.

    Args:
        command: The options.

    Raises:
        ValueError: Options that do not fit, a part that no sample shows, or numbers that are not finite; one line.
        OSError: A file cannot be read or written.
    """
    config = _config(command)
    sheet = command.output / "grid.png"
    if sheet.exists() and command.existing == "error":
        raise FileExistsError(f"{sheet} exists already; choose another --output or --existing overwrite")
    generator = checkpoints.load(command.checkpoint)
    command = with_spaces(command, generator)
    segmenter, perceptual = given_segmenter(command), _perceptual(command)
    segmenters.check_parts(segmenter, command.part)
    directions, report = found(command, generator, segmenter, config)
    with claiming(command.output):
        for direction in directions:
            files.save_direction(command.output / f"{direction.name}.safetensors", direction)
        write_verified(command.output / "directions.json", (json.dumps(report, indent=1) + "\n").encode())
        _draw_sheet(command, generator, perceptual, directions)
    for part, scores in report["parts"].items():
        print(f"{part}: {scores['score']:.1%} of the change inside, {scores['score_at_first']:.1%} at first")
    print(f"{sheet}: {len(SEEDS)} samples; the directions are beside it")


def _config(command: FindDirection) -> LelsdConfig:
    preset = {"paper": lelsd.PAPER, "official": lelsd.OFFICIAL}[command.preset]
    if len(set(command.part)) < len(command.part):
        raise ValueError("--part: two are the same")
    if not 0 < command.learning_rate < np.inf:
        raise ValueError(f"--learning-rate is {command.learning_rate}; it has to be positive")
    if (command.match_distance is None) != (command.lpips is None):
        raise ValueError("--match-distance and --lpips go together")
    names = ("directions", "steps", "batch_size", "learning_rate")
    given = {name: getattr(command, name) for name in names}
    return dataclasses.replace(preset, strengths=(-command.reach, command.reach), **given)


def _perceptual(command: FindDirection) -> Lpips | None:
    if command.lpips is None:
        return None
    network = checkpoints.load_network(command.lpips)
    if not isinstance(network, Lpips):
        raise ValueError(f"{command.lpips}: a network of another kind than LPIPS")
    return network


def found(
    command: FindDirection, generator: Generator, segmenter: Segmenter, config: LelsdConfig
) -> tuple[list[Direction], dict[str, Any]]:
    """Optimises directions.

    Args:
        command: Of its options those that say which directions, of which samples.
        generator: The generator.
        segmenter: Says where the parts are.
        config: Settings of the method.

    Returns:
        For each part its directions; and their scores with the settings, as JSON values.

    Raises:
        ValueError: A part that no sample shows, or numbers that are not finite; one line.
    """
    began, space = time.perf_counter(), space_named(generator, command.space)
    layers = None if command.layers is None else resolve_layers(command.layers, space=space)
    to_start, of_samples, of_steps = jax.random.split(jax.random.key(command.seed), 3)
    keys = jax.random.split(of_steps, len(command.part))
    like = local.direction_like(generator, space=command.space)
    states = jax.vmap(lambda key: lelsd.init(key, like, config=config))(jax.random.split(to_start, len(command.part)))
    options = {"space": command.space, "layers": layers, "config": config, "parts": command.part}
    options["together"] = at_once(generator, len(command.part))
    condition, infos = sample_condition(command, generator), list[lelsd.Info]()
    first = f"compiling, then {config.total_steps} steps"
    with progress.bar(range(config.total_steps), total=config.total_steps, unit="step", first=first) as numbers:
        for number in numbers:
            z = jax.random.normal(jax.random.fold_in(of_samples, number), (config.batch_size, generator.config.z_dim))
            states, info = step(generator, segmenter, condition, keys, states, z, **options)
            infos.append(info)
            _check(command, infos)
    vectors_of = np.asarray(jax.vmap(jax.vmap(joined))(lelsd.found(states)))
    directions, count = [], config.directions
    for part, vectors in zip(command.part, vectors_of, strict=True):
        name = part.replace("+", "_")
        for number, vector in enumerate(vectors):
            own = name if count == 1 else f"{name}_{number}"
            directions.append(Direction(own, command.space, vector, layers, source=generator.fingerprint))
    return directions, {**_report(command, config, infos), "seconds": time.perf_counter() - began}


@functools.partial(
    jax.jit,
    static_argnames=("space", "layers", "config", "parts", "together"),
    donate_argnames=("states",),
)
def step(
    generator: Generator,
    segmenter: Segmenter,
    condition: dict[str, Any],
    keys: jax.Array,
    states: lelsd.State,
    z: jax.Array,
    *,
    space: str,
    layers: tuple[int, ...] | None,
    config: LelsdConfig,
    parts: tuple[str, ...],
    together: int | None,
) -> tuple[lelsd.State, lelsd.Info]:
    """The program of a step of all parts on a batch of `z`; `together` parts are computed at a time."""
    before, after = ({}, condition) if space == generator.spaces[0].name else (condition, {})
    latents = jax.vmap(lambda one: local.latent_in(generator, one, space=space, **before))(z)

    def features(latent: Any) -> Any:
        image, maps = local.feature_maps(generator, latent, space=space, **after)
        return segmenters.seen_by(segmenter, image, maps), maps

    def segment(seen: Any) -> jax.Array:
        return segmenters.part_masks(segmenter, seen, parts=parts).astype(jnp.float32)

    samples = lelsd.observe(features, segment, latents)
    move = local.mover(generator, space=space, layers=layers)
    return lelsd.step_parts(keys, features, segment, states, samples, config=config, move=move, together=together)


def at_once(generator: Generator, parts: int) -> int | None:
    """How many parts are computed at a time: all, or as many as 256 px have room for."""
    together = max(1, _AT_ONCE // generator.config.resolution**2)
    return together if together < parts else None


def _check(command: FindDirection, infos: list[lelsd.Info]) -> None:
    """Looks now and then whether all goes well: a look waits for the step."""
    if len(infos) * command.batch_size < _LOOKED or (len(infos) - 1) % 8:
        return
    scores, parts = np.asarray(infos[-1].score), np.sum([np.asarray(info.part) for info in infos[:_LOOKED]], axis=0)
    for part, score, seen in zip(command.part, scores, parts, strict=True):
        if not np.isfinite(score):
            raise ValueError(f"--part {part}: the score is not finite after {len(infos)} steps")
        if not seen:
            raise ValueError(f"--part {part}: none of {len(infos) * command.batch_size} samples shows it")


def _report(command: FindDirection, config: LelsdConfig, infos: list[lelsd.Info]) -> dict[str, Any]:
    scores = np.stack([np.asarray(info.score) for info in infos])
    layers = np.stack([np.asarray(info.layer_scores) for info in infos])
    regularizer = np.asarray(infos[-1].regularizer)
    some = max(1, len(infos) // 8)
    parts = {
        part: {
            "score": float(scores[-some:, index].mean()),
            "score_at_first": float(scores[:some, index].mean()),
            "layer_scores": layers[-some:, index].mean(axis=0).tolist(),
            "regularizer": float(regularizer[index]),
        }
        for index, part in enumerate(command.part)
    }
    settings = {"checkpoint": str(command.checkpoint), "space": command.space, "layers": command.layers}
    settings |= {"truncation_psi": command.truncation_psi, "seed": command.seed, **dataclasses.asdict(config)}
    return {"parts": parts, "settings": settings}


def _draw_sheet(
    command: FindDirection, generator: Generator, perceptual: Lpips | None, directions: list[Direction]
) -> None:
    """Samples as they are, and at every strength of every direction."""
    moves = [(np.zeros_like(directions[0].vector), np.float32(0), "original", "")]
    for direction in directions:
        for strength in command.strengths:
            name, mark = direction.name.replace("_", " "), "-" if strength < 0 else "+"
            moves.append((np.asarray(direction.vector), np.float32(strength), name, mark))
    latents = [np.asarray(sample_z(seed, generator.config.z_dim)) for seed in SEEDS]
    samples = [(latent, *move[:2]) for latent in latents for move in moves]
    options = {
        "space": command.space,
        "layers": directions[0].layers,
    }
    options["target"] = command.match_distance
    size = batch.choose_batch_size(len(samples), jax.local_device_count())
    drawn = batch.map_samples(
        _drawn, (generator, sample_condition(command, generator), perceptual), samples, batch_size=size, options=options
    )
    with progress.bar(drawn, total=len(samples), unit="picture", first="compiling the sheet") as counted:
        found = [jax.tree.map(np.asarray, one) for one in counted]
    if not all(one.finite for one in found):
        raise ValueError(f"{command.checkpoint}: pictures of the sheet are not finite numbers")
    rows, columns, marks = [f"seed {seed}" for seed in SEEDS], [move[2] for move in moves], [move[3] for move in moves]
    sheet = sheets.labelled_sheet([one.image for one in found], rows=rows, columns=columns, marks=marks * len(SEEDS))
    images.save_png(command.output / "grid.png", sheet)


def _drawn(
    shared: tuple[Generator, dict[str, Any], Lpips | None],
    sample: tuple[jax.Array, ...],
    *,
    space: str,
    layers: tuple[int, ...] | None,
    target: float | None,
) -> batch.Drawn:
    (generator, condition, perceptual), (latent, vector, strength) = shared, sample

    def draw(strength: jax.Array) -> jax.Array:
        direction = Direction("", space, vector, layers)
        return generator.render(edited(generator, latent, [(direction, strength)], **condition))

    if perceptual is not None and target is not None:
        before = _seen(draw(jnp.float32(0)))
        strength = local.matched_strength(
            lambda found: perceptual(before, _seen(draw(found))), target, largest=strength
        )
    return batch.drawn(draw(strength))


def _seen(image: jax.Array) -> jax.Array:
    return jax.image.resize(image, (_SEEN, _SEEN, 3), "linear")
