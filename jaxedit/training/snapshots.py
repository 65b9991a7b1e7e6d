"""The state of a running training on disk: the newest two snapshots, each complete or not there at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxedit.checkpoints import mismatches

_KEPT = 2
_PREFIX, _PARTIAL = "step_", ".partial_"


def save(directory: str | Path, step: int, state: Any) -> None:
    """Writes a snapshot, then removes all but the newest two.

    A process that is killed at any moment leaves only complete snapshots behind; what it had not finished is removed
    by the next call. One process at a time may write to a directory.

    Args:
        directory: Where the snapshots are; made if needed.
        step: What the snapshot is found by, at least 0; one of that step is replaced.
        state: Any pytree of arrays and numbers; typed keys are welcome, empty arrays are not.

    Raises:
        OSError: The directory cannot be written.
    """
    from orbax.checkpoint import v1 as ocp

    directory = Path(directory).absolute()  # Orbax wants it so
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob(f"{_PARTIAL}*"):
        shutil.rmtree(leftover)
    partial, target = directory / f"{_PARTIAL}{step}", directory / f"{_PREFIX}{step}"
    ocp.save(str(partial), _named(state))
    if target.exists():
        _remove(target)
    os.rename(partial, target)
    for old in _steps(directory)[:-_KEPT]:
        _remove(directory / f"{_PREFIX}{old}")


def latest(directory: str | Path, like: Any) -> tuple[int, Any] | None:
    """Reads the newest snapshot.

    Args:
        directory: As given to `save`.
        like: A state of the same structure, shapes and dtypes; its values are not used.

    Returns:
        The step and the state, its arrays on the default device; None if there is no snapshot.

    Raises:
        ValueError: The snapshot holds another state than `like`; one line.
    """
    from orbax.checkpoint import v1 as ocp

    directory = Path(directory).absolute()
    if not (steps := _steps(directory)):
        return None
    path = directory / f"{_PREFIX}{steps[-1]}"
    target = jax.eval_shape(lambda: _named(like))
    if problems := mismatches(target, ocp.metadata(str(path)).metadata):
        raise ValueError(f"{path}: a snapshot of another training; use another directory ({problems[0]})")
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    found = ocp.load(
        str(path),
        {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding) for name, leaf in target.items()},
    )
    return steps[-1], jax.tree_util.tree_map_with_path(lambda key, leaf: _as(found[_name(key)], leaf), like)


def _named(state: Any) -> dict[str, jax.Array]:
    """The leaves under names of their own, so that any pytree is stored as a flat dict."""
    return {_name(key): _raw(leaf) for key, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _name(key: Any) -> str:
    return jax.tree_util.keystr(key) or "state"


def _raw(leaf: Any) -> jax.Array:
    return jax.random.key_data(leaf) if _is_key(leaf) else jnp.asarray(leaf)


def _as(found: jax.Array, leaf: Any) -> jax.Array:
    return jax.random.wrap_key_data(found, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else found


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(getattr(leaf, "dtype", jnp.float32), jax.dtypes.prng_key)


def _steps(directory: Path) -> list[int]:
    names = (path.name.removeprefix(_PREFIX) for path in directory.glob(f"{_PREFIX}*"))
    return sorted(int(name) for name in names if name.isdigit())


def _remove(snapshot: Path) -> None:
    """Renamed first, so that what is half removed no longer counts as a snapshot."""
    doomed = snapshot.with_name(f"{_PARTIAL}old_{snapshot.name}")
    os.rename(snapshot, doomed)
    shutil.rmtree(doomed)
