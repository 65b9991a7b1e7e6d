"""StyleGAN2's synthesis in stages, see `jaxedit.staged`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array

from jaxedit.generators import stylegan2
from jaxedit.generators.stylegan2 import Noise, StyleGAN2Generator, SynthesisState, join_styles, split_styles
from jaxedit.nn import upsample2d
from jaxedit.staged import Codes, Image


@flax.struct.dataclass
class StagedStyleGAN2:
    """`StagedSynthesis` of a StyleGAN2 generator.

    One code is a style vector `[width]` per style layer in S, a row `[w_dim]` in W+, and the only `[w_dim]` in W. With
    `joint` all of them form one code: flat styles, or `[num_ws, w_dim]`. A ToRGB stage in S only adds to the image.

    Attributes:
        generator: The generator.
        space: "s", "w_plus" or "w".
        joint: Whether there is one stage for everything.
        noise: "const" or "none".
        compute_dtype: float32 or bfloat16, see `stylegan2.initial_state`.
    """

    generator: StyleGAN2Generator
    space: Literal["s", "w_plus", "w"] = flax.struct.field(pytree_node=False, default="s")
    joint: bool = flax.struct.field(pytree_node=False, default=False)
    noise: Noise = flax.struct.field(pytree_node=False, default="const")
    compute_dtype: Any = flax.struct.field(pytree_node=False, default=jnp.float32)

    def codes(self, latent: Any) -> Codes:
        """Divides style vectors (S), `[num_ws, w_dim]` (W+) or `[w_dim]` (W) into codes."""
        if self.space == "w":
            return (jnp.asarray(latent),)
        if self.joint:
            return (join_styles(latent) if self.space == "s" else jnp.asarray(latent),)
        return tuple(jnp.asarray(part) for part in latent)

    def styles(self, codes: Codes) -> stylegan2.Styles:
        """The style vectors of all layers for codes of this space."""
        if self.space == "s" and not self.joint:
            return codes
        return self._styles(codes[0] if self.joint or self.space == "w" else jnp.stack(codes))

    def start(self) -> SynthesisState:
        """See `StagedSynthesis`."""
        generator = self.generator
        return stylegan2.initial_state(generator.params, config=generator.config, compute_dtype=self.compute_dtype)

    def stage(self, state: Any, code: Array, *, index: int) -> Any:
        """See `StagedSynthesis`."""
        layers, styles = self._layers(index), self._read(code, index)
        for layer in layers:
            state = self._layer(state, styles[layer], layer)
        if not layers or layers[-1] + 1 < len(self.generator.config.style_layers):
            return state
        assert state.image is not None
        return state.image

    def only_adds(self, index: int) -> bool:
        """See `StagedSynthesis`."""
        first, *others = self._layers(index)
        return not others and self.generator.config.style_layers[first].kind == "torgb"

    def term(self, state: SynthesisState, code: Array, *, index: int) -> Image:
        """See `StagedSynthesis`."""
        (layer,) = self._layers(index)
        image = self._layer(SynthesisState(state.x, None), self._read(code, index)[layer], layer).image
        assert image is not None
        while len(image) < self.generator.config.resolution:
            image = upsample2d(image)
        return image

    def _styles(self, code: Array) -> stylegan2.Styles:
        """The style vectors of all layers for flat styles, a w or w_plus."""
        generator = self.generator
        return split_styles(code, config=generator.config) if self.space == "s" else generator.styles(code)

    def _read(self, code: Array, index: int) -> Mapping[int, Any]:
        """The style vectors of at least the layers that read the code."""
        return {index: code} if self.space == "s" and not self.joint else dict(enumerate(self._styles(code)))

    def _layers(self, index: int) -> list[int]:
        """The style layers that read code `index`; they follow each other."""
        layers = self.generator.config.style_layers
        if self.joint or self.space == "w":
            return list(range(len(layers)))
        return [index] if self.space == "s" else [i for i, layer in enumerate(layers) if layer.w_index == index]

    def _layer(self, state: SynthesisState, style: Array, layer: int) -> SynthesisState:
        generator = self.generator
        return stylegan2.synthesis_stage(
            generator.params, state, style, index=layer, config=generator.config, noise=self.noise
        )
