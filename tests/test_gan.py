"""Adversarial training: penalties against other ways to differentiate, optimiser and averages against NumPy, a step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from untrained import QUICKLY

from jaxedit.generators import stylegan2, stylegan2_discriminator
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig
from jaxedit.training import gan, gan_terms
from jaxedit.training.gan_config import GanConfig, optimizer

CONFIG = GanConfig(
    generator=StyleGAN2Config(resolution=8, z_dim=6, w_dim=5, channel_base=64, channel_max=8, mapping_layers=2),
    discriminator=DiscriminatorConfig(resolution=8, channel_base=64, channel_max=8),
    batch_size=8,
    r1_gamma=1.0,
    r1_interval=3,
    path_length_interval=2,
    ema_rampup=None,
    ema_images=24.0,
    augment_target=0.6,
    augment_images=64.0,
)
SIZE = CONFIG.generator.resolution


@pytest.fixture(scope="module")
def start() -> gan.GanState:
    """A state whose noise strengths and biases are not zero, as after some training."""
    state = jax.jit(functools.partial(gan.init, config=CONFIG), compiler_options=QUICKLY)(jax.random.key(0))
    leaves, tree = jax.tree.flatten(state.generator)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    generator = jax.tree.unflatten(tree, moved)
    return state._replace(generator=generator, ema=jax.tree.map(jnp.copy, generator))


@pytest.fixture(scope="module")
def reals() -> jax.Array:
    return jax.random.uniform(jax.random.key(2), (CONFIG.batch_size, SIZE, SIZE, 3), minval=-1.0)


@pytest.fixture(scope="module")
def history(start, reals) -> list[tuple[gan.GanState, gan.StepInfo]]:
    """Five steps: the states after them, and what they reported."""
    step = jax.jit(functools.partial(gan.step, config=CONFIG), compiler_options=QUICKLY)
    steps = [(start, gan.StepInfo(*[jnp.float32(0.0)] * len(gan.StepInfo._fields)))]
    for _ in range(5):
        steps.append(step(steps[-1][0], reals))
    return steps


def changed(before, after) -> dict[str, bool]:
    pairs = zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True)
    return {jax.tree_util.keystr(path): bool((old != new).any()) for (path, old), new in pairs}


def test_r1_penalty_equals_finite_differences(start):
    """Protects: the squared gradient to every pixel, minibatch standard deviation included."""
    images = 0.5 * jax.random.normal(jax.random.key(3), (2, SIZE, SIZE, 3))
    found = jax.jit(functools.partial(gan_terms.r1_penalty, config=CONFIG))(start.discriminator, images)

    def total(flat):
        images = flat.reshape(2, SIZE, SIZE, 3)
        return jnp.sum(stylegan2_discriminator.discriminate(start.discriminator, images, config=CONFIG.discriminator))

    steps, flat = 1e-2 * jnp.eye(images.size), images.reshape(1, -1)
    higher, lower = (np.asarray(jax.jit(jax.vmap(total))(flat + sign * steps), np.float64) for sign in (1.0, -1.0))
    expected = np.sum(np.square((higher - lower) / 2e-2)) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_path_length_equals_the_explicit_jacobian(start):
    """Protects: |J^T y|, its scale, and the mean over the rows of w_plus; J by forward differentiation."""
    params, key = start.generator, jax.random.key(4)
    w = jax.random.normal(jax.random.key(5), (CONFIG.generator.num_ws, CONFIG.generator.w_dim))
    y = jax.random.normal(jax.random.key(6), (SIZE, SIZE, 3))
    found = jax.jit(functools.partial(gan_terms.path_length, config=CONFIG))(params, w, key, y)
    jacobian = np.asarray(jax.jit(jax.jacfwd(lambda w: gan_terms.fake_image(params, w, key, config=CONFIG)))(w))
    product = np.einsum("hwcnd,hwc->nd", jacobian, np.asarray(y)) / np.sqrt(SIZE * SIZE)
    np.testing.assert_allclose(found, np.sqrt(np.mean(np.sum(product**2, axis=1))), rtol=1e-4)


def test_optimizer_equals_adam_with_lazy_constants():
    """Protects: learning rate and betas with the exponent interval / (interval + 1), against Adam in float64."""
    config, gradients = dataclasses.replace(CONFIG, betas=(0.5, 0.9)), np.random.default_rng(0).normal(size=(4, 3))
    ratio = 4 / 5
    rate, b1, b2 = config.learning_rate * ratio, 0.5**ratio, 0.9**ratio
    adam = optimizer(config, 4)
    state, first, second, found = adam.init(jnp.zeros(3)), np.zeros(3), np.zeros(3), None
    for number, gradient in enumerate(gradients, 1):
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to the power of an integer
            found, state = adam.update(jnp.asarray(gradient, jnp.float32), state)
        first, second = b1 * first + (1 - b1) * gradient, b2 * second + (1 - b2) * gradient**2
        expected = -rate * (first / (1 - b1**number)) / (np.sqrt(second / (1 - b2**number)) + config.eps)
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4)


def test_a_generator_that_is_trained_already_is_spared_at_first():
    """Protects: the rest and the rise of the generator's learning rate, in images, the penalties' updates counted."""
    adam = optimizer(dataclasses.replace(CONFIG, betas=(0.0, 0.0)), 4, warmup_images=8.0 * CONFIG.batch_size)
    state, sizes = adam.init(jnp.zeros(())), []
    for _ in range(22):
        with jax.numpy_dtype_promotion("standard"):
            update, state = adam.update(jnp.float32(1.0), state)
        sizes.append(-float(np.asarray(update)))
    expected = np.clip(np.arange(22) / 10 - 1, 0, 1)
    np.testing.assert_allclose(sizes, 0.8 * CONFIG.learning_rate * expected, rtol=1e-4, atol=1e-9)


def test_fakes_mix_two_latents(start):
    """Protects: style mixing with its probability, from any row but the first on."""
    keys, rows = jax.random.split(jax.random.key(7), 2000), CONFIG.generator.num_ws
    draw = jax.jit(jax.vmap(lambda key: gan_terms.fake_code(key, start.generator, config=CONFIG)))
    z, first, w, crossover = map(np.asarray, draw(keys))
    map_z = jax.jit(jax.vmap(lambda z: stylegan2.map_latent(start.generator, z, config=CONFIG.generator)))
    np.testing.assert_allclose(first, map_z(z[:, 0]), rtol=1e-4, atol=1e-6)
    own = np.isclose(w, first[:, None], rtol=1e-4, atol=1e-6).all(2)
    taken = own.sum(1)
    assert own[:, 0].all() and (np.sort(own, axis=1)[:, ::-1] == own).all(), "first rows of one, last of the other"
    other = np.asarray(map_z(z[:, 1]))[:, None]
    assert (np.isclose(w, other, rtol=1e-4, atol=1e-6).all(2) | own).all(), "of the other"
    np.testing.assert_array_equal(crossover, taken)
    assert abs(np.mean(taken < rows) - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 2000)
    shares = np.bincount(taken[taken < rows], minlength=rows)[1:] / np.sum(taken < rows)
    np.testing.assert_allclose(shares, 1 / (rows - 1), atol=0.05)


def test_moving_average_has_its_half_life(start):
    """Protects: the decay for a batch, its ramp, and that buffers are taken over as they are."""
    decay = gan_terms.ema_decay(jnp.float32(1e6), config=CONFIG)
    np.testing.assert_allclose(float(decay) ** (CONFIG.ema_images / CONFIG.batch_size), 0.5, rtol=1e-5)
    early = gan_terms.ema_decay(jnp.float32(80.0), config=dataclasses.replace(CONFIG, ema_rampup=0.1))
    np.testing.assert_allclose(early, 0.5, rtol=1e-5)
    other = jax.tree.map(lambda leaf: leaf + 1.0, start.generator)
    average = gan_terms.update_ema(start.generator, other, jnp.float32(0.25))
    np.testing.assert_allclose(average["synthesis"]["const"], start.generator["synthesis"]["const"] + 0.75, rtol=1e-5)
    np.testing.assert_array_equal(average["mapping"]["w_avg"], other["mapping"]["w_avg"])


@pytest.mark.slow
def test_a_step_reports_what_the_discriminator_says(start, reals, history):
    """Protects: the logits of reals as they are before the update, and the penalties where they are due."""
    discriminate = functools.partial(stylegan2_discriminator.discriminate, config=CONFIG.discriminator)
    logits = jax.jit(discriminate)(start.discriminator, reals)
    info = history[1][1]
    np.testing.assert_allclose(info.real_logit, np.mean(logits), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(info.real_sign, np.mean(np.sign(logits)))
    assert [bool(np.isnan(info.r1_penalty)) for _, info in history[1:]] == [False, True, True, False, True]
    assert [bool(np.isnan(info.path_length)) for _, info in history[1:]] == [False, True, False, True, False]
    assert np.isfinite([info[:1] + info[3:7] for _, info in history]).all()


@pytest.mark.slow
def test_what_a_step_changes(start, history):
    """Protects: every weight is trained, noise maps are not, and w_avg follows the mapping network."""
    after = history[1][0]
    generator = changed(start.generator, after.generator)
    assert {name for name, moved in generator.items() if not moved} == {
        name for name in generator if "noise_const" in name
    }
    assert all(changed(start.discriminator, after.discriminator).values())
    assert int(history[-1][0].step) == 5
    z = jax.random.normal(jax.random.key(8), (4096, CONFIG.generator.z_dim))
    w = jax.jit(jax.vmap(lambda z: stylegan2.map_latent(start.generator, z, config=CONFIG.generator)))(z)
    before = np.asarray(start.generator["mapping"]["w_avg"])
    found = (np.asarray(after.generator["mapping"]["w_avg"]) - before) / (1 - CONFIG.w_avg_beta)
    deviation = np.std(w, axis=0) / np.sqrt(CONFIG.batch_size)
    assert (np.abs(found - (np.mean(w, axis=0) - before)) < 5 * deviation).all()


@pytest.mark.slow
def test_augmentation_adapts_every_four_steps(history):
    """Protects: the statistic over four steps, and that p then moves by their share of `augment_images`."""
    signs = np.mean([float(info.real_sign) for _, info in history[1:5]])
    moved = max(0.0, np.sign(signs - 0.6) * 4 * CONFIG.batch_size / CONFIG.augment_images)
    assert [float(state.augment_p) for state, _ in history] == [0, 0, 0, 0, moved, moved]
    assert float(history[4][0].real_signs) == 0 and float(history[5][0].real_signs) == float(history[5][1].real_sign)


@pytest.mark.slow
def test_a_sharded_step_equals_that_of_one_device(start, reals, history):
    """Protects: data-parallel training; noise, penalties and minibatch statistics see the whole batch."""
    mesh = Mesh(np.array(jax.devices()), ("batch",), axis_types=(AxisType.Auto,))
    split, shared = NamedSharding(mesh, PartitionSpec("batch")), NamedSharding(mesh, PartitionSpec())
    step = jax.jit(functools.partial(gan.step, config=CONFIG, sharding=split), compiler_options=QUICKLY)
    state, info = step(jax.device_put(start, shared), jax.device_put(reals, split))
    expected, expected_info = history[1]
    np.testing.assert_allclose(info, expected_info, rtol=1e-4, atol=1e-6)
    # Adam without momentum moves by the sign of a gradient: where that is rounding, it may differ.
    for name in ("generator", "discriminator", "ema"):
        pairs = zip(*(jax.tree.leaves(getattr(found, name)) for found in (state, expected)), strict=True)
        close = np.concatenate([np.isclose(a, b, rtol=1e-3, atol=1e-5).ravel() for a, b in pairs])
        assert np.mean(close) > 0.99


def test_it_starts_from_a_given_generator(start):
    """Protects: --init, and that the state may be donated."""
    init = jax.jit(functools.partial(gan.init, config=CONFIG), compiler_options=QUICKLY)
    state = init(jax.random.key(0), generator_params=start.generator)
    assert not any(changed(start.generator, state.generator).values())
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((state.generator, state.ema))]
    assert len(set(pointers)) == len(pointers)


BAD = {
    "c_dim has to be 0": {"generator": dataclasses.replace(CONFIG.generator, c_dim=2)},
    "agree in resolution; they have 16 px and 8 px": {
        "generator": dataclasses.replace(CONFIG.generator, resolution=16)
    },
    "batch_size is 6; it has to be a multiple of 4": {"batch_size": 6},
    "r1_interval is 0; it has to be positive": {"r1_interval": 0},
    "path_length_batch_shrink is 9; it has to be 1 to 8": {"path_length_batch_shrink": 9},
}


@pytest.mark.parametrize("message", BAD)
def test_impossible_configurations_are_refused(message):
    """Protects: one line before anything is compiled."""
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **BAD[message])


@pytest.mark.slow
def test_a_pair_loss_draws_fakes_to_what_it_says_of_their_codes(start, reals):
    """Protects: the generator goes down both slopes, and the loss knows where two latents are mixed."""
    rows = CONFIG.generator.num_ws

    def brightness(code, image):
        of_one = 100.0 * jnp.mean(jnp.square(image - jnp.tanh(code.z[0, 0])))
        return jnp.where(code.crossover == rows, of_one, 1.0)

    def after(style_mixing, pair_loss):
        config = dataclasses.replace(
            CONFIG, style_mixing=style_mixing, path_length_weight=0.0, r1_gamma=0.0, augment_target=None
        )
        step = jax.jit(functools.partial(gan.step, config=config, pair_loss=pair_loss), compiler_options=QUICKLY)
        states, infos = [start], []
        for _ in range(12):
            state, info = step(states[-1], reals)
            states.append(state)
            infos.append(info)
        return states, infos

    def distance(state):
        def of_one(z):
            w = stylegan2.map_latent(state.generator, z, config=CONFIG.generator)
            styles = stylegan2.styles(state.generator, w, config=CONFIG.generator)
            image = stylegan2.synthesize(state.generator, styles, config=CONFIG.generator, noise="none")
            return brightness(gan_terms.Code(z[None], w, w, jnp.int32(rows)), image)

        z = jax.random.normal(jax.random.key(9), (64, CONFIG.generator.z_dim))
        return float(jnp.mean(jax.jit(jax.vmap(of_one))(z)))

    (paired, infos), (alone, others) = after(0.0, brightness), after(0.0, None)
    assert distance(paired[-1]) < 0.8 * distance(start) and distance(paired[-1]) < 0.9 * distance(alone[-1])
    assert infos[0].pair_loss > 0 and np.isnan(others[0].pair_loss)
    assert infos[0].generator_loss == pytest.approx(float(others[0].generator_loss), rel=1e-5)
    assert after(1.0, brightness)[1][0].pair_loss == 1.0, "all fakes are mixed"
