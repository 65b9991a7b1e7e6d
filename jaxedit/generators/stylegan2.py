"""StyleGAN2 (Karras et al., 2020): mapping, style space and skip synthesis as pure functions of one sample.

The spaces: `z` is `[z_dim]`; `w` is `[w_dim]`, or `[num_ws, w_dim]` (w_plus, one row for each group of layers); the
styles are one vector per style layer (26 vectors, 9088 numbers at 1024 px), the affine outputs *before* ToRGB's gain `1
/ sqrt(in)` (StyleSpace's convention). `StyleGAN2Config.style_layers` is their table.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from jaxedit.generators.config import check_config
from jaxedit.generators.shapes import check_c, check_styles, check_w, check_z
from jaxedit.generators.style_based import StyleBased, split_by_layer, truncated
from jaxedit.nn import Dense, StyleConv, ToRGB, leaky_relu, normalize_second_moment, upsample2d
from jaxedit.nn.pytrees import Params, frozen_pytree

Styles = Sequence[Float[Array | np.ndarray, " _"]]
Noise = str | Key[Array, ""]


class StyleLayer(NamedTuple):
    """One row of the style table.

    Attributes:
        name: Such as "b64.conv0".
        resolution: Of its output, in pixels.
        kind: "conv" or "torgb".
        width: Length of its style vector.
        w_index: Row of w_plus that it reads.
    """

    name: str
    resolution: int
    kind: str
    width: int
    w_index: int


@dataclasses.dataclass(frozen=True)
class StyleGAN2Config:
    """The architecture of a generator; config-f at 1024 px by default.

    Attributes:
        resolution: Output size in pixels, a power of two, at least 8 (official networks: 32 to 1024).
        z_dim: Length of z.
        w_dim: Length of w.
        c_dim: Number of classes; 0 for an unconditional network.
        channel_base: Channels at resolution r are `min(channel_base // r, channel_max)`. 32768 for config-f, 16384 for
            config-e.
        channel_max: See `channel_base`.
        image_channels: 3 for RGB.
        mapping_layers: Depth of the mapping network.
        mapping_lr_multiplier: Learning rate multiplier of the mapping network, which scales its stored weights.
        conv_clamp: Activations are clamped to plus and minus this value; None for networks trained in float32.
    """

    resolution: int = 1024
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    channel_base: int = 32768
    channel_max: int = 512
    image_channels: int = 3
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    conv_clamp: float | None = None

    def __post_init__(self):
        check_config(self, may_be_zero=("c_dim",))

    @property
    def block_resolutions(self) -> tuple[int, ...]:
        """Resolutions of the blocks: 4, 8, ..., `resolution`."""
        return tuple(2**k for k in range(2, self.resolution.bit_length()))

    @property
    def num_ws(self) -> int:
        """Rows of a w_plus code: 18 at 1024 px."""
        return 2 * len(self.block_resolutions)

    def channels(self, resolution: int) -> int:
        """Width of the activations at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)

    @functools.cached_property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The style layers in the order of the style space: per resolution the convolutions, then ToRGB."""
        layers = []
        for block, resolution in enumerate(self.block_resolutions):
            below, width = self.channels(resolution // 2), self.channels(resolution)
            if block:
                layers.append(StyleLayer(f"b{resolution}.conv0", resolution, "conv", below, 2 * block - 1))
            layers.append(StyleLayer(f"b{resolution}.conv1", resolution, "conv", width, 2 * block))
            layers.append(StyleLayer(f"b{resolution}.torgb", resolution, "torgb", width, 2 * block + 1))
        return tuple(layers)


class SynthesisState(NamedTuple):
    """What the network holds between two style layers.

    Attributes:
        x: Activations `[r, r, channels]`, compute dtype.
        image: The skip image so far `[r, r, image_channels]`, float32; None before the first ToRGB.
    """

    x: Float[Array, "resolution resolution channels"]
    image: Float[Array, "image_resolution image_resolution image_channels"] | None


class MappingNetwork(nn.Module):
    """z (and a class label) to w, with the running average of w. Equal to `MappingNetwork` of stylegan2-ada-pytorch."""

    config: StyleGAN2Config

    @nn.compact
    def __call__(self, z, c, truncation_psi, truncation_cutoff):
        config = self.config
        x = normalize_second_moment(z)
        if config.c_dim:
            x = jnp.concatenate([x, normalize_second_moment(Dense(config.w_dim, name="embed")(c))])
        for index in range(config.mapping_layers):
            x = leaky_relu(Dense(config.w_dim, config.mapping_lr_multiplier, name=f"fc{index}")(x))
        w_avg = self.param("w_avg", nn.initializers.zeros, (config.w_dim,))
        return truncated(x, w_avg, truncation_psi, truncation_cutoff, num_ws=config.num_ws)


class SynthesisBlock(nn.Module):
    """The layers of one resolution; 4 px has no `conv0`."""

    config: StyleGAN2Config
    resolution: int

    def setup(self):
        config = self.config
        layer = functools.partial(StyleConv, config.channels(self.resolution), self.resolution, clamp=config.conv_clamp)
        if self.resolution > 4:
            self.conv0 = layer(up=True)
        self.conv1 = layer(up=False)
        self.torgb = ToRGB(config.image_channels, config.conv_clamp)


class SynthesisNetwork(nn.Module):
    """Styles and skip synthesis. Equal to `SynthesisNetwork` (architecture "skip") of stylegan2-ada-pytorch."""

    config: StyleGAN2Config

    def setup(self):
        config = self.config
        self.const = self.param("const", nn.initializers.normal(1.0), (4, 4, config.channels(4)))
        self.affine = Dense(sum(layer.width for layer in config.style_layers), bias_init=1.0)
        for resolution in config.block_resolutions:
            setattr(self, f"b{resolution}", SynthesisBlock(config, resolution))

    def styles(self, w):
        return split_by_layer(self.affine(w), self.config.style_layers)

    def start(self, compute_dtype):
        return SynthesisState(self.const.astype(compute_dtype), None)

    def stage(self, state, style, index, noise):
        layer = self.config.style_layers[index]
        block, _, name = layer.name.partition(".")
        module = getattr(getattr(self, block), name)
        if layer.kind == "conv":
            key = noise if isinstance(noise, str) else jax.random.fold_in(noise, index)
            return state._replace(x=module(state.x, style, key))
        image = module(state.x, style)
        return state._replace(image=image if state.image is None else upsample2d(state.image) + image)

    def __call__(self, w):
        state = self.start(jnp.float32)
        for index, style in enumerate(self.styles(w)):
            state = self.stage(state, style, index, "none")
        return state.image


def init(key: Key[Array, ""], *, config: StyleGAN2Config) -> Params:
    """Draws the parameters of an untrained generator.

    Args:
        key: A typed key (`jax.random.key`).
        config: The architecture.

    Returns:
        `{"mapping": ..., "synthesis": ...}`, float32, with the values that the official PyTorch network stores
        (run-time gains not applied) in JAX layouts: convolution kernels HWIO, un-flipped; all affine layers side by
        side in the order of `config.style_layers`.
    """
    mapping_key, synthesis_key = jax.random.split(key)
    z, c = jnp.zeros(config.z_dim), jnp.zeros(config.c_dim)
    mapping = MappingNetwork(config).init(mapping_key, z, c, 1.0, None)
    synthesis = SynthesisNetwork(config).init(synthesis_key, jnp.zeros(config.w_dim))
    return {"mapping": mapping["params"], "synthesis": synthesis["params"]}


def map_latent(
    params: Params,
    z: Float[Array | np.ndarray, " z_dim"],
    c: Float[Array | np.ndarray, " c_dim"] | None = None,
    *,
    config: StyleGAN2Config,
    truncation_psi: float | Float[Array, ""] = 1.0,
    truncation_cutoff: int | None = None,
) -> Float[Array, " w_dim"] | Float[Array, "num_ws w_dim"]:
    """Maps z to w.

    Args:
        params: As made by `init`.
        z: `[z_dim]` float32, standard normal.
        c: `[c_dim]` float32, one-hot class label of a conditional network.
        config: The architecture.
        truncation_psi: Distance kept from the average w: 1 changes nothing, 0 gives the average.
        truncation_cutoff: Truncate only the first so many rows of w_plus; None truncates all.

    Returns:
        `[w_dim]` float32, or w_plus `[num_ws, w_dim]` when `truncation_cutoff` is given.

    Raises:
        ValueError: Not one z, or a conditional network got no label, or an unconditional one got one.
    """
    check_z(z, config)
    check_c(c, config)
    inputs = (jnp.asarray(z), c, truncation_psi, truncation_cutoff)
    w: Any = MappingNetwork(config).apply({"params": params["mapping"]}, *inputs)
    return w


def styles(
    params: Params,
    w: Float[Array | np.ndarray, " w_dim"] | Float[Array | np.ndarray, "num_ws w_dim"],
    *,
    config: StyleGAN2Config,
) -> tuple[Float[Array, " _"], ...]:
    """Computes the style vectors of all layers with one matrix product.

    Args:
        params: As made by `init`.
        w: `[w_dim]` for all layers, or w_plus `[num_ws, w_dim]`, float32. As many rows of W are taken for one w_plus:
            only `jax.vmap` makes a batch of them.
        config: The architecture.

    Returns:
        One `[width]` float32 vector per row of `config.style_layers`: affine outputs, for ToRGB before its gain.

    Raises:
        ValueError: Neither one w nor one w_plus, such as a batch.
    """
    check_w(w, config)
    return _apply_synthesis(params, w, config=config, method="styles")


def split_styles(flat: Float[ArrayLike, " total"], *, config: Any) -> Styles:
    """Divides a flat style code into one vector per entry of `config.style_layers`.

    Args:
        flat: `[sum of the widths]`, un-gained styles (StyleSpace's order: per resolution conv(s), then toRGB).
        config: The architecture, of any family with `style_layers`.

    Returns:
        A tuple of vectors `[width]`, dtype kept.
    """
    ends = np.cumsum([layer.width for layer in config.style_layers])
    return tuple(jnp.split(jnp.asarray(flat), ends[:-1]))


def join_styles(styles: Styles) -> Float[Array, " total"]:
    """Joins the vectors of all style layers to one flat style code: the inverse of `split_styles`."""
    return jnp.concatenate(styles)


def _apply_synthesis(params: Params, *arguments: Any, config: StyleGAN2Config, method: str) -> Any:
    return SynthesisNetwork(config).apply({"params": params["synthesis"]}, *arguments, method=method)


def initial_state(params: Params, *, config: StyleGAN2Config, compute_dtype: Any = jnp.float32) -> SynthesisState:
    """The state before the first style layer: the learned constant.

    Args:
        params: As made by `init`.
        config: The architecture.
        compute_dtype: float32, or bfloat16 for activations and convolutions (demodulation, noise, bias and skip image
            stay float32).

    Returns:
        A `SynthesisState` at 4 px.
    """
    return _apply_synthesis(params, compute_dtype, config=config, method="start")


def synthesis_stage(
    params: Params,
    state: SynthesisState,
    style: Float[Array | np.ndarray, " width"],
    *,
    index: int,
    config: StyleGAN2Config,
    noise: Noise = "const",
) -> SynthesisState:
    """Runs one style layer.

    The whole network is this function over all layers in order, so a caller can keep the state before layer `index` and
    run only what follows.

    Args:
        params: As made by `init`.
        state: Output of the layer before.
        style: `[width]` float32.
        index: Row of `config.style_layers`.
        config: The architecture.
        noise: "const" for the stored maps, "none", or a key for fresh ones (each layer folds its index in).

    Returns:
        The next state: a convolution replaces `x`, ToRGB adds to `image`.
    """
    return _apply_synthesis(params, state, style, index, noise, config=config, method="stage")


def synthesize_from(
    params: Params,
    state: SynthesisState,
    styles: Styles,
    *,
    start: int,
    config: StyleGAN2Config,
    noise: Noise = "const",
) -> Float[Array, "resolution resolution image_channels"]:
    """Renders the rest of the network from a kept state.

    Args:
        params: As made by `init`.
        state: The state before style layer `start`.
        styles: All style vectors; those before `start` are not read.
        start: First row of `config.style_layers` to run.
        config: The architecture.
        noise: As in `synthesis_stage`.

    Returns:
        The image, as `synthesize` gives it.
    """
    for index in range(start, len(config.style_layers)):
        state = synthesis_stage(params, state, styles[index], index=index, config=config, noise=noise)
    assert state.image is not None
    return state.image


def synthesize(
    params: Params,
    styles: Styles,
    *,
    config: StyleGAN2Config,
    noise: Noise = "const",
    with_features: bool = False,
    compute_dtype: Any = jnp.float32,
) -> Any:
    """Renders style vectors.

    Args:
        params: As made by `init`.
        styles: One `[width]` float32 vector per row of `config.style_layers`.
        config: The architecture.
        noise: "const" for the stored maps, "none", or a key for fresh ones.
        with_features: Whether to return the activations too.
        compute_dtype: float32 or bfloat16, see `initial_state`.

    Returns:
        The image `[resolution, resolution, image_channels]`, float32, about [-1, 1], not clipped. With features also a
        dict from layer name to its output: activations `[r, r, channels]` for "b64.conv1", the skip image so far for
        "b64.torgb".

    Raises:
        ValueError: Not one style vector of the right width for every layer, such as a w, or a batch.
    """
    check_styles(styles, config)
    state = initial_state(params, config=config, compute_dtype=compute_dtype)
    features = {}
    for index, layer in enumerate(config.style_layers):
        state = synthesis_stage(params, state, styles[index], index=index, config=config, noise=noise)
        features[layer.name] = state.x if layer.kind == "conv" else state.image
    return (state.image, features) if with_features else state.image


@frozen_pytree(leaves=("params",), notes=("fingerprint",))
class StyleGAN2Generator(StyleBased):
    """A StyleGAN2 generator: `jaxedit.Generator` over the functions of this module."""

    params: Params
    config: StyleGAN2Config
    fingerprint: str = ""
    conditions: ClassVar[tuple[str, ...]] = ("c", "truncation_psi", "truncation_cutoff")
    options: ClassVar[tuple[str, ...]] = ("noise", "compute_dtype", "with_features")

    def map(self, z, c=None, *, truncation_psi=1.0, truncation_cutoff=None):
        """See `map_latent`."""
        return map_latent(
            self.params, z, c, config=self.config, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff
        )

    def styles(self, w):
        """See `styles`."""
        return styles(self.params, w, config=self.config)

    def synthesize(
        self, styles: Styles, *, noise: Noise = "const", with_features: bool = False, compute_dtype=jnp.float32
    ):
        """See `synthesize`."""
        return synthesize(
            self.params,
            styles,
            config=self.config,
            noise=noise,
            with_features=with_features,
            compute_dtype=compute_dtype,
        )
