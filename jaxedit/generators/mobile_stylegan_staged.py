"""MobileStyleGAN's synthesis in stages, see `jaxedit.staged`."""

from __future__ import annotations

import flax.struct
from jaxtyping import Array

from jaxedit.generators import mobile_stylegan
from jaxedit.generators.mobile_stylegan import MobileStyleGANGenerator
from jaxedit.generators.stylegan2 import SynthesisState
from jaxedit.generators.stylegan2_staged import StagedStyleGAN2
from jaxedit.nn.haar import inverse_haar


@flax.struct.dataclass
class StagedMobileStyleGAN(StagedStyleGAN2):
    """`StagedSynthesis` of a MobileStyleGAN generator.

    Codes and options are those of `StagedStyleGAN2`. The image has one source, the last stage, so none only adds to it.

    Attributes:
        generator: The generator.
        space: See `StagedStyleGAN2`.
        joint: See `StagedStyleGAN2`.
        noise: See `StagedStyleGAN2`.
        compute_dtype: See `StagedStyleGAN2`.
    """

    generator: MobileStyleGANGenerator

    def start(self) -> SynthesisState:
        """See `StagedSynthesis`."""
        generator = self.generator
        return mobile_stylegan.initial_state(
            generator.params, config=generator.config, compute_dtype=self.compute_dtype
        )

    def only_adds(self, index: int) -> bool:
        """See `StagedSynthesis`."""
        return False

    def _layer(self, state: SynthesisState, style: Array, layer: int) -> SynthesisState:
        generator = self.generator
        state = mobile_stylegan.synthesis_stage(
            generator.params, state, style, index=layer, config=generator.config, noise=self.noise
        )
        return state if state.image is None else state._replace(image=inverse_haar(state.image))
