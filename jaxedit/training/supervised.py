"""Fits a network to labelled examples that are made on the device as they are needed.

`init` and `step` are pure; `fit` runs them with a log, a progress bar and snapshots, and goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Key

from jaxedit.nn.pytrees import Params, traced
from jaxedit.training import resumable
from jaxedit.training.folder import holding

Metrics = dict[str, Float[Array, ""]]
Draw = Callable[[Key[Array, ""]], Any]
Loss = Callable[[Params, Any], tuple[Float[Array, ""], tuple[Params, Metrics]]]


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """AdamW with a linear warm-up and a cosine down to zero.

    Attributes:
        steps: Number of updates.
        learning_rate: At its highest.
        warmup: Part of the steps until then.
        weight_decay: Of kernels; scales and biases are not decayed.
    """

    steps: int
    learning_rate: float = 3e-3
    warmup: float = 0.05
    weight_decay: float = 1e-4

    def optimizer(self) -> optax.GradientTransformation:
        """The optimiser, its schedule included."""
        warmup = max(1, round(self.warmup * self.steps))
        schedule = optax.warmup_cosine_decay_schedule(0.0, self.learning_rate, warmup, max(self.steps, warmup + 1))
        return optax.adamw(
            schedule,
            weight_decay=self.weight_decay,
            mask=lambda weights: jax.tree.map(lambda leaf: leaf.ndim > 1, weights),
        )


class FitState(NamedTuple):
    """Everything that a step changes.

    Attributes:
        params: `{"params": ..., "batch_stats": ...}`, float32.
        optimizer: Of optax; holds the number of steps taken.
    """

    params: Params
    optimizer: Any


def init(params: Params, *, config: FitConfig) -> FitState:
    """The state before the first step.

    Args:
        params: `{"params": ..., "batch_stats": ...}` of an untrained network.
        config: Of the training.

    Returns:
        The state.
    """
    return FitState(params, config.optimizer().init(params["params"]))


def step(
    key: Key[Array, ""], state: FitState, *, draw: Draw, loss: Loss, config: FitConfig
) -> tuple[FitState, Metrics]:
    """Draws a batch and takes one step of gradient descent.

    Args:
        key: For the batch.
        state: The state so far.
        draw: Makes a batch from a key.
        loss: Maps parameters and a batch to the loss, and to the moved `batch_stats` with a dict of numbers to log.
        config: Of the training.

    Returns:
        The next state, and the numbers to log with `"loss"` among them, float32.
    """
    # Without the barrier XLA fuses the drawing into the network, and draws several times over.
    batch, params = lax.optimization_barrier(draw(key)), state.params
    of_weights = jax.value_and_grad(lambda weights: loss({**params, "params": weights}, batch), has_aux=True)
    (value, (statistics, metrics)), gradient = of_weights(params["params"])
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to the power of an integer
        updates, optimizer = config.optimizer().update(gradient, state.optimizer, params["params"])
    weights = optax.apply_updates(params["params"], updates)
    return FitState({"params": weights, "batch_stats": statistics}, optimizer), {"loss": value, **metrics}


def _steps(key: Array, done: Array, state: FitState, *, at_once: int, **options: Any) -> tuple[FitState, Metrics]:
    """Steps in one program, after those done; their mean numbers."""
    if at_once == 1:
        return step(jax.random.fold_in(key, done + 1), state, **options)
    state, numbers = lax.scan(
        lambda state, number: step(jax.random.fold_in(key, number), state, **options),
        state,
        done + 1 + jnp.arange(at_once, dtype=jnp.int32),
    )
    return state, jax.tree.map(jnp.mean, numbers)


def fit(
    key: Key[Array, ""],
    params: Params,
    *,
    draw: Draw,
    loss: Loss,
    config: FitConfig,
    directory: Path,
    save_every: int = 500,
    log_every: int = 50,
    at_once: int = 1,
) -> Params:
    """Fits a network; the same call again goes on where an earlier one was stopped and gives the same result.

    In a program that is watched (`jaxedit.interrupts`) an interrupt is obeyed after the present step, with a snapshot
    of it.

    Args:
        key: The batch of step i is drawn with `jax.random.fold_in(key, i)`.
        params: `{"params": ..., "batch_stats": ...}` of an untrained network.
        draw: As in `step`; what a `jax.tree_util.Partial` binds is passed to the program, not compiled into it.
        loss: Likewise.
        config: Of the training.
        directory: Gets `run.json` (key, config and `log_every`, which have to stay the same), `log.jsonl` (one row of
            numbers each `log_every` steps) and `snapshots/`; made if needed, and held by one process at a time.
        save_every: Steps between two snapshots.
        log_every: Steps between two rows of the log.
        at_once: Steps that one call of the program takes, for small networks, whose steps would else be spent on
            calling; a divisor of `log_every`, `save_every` and the number of steps. Rows of the log are means of them.

    Returns:
        The fitted parameters.

    Raises:
        ValueError: `directory` is of another training, the numbers are not finite any more (the last snapshot before
            that is kept), or `at_once` divides something not.
        BlockingIOError: Another process is training in `directory`.
        OSError: `directory` cannot be written.
    """
    identity = {
        "config": config,
        "key": jax.random.key_data(key).tolist(),
        "log_every": log_every,
    }
    if any(count % at_once for count in (log_every, save_every, config.steps)):
        raise ValueError(f"{config.steps} steps, {at_once} at once: a multiple would be right")
    jitted = jax.jit(functools.partial(_steps, config=config, at_once=at_once), donate_argnums=2)
    given = {"draw": traced(draw), "loss": traced(loss)}
    state = jax.tree.map(jnp.copy, init(params, config=config))  # the caller's arrays are not given away
    began = time.monotonic()

    def prepare(done: int, state: FitState) -> tuple[FitState, resumable.Advance[FitState]]:
        program = jitted.lower(key, jnp.int32(0), state, **given).compile()
        return state, lambda done, state: program(key, jnp.int32(done * at_once), state, **given)

    def line(done: int, measured: resumable.Measured, speed: float) -> dict[str, float]:
        return {**measured[done], "updates": done * at_once, "seconds": round(time.monotonic() - began, 3)}

    job = resumable.Job(
        folder=directory,
        steps=config.steps // at_once,
        log_steps=log_every // at_once,
        snapshot_steps=save_every // at_once,
        unit=("steps", at_once),
        remedy="a smaller learning rate",
        names=tuple(jax.eval_shape(jitted, key, jnp.int32(0), state, **given)[1]),
        prepare=prepare,
        line=line,
    )
    with holding(directory, identity):
        return resumable.run(job, state).params
