"""How good the avatars' networks are on renders that no training saw.

The renders' keys come from a seed by another path than those of any training.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxedit import batch, checkpoints
from jaxedit.avatars.factors import ATTRIBUTES, attributes, sample_factors, with_identity
from jaxedit.avatars.renderer import PARSING_CLASSES, Rendering, render
from jaxedit.avatars.training import tasks
from jaxedit.networks.attributes import AttributeClassifier
from jaxedit.networks.bisenet import FaceParser
from jaxedit.networks.embedding import IdentityEmbedding
from jaxedit.networks.keypoints import KeypointDetector

NAMES = ("classifier", "judge", "parser", "keypoints", "embedding")
_HELD_OUT = 20_220_101
_BATCH = 48

Measure = Callable[[Any, Any, Rendering], Any]


def _sum_over_renders(measure: Measure, networks: Any, images: int) -> Any:
    """Float64 sums of what `measure(networks, factors, rendering)` says about each of the first held-out renders."""
    if images < 1:
        raise ValueError(f"{images} renders to measure on; 1 or more would be right")
    size, options = batch.choose_batch_size(images, _BATCH), {"measure": measure}
    found = batch.map_samples(_measured, networks, np.arange(images), batch_size=size, options=options)
    return functools.reduce(functools.partial(jax.tree.map, np.add), (_as_float64(one) for one in found))


def _as_float64(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def _measured(networks: Any, index: jax.Array, *, measure: Measure) -> Any:
    factors = sample_factors(jax.random.fold_in(jax.random.key(_HELD_OUT), index))
    return measure(networks, factors, render(factors, size=tasks.SIZE))


def _named(names: tuple[str, ...], values: Any) -> dict[str, float]:
    return {"mean": float(np.mean(values)), **{name: float(value) for name, value in zip(names, values, strict=True)}}


def attribute_accuracy(classifier: AttributeClassifier, *, images: int) -> dict[str, float]:
    """Share of held-out renders on which the classifier is right.

    Args:
        classifier: Of the twelve attributes.
        images: Number of renders.

    Returns:
        The share for each attribute, and their `"mean"`.
    """
    return _named(ATTRIBUTES, _sum_over_renders(_right, classifier, images) / images)


def _right(classifier: AttributeClassifier, factors: Any, rendering: Rendering) -> jax.Array:
    return (classifier(rendering.image) > 0) == attributes(factors)


def agreement(classifier: AttributeClassifier, judge: AttributeClassifier, *, images: int) -> dict[str, float]:
    """Share of held-out renders on which two classifiers say the same.

    Args:
        classifier: One.
        judge: The other.
        images: Number of renders.

    Returns:
        The share for each attribute, and their `"mean"`.
    """
    return _named(ATTRIBUTES, _sum_over_renders(_same, (classifier, judge), images) / images)


def _same(networks: tuple[AttributeClassifier, ...], factors: Any, rendering: Rendering) -> jax.Array:
    first, second = (network(rendering.image) > 0 for network in networks)
    return first == second


def parsing_iou(parser: FaceParser, *, images: int) -> dict[str, float]:
    """Intersection over union of the parser's and the true pixels of each class, over all held-out renders together.

    Args:
        parser: Of the 19 classes.
        images: Number of renders.

    Returns:
        The ratio for each class, and their `"mean"`; not a number for a class that is in no render.
    """
    counts = _sum_over_renders(_confusion, parser, images)
    both = np.diagonal(counts)
    with np.errstate(invalid="ignore"):
        return _named(PARSING_CLASSES, both / (counts.sum(axis=0) + counts.sum(axis=1) - both))


def _confusion(parser: FaceParser, factors: Any, rendering: Rendering) -> jax.Array:
    classes = jnp.arange(len(PARSING_CLASSES), dtype=jnp.int32)
    found, true = (
        (labels.reshape(-1, 1) == classes[None]).astype(jnp.float32)
        for labels in (parser.parse(rendering.image), rendering.parsing)
    )
    return jnp.matmul(found.T, true, precision=lax.Precision.HIGHEST)


def keypoint_error(detector: KeypointDetector, *, images: int) -> float:
    """Mean distance of the 68 keypoints from their true places, in percent of the image's width.

    Args:
        detector: Of the keypoints.
        images: Number of held-out renders.

    Returns:
        The mean over keypoints and renders.
    """
    return float(50.0 * _sum_over_renders(_distance, detector, images) / images)


def _distance(detector: KeypointDetector, factors: Any, rendering: Rendering) -> jax.Array:
    return jnp.mean(jnp.linalg.norm(detector(rendering.image) - rendering.keypoints, axis=-1))


def rank_1(embedding: IdentityEmbedding, *, identities: int, probes: int) -> float:
    """How often the nearest of a gallery of identities is the right one, when all else about the avatar differs.

    Args:
        embedding: The identity network.
        identities: In the gallery, with one held-out render each.
        probes: Renders of each identity that are looked up.

    Returns:
        The share of probes.
    """
    pairs = [(view, identity) for view in range(1 + probes) for identity in range(identities)]
    size = batch.choose_batch_size(len(pairs), _BATCH)
    vectors = batch.collected(batch.map_samples(_vector, embedding, np.array(pairs, np.int32), batch_size=size))
    gallery, *found = vectors.reshape(1 + probes, identities, -1)
    nearest = [np.argmax(view @ gallery.T, axis=1) for view in found]
    return float(np.mean(np.stack(nearest) == np.arange(identities)))


def _vector(embedding: IdentityEmbedding, pair: jax.Array) -> jax.Array:
    """Of one view of an identity."""
    view, identity = pair
    key = jax.random.fold_in(jax.random.key(_HELD_OUT), identity)
    factors = with_identity(sample_factors(jax.random.fold_in(key, 1 + view)), sample_factors(key))
    return embedding(render(factors, size=tasks.SIZE).image)


def evaluate(
    names: Sequence[str] = NAMES, *, weights: Path | None = None, images: int, identities: int = 100, probes: int = 5
) -> dict[str, Any]:
    """Measures networks.

    Args:
        names: Networks to measure, of `NAMES`.
        weights: Directory of NAME.safetensors files; None for the networks that come with the package.
        images: Number of renders.
        identities: Size of the identity network's gallery.
        probes: Renders of each identity that are looked up.

    Returns:
        A dict of JSON values for each network: accuracies, ratios and shares from 0 to 1, the keypoints' error in
        percent of the width; and the agreement of classifier and judge if both are measured.

    Raises:
        ValueError: No renders, or a file that holds no network.
        FileNotFoundError: A network is missing.
    """
    found = {
        name: checkpoints.load_packaged(name)
        if weights is None
        else checkpoints.load_network(weights / f"{name}.safetensors")
        for name in names
    }
    numbers: dict[str, Any] = {}
    for name, network in found.items():
        if isinstance(network, AttributeClassifier):
            numbers[name] = {"accuracy": attribute_accuracy(network, images=images)}
        elif isinstance(network, FaceParser):
            numbers[name] = {"iou": parsing_iou(network, images=images)}
        elif isinstance(network, KeypointDetector):
            numbers[name] = {"percent_of_width": keypoint_error(network, images=images)}
        else:
            numbers[name] = {"rank_1": rank_1(network, identities=identities, probes=probes)}
    if {"classifier", "judge"} <= set(found):
        numbers["agreement"] = agreement(found["classifier"], found["judge"], images=images)
    return numbers
