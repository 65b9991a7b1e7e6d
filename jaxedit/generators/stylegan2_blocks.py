"""One block of a StyleGAN2 image, through the small window of the network that it depends on.

At 1024 px a block of 32 x 32 pixels sees 20 x 20 activations at 512 px, 14 x 14 at 256 px, and so on down to all of
them at 4 px: about a twentieth of the work for the image.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxedit.generators.stylegan2 import Params, StyleGAN2Config, Styles
from jaxedit.nn import StyleConv, ToRGB, upsample2d


class _Window(NamedTuple):
    """Rows (and columns) at one resolution: the first for each index of the block, and how many."""

    starts: list[int]
    length: int


def synthesize_block(
    params: Params,
    styles: Styles,
    block: Int[Array, "2"],
    *,
    size: int,
    config: StyleGAN2Config,
    noise: Literal["const", "none"] = "const",
) -> Float[Array, "edge edge image_channels"]:
    """Renders one of `size` x `size` blocks of an image, equal to that part of `stylegan2.synthesize` up to rounding.

    Args:
        params: As made by `stylegan2.init`.
        styles: One vector per style layer.
        block: Row and column, int32, 0 to `size - 1`; may be traced.
        size: Blocks on a side; it divides the resolution.
        config: The architecture.
        noise: "const" for the stored maps, or "none".

    Returns:
        The block, of `resolution / size` pixels a side.

    Raises:
        ValueError: `size` does not divide the resolution.
    """
    if config.resolution % size:
        pixels = f"{config.resolution} x {config.resolution}"
        raise ValueError(f"size is {size}, which does not divide an image of {pixels}")
    windows = _windows(config.resolution, size)
    network, codes = params["synthesis"], iter(styles)
    x, image = network["const"], None
    start, length = jnp.zeros_like(block), 4  # of x and the image
    for resolution in config.block_resolutions:
        layers = network[f"b{resolution}"]
        if resolution > 4:
            start, length = 2 * start, 2 * length
            x = _convolved(layers["conv0"], x, next(codes), start, length, resolution, config, noise)
        x = _convolved(layers["conv1"], x, next(codes), start, length, resolution, config, noise)
        drawn: Any = ToRGB(config.image_channels, config.conv_clamp).apply({"params": layers["torgb"]}, x, next(codes))
        image = drawn if image is None else upsample2d(image) + drawn
        window = windows[resolution]
        following, length = jnp.asarray(window.starts)[block], window.length
        x, image = (_cut(array, following - start, length) for array in (x, image))
        start = following
    assert image is not None
    return image


def _convolved(layer, x, style, start, length, resolution, config, noise) -> Any:
    """`StyleConv` on a window of its result."""
    params = {**layer, "noise_const": _cut(layer["noise_const"], start, length)}
    module = StyleConv(config.channels(resolution), length, up=length > len(x), clamp=config.conv_clamp)
    return module.apply({"params": params}, x, style, noise)


def _windows(resolution: int, size: int) -> dict[int, _Window]:
    """What each block needs of the activations at every resolution.

    Row n behind the up-sampling convolution reads rows (n - 3) / 2 to (n + 2) / 2 before it, and the second convolution
    reads one more to each side. A window never leaves the image, so that its edge is either the image's, where the
    network pads with zeros, or far enough from what is needed.
    """
    edge = resolution // size
    needed = [(index * edge, (index + 1) * edge) for index in range(size)]
    windows = {resolution: _Window([low for low, _ in needed], edge)}
    while resolution > 4:
        resolution //= 2
        needed = [(-(-low // 2) - 2, high // 2 + 2) for low, high in needed]
        length = min(resolution, max(high - low for low, high in needed))
        windows[resolution] = _Window([min(max(low, 0), resolution - length) for low, _ in needed], length)
    return windows


def _cut(array: Array, start: Array, length: int) -> Array:
    """A square window."""
    return jax.lax.dynamic_slice(array, (*start, *(0 for _ in array.shape[2:])), (length, length, *array.shape[2:]))
