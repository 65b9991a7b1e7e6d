"""Nearest neighbours among many points, in blocks."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Int

from jaxedit.metrics.feature_sets import check_feature_sets

_BLOCK = 512  # queries whose distances to all points are held at a time


class Neighbors(NamedTuple):
    """The points nearest to each query, nearest first.

    Attributes:
        indices: `[queries, k]` int32, rows of the points.
        distances: `[queries, k]` float32, Euclidean.
    """

    indices: Int[Array, "queries k"]
    distances: Float[Array, "queries k"]


def nearest_neighbors(
    queries: Float[ArrayLike, "queries features"], points: Float[ArrayLike, "points features"], *, k: int = 1
) -> Neighbors:
    """Finds the points nearest to each query, such as the training images that generated images resemble most.

    Queries do not see each other. 512 of them are compared with all points at a time.

    Candidates are chosen by `|p|^2 - 2 p q` in float32 about the mean of the points, so points whose squared distances
    differ by less than about 1e-6 of their squared norms may be exchanged. The distances of those chosen are computed
    from differences: a copy is at exactly 0.

    Args:
        queries: One row per sample, in any space: features of a network, or pixels as `images.reshape(count, -1)`.
        points: What is searched, in the same space.
        k: How many neighbours of each query; static under `jit`.

    Returns:
        `Neighbors`. Distances are NaN for queries with a NaN, and all of them where any point is not finite.

    Raises:
        ValueError: Not two matrices with rows of the same width, or `k` not from 1 to the number of points.
    """
    queries, points = jnp.asarray(queries, jnp.float32), jnp.asarray(points, jnp.float32)
    check_feature_sets(queries=queries, points=points)
    if not 1 <= k <= len(points):
        raise ValueError(f"k is {k}; it has to be from 1 to the number of points, {len(points)}")
    indices, squared = search(queries, points, k=k)
    return Neighbors(indices, jnp.sqrt(squared))


def search(
    queries: Float[Array, "queries features"],
    points: Float[Array, "points features"],
    *,
    k: int,
    squared_radii: Float[Array, " points"] | None = None,
    exclude_self: bool = False,
) -> tuple[Int[Array, "queries k"], Float[Array, "queries k"]]:
    """Finds the `k` points of least `|p - q|^2 - squared_radius`.

    Args:
        queries: float32.
        points: float32.
        k: From 1 to the number of points, or to one less with `exclude_self`.
        squared_radii: Squares of the radii of balls around the points; None is 0 everywhere.
        exclude_self: Query `i` is point `i`, which does not count as its own neighbour. Copies of it do.

    Returns:
        Indices and squared distances `|p - q|^2`, least distance first, both `[queries, k]`.
    """
    center = jnp.mean(points, axis=0)  # least cancellation between norms and products
    centered = points - center[None]
    norms = jnp.sum(jnp.square(centered), axis=1)
    norms = norms if squared_radii is None else norms - squared_radii
    rows = jnp.arange(len(points))

    def nearest(row: Array) -> tuple[Array, Array]:
        query = queries[row]
        closeness = 2 * jnp.matmul(centered, query - center, precision=lax.Precision.HIGHEST) - norms
        closeness = jnp.where(rows == row, -jnp.inf, closeness) if exclude_self else closeness
        indices = lax.top_k(closeness, k)[1]
        squared = jnp.sum(jnp.square(points[indices] - query[None]), axis=1)
        squared = jnp.where(jnp.isfinite(center).all(), squared, jnp.nan)
        squared, indices = lax.sort((squared, indices), num_keys=2)
        return indices, squared

    return lax.map(nearest, jnp.arange(len(queries)), batch_size=_BLOCK)
