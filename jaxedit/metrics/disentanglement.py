"""Manipulation disentanglement (Li et al., 2021, section 4.4): accuracy against what else changes."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

_CHANGED = 0.5


class DisentanglementCurve(NamedTuple):
    """Points of the curve, one for each strength.

    Attributes:
        accuracy: `[strengths]`, share of the samples whose target attribute has changed.
        disentanglement: `[strengths]`, mean share of the other attributes that have not.
    """

    accuracy: Float[Array, " strengths"]
    disentanglement: Float[Array, " strengths"]


def disentanglement_curve(
    before: Float[ArrayLike, "samples attributes"],
    after: Float[ArrayLike, "strengths samples attributes"],
    target: Int[ArrayLike, ""] | int,
) -> DisentanglementCurve:
    """How much edits of an attribute change it, and the others, at several strengths.

    Args:
        before: `[samples, attributes]` scores in [0, 1] before the edits.
        after: `[strengths, samples, attributes]` scores after them. Each sample is edited away from where it is:
            towards the attribute where that is absent, from it where it is present.
        target: Which attribute was edited.

    Returns:
        The curve. An attribute has changed if its score differs by more than 0.5.

    Raises:
        ValueError: Shapes that do not fit, or only one attribute.
    """
    before, after = jnp.asarray(before), jnp.asarray(after)
    if before.ndim != 2 or after.shape[1:] != before.shape or before.shape[1] < 2:
        raise ValueError(
            f"scores of shape {before.shape} before and {after.shape} after; (samples, attributes) and (strengths,"
            " samples, attributes) with two attributes or more would be right"
        )
    changed = jnp.abs(after - before[None]) > _CHANGED
    wanted = jnp.take(changed, jnp.asarray(target), axis=2)
    others = jnp.sum(changed, axis=2) - wanted.astype(jnp.int32)
    unchanged = 1 - others.astype(before.dtype) / (before.shape[1] - 1)
    return DisentanglementCurve(jnp.mean(wanted, axis=1, dtype=before.dtype), jnp.mean(unchanged, axis=1))


def disentanglement_score(curve: DisentanglementCurve, *, start: bool, hold: bool) -> Float[Array, ""]:
    """The area under the curve (MDS), by trapezoids.

    The paper does not say how far a curve goes that begins above accuracy 0 or ends below 1.

    Args:
        curve: Points in any order: they are taken by accuracy, and by falling disentanglement where that is the same.
        start: Whether the point that changes nothing, accuracy 0 and disentanglement 1, belongs to it; without it the
            area begins at the lowest accuracy.
        hold: Whether the disentanglement of the last point holds up to accuracy 1; without it nothing is there.

    Returns:
        `[]` in [0, 1].
    """
    order = jnp.lexsort((-curve.disentanglement, curve.accuracy))
    x, y = curve.accuracy[order], curve.disentanglement[order]
    if start:
        x, y = jnp.append(0.0, x).astype(x.dtype), jnp.append(1.0, y).astype(y.dtype)
    if hold:
        x, y = jnp.append(x, 1.0).astype(x.dtype), jnp.append(y, y[-1])
    return jnp.sum((x[1:] - x[:-1]) * (y[1:] + y[:-1])) / 2
