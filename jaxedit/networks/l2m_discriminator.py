"""The discriminator of L2M-GAN (Yang et al., 2021), which is that of StarGAN v2: real or fake, for each domain.

Names and shapes are those of `L2M-GAN:core/model.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.networks.l2m_blocks import Conv, WidthsConfig, trunk
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params

_MOST_DOMAINS = 1 << 10


@dataclasses.dataclass(frozen=True)
class L2MDiscriminatorConfig(WidthsConfig):
    """The architecture; the published one for 256 px by default.

    Attributes:
        resolution: See `WidthsConfig`.
        width: See `WidthsConfig`.
        max_width: See `WidthsConfig`.
        domains: How many there are.
    """

    domains: int = 2

    def __post_init__(self):
        super().__post_init__()
        if not 2 <= self.domains <= _MOST_DOMAINS:
            raise ValueError(f"domains is {self.domains}; it has to be 2 to {_MOST_DOMAINS}")


class DiscriminatorNetwork(nn.Module):
    """Equal to `Discriminator` before a domain is chosen."""

    config: L2MDiscriminatorConfig

    @nn.compact
    def __call__(self, image):
        x = trunk(image, self.config, "main")
        last = len(self.config.widths(4)) + 3
        return Conv(self.config.domains, 1, name=f"main.{last}")(x).reshape(-1)


def init(key: Key[Array, ""], *, config: L2MDiscriminatorConfig) -> Params:
    """Draws the parameters of an untrained discriminator.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ...}`, float32; below that the official names, with kernels HWIO.
    """
    variables: Any = DiscriminatorNetwork(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def discriminate(
    params: Params, image: Float[Array, "height width 3"], *, config: L2MDiscriminatorConfig
) -> Float[Array, " domains"]:
    """Judges whether an image is a real one of each domain, D_y(x) for all y.

    Args:
        params: As made by `init`.
        image: `[resolution, resolution, 3]` float32 RGB about [-1, 1].
        config: The architecture.

    Returns:
        `[domains]` logits, positive for real; equal to `Discriminator` of L2M-GAN and of StarGAN v2, which return the
        one of a given domain.

    Raises:
        ValueError: An image of another shape.
    """
    logits: Any = DiscriminatorNetwork(config).apply(params, image)
    return logits


@flax.struct.dataclass(repr=False)
class L2MDiscriminator(Described):
    """A discriminator as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: L2MDiscriminatorConfig = flax.struct.field(pytree_node=False)

    def __call__(self, image: Float[Array, "height width 3"]) -> Float[Array, " domains"]:
        """See `discriminate`."""
        return discriminate(self.params, image, config=self.config)
