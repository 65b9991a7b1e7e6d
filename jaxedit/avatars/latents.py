"""The fixed map from Z to avatars that the shipped generator was first fitted to."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxedit.avatars.factors import LATENTS, Factors, factors_from_normal
from jaxedit.nn import normalize_second_moment

Z_DIM = 128
_TWIST = 0.6


def _frame() -> np.ndarray:
    square = np.random.RandomState(0).randn(Z_DIM, Z_DIM)
    return np.linalg.qr(square)[0][: len(LATENTS)].astype(np.float32)


_FRAME = _frame()


def normal_from_z(z: Float[Array, " 128"]) -> Float[Array, " latents"]:
    """Computes the normal numbers that `factors_from_normal` takes from a latent.

    A rotation of Z, then a twist: pairs of numbers are rotated by up to 0.6 radians, depending on their radius. Both
    keep a normal distribution exactly; the twist makes the factors non-linear in Z, so that, as in any generator, they
    are entangled there and it is the mapping network's work to straighten them.

    Args:
        z: `[128]` float32, standard normal; only its direction counts, as for the mapping network.

    Returns:
        `[len(LATENTS)]` float32, standard normal.
    """
    turned = jnp.matmul(_FRAME, normalize_second_moment(z), precision=lax.Precision.HIGHEST)
    first, second = turned.reshape(2, -1)
    angle = _TWIST * jnp.tanh(0.5 * (jnp.square(first) + jnp.square(second)) - 1.0)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([cosine * first - sine * second, sine * first + cosine * second])


def factors_from_z(z: Float[Array, " 128"]) -> Factors:
    """The factors of the avatar that a latent stands for; `z` as for `normal_from_z`."""
    return factors_from_normal(normal_from_z(z))
