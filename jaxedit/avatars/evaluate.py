"""How good the avatars' networks are on renders that no training saw: `python -m jaxedit.avatars.evaluate`.

The renders' keys come from a seed by another path than those of any training.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxedit import checkpoints
from jaxedit.avatars import tasks
from jaxedit.avatars.factors import ATTRIBUTES, Factors, attributes, sample_factors, with_identity
from jaxedit.avatars.renderer import PARSING_CLASSES, Rendering, render
from jaxedit.cli.arguments import parse_or_exit
from jaxedit.memory import keep_freed_memory
from jaxedit.networks.attributes import AttributeClassifier
from jaxedit.networks.bisenet import FaceParser
from jaxedit.networks.embedding import IdentityEmbedding
from jaxedit.networks.keypoints import KeypointDetector

_HELD_OUT = 20_220_101
_BATCH = 50

Measure = Callable[[Factors, Rendering], Any]


def _sum_over_renders(measure: Measure, images: int) -> Any:
    """Float64 sums of what `measure` says about each of the first `images` held-out renders."""

    def of_batch(indices):
        def of_one(index):
            factors = sample_factors(jax.random.fold_in(jax.random.key(_HELD_OUT), index))
            return measure(factors, render(factors, size=tasks.SIZE))

        return jax.vmap(of_one)(indices)

    compiled, total = jax.jit(of_batch), None
    for start in range(0, images, _BATCH):
        inside = np.arange(start, start + _BATCH) < images
        found = jax.tree.map(
            lambda leaf: np.asarray(leaf, np.float64)[inside].sum(axis=0),  # noqa: B023
            compiled(jnp.arange(start, start + _BATCH)),
        )
        total = found if total is None else jax.tree.map(np.add, total, found)
    return total


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

    def right(factors, rendering):
        return (classifier.classify(rendering.image) > 0) == attributes(factors)

    return _named(ATTRIBUTES, _sum_over_renders(right, images) / images)


def agreement(classifier: AttributeClassifier, judge: AttributeClassifier, *, images: int) -> dict[str, float]:
    """Share of held-out renders on which two classifiers say the same.

    Args:
        classifier: One.
        judge: The other.
        images: Number of renders.

    Returns:
        The share for each attribute, and their `"mean"`.
    """

    def same(_, rendering):
        return (classifier.classify(rendering.image) > 0) == (judge.classify(rendering.image) > 0)

    return _named(ATTRIBUTES, _sum_over_renders(same, images) / images)


def parsing_iou(parser: FaceParser, *, images: int) -> dict[str, float]:
    """Intersection over union of the parser's and the true pixels of each class, over all held-out renders together.

    Args:
        parser: Of the 19 classes.
        images: Number of renders.

    Returns:
        The ratio for each class, and their `"mean"`; not a number for a class that is in no render.
    """

    def confusion(_, rendering):
        classes = jnp.arange(len(PARSING_CLASSES), dtype=jnp.int32)
        found, true = (
            (labels.reshape(-1, 1) == classes[None]).astype(jnp.float32)
            for labels in (parser.parse(rendering.image), rendering.parsing)
        )
        return jnp.matmul(found.T, true, precision=jax.lax.Precision.HIGHEST)

    counts = _sum_over_renders(confusion, images)
    both = np.diagonal(counts)
    with np.errstate(invalid="ignore"):
        return _named(PARSING_CLASSES, both / (counts.sum(axis=0) + counts.sum(axis=1) - both))


def keypoint_error(detector: KeypointDetector, *, images: int) -> float:
    """Mean distance of the 68 keypoints from their true places, in percent of the image's width.

    Args:
        detector: Of the keypoints.
        images: Number of held-out renders.

    Returns:
        The mean over keypoints and renders.
    """

    def distance(_, rendering):
        offsets = detector.locate(rendering.image) - rendering.keypoints
        return jnp.mean(jnp.linalg.norm(offsets, axis=-1))

    return float(50.0 * _sum_over_renders(distance, images) / images)


def rank_1(embedding: IdentityEmbedding, *, identities: int, probes: int) -> float:
    """How often the nearest of a gallery of identities is the right one, when all else about the avatar differs.

    Args:
        embedding: The identity network.
        identities: In the gallery, with one held-out render each.
        probes: Renders of each identity that are looked up.

    Returns:
        The share of probes.
    """

    def vector(identity, view):
        key = jax.random.fold_in(jax.random.key(_HELD_OUT), identity)
        factors = with_identity(sample_factors(jax.random.fold_in(key, 1 + view)), sample_factors(key))
        return embedding.embed(render(factors, size=tasks.SIZE).image)

    def of_view(view) -> Float[Array, "identities dimensions"]:
        return jax.vmap(vector, (0, None))(jnp.arange(identities), view)

    compiled = jax.jit(of_view)
    gallery = compiled(0)
    nearest = [np.argmax(np.asarray(compiled(view) @ gallery.T), axis=1) for view in range(1, probes + 1)]
    return float(np.mean(np.stack(nearest) == np.arange(identities)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure the networks on held-out renders and print the numbers as JSON."""

    weights: Path | None = None
    """Directory of NAME.safetensors files. Default: the networks that come with the package."""
    names: tuple[str, ...] = ("classifier", "judge", "parser", "keypoints", "embedding")
    """Networks to measure."""
    images: int = 2000
    """Number of renders."""
    identities: int = 100
    """Size of the identity network's gallery."""
    probes: int = 5
    """Renders of each identity that are looked up."""


def evaluate(options: Evaluate) -> dict[str, Any]:
    """Measures networks.

    Args:
        options: The command's.

    Returns:
        A dict of JSON values for each network: accuracies, ratios and shares from 0 to 1, the keypoints' error in
        percent of the width; and the agreement of classifier and judge if both are measured.

    Raises:
        FileNotFoundError: A network is missing.
    """
    folder = options.weights
    found = {
        name: checkpoints.load_packaged(name)
        if folder is None
        else checkpoints.load_network(folder / f"{name}.safetensors")
        for name in options.names
    }
    numbers: dict[str, Any] = {}
    for name, network in found.items():
        if isinstance(network, AttributeClassifier):
            numbers[name] = {"accuracy": attribute_accuracy(network, images=options.images)}
        elif isinstance(network, FaceParser):
            numbers[name] = {"iou": parsing_iou(network, images=options.images)}
        elif isinstance(network, KeypointDetector):
            numbers[name] = {"percent_of_width": keypoint_error(network, images=options.images)}
        else:
            numbers[name] = {"rank_1": rank_1(network, identities=options.identities, probes=options.probes)}
    if {"classifier", "judge"} <= set(found):
        numbers["agreement"] = agreement(found["classifier"], found["judge"], images=options.images)
    return numbers


if __name__ == "__main__":
    keep_freed_memory()
    try:
        print(json.dumps(evaluate(parse_or_exit(Evaluate, program="python -m jaxedit.avatars.evaluate")), indent=2))
    except (ValueError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)
