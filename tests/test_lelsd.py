"""jaxedit.methods.lelsd against float64 transcriptions of its formulas, and on generators whose answer is known."""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from slowly import first_quick

from jaxedit import lelsd
from jaxedit.methods.lelsd import OFFICIAL, PAPER, LelsdConfig

SIZES = [(4, 4, 6), (8, 8, 5), (8, 8, 5), (16, 16, 4), (32, 32, 3)]


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def masks(*size: int, soft: bool = True) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(5).uniform(size=(2, *size)).astype(np.float32)
    values = values if soft else np.round(values)
    return values[0], values[1]


def hats(size: int, new: int, antialias: bool) -> np.ndarray:
    """`[new, size]` weights of bilinear interpolation, half-pixel centres; antialiased by wider triangles."""
    scale = size / new
    width = max(scale, 1.0) if antialias else 1.0
    centres = (np.arange(new) + 0.5) * scale - 0.5
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(size)) / width)
    return weights / weights.sum(axis=1, keepdims=True)


def corners(size: int, new: int) -> np.ndarray:
    """`[new, size]` weights of bilinear interpolation that keeps the corners."""
    places = np.linspace(0, size - 1, new)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size)))


def expected_masks(mask: np.ndarray, sizes: list[tuple[int, ...]], resize: str) -> list[np.ndarray]:
    if resize == "direct":
        return [hats(len(mask), h, True) @ mask @ hats(mask.shape[1], w, True).T for h, w, _ in sizes]
    found, current, last = [], mask, None
    for h, w, _ in reversed(sizes):
        if last != h:
            current = mask if h == len(mask) else corners(len(current), h) @ current @ corners(len(current), w).T
        last = h
        found.append(current)
    return found[::-1]


def expected_scores(before: Any, after: Any, first: np.ndarray, second: np.ndarray, config: LelsdConfig) -> np.ndarray:
    a, b = first.astype(np.float64), second.astype(np.float64)
    whole = {"average": 0.5 * a + 0.5 * b, "union": a + b - a * b, "intersection": a * b}[config.aggregation]
    scores = []
    for x, y, mask in zip(before, after, expected_masks(whole, SIZES, config.resize), strict=True):
        x, y = x.astype(np.float64), y.astype(np.float64)
        if config.distance == "cosine":
            change = 1 - (x * y).sum(-1) / (np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1))
        else:
            change = (np.square(x - y) if config.distance == "l2" else np.abs(x - y)).mean(-1)
        mask = 1 - mask if config.background else mask
        scores.append((change * mask).sum() / (change.sum() + config.epsilon))
    return np.array(scores)


@pytest.mark.parametrize("size", first_quick([(64, 64), (16, 16), (3, 3)]))
@pytest.mark.parametrize(
    ("distance", "aggregation", "resize"),
    list(itertools.product(("l2", "l1", "cosine"), ("average", "union", "intersection"), ("direct", "cascade"))),
)
def test_scores_equal_a_transcription(size: tuple[int, int], distance: Any, aggregation: Any, resize: Any):
    """Protects: Eq. 2 in all its forms: masks smaller and larger than the layers, soft ones, weights, background."""
    before = [drawn(*shape, seed=layer) for layer, shape in enumerate(SIZES)]
    after = [x + 0.5 * drawn(*x.shape, seed=10 + layer) for layer, x in enumerate(before)]
    for background, epsilon in ((False, 0.0), (True, 1e-6)):
        config = LelsdConfig(
            distance=distance, aggregation=aggregation, resize=resize, background=background, epsilon=epsilon
        )
        weighted = dataclasses.replace(config, layer_weights=(0.0, 1.0, 2.0, 0.5, 3.0))
        given = (before, after, *masks(*size))
        expected = expected_scores(*given, config)
        np.testing.assert_allclose(lelsd.layer_scores(*given, config=config), expected, atol=1e-6)
        np.testing.assert_allclose(lelsd.localization_score(*given, config=config), expected.mean(), atol=1e-6)
        weights = np.array(weighted.layer_weights)
        score = lelsd.localization_score(*given, config=weighted)
        np.testing.assert_allclose(score, (expected * weights).sum() / weights.sum(), atol=1e-6)


def test_tiny_changes_feel_epsilon():
    """Protects: the released code's denominator, which matters where little changes; without it nothing does."""
    before = [drawn(4, 4, 3)]
    after = [before[0] + np.float32(1e-3) * drawn(4, 4, 3, seed=1)]
    inside = np.ones((4, 4), np.float32)
    change = np.square(after[0].astype(np.float64) - before[0]).mean(-1).sum()
    scores = [float(lelsd.localization_score(before, after, inside, inside, config=c)) for c in (OFFICIAL, PAPER)]
    np.testing.assert_allclose(scores, [change / (change + 1e-6), 1], rtol=1e-5)


def test_nothing_and_empty_masks_are_no_nan():
    """Protects: score and gradient where an edit changes nothing, or no pixel belongs to the part."""
    before, empty = [drawn(4, 4, 3)], np.zeros((8, 8), np.float32)
    for config in (PAPER, OFFICIAL, LelsdConfig(distance="cosine"), LelsdConfig(distance="l1")):

        def score(scale: Any, mask: Any, config: LelsdConfig = config) -> Any:
            after = [x + scale * jnp.ones_like(x) for x in before]
            return lelsd.localization_score(before, after, mask, mask, config=config)

        for scale, mask in ((0.0, 1 - empty), (1.0, empty), (0.0, empty)):
            value, slope = jax.value_and_grad(score)(jnp.float32(scale), mask)
            assert np.isfinite(value) and np.isfinite(slope)
            np.testing.assert_allclose(value, 0, atol=1e-6)


def expected_regularizer(directions: np.ndarray, kind: str) -> float:
    def correlations(flat: np.ndarray) -> np.ndarray:
        unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        return unit @ unit.T - np.eye(len(unit))

    rows = directions.astype(np.float64)
    if kind == "paper":
        return -0.5 * np.linalg.norm(correlations(rows.reshape(len(rows), -1)))
    rows = rows.reshape(len(rows), -1, rows.shape[-1])
    return -np.mean([np.abs(correlations(rows[:, row])).mean() for row in range(rows.shape[1])])


@pytest.mark.parametrize("shape", [(1, 12), (2, 12), (3, 12), (1, 4, 12), (2, 4, 12), (3, 4, 12)])
@pytest.mark.parametrize("kind", ["paper", "official"])
def test_the_regularizer_equals_a_transcription(shape: tuple[int, ...], kind: Any):
    """Protects: R and its gradient, whole or by rows; K = 1 has neither."""
    config, directions = LelsdConfig(regularizer=kind), drawn(*shape)
    value, slope = jax.value_and_grad(lambda u: lelsd.direction_regularizer(u, config=config))(jnp.asarray(directions))
    np.testing.assert_allclose(value, expected_regularizer(directions, kind), atol=1e-6)
    step, around = 1e-4, np.zeros_like(directions)
    for place in np.ndindex(*shape):
        moved = [directions.astype(np.float64) for _ in range(2)]
        for array, sign in zip(moved, (1, -1), strict=True):
            array[place] += sign * step
        ends = [expected_regularizer(array, kind) for array in moved]
        around[place] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(slope, around if shape[0] > 1 else 0, atol=1e-5)


def test_the_regularizer_of_styles():
    """Protects: a tuple of vectors: the mean over them, or all of them as one."""
    parts = (drawn(2, 5), drawn(2, 9, seed=1))
    official, paper = (lelsd.direction_regularizer(parts, config=c) for c in (OFFICIAL, PAPER))
    means = [expected_regularizer(part, "official") for part in parts]
    np.testing.assert_allclose(official, np.mean(means), atol=1e-6)
    np.testing.assert_allclose(paper, expected_regularizer(np.concatenate(parts, axis=1), "paper"), atol=1e-6)
    same = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(lelsd.direction_regularizer(same, config=OFFICIAL), -0.5, atol=1e-6)


def test_the_learning_rate_is_halved_when_each_says():
    """Protects: every 50 steps in the paper; in the code before steps 49, 99, 149 and 199. K scales both."""
    steps = np.arange(200)
    rates = [np.array([lelsd.learning_rate(i, config=config) for i in steps]) for config in (PAPER, OFFICIAL)]
    np.testing.assert_allclose(rates[0], 1e-3 * 0.5 ** (steps // 50))
    expected, rate = [], 1e-3
    for index in steps:
        rate /= 2 if index % 50 == 49 else 1
        expected.append(rate)
    np.testing.assert_allclose(rates[1], expected)
    two = dataclasses.replace(PAPER, directions=2)
    np.testing.assert_allclose([float(lelsd.learning_rate(i, config=two)) for i in (99, 100)], [1e-3, 5e-4])


MIXED = jnp.asarray(np.linalg.qr(drawn(3, 3, seed=3))[0])


def features(latent: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
    """Three coordinates move, mixed: the left half, the right half, and all; a fourth nothing."""
    left = (jnp.arange(8)[None, :, None] < 4).astype(jnp.float32)
    amounts = jnp.tanh(jnp.einsum("i,ij->j", latent[:3], MIXED))
    image = amounts[0] * left + amounts[1] * (1 - left) + amounts[2] * jnp.ones((8, 8, 3))
    return image, [jnp.sin(image), image]


def segment(image: jax.Array) -> jax.Array:
    return jnp.broadcast_to((jnp.arange(8)[None] < 4).astype(jnp.float32), (8, 8))


def both(image: jax.Array) -> jax.Array:
    return jnp.stack([segment(image), 1 - segment(image)])


def batches(config: LelsdConfig) -> jax.Array:
    return jnp.asarray(0.3 * drawn(config.total_steps, config.batch_size, 4))


@pytest.mark.parametrize("preset", [PAPER, OFFICIAL])
def test_a_toy_is_solved(preset: LelsdConfig):
    """Protects: the direction that moves the part alone is found, and what nothing reads is 0 in it."""
    config = dataclasses.replace(preset, learning_rate=0.03, steps=300)
    key = jax.random.key(1)
    start = lelsd.init(key, jnp.zeros(4), config=config)
    state, info = jax.jit(lambda s, z: lelsd.run(key, features, segment, s, z, config=config))(start, batches(config))
    assert float(info.score[0]) < 0.95
    assert float(info.score[-1]) > 0.99
    assert info.layer_scores.shape == (300, 2)
    direction = np.asarray(lelsd.found(state)[0], np.float64)
    assert direction[3] == 0
    amounts = direction[:3] @ np.asarray(MIXED, np.float64)
    np.testing.assert_allclose((amounts[1] + amounts[2]) / (amounts[0] + amounts[2]), 0, atol=0.05)
    np.testing.assert_allclose(info.part, 0.5)


@pytest.mark.slow
def test_parts_trained_together_equal_single_runs():
    """Protects: sharing the unedited samples among parts changes nothing, nor does computing some at a time."""
    config, key = dataclasses.replace(PAPER, steps=5, directions=2), jax.random.key(2)
    keys = jax.random.split(key, 2)
    starts = jax.vmap(lambda k: lelsd.init(k, jnp.zeros(4), config=config))(keys)

    @functools.partial(jax.jit, static_argnames="together")
    def stepped(states: lelsd.State, latents: Any, together: int | None) -> Any:
        samples = lelsd.observe(features, both, latents)
        return lelsd.step_parts(keys, features, both, states, samples, config=config, together=together)

    found = []
    for together in (None, 1):
        states = starts
        for latents in batches(config):
            states, info = stepped(states, latents, together)
            assert info.score.shape == (2,)
        found.append(states.directions)
    for part in range(2):
        start = jax.tree.map(lambda x, p=part: x[p], starts)
        alone, _ = lelsd.run(keys[part], features, lambda x, p=part: both(x)[p], start, batches(config), config=config)
        for states in found:
            np.testing.assert_allclose(states[part], alone.directions, atol=1e-6)


@pytest.mark.slow
def test_two_directions_alternate_and_repel():
    """Protects: each step trains one by its score, and the regulariser makes them perpendicular."""
    config = dataclasses.replace(PAPER, directions=2, steps=200, learning_rate=0.02, regularizer_weight=1.0)
    start = lelsd.init(jax.random.key(3), jnp.zeros(4), config=config)
    start = start._replace(directions=jnp.asarray([[1.0, 0.5, 0.2, 0], [1.0, 0.4, 0.3, 0]]))
    state, info = lelsd.run(jax.random.key(3), features, segment, start, batches(config), config=config)
    assert float(info.regularizer[0]) < -0.6
    assert float(info.regularizer[-1]) > -0.05
    free = dataclasses.replace(config, regularizer_weight=0.0)
    samples = lelsd.observe(features, segment, batches(config)[0])
    after, first = lelsd.step(jax.random.key(3), features, segment, start, samples, config=free)
    changed = np.any(np.asarray(after.directions != start.directions), axis=1)
    np.testing.assert_array_equal(changed, [True, False])
    assert first.index == 0
    np.testing.assert_array_equal(info.index[:4], [0, 1, 0, 1])


@pytest.mark.parametrize("one", [True, False])
def test_strengths_are_where_they_may_be(one: bool):
    """Protects: the range, the gap around 0, and one strength for a batch."""
    config = LelsdConfig(strengths=(-1.0, 3.0), smallest_strength=0.5, one_strength=one, batch_size=4000)

    def pixel(latent: Any) -> Any:
        return latent, [latent[None, None]]

    def whole(image: Any) -> Any:
        return jnp.ones((1, 1))

    start = lelsd.init(jax.random.key(0), jnp.zeros(4), config=config)
    samples = lelsd.observe(pixel, whole, jnp.zeros((4000, 4)))
    _, info = lelsd.step(jax.random.key(1), pixel, whole, start, samples, config=config)
    values = np.asarray(info.strengths)
    assert values.min() >= -1 and values.max() <= 3 and np.abs(values).min() >= 0.5
    assert (len(np.unique(values)) == 1) == one
    if not one:
        np.testing.assert_allclose(np.mean(values < 0), 0.5 / 3, atol=0.03)
    with pytest.raises(ValueError, match="strengths"):
        LelsdConfig(strengths=(-1.0, 1.0), smallest_strength=2.0)


def test_devices_do_not_matter():
    """Protects: the mean over a batch that is divided among eight devices."""
    config, key = dataclasses.replace(PAPER, batch_size=8, steps=5), jax.random.key(0)
    start = lelsd.init(key, jnp.zeros(4), config=config)
    run = jax.jit(lambda s, z: lelsd.run(key, features, segment, s, z, config=config))
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    divided = jax.device_put(batches(config), NamedSharding(mesh, PartitionSpec(None, "batch")))
    alone, spread = run(start, batches(config))[0], run(start, divided)[0]
    np.testing.assert_allclose(alone.directions, spread.directions, atol=1e-6)


def test_wrong_shapes_are_refused():
    """Protects: maps or weights that do not fit, in one line."""
    with pytest.raises(ValueError, match="feature maps of shapes"):
        lelsd.layer_scores([drawn(4, 4, 3)], [drawn(4, 4, 2)], *masks(4, 4), config=PAPER)
    with pytest.raises(ValueError, match="1 layer_weights for 2 layers"):
        lelsd.localization_score(
            [drawn(4, 4, 3)] * 2, [drawn(4, 4, 3)] * 2, *masks(4, 4), config=LelsdConfig(layer_weights=(1.0,))
        )
    with pytest.raises(ValueError, match="at least 1"):
        LelsdConfig(directions=0)
