"""The generator of L2M-GAN (Yang et al., 2021), which is that of StarGAN v2: an image, drawn anew with a style.

Names and shapes are those of `L2M-GAN:core/model.py`. With `w_hpf` above 0, as published for faces, the blocks of the
decoder have no shortcuts; instead details of the encoder's maps, where masks let them through, are added at 32, 64 and
128 px.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.networks.l2m_blocks import AdaINBlock, Conv, InstanceNorm, ResBlock, WidthsConfig, check_image, leaky_relu
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params

Mask = Float[Array, "_ _ ..."]

_SKIPS = {32: 0, 64: 1, 128: 1}  # which mask is for which size
_LONGEST_STYLE = 1 << 12


@dataclasses.dataclass(frozen=True)
class L2MGeneratorConfig(WidthsConfig):
    """The architecture; the published one for faces at 256 px by default.

    Attributes:
        resolution: See `WidthsConfig`.
        width: See `WidthsConfig`.
        max_width: See `WidthsConfig`.
        style_dim: Length of a style.
        w_hpf: What high-pass skips are divided by; 0 for a generator with shortcuts instead, which is halved once less
            (down to 16 px instead of 8).
    """

    style_dim: int = 64
    w_hpf: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.style_dim <= _LONGEST_STYLE:
            raise ValueError(f"style_dim is {self.style_dim}; it has to be 1 to {_LONGEST_STYLE}")
        if not 0 <= self.w_hpf < float("inf"):
            raise ValueError(f"w_hpf is {self.w_hpf}; it has to be 0 or a positive number")


def _high_passed(x: Array) -> Array:
    """Nine times each pixel minus the sum of it and its neighbours; zeros lie around."""
    total = x
    for axis in (0, 1):
        padded = jnp.pad(total, [(1, 1) if axis == padded_axis else (0, 0) for padded_axis in range(3)])
        total = sum(jax.lax.slice_in_dim(padded, tap, tap + x.shape[axis], axis=axis) for tap in range(3))
    return 9 * x - total


class GeneratorNetwork(nn.Module):
    """Equal to `Generator`."""

    config: L2MGeneratorConfig

    @nn.compact
    def __call__(self, image, style, masks):
        config, kept = self.config, {}
        widths = config.widths(8 if config.w_hpf else 16)
        x = Conv(widths[0], name="from_rgb")(image)
        for index, width in enumerate((*widths[1:], widths[-1], widths[-1])):
            kept[x.shape[0]] = x
            x = ResBlock(width, normalize=True, down=index < len(widths) - 1, name=f"encode.{index}")(x)
        for index, width in enumerate((widths[-1], widths[-1], *widths[-2::-1])):
            x = AdaINBlock(width, up=index > 1, shortcut=not config.w_hpf, name=f"decode.{index}")(x, style)
            size = x.shape[0]
            if masks is not None and size in _SKIPS:
                mask = masks[_SKIPS[size]]
                mask = jax.image.resize(mask.reshape(*mask.shape[:2], 1), (size, size, 1), "linear", antialias=False)
                x += _high_passed(mask * kept[size]) / config.w_hpf
        x = leaky_relu(InstanceNorm(name="to_rgb.0")(x))
        return Conv(3, 1, name="to_rgb.2")(x)


def init(key: Key[Array, ""], *, config: L2MGeneratorConfig) -> Params:
    """Draws the parameters of an untrained generator.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ...}`, float32; below that the official names, with kernels HWIO.
    """
    image, style = jnp.zeros((config.resolution, config.resolution, 3)), jnp.zeros(config.style_dim)
    variables: Any = GeneratorNetwork(config).init(key, image, style, None)
    return variables


def translate(
    params: Params,
    image: Float[Array, "height width 3"],
    style: Float[Array, " style_dim"],
    *,
    config: L2MGeneratorConfig,
    masks: tuple[Mask, Mask] | None = None,
) -> Float[Array, "height width 3"]:
    """Draws an image anew with a style.

    Args:
        params: As made by `init`.
        image: `[resolution, resolution, 3]` float32 RGB about [-1, 1].
        style: `[style_dim]` float32.
        config: The architecture.
        masks: Where the image's own details come through, `[height, width]` or `[height, width, 1]` in [0, 1] of any
            sizes: the first at 32 px, the second at 64 and 128 px. None for nowhere.

    Returns:
        `[resolution, resolution, 3]` float32 RGB about [-1, 1], not clipped; equal to `Generator` of L2M-GAN and of
        StarGAN v2.

    Raises:
        ValueError: An image or a style of another shape, or masks for a generator without high-pass skips.
    """
    check_image(image, config)
    if style.shape != (config.style_dim,):
        raise ValueError(f"the style has shape {style.shape}; {(config.style_dim,)} is right")
    if masks is not None and not config.w_hpf:
        raise ValueError("masks for a generator of w_hpf 0, which has no high-pass skips")
    drawn: Any = GeneratorNetwork(config).apply(params, image, style, masks)
    return drawn


@flax.struct.dataclass(repr=False)
class L2MGenerator(Described):
    """A generator as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: L2MGeneratorConfig = flax.struct.field(pytree_node=False)

    def __call__(
        self,
        image: Float[Array, "height width 3"],
        style: Float[Array, " style_dim"],
        masks: tuple[Mask, Mask] | None = None,
    ) -> Float[Array, "height width 3"]:
        """See `translate`."""
        return translate(self.params, image, style, config=self.config, masks=masks)
