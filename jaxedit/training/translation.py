"""The loop around `jaxedit.l2m_gan`: log, sheets, snapshots to go on from, and the finished networks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32

from jaxedit import batch, checkpoints, images, progress
from jaxedit.claims import remove_leftovers
from jaxedit.log import Log
from jaxedit.methods import l2m_gan
from jaxedit.methods.l2m_gan import L2MConfig, L2MState
from jaxedit.networks.l2m_generator import translate
from jaxedit.networks.l2m_style_encoder import encode
from jaxedit.nn.pytrees import traced
from jaxedit.sheets import labelled_sheet
from jaxedit.training import resumable
from jaxedit.training.folder import holding

_SHOWN = 8  # images on a sheet


class DomainBatch(NamedTuple):
    """A batch of images and where they are to go; a pytree.

    Attributes:
        images: `[batch, size, size, 3]` float32 in [-1, 1].
        domains: `[batch]` int32, of the images.
        targets: `[batch]` int32, random ones, which may be the images' own.
    """

    images: Float32[Array | np.ndarray, "batch size size 3"]
    domains: Int32[Array | np.ndarray, " batch"]
    targets: Int32[Array | np.ndarray, " batch"]


class Domains(NamedTuple):
    """Training data in domains, without an end.

    Attributes:
        names: Of the domains, in order.
        batch: Makes batch number `step`, from 0; the same one whenever it is asked for.
    """

    names: tuple[str, ...]
    batch: Callable[[int], DomainBatch]


def train(
    domains: Domains,
    *,
    config: L2MConfig,
    steps: int,
    output: Path,
    seed: int,
    data: str,
    perceptual: l2m_gan.Features | None = None,
    masks: l2m_gan.Masks | None = None,
    log_steps: int = 100,
    snapshot_steps: int = 1000,
) -> L2MState:
    """Trains until `steps`, going on where an earlier process stopped, whatever stopped it; more steps prolong it.

    All local devices share the batch. In a program that is watched (`jaxedit.interrupts`) an interrupt is obeyed after
    the present step, with a snapshot of it.

    Args:
        domains: The data.
        config: What is trained.
        steps: Number of steps.
        output: Gets `run.json`, `log.jsonl`, `pictures/`, `snapshots/`, and at the end the checkpoints `generator`,
            `style_encoder` (moving averages) and `discriminator`; made if needed, and held by one process at a time.
        seed: Of the networks.
        data: What `domains` shows, in words.
        perceptual: See `l2m_gan.step`.
        masks: See `l2m_gan.step`.
        log_steps: Steps between two rows of the log, means over them.
        snapshot_steps: Steps between two snapshots and sheets.

    Returns:
        The state after the last step.

    Raises:
        ValueError: `output` is of another training, the batch can't be shared among the devices, or the numbers are
            not finite any more; the last snapshot before that is kept.
        BlockingIOError: Another process is training in `output`.
        OSError: Something can't be written.
    """
    devices = jax.local_devices()
    if config.batch_size % len(devices):
        raise ValueError(f"batch size {config.batch_size}; a multiple of the {len(devices)} devices would be right")
    split = batch.divided(devices=devices)
    shared = batch.replicated(split)
    looks = {name: traced(value) for name, value in {"perceptual": perceptual, "masks": masks}.items() if value}

    def prepare(step: int, state: L2MState) -> tuple[L2MState, resumable.Advance[L2MState]]:
        jitted = jax.jit(functools.partial(l2m_gan.step, config=config), donate_argnums=0, out_shardings=shared)
        state, given = jax.device_put((state, looks), shared)
        program = jitted.lower(state, *jax.device_put(domains.batch(step), split), **given).compile()

        def advance(step: int, state: L2MState) -> tuple[L2MState, dict[str, Array]]:
            state, info = program(state, *jax.device_put(domains.batch(step), split), **given)
            return state, info._asdict()

        return state, advance

    job = resumable.Job(
        folder=output,
        steps=steps,
        log_steps=log_steps,
        snapshot_steps=snapshot_steps,
        unit=("images", config.batch_size),
        remedy="a smaller learning rate",
        names=l2m_gan.StepInfo._fields,
        prepare=prepare,
        line=functools.partial(_line, batch_size=config.batch_size),
        after_snapshot=functools.partial(_draw, output=output, config=config, domains=domains, masks=masks),
    )
    identity = {"config": config, "seed": seed, "data": data, "domains": domains.names, "log_steps": log_steps}
    with holding(output, identity):
        with progress.saying("drawing the networks"):
            state = jax.jit(functools.partial(l2m_gan.init, config=config))(jax.random.key(seed))
        state = resumable.run(job, state)
        _write(output, state, config, identity)
    return state


def _line(step: int, measured: resumable.Measured, speed: float, *, batch_size: int) -> dict[str, Any]:
    means = {name: float(np.mean([row[name] for row in measured.values()])) for name in l2m_gan.StepInfo._fields}
    return {"images": step * batch_size, **means, "images_per_second": round(speed * batch_size, 2)}


def _draw(
    step: int,
    state: L2MState,
    log: Log,
    *,
    output: Path,
    config: L2MConfig,
    domains: Domains,
    masks: Callable[..., Any] | None,
) -> None:
    """A sheet of the first images in every domain, unless it is there."""
    folder = output / "pictures"
    path = folder / f"{step * config.batch_size:09d}.png"
    if path.exists() or not step:
        return
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    shown = DomainBatch(*(np.asarray(leaf)[:_SHOWN] for leaf in domains.batch(0)))
    drawn = jax.jit(functools.partial(_translated, config=config, count=len(domains.names)))
    tiles = [
        tile
        for image, domain in zip(shown.images, shown.domains, strict=True)
        for tile in np.asarray(drawn(state, image, domain, masks=None if masks is None else traced(masks)))
    ]
    rows = [f"{domains.names[domain]}" for domain in shown.domains]
    images.save_png(path, labelled_sheet(tiles, rows=rows, columns=["original", *domains.names]))


def _translated(state: L2MState, image: Array, domain: Array, *, masks: Any, config: L2MConfig, count: int) -> Array:
    s = encode(state.style_encoder_ema, image, domain, config=config.style_encoder)

    def to(target: Array) -> Array:
        style = l2m_gan.edited_style(state.style_encoder_ema, s, target)
        through = None if masks is None else masks(image)
        return translate(state.generator_ema, image, style, config=config.generator, masks=through)

    all_of_them = jax.vmap(to)(jnp.arange(count))
    return images.to_uint8(jnp.concatenate([image[None], all_of_them]))


def _write(output: Path, state: L2MState, config: L2MConfig, identity: dict[str, Any]) -> None:
    """The networks as checkpoints, in place of those of a shorter training."""
    known = {"source": "trained by jaxedit", **{name: identity[name] for name in ("data", "seed", "domains")}}
    metadata = {**known, "images": int(state.step) * config.batch_size}
    networks = {
        "generator": (state.generator_ema, config.generator),
        "style_encoder": (state.style_encoder_ema, config.style_encoder),
        "discriminator": (state.discriminator, config.discriminator),
    }
    for name, (params, architecture) in networks.items():
        checkpoints.save(output / name, params=params, config=architecture, metadata=metadata, replace=True)
