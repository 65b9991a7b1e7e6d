"""MobileStyleGAN (Belousov, 2021): a small student of StyleGAN2 that draws wavelet bands.

The mapping network is StyleGAN2's, so that w of a student of StyleGAN2-FFHQ *is* w of StyleGAN2-FFHQ. The synthesis has
one style layer more per block, for the inverse Haar transform that takes the place of upsampling, depthwise instead of
full convolutions, and one image at its end: the bands of one more transform.

Demodulation does not depend on the style here (section 3.3), so it is part of the kernels, as in exported networks.
Bands lie side by side in the channels (`nn.inverse_haar`), where the official network has the three of differences
channel by channel.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from jaxedit.generators import stylegan2
from jaxedit.generators.base import Relative
from jaxedit.generators.shapes import check_styles, check_w, check_z
from jaxedit.generators.style_based import StyleBased, split_by_layer, truncated
from jaxedit.generators.stylegan2 import Noise, StyleGAN2Config, StyleLayer, Styles, SynthesisState
from jaxedit.nn import conv2d
from jaxedit.nn.depthwise import depthwise_conv2d
from jaxedit.nn.haar import inverse_haar
from jaxedit.nn.pytrees import Params, frozen_pytree

_SLOPE = 0.2


@dataclasses.dataclass(frozen=True)
class MobileStyleGANConfig:
    """The architecture; the published student of StyleGAN2-FFHQ by default.

    Attributes:
        channels: Of the activations at 4, 8, 16, ... px, multiples of 4; the image is twice as large as the last ones.
        z_dim: Length of z.
        w_dim: Length of w.
        mapping_layers: Depth of the mapping network.
        mapping_lr_multiplier: See `StyleGAN2Config`.
    """

    channels: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64)
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01

    def __post_init__(self):
        if not 2 <= len(self.channels) <= 10 or any(width < 4 or width % 4 for width in self.channels):
            raise ValueError(f"channels are {self.channels}; 2 to 10 multiples of 4 would be right")
        for name in ("z_dim", "w_dim", "mapping_layers", "mapping_lr_multiplier"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it has to be positive")
        if self.mapping_layers > 64:
            raise ValueError(f"mapping_layers is {self.mapping_layers}; it has to be at most 64")

    @property
    def resolution(self) -> int:
        """Of the image."""
        return 4 << len(self.channels)

    @property
    def num_ws(self) -> int:
        """Rows of a w_plus code: 23 at 1024 px, of which the last is read by no layer (the official count)."""
        return 3 * len(self.channels) - 1

    @property
    def teacher(self) -> Relative:
        """The rows of the StyleGAN2 of the same size: each layer reads that of the layer of its kind and resolution.

        The transform and the first convolution of a block read that of the teacher's upsampling convolution. The bands
        of the image read that of its last ToRGB, and so does the row that nothing reads; the teacher's convolutions at
        the full size have no counterpart.
        """
        rows = [0, *(2 * block + offset for block in range(len(self.channels) - 1) for offset in (1, 2, 3))]
        last = 2 * len(self.channels) + 1
        return Relative(last + 1, (*rows[:-1], last, last))

    @property
    def mapping(self) -> StyleGAN2Config:
        """That of the mapping network, which is StyleGAN2's."""
        return StyleGAN2Config(
            z_dim=self.z_dim,
            w_dim=self.w_dim,
            mapping_layers=self.mapping_layers,
            mapping_lr_multiplier=self.mapping_lr_multiplier,
        )

    @functools.cached_property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The style layers in order: per resolution the transform and the convolutions, and ToRGB at the end."""
        layers = [StyleLayer("b4.conv1", 4, "conv", self.channels[0], 0)]
        for block, (below, width) in enumerate(zip(self.channels, self.channels[1:], strict=False)):
            resolution = 8 << block
            layers.append(StyleLayer(f"b{resolution}.up", resolution, "up", below, 3 * block + 1))
            layers.append(StyleLayer(f"b{resolution}.conv0", resolution, "conv", below // 4, 3 * block + 1))
            layers.append(StyleLayer(f"b{resolution}.conv1", resolution, "conv", width, 3 * block + 2))
        last = self.resolution // 2
        layers.append(StyleLayer(f"b{last}.torgb", self.resolution, "torgb", self.channels[-1], self.num_ws - 2))
        return tuple(layers)


class Finish(nn.Module):
    """Noise, bias and activation."""

    @nn.compact
    def __call__(self, y: Float[Array, "height width channels"], noise: Noise) -> Float[Array, "height width channels"]:
        constant = self.param("noise_const", nn.initializers.normal(0.1), y.shape[:2])
        bias = self.param("bias", nn.initializers.zeros, (y.shape[-1],))
        y = y.astype(jnp.float32) + bias[None, None]
        if not isinstance(noise, str):
            y = y + (jnp.std(constant) * jax.random.normal(noise, constant.shape))[:, :, None]
        elif noise == "const":
            y = y + constant[:, :, None]
        elif noise != "none":
            raise ValueError(f"noise is {noise!r}; it has to be 'const', 'none' or a key")
        return jax.nn.leaky_relu(y, _SLOPE)


class FullConv(nn.Module):
    """The first layer: a 3x3 convolution of scaled activations."""

    features: int

    @nn.compact
    def __call__(self, x, style, noise):
        kernel = self.param("kernel", nn.initializers.he_normal(), (3, 3, x.shape[-1], self.features))
        scaled = x * (style * (9 * x.shape[-1]) ** -0.5).astype(x.dtype)[None, None]
        y = conv2d(scaled, kernel.astype(x.dtype), padding=((1, 1), (1, 1)))
        return Finish(name="finish")(y, noise).astype(x.dtype)


class DepthwiseConv(nn.Module):
    """The others: a 3x3 convolution of each scaled channel, then a product of the channels."""

    features: int

    @nn.compact
    def __call__(self, x, style, noise):
        channels = x.shape[-1]
        depthwise = self.param("depthwise", nn.initializers.normal(1.0), (3, 3, channels))
        pointwise = self.param("pointwise", nn.initializers.normal(1.0), (channels, self.features))
        scaled = x * (style * (9 * channels) ** -0.5).astype(x.dtype)[None, None]
        y = depthwise_conv2d(scaled, depthwise.astype(x.dtype))
        y = jnp.einsum("hwi,io->hwo", y, pointwise.astype(x.dtype), preferred_element_type=jnp.float32)
        return Finish(name="finish")(y, noise).astype(x.dtype)


class ToBands(nn.Module):
    """The bands of the image."""

    @nn.compact
    def __call__(self, x, style):
        kernel = self.param("kernel", nn.initializers.normal(1.0), (x.shape[-1], 12))
        bias = self.param("bias", nn.initializers.zeros, (12,))
        weight = kernel * (style * x.shape[-1] ** -0.5)[:, None]
        y = jnp.einsum("hwi,io->hwo", x, weight.astype(x.dtype), preferred_element_type=jnp.float32)
        return y + bias[None, None]


class SynthesisNetwork(nn.Module):
    """Styles and synthesis. Equal to `MobileSynthesisNetwork` of MobileStyleGAN.pytorch, its other images left out."""

    config: MobileStyleGANConfig

    def setup(self):
        config = self.config
        self.const = self.param("const", nn.initializers.normal(1.0), (4, 4, config.channels[0]))
        self.affine = nn.Dense(
            sum(layer.width for layer in config.style_layers),
            precision=lax.Precision.HIGHEST,
            bias_init=nn.initializers.ones,
        )
        self.b4_conv1 = FullConv(config.channels[0])
        for block, width in enumerate(config.channels[1:]):
            for name in ("conv0", "conv1"):
                setattr(self, f"b{8 << block}_{name}", DepthwiseConv(width))
        self.torgb = ToBands()

    def styles(self, w):
        return split_by_layer(self.affine(w), self.config.style_layers)

    def start(self, compute_dtype):
        return SynthesisState(self.const.astype(compute_dtype), None)

    def stage(self, state, style, index, noise):
        layer = self.config.style_layers[index]
        if layer.kind == "up":
            return state._replace(x=inverse_haar(state.x * style.astype(state.x.dtype)[None, None]))
        if layer.kind == "torgb":
            return state._replace(image=self.torgb(state.x, style))
        key = noise if isinstance(noise, str) else jax.random.fold_in(noise, index)
        return state._replace(x=getattr(self, layer.name.replace(".", "_"))(state.x, style, key))

    def __call__(self, w):
        state = self.start(jnp.float32)
        for index, style in enumerate(self.styles(w)):
            state = self.stage(state, style, index, "none")
        return state.image


def init(key: Key[Array, ""], *, config: MobileStyleGANConfig) -> Params:
    """Draws the parameters of an untrained generator.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"mapping": ..., "synthesis": ...}`, float32: the mapping network as in `stylegan2.init`, the kernels of the
        synthesis with demodulation, noise maps with their strength.
    """
    mapping_key, synthesis_key = jax.random.split(key)
    mapping = stylegan2.MappingNetwork(config.mapping).init(
        mapping_key, jnp.zeros(config.z_dim), jnp.zeros(0), 1.0, None
    )
    synthesis = SynthesisNetwork(config).init(synthesis_key, jnp.zeros(config.w_dim))
    return {"mapping": mapping["params"], "synthesis": synthesis["params"]}


def map_latent(
    params: Params,
    z: Float[Array | np.ndarray, " z_dim"],
    *,
    config: MobileStyleGANConfig,
    truncation_psi: float | Float[Array, ""] = 1.0,
    truncation_cutoff: int | None = None,
) -> Float[Array, " w_dim"] | Float[Array, "num_ws w_dim"]:
    """Maps z to w, as `stylegan2.map_latent`.

    Args:
        params: As made by `init`.
        z: `[z_dim]` float32, standard normal.
        config: The architecture.
        truncation_psi: Distance kept from the average w: 1 changes nothing, 0 gives the average.
        truncation_cutoff: Truncate only the first so many rows of w_plus; None truncates all.

    Returns:
        `[w_dim]` float32, or w_plus `[num_ws, w_dim]` when `truncation_cutoff` is given.

    Raises:
        ValueError: Not one z.
    """
    check_z(z, config)
    whole = stylegan2.map_latent(params, z, config=config.mapping)
    average = params["mapping"]["w_avg"]
    return truncated(whole, average, truncation_psi, truncation_cutoff, num_ws=config.num_ws)


def styles(
    params: Params,
    w: Float[Array | np.ndarray, " w_dim"] | Float[Array | np.ndarray, "num_ws w_dim"],
    *,
    config: MobileStyleGANConfig,
) -> tuple[Float[Array, " _"], ...]:
    """Computes the style vectors of all layers with one matrix product.

    Args:
        params: As made by `init`.
        w: `[w_dim]` for all layers, or w_plus `[num_ws, w_dim]`, float32.
        config: The architecture.

    Returns:
        One `[width]` float32 vector per row of `config.style_layers`: affine outputs, before any gain.

    Raises:
        ValueError: Neither one w nor one w_plus, such as a batch.
    """
    check_w(w, config)
    return _apply(params, w, config=config, method="styles")


def _apply(params: Params, *arguments: Any, config: MobileStyleGANConfig, method: str) -> Any:
    return SynthesisNetwork(config).apply({"params": params["synthesis"]}, *arguments, method=method)


def initial_state(params: Params, *, config: MobileStyleGANConfig, compute_dtype: Any = jnp.float32) -> SynthesisState:
    """The state before the first style layer.

    Args:
        params: As made by `init`.
        config: The architecture.
        compute_dtype: See `synthesize`.

    Returns:
        The learned constant, and no image.
    """
    return _apply(params, compute_dtype, config=config, method="start")


def synthesis_stage(
    params: Params,
    state: SynthesisState,
    style: Float[Array | np.ndarray, " width"],
    *,
    index: int,
    config: MobileStyleGANConfig,
    noise: Noise = "const",
) -> SynthesisState:
    """Applies one style layer; `synthesize` applies all of them in order.

    Args:
        params: As made by `init`.
        state: From `initial_state` or the layer before.
        style: `[width]` of this layer.
        index: Of the layer in `config.style_layers`.
        config: The architecture.
        noise: See `synthesize`.

    Returns:
        The next state; that of the last layer has as its image the bands `[resolution / 2, resolution / 2, 12]`.
    """
    return _apply(params, state, style, index, noise, config=config, method="stage")


def synthesize(
    params: Params,
    styles: Styles,
    *,
    config: MobileStyleGANConfig,
    noise: Noise = "const",
    with_features: bool = False,
    preview: bool = False,
    compute_dtype: Any = jnp.float32,
) -> Any:
    """Renders style vectors.

    Args:
        params: As made by `init`.
        styles: One `[width]` float32 vector per row of `config.style_layers`.
        config: The architecture.
        noise: "const" for the stored maps, "none", or a key for fresh ones as strong as the stored ones are.
        with_features: Whether to return the activations too.
        preview: Only the low band: the image averaged down to half its size, without the last transform.
        compute_dtype: float32, or bfloat16 for activations and convolutions (noise, bias and image stay float32).

    Returns:
        The image `[resolution, resolution, 3]`, float32, about [-1, 1], not clipped. With features also a dict from
        layer name to its output: activations `[r, r, channels]`, and for ToRGB the image.

    Raises:
        ValueError: Not one style vector of the right width for every layer, such as a w, or a batch.
    """
    check_styles(styles, config)
    state = initial_state(params, config=config, compute_dtype=compute_dtype)
    features = {}
    for index, layer in enumerate(config.style_layers):
        state = synthesis_stage(params, state, styles[index], index=index, config=config, noise=noise)
        features[layer.name] = state.x
    assert state.image is not None
    image = 0.5 * state.image[:, :, :3] if preview else inverse_haar(state.image)
    features[config.style_layers[-1].name] = image
    return (image, features) if with_features else image


@frozen_pytree(leaves=("params",), notes=("fingerprint",))
class MobileStyleGANGenerator(StyleBased):
    """A MobileStyleGAN generator: `jaxedit.Generator` over the functions of this module."""

    params: Params
    config: MobileStyleGANConfig
    fingerprint: str = ""
    conditions: ClassVar[tuple[str, ...]] = ("truncation_psi", "truncation_cutoff")
    options: ClassVar[tuple[str, ...]] = ("noise", "compute_dtype", "with_features", "preview")

    def map(self, z, **condition):
        """See `map_latent`."""
        return map_latent(self.params, z, config=self.config, **condition)

    def styles(self, w):
        """See `styles`."""
        return styles(self.params, w, config=self.config)

    @property
    def relative(self) -> Relative:
        """StyleGAN2's rows, see `MobileStyleGANConfig.teacher`."""
        return self.config.teacher

    def synthesize(self, styles: Styles, **options):
        """See `synthesize`."""
        return synthesize(self.params, styles, config=self.config, **options)
