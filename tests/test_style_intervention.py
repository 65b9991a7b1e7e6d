"""jaxedit.methods.style_intervention, and the staged synthesis under it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from slowly import first_quick
from untrained import QUICKLY, untrained

from jaxedit import stage_programs
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator, join_styles
from jaxedit.generators.stylegan2_staged import StagedStyleGAN2
from jaxedit.methods import style_intervention
from jaxedit.methods.style_intervention import InterventionConfig, Problem, edited_codes
from jaxedit.staged import Prepared, prepare, render, synthesize

CONFIG = StyleGAN2Config(resolution=16, z_dim=24, w_dim=32, channel_base=256, channel_max=16, mapping_layers=2)
KINDS = [("s", False), ("s", True), ("w_plus", False), ("w_plus", True), ("w", False)]
ONE_QUICK = [*(pytest.param(*kind, marks=pytest.mark.slow) for kind in KINDS[:-1]), KINDS[-1]]


def made() -> StyleGAN2Generator:
    return StyleGAN2Generator(untrained(CONFIG), CONFIG)


def latents(generator: StyleGAN2Generator, space: str, count: int) -> Any:
    """Latents of a space of random z."""
    w = jax.vmap(generator.map)(jax.random.normal(jax.random.key(1), (count, 24)))
    if space == "w":
        return w
    rows = jnp.repeat(w[:, None], CONFIG.num_ws, axis=1)
    return rows if space == "w_plus" else jax.vmap(generator.styles)(rows)


def pick(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def posed(space: Any = "s", joint: bool = False) -> tuple[StagedStyleGAN2, Problem]:
    generator = made()
    synthesis = StagedStyleGAN2(generator, space, joint)
    found = latents(generator, space, 3)
    mask = np.zeros((16, 16), bool)
    mask[4:12, 4:12] = True
    normal = jax.tree.map(lambda a, b: a - b, pick(found, 2), pick(found, 0))
    return synthesis, style_intervention.pose(synthesis, pick(found, 0), pick(found, 1), normal, mask)


@pytest.mark.parametrize(("space", "joint"), ONE_QUICK)
def test_every_stage_renders_the_same_image(space: Any, joint: bool):
    """Protects: the protocol: what is kept before a stage and what is computed after it make the whole image."""
    generator = made()
    synthesis = StagedStyleGAN2(generator, space, joint)
    latent, other = (pick(latents(generator, space, 2), index) for index in range(2))
    codes, others = synthesis.codes(latent), synthesis.codes(other)
    styles = latent if space == "s" else generator.styles(latent)
    expected = np.asarray(generator.synthesize(styles))
    assert len(codes) == (1 if joint or space == "w" else {"s": 8, "w_plus": 6}[space])
    state = synthesis.start()
    for index in range(len(codes)):
        # What does not depend on the code is prepared with a wrong one.
        changed = (*codes[:index], others[index], *codes[index + 1 :])
        image = render(synthesis, prepare(synthesis, state, changed, index=index), codes, index=index)
        np.testing.assert_allclose(image, expected, atol=2e-5 * np.abs(expected).max())
        state = synthesis.stage(state, codes[index], index=index)


def test_problem_is_scaled_as_the_algorithm_says():
    """Protects: lines 1 and 2 of Algorithm 1, and Eq. 5 at its ends."""
    synthesis, problem = posed()
    flat = {name: np.asarray(join_styles(getattr(problem, name))) for name in ("displacement", "normal")}
    np.testing.assert_allclose(np.linalg.norm(flat["normal"]), np.linalg.norm(flat["displacement"]), rtol=1e-5)
    zeros, ones = (jax.tree.map(lambda c, v=value: jnp.full_like(c, v), problem.codes) for value in (0.0, 1.0))
    np.testing.assert_allclose(join_styles(style_intervention.merged(problem, zeros)), flat["displacement"])
    np.testing.assert_allclose(join_styles(style_intervention.merged(problem, ones)), flat["normal"])
    assert problem.outside.sum() == 256 - 64


def reference(synthesis: StagedStyleGAN2, problem: Problem, config: InterventionConfig) -> tuple[Any, list[int]]:
    """Algorithm 1 as it is printed, with whole images, descent, and early stopping."""

    def loss(coefficients: Any) -> jax.Array:
        change = style_intervention.merged(problem, coefficients)
        codes = tuple(c + d for c, d in zip(problem.codes, change, strict=True))
        image = synthesis.generator.synthesize(codes)
        square = jnp.square(problem.outside[..., None] * (image - problem.image))
        a, b, c = (jnp.concatenate(parts) for parts in (problem.normal, change, coefficients))
        attribute = -a @ b / (jnp.linalg.norm(a) * jnp.linalg.norm(b))
        norm = jnp.where(c @ c > 0, jnp.sqrt(jnp.where(c @ c > 0, c @ c, 1)), 0)
        return square.mean() + config.attribute_weight * attribute + config.norm_weight * norm

    value_and_grad = jax.jit(jax.value_and_grad(loss))
    coefficients = [jnp.zeros_like(code) for code in problem.codes]
    steps = []
    for layer in range(len(coefficients)):
        adam = optax.adam(config.learning_rate)
        moments, before, count = adam.init(coefficients[layer]), np.inf, 0
        for _ in range(config.max_steps):
            value, gradient = value_and_grad(tuple(coefficients))
            if abs(value - before) < config.tolerance:
                break
            with jax.numpy_dtype_promotion("standard"):
                updates, moments = adam.update(gradient[layer], moments)
            moved: Any = optax.apply_updates(coefficients[layer], updates)
            coefficients[layer] = jnp.clip(moved, 0, 1)
            before, count = value, count + 1
        steps.append(count)
    return tuple(coefficients), steps


def test_run_equals_algorithm_1():
    """Protects: layer by layer, a fresh Adam each, frozen coefficients before and after, clamps and early stopping."""
    synthesis, problem = posed()
    config = InterventionConfig(learning_rate=0.1, max_steps=6, tolerance=2e-3)
    found = jax.jit(lambda p: style_intervention.run(synthesis, p, config=config))(problem)
    expected, steps = reference(synthesis, problem, config)
    assert found.steps.tolist() == steps and 6 in steps and min(steps) < 6
    for got, want in zip(found.coefficients, expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-3)
        assert got.min() >= 0 and got.max() <= 1
    assert max(float(part.max()) for part in found.coefficients) > 0.2


@pytest.mark.parametrize(("space", "joint"), ONE_QUICK)
def test_the_loss_falls(space: Any, joint: bool):
    """Protects: descent, not ascent, in every space and mode; the image outside the mask stays nearer."""
    synthesis, problem = posed(space, joint)
    config = InterventionConfig(max_steps=10, tolerance=0.0)
    run = functools.partial(style_intervention.run, synthesis, config=config)
    state = jax.jit(run, compiler_options=QUICKLY)(problem)
    assert state.steps.tolist() == [10] * len(problem.codes)

    def outside(coefficients: Any) -> float:
        codes = edited_codes(problem, coefficients)
        image = synthesize(synthesis, codes)
        return float(jnp.mean(jnp.square(problem.outside[..., None] * (image - problem.image))))

    assert outside(state.coefficients) < 0.9 * outside(jax.tree.map(jnp.zeros_like, state.coefficients))


@pytest.mark.parametrize("pixel_loss", first_quick(["norm", "mean_square", "none"]))
def test_first_step_is_finite_and_of_its_layer_only(pixel_loss: Any):
    """Protects: gradients where norms are 0, also for an edit that changes nothing; other layers are left alone."""
    synthesis, problem = posed()
    config = InterventionConfig(pixel_loss=pixel_loss)
    still = problem._replace(displacement=jax.tree.map(jnp.zeros_like, problem.codes))
    for one in (problem, still):
        first = jax.jit(
            lambda p, s: style_intervention.step(
                synthesis, p, Prepared(synthesis.start(), None), s, layer=0, config=config
            )
        )
        state, losses = first(one, style_intervention.init(one, config=config))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.coefficients, losses)))
        assert not any(part.any() for part in state.coefficients[1:]) and state.steps.tolist() == [1, *[0] * 7]


def batch_of_problems() -> tuple[StagedStyleGAN2, Problem]:
    """Sixteen problems that end after different numbers of steps."""
    synthesis, problem = posed()
    weights = np.resize([1.0, 0.0, 0.3, 1.0, 0.05], 16)
    outside = jnp.stack([weight * problem.outside for weight in weights])
    problems = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(weights)), problem)
    return synthesis, problems._replace(outside=outside)


@pytest.mark.slow
def test_images_of_a_batch_stop_on_their_own():
    """Protects: an image's result from its neighbours' steps when those that ended are taken out, as under `vmap`."""
    synthesis, problems = batch_of_problems()
    config = InterventionConfig(max_steps=8)
    run = functools.partial(style_intervention.run, synthesis, config=config)
    mapped = jax.jit(jax.vmap(run), compiler_options=QUICKLY)(problems)
    compacted = style_intervention.run_batch(synthesis, problems, config=config, smallest=4)
    np.testing.assert_array_equal(compacted.steps, mapped.steps)
    for got, want in zip(compacted.coefficients, mapped.coefficients, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4)
    assert len({tuple(row) for row in mapped.steps.tolist()}) >= 3


@pytest.mark.slow
@pytest.mark.parametrize(("space", "joint"), KINDS)
def test_programs_of_the_stages_give_images_and_gradients(space: Any, joint: bool):
    """Protects: the chain of programs, forward and back, from any stage, and each sample from its neighbours."""
    generator = made()
    synthesis = StagedStyleGAN2(generator, space, joint)
    codes = jax.vmap(synthesis.codes)(latents(generator, space, 2))
    expected = jax.vmap(functools.partial(synthesize, synthesis))(codes)
    scale = float(jnp.abs(expected).max())
    states = stage_programs.start(synthesis, count=2)
    for index, code in enumerate(codes):
        prepared = stage_programs.prepare(synthesis, states, codes, index=index)
        images, pull = stage_programs.render(synthesis, prepared, codes, index=index)
        np.testing.assert_allclose(images, expected, atol=2e-5 * scale)

        def draw(code: Any, index: int = index) -> jax.Array:
            changed = (*codes[:index], code, *codes[index + 1 :])
            return jax.vmap(functools.partial(synthesize, synthesis))(changed)

        (wanted,) = jax.vjp(draw, code)[1](expected)
        np.testing.assert_allclose(pull(expected), wanted, atol=2e-5 * np.abs(wanted).max())
        states = stage_programs.advance(synthesis, states, codes, index=index)
    np.testing.assert_allclose(states, expected, atol=2e-5 * scale)
    np.testing.assert_array_equal(stage_programs.synthesize(synthesis, codes), states)


@pytest.mark.slow
def test_layers_share_the_programs_of_the_stages():
    """Protects: the time to the first picture: a program for each stage, whichever layers are optimised before it."""
    synthesis, problem = posed()
    problems = jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), problem)  # a size of its own
    stage: Any = stage_programs._stage
    before = stage._cache_size()
    style_intervention.run_batch(synthesis, problems, config=InterventionConfig(max_steps=2, tolerance=0.0))
    assert stage._cache_size() - before == len(problem.codes)


@pytest.mark.parametrize("batched", first_quick([False, True]))
def test_what_is_not_finite_is_seen_in_the_loss(batched: bool):
    """Protects: an edit that cannot be drawn from looking like one that has converged."""
    synthesis, problem = posed(joint=True)
    broken = problem._replace(displacement=jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), problem.displacement))
    problems = jax.tree.map(lambda *leaves: jnp.stack(leaves), problem, broken)
    config = InterventionConfig(max_steps=2, tolerance=0.0)
    run = functools.partial(style_intervention.run, config=config)
    mapped = jax.jit(jax.vmap(run, (None, 0)), compiler_options=QUICKLY)
    state = style_intervention.run_batch(synthesis, problems, config=config) if batched else mapped(synthesis, problems)
    assert np.isfinite(state.loss).tolist() == [True, False] and state.steps.tolist() == [[2], [0]]
