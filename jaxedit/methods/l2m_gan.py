"""L2M-GAN: images translated between domains by a style of which one part alone is changed (Yang et al., 2021).

A style s = SE_y(x) is taken apart into s_un = P(s) and s_re = s - s_un, of which DT takes the second to the domain y~:

    s~ = s_un + DT(s_re, y~),    x~ = G(x, s~)                                                             (Eq. 1)

The training was never released. What the paper leaves open, and where programs differ, is decided here:

* L1 norms are means over their numbers (`reduction`), as in StarGAN v2, whose weights the paper starts from, and in
  the one other public training; as sums they would outweigh the adversarial loss by the number of pixels.
* Adam has StarGAN v2's weight decay of 1e-4 as an L2 penalty in the gradient, also of biases, because the released
  `main.py` kept that default; epsilon is PyTorch's. P and DT learn as fast as all others, as the paper says.
* A step updates the discriminator, with R1 in every step, then all others against the updated one, as in StarGAN v2.
  Both see the same translations, for the generator has not moved in between.
* The target domain of an image is the domain of another random image: the caller shuffles. It may be the image's own.
* The cycle goes back with the whole style s (Eq. 3), and gradients go through both sides of Eq. 4, as in StarGAN v2.
* Moving averages, 0.999 per step, are of generator and style encoder; nothing uses one of the discriminator.
* Masks of high-pass skips are those of the image that is translated, also on the way back, and held constant.
* "inner" in Table 3 is the size of the inner product: with its sign, the loss would have no lower end.
* Strengths (Eq. 8) move along the line from s to s~, `(1 - strength) s + strength s~`, which is the same but for
  rounding, and s and s~ themselves at 0 and 1.
* An encoder without P and DT (`transform_layers=0`) is the baseline of Table 3: the target's style is that of a
  reference image of that domain.

A sample never sees its neighbours: there are no batch statistics. A step is data-parallel as it stands: under `jit`
with the state replicated over a mesh and the batch divided along its first axis, the result is that of one device up to
rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from jaxedit.methods.l2m_config import L2MConfig
from jaxedit.methods.l2m_losses import (
    cycle_loss,
    discriminator_loss,
    generator_loss,
    orthogonality_loss,
    overall_loss,
    perceptual_loss,
    r1_penalty,
    style_loss,
)
from jaxedit.networks import l2m_discriminator, l2m_generator, l2m_style_encoder
from jaxedit.networks.l2m_discriminator import discriminate
from jaxedit.networks.l2m_generator import Mask, translate
from jaxedit.networks.l2m_style_encoder import decompose, encode, transform
from jaxedit.nn.pytrees import Params

__all__ = [
    "L2MConfig",
    "L2MState",
    "StepInfo",
    "cycle_loss",
    "decompose",
    "discriminator_loss",
    "edited_style",
    "generator_loss",
    "init",
    "orthogonality_loss",
    "overall_loss",
    "perceptual_loss",
    "r1_penalty",
    "reference_style",
    "step",
    "style_loss",
    "transform",
]

Image = Float[Array, "height width 3"]
Features = Callable[[Image], Float[Array, "*features"]]  # noqa: F821
Masks = Callable[[Image], tuple[Mask, Mask]]


def edited_style(
    params: Params,
    s: Float[Array, " style_dim"],
    domain: Int[ArrayLike, ""],
    *,
    strength: Real[ArrayLike, ""] = 1.0,
) -> Float[Array, " style_dim"]:
    """Takes a style to a domain, by any part of the way or beyond (Eq. 1 and 8).

    Args:
        params: Of a style encoder.
        s: `[style_dim]` float32.
        domain: The target, counted from 0.
        strength: lambda_s; 0 for s itself, 1 for the edit, more for a stronger one.

    Returns:
        `s_un + s_re + strength (DT(s_re, y~) - s_re)`, `[style_dim]` float32.

    Raises:
        ValueError: No such domain, or the encoder is StarGAN v2's, without P and DT.
    """
    s_un, s_re = decompose(params, s)
    strength = jnp.asarray(strength, s.dtype)
    return (1 - strength) * s + strength * (s_un + transform(params, s_re, domain))


def reference_style(
    params: Params, s_source: Float[Array, " style_dim"], s_reference: Float[Array, " style_dim"]
) -> Float[Array, " style_dim"]:
    """Takes a style to the domain of a reference, as the reference shows it (Eq. 10).

    Args:
        params: Of a style encoder.
        s_source: `[style_dim]` float32, of the image to translate; as the paper has it, both by the reference's head.
        s_reference: `[style_dim]` float32, of the reference.

    Returns:
        `P(s_source) + s_reference - P(s_reference)`, `[style_dim]` float32.

    Raises:
        ValueError: The encoder is StarGAN v2's, without P and DT.
    """
    return decompose(params, s_source)[0] + decompose(params, s_reference)[1]


class L2MState(NamedTuple):
    """A training between two steps.

    Attributes:
        step: Steps done, int32 scalar.
        generator: Parameters.
        style_encoder: Parameters, P and DT among them.
        discriminator: Parameters.
        generator_ema: Moving average: the network to use afterwards.
        style_encoder_ema: Likewise.
        optimizer: Adam's state of generator and style encoder.
        discriminator_optimizer: Adam's state.
    """

    step: Int[Array, ""]
    generator: Params
    style_encoder: Params
    discriminator: Params
    generator_ema: Params
    style_encoder_ema: Params
    optimizer: Any
    discriminator_optimizer: Any


class StepInfo(NamedTuple):
    """Means over the batch of a step, float32 scalars, without weights; 0 for a loss that is turned off.

    Attributes:
        discriminator_loss: See `discriminator_loss`, of the discriminator before its update.
        r1_penalty: See `r1_penalty`.
        real_logit: Of reals, for their own domain, before the update.
        fake_logit: Of translations, for the target domain, before the update.
        generator_loss: See `generator_loss`, by the updated discriminator.
        cycle_loss: See `cycle_loss`.
        style_loss: See `style_loss`.
        perceptual_loss: See `perceptual_loss`.
        orthogonality_loss: See `orthogonality_loss`.
    """

    discriminator_loss: Float[Array, ""]
    r1_penalty: Float[Array, ""]
    real_logit: Float[Array, ""]
    fake_logit: Float[Array, ""]
    generator_loss: Float[Array, ""]
    cycle_loss: Float[Array, ""]
    style_loss: Float[Array, ""]
    perceptual_loss: Float[Array, ""]
    orthogonality_loss: Float[Array, ""]


class _Sample(NamedTuple):
    image: Image
    domain: Int[Array, ""]
    target: Int[Array, ""]
    reference: Image | None


class _Translation(NamedTuple):
    s: Array
    style: Array
    orthogonality: Array
    image: Array


def _optimizer(config: L2MConfig) -> optax.GradientTransformation:
    adam = optax.adam(config.learning_rate, *config.betas, config.eps)
    return optax.chain(optax.add_decayed_weights(config.weight_decay), adam)


def init(key: Key[Array, ""], *, config: L2MConfig) -> L2MState:
    """Makes the state before the first step.

    Args:
        key: Draws the networks.
        config: What is trained.

    Returns:
        The state; none of its arrays is shared, so it may be donated.
    """
    keys = jax.random.split(key, 3)
    generator = l2m_generator.init(keys[0], config=config.generator)
    style_encoder = l2m_style_encoder.init(keys[1], config=config.style_encoder)
    discriminator = l2m_discriminator.init(keys[2], config=config.discriminator)
    optimizer = _optimizer(config)
    return L2MState(
        step=jnp.int32(0),
        generator=generator,
        style_encoder=style_encoder,
        discriminator=discriminator,
        generator_ema=jax.tree.map(jnp.copy, generator),
        style_encoder_ema=jax.tree.map(jnp.copy, style_encoder),
        optimizer=optimizer.init((generator, style_encoder)),
        discriminator_optimizer=optimizer.init(discriminator),
    )


def step(
    state: L2MState,
    images: Float[Array, "batch height width 3"],
    domains: Int[Array, " batch"],
    target_domains: Int[Array, " batch"],
    *,
    config: L2MConfig,
    perceptual: Features | None = None,
    masks: Masks | None = None,
    references: Float[Array, "batch height width 3"] | None = None,
) -> tuple[L2MState, StepInfo]:
    """Does one step of training.

    Args:
        state: From `init` or the step before.
        images: `[batch, resolution, resolution, 3]` float32 RGB in [-1, 1].
        domains: `[batch]` int32, of the images.
        target_domains: `[batch]` int32, such as those of another random batch.
        config: As given to `init`.
        perceptual: F of Eq. 5, from an image to features of any shape; for a `lambda_per` above 0. As a
            `jax.tree_util.Partial` it can be an argument of a jitted function, with the parameters that it binds.
        masks: Likewise, from an image to the two masks of a generator with high-pass skips, such as FAN's; None for no
            skips.
        references: An image of each target domain, for an encoder without P and DT only.

    Returns:
        The next state, and the losses.

    Raises:
        ValueError: `perceptual` or `references` are missing, or given where nothing uses them.
    """
    if (perceptual is None) == bool(config.lambda_per):
        raise ValueError(f"perceptual is needed for a lambda_per above 0 only; lambda_per is {config.lambda_per}")
    if (references is None) != bool(config.style_encoder.transform_layers):
        raise ValueError("references are needed for an encoder without P and DT only")
    samples, networks = _Sample(images, domains, target_domains, references), (state.generator, state.style_encoder)
    translated = functools.partial(_translated, masks=masks, config=config)
    made, pulled_back = jax.vjp(lambda networks: jax.vmap(translated, (None, 0))(networks, samples), networks)
    state, judged = _discriminator_update(state, samples, made.image, config)
    losses_of = functools.partial(_losses, perceptual=perceptual, masks=masks, config=config)

    def loss(networks, made):
        losses = jax.vmap(losses_of, (None, None, 0, 0))(networks, state.discriminator, samples, made)
        means = tuple(map(jnp.mean, losses))
        return overall_loss(*means, config=config), means

    (gradients, through), losses = jax.grad(loss, (0, 1), has_aux=True)(networks, made)
    gradients = jax.tree.map(jnp.add, gradients, *pulled_back(through))
    networks, optimizer = _descend(networks, gradients, state.optimizer, config)
    averages: Any = optax.incremental_update(
        networks, (state.generator_ema, state.style_encoder_ema), 1 - config.ema_decay
    )
    state = state._replace(
        step=state.step + 1,
        generator=networks[0],
        style_encoder=networks[1],
        generator_ema=averages[0],
        style_encoder_ema=averages[1],
        optimizer=optimizer,
    )
    return state, StepInfo(*judged, *losses)


def _translated(
    networks: tuple[Params, Params], sample: _Sample, *, masks: Masks | None, config: L2MConfig
) -> _Translation:
    """There, by the generator and the style encoder."""
    s = encode(networks[1], sample.image, sample.domain, config=config.style_encoder)
    if sample.reference is None:
        s_un, s_re = decompose(networks[1], s)
        s_re_target = transform(networks[1], s_re, sample.target)
        options: Any = {"kind": config.orthogonality, "reduction": config.reduction}
        style, orthogonality = s_un + s_re_target, orthogonality_loss(s_un, s_re, s_re_target, **options)
    else:
        style = encode(networks[1], sample.reference, sample.target, config=config.style_encoder)
        orthogonality = jnp.float32(0)
    return _Translation(s, style, orthogonality, _drawn(networks[0], sample.image, style, masks, config))


def _drawn(generator: Params, image: Array, style: Array, masks: Masks | None, config: L2MConfig) -> Array:
    through = None if masks is None else lax.stop_gradient(masks(lax.stop_gradient(image)))
    return translate(generator, image, style, config=config.generator, masks=through)


def _discriminator_update(
    state: L2MState, samples: _Sample, fakes: Array, config: L2MConfig
) -> tuple[L2MState, tuple[Array, ...]]:
    def logit(image, params, domain):
        return discriminate(params, image, config=config.discriminator)[domain]

    def judged(params, sample, fake):
        real, slope = jax.value_and_grad(logit)(sample.image, params, sample.domain)
        fake = logit(fake, params, sample.target)
        return discriminator_loss(real, fake), r1_penalty(slope), real, fake

    def loss(params):
        means = tuple(map(jnp.mean, jax.vmap(judged, (None, 0, 0))(params, samples, fakes)))
        return means[0] + config.lambda_r1 * means[1], means

    gradients, means = jax.grad(loss, has_aux=True)(state.discriminator)
    params, optimizer = _descend(state.discriminator, gradients, state.discriminator_optimizer, config)
    return state._replace(discriminator=params, discriminator_optimizer=optimizer), means


def _losses(
    networks: tuple[Params, Params],
    discriminator: Params,
    sample: _Sample,
    made: _Translation,
    *,
    perceptual: Features | None,
    masks: Masks | None,
    config: L2MConfig,
) -> tuple[Array, ...]:
    """Of what was made of a sample, and of the way back."""
    reduction: Any = config.reduction
    logit = discriminate(discriminator, made.image, config=config.discriminator)[sample.target]
    found = encode(networks[1], made.image, sample.target, config=config.style_encoder)
    cycled = _drawn(networks[0], made.image, made.s, masks, config)
    features = jnp.zeros((2, 1)) if perceptual is None else (perceptual(sample.image), perceptual(made.image))
    return (
        generator_loss(logit),
        cycle_loss(sample.image, cycled, reduction=reduction),
        style_loss(made.style, found, reduction=reduction),
        perceptual_loss(*features, reduction=reduction),
        made.orthogonality,
    )


def _descend(params: Any, gradients: Any, optimizer_state: Any, config: L2MConfig) -> tuple[Any, Any]:
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to the power of an integer
        updates, optimizer_state = _optimizer(config).update(gradients, optimizer_state, params)
    return optax.apply_updates(params, updates), optimizer_state
