"""ProgressiveGAN (Karras et al., 2018), fully grown, as pure functions of one sample.

Equal to `G_paper` of progressive_growing_of_gans and to `PGGANGeneratorModel` of InterFaceGAN at a lod of 0, with fused
scaling or without: a fused layer is the plain one of the flipped kernel. Kernels are kept as in the files; their gain
is applied at run time.

The one space is `z`, whose length is without effect: the network normalises it first. A network of classes has a second
one, where the label lies beside z (`LabelledLatent`).
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from jaxedit.generators.base import Space
from jaxedit.generators.shapes import check_c, check_z
from jaxedit.nn import conv2d, normalize_second_moment
from jaxedit.nn.described import Described
from jaxedit.nn.nearest import nearest_conv2d
from jaxedit.nn.pytrees import Params, frozen_pytree


@dataclasses.dataclass(frozen=True)
class ProgressiveConfig:
    """The architecture; the published one for 1024 px by default.

    Attributes:
        channels: Of the activations at 4, 8, 16, ... px, up to the image's resolution.
        z_dim: Length of z.
        c_dim: Number of classes, 0 for networks without labels.
    """

    channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128, 64, 32, 16)
    z_dim: int = 512
    c_dim: int = 0

    def __post_init__(self):
        if not 2 <= len(self.channels) <= 11 or min(self.channels) < 1:
            raise ValueError(f"channels are {self.channels}; 2 to 11 positive numbers would be right")
        if self.z_dim < 1:
            raise ValueError(f"z_dim is {self.z_dim}; it has to be at least 1")

    @property
    def resolution(self) -> int:
        """Of the image."""
        return 2 << len(self.channels)


class LabelledLatent(NamedTuple):
    """A latent of a network of classes.

    Attributes:
        z: `[z_dim]` float32.
        c: `[c_dim]` float32.
    """

    z: Float[Array | np.ndarray, " z_dim"]
    c: Float[Array | np.ndarray, " c_dim"]


class Layer(nn.Module):
    """A convolution with equalised gain, bias, leaky ReLU and pixel norm; the dense one makes 4 x 4 pixels of z."""

    features: int
    kind: Literal["dense", "up", "same"]

    @nn.compact
    def __call__(self, x):
        size, dtype = 4 if self.kind == "dense" else 3, x.dtype
        kernel = self.param("kernel", nn.initializers.normal(1.0), (size, size, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if self.kind == "dense":
            y = jnp.einsum("i,hwio->hwo", x, kernel, precision=lax.Precision.HIGHEST)
        elif self.kind == "up":
            y = nearest_conv2d(x, kernel)
        else:
            y = conv2d(x, kernel.astype(dtype), padding=((1, 1), (1, 1)))
        gain = (2 / (size * size * x.shape[-1])) ** 0.5
        y = jax.nn.leaky_relu(y.astype(jnp.float32) * gain + bias[None, None], 0.2)
        return normalize_second_moment(y).astype(dtype)


class Block(nn.Module):
    """The two layers of a resolution."""

    features: int
    first: bool
    compute_dtype: Any

    @nn.compact
    def __call__(self, x):
        lower = Layer(self.features, "dense" if self.first else "up", name="conv0")(x).astype(self.compute_dtype)
        return lower, Layer(self.features, "same", name="conv1")(lower)


class ToRGB(nn.Module):
    """A 1x1 convolution to the colours, with equalised gain."""

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.normal(1.0), (x.shape[-1], 3))
        bias = self.param("bias", nn.initializers.zeros, (3,))
        y = jnp.einsum("hwi,io->hwo", x, kernel.astype(x.dtype), preferred_element_type=jnp.float32)
        return y * x.shape[-1] ** -0.5 + bias[None, None]


class GeneratorNetwork(nn.Module):
    """z, with the label behind it, to the image and the feature maps of all layers."""

    config: ProgressiveConfig

    @nn.compact
    def __call__(self, z, compute_dtype):
        x, features = normalize_second_moment(z), {}
        for index, width in enumerate(self.config.channels):
            name = f"b{4 << index}"
            lower, x = Block(width, index == 0, compute_dtype, name=name)(x)
            features |= {f"{name}.conv0": lower, f"{name}.conv1": x}
        return ToRGB(name="torgb")(x), features


def init(key: Key[Array, ""], *, config: ProgressiveConfig) -> Params:
    """Draws the parameters of an untrained generator.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        A nested dict, float32: kernels HWIO, that of torgb `[in, 3]`.
    """
    z = jnp.zeros(config.z_dim + config.c_dim)
    variables: Any = GeneratorNetwork(config).init(key, z, jnp.float32)
    return variables["params"]


def synthesize(
    params: Params,
    z: Float[Array | np.ndarray, " z_dim"],
    *,
    config: ProgressiveConfig,
    c: Float[Array | np.ndarray, " c_dim"] | None = None,
    with_features: bool = False,
    compute_dtype: Any = jnp.float32,
) -> Any:
    """Draws a z.

    Args:
        params: As made by `init`.
        z: `[z_dim]` float32, of any length but 0.
        config: The architecture.
        c: `[c_dim]` float32, one-hot class label of a network of classes.
        with_features: Whether to return the activations too.
        compute_dtype: float32, or bfloat16 for activations and convolutions (all else stays float32).

    Returns:
        The image `[resolution, resolution, 3]`, float32, about [-1, 1]. With features also a dict from the names of the
        layers, "b4.conv0", "b4.conv1", "b8.conv0", ..., to their outputs `[r, r, channels]`, and the image as "torgb".

    Raises:
        ValueError: Not one z, or a network of classes got no label, or another one got one.
    """
    check_z(z, config)
    check_c(c, config)
    latent = jnp.asarray(z) if c is None else jnp.concatenate([z, c])
    image, features = GeneratorNetwork(config).apply({"params": params}, latent, compute_dtype)  # pyright: ignore[reportGeneralTypeIssues]
    return (image, {**features, "torgb": image}) if with_features else image


@frozen_pytree(leaves=("params",), notes=("fingerprint",))
class ProgressiveGenerator(Described):
    """A ProgressiveGAN generator: `jaxedit.Generator` over the functions of this module."""

    params: Params
    config: ProgressiveConfig
    fingerprint: str = ""
    conditions: ClassVar[tuple[str, ...]] = ("c",)
    options: ClassVar[tuple[str, ...]] = ("compute_dtype", "with_features")

    @property
    def spaces(self) -> tuple[Space, ...]:
        """Z; of a network of classes also Z beside its label."""
        z = Space("z", (self.config.z_dim,))
        return (z, z._replace(name="labelled", field="z")) if self.config.c_dim else (z,)

    def advance(self, space: str, latent, *, c: Any = None):
        """Puts the label beside z, in networks of classes."""
        if space != "z" or not self.config.c_dim:
            raise ValueError(f"space {space!r} has no next one")
        check_c(c, self.config)
        return LabelledLatent(latent, c)

    def render(self, latent, **options):
        """See `synthesize`."""
        z, c = latent if isinstance(latent, LabelledLatent) else (latent, None)
        return synthesize(self.params, z, config=self.config, c=c, **options)
