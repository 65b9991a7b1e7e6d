"""Fully connected layers with equalised learning rate, and the activation of StyleGAN2."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def leaky_relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Leaky ReLU with slope 0.2, times sqrt(2) so that the variance stays.

    Args:
        x: Any shape, any float dtype.

    Returns:
        Shape and dtype of `x`. Equal to `bias_act(x, act="lrelu")` of stylegan2-ada-pytorch.
    """
    return jax.nn.leaky_relu(x, 0.2) * 2**0.5


def normalize_second_moment(x: Float[Array, "*pixels features"]) -> Float[Array, "*pixels features"]:
    """Divides `[..., features]` by the root mean square of the last axis: `normalize_2nd_moment` of
    stylegan2-ada-pytorch, and `pixel_norm` of progressive_growing_of_gans (epsilon 1e-8)."""
    return x * lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-8)


class Dense(nn.Module):
    """Fully connected layer `x @ kernel * (lr_multiplier / sqrt(in)) + bias * lr_multiplier`, as `FullyConnectedLayer`
    of stylegan2-ada-pytorch.

    Parameters: kernel `[in, features]`, normal with deviation `1 / lr_multiplier`; bias `[features]`, constant
    `bias_init` (before the multiplier).
    """

    features: int
    lr_multiplier: float = 1.0
    bias_init: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "*batch in_features"]) -> Float[Array, "*batch features"]:
        """Maps `[..., in_features]` to `[..., features]`, float32, which no device rounds on the way."""
        kernel = self.param("kernel", nn.initializers.normal(1.0 / self.lr_multiplier), (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.constant(self.bias_init), (self.features,))
        product = jnp.matmul(x, kernel, precision=lax.Precision.HIGHEST)
        scaled = product * (self.lr_multiplier * x.shape[-1] ** -0.5)
        return scaled + jnp.expand_dims(bias * self.lr_multiplier, range(x.ndim - 1))
