"""Spectral normalisation: kernels whose largest singular value is 1 (Miyato et al., 2018)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_TINY = 1e-12


def spectral_normalized(
    kernel: Float[Array, "in_features features"], u: Float[Array, " features"], *, iterations: int = 1
) -> tuple[Float[Array, "in_features features"], Float[Array, " features"]]:
    """Divides a kernel by its largest singular value, as power iteration finds it.

    Args:
        kernel: `[in, features]` float32.
        u: `[features]` float32 of any length but 0: the estimate of the right singular vector, from the step before.
        iterations: Of the power method, at least 1.

    Returns:
        The kernel divided by sigma, through which gradients go with u and v held constant as in section 2.1 of the
        paper; and the next u, of length 1. Equal to a training step of `torch.nn.utils.spectral_norm`.
    """
    fixed = lax.stop_gradient(kernel)
    v = jnp.zeros(0)
    for _ in range(iterations):
        v = _unit(jnp.matmul(fixed, u, precision=lax.Precision.HIGHEST))
        u = _unit(jnp.matmul(v, fixed, precision=lax.Precision.HIGHEST))
    u, v = jax.lax.stop_gradient((u, v))
    sigma = v @ jnp.matmul(kernel, u, precision=lax.Precision.HIGHEST)
    return kernel / jnp.maximum(sigma, _TINY), u


def _unit(x: Array) -> Array:
    return x / jnp.maximum(jnp.linalg.norm(x), _TINY)
