"""jaxedit.metrics of feature sets against float64 oracles, closed forms and hand-made sets."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from sklearn.neighbors import NearestNeighbors

from jaxedit.metrics import frechet_distance, nearest_neighbors, precision_recall

compiled = jax.jit(precision_recall, static_argnames="k")


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def features(seed: int, *shape: int) -> np.ndarray:
    return random(seed, *shape).astype(np.float32)


def with_moments(count: int, mean: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Samples whose mean is exactly `mean` and whose covariance is exactly `root^T root`."""
    centered = random(count, count, len(root))
    centered -= centered.mean(axis=0)
    orthonormal = np.linalg.svd(centered, full_matrices=False)[0]
    return mean + orthonormal @ root * np.sqrt(count - 1)


# Frechet distance.


def frechet_oracle(a: np.ndarray, b: np.ndarray) -> float:
    """The formula of the paper as it stands: covariances, and a matrix square root."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(scipy.linalg.sqrtm(cov_a @ cov_b))
    return float(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root))


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_frechet_equals_the_formula(offset: float):
    """Protects: the definition, `count - 1`, different counts, and features far from 0."""
    a = (features(0, 200, 24) @ features(1, 24, 24) + offset).astype(np.float32)
    b = (features(2, 350, 24) @ features(3, 24, 24) + offset + 0.3).astype(np.float32)
    np.testing.assert_allclose(frechet_distance(a, b), frechet_oracle(a, b), rtol=1e-9)
    assert frechet_distance(jnp.asarray(a), jnp.asarray(b)) == frechet_distance(a, b)
    np.testing.assert_allclose(frechet_distance(b, a), frechet_distance(a, b), rtol=1e-10)
    assert type(frechet_distance(a, b)) is float


def test_frechet_of_known_gaussians():
    """Protects: values that no implementation was needed for. Diagonal covariances, then two 2 x 2 that do not commute:
    the trace of a 2 x 2 root is `sqrt(trace + 2 sqrt(determinant))`."""
    scale_a, scale_b, shift = np.array([1.0, 2.0, 0.5]), np.array([3.0, 0.1, 0.5]), np.array([1.0, -2.0, 0.0])
    a, b = with_moments(50, np.zeros(3), np.diag(scale_a)), with_moments(70, shift, np.diag(scale_b))
    np.testing.assert_allclose(frechet_distance(a, b), 5 + np.sum((scale_a - scale_b) ** 2), rtol=1e-12)
    roots = np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([[1.0, -1.0], [0.0, 3.0]])
    a, b = (with_moments(count, np.zeros(2), root) for count, root in zip((20, 30), roots, strict=True))
    cov_a, cov_b = (root.T @ root for root in roots)
    overlap = np.sqrt(np.trace(cov_a @ cov_b) + 2 * np.sqrt(np.linalg.det(cov_a @ cov_b)))
    np.testing.assert_allclose(frechet_distance(a, b), np.trace(cov_a + cov_b) - 2 * overlap, rtol=1e-12)


def test_frechet_of_few_samples_of_many_features():
    """Protects: covariances of low rank, where square roots of a covariance are off by far more. On two lines the last
    trace is the product of the deviations and the cosine; with three samples against four it is a 3 x 4 problem."""
    u, v = (random(seed, 500) / np.linalg.norm(random(seed, 500)) for seed in (0, 1))
    a, b = np.outer([-1.0, 1.0], 2 * u), np.outer([-1.0, 0.0, 1.0], 3 * v)  # variances 8 and 9
    np.testing.assert_allclose(frechet_distance(a, b), 17 - 2 * np.sqrt(8 * 9) * abs(u @ v), rtol=1e-12)
    near = np.outer([-1.0, 1.0], 2 * (u + 1e-4 * v) / np.linalg.norm(u + 1e-4 * v))
    cosine_gap = 1e-8 * (1 - (u @ v) ** 2) / 2  # to first order
    np.testing.assert_allclose(frechet_distance(a, near), 16 * cosine_gap, rtol=1e-3)
    a, b = random(2, 3, 500), random(3, 4, 500)
    parts = (a - a.mean(0)) / np.sqrt(2), (b - b.mean(0)) / np.sqrt(3)
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(parts[0] @ parts[1].T @ parts[1] @ parts[0].T), 0)).sum()
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + sum(np.sum(part**2) for part in parts) - 2 * overlap
    np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(40, 6), (5, 60)])
def test_frechet_of_a_set_and_itself_is_zero(shape: tuple[int, int]):
    """Protects: 0 for equal sets of any order, also with constant and repeated features; never below 0."""
    a = 100 * features(0, *shape)
    a = np.concatenate([a, a, np.full((shape[0], 2), 7, np.float32)], axis=1)
    variance = a.astype(np.float64).var(axis=0).sum()
    for other in (a, a[::-1]):
        assert 0 <= frechet_distance(a, other) <= 1e-13 * variance
    np.testing.assert_allclose(frechet_distance(a, a + np.float32(2)), 4 * a.shape[1], rtol=1e-6)


def test_frechet_refuses_what_it_cannot_measure():
    """Protects: one line that names the set."""
    good, bad = features(0, 5, 3), features(0, 5, 3)
    bad[2, 1] = np.nan
    with pytest.raises(ValueError, match="features_b has values that are not finite"):
        frechet_distance(good, bad)
    with pytest.raises(ValueError, match=r"features_a has 1 sample\(s\); a covariance needs at least 2"):
        frechet_distance(good[:1], good)


# Nearest neighbours.


def test_neighbors_equal_those_of_scikit_learn():
    """Protects: indices, distances and order, over the end of a block, for points far from 0."""
    queries, points = features(0, 700, 16) + np.float32(50), features(1, 300, 16) + np.float32(50)
    oracle = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(points.astype(np.float64))
    distances, indices = oracle.kneighbors(queries.astype(np.float64))
    found = nearest_neighbors(queries, points, k=5)
    assert found.indices.dtype == jnp.int32 and found.distances.dtype == jnp.float32
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6)


def test_a_copy_is_at_distance_zero():
    """Protects: that an image the generator remembers is found as one: exactly 0, not a rounding error of norms."""
    points = 1000 + 10 * features(0, 50, 400)
    found = nearest_neighbors(points[7:9], points)
    assert found.indices.tolist() == [[7], [8]] and found.distances.tolist() == [[0.0], [0.0]]


def test_all_points_are_neighbors_at_most():
    """Protects: the largest `k`: every point once, nearest first, also where norms round away what separates points."""
    steps = np.float32(0.05) * np.random.default_rng(0).permutation(8)[:, None].astype(np.float32)
    points = np.concatenate([steps + np.float32(1000), steps - np.float32(1000)]) * np.ones((1, 30), np.float32)
    queries = np.array([[1000.0], [-1000.0]], np.float32) * np.ones((1, 30), np.float32)
    found = nearest_neighbors(queries, points, k=16)
    np.testing.assert_array_equal(np.sort(found.indices, axis=1), np.tile(np.arange(16), (2, 1)))
    assert (np.diff(found.distances, axis=1) > 0).all()


def test_features_that_are_not_finite_are_not_near():
    """Protects: broken features from passing for neighbours or for a low precision."""
    good, bad = features(0, 8, 4), features(1, 8, 4)
    bad[2, 1] = np.nan
    assert np.isnan(nearest_neighbors(bad, good).distances[:, 0]).tolist() == [row == 2 for row in range(8)]
    assert np.isnan(nearest_neighbors(good, bad).distances).all()
    for result in (compiled(good, bad), compiled(bad, good)):
        assert np.isnan(result.precision) and np.isnan(result.recall)


def test_products_are_full_float32_and_come_in_blocks():
    """Protects: TPUs and GPUs from rounding features to 8 or 10 bits; 40 000 with 40 000 from taking 6.4 GB."""
    sets = (jax.ShapeDtypeStruct((40000, 8), jnp.float32),) * 2
    lowered = jax.jit(precision_recall).lower(*sets)
    text = lowered.as_text()
    assert text.count("stablehlo.dot_general") == text.count("precision = [HIGHEST, HIGHEST]") > 0
    memory = lowered.compile().memory_analysis()
    assert memory is not None and memory.temp_size_in_bytes < 40000 * 40000 * 4 / 10


# Precision and recall.


def coverage_oracle(queries: np.ndarray, points: np.ndarray, k: int) -> float:
    """Equation 1 word by word: a query counts if it is as near to any point as that point's k-th neighbour."""
    queries, points = queries.astype(np.float64), points.astype(np.float64)
    inside = np.zeros(len(queries), bool)
    for row, point in enumerate(points):
        others = np.delete(points, row, axis=0)
        radius = np.sort(np.linalg.norm(others - point, axis=1))[k - 1]
        inside |= np.linalg.norm(queries - point, axis=1) <= radius
    return inside.mean()


@pytest.mark.parametrize("k", [1, 3, 10])
def test_precision_and_recall_equal_the_definition(k: int):
    """Protects: which set makes the balls, over the end of a block, for features far from 0."""
    real, fake = features(0, 300, 6) + np.float32(20), 0.7 * features(1, 600, 6) + np.float32(20.4)
    result = compiled(real, fake, k=k)
    expected = coverage_oracle(fake, real, k), coverage_oracle(real, fake, k)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert 0.05 < expected[1] < 0.95 and abs(expected[0] - expected[1]) > 0.02, "a case that can tell"


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_balls_are_closed_and_a_sample_is_not_its_own_neighbor():
    """Protects: ties and the k-th neighbour, by hand: with k = 1 the balls are [-1, 1], [0, 2], [1, 5], [3, 11]."""
    real, fake = column(0, 1, 3, 7), column(-1, -1.5, 11, 11.5)
    assert compiled(real, fake, k=1) == (0.5, 0.0)
    # With k = 2: [-3, 3], [-1, 3], [0, 6], [1, 13]; of the others [-14, 12], [-14, 11], [-1, 23], [-1.5, 24.5].
    assert compiled(real, column(-3, -3.5, 13, 13.5), k=2) == (0.5, 1.0)


def test_copies_are_neighbors_of_each_other():
    """Protects: balls of radius 0, which hold copies and nothing else."""
    first, second = 100 + 10 * features(0, 2, 300)
    real = np.stack([first] * 4 + [second] * 4)
    fake = np.stack([first, second, second, first + np.float32(0.1), 2 * first])
    assert compiled(real, fake, k=3).precision == np.float32(0.6)
    assert compiled(real, fake, k=4).precision == np.float32(0.8)  # reaches the other group, not twice as far


def test_extreme_generators():
    """Protects: the meaning: a perfect one, one of something else, and one that knows half of the data."""
    left, right = features(0, 40, 5), features(1, 40, 5) + np.float32(1000)
    both = np.concatenate([left, right])
    assert compiled(both, both[::-1]) == (1.0, 1.0)
    assert compiled(left, right) == (0.0, 0.0)
    assert compiled(both, left) == (1.0, 0.5)
    assert compiled(left, both) == (0.5, 1.0)


# Errors.


@pytest.mark.parametrize("function", [frechet_distance, nearest_neighbors, precision_recall])
def test_sets_that_do_not_fit_are_refused(function):
    """Protects: one line instead of a broadcast or an error from inside. Annotations are checked in tests only, so the
    function is called without them."""
    function, good = inspect.unwrap(function), features(0, 6, 4)
    first, second = list(inspect.signature(function).parameters)[:2]
    with pytest.raises(ValueError, match=rf"numbers of features differ: 4 in {first} and 3 in {second}"):
        function(good, good[:, :3])
    with pytest.raises(
        ValueError, match=rf"{second} has shape \(6,\); it has to be \[count, features\] with at least one row"
    ):
        function(good, good[:, 0])
    with pytest.raises(ValueError, match=rf"{first} has shape \(1, 6, 4\)"):
        function(good[None], good)
    with pytest.raises(ValueError, match=rf"{first} has shape \(0, 4\); it has to be .* with at least one row"):
        function(good[:0], good)


def test_too_many_neighbors_are_refused():
    """Protects: one line that says what would fit, also under `jit`."""
    few, many = features(0, 3, 4), features(1, 9, 4)
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"k is {k}; it has to be from 1 to the number of points, 3"):
            nearest_neighbors(many, few, k=k)
    for k in (0, 3):
        with pytest.raises(ValueError, match=f"k is {k}; it has to be from 1 to 2, one less than the smaller"):
            precision_recall(many, few, k=k)
        with pytest.raises(ValueError, match="one less than the smaller"):
            jax.jit(functools.partial(precision_recall, k=k))(few, many)
