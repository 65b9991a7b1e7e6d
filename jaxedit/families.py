"""The registry: every family of networks whose weights are kept in files, by the name that files call it by."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxedit.generators import mobile_stylegan, stylegan2, stylegan2_discriminator
from jaxedit.networks import attributes, bisenet, embedding, keypoints

_MILLIONS = 1 << 20


class Family(NamedTuple):
    """A family of networks.

    Attributes:
        kind: "generator", "discriminator" or "network".
        config: The frozen dataclass of its architectures.
        init: `init(key, *, config)` draws the parameters of an untrained network.
        network: The frozen pytree, made from parameters and a config.
        largest: Numbers in its largest architecture; files that claim more are not read.
    """

    kind: str
    config: type
    init: Callable[..., Any]
    network: Callable[..., Any]
    largest: int


FAMILIES = {
    "stylegan2": Family(
        "generator", stylegan2.StyleGAN2Config, stylegan2.init, stylegan2.StyleGAN2Generator, 128 * _MILLIONS
    ),
    "mobile_stylegan": Family(
        "generator",
        mobile_stylegan.MobileStyleGANConfig,
        mobile_stylegan.init,
        mobile_stylegan.MobileStyleGANGenerator,
        64 * _MILLIONS,
    ),
    "stylegan2_discriminator": Family(
        "discriminator",
        stylegan2_discriminator.DiscriminatorConfig,
        stylegan2_discriminator.init,
        stylegan2_discriminator.StyleGAN2Discriminator,
        128 * _MILLIONS,
    ),
    "attributes": Family(
        "network", attributes.AttributesConfig, attributes.init, attributes.AttributeClassifier, 32 * _MILLIONS
    ),
    "bisenet": Family("network", bisenet.BiSeNetConfig, bisenet.init, bisenet.FaceParser, 32 * _MILLIONS),
    "embedding": Family(
        "network", embedding.EmbeddingConfig, embedding.init, embedding.IdentityEmbedding, 128 * _MILLIONS
    ),
    "keypoints": Family(
        "network", keypoints.KeypointsConfig, keypoints.init, keypoints.KeypointDetector, 32 * _MILLIONS
    ),
}
"""Name -> family. A new family is one row."""


def family_of(config: Any) -> str:
    """The name of the family that a config is of.

    Args:
        config: An architecture.

    Returns:
        A key of `FAMILIES`.

    Raises:
        TypeError: It is of none.
    """
    for name, family in FAMILIES.items():
        if type(config) is family.config:
            return name
    raise TypeError(f"{type(config).__name__} is the configuration of no known family: {', '.join(FAMILIES)}")


def init(key: jax.Array, *, config: Any) -> Any:
    """Draws the parameters of an untrained network of any family.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        The nested dict of its family's `init`, float32.
    """
    return FAMILIES[family_of(config)].init(key, config=config)


def abstract_params(config: Any) -> Any:
    """The names, shapes and dtypes that the parameters of an architecture have to have.

    Args:
        config: The architecture, of any family.

    Returns:
        The nested dict of parameters with `jax.ShapeDtypeStruct` leaves; nothing is allocated.
    """
    return jax.eval_shape(functools.partial(init, config=config), jax.random.key(0))
