"""Synthesis in stages: what does not depend on the code that is being optimised is computed once."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxedit.generators import stylegan2
from jaxedit.generators.stylegan2 import Noise, StyleGAN2Generator, SynthesisState
from jaxedit.nn import upsample2d
from jaxedit.spaces import join_styles, split_styles

Codes = tuple[Float[Array, "..."], ...]


@runtime_checkable
class StagedSynthesis(Protocol):
    """A generator's synthesis as a chain of stages with one code each; a pytree.

    `render(prepare(state, codes, i), codes, i)` is the image for any `i`, where `state` comes from `start` and
    `advance` over the stages before `i`.
    """

    def codes(self, latent: Any) -> Codes:
        """Divides a latent of the generator into the codes of the stages."""
        ...

    def start(self) -> Any:
        """The state before the first stage."""
        ...

    def advance(self, state: Any, codes: Codes, index: int) -> Any:
        """The state after stage `index`."""
        ...

    def prepare(self, state: Any, codes: Codes, index: int) -> Any:
        """All that `render` needs which does not depend on code `index`."""
        ...

    def render(self, prepared: Any, codes: Codes, index: int) -> Float[Array, "height width channels"]:
        """The image, reading the codes from `index` on."""
        ...


def synthesize(synthesis: StagedSynthesis, codes: Codes) -> Float[Array, "height width channels"]:
    """Renders a whole image.

    Args:
        synthesis: The generator in stages.
        codes: One per stage.

    Returns:
        The image, float32, about -1 to 1.
    """
    return synthesis.render(synthesis.prepare(synthesis.start(), codes, 0), codes, 0)


class _RgbStage(NamedTuple):
    """For a stage that only adds to the skip image: what it reads, and the image without it."""

    x: Float[Array, "resolution resolution channels"]
    rest: Float[Array, "height width image_channels"]


@flax.struct.dataclass
class StagedStyleGAN2:
    """`StagedSynthesis` of a StyleGAN2 generator.

    One code is a style vector `[width]` per style layer in S, a row `[w_dim]` in W+, and the only `[w_dim]` in W. With
    `joint` all of them form one code: flat styles, or `[num_ws, w_dim]`.

    A ToRGB stage in S changes nothing but a term of the skip image, so its `prepare` runs the rest of the network once
    and its `render` only up-samples.

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
        if self.space == "s":
            return split_styles(codes[0], config=self.generator.config) if self.joint else codes
        rows = codes[0] if self.joint or self.space == "w" else jnp.stack(codes)
        return self.generator.styles(rows)

    def start(self) -> SynthesisState:
        """See `StagedSynthesis`."""
        generator = self.generator
        return stylegan2.initial_state(generator.params, config=generator.config, compute_dtype=self.compute_dtype)

    def advance(self, state: SynthesisState, codes: Codes, index: int) -> SynthesisState:
        """See `StagedSynthesis`."""
        styles = self.styles(codes)
        for layer in self._layers(index):
            state = self._stage(state, styles, layer)
        return state

    def prepare(self, state: SynthesisState, codes: Codes, index: int) -> SynthesisState | _RgbStage:
        """See `StagedSynthesis`."""
        first, *others = self._layers(index)
        if others or self.generator.config.style_layers[first].kind == "conv":
            return state
        blank = jnp.zeros((*state.x.shape[:2], self.generator.config.image_channels), jnp.float32)
        without = blank if state.image is None else upsample2d(state.image)
        return _RgbStage(state.x, self._finish(state._replace(image=without), codes, first + 1))

    def render(
        self, prepared: SynthesisState | _RgbStage, codes: Codes, index: int
    ) -> Float[Array, "resolution resolution image_channels"]:
        """See `StagedSynthesis`."""
        first = self._layers(index)[0]
        if isinstance(prepared, SynthesisState):
            return self._finish(prepared, codes, first)
        image = self._stage(SynthesisState(prepared.x, None), self.styles(codes), first).image
        assert image is not None
        while image.shape != prepared.rest.shape:
            image = upsample2d(image)
        return prepared.rest + image

    def _layers(self, index: int) -> list[int]:
        """The style layers that read code `index`; they follow each other."""
        layers = self.generator.config.style_layers
        if self.joint or self.space == "w":
            return list(range(len(layers)))
        return [index] if self.space == "s" else [i for i, layer in enumerate(layers) if layer.w_index == index]

    def _stage(self, state: SynthesisState, styles: stylegan2.Styles, layer: int) -> SynthesisState:
        generator = self.generator
        return stylegan2.synthesis_stage(
            generator.params, state, styles[layer], index=layer, config=generator.config, noise=self.noise
        )

    def _finish(self, state: SynthesisState, codes: Codes, first: int) -> Float[Array, "_ _ image_channels"]:
        generator = self.generator
        return stylegan2.synthesize_from(
            generator.params, state, self.styles(codes), start=first, config=generator.config, noise=self.noise
        )
