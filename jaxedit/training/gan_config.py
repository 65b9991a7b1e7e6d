"""What a training of `jaxedit.training.gan` is: networks, hyperparameters, optimisers."""

from __future__ import annotations

import dataclasses
from typing import Any

import optax

from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig

_WARMUP_IMAGES = 10_000.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class GanConfig:
    """The networks and the hyperparameters of a training.

    Attributes:
        generator: Architecture, unconditional.
        discriminator: Architecture, unconditional, of the same resolution.
        batch_size: Reals, and fakes, of a step.
        learning_rate: Of both Adam optimisers.
        generator_warmup_images: For so many images the discriminator learns alone, and over as many more the
            generator's learning rate rises from 0. Not in the paper: for a generator that is trained already, beside
            which a new discriminator otherwise learns nothing.
        betas: Of both.
        eps: Of both.
        r1_gamma: Weight of the gradient penalty on reals (Mescheder et al., 2018); 0 turns it off.
        r1_interval: Steps between two gradient penalties, whose weight grows by as much (lazy regularisation).
        path_length_weight: Weight of the path length penalty (section 3.2); 0 turns it off.
        path_length_interval: Steps between two path length penalties, whose weight grows by as much.
        path_length_decay: Weight of a new mean length in the running average, which starts at the first one (not at
            0, from where it would first shrink the lengths of a generator that is trained already).
        path_length_batch_shrink: The penalty is computed on `batch_size // path_length_batch_shrink` fakes.
        style_mixing: Probability that a fake takes the rows of w_plus from a random one on from a second latent.
        ema_images: Half-life of the generator's moving average, in images.
        ema_rampup: The half-life is at most this part of the images seen so far; None for a constant one.
        w_avg_beta: Decay of the running average of w.
        augment_target: What the mean of `sign(D(real))` is held at by adaptive augmentation (see
            `jaxedit.training.augment`), such as 0.6; None turns augmentation off.
        augment_images: Images in which the probability of augmentation could go from 0 to 1.
    """

    generator: StyleGAN2Config
    discriminator: DiscriminatorConfig
    batch_size: int
    r1_gamma: float
    learning_rate: float = 0.002
    generator_warmup_images: float = 0.0
    betas: tuple[float, float] = (0.0, 0.99)
    eps: float = 1e-8
    r1_interval: int = 16
    path_length_weight: float = 2.0
    path_length_interval: int = 4
    path_length_decay: float = 0.01
    path_length_batch_shrink: int = 2
    style_mixing: float = 0.9
    ema_images: float = 10_000.0
    ema_rampup: float | None = 0.05
    w_avg_beta: float = 0.995
    augment_target: float | None = None
    augment_images: float = 500_000.0

    def __post_init__(self):
        if self.generator.c_dim or self.discriminator.c_dim:
            raise ValueError("conditional networks can't be trained: c_dim has to be 0 in both configurations")
        if self.generator.resolution != self.discriminator.resolution:
            sizes = f"{self.generator.resolution} px and {self.discriminator.resolution} px"
            raise ValueError(f"generator and discriminator have to agree in resolution; they have {sizes}")
        for name in (
            "batch_size",
            "learning_rate",
            "r1_interval",
            "path_length_interval",
            "ema_images",
            "augment_images",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it has to be positive")
        group = min(self.discriminator.mbstd_group_size or self.batch_size, self.batch_size)
        if self.batch_size % group:
            raise ValueError(f"batch_size is {self.batch_size}; it has to be a multiple of {group}")
        if not 1 <= self.path_length_batch_shrink <= self.batch_size:
            raise ValueError(
                f"path_length_batch_shrink is {self.path_length_batch_shrink}; it has to be 1 to {self.batch_size}"
            )


def config_for(
    generator: StyleGAN2Config, *, batch_size: int, trained: bool, r1_gamma: float | None = None, **fields: Any
) -> GanConfig:
    """Makes the usual configuration for a generator.

    Args:
        generator: Its architecture; the discriminator gets the same widths.
        batch_size: As in `GanConfig`.
        trained: Whether the generator is trained already: beside it the discriminator learns alone for 10,000 images.
        r1_gamma: As in `GanConfig`. None: `0.0002 * resolution^2 / batch_size`, the heuristic of stylegan2-ada-pytorch.
        fields: Other fields of `GanConfig`, such as `learning_rate`.

    Returns:
        The configuration.
    """
    return GanConfig(
        generator=generator,
        discriminator=DiscriminatorConfig(
            resolution=generator.resolution,
            channel_base=generator.channel_base,
            channel_max=generator.channel_max,
            image_channels=generator.image_channels,
        ),
        batch_size=batch_size,
        r1_gamma=0.0002 * generator.resolution**2 / batch_size if r1_gamma is None else r1_gamma,
        generator_warmup_images=_WARMUP_IMAGES if trained else 0.0,
        **fields,
    )


def optimizer(config: GanConfig, interval: int, *, warmup_images: float = 0.0) -> optax.GradientTransformation:
    """Adam for a network that also has a lazy penalty.

    Args:
        config: Learning rate, betas and epsilon for one update per step.
        interval: Steps between two penalties; 0 for a network without.
        warmup_images: Images for which the learning rate is 0, and over which it then rises.

    Returns:
        Adam whose learning rate, and whose betas' exponents, are `interval / (interval + 1)` of that (appendix B),
        because an interval then has one update more.
    """
    ratio = interval / (interval + 1) if interval else 1.0
    b1, b2 = (beta**ratio for beta in config.betas)
    rate = config.learning_rate * ratio
    updates = round(warmup_images / (config.batch_size * ratio))
    rising = optax.linear_schedule(0.0, rate, updates, transition_begin=updates)
    return optax.adam(rising if updates else rate, b1, b2, config.eps)
