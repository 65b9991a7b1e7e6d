"""The loop around `jaxedit.training.gan`: log, pictures, snapshots to go on from, and the finished networks.

A directory of a training holds `run.json` (what is trained, so that nothing else goes on there), `log.jsonl`,
`pictures/`, `snapshots/` and at the end the checkpoints `generator` and `discriminator`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Float

from jaxedit import batch, checkpoints, progress
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.log import Log, read_rows
from jaxedit.nn.pytrees import Params, traced
from jaxedit.training import gan, pictures, resumable
from jaxedit.training.folder import holding
from jaxedit.training.gan import GanState
from jaxedit.training.gan_config import GanConfig

Images = Float[Array | np.ndarray, "batch resolution resolution channels"]
Shardings = tuple[NamedSharding | None, NamedSharding | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long a training lasts and when it writes what.

    Attributes:
        total_images: Reals to show in all, rounded up to whole steps.
        log_steps: Steps between two lines of the log, which hold means over these steps.
        picture_steps: Steps between two sheets of pictures and evaluations; a multiple of `snapshot_steps`.
        snapshot_steps: Steps between two snapshots.
    """

    total_images: int
    log_steps: int = 64
    picture_steps: int = 2048
    snapshot_steps: int = 1024

    def __post_init__(self):
        for name in ("total_images", "log_steps", "picture_steps", "snapshot_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it has to be positive")
        if self.picture_steps % self.snapshot_steps:
            raise ValueError(f"picture_steps is {self.picture_steps}; it has to be a multiple of snapshot_steps")


def train(
    images_at: Callable[[int], Images],
    *,
    config: GanConfig,
    schedule: Schedule,
    output: str | Path,
    seed: int,
    data: str,
    generator_params: Params | None = None,
    pair_loss: gan.PairLoss | None = None,
    evaluate: Callable[[Params], dict[str, float]] | None = None,
) -> Params:
    """Trains until `schedule.total_images`, going on where an earlier process stopped, whatever stopped it.

    The result, and the log but for its last column `images_per_second`, do not depend on where it was interrupted. All
    local devices share the batch. In a program that is watched (`jaxedit.interrupts`) an interrupt is obeyed after the
    present step, with a snapshot of it.

    Args:
        images_at: The reals of a step, counted from 0: `[batch_size, resolution, resolution, channels]` float32 in
            [-1, 1]. A function of the number alone.
        config: What is trained.
        schedule: How long, and what is written when. Only `log_steps` has to stay as it is when a training goes on.
        output: Directory of the training; made if needed, and held by one process at a time.
        seed: Of everything random.
        data: What `images_at` shows and what `pair_loss` compares with, in words; it has to stay as it is, too.
        generator_params: Start from this generator instead of a random one.
        pair_loss: As in `gan.step`; what a `jax.tree_util.Partial` binds is passed to the program, not compiled in.
        evaluate: Numbers about the generator's moving average for the log, computed whenever pictures are drawn. A
            function of the parameters alone.

    Returns:
        The generator's moving average, which is also written to `output / "generator"`.

    Raises:
        ValueError: `output` is of another training; the batch can't be shared among the devices or has another shape;
            or the training has left the finite numbers: the last snapshot before that is kept.
        BlockingIOError: Another process is training in `output`.
        OSError: Something cannot be written.
    """
    output, shardings = Path(output), _shardings(config)
    identity = _identity(config, schedule, seed, data, generator_params)
    with holding(output, identity):
        with progress.saying("making the first images"):
            _check_images(images_at(0), config)
        prepare = functools.partial(
            _prepare, images_at=images_at, config=config, pair_loss=pair_loss, shardings=shardings
        )
        job = resumable.Job(
            folder=output,
            steps=math.ceil(schedule.total_images / config.batch_size),
            log_steps=schedule.log_steps,
            snapshot_steps=schedule.snapshot_steps,
            unit=("images", config.batch_size),
            remedy="a larger --r1-gamma or a smaller --learning-rate",
            names=gan.StepInfo._fields,
            prepare=prepare,
            line=functools.partial(_line, batch_size=config.batch_size),
            after_snapshot=functools.partial(_draw, output=output, config=config, schedule=schedule, evaluate=evaluate),
        )
        with progress.saying("compiling the networks"):
            init = jax.jit(functools.partial(gan.init, config=config))
            state = init(jax.random.key(seed), generator_params=generator_params)
        state = resumable.run(job, state)
        _write_networks(output, state, config, identity)
    return state.ema


def _check_images(reals: Images, config: GanConfig) -> None:
    """Finds images that don't fit the networks before anything is compiled."""
    size, channels = config.generator.resolution, config.generator.image_channels
    if reals.shape != (wanted := (config.batch_size, size, size, channels)):
        raise ValueError(f"the images of a step have the shape {reals.shape}; the networks take {wanted}")


def _shardings(config: GanConfig) -> Shardings:
    """How batches and states lie on the local devices; None and None for a single one."""
    devices = jax.local_devices()
    if len(devices) == 1:
        return None, None
    if config.batch_size % len(devices):
        raise ValueError(f"batch_size is {config.batch_size}; it has to be a multiple of the {len(devices)} devices")
    return (split := batch.divided(devices=devices)), batch.replicated(split)


def _prepare(
    step: int,
    state: GanState,
    *,
    images_at: Callable[[int], Images],
    config: GanConfig,
    pair_loss: gan.PairLoss | None,
    shardings: Shardings,
) -> tuple[GanState, resumable.Advance[GanState]]:
    """The state on all devices, and the step as one program."""
    split, shared = shardings
    own_step = functools.partial(gan.step, config=config, sharding=split)
    jitted = jax.jit(own_step, donate_argnums=0, out_shardings=shared)
    paired = {} if pair_loss is None else {"pair_loss": jax.device_put(traced(pair_loss), shared)}
    state = jax.device_put(state, shared)
    program = jitted.lower(state, jax.device_put(images_at(step), split), **paired).compile()

    measures = functools.partial(_measures, config=config, paired=bool(paired))

    def advance(step: int, state: GanState) -> tuple[GanState, dict[str, Array]]:
        state, info = program(state, jax.device_put(images_at(step), split), **paired)
        return state, {name: value for name, value in info._asdict().items() if measures(name, step)}

    return state, advance


def _measures(name: str, step: int, *, config: GanConfig, paired: bool) -> bool:
    """Whether a step computes a field of `StepInfo`: penalties are not always due, and NaN where they are not."""
    if name == "pair_loss":
        return paired
    if name in ("path_penalty", "path_length"):
        return bool(config.path_length_weight) and step % config.path_length_interval == 0
    return name != "r1_penalty" or (bool(config.r1_gamma) and step % config.r1_interval == 0)


def _line(step: int, measured: resumable.Measured, speed: float, *, batch_size: int) -> dict[str, Any]:
    """The mean of each number over the steps that have it, and None if none has."""
    columns = {name: [row[name] for row in measured.values() if name in row] for name in gan.StepInfo._fields}
    means = {name: float(np.mean(column)) if column else None for name, column in columns.items()}
    return {"images": step * batch_size, **means, "images_per_second": round(speed * batch_size, 2)}


def _draw(
    step: int,
    state: GanState,
    log: Log,
    *,
    output: Path,
    config: GanConfig,
    schedule: Schedule,
    evaluate: Callable[[Params], dict[str, float]] | None,
) -> None:
    """Pictures, and what `evaluate` says, where they are due and not there yet."""
    images = step * config.batch_size
    if step % schedule.picture_steps and images < schedule.total_images:
        return
    drawn = all(path.exists() for path in pictures.sheets(output / "pictures", images).values())
    if not drawn:
        with progress.saying("drawing pictures"):
            pictures.write_sheets(output / "pictures", images, StyleGAN2Generator(state.ema, config.generator))
    if evaluate and not any(row["step"] == step and "metrics" in row for row in read_rows(log.path)):
        log.write({"step": step, "images": images, "metrics": evaluate(state.ema)})


def _identity(
    config: GanConfig, schedule: Schedule, seed: int, data: str, generator_params: Params | None
) -> dict[str, Any]:
    """What has to be the same for a training to go on."""
    return {
        "config": config,
        "log_steps": schedule.log_steps,
        "seed": seed,
        "data": data,
        "initial_generator": None if generator_params is None else checkpoints.fingerprint(generator_params),
    }


def _write_networks(output: Path, state: GanState, config: GanConfig, identity: dict[str, Any]) -> None:
    """The networks as checkpoints, in place of those of a shorter training."""
    seen = int(state.step) * config.batch_size
    metadata = {"source": "trained by jaxedit", "data": identity["data"], "seed": identity["seed"], "images": seen}
    networks = {
        "generator": (state.ema, config.generator),
        "discriminator": (state.discriminator, config.discriminator),
    }
    for network, (params, architecture) in networks.items():
        checkpoints.save(output / network, params=params, config=architecture, metadata=metadata, replace=True)
