"""Trains a fitted generator adversarially while every fake is held to the render of its own latent.

The discriminator sharpens what the absolute error of pixels leaves blurred; the pair keeps it from losing what it is
not sharp at, because it is known which avatar each latent stands for (`latents.factors_from_z`).
"""

from __future__ import annotations

import functools
from pathlib import Path

import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array

from jaxedit import datasets
from jaxedit.avatars import models
from jaxedit.avatars.renderer import render
from jaxedit.avatars.training.mixing import mixed_avatar
from jaxedit.avatars.training.pairs import PairErrors, pair_errors, weighted
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from jaxedit.networks.attributes import AttributeClassifier
from jaxedit.training.gan_config import config_for
from jaxedit.training.gan_terms import Code
from jaxedit.training.loop import Schedule, train

_SAVED = 625


def train_paired(
    generator: StyleGAN2Generator,
    *,
    weights: PairErrors,
    images: int,
    batch_size: int,
    learning_rate: float,
    style_mixing: float,
    seed: int,
    directory: Path,
) -> None:
    """Trains until `images` renders were shown; the same call again goes on where it was stopped.

    Args:
        generator: Where to start: one that was fitted to the renders (`fitting.fit_generator`).
        weights: Of what sets a fake apart from its render, beside the discriminator's verdict.
        images: Renders to show to the discriminator, which learns alone for the first 10,000.
        batch_size: Renders, and fakes, of a step.
        learning_rate: Of both networks.
        style_mixing: Probability that a fake is of two latents; beside it is the avatar mixed likewise, if there is one
            (`mixing.mixed_avatar`).
        seed: Of everything random.
        directory: As of `jaxedit.training.loop.train`, which leaves `generator` and `discriminator` in it.

    Raises:
        ValueError: The directory holds another training, or the numbers are not finite any more.
        OSError: It can't be written.
    """
    config = generator.config
    pair_loss = Partial(functools.partial(_pair_loss, config=config, weights=weights), models.load_classifier())
    dataset = datasets.avatars(size=config.resolution, batch_size=batch_size, seed=seed)
    train(
        lambda step: dataset.batch(step).images,
        config=config_for(
            config,
            batch_size=batch_size,
            trained=True,
            learning_rate=learning_rate,
            style_mixing=style_mixing,
            path_length_weight=0.0,  # how far a step in W takes an image is given by the pairs
        ),
        schedule=Schedule(total_images=images, picture_steps=_SAVED, snapshot_steps=_SAVED),
        output=directory,
        seed=seed,
        data=f"avatars, beside renders by {weights}",
        generator_params=generator.params,
        pair_loss=pair_loss,
    )


def _pair_loss(
    classifier: AttributeClassifier, code: Code, image: Array, *, config: StyleGAN2Config, weights: PairErrors
) -> Array:
    """What sets a fake apart from the render beside it; 0 where there is none."""
    avatar = mixed_avatar(code.z, code.crossover, num_ws=config.num_ws)
    # Behind a barrier, or XLA draws anew for every part.
    target = lax.optimization_barrier(render(avatar.factors, size=config.resolution))
    errors = pair_errors(image, target.image, target.parsing, classifier=classifier)
    return jnp.where(avatar.whole, weighted(errors, weights), 0.0)
