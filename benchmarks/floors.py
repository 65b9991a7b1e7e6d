"""The least time a device could need: operations over its fastest matrix product, bytes over its fastest copy, layer by
layer.

Counts are multiply-adds of direct convolutions; transposed ones count 9 per input pixel, as the official implementation
computes them. A fast algorithm (Winograd) needs fewer, so more than 100 percent of this floor is possible.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp

from jaxedit.generators.mobile_stylegan import MobileStyleGANConfig
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig


def layer_costs(config: StyleGAN2Config | MobileStyleGANConfig) -> list[tuple[float, float]]:
    """Multiply-adds and numbers moved (input, output, kernel once each) of every style layer, for one image."""
    if isinstance(config, MobileStyleGANConfig):
        return _mobile_costs(config)
    costs = []
    for layer in config.style_layers:
        pixels = layer.resolution**2
        width = config.channels(layer.resolution)
        if layer.kind == "torgb":
            macs = pixels * width * config.image_channels
            costs.append((macs, pixels * (width + config.image_channels)))
        else:
            read = pixels // 4 if layer.name.endswith("conv0") else pixels
            kernel = 9 * layer.width * width
            costs.append((read * kernel, read * layer.width + pixels * width + kernel))
    return costs


def _mobile_costs(config: MobileStyleGANConfig) -> list[tuple[float, float]]:
    """A depthwise convolution and the product behind it count as one pass; a transform as no multiply-adds."""
    costs = []
    for layer in config.style_layers:
        pixels, width = layer.resolution**2, layer.width
        if layer.kind == "up":
            costs.append((0.0, pixels * width / 2))
        elif layer.kind == "torgb":
            costs.append((pixels / 4 * 12 * width, pixels / 4 * (width + 12 + 12)))
        else:
            out = config.channels[(layer.resolution // 4).bit_length() - 1]
            macs = 9 * width * out if layer.resolution == 4 else 9 * width + width * out
            costs.append((pixels * macs, pixels * (width + out)))
    return costs


def operations(config: StyleGAN2Config | MobileStyleGANConfig) -> float:
    """Floating-point operations of one forward synthesis: 148.5e9 for config-f at 1024 px."""
    return 2.0 * sum(macs for macs, _ in layer_costs(config))


def discriminator_operations(config: DiscriminatorConfig) -> float:
    """Floating-point operations of one forward pass of a discriminator, its convolutions and dense layers."""
    resolution, macs = (
        config.resolution,
        config.resolution**2 * config.image_channels * config.channels(config.resolution),
    )
    while resolution > 4:
        width, below = config.channels(resolution), config.channels(resolution // 2)
        macs += resolution**2 * 9 * width * width + (resolution // 2) ** 2 * (9 + 1) * width * below
        resolution //= 2
    width = config.channels(4)
    return 2.0 * (macs + 16 * (9 * (width + config.mbstd_channels) * width + width * width) + width)


def floor_seconds(
    config: StyleGAN2Config | MobileStyleGANConfig, batch: int, ceilings: tuple[float, float], bytes_per_number: int
) -> float:
    """The floor of one forward synthesis of a batch."""
    rate, bandwidth = ceilings
    return sum(
        max(2.0 * macs * batch / rate, numbers * batch * bytes_per_number / bandwidth)
        for macs, numbers in layer_costs(config)
    )


def measure_ceilings(dtype: jnp.dtype, seconds: float = 0.5) -> tuple[float, float]:
    """Operations per second of a large matrix product and bytes per second of a large copy; the best of some calls."""
    size = 2048
    matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(dtype)
    product = jax.jit(lambda a: jnp.matmul(a, a, preferred_element_type=jnp.float32))
    copy = jax.jit(lambda a: a + 1)
    numbers = jnp.zeros((1 << 25,), dtype)
    return (
        2.0 * size**3 / _best(product, matrix, seconds),
        2.0 * numbers.nbytes / _best(copy, numbers, seconds),
    )


def _best(function, argument, seconds: float) -> float:
    jax.block_until_ready(function(argument))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        jax.block_until_ready(function(argument))
        best = min(best, time.perf_counter() - start)
    return best
