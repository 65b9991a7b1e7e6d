"""Modulated convolution and the layers of StyleGAN2 that are built on it.

The style scales the activations and the demodulation scales the result, so that the kernel is shared by all samples of
a batch. This equals convolving with a kernel of its own per sample (StyleGAN2 paper, section 2.2) up to rounding, and
never gives a kernel a batch axis.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from jaxedit.nn.convolution import conv2d
from jaxedit.nn.dense import leaky_relu
from jaxedit.nn.resample import upsample_conv2d

Noise = str | Key[Array, ""]


def modulated_conv2d(
    x: Float[Array, "height width in_features"],
    kernel: Float[Array, "3 3 in_features out_features"],
    style: Float[Array, " in_features"],
    *,
    up: bool = False,
) -> tuple[Float[Array, "out_height out_width out_features"], Float[Array, " out_features"]]:
    """Convolves with input channels scaled by the style; returns the result and the demodulation factors it still has
    to be multiplied by.

    Args:
        x: `[height, width, in_features]` in the compute dtype.
        kernel: `[3, 3, in_features, out_features]` float32.
        style: `[in_features]` float32, about 1.
        up: Whether the convolution doubles the size.

    Returns:
        The convolution in the dtype of `x`, and `rsqrt(sum((kernel * style)**2) + 1e-8)` as `[out_features]` float32.
        The caller multiplies, because the product then fuses with noise, bias and activation. Equal to
        `modulated_conv2d` of stylegan2-ada-pytorch, whose epsilon is added to the same un-scaled weights; TensorFlow's
        and rosinality's differ by 5e-9 relative at ordinary styles.
    """
    energy = jnp.sum(jnp.square(kernel), axis=(0, 1))
    demodulation = lax.rsqrt(jnp.matmul(jnp.square(style), energy, precision=lax.Precision.HIGHEST) + 1e-8)
    scaled = x * style.astype(x.dtype)[None, None]
    kernel = kernel.astype(x.dtype)
    y = upsample_conv2d(scaled, kernel) if up else conv2d(scaled, kernel, padding=((1, 1), (1, 1)))
    return y, demodulation


class StyleConv(nn.Module):
    """One synthesis layer: modulated 3x3 convolution, noise, bias, leaky ReLU times sqrt(2), optional clamp.

    Equal to `SynthesisLayer` of stylegan2-ada-pytorch without its affine layer.
    """

    features: int
    resolution: int
    up: bool
    clamp: float | None

    @nn.compact
    def __call__(
        self, x: Float[Array, "height width in_features"], style: Float[Array, " in_features"], noise: Noise
    ) -> Float[Array, "resolution resolution features"]:
        """Maps `[height, width, in_features]` to `[resolution, resolution, features]` in the dtype of `x`; noise and
        bias are added in float32.

        Args:
            x: Activations, compute dtype.
            style: `[in_features]` float32.
            noise: "const" (the stored map), "none", or a key for a fresh normal map.
        """
        size = (self.resolution, self.resolution)
        normal = nn.initializers.normal(1.0)
        kernel = self.param("kernel", normal, (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        constant = self.param("noise_const", normal, size)
        strength = self.param("noise_strength", nn.initializers.zeros, ())
        y, demodulation = modulated_conv2d(x, kernel, style, up=self.up)
        y = y.astype(jnp.float32) * demodulation[None, None] + bias[None, None]
        if not isinstance(noise, str):
            y = y + (strength * jax.random.normal(noise, size))[:, :, None]
        elif noise == "const":
            y = y + (strength * constant)[:, :, None]
        elif noise != "none":
            raise ValueError(f"noise is {noise!r}; it has to be 'const', 'none' or a key")
        return _clamp(leaky_relu(y), self.clamp).astype(x.dtype)


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to image channels, without demodulation.

    Equal to `ToRGBLayer` of stylegan2-ada-pytorch without its affine layer.
    """

    features: int
    clamp: float | None

    @nn.compact
    def __call__(
        self, x: Float[Array, "height width in_features"], style: Float[Array, " in_features"]
    ) -> Float[Array, "height width features"]:
        """Maps activations (compute dtype) and an un-gained `[in_features]` float32 style to a float32 contribution."""
        kernel = self.param("kernel", nn.initializers.normal(1.0), (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        weight = kernel * (style * x.shape[-1] ** -0.5)[:, None]
        y = jnp.einsum("hwi,io->hwo", x, weight.astype(x.dtype), preferred_element_type=jnp.float32)
        return _clamp(y + bias[None, None], self.clamp)


def _clamp(x: Array, limit: float | None) -> Array:
    return x if limit is None else jnp.clip(x, -limit, limit)
