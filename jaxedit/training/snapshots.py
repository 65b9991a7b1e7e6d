"""The state of a running training on disk: the newest two snapshots, each complete or not there at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from jaxedit.arrays import read_arrays
from jaxedit.atomic import write_verified
from jaxedit.checkpoints import mismatches
from jaxedit.claims import remove_leftovers

_KEPT = 2
_PREFIX, _SUFFIX = "step_", ".safetensors"


def save(directory: str | Path, step: int, state: Any) -> None:
    """Writes a snapshot, reads it back, then removes all but the newest two.

    A process that is killed at any moment leaves only complete snapshots behind; what it had not finished is removed
    by the next call. One process at a time may write to a directory.

    Args:
        directory: Where the snapshots are; made if needed.
        step: What the snapshot is found by, at least 0; one of that step is replaced.
        state: Any pytree of arrays and numbers; typed keys are welcome.

    Raises:
        OSError: The directory cannot be written, or not be read back.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    remove_leftovers(directory)
    arrays = {name: np.array(leaf, order="C") for name, leaf in _named(state).items()}
    write_verified(directory / f"{_PREFIX}{step}{_SUFFIX}", safetensors.numpy.save(arrays))
    for old in _steps(directory)[:-_KEPT]:
        (directory / f"{_PREFIX}{old}{_SUFFIX}").unlink()


def latest(directory: str | Path, like: Any) -> tuple[int, Any] | None:
    """Reads the newest snapshot.

    Args:
        directory: As given to `save`.
        like: A state of the same structure, shapes and dtypes; its values are not used.

    Returns:
        The step and the state, its arrays on the default device and committed to none; None if there is no snapshot.

    Raises:
        ValueError: The snapshot is damaged or holds another state than `like`; one line.
    """
    directory = Path(directory)
    if (step := latest_step(directory)) is None:
        return None
    path = directory / f"{_PREFIX}{step}{_SUFFIX}"
    stored, target = read_arrays(path), jax.eval_shape(lambda: _named(like))
    if problems := mismatches(target, stored):
        raise ValueError(f"{path}: a snapshot of another training; use another directory ({problems[0]})")
    found = {name: jnp.asarray(np.asarray(array)) for name, array in stored.items()}
    return step, jax.tree_util.tree_map_with_path(lambda key, leaf: _as(found[_name(key)], leaf), like)


def latest_step(directory: str | Path) -> int | None:
    """The step of the newest snapshot; None if there is no snapshot."""
    return max(_steps(Path(directory)), default=None)


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
    names = (path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for path in directory.glob(f"{_PREFIX}*{_SUFFIX}"))
    return sorted(int(name) for name in names if name.isdigit())
