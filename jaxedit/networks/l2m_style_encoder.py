"""The style encoder of L2M-GAN (Yang et al., 2021): that of StarGAN v2, which has a head for each domain, and the
perceptrons that take a style apart: P, and DT for each target domain.

Names and shapes are those of `L2M-GAN:core/model.py`, where P is `transform1` and DT `transform2`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Int, Key

from jaxedit.networks.l2m_blocks import HE, WidthsConfig, dense, trunk
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params

_LONGEST_STYLE, _MOST_DOMAINS, _MOST_LAYERS = 1 << 12, 1 << 10, 16


@dataclasses.dataclass(frozen=True)
class L2MStyleEncoderConfig(WidthsConfig):
    """The architecture; the published one for 256 px by default.

    Attributes:
        resolution: See `WidthsConfig`.
        width: See `WidthsConfig`.
        max_width: See `WidthsConfig`.
        style_dim: Length of a style.
        domains: How many there are; of several attributes at once, one for each combination of their values.
        transform_layers: Dense layers of P and of each DT; 0 for StarGAN v2's encoder, which has neither.
    """

    style_dim: int = 64
    domains: int = 2
    transform_layers: int = 3

    def __post_init__(self):
        super().__post_init__()
        limits = {
            "style_dim": (1, _LONGEST_STYLE),
            "domains": (2, _MOST_DOMAINS),
            "transform_layers": (0, _MOST_LAYERS),
        }
        for name, (least, most) in limits.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; it has to be {least} to {most}")


class StyleEncoderNetwork(nn.Module):
    """The styles for all domains."""

    config: L2MStyleEncoderConfig

    @nn.compact
    def __call__(self, image):
        x = trunk(image, self.config, "shared").reshape(-1)
        heads = (dense(self.config.style_dim, f"unshared.{domain}") for domain in range(self.config.domains))
        return jnp.stack([head(x) for head in heads])


def init(key: Key[Array, ""], *, config: L2MStyleEncoderConfig) -> Params:
    """Draws the parameters of an untrained style encoder.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ...}`, float32; below that the official names, with kernels HWIO or `[in, out]`.
    """
    network_key, *keys = jax.random.split(key, 2 + config.domains)
    variables: Any = StyleEncoderNetwork(config).init(network_key, jnp.zeros((config.resolution, config.resolution, 3)))
    params = dict(variables["params"])
    if config.transform_layers:
        first, *others = (_perceptron(one, config) for one in keys)
        params |= {"transform1": first, "transform2": {str(domain): one for domain, one in enumerate(others)}}
    return {"params": params}


def _perceptron(key: Key[Array, ""], config: L2MStyleEncoderConfig) -> Params:
    """Dense layers; their numbers count the ReLUs between them."""
    width, keys = config.style_dim, jax.random.split(key, config.transform_layers)
    return {
        str(2 * index): {"kernel": HE(one, (width, width)), "bias": jnp.zeros(width)} for index, one in enumerate(keys)
    }


def _applied(layers: Params, x: Array) -> Array:
    for index in range(len(layers)):
        layer = layers[str(2 * index)]
        x = jax.nn.relu(x) if index else x
        x = jnp.matmul(x, layer["kernel"], precision=lax.Precision.HIGHEST) + layer["bias"]
    return x


def _chosen(values: Array, domain: Int[ArrayLike, ""]) -> Array:
    """The row of a domain. NaN for a traced number that is none: as an unsigned one, -1 is none either."""
    count = len(values)
    if isinstance(domain, int | np.integer) and not 0 <= domain < count:
        raise ValueError(f"domain {domain}; there are {count}, counted from 0")
    return values.at[jnp.asarray(domain).astype(jnp.uint32)].get(mode="fill", fill_value=jnp.nan)


def encode(
    params: Params, image: Float[Array, "height width 3"], domain: Int[ArrayLike, ""], *, config: L2MStyleEncoderConfig
) -> Float[Array, " style_dim"]:
    """Finds the style of an image, SE_y(x).

    Args:
        params: As made by `init`.
        image: `[resolution, resolution, 3]` float32 RGB about [-1, 1].
        domain: y, the image's own, counted from 0.
        config: The architecture.

    Returns:
        `[style_dim]` float32; equal to the first output of L2M-GAN's `StyleEncoder`, and to StarGAN v2's. NaN for a
        traced domain that does not exist.

    Raises:
        ValueError: An image of another shape, or no such domain.
    """
    styles: Any = StyleEncoderNetwork(config).apply(params, image)
    return _chosen(styles, domain)


def decompose(
    params: Params, s: Float[Array, " style_dim"]
) -> tuple[Float[Array, " style_dim"], Float[Array, " style_dim"]]:
    """Takes a style apart into what the domain does not concern and what it does.

    Args:
        params: As made by `init`; they say the architecture.
        s: `[style_dim]` float32.

    Returns:
        s_un = P(s), and s_re = s - s_un; each `[style_dim]`, equal to the second and third output of L2M-GAN's
        `StyleEncoder`.

    Raises:
        ValueError: The encoder is StarGAN v2's, without P.
    """
    s_un = _applied(_transforms(params, "transform1"), s)
    return s_un, s - s_un


def transform(
    params: Params, s_re: Float[Array, " style_dim"], domain: Int[ArrayLike, ""]
) -> Float[Array, " style_dim"]:
    """Takes the part of a style that concerns the domain to another domain, DT(s_re, y~).

    Args:
        params: As made by `init`; they say the architecture.
        s_re: `[style_dim]` float32, from `decompose`.
        domain: The target, counted from 0.

    Returns:
        `[style_dim]` float32, equal to the last output of L2M-GAN's `StyleEncoder`. NaN for a traced domain that does
        not exist.

    Raises:
        ValueError: No such domain, or the encoder is StarGAN v2's, without DT.
    """
    layers = _transforms(params, "transform2")
    return _chosen(jnp.stack([_applied(layers[str(index)], s_re) for index in range(len(layers))]), domain)


def _transforms(params: Params, name: str) -> Params:
    if name not in params["params"]:
        raise ValueError("this style encoder is StarGAN v2's, which does not take styles apart")
    return params["params"][name]


@flax.struct.dataclass(repr=False)
class L2MStyleEncoder(Described):
    """A style encoder as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: L2MStyleEncoderConfig = flax.struct.field(pytree_node=False)

    def __call__(self, image: Float[Array, "height width 3"], domain: Int[ArrayLike, ""]) -> Float[Array, " style_dim"]:
        """See `encode`."""
        return encode(self.params, image, domain, config=self.config)
