"""Frechet distance between two sets of features."""

import numpy as np
from jaxtyping import ArrayLike, Float

from jaxedit.metrics.feature_sets import check_feature_sets


def frechet_distance(
    features_a: Float[ArrayLike, "count_a features"], features_b: Float[ArrayLike, "count_b features"]
) -> float:
    """Squared Frechet distance of the Gaussians with the means and covariances of two sets; of Inception features: FID.

    `|mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))` (Dowson and Landau 1982; Heusel et al. 2017, equation 6),
    covariances divided by `count - 1`. With `C = R^T R` from a QR decomposition of the centred features, the last trace
    is the sum of the singular values of `R_a R_b^T`. No covariance is formed and no root of one taken, so singular
    covariances (fewer samples than features, dead features) need no offset on the diagonal. Runs in float64 NumPy on
    the host, not under `jit`: terms of the size of the total variance cancel, and in float32 what is left of them is
    wrong by more than small distances. The absolute error is about 1e-13 of the total variance `tr(C_a + C_b)`.

    The estimate is biased upwards, by about a constant over the count that depends on the distributions (Binkowski et
    al. 2018; Chong and Forsyth 2020): two samples of one distribution are not at 0. Compare only values of equal
    counts, many times the number of features (50 000 for 2048 is usual), of the same network and the same resizing.
    Only means and covariances are compared: sets can differ at distance 0.

    Args:
        features_a: One row per sample, finite, any float dtype.
        features_b: The same features of the other samples; the counts may differ.

    Returns:
        The squared distance, at least 0, in squared units of the features.

    Raises:
        ValueError: Not two matrices with rows of the same width, fewer than two samples in one, or a value that is not
            finite.
    """
    a, b = np.asarray(features_a, np.float64), np.asarray(features_b, np.float64)
    check_feature_sets(features_a=a, features_b=b)
    for name, values in {"features_a": a, "features_b": b}.items():
        if len(values) < 2:
            raise ValueError(f"{name} has {len(values)} sample(s); a covariance needs at least 2")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} has values that are not finite")
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    root_a, root_b = _covariance_root(a - mean_a), _covariance_root(b - mean_b)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    squares = np.square(mean_a - mean_b).sum() + np.square(root_a).sum() + np.square(root_b).sum()
    return max(float(squares - 2 * overlap), 0.0)


def _covariance_root(centered: np.ndarray) -> np.ndarray:
    """`R` with `R^T R` the covariance: `[min(count, features), features]`."""
    return np.linalg.qr(centered, mode="r") / np.sqrt(len(centered) - 1)
