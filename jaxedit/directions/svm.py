"""Directions of linear support vector machines: Shen et al. (InterFaceGAN, 2020) in Z, W, W+ and S.

In S the penalty is L1 (Style Intervention, section IV-A), which leaves most channels at zero.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, Real, Shaped
from sklearn.svm import LinearSVC, l1_min_c

from jaxedit.spaces import Direction

_RELATED = 1e-5  # singular values below this part of the largest are conditions that repeat others
_L1_RANGE = 1e3  # times the weight at which the first coefficient leaves zero
_L1_STEPS = 10


class Boundary(NamedTuple):
    """A separating hyperplane: the signed distance of a latent is `latent @ direction.vector + offset`.

    Attributes:
        direction: The unit normal towards the positive samples, `unit` the standard deviation of the latents along it,
            `accuracy` the validation accuracy.
        offset: Distance of the origin.
        train_accuracy: Share of the training samples on their side.
    """

    direction: Direction
    offset: float
    train_accuracy: float


def select_extremes(
    scores: Real[ArrayLike, " n"], *, fraction: float
) -> tuple[Int[np.ndarray, " k"], Bool[np.ndarray, " k"]]:
    """Chooses the samples with the highest and the lowest scores, as InterFaceGAN does before it fits.

    Args:
        scores: One number per sample, any scale.
        fraction: Share of the samples taken from each end, above 0 to 0.5 (InterFaceGAN: 0.02).

    Returns:
        Their indices, and for each whether it is one of the highest.

    Raises:
        ValueError: The fraction is out of range, takes no sample, or the same scores from both ends.
    """
    scores = np.asarray(scores)
    if not 0 < fraction <= 0.5:
        raise ValueError(f"fraction is {fraction}; above 0 to 0.5 would be right")
    count = int(len(scores) * fraction)
    if not count:
        raise ValueError(f"{fraction} of {len(scores)} samples is less than one")
    order = np.argsort(scores, kind="stable")
    if scores[order[-count]] <= scores[order[count - 1]]:
        raise ValueError(f"the highest and the lowest {count} of {len(scores)} scores are not apart")
    return np.concatenate([order[-count:], order[:count]]), np.arange(2 * count) < count


def fit_boundary(
    key: Key[Array, ""],
    latents: Float[ArrayLike, "n *latent"],  # noqa: F821
    labels: Shaped[ArrayLike, " labels"],
    *,
    name: str,
    space: str,
    penalty: Literal["l1", "l2"] | None = None,
    c: float = 0.01,
    sparsity: float = 0.93,
    validation: float = 0.3,
    source: str = "",
) -> Boundary:
    """Fits a linear support vector machine to labelled latents.

    The latents are centred and divided by one number, their root mean square deviation, so that `c` means the same in
    every space and the bias, which liblinear penalises like a weight, has nothing to do. Channels are not scaled one by
    one: the normal is that of the space itself, and cheap in channels that hardly vary.

    Args:
        key: A typed key; divides the samples into those for training and for validation.
        latents: `[n, z_dim]`, `[n, w_dim]`, `[n, num_ws, w_dim]` or flat styles `[n, sum of the widths]`.
        labels: 0 or 1 per sample; samples of both.
        name: Of the direction.
        space: Of the latents.
        penalty: "l2", or "l1" for a normal with zeros (squared hinge loss, both); by default "l1" in S, "l2" elsewhere.
        c: Weight of the data against an "l2" penalty.
        sparsity: For "l1": the share of zeros asked for. `c` is chosen by bisection of its logarithm, as large as this
            allows. Table II of Style Intervention has 93 to 99 %.
        validation: Share of the samples that only measure the accuracy (InterFaceGAN: 0.3).
        source: Fingerprint of the generator.

    Returns:
        The boundary; its direction's vector has the shape of a latent.

    Raises:
        ValueError: Labels other than 0 and 1, of one kind only, of another number than the latents; numbers that are
            not finite; too few samples; or no direction is that sparse and separates anything.
    """
    latents, labels = _checked(np.asarray(latents), np.asarray(labels))
    flat = latents.reshape(len(latents), -1).astype(np.float64)
    order = np.asarray(jax.random.permutation(key, len(flat)))
    held_out = max(1, round(validation * len(flat)))
    test, train = order[:held_out], order[held_out:]
    if len(set(labels[train])) < 2:
        raise ValueError(f"{name}: the {len(train)} training samples are all labelled alike; more samples are needed")
    mean = flat[train].mean(axis=0)
    centred = flat - mean
    scale = np.sqrt(np.mean(centred[train] ** 2))
    centred /= scale or 1.0
    if (penalty or ("l1" if space == "s" else "l2")) == "l1":
        fitted = _sparse(centred[train], labels[train], name, sparsity)
    else:
        fitted = LinearSVC(C=c, dual="auto", random_state=0).fit(centred[train], labels[train])
    length = np.linalg.norm(fitted.coef_[0])
    if not length:
        raise ValueError(f"{name}: nothing in the latents separates these samples")
    normal = fitted.coef_[0] / length
    direction = Direction(
        name=name,
        space=space,
        vector=normal.reshape(latents.shape[1:]).astype(np.float32),
        unit=float(np.std(flat @ normal)),
        source=source,
        accuracy=float(fitted.score(centred[test], labels[test])),
    )
    offset = float(np.ravel(fitted.intercept_)[0] / length * scale - mean @ normal)
    return Boundary(direction, offset, float(fitted.score(centred[train], labels[train])))


def _checked(latents: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if labels.shape != latents.shape[:1] or latents.ndim < 2:
        raise ValueError(
            f"labels of shape {labels.shape} for latents of shape {latents.shape}; one label each is right"
        )
    if wrong := sorted(set(np.unique(labels).tolist()) - {0, 1}):
        raise ValueError(f"labels hold {wrong[0]}; they are 0 or 1")
    positive = int(np.sum(labels == 1))
    if positive in (0, len(labels)):
        raise ValueError(f"all {len(labels)} labels are alike; samples of both kinds are needed")
    if positive in (1, len(labels) - 1):
        raise ValueError(f"{positive} of {len(labels)} labels are 1; at least two samples of both kinds are needed")
    if not np.isfinite(latents).all():
        raise ValueError("latents hold numbers that are not finite")
    return latents, labels.astype(np.int64)


def _sparse(latents: np.ndarray, labels: np.ndarray, name: str, sparsity: float) -> LinearSVC:
    """The L1 machine with the largest weight of the data at which so many coefficients are zero."""
    low = np.log(l1_min_c(latents, labels, loss="squared_hinge"))
    high = low + np.log(_L1_RANGE)
    best = None
    options: Any = {"penalty": "l1", "dual": False, "tol": 1e-3, "max_iter": 10_000, "random_state": 0}
    for _ in range(_L1_STEPS):
        middle = (low + high) / 2
        machine = LinearSVC(C=np.exp(middle), **options)
        zeros = machine.fit(latents, labels).coef_[0] == 0
        if zeros.mean() >= sparsity:
            low = middle
            best = best if zeros.all() else machine
        else:
            high = middle
    if best is None:
        raise ValueError(f"{name}: no boundary with {100 * sparsity:g} % zeros separates these samples")
    return best


def project_out(vector: np.ndarray, conditions: Sequence[np.ndarray]) -> Float[np.ndarray, "..."]:
    """Removes from a normal what it shares with others: `project_boundary` of InterFaceGAN's code.

    It is projected on the complement of the space that the conditions span, so repeated or dependent ones do no harm.
    For one condition of length 1 this is `n1 - (n1 . n2) n2` (section 3.2).

    Args:
        vector: What to change.
        conditions: What to leave alone; of the same shape, any lengths but 0, any number.

    Returns:
        The projected normal, float64, as long as before.

    Raises:
        ValueError: Nothing is left.
    """
    flat = np.asarray(vector, np.float64).reshape(-1)
    length = np.linalg.norm(flat)
    if conditions:
        matrix = np.stack([np.asarray(other, np.float64).reshape(-1) for other in conditions])
        _, values, rows = np.linalg.svd(matrix, full_matrices=False)
        basis = rows[values > _RELATED * values.max(initial=0.0)]
        flat = flat - basis.T @ (basis @ flat)
    left = np.linalg.norm(flat)
    if left <= _RELATED * length:
        raise ValueError("nothing is left of the normal beside its conditions")
    return (flat * (length / left)).reshape(np.shape(vector))


def condition(direction: Direction, conditions: Sequence[Direction]) -> Direction:
    """`project_out` for directions: InterFaceGAN's conditional manipulation.

    Args:
        direction: What to change.
        conditions: What to leave alone; of the same space and shape, any number.

    Returns:
        The projected direction, of the same length and `unit` as before.

    Raises:
        ValueError: A condition of another space or shape, or nothing is left.
    """
    for other in conditions:
        here, there = ((one.space, np.shape(one.vector)) for one in (direction, other))
        if here != there:
            raise ValueError(f"{other.name}: {there} cannot condition {direction.name}, which is {here}")
    names = ", ".join(other.name for other in conditions)
    try:
        vector = project_out(np.asarray(direction.vector), [np.asarray(other.vector) for other in conditions])
    except ValueError:
        raise ValueError(f"{direction.name}: nothing is left of it beside {names}") from None
    name = f"{direction.name} without {names}" if names else direction.name
    return dataclasses.replace(direction, name=name, vector=vector.astype(np.float32), accuracy=None)
