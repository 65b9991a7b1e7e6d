"""The loop around `jaxedit.training.gan`: log, pictures, snapshots to go on from, and the finished networks.

A directory of a training holds `run.json` (what is trained, so that nothing else goes on there), `log.jsonl`,
`pictures/`, `snapshots/` and at the end the checkpoints `generator` and `discriminator`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float
from tqdm import tqdm

from jaxedit import batch, checkpoints, images, sheets
from jaxedit.atomic import replacing
from jaxedit.generators import stylegan2
from jaxedit.generators.base import sample_z
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.log import Log
from jaxedit.training import gan, snapshots
from jaxedit.training.gan import GanState, Params
from jaxedit.training.gan_config import GanConfig

Images = Float[Array | np.ndarray, "batch resolution resolution channels"]

PSIS = (1.0, 0.7)
_SEEDS = 32
_IN_FLIGHT = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long a training lasts and when it writes what.

    Attributes:
        total_images: Reals to show in all, rounded up to whole steps.
        log_steps: Steps between two lines of the log, which hold means over these steps.
        picture_steps: Steps between two sheets of pictures and evaluations; a multiple of `log_steps`.
        snapshot_steps: Steps between two snapshots; a multiple of `log_steps`.
    """

    total_images: int
    log_steps: int = 64
    picture_steps: int = 2048
    snapshot_steps: int = 1024

    def __post_init__(self):
        for name in ("total_images", "log_steps", "picture_steps", "snapshot_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it has to be positive")
        for name in ("picture_steps", "snapshot_steps"):
            if getattr(self, name) % self.log_steps:
                raise ValueError(f"{name} is {getattr(self, name)}; it has to be a multiple of log_steps")


def train(
    images_at: Callable[[int], Images],
    *,
    config: GanConfig,
    schedule: Schedule,
    output: str | Path,
    seed: int,
    data: str,
    generator_params: Params | None = None,
    evaluate: Callable[[Params], dict[str, float]] | None = None,
) -> Params:
    """Trains until `schedule.total_images`, going on where an earlier process stopped, whatever stopped it.

    The result, and the log but for its last column `images_per_second`, do not depend on where it was interrupted. All
    local devices share the batch.

    Args:
        images_at: The reals of a step, counted from 0: `[batch_size, resolution, resolution, channels]` float32 in
            [-1, 1]. A function of the number alone.
        config: What is trained.
        schedule: How long, and what is written when. Only `log_steps` has to stay as it is when a training goes on.
        output: Directory of the training; made if needed.
        seed: Of everything random.
        data: What `images_at` shows, in words; it has to stay as it is, too.
        generator_params: Start from this generator instead of a random one.
        evaluate: Numbers about the generator's moving average for the log, computed whenever pictures are drawn.

    Returns:
        The generator's moving average, which is also written to `output / "generator"`.

    Raises:
        ValueError: `output` is of another training, or the batch can't be shared among the devices.
        FloatingPointError: The losses are no longer finite.
        OSError: Something cannot be written.
    """
    output, shardings = Path(output), _shardings(config)
    identity = _identity(config, schedule, seed, data, generator_params)
    _claim(output, identity)
    init = jax.jit(functools.partial(gan.init, config=config))
    state = init(jax.random.key(seed), generator_params=generator_params)
    step, state = snapshots.latest(output / "snapshots", state) or (0, state)
    total = math.ceil(schedule.total_images / config.batch_size)
    intervals = _intervals(state, step, total, images_at, config, schedule, shardings)
    with Log(output / "log.jsonl", lambda row: row["step"] <= step) as log:
        for step, state, scalars in intervals:
            place = {"step": step, "images": step * config.batch_size}
            log.write(place | scalars)
            if not np.isfinite([value for value in scalars.values() if value is not None]).all():
                raise FloatingPointError(f"{output}: the losses are not finite any more after {step} steps")
            if step % schedule.picture_steps == 0 or step == total:
                generator = StyleGAN2Generator(state.ema, config.generator)
                _write_pictures(output / "pictures", generator, f"{place['images']:09d}")
                if evaluate:
                    log.write(place | {"metrics": evaluate(state.ema)})
            if step % schedule.snapshot_steps == 0 or step == total:
                snapshots.save(output / "snapshots", step, state)
    _write_networks(output, state, config, identity)
    return state.ema


def _intervals(
    state: GanState,
    step: int,
    total: int,
    images_at: Callable[[int], Images],
    config: GanConfig,
    schedule: Schedule,
    shardings: tuple[NamedSharding | None, NamedSharding | None],
) -> Iterator[tuple[int, GanState, dict[str, float | None]]]:
    """Runs up to each line of the log: the step, the state after it, and what the line holds. The state is given away
    when the next interval begins."""
    if step >= total:
        return
    split, shared = shardings
    state = jax.device_put(state, shared)
    jitted = jax.jit(functools.partial(gan.step, config=config, sharding=split), donate_argnums=0, out_shardings=shared)
    advance = jitted.lower(state, jax.device_put(images_at(step), split)).compile()
    batch_size = config.batch_size
    with tqdm(total=total * batch_size, initial=step * batch_size, unit="img", disable=None) as progress:
        while step < total:
            infos, start = [], time.perf_counter()
            while not infos or (step % schedule.log_steps and step < total):
                state, info = advance(state, jax.device_put(images_at(step), split))
                infos.append(info)
                step += 1
                jax.block_until_ready(infos[-_IN_FLIGHT:][0])
                progress.update(batch_size)
            means = _means(infos)
            progress.set_postfix({name: f"{means[name]:.3f}" for name in ("generator_loss", "discriminator_loss")})
            rate = len(infos) * batch_size / (time.perf_counter() - start)
            yield step, state, means | {"images_per_second": round(rate, 2)}


def _shardings(config: GanConfig) -> tuple[NamedSharding | None, NamedSharding | None]:
    """How batches and states lie on the local devices; None and None for a single one."""
    devices = jax.local_devices()
    if len(devices) == 1:
        return None, None
    if config.batch_size % len(devices):
        raise ValueError(f"batch_size is {config.batch_size}; it has to be a multiple of the {len(devices)} devices")
    mesh = Mesh(np.array(devices), ("batch",), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec("batch")), NamedSharding(mesh, PartitionSpec())


def _means(infos: list[gan.StepInfo]) -> dict[str, float | None]:
    """The mean of each scalar over the steps; of penalties, over those in which they were due, and None if in none."""
    means = {}
    for name, column in zip(gan.StepInfo._fields, zip(*infos, strict=True), strict=True):
        values = np.array(column, np.float64)
        values = values[~np.isnan(values)] if name in gan.LAZY else values
        means[name] = float(np.mean(values)) if values.size else None
    return means


def _draw(generator: StyleGAN2Generator, sample: tuple[Array, Array]) -> Array:
    z, psi = sample
    w = stylegan2.map_latent(generator.params, z, config=generator.config, truncation_psi=psi)
    return generator.synthesize(generator.styles(w))


def _write_pictures(folder: Path, generator: StyleGAN2Generator, name: str) -> None:
    """One sheet of the same latents for each truncation."""
    folder.mkdir(parents=True, exist_ok=True)
    latents = [sample_z(seed, generator.config.z_dim) for seed in range(_SEEDS)]
    for psi in PSIS:
        samples = ((z, np.float32(psi)) for z in latents)
        tiles = batch.map_samples(_draw, generator, samples, batch_size=batch.choose_batch_size(len(latents)))
        sheet = sheets.labelled_sheet(tiles, rows=[""], columns=[f"seed {seed}" for seed in range(_SEEDS)])
        images.save_png(folder / f"{name}-psi{psi:g}.png", sheet)


def _identity(
    config: GanConfig, schedule: Schedule, seed: int, data: str, generator_params: Params | None
) -> dict[str, Any]:
    """What has to be the same for a training to go on."""
    return {
        "config": dataclasses.asdict(config),
        "log_steps": schedule.log_steps,
        "seed": seed,
        "data": data,
        "initial_generator": None if generator_params is None else checkpoints.fingerprint(generator_params),
    }


def _claim(output: Path, identity: dict[str, Any]) -> None:
    """Writes what is trained here; refuses a directory that is of another training."""
    path, identity = output / "run.json", json.loads(json.dumps(identity))
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if differing := _differences(found, identity):
            raise ValueError(f"{output}: holds another training ({differing[0]}); choose another directory")
        return
    output.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")


def _differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = dict.fromkeys((*found, *wanted))
        return [text for key in keys for text in _differences(found.get(key), wanted.get(key), f"{name}.{key}")]
    return [] if found == wanted else [f"{name[1:]} is {found} there, not {wanted}"]


def _write_networks(output: Path, state: GanState, config: GanConfig, identity: dict[str, Any]) -> None:
    """The networks as checkpoints, in place of those of a shorter training."""
    seen = int(state.step) * config.batch_size
    metadata = {"source": "trained by jaxedit", "data": identity["data"], "seed": identity["seed"], "images": seen}
    networks = {
        "generator": (state.ema, config.generator),
        "discriminator": (state.discriminator, config.discriminator),
    }
    for network, (params, architecture) in networks.items():
        path = output / network
        if path.exists():
            shutil.rmtree(path)
        checkpoints.save(path, network=network, params=params, config=architecture, metadata=metadata)
