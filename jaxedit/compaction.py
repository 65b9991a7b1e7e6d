"""Loops over a batch whose samples end on their own: those that have ended are taken out and cost nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

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

    The batch shrinks to the next power of two (but not below `smallest`) that holds the active samples, so `step` is
    called with, and compiled for, a few sizes only. It is filled up with copies of active samples, which are dropped.

    Args:
        step: Advances the samples of a batch by one step, compiled by the caller. It leaves those that are not active
            as they are.
        active: `[batch]` bool of which samples go on, from the second argument.
        kept: What `step` reads: a pytree whose leaves have the batch as their first axis.
        moving: What it changes: the same.
        smallest: Size of the smallest batch; a power of two.

    Returns:
        `moving` of every sample after its last step, in their order.
    """
    rows = np.arange(len(jax.tree.leaves(moving)[0]))  # the sample in each row; of copies, the one copied
    done: list[tuple[np.ndarray, Any]] = []
    going = np.asarray(active(moving))
    while going.any():
        alive = np.flatnonzero(going)
        size = max(smallest, 1 << (len(alive) - 1).bit_length())
        if size < len(rows):
            ended = np.flatnonzero(~going & (rows >= 0))
            done.append((rows[ended], _take(moving, ended)))
            chosen = np.resize(alive, size)
            kept, moving = _take((kept, moving), chosen)
            rows = np.where(np.arange(size) < len(alive), rows[chosen], -1)
        moving = step(kept, moving)
        going = np.asarray(active(moving)) & (rows >= 0)
    done.append((rows[rows >= 0], _take(moving, np.flatnonzero(rows >= 0))))
    order = np.argsort(np.concatenate([part for part, _ in done]), kind="stable")
    return jax.tree.map(lambda *leaves: jax.numpy.concatenate(leaves)[order], *(part for _, part in done))


def _take(tree: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: leaf[rows], tree)
