"""Numbers that are no longer finite end a training before they reach a snapshot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.training import snapshots


def check_measured(directory: Path, measured: Mapping[int, Mapping[str, float]], *, remedy: str) -> None:
    """Refuses numbers that are not finite.

    Args:
        directory: Of the snapshots.
        measured: By step and name.
        remedy: What may help, for the message.

    Raises:
        ValueError: The first such number, its step, and which snapshot is kept.
    """
    for step, values in measured.items():
        for name, value in values.items():
            if not math.isfinite(value):
                raise _spoiled(directory, f"{name} of step {step} is {value:g}", remedy)


def check_state(directory: Path, step: int, state: Any, *, remedy: str) -> None:
    """Refuses a state that is not finite, as the last step before a snapshot may leave it behind finite numbers.

    Args:
        directory: Of the snapshots.
        step: Of the state.
        state: Any pytree of arrays; integers and keys are finite.
        remedy: What may help, for the message.

    Raises:
        ValueError: The first such leaf, and which snapshot is kept.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jnp.floating) and not np.isfinite(np.asarray(leaf)).all():
            raise _spoiled(directory, f"{jax.tree_util.keystr(path)} after step {step}", remedy)


def _spoiled(directory: Path, what: str, remedy: str) -> ValueError:
    step = snapshots.latest_step(directory)
    kept = "there is no snapshot before it" if step is None else f"the snapshot of step {step} before it is kept"
    return ValueError(
        f"{directory.parent}: not finite any more: {what}; {kept}, and the same command would come to the same end: "
        f"{remedy} may help, in another directory"
    )
