"""L2M-GAN: styles by the paper's equations, losses against float64, a step against its own definition."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from oracles import f64
from test_l2m_networks import params_of
from test_networks import check, normal
from untrained import QUICKLY

from jaxedit import l2m_gan
from jaxedit.methods.l2m_gan import L2MConfig, L2MState, StepInfo
from jaxedit.networks.l2m_discriminator import L2MDiscriminatorConfig, discriminate
from jaxedit.networks.l2m_generator import L2MGeneratorConfig, translate
from jaxedit.networks.l2m_style_encoder import L2MStyleEncoderConfig, encode

BATCH = 8
CONFIG = L2MConfig(
    generator=L2MGeneratorConfig(64, 2, 4, 6),
    style_encoder=L2MStyleEncoderConfig(64, 2, 4, 6, 3),
    discriminator=L2MDiscriminatorConfig(64, 2, 4, 3),
    batch_size=BATCH,
    ema_decay=0.9,
)
BASELINE = dataclasses.replace(
    CONFIG,
    style_encoder=dataclasses.replace(CONFIG.style_encoder, transform_layers=0),
    lambda_per=0.0,
    lambda_ort=0.0,
)


# Styles.


def encoder() -> Any:
    return params_of(CONFIG.style_encoder)


def test_the_parts_make_the_style():
    """Protects: s = s_un + s_re, P before the residual."""
    s = normal(0, 6)
    s_un, s_re = l2m_gan.decompose(encoder(), s)
    np.testing.assert_array_equal(s_re, s - s_un)
    np.testing.assert_allclose(s_un + s_re, s, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("strength", [0, 0.5, 1.0, 1.25])
def test_strengths(strength: float):
    """Protects: Eq. 8; 0 is the style itself and 1 the edit of Eq. 1, to the last bit."""
    s, domain = normal(0, 6), 2
    s_un, s_re = map(f64, l2m_gan.decompose(encoder(), s))
    s_re_target = f64(l2m_gan.transform(encoder(), jnp.asarray(s_re, jnp.float32), domain))
    found = l2m_gan.edited_style(encoder(), s, domain, strength=strength)
    check(found, s_un + s_re + strength * (s_re_target - s_re))
    if strength == 0:
        np.testing.assert_array_equal(found, s)
    if strength == 1:
        np.testing.assert_array_equal(found, jnp.float32(s_un) + jnp.float32(s_re_target))
        np.testing.assert_array_equal(found, l2m_gan.edited_style(encoder(), s, domain))


def test_references():
    """Protects: Eq. 10: what the domain does not concern is of the source, the rest of the reference."""
    source, reference = normal(0, 6), normal(1, 6)
    parts = [tuple(map(f64, l2m_gan.decompose(encoder(), s))) for s in (source, reference)]
    check(l2m_gan.reference_style(encoder(), source, reference), parts[0][0] + parts[1][1])
    np.testing.assert_allclose(l2m_gan.reference_style(encoder(), source, source), source, rtol=1e-5, atol=1e-6)


# Losses.


def logits(seed: int) -> jax.Array:
    return jnp.concatenate([3 * normal(seed, 6), jnp.array([-200.0, -30.0, 0.0, 30.0, 200.0])])


def log_one_plus_exp(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


LOSSES = {
    "discriminator_loss": (
        lambda: (logits(0), logits(1)[::-1]),
        lambda real, fake: log_one_plus_exp(-real) + log_one_plus_exp(fake),
    ),
    "generator_loss": (lambda: (logits(0),), lambda fake: log_one_plus_exp(-fake)),
    "r1_penalty": (lambda: (normal(0, 5, 4, 4, 3),), lambda slopes: 0.5 * np.sum(slopes**2, (1, 2, 3))),
    "cycle_loss": (lambda: (normal(0, 4, 4, 3), normal(1, 4, 4, 3)), lambda a, b: np.abs(a - b)),
    "style_loss": (lambda: (normal(0, 6), normal(1, 6)), lambda a, b: np.abs(a - b)),
    "perceptual_loss": (lambda: (normal(0, 9), normal(1, 9)), lambda a, b: np.abs(a - b)),
    "orthogonality_loss": (
        lambda: (normal(0, 6), normal(1, 6), normal(2, 6)),
        lambda un, re, target: np.abs(re * un) + np.abs(target * un),
    ),
}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_in_float64(name: str, reduction: Any):
    """Protects: every loss, both reductions, logits up to 200 with gradients that are finite."""
    make, expected = LOSSES[name]
    arguments, function = make(), getattr(l2m_gan, name)
    found, wanted = function(*arguments, reduction=reduction), getattr(np, reduction)(expected(*map(f64, arguments)))
    assert abs(float(found) - wanted) <= 1e-5 * abs(wanted)
    assert float(function(*arguments)) == float(function(*arguments, reduction="mean"))
    slopes = jax.grad(functools.partial(function, reduction=reduction), tuple(range(len(arguments))))(*arguments)
    assert all(np.isfinite(slope).all() for slope in slopes)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", ["inner", "single"])
def test_inner_products(kind: Any, reduction: Any):
    """Protects: the variants of Table 3, of a batch."""
    un, re, target = (normal(seed, 5, 6) for seed in range(3))
    reduce = getattr(np, reduction)
    terms = np.abs(reduce(f64(re) * f64(un), axis=1))
    if kind == "inner":
        terms = terms + np.abs(reduce(f64(target) * f64(un), axis=1))
    found = l2m_gan.orthogonality_loss(un, re, target, kind=kind, reduction=reduction)
    np.testing.assert_allclose(found, reduce(terms), rtol=1e-5)


def test_weights_are_the_papers():
    """Protects: Eq. 7 with the published weights, and Adam's constants."""
    config = L2MConfig()
    found = l2m_gan.overall_loss(*map(jnp.float32, (1.0, 10.0, 100.0, 1e3, 1e4)), config=config)
    assert float(found) == 1 + 10 + 200 + 2e3 + 1e4
    assert (config.lambda_r1, config.learning_rate, config.betas, config.batch_size) == (1.0, 1e-4, (0.0, 0.99), 8)
    assert (config.ema_decay, config.reduction, config.orthogonality) == (0.999, "mean", "l1")


def test_options_that_do_not_exist(unchecked: None):
    """Protects: a misspelt option is not another one."""
    wrong: Any = "average"
    with pytest.raises(ValueError, match="reduction is 'average'"):
        l2m_gan.cycle_loss(jnp.zeros(2), jnp.zeros(2), reduction=wrong)
    with pytest.raises(ValueError, match="kind is 'average'"):
        l2m_gan.orthogonality_loss(jnp.zeros(2), jnp.zeros(2), jnp.zeros(2), kind=wrong)


# Training.


def perceptual(image: jax.Array) -> jax.Array:
    return jnp.mean(image.reshape(8, 8, 8, 8, 3), axis=(1, 3))


def masks(image: jax.Array) -> tuple[jax.Array, jax.Array]:
    grey = jax.nn.sigmoid(jnp.mean(image, axis=2))
    return grey, 1 - grey


def batch() -> tuple[jax.Array, jax.Array, jax.Array]:
    images = jax.random.uniform(jax.random.key(2), (BATCH, 64, 64, 3), minval=-1.0)
    return images, jnp.arange(BATCH, dtype=jnp.int32) % 3, jnp.arange(BATCH, dtype=jnp.int32) // 3


def started(config: L2MConfig) -> L2MState:
    """A state whose biases are not zero, as after some training."""
    state = jax.jit(functools.partial(l2m_gan.init, config=config), compiler_options=QUICKLY)(jax.random.key(0))
    networks = {name: params_of(getattr(config, name)) for name in ("generator", "style_encoder", "discriminator")}
    return state._replace(**networks)


@functools.cache
def program(config: L2MConfig, **options: Any) -> Any:
    return jax.jit(functools.partial(l2m_gan.step, config=config, **options), compiler_options=QUICKLY)


@functools.cache
def stepped() -> tuple[L2MState, StepInfo]:
    """On many devices: the batch divided, the state replicated."""
    mesh = Mesh(np.array(jax.devices()), ("batch",), axis_types=(AxisType.Auto,))
    divided, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("batch",), ()))
    after, info = program(CONFIG, perceptual=perceptual, masks=masks)(
        jax.device_put(started(CONFIG), whole), *jax.device_put(batch(), divided)
    )
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(after))
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), (after, info))


@pytest.mark.slow
def test_a_step_descends_what_the_paper_says():
    """Protects: both updates: losses and gradients written down once more for a batch on one device."""
    before, (after, info) = started(CONFIG), stepped()
    images, domains, targets = batch()
    rows = jnp.arange(BATCH)

    def styles(encoder: Any, images: Any, domains: Any) -> Any:
        return jax.vmap(lambda x, y: encode(encoder, x, y, config=CONFIG.style_encoder))(images, domains)

    def drawn(generator: Any, images: Any, styles: Any) -> Any:
        fixed = jax.lax.stop_gradient(jax.vmap(masks)(images))
        call = functools.partial(translate, generator, config=CONFIG.generator)
        return jax.vmap(lambda x, s, m: call(x, s, masks=m))(images, styles, fixed)

    def judged(params: Any, images: Any) -> Any:
        return jax.vmap(lambda x: discriminate(params, x, config=CONFIG.discriminator))(images)

    def translation(networks: Any) -> Any:
        s = styles(networks[1], images, domains)
        s_un, s_re = jax.vmap(functools.partial(l2m_gan.decompose, networks[1]))(s)
        s_new = jax.vmap(functools.partial(l2m_gan.transform, networks[1]))(s_re, targets)
        return s, s_un, s_re, s_new, drawn(networks[0], images, s_un + s_new)

    def of_discriminator(params: Any, fakes: Any) -> Any:
        real, fake = judged(params, images)[rows, domains], judged(params, fakes)[rows, targets]
        slopes = jax.grad(lambda images: jnp.sum(judged(params, images)[rows, domains]))(images)
        r1 = 0.5 * jnp.sum(jnp.square(slopes)) / BATCH
        adversarial = -jnp.mean(jax.nn.log_sigmoid(real) + jax.nn.log_sigmoid(-fake))
        return adversarial + r1, (adversarial, r1, jnp.mean(real), jnp.mean(fake))

    def of_others(networks: Any) -> Any:
        s, s_un, s_re, s_new, fakes = translation(networks)
        terms = (
            -jnp.mean(jax.nn.log_sigmoid(judged(after.discriminator, fakes)[rows, targets])),
            jnp.mean(jnp.abs(drawn(networks[0], fakes, s) - images)),
            jnp.mean(jnp.abs(styles(networks[1], fakes, targets) - (s_un + s_new))),
            jnp.mean(jnp.abs(jax.vmap(perceptual)(fakes) - jax.vmap(perceptual)(images))),
            jnp.mean(jnp.abs(s_re * s_un)) + jnp.mean(jnp.abs(s_new * s_un)),
        )
        return sum(weight * term for weight, term in zip((1, 1, 2, 2, 1), terms, strict=True)), terms

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def expected() -> Any:
        networks = before.generator, before.style_encoder
        fakes = translation(networks)[-1]
        first = jax.grad(of_discriminator, has_aux=True)(before.discriminator, fakes)
        return first, jax.grad(of_others, has_aux=True)(networks)

    (discriminator, judgement), (networks, terms) = expected()
    np.testing.assert_allclose(np.array(info), np.array([*judgement, *terms]), rtol=2e-5)
    for gradients, params, optimizer in (
        (discriminator, before.discriminator, after.discriminator_optimizer),
        (networks, (before.generator, before.style_encoder), after.optimizer),
    ):
        # With a first beta of 0, Adam's first moment is the gradient.
        moments = jax.tree.leaves(optimizer[1][0].mu)
        for moment, gradient, leaf in zip(moments, *map(jax.tree.leaves, (gradients, params)), strict=True):
            wanted = f64(gradient) + CONFIG.weight_decay * f64(leaf)
            np.testing.assert_allclose(moment, wanted, rtol=1e-3, atol=2e-5 * max(np.abs(wanted).max(), 0.1))


@pytest.mark.slow
def test_a_step_moves_everything():
    """Protects: Adam's rate for every parameter, averages by their decay, the count of steps."""
    before, (after, _) = started(CONFIG), stepped()
    assert int(after.step) == 1
    for name in ("generator", "style_encoder", "discriminator"):
        moved = jax.tree.map(lambda new, old: jnp.max(jnp.abs(new - old)), *(getattr(x, name) for x in (after, before)))
        assert all(0 < float(leaf) < 1.01e-4 for leaf in jax.tree.leaves(moved)), name
    for name in ("generator", "style_encoder"):
        wanted = jax.tree.map(
            lambda average, new: 0.9 * average + 0.1 * new, getattr(before, f"{name}_ema"), getattr(after, name)
        )
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), getattr(after, f"{name}_ema"), wanted
        )


@pytest.mark.slow
def test_the_baseline_takes_styles_of_references():
    """Protects: Table 3's baseline: no P, no DT, nor their losses; each target's style is a reference's."""
    before, (images, domains, targets) = started(BASELINE), batch()
    _, info = program(BASELINE)(before, images, domains, targets, references=images[::-1])
    assert float(info.perceptual_loss) == 0 == float(info.orthogonality_loss)

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def one(image: Any, target: Any, reference: Any) -> Any:
        style = encode(before.style_encoder, reference, target, config=BASELINE.style_encoder)
        fake = translate(before.generator, image, style, config=BASELINE.generator)
        return discriminate(before.discriminator, fake, config=BASELINE.discriminator)[target]

    found = [one(*given) for given in zip(images, targets, images[::-1], strict=True)]
    np.testing.assert_allclose(info.fake_logit, np.mean(found), rtol=1e-4)


def test_what_a_step_needs():
    """Protects: a missing or useless argument, and networks that do not belong together, are named."""
    state, given = jax.eval_shape(functools.partial(l2m_gan.init, config=CONFIG), jax.random.key(0)), batch()
    with pytest.raises(ValueError, match="perceptual is needed for a lambda_per above 0 only; lambda_per is 2.0"):
        l2m_gan.step(state, *given, config=CONFIG)
    with pytest.raises(ValueError, match="references are needed"):
        l2m_gan.step(state, *given, config=CONFIG, perceptual=perceptual, references=given[0])
    with pytest.raises(ValueError, match="references are needed"):
        l2m_gan.step(state, *given, config=BASELINE)
    for change, message in (
        ({"generator": L2MGeneratorConfig(64, 2, 4, 7)}, "agree in style_dim; they have 7, 6"),
        ({"discriminator": L2MDiscriminatorConfig(64, 2, 4, 2)}, "agree in domains; they have 3, 2"),
        ({"style_encoder": BASELINE.style_encoder}, "lambda_ort is 1.0; it has to be 0"),
        ({"batch_size": 0}, "batch_size is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(CONFIG, **change)
