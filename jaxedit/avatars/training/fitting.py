"""Fits a generator to the renderer without a discriminator: a cheap, sharp start for adversarial training on a CPU.

First the mapping network learns to lay the factors out linearly in W, then the synthesis network learns to draw them.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, Key

from jaxedit.avatars import models
from jaxedit.avatars.factors import Factors
from jaxedit.avatars.latents import Z_DIM, factors_from_z
from jaxedit.avatars.renderer import render
from jaxedit.avatars.training.mixing import CROSSOVERS, mixed_avatar
from jaxedit.avatars.training.pairs import PairErrors, pair_errors, weighted
from jaxedit.generators import stylegan2
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.networks.attributes import AttributeClassifier
from jaxedit.nn import leaky_relu
from jaxedit.nn.pytrees import Params
from jaxedit.training import supervised
from jaxedit.training.gan_terms import mixed_w
from jaxedit.training.supervised import FitConfig

_SHAPES, _SHARP = PairErrors(1.0, 0.0, 0.0), PairErrors(1.0, 0.5, 0.05)
_SHAPES_SHARE = 4  # one in so many renders is for the first stage
_MAPPING_BATCH, _MIXED_SHARE = 512, 0.5
_COUNTED = 10_000


class MappingExamples(NamedTuple):
    """What the mapping network learns from: latents `[batch, z_dim]` and the w they should have `[batch, w_dim]`."""

    z: Float[Array, "batch z_dim"]
    w: Float[Array, "batch w_dim"]


class Pictures(NamedTuple):
    """What the synthesis network learns from.

    Attributes:
        z: `[batch, 2, z_dim]` float32.
        crossover: `[batch]` int32, the first row of w_plus of the second latent.
        image: `[batch, size, size, 3]` float32, the renderings of the avatars.
        parsing: `[batch, size, size]` int32, the class of each pixel.
    """

    z: Float[Array, "batch 2 z_dim"]
    crossover: Int[Array, " batch"]
    image: Float[Array, "batch size size 3"]
    parsing: Int[Array, "batch size size"]


def wanted_w(factors: Factors, *, w_dim: int) -> Float[Array, " w_dim"]:
    """The w that an avatar should have: its factors, standardised and rotated, once as they are and once negated.

    The mapping network ends in a leaky ReLU; the difference of the two halves undoes it, so that every factor is
    exactly linear in W.

    Args:
        factors: The factors.
        w_dim: Length of w, even, at least twice the number of factors.

    Returns:
        `[w_dim]` float32.
    """
    mean, deviation = _statistics()
    standard = (_flat(factors) - mean) / deviation
    count, half = len(mean), w_dim // 2
    frame = np.linalg.qr(np.random.RandomState(1).randn(half, half))[0][:count].astype(np.float32)
    rotated = jnp.matmul(standard, frame * np.float32((half / count) ** 0.5), precision=lax.Precision.HIGHEST)
    return leaky_relu(jnp.concatenate([rotated, -rotated]))


def _flat(factors: Factors) -> Float[Array, " factors"]:
    return jnp.concatenate([jnp.atleast_1d(leaf) for leaf in factors])


@functools.cache
def _statistics() -> tuple[np.ndarray, np.ndarray]:
    with jax.ensure_compile_time_eval():
        z = jax.random.normal(jax.random.key(0), (_COUNTED, Z_DIM))
        flat = jax.vmap(lambda one: _flat(factors_from_z(one)))(z)
        return np.asarray(flat.mean(axis=0)), np.asarray(flat.std(axis=0))


def draw_mapping_examples(key: Key[Array, ""], *, config: StyleGAN2Config) -> MappingExamples:
    """Draws latents and the w they should have."""
    z = jax.random.normal(key, (_MAPPING_BATCH, config.z_dim))
    return MappingExamples(z, jax.vmap(lambda one: wanted_w(factors_from_z(one), w_dim=config.w_dim))(z))


def mapping_loss(params: Params, codes: MappingExamples, *, config: StyleGAN2Config) -> Any:
    """Mean squared error of w before its activation; `params["params"]` is the mapping network without `w_avg`."""
    w = _mapped(params["params"], codes.z, config)
    return jnp.mean(jnp.square(_before_activation(w) - _before_activation(codes.w))), ({}, {})


def _mapped(mapping: Params, z: Array, config: StyleGAN2Config) -> Array:
    tree = {"mapping": mapping | {"w_avg": jnp.zeros(config.w_dim)}}
    return jax.vmap(lambda one: stylegan2.map_latent(tree, one, config=config))(z)


def mean_w(key: Key[Array, ""], mapping: Params, *, config: StyleGAN2Config) -> Float[Array, " w_dim"]:
    """The average w of a mapping network, over ten thousand latents."""
    return jnp.mean(_mapped(mapping, jax.random.normal(key, (_COUNTED, config.z_dim)), config), axis=0)


def _before_activation(w: Array) -> Array:
    return jnp.where(w > 0, w, 5.0 * w) * 0.5**0.5


def draw_pictures(key: Key[Array, ""], *, config: StyleGAN2Config, batch_size: int) -> Pictures:
    """Draws pairs of latents, half of which are mixed, and renders the avatars that they stand for."""
    z_key, chance_key, row_key = jax.random.split(key, 3)
    z = jax.random.normal(z_key, (batch_size, 2, config.z_dim))
    crossover = jnp.where(
        jax.random.bernoulli(chance_key, _MIXED_SHARE, (batch_size,)),
        jax.random.choice(row_key, jnp.array(CROSSOVERS), (batch_size,)),
        config.num_ws,
    )
    avatars = jax.vmap(functools.partial(mixed_avatar, num_ws=config.num_ws))(z, crossover)
    drawn = jax.vmap(functools.partial(render, size=config.resolution))(avatars.factors)
    return Pictures(z, crossover, drawn.image, drawn.parsing)


def image_loss(
    params: Params,
    pictures: Pictures,
    *,
    config: StyleGAN2Config,
    classifier: AttributeClassifier,
    weights: PairErrors,
) -> Any:
    """Error of the generator's images: the weighted sum of their `pair_errors`."""

    def errors(z: Array, crossover: Array, wanted: Array, parsing: Array) -> PairErrors:
        first, second = (stylegan2.map_latent(params["params"], one, config=config) for one in z)
        w_plus = mixed_w(first, second, crossover, num_ws=config.num_ws)
        styles = stylegan2.styles(params["params"], w_plus, config=config)
        image = stylegan2.synthesize(params["params"], styles, config=config, noise="none")
        return pair_errors(image, wanted, parsing, classifier=classifier)

    means = jax.tree.map(jnp.mean, jax.vmap(errors)(*pictures))
    return weighted(means, weights), ({}, means._asdict())


def fit_generator(
    key: Key[Array, ""],
    *,
    config: StyleGAN2Config,
    images: int,
    batch_size: int,
    learning_rate: float,
    mapping_steps: int,
    directory: Path,
) -> Params:
    """Fits a generator in three stages: the mapping network, the pictures, and once more with edges and features.

    The same call again goes on where it was stopped.

    Args:
        key: A typed key.
        config: The architecture; `z_dim` has to be `latents.Z_DIM`.
        images: Renders to learn from, a quarter in the second stage and the others in the third.
        batch_size: Renders per step.
        learning_rate: At its highest.
        mapping_steps: Steps of the first stage, of 512 latents each.
        directory: Gets the logs and snapshots of the stages in folders of their own.

    Returns:
        The generator's parameters.

    Raises:
        ValueError: The directory holds another training.
        OSError: It can't be written.
    """
    init_key, *keys = jax.random.split(key, 4)
    params = jax.jit(functools.partial(stylegan2.init, config=config))(init_key)
    mapping = supervised.fit(
        keys[0],
        _as_trained({name: leaf for name, leaf in params["mapping"].items() if name != "w_avg"}),
        draw=functools.partial(draw_mapping_examples, config=config),
        loss=functools.partial(mapping_loss, config=config),
        # Its parameters are stored that much larger than they act.
        config=FitConfig(mapping_steps, 0.015 / config.mapping_lr_multiplier, weight_decay=0.0),
        directory=directory / "mapping",
        save_every=5000,
    )["params"]
    params["mapping"] = mapping | {"w_avg": mean_w(keys[0], mapping, config=config)}
    early, classifier = images // _SHAPES_SHARE, models.load_classifier()
    stages = (("shapes", keys[1], early, _SHAPES), ("sharp", keys[2], images - early, _SHARP))
    for stage, stage_key, seen, weights in stages:
        params = supervised.fit(
            stage_key,
            _as_trained(params),
            draw=functools.partial(draw_pictures, config=config, batch_size=batch_size),
            loss=Partial(functools.partial(image_loss, config=config, weights=weights), classifier=classifier),
            config=FitConfig(seen // batch_size, learning_rate, weight_decay=0.0),
            directory=directory / stage,
        )["params"]
    return params


def _as_trained(params: Params) -> Params:
    return {"params": params, "batch_stats": {}}
