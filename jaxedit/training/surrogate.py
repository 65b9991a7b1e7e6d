"""Fits the auxiliary mapping of SGF to pairs of latents and conditions (Li et al., 2021, sections 3.2 and 4.3)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.networks import auxiliary_mapping
from jaxedit.networks.auxiliary_mapping import AuxiliaryConfig, auxiliary, normalized, singular_vectors
from jaxedit.nn.pytrees import Params
from jaxedit.training import supervised
from jaxedit.training.supervised import FitConfig

_AT_ONCE = 100


class Pairs(NamedTuple):
    """What the mapping is fitted to; it stays on the device.

    Attributes:
        z: `[pairs, latent_dim]` float32.
        c: `[pairs, condition_dim]` float32, the conditions of their pictures.
    """

    z: Float[Array, "pairs latent_dim"]
    c: Float[Array, "pairs condition_dim"]


def draw(key: Key[Array, ""], pairs: Pairs, *, batch_size: int) -> Pairs:
    """Draws a batch of pairs.

    Args:
        key: A typed key.
        pairs: All of them.
        batch_size: How many.

    Returns:
        Random ones, which may repeat.
    """
    rows = jax.random.randint(key, (batch_size,), 0, len(pairs.z))
    return Pairs(pairs.z[rows], pairs.c[rows])


def loss(params: Params, pairs: Pairs) -> tuple[Float[Array, ""], tuple[Params, supervised.Metrics]]:
    """The error of Eq. 1, in units of the latents' variance.

    Args:
        params: "params" as from `auxiliary_mapping.init`, "batch_stats" as from `singular_vectors`.
        pairs: A batch.

    Returns:
        The mean square over the pairs and the numbers of a latent, divided by `latent_scale` squared: 1 for the best
        constant; the next "batch_stats"; and no other numbers.
    """
    still = {"statistics": jax.lax.stop_gradient(params["params"]["statistics"])}
    weights, vectors = normalized({**params["params"], **still}, params["batch_stats"])
    error = jax.vmap(functools.partial(auxiliary, weights))(*pairs) - pairs.z
    return jnp.mean(jnp.square(error / still["statistics"]["latent_scale"])), (vectors, {})


def fit(
    key: Key[Array, ""],
    pairs: Pairs,
    *,
    config: AuxiliaryConfig,
    training: FitConfig,
    batch_size: int,
    directory: Path,
) -> Params:
    """Fits the mapping; the same call again goes on where an earlier one was stopped.

    Args:
        key: A typed key.
        pairs: All of them.
        config: The architecture.
        training: Of the optimiser; without `weight_decay` it is Adam.
        batch_size: Pairs in a step (paper: 8).
        directory: See `supervised.fit`.

    Returns:
        The parameters, for `auxiliary`.

    Raises:
        ValueError: See `supervised.fit`.
        BlockingIOError: See `supervised.fit`.
        OSError: See `supervised.fit`.
    """
    params = auxiliary_mapping.init(jax.random.fold_in(key, 0), config=config)
    params = {**params, "statistics": auxiliary_mapping.statistics(*pairs)}
    found = supervised.fit(
        key,
        {"params": params, "batch_stats": singular_vectors(params)},
        draw=jax.tree_util.Partial(functools.partial(draw, batch_size=batch_size), pairs=pairs),
        loss=loss,
        config=training,
        directory=directory,
        save_every=50 * _AT_ONCE,
        log_every=10 * _AT_ONCE,
        at_once=_AT_ONCE,
    )
    return normalized(found["params"], found["batch_stats"])[0]


def measure(params: Params, pairs: Pairs) -> dict[str, Any]:
    """How well a mapping reproduces latents, and what the condition does in it.

    Args:
        params: For `auxiliary`.
        pairs: Of which it has seen none.

    Returns:
        `[]` float32 each. "error": of Eq. 1, as from `loss`; "constant": that of the best constant; "other": with the
        conditions of other pairs, the more above "error" the more the mapping reads them. "condition_norm": mean
        Frobenius norm of the Jacobian to the standardised condition, in units of the latents' deviation: 0 for a
        mapping that has degenerated. "ratio": mean |v_1| / |v_0| of the series for a change towards another pair's
        condition.
    """
    known = params["statistics"]
    f = functools.partial(auxiliary, params)

    def error(c: Array) -> Array:
        return jnp.mean(jnp.square(jax.vmap(f)(pairs.z, c) - pairs.z)) / jnp.square(known["latent_scale"])

    def jacobian(z: Array, c: Array) -> Array:
        of_c = jax.jacfwd(f, argnums=1)(z, c) * known["condition_scale"][None] / known["latent_scale"]
        return jnp.linalg.norm(of_c)

    def ratio(z: Array, c: Array, other: Array) -> Array:
        _, push = jax.linearize(f, z, c)
        first = push(jnp.zeros_like(z), other - c)
        second = push(first, jnp.zeros_like(c))
        return jnp.linalg.norm(second) / jnp.linalg.norm(first)

    others = jnp.roll(pairs.c, 1, axis=0)
    return {
        "error": error(pairs.c),
        "constant": jnp.mean(jnp.var(pairs.z, axis=0)) / jnp.square(known["latent_scale"]),
        "other": error(others),
        "condition_norm": jnp.mean(jax.vmap(jacobian)(*pairs)),
        "ratio": jnp.mean(jax.vmap(ratio)(*pairs, others)),
    }
