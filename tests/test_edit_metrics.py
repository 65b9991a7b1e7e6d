"""jaxedit.metrics of single edits, against float64 oracles and known values."""

import jax
import numpy as np
import pytest

from jaxedit import metrics


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    first = np.clip(random.normal(0, 0.5, (30, 26, 3)), -1, 1)
    return first.astype(np.float32), np.clip(first + random.normal(0, 0.2, first.shape), -1, 1).astype(np.float32)


def ssim_oracle(first: np.ndarray, second: np.ndarray) -> float:
    """The original's formula for 0 to 255 over every window of 11 x 11, in float64."""
    first, second = (127.5 * (image.astype(np.float64) + 1) for image in (first, second))
    axis = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window = np.outer(axis, axis) / axis.sum() ** 2
    scores = []
    for channel in range(first.shape[2]):
        for y, x in np.ndindex(first.shape[0] - 10, first.shape[1] - 10):
            a, b = (image[y : y + 11, x : x + 11, channel] for image in (first, second))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
            scores.append(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return float(np.mean(scores))


def test_ssim_equals_the_formula():
    """Protects: window, constants, population statistics and the border, to 1e-5."""
    for seed in range(2):
        first, second = pair(seed)
        assert abs(jax.jit(metrics.ssim)(first, second) - ssim_oracle(first, second)) < 1e-5
    flat = np.full((12, 12, 3), 0.9, np.float32)
    assert abs(metrics.ssim(flat, flat) - 1) < 1e-6
    for level in (-0.98, 0.0, 0.9):  # grey in the middle is a colour like others
        pair_of_greys = (flat * 0 + level, flat * 0 + np.float32(level + 0.02))
        assert abs(metrics.ssim(*pair_of_greys) - ssim_oracle(*pair_of_greys)) < 1e-4
    with pytest.raises(ValueError, match="10 x 12 pixels; ssim needs 11"):
        metrics.ssim(flat[:10], flat[:10])


def test_psnr_of_known_differences():
    """Protects: the range of 2."""
    image = np.zeros((4, 4, 3), np.float32)
    np.testing.assert_allclose(metrics.psnr(image, image + 0.2), 20.0, rtol=1e-5)
    assert metrics.psnr(image, image) == np.inf


def test_masked_mse_sees_only_the_mask():
    """Protects: the mean over the pixels of the mask and all channels."""
    first, second = pair(2)
    mask = np.random.default_rng(3).random(first.shape[:2]) < 0.3
    expected = np.mean((first[mask].astype(np.float64) - second[mask]) ** 2)
    np.testing.assert_allclose(metrics.masked_mse(first, second, mask), expected, rtol=1e-5)
    whole = metrics.masked_mse(first, second, np.ones_like(mask))
    inside, outside = metrics.masked_mse(first, second, mask), metrics.masked_mse(first, second, ~mask)
    np.testing.assert_allclose(whole, mask.mean() * inside + (1 - mask.mean()) * outside, rtol=1e-5)
    assert metrics.masked_mse(first, second, np.zeros_like(mask)) == 0


def test_identity_and_attributes():
    """Protects: ranges and signs, and no NaN for zero embeddings."""
    a = np.array([3.0, 4.0], np.float32)
    np.testing.assert_allclose(metrics.identity_score(a, 7 * a), 1, rtol=1e-6)
    np.testing.assert_allclose(metrics.identity_score(a, np.array([-4, 3], np.float32)), 0, atol=1e-6)
    assert metrics.identity_score(a, 0 * a) == 0
    change = metrics.attribute_change(np.array([0, 2, -50], np.float32), np.array([0, -2, 50], np.float32))
    np.testing.assert_allclose(change, [0, -np.tanh(1), 1], atol=1e-6)


def test_the_share_of_the_change_inside():
    """Protects: squares of the colours, inside over everything, and no division by a change of nothing."""
    first, second = pair(4)
    mask = np.zeros(first.shape[:2], bool)
    mask[3:9, 5:20] = True
    squares = np.square(first.astype(np.float64) - second).sum(axis=-1)
    assert abs(metrics.share_inside(first, second, mask) - squares[mask].sum() / squares.sum()) < 1e-6
    assert metrics.share_inside(first, first, mask) == 0
    assert metrics.share_inside(first, np.where(mask[..., None], second, first), mask) == 1


def released_score(distance: np.ndarray, mask: np.ndarray) -> float:
    """`get_maximum_score` of LELSD, written down again."""
    z, y = np.where(distance < 1e-6, 0, distance).ravel(), mask.ravel()
    order = np.argsort(-z, kind="stable")
    found = np.cumsum(y[order])
    precision, recall = found / np.arange(1, len(y) + 1), found / y.sum()
    return float((precision * recall / (precision + recall + 1e-7))[int(y.sum())])


@pytest.mark.parametrize("soft", [False, True])
def test_the_released_localization_metric(soft: bool):
    """Protects: which pixels count, the one too many, the missing factor, soft masks; a full mask is no error."""
    random = np.random.default_rng(3)
    distance = random.uniform(0, 1, (24, 20)).astype(np.float32)
    mask = (random.uniform(0, 1, distance.shape) < 0.3).astype(np.float32)
    if soft:
        mask *= random.uniform(0.2, 1, mask.shape).astype(np.float32)
    assert abs(metrics.localization_lpips(distance, mask) - released_score(distance, mask)) < 1e-6
    assert abs(metrics.localization_lpips(mask, np.float32(mask > 0)) - 0.5) < 0.01 or soft
    assert abs(metrics.localization_lpips(distance, np.ones_like(mask)) - 0.5) < 1e-6
    assert metrics.localization_lpips(distance, np.zeros_like(mask)) == 0
