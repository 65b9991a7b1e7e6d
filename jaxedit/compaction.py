"""Loops over a batch whose samples end on their own: those that have ended are taken out and cost nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import NamedSharding

Kept = TypeVar("Kept")
Moving = TypeVar("Moving")


def loop_compacted(
    step: Callable[[Kept, Moving], Moving],
    active: Callable[[Moving], Any],
    kept: Kept,
    moving: Moving,
    *,
    smallest: int = 1,
) -> Moving:
    """Steps the samples of a batch until none is active.

    The batch shrinks to `smallest` times the least power of two that holds the active samples, so `step` is called
    with, and everything compiled for, a few sizes only. It is filled up with copies of active samples, which are
    dropped. A batch that is divided among devices stays so.

    Args:
        step: Advances the samples of a batch by one step, compiled by the caller. It leaves those that are not active
            as they are.
        active: `[batch]` bool of which samples go on, from the second argument.
        kept: What `step` reads: a pytree whose leaves have the batch as their first axis.
        moving: What it changes: the same.
        smallest: Size of the smallest batch; where the batch is divided, a multiple of the number of devices.

    Returns:
        `moving` of every sample after its last step, in their order.
    """
    count = len(jax.tree.leaves(moving)[0])
    rows = np.arange(count)  # the sample in each row; for copies `count`, which is nowhere
    result, split = moving, _division(moving)
    going = np.asarray(active(moving))
    while going.any():
        alive = np.flatnonzero(going)
        size = smallest << (-(-len(alive) // smallest) - 1).bit_length()
        if size < len(rows):
            result = _put(result, rows, moving)
            chosen = np.resize(alive, size)
            kept, moving = _take((kept, moving), chosen, split=split)
            rows = np.where(np.arange(size) < len(alive), rows[chosen], count)
        moving = step(kept, moving)
        going = np.asarray(active(moving)) & (rows < count)
    return _put(result, rows, moving)


def _division(tree: Any) -> NamedSharding | None:
    """How a batch is divided among devices; None if it is not."""
    sharding = jax.tree.leaves(tree)[0].sharding
    return sharding if isinstance(sharding, NamedSharding) and len(sharding.device_set) > 1 else None


@functools.partial(jax.jit, static_argnames="split")
def _take(tree: Any, rows: Any, *, split: NamedSharding | None) -> Any:
    taken = jax.tree.map(lambda leaf: leaf[rows], tree)
    return taken if split is None else jax.lax.with_sharding_constraint(taken, split)


@jax.jit
def _put(tree: Any, rows: Any, parts: Any) -> Any:
    return jax.tree.map(lambda leaf, part: leaf.at[rows].set(part, mode="drop"), tree, parts)
