"""SGF: the displacement, Algorithm 1 and its end per sample, the auxiliary mapping and its training, the curve."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowly import first_quick

from jaxedit import metrics, sgf
from jaxedit.networks import auxiliary_mapping
from jaxedit.nn.spectral import spectral_normalized
from jaxedit.training import supervised, surrogate

SIZE, CONDITIONS = 8, 3


def matrix(seed, *, radius, symmetric):
    """A Jacobian of a spectral radius; one that is not symmetric has a norm above 1."""
    rng = np.random.RandomState(seed)
    if symmetric:
        vectors = np.linalg.qr(rng.randn(SIZE, SIZE))[0]
        return vectors * (radius * np.linspace(-1, 1, SIZE)) @ vectors.T
    triangle = np.triu(rng.randn(SIZE, SIZE), 1) + np.diag(radius * np.linspace(-1, 1, SIZE))
    vectors = np.linalg.qr(rng.randn(SIZE, SIZE))[0]
    return vectors @ triangle @ vectors.T


def linear(a, b):
    """F(z, c) = A z + B c."""
    a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    return lambda z, c: jnp.matmul(a, z, precision="highest") + jnp.matmul(b, c, precision="highest")


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("radius", [0.3, 0.7, 0.95])
def test_series_and_exact_solution_of_a_linear_mapping(radius, symmetric):
    a = matrix(0, radius=radius, symmetric=symmetric)
    assert np.isclose(np.abs(np.linalg.eigvals(a)).max(), radius) and (symmetric or np.linalg.norm(a, 2) > 1)
    rng = np.random.RandomState(1)
    b, dc, z, c = rng.randn(SIZE, CONDITIONS), rng.randn(CONDITIONS), rng.randn(SIZE), rng.randn(CONDITIONS)
    f, given = linear(a, b), [jnp.asarray(x, jnp.float32) for x in (z, c, dc)]
    term = total = b @ dc
    lengths = [np.linalg.norm(term)]
    for order in range(4):
        v, terms = sgf.displacement(f, *given, order=order)
        scale = np.abs(total).max()
        np.testing.assert_allclose(v, total, atol=1e-5 * scale)
        np.testing.assert_allclose(terms, lengths, rtol=1e-5)
        term = a @ term
        total = total + term
        lengths.append(np.linalg.norm(term))
    exact = np.linalg.solve(np.eye(SIZE) - a, b @ dc)
    np.testing.assert_allclose(sgf.exact_displacement(f, *given), exact, atol=1e-5 * np.abs(exact).max())


def transcribed(f, jacobians, condition, z, target, *, config):
    """Algorithm 1 in float64 for one latent: conditions, distances and the latent at its end."""
    c = condition(z)
    change, path = config.step * (target - c), [c]

    def field(z, c):
        of_z, of_c = jacobians(z, c)
        if config.series == "solve":
            return np.linalg.solve(np.eye(len(z)) - of_z, of_c @ change)
        total = term = of_c @ change
        for _ in range(config.order):
            term = of_z @ term
            total = total + term
        return total

    for _ in range(config.max_steps):
        first = field(z, c)
        if config.solver == "midpoint":
            first = field(z + first / 2, condition(z + first / 2))
        elif config.solver == "rk4":
            second = field(z + first / 2, condition(z + first / 2))
            third = field(z + second / 2, condition(z + second / 2))
            first = (first + 2 * second + 2 * third + field(z + third, condition(z + third))) / 6
        z = z + first
        c = condition(z)
        path.append(c)
        if np.linalg.norm(c - target) < config.threshold:
            break
    return z, np.stack(path)


def curved(a, b):
    """F(z, c) = tanh(A z + B c) and its Jacobians, in float64 and as a JAX function."""

    def jacobians(z, c):
        slope = 1 - np.square(np.tanh(a @ z + b @ c))
        return slope[:, None] * a, slope[:, None] * b

    inner = linear(a, b)
    return jacobians, lambda z, c: jnp.tanh(inner(z, c))


@pytest.mark.parametrize("solver", first_quick(["rk4", "euler", "midpoint"]))
@pytest.mark.parametrize(("order", "series"), [(0, "neumann"), (1, "neumann"), (2, "neumann"), (1, "solve")])
def test_paths_equal_a_transcription_and_end_per_sample(solver, order, series):
    rng = np.random.RandomState(2)
    a, b = matrix(3, radius=0.3, symmetric=True), 0.5 * rng.randn(SIZE, CONDITIONS)
    seen = 0.5 * np.linalg.pinv(b)  # so that the path goes where it should, if not as far
    jacobians, f = curved(a, b)
    config = sgf.SgfConfig(order=order, series=series, solver=solver, max_steps=12, threshold=0.3)
    z = rng.randn(6, SIZE)
    target = np.tanh(z @ seen.T) + 0.25 * np.arange(6)[:, None] * rng.randn(6, CONDITIONS)

    def condition(z):
        return jnp.tanh(jnp.matmul(jnp.asarray(seen, jnp.float32), z, precision="highest"))

    given = jnp.asarray(z, jnp.float32), jnp.asarray(target, jnp.float32)
    latents, infos = jax.vmap(functools.partial(sgf.run, f, condition, config=config))(*given)
    expected = [
        transcribed(f, jacobians, lambda z: np.tanh(seen @ z), *pair, config=config)
        for pair in zip(z, target, strict=True)
    ]
    assert len({len(path) for _, path in expected}) > 2, "the samples have to end at different steps"
    for index, (end, path) in enumerate(expected):
        steps = len(path) - 1
        assert infos.steps[index] == steps
        np.testing.assert_allclose(latents[index], end, atol=2e-5 * np.abs(end).max())
        np.testing.assert_allclose(infos.path[index, : steps + 1], path, atol=2e-5)
        np.testing.assert_allclose(infos.latents[index, -1], latents[index])
        distances = np.linalg.norm(path - target[index], axis=1)
        np.testing.assert_allclose(infos.distances[index, : steps + 1], distances, atol=2e-5)
        assert np.isnan(infos.distances[index, steps + 1 :]).all() and np.isnan(infos.ratios[index, steps:]).all()
    batched = sgf.run_batch(_curved, _seen, (f_arrays(a, b), jnp.asarray(seen, jnp.float32)), *given, config=config)
    for one, other in zip(jax.tree.leaves(batched), jax.tree.leaves((latents, infos)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def f_arrays(a, b):
    return jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)


def _curved(shared, z, c):
    (a, b), _ = shared
    return jnp.tanh(jnp.matmul(a, z, precision="highest") + jnp.matmul(b, c, precision="highest"))


def _seen(shared, z):
    return jnp.tanh(jnp.matmul(shared[1], z, precision="highest"))


def test_weights_say_what_has_to_be_close():
    """Attributes that are merely held may drift: with weight 0 they neither stop a path nor keep it going."""
    f, condition = linear(np.zeros((2, 2)), np.eye(2)), lambda z: z * jnp.asarray([1.0, 3.0])
    z, target = jnp.zeros(2), jnp.asarray([1.0, 0.0])
    _, info = sgf.run(f, condition, z, target, config=sgf.SgfConfig(threshold=0.25), weights=jnp.asarray([1.0, 0.0]))
    assert info.steps == 4 and np.isclose(info.distances[4], 0.2)


def test_a_series_that_diverges_is_reported():
    z, target = jnp.ones(SIZE), jnp.ones(CONDITIONS)
    for radius, found in ((0.7, False), (1.2, True)):
        f = linear(radius * np.eye(SIZE), np.ones((SIZE, CONDITIONS)))
        _, info = sgf.run(f, lambda z: 0.1 * z[:CONDITIONS], z, target)
        assert sgf.diverging(info) == found
        np.testing.assert_allclose(info.ratios[0], [radius], rtol=1e-5)


def test_a_step_that_is_not_finite_is_not_taken():
    f = linear(np.zeros((2, 2)), np.eye(2))

    def condition(z):
        return jnp.where(z[0] > 0.5, jnp.nan, z)

    z, info = sgf.run(f, condition, jnp.zeros(2), jnp.asarray([1.0, 0.0]))
    assert info.steps == 2 and np.isfinite(z).all() and np.isfinite(info.latents).all()
    np.testing.assert_allclose(sgf.closest(info), z)
    z, info = sgf.run(f, condition, jnp.zeros(2), jnp.asarray([jnp.inf, 0.0]))
    assert info.steps == 0 and np.isfinite(z).all()


def test_the_closest_latent_is_not_the_last_where_a_path_overshoots():
    f, condition = linear(np.zeros((1, 1)), np.ones((1, 1))), lambda z: 1.3 * z
    _, info = sgf.run(f, condition, jnp.zeros(1), jnp.ones(1), config=sgf.SgfConfig(threshold=0.01, max_steps=6))
    np.testing.assert_allclose(sgf.closest(info), [0.8], rtol=1e-6)
    assert info.steps == 6


def test_wrong_targets_and_settings():
    with pytest.raises(ValueError, match=r"target of shape \(2,\) for conditions of shape \(3,\)"):
        sgf.run(linear(np.eye(3), np.eye(3)), lambda z: z, jnp.zeros(3), jnp.zeros(2))
    with pytest.raises(ValueError, match="at least 0 and 1"):
        sgf.SgfConfig(order=-1)


def test_spectral_normalisation_equals_a_transcription():
    rng = np.random.RandomState(0)
    kernel, u = rng.randn(5, 7), rng.randn(7)
    v = kernel @ u / np.linalg.norm(kernel @ u)
    expected = v @ kernel / np.linalg.norm(v @ kernel)
    found, moved = spectral_normalized(jnp.asarray(kernel, jnp.float32), jnp.asarray(u, jnp.float32))
    np.testing.assert_allclose(moved, expected, atol=1e-6)
    np.testing.assert_allclose(found, kernel / (v @ kernel @ expected), rtol=1e-5)
    found, _ = spectral_normalized(jnp.asarray(kernel, jnp.float32), moved, iterations=100)
    assert np.isclose(np.linalg.norm(found, 2), 1, atol=1e-5)


def test_the_auxiliary_mapping_equals_a_transcription():
    config = sgf.AuxiliaryConfig(latent_dim=6, condition_dim=2, layers=3, width=8)
    params = sgf.init_auxiliary(jax.random.key(0), config=config)
    rng = np.random.RandomState(0)
    params["statistics"] = auxiliary_mapping.statistics(
        jnp.asarray(rng.randn(20, 6) * 2 + 1, jnp.float32), jnp.asarray(rng.rand(20, 2), jnp.float32)
    )
    z, c = rng.randn(6), rng.rand(2)
    known = jax.tree.map(np.float64, params["statistics"])
    x = (z - known["latent_mean"]) / known["latent_scale"]
    condition = (c - known["condition_mean"]) / known["condition_scale"]
    for index in range(3):
        affine, dense = params[f"layer{index}"]["affine"], params[f"layer{index}"]["dense"]
        assert np.isclose(np.linalg.norm(dense["kernel"], 2), 1, atol=1e-5)
        scale, shift = np.split(condition @ np.float64(affine["kernel"]) + affine["bias"], 2)
        x = (1 + scale) * (x - x.mean()) / np.sqrt(x.var() + 1e-5) + shift
        x = np.where(x > 0, x, 0.2 * x) @ np.float64(dense["kernel"]) + dense["bias"]
    found = sgf.auxiliary(params, jnp.asarray(z, jnp.float32), jnp.asarray(c, jnp.float32))
    np.testing.assert_allclose(found, known["latent_mean"] + known["latent_scale"] * x, atol=1e-5)


@pytest.mark.slow
def test_a_trained_mapping_reads_latent_and_condition(tmp_path):
    """Where the condition tells what two of the numbers are, the mapping beats the best constant and needs both; cut in
    two the training gives the same numbers."""
    z = jax.random.normal(jax.random.key(0), (2000, 6))
    pairs = surrogate.Pairs(z, z[:, :2] + z[:, 2:4])
    config = sgf.AuxiliaryConfig(latent_dim=6, condition_dim=2, layers=6, width=32)
    training = supervised.FitConfig(600, 3e-3, weight_decay=0.0)
    fit = functools.partial(surrogate.fit, jax.random.key(1), pairs, config=config, training=training, batch_size=32)
    params = fit(directory=tmp_path / "whole")
    found = {name: float(value) for name, value in surrogate.measure(params, pairs).items()}
    assert found["error"] < 0.5 * found["constant"] and found["other"] > 1.1 * found["error"]
    assert found["condition_norm"] > 0.1 and np.isclose(found["constant"], 1, atol=1e-3)
    for layer in (name for name in params if name.startswith("layer")):
        for part in ("affine", "dense"):
            assert np.isclose(np.linalg.norm(params[layer][part]["kernel"], 2), 1, atol=0.05)
    again = fit(directory=tmp_path / "whole")
    assert jax.tree.all(jax.tree.map(lambda one, other: bool((one == other).all()), params, again))


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_counts_changes_above_a_half(seed):
    rng = np.random.RandomState(seed)
    before = rng.randint(0, 5, (20, 4)) / 4  # quarters are exact: some change by exactly a half
    after = rng.randint(0, 5, (6, 20, 4)) / 4
    curve = metrics.disentanglement_curve(jnp.float32(before), jnp.float32(after), 1)
    for index in range(6):
        moved = np.abs(after[index] - before) > 0.5
        assert (np.abs(after[index] - before) == 0.5).any()
        np.testing.assert_allclose(curve.accuracy[index], moved[:, 1].mean(), rtol=1e-6)
        others = moved[:, [0, 2, 3]].sum(axis=1)
        np.testing.assert_allclose(curve.disentanglement[index], (1 - others / 3).mean(), rtol=1e-6)


@pytest.mark.parametrize(("start", "hold"), list(itertools.product([True, False], repeat=2)))
def test_the_score_is_the_area_with_all_extensions_and_in_both_orders(start, hold):
    x, y = np.array([0.2, 0.5, 0.5, 0.8]), np.array([0.9, 0.8, 0.6, 0.5])
    points = [*([(0.0, 1.0)] if start else []), *zip(x, y, strict=True), *([(1.0, 0.5)] if hold else [])]
    expected = np.trapezoid([point[1] for point in points], [point[0] for point in points])
    for order in (np.arange(4), np.arange(4)[::-1]):
        curve = metrics.DisentanglementCurve(jnp.float32(x[order]), jnp.float32(y[order]))
        np.testing.assert_allclose(metrics.disentanglement_score(curve, start=start, hold=hold), expected, rtol=1e-6)


def test_curves_of_wrong_shapes():
    with pytest.raises(ValueError, match=r"\(4, 1\) before"):
        metrics.disentanglement_curve(jnp.zeros((4, 1)), jnp.zeros((2, 4, 1)), 0)
