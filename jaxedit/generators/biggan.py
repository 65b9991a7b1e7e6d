"""BigGAN-deep (Brock et al., 2019): class-conditional images, as pure functions of one sample.

Equal to `BigGAN` of Hugging Face's pytorch-pretrained-BigGAN. Spectral normalisation is part of the kernels.

The spaces: `z` is `[z_dim]`; `z_plus` has a row of its own for each layer that reads z, beside the embedding of the
class and the truncation, which all layers share (`BigGANLatent`). Truncation chooses a row of the tables of activation
statistics and leaves z as it is: the published samples are of `truncation_psi * jax.random.truncated_normal(key, -2, 2,
(z_dim,))`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from jaxedit.generators.base import Layer, Space
from jaxedit.generators.biggan_layers import Attention, Block, Conv, LastNorm, place_of
from jaxedit.generators.shapes import ONE_SAMPLE, check_c, check_z
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params, frozen_pytree


class BigGANLayer(NamedTuple):
    """A layer with a feature map.

    Attributes:
        name: Such as "b64.layer9"; the number is that of LELSD's feature maps.
        resolution: Of its output, in pixels.
        kind: "dense" for the first one, "block", "up" for a block that doubles the resolution, "attention".
        below: Channels of its input; of the first one numbers.
        width: Channels of its output.
        row: Of z_plus, which it reads; None for attention, which reads none.
    """

    name: str
    resolution: int
    kind: str
    below: int
    width: int
    row: int | None


@dataclasses.dataclass(frozen=True)
class BigGANConfig:
    """The architecture; the published one for 256 px by default.

    Attributes:
        channels: Of the activations at 4, 8, 16, ... px, multiples of 4, each as many as the one before or half. At 128
            px (2048, 2048, 1024, 512, 256, 128); at 512 px the default with another 128 at its end.
        attention_resolution: Before which resolution's blocks attention is.
        z_dim: Length of z and of the embedding of a class.
        c_dim: Number of classes.
        truncations: Rows of the tables of statistics, for truncations from 0 to 1.
    """

    channels: tuple[int, ...] = (2048, 2048, 1024, 1024, 512, 256, 128)
    attention_resolution: int = 64
    z_dim: int = 128
    c_dim: int = 1000
    truncations: int = 51

    def __post_init__(self):
        pairs = list(zip(self.channels, self.channels[1:], strict=False))
        if not 1 <= len(pairs) <= 10 or any(width < 4 or width % 4 for width in self.channels):
            raise ValueError(f"channels are {self.channels}; 2 to 11 multiples of 4 would be right")
        if any(width not in (below, below / 2) for below, width in pairs):
            raise ValueError(f"channels are {self.channels}; each has to be as many as the one before, or half")
        attended = dict(zip((4 << block for block in range(len(pairs))), self.channels, strict=False))
        if attended.get(self.attention_resolution, 1) % 8:
            right = ", ".join(str(resolution) for resolution, width in attended.items() if width % 8 == 0)
            raise ValueError(
                f"attention_resolution is {self.attention_resolution}; it can be {right or 'none of these'}"
            )
        for name, least in (("z_dim", 1), ("c_dim", 1), ("truncations", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it has to be at least {least}")

    @property
    def resolution(self) -> int:
        """Of the image."""
        return 2 << len(self.channels)

    @property
    def rows(self) -> int:
        """Rows of z_plus: 14 at 256 px. LELSD counts one for attention too; so the last is read by no layer."""
        return 2 * len(self.channels)

    @functools.cached_property
    def layers(self) -> tuple[BigGANLayer, ...]:
        """The layers in order, but for the last convolution."""
        layers = [BigGANLayer("b4.layer0", 4, "dense", 2 * self.z_dim, self.channels[0], 0)]

        def add(resolution: int, kind: str, below: int, width: int, row: int | None) -> None:
            layers.append(BigGANLayer(f"b{resolution}.layer{len(layers)}", resolution, kind, below, width, row))

        for block, (below, width) in enumerate(zip(self.channels, self.channels[1:], strict=False)):
            resolution = 4 << block
            if resolution == self.attention_resolution:
                add(resolution, "attention", below, below, None)
            add(resolution, "block", below, below, 2 * block + 1)
            add(2 * resolution, "up", below, width, 2 * block + 2)
        return tuple(layers)


class BigGANLatent(NamedTuple):
    """A latent of `z_plus`, with what all its layers share.

    Attributes:
        z: `[rows, z_dim]` float32.
        embedding: `[z_dim]` float32, of the class.
        truncation: `[]` float32, above 0 and at most 1.
    """

    z: Float[Array | np.ndarray, "rows z_dim"]
    embedding: Float[Array | np.ndarray, " z_dim"]
    truncation: Float[Array | np.ndarray, ""]


class GeneratorNetwork(nn.Module):
    """Equal to `BigGAN`, with a row of z for each of its layers."""

    config: BigGANConfig

    def setup(self):
        config, dense = self.config, functools.partial(nn.Dense, precision=lax.Precision.HIGHEST)
        self.embed = dense(config.z_dim, use_bias=False)
        modules = {
            "dense": lambda layer: dense(16 * layer.width),
            "block": lambda layer: Block(layer.width, False, config.truncations),
            "up": lambda layer: Block(layer.width, True, config.truncations),
            "attention": lambda layer: Attention(),
        }
        for layer in config.layers:
            setattr(self, layer.name.replace(".", "_"), modules[layer.kind](layer))
        self.norm = LastNorm(config.truncations)
        self.torgb = Conv(3)

    def embedded(self, c):
        return self.embed(c)

    def layer(self, x, latent, place, layer):
        module = getattr(self, layer.name.replace(".", "_"))
        if layer.kind == "attention":
            return module(x)
        condition = jnp.concatenate([latent.z[layer.row], latent.embedding])
        return module(condition).reshape(4, 4, layer.width) if layer.kind == "dense" else module(x, condition, place)

    def synthesis(self, latent, compute_dtype):
        """The image, and the feature map of every layer."""
        place, x, features = place_of(latent.truncation, self.config.truncations), None, {}
        for layer in self.config.layers:
            x = features[layer.name] = self.layer(x, latent, place, layer).astype(compute_dtype)
        return jnp.tanh(self.torgb(self.norm(x, place)).astype(jnp.float32)), features

    def __call__(self, latent, c):
        return self.synthesis(latent._replace(embedding=self.embedded(c)), jnp.float32)


def init(key: Key[Array, ""], *, config: BigGANConfig) -> Params:
    """Draws the parameters of an untrained generator.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        A nested dict, float32: kernels HWIO, those of 1x1 convolutions `[in, out]`; of each block the normalisations
        side by side, with tables `[truncations, channels]` of means and variances.
    """
    latent = BigGANLatent(jnp.zeros((config.rows, config.z_dim)), jnp.zeros(config.z_dim), jnp.float32(1))
    variables: Any = GeneratorNetwork(config).init(key, latent, jnp.zeros(config.c_dim))
    return variables["params"]


def condition(
    params: Params,
    z: Float[Array | np.ndarray, " z_dim"],
    *,
    config: BigGANConfig,
    c: Float[Array | np.ndarray, " c_dim"] | None = None,
    truncation_psi: float | Float[Array, ""] = 1.0,
) -> BigGANLatent:
    """Takes z to all layers, with a class and a truncation.

    Args:
        params: As made by `init`.
        z: `[z_dim]` float32.
        config: The architecture.
        c: `[c_dim]` float32, a one-hot class, or weights of several that mix their embeddings.
        truncation_psi: Which statistics of activations are used, above 0 and at most 1; z stays as it is. A traced one
            that is not gives an image of NaN.

    Returns:
        The latent of `z_plus`, its rows all z.

    Raises:
        ValueError: Not one z, no class, or a truncation out of range.
    """
    check_z(z, config)
    check_c(c, config)
    if isinstance(truncation_psi, int | float) and not 0 < truncation_psi <= 1:
        raise ValueError(f"truncation_psi is {truncation_psi}; above 0 and at most 1 would be right")
    embedding: Any = GeneratorNetwork(config).apply({"params": params}, c, method="embedded")
    rows = jnp.broadcast_to(jnp.asarray(z), (config.rows, config.z_dim))
    return BigGANLatent(rows, embedding, jnp.asarray(truncation_psi, jnp.float32))


def synthesize(
    params: Params,
    latent: BigGANLatent,
    *,
    config: BigGANConfig,
    with_features: bool = False,
    compute_dtype: Any = jnp.float32,
) -> Any:
    """Draws a latent of `z_plus`.

    Args:
        params: As made by `init`.
        latent: As from `condition`.
        config: The architecture.
        with_features: Whether to return the activations too.
        compute_dtype: float32, or bfloat16 for activations and convolutions (all that depends on z and the class, and
            normalisation, stays float32).

    Returns:
        The image `[resolution, resolution, 3]`, float32, in [-1, 1]. With features also a dict from the names of
        `config.layers` to their outputs `[r, r, channels]`, and the image as "torgb". Equal to
        `BigGANSampleGenerator.generate_batch_from_ws` of LELSD, whose "layer_9" is "b64.layer9".

    Raises:
        ValueError: Not one latent of `z_plus`, such as rows without a class, or a batch.
    """
    shapes = ((config.rows, config.z_dim), (config.z_dim,), ())
    if not isinstance(latent, BigGANLatent):
        raise ValueError("synthesize takes a latent with its class and truncation: generator.advance('z', z, c=c)")
    if (found := tuple(map(np.shape, latent))) != shapes:
        raise ValueError(f"the latent has shapes {found}; {shapes} are right: {ONE_SAMPLE}")
    latent = BigGANLatent(*map(jnp.asarray, latent))
    network = GeneratorNetwork(config)
    image, features = network.apply({"params": params}, latent, compute_dtype, method="synthesis")  # pyright: ignore[reportGeneralTypeIssues]
    return (image, {**features, "torgb": image}) if with_features else image


@frozen_pytree(leaves=("params",), notes=("fingerprint",))
class BigGANGenerator(Described):
    """A BigGAN-deep generator: `jaxedit.Generator` over the functions of this module."""

    params: Params
    config: BigGANConfig
    fingerprint: str = ""
    conditions: ClassVar[tuple[str, ...]] = ("c", "truncation_psi")
    options: ClassVar[tuple[str, ...]] = ("compute_dtype", "with_features")

    @property
    def spaces(self) -> tuple[Space, ...]:
        """Z, and Z+, whose directions can be limited to rows."""
        config = self.config
        rows = tuple(Layer(str(row), config.z_dim) for row in range(config.rows))
        return Space("z", (config.z_dim,)), Space("z_plus", (config.rows, config.z_dim), rows, field="z")

    def advance(self, space: str, latent, **condition_of_z):
        """See `condition`."""
        if space != "z":
            raise ValueError(f"space {space!r} has no next one")
        return condition(self.params, latent, config=self.config, **condition_of_z)

    def render(self, latent, **options):
        """See `synthesize`."""
        return synthesize(self.params, latent, config=self.config, **options)
