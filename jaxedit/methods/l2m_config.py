"""What a training of L2M-GAN is: networks, weights of the losses, hyperparameters."""

from __future__ import annotations

import dataclasses

from jaxedit.networks.l2m_discriminator import L2MDiscriminatorConfig
from jaxedit.networks.l2m_generator import L2MGeneratorConfig
from jaxedit.networks.l2m_style_encoder import L2MStyleEncoderConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class L2MConfig:
    """The networks and the hyperparameters of a training; the paper's by default.

    Attributes:
        generator: Architecture.
        style_encoder: Architecture, of the same resolution and styles.
        discriminator: Architecture, of the same resolution and domains.
        lambda_cyc: Weight of the cycle's loss.
        lambda_sty: Weight of the style's.
        lambda_per: Weight of the perceptual loss; 0 turns it off.
        lambda_ort: Weight of the orthogonality; 0 for an encoder without P and DT.
        lambda_r1: Weight of the gradient penalty on reals, which has its half inside.
        orthogonality: See `orthogonality_loss`.
        reduction: Of L1 norms; the batch is always averaged.
        batch_size: Images of a step.
        learning_rate: Of both Adam optimisers.
        betas: Of both.
        eps: Of both.
        weight_decay: L2 penalty in their gradients.
        ema_decay: What the moving averages keep in a step.
    """

    generator: L2MGeneratorConfig = L2MGeneratorConfig()
    style_encoder: L2MStyleEncoderConfig = L2MStyleEncoderConfig()
    discriminator: L2MDiscriminatorConfig = L2MDiscriminatorConfig()
    lambda_cyc: float = 1.0
    lambda_sty: float = 2.0
    lambda_per: float = 2.0
    lambda_ort: float = 1.0
    lambda_r1: float = 1.0
    orthogonality: str = "l1"
    reduction: str = "mean"
    batch_size: int = 8
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.0, 0.99)
    eps: float = 1e-8
    weight_decay: float = 1e-4
    ema_decay: float = 0.999

    def __post_init__(self):
        generator, style_encoder, discriminator = self.generator, self.style_encoder, self.discriminator
        for name, values in {
            "resolution": (generator.resolution, style_encoder.resolution, discriminator.resolution),
            "style_dim": (generator.style_dim, style_encoder.style_dim),
            "domains": (style_encoder.domains, discriminator.domains),
        }.items():
            if len(set(values)) > 1:
                raise ValueError(f"the networks have to agree in {name}; they have {', '.join(map(str, values))}")
        if self.lambda_ort and not style_encoder.transform_layers:
            raise ValueError(f"lambda_ort is {self.lambda_ort}; it has to be 0 for an encoder without P and DT")
        for name in ("batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it has to be positive")
