"""Adversarial training of StyleGAN2 (Karras et al., 2020) as pure functions: `init` makes a state, `step` advances it.

A step is, in this order: the generator's non-saturating loss; every `path_length_interval` steps its path length
penalty; the discriminator's loss on other fakes and on reals; every `r1_interval` steps its gradient penalty; the
moving averages. Each of the first four has an Adam update of its own.

A step sees its batch as a whole by design (minibatch standard deviation, means). It is data-parallel as it stands:
under `jit` with the state replicated over a mesh and the reals divided along their first axis, give the same
`NamedSharding` as `sharding`, so that the latents are divided alike; the result is that of one device up to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key

from jaxedit.generators import stylegan2, stylegan2_discriminator
from jaxedit.nn.pytrees import Params
from jaxedit.training import augment, gan_terms
from jaxedit.training.gan_config import GanConfig, optimizer

PairLoss = Callable[[gan_terms.Code, Float[Array, "resolution resolution channels"]], Float[Array, ""]]

_ADAPT_INTERVAL = 4

# What the keys of a step are for.
_GENERATOR, _DISCRIMINATOR, *_PATH_LENGTH, _AUGMENT_GENERATOR, _AUGMENT_FAKES, _AUGMENT_REALS = range(8)


class GanState(NamedTuple):
    """A training between two steps.

    Attributes:
        step: Steps done, int32 scalar.
        generator: The generator's parameters.
        discriminator: The discriminator's parameters.
        ema: Moving average of `generator`, with its present `w_avg`: the network to use afterwards.
        generator_optimizer: Adam's state.
        discriminator_optimizer: Adam's state.
        path_mean: Running average of path lengths, float32 scalar.
        augment_p: Probability of augmentation, float32 scalar.
        real_signs: Sum of the means of `sign(D(real))` since `augment_p` last changed, float32 scalar.
        key: What all randomness comes from, with the step folded in.
    """

    step: Int[Array, ""]
    generator: Params
    discriminator: Params
    ema: Params
    generator_optimizer: Any
    discriminator_optimizer: Any
    path_mean: Float[Array, ""]
    augment_p: Float[Array, ""]
    real_signs: Float[Array, ""]
    key: Key[Array, ""]


class StepInfo(NamedTuple):
    """Scalars of one step, float32; those of penalties are NaN in steps in which they are not due.

    Attributes:
        generator_loss: Mean of `softplus(-D(fake))`.
        path_penalty: Mean squared deviation of path lengths from their running average, without weight.
        path_length: Mean path length.
        discriminator_loss: Mean of `softplus(D(fake)) + softplus(-D(real))`.
        fake_logit: Mean of D(fake) in the discriminator's update.
        real_logit: Mean of D(real).
        real_sign: Mean of `sign(D(real))`: 1 where the discriminator knows all reals.
        r1_penalty: Mean squared norm of D's gradient to a real, without weight (see `gan_terms.r1_penalty`).
        augment_p: Probability of augmentation.
        pair_loss: Mean over the fakes of what `step` is given under this name; NaN if it is not given.
    """

    generator_loss: Float[Array, ""]
    path_penalty: Float[Array, ""]
    path_length: Float[Array, ""]
    discriminator_loss: Float[Array, ""]
    fake_logit: Float[Array, ""]
    real_logit: Float[Array, ""]
    real_sign: Float[Array, ""]
    r1_penalty: Float[Array, ""]
    augment_p: Float[Array, ""]
    pair_loss: Float[Array, ""]


def _generator_optimizer(config: GanConfig) -> optax.GradientTransformation:
    interval = config.path_length_interval if config.path_length_weight else 0
    return optimizer(config, interval, warmup_images=config.generator_warmup_images)


def _discriminator_optimizer(config: GanConfig) -> optax.GradientTransformation:
    return optimizer(config, config.r1_interval if config.r1_gamma else 0)


def init(key: Key[Array, ""], *, config: GanConfig, generator_params: Params | None = None) -> GanState:
    """Makes the state before the first step.

    Args:
        key: Draws the networks, and is kept for the steps.
        config: What is trained.
        generator_params: Start from this generator instead of a random one.

    Returns:
        The state; none of its arrays is shared, so it may be donated.
    """
    generator_key, discriminator_key, step_key = jax.random.split(key, 3)
    if generator_params is None:
        generator_params = stylegan2.init(generator_key, config=config.generator)
    discriminator_params = stylegan2_discriminator.init(discriminator_key, config=config.discriminator)
    return GanState(
        step=jnp.int32(0),
        generator=jax.tree.map(jnp.copy, generator_params),
        discriminator=discriminator_params,
        ema=jax.tree.map(jnp.copy, generator_params),
        generator_optimizer=_generator_optimizer(config).init(generator_params),
        discriminator_optimizer=_discriminator_optimizer(config).init(discriminator_params),
        path_mean=jnp.float32(0.0),
        augment_p=jnp.float32(0.0),
        real_signs=jnp.float32(0.0),
        key=step_key,
    )


def step(
    state: GanState,
    reals: Float[Array, "batch resolution resolution channels"],
    *,
    config: GanConfig,
    pair_loss: PairLoss | None = None,
    sharding: jax.sharding.NamedSharding | None = None,
) -> tuple[GanState, StepInfo]:
    """Does one step of training.

    Args:
        state: From `init` or the step before.
        reals: `[batch_size, resolution, resolution, image_channels]` float32 in [-1, 1].
        config: As given to `init`.
        pair_loss: Where it is known what image a code should have: maps the code of a fake and its image to a loss,
            which is added to that of the discriminator's verdict.
        sharding: How the reals are divided among devices, if they are (see the module).

    Returns:
        The next state, and the losses.
    """
    number, augment_p, nothing = state.step, state.augment_p, jnp.float32(jnp.nan)
    state, generator_loss, paired = _generator_update(state, pair_loss, sharding, config)
    path_penalty = path_length = r1_penalty = nothing
    if config.path_length_weight:
        state, path_penalty, path_length = lax.cond(
            number % config.path_length_interval == 0,
            lambda state: _path_length_update(state, sharding, config),
            lambda state: (state, nothing, nothing),
            state,
        )
    reals = _augmented(state, reals, _AUGMENT_REALS, sharding, config)
    state, (discriminator_loss, fake_logit, real_logit, real_sign) = _discriminator_update(
        state, reals, sharding, config
    )
    if config.r1_gamma:
        state, r1_penalty = lax.cond(
            number % config.r1_interval == 0,
            lambda state: _r1_update(state, reals, config),
            lambda state: (state, nothing),
            state,
        )
    images = (number + 1).astype(jnp.float32) * config.batch_size
    ema = gan_terms.update_ema(state.ema, state.generator, gan_terms.ema_decay(images, config=config))
    state = _adapt(state._replace(step=number + 1, ema=ema), real_sign, config)
    return state, StepInfo(
        generator_loss=generator_loss,
        path_penalty=path_penalty,
        path_length=path_length,
        discriminator_loss=discriminator_loss,
        fake_logit=fake_logit,
        real_logit=real_logit,
        real_sign=real_sign,
        r1_penalty=r1_penalty,
        augment_p=augment_p,
        pair_loss=paired,
    )


def _keys(state: GanState, use: int, count: int, sharding: jax.sharding.NamedSharding | None) -> Key[Array, " count"]:
    """One key per sample for one of the uses of a step."""
    keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(state.key, state.step), use), count)
    if sharding is None or count % sharding.mesh.size:
        return keys
    return lax.with_sharding_constraint(keys, sharding)


def _fakes(params: Params, keys: Key[Array, " batch"], config: GanConfig) -> tuple[Array, gan_terms.Code]:
    """A batch of fakes and their codes."""

    def one(key):
        latent_key, noise_key = jax.random.split(key)
        code = gan_terms.fake_code(latent_key, params, config=config)
        return gan_terms.fake_image(params, code.w_plus, noise_key, config=config), code

    return jax.vmap(one)(keys)


def _discriminate(params: Params, images: Array, config: GanConfig) -> Array:
    return stylegan2_discriminator.discriminate(params, images, config=config.discriminator)


def _augmented(
    state: GanState, images: Array, use: int, sharding: jax.sharding.NamedSharding | None, config: GanConfig
) -> Array:
    if config.augment_target is None:
        return images
    keys = _keys(state, use, config.batch_size, sharding)
    return jax.vmap(augment.augment, (0, 0, None))(keys, images, state.augment_p)


def _generator_update(
    state: GanState, pair_loss: PairLoss | None, sharding: jax.sharding.NamedSharding | None, config: GanConfig
) -> tuple[GanState, Array, Array]:
    keys = _keys(state, _GENERATOR, config.batch_size, sharding)

    def loss(params):
        images, codes = _fakes(params, keys, config)
        augmented = _augmented(state, images, _AUGMENT_GENERATOR, sharding, config)
        adversarial = jnp.mean(jax.nn.softplus(-_discriminate(state.discriminator, augmented, config)))
        if pair_loss is None:
            return adversarial, (adversarial, jnp.float32(jnp.nan), jnp.mean(codes.w, axis=0))
        paired = jnp.mean(jax.vmap(pair_loss)(codes, images))
        return adversarial + paired, (adversarial, paired, jnp.mean(codes.w, axis=0))

    gradients, (adversarial, paired, w_mean) = jax.grad(loss, has_aux=True)(state.generator)
    state = _apply_to_generator(state, gradients, config)
    mapping = state.generator["mapping"]
    w_avg = w_mean + config.w_avg_beta * (mapping["w_avg"] - w_mean)
    return state._replace(generator=state.generator | {"mapping": mapping | {"w_avg": w_avg}}), adversarial, paired


def _path_length_update(
    state: GanState, sharding: jax.sharding.NamedSharding | None, config: GanConfig
) -> tuple[GanState, Array, Array]:
    samples = max(config.batch_size // config.path_length_batch_shrink, 1)
    latent_keys, noise_keys, direction_keys = (_keys(state, use, samples, sharding) for use in _PATH_LENGTH)
    size, channels = config.generator.resolution, config.generator.image_channels

    def one(params, latent_key, noise_key, direction_key):
        w_plus = gan_terms.fake_code(latent_key, params, config=config).w_plus
        direction = jax.random.normal(direction_key, (size, size, channels))
        return gan_terms.path_length(params, w_plus, noise_key, direction, config=config)

    def loss(params):
        lengths = jax.vmap(functools.partial(one, params))(latent_keys, noise_keys, direction_keys)
        length = lax.stop_gradient(jnp.mean(lengths))
        decay = jnp.where(state.step == 0, 1.0, config.path_length_decay)
        path_mean = state.path_mean + decay * (length - state.path_mean)
        penalty = jnp.mean(jnp.square(lengths - path_mean))
        return penalty * (config.path_length_weight * config.path_length_interval), (penalty, length, path_mean)

    gradients, (penalty, length, path_mean) = jax.grad(loss, has_aux=True)(state.generator)
    return _apply_to_generator(state._replace(path_mean=path_mean), gradients, config), penalty, length


def _discriminator_update(
    state: GanState, reals: Array, sharding: jax.sharding.NamedSharding | None, config: GanConfig
) -> tuple[GanState, tuple[Array, Array, Array, Array]]:
    fakes, _ = _fakes(state.generator, _keys(state, _DISCRIMINATOR, config.batch_size, sharding), config)
    fakes = _augmented(state, fakes, _AUGMENT_FAKES, sharding, config)

    def loss(params):
        fake, real = (_discriminate(params, images, config) for images in (fakes, reals))
        value = jnp.mean(jax.nn.softplus(fake)) + jnp.mean(jax.nn.softplus(-real))
        return value, (value, jnp.mean(fake), jnp.mean(real), jnp.mean(jnp.sign(real)))

    gradients, info = jax.grad(loss, has_aux=True)(state.discriminator)
    return _apply_to_discriminator(state, gradients, config), info


def _r1_update(state: GanState, reals: Array, config: GanConfig) -> tuple[GanState, Array]:
    """With augmentation the penalty is on augmented reals: on what the discriminator sees."""

    def loss(params):
        penalty = gan_terms.r1_penalty(params, reals, config=config)
        return penalty * (0.5 * config.r1_gamma * config.r1_interval), penalty

    gradients, penalty = jax.grad(loss, has_aux=True)(state.discriminator)
    return _apply_to_discriminator(state, gradients, config), penalty


def _adapt(state: GanState, real_sign: Array, config: GanConfig) -> GanState:
    """Every few steps: another probability of augmentation, and the statistic anew."""
    if config.augment_target is None:
        return state
    signs, due = state.real_signs + real_sign, state.step % _ADAPT_INTERVAL == 0
    moved = augment.update_probability(
        state.augment_p,
        signs / _ADAPT_INTERVAL,
        target=config.augment_target,
        images=float(_ADAPT_INTERVAL * config.batch_size),
        speed=config.augment_images,
    )
    return state._replace(augment_p=jnp.where(due, moved, state.augment_p), real_signs=jnp.where(due, 0.0, signs))


def _apply_to_generator(state: GanState, gradients: Params, config: GanConfig) -> GanState:
    gradients = jax.tree_util.tree_map_with_path(
        lambda path, gradient: jnp.zeros_like(gradient) if path[-1].key in gan_terms.BUFFERS else gradient, gradients
    )
    params, optimizer_state = _descend(
        _generator_optimizer(config), state.generator, gradients, state.generator_optimizer
    )
    return state._replace(generator=params, generator_optimizer=optimizer_state)


def _apply_to_discriminator(state: GanState, gradients: Params, config: GanConfig) -> GanState:
    params, optimizer_state = _descend(
        _discriminator_optimizer(config), state.discriminator, gradients, state.discriminator_optimizer
    )
    return state._replace(discriminator=params, discriminator_optimizer=optimizer_state)


def _descend(
    transformation: optax.GradientTransformation, params: Params, gradients: Params, optimizer_state: Any
) -> tuple[Any, Any]:
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to the power of an integer
        updates, optimizer_state = transformation.update(gradients, optimizer_state)
    return optax.apply_updates(params, updates), optimizer_state
