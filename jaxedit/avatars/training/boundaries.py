"""Fits the directions of the built-in generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import jax

from jaxedit import batch
from jaxedit.avatars.directions import FittedSpace
from jaxedit.avatars.factors import ATTRIBUTES
from jaxedit.directions.svm import fit_boundary
from jaxedit.generators.stylegan2 import StyleGAN2Generator, join_styles
from jaxedit.networks.attributes import AttributeClassifier
from jaxedit.spaces import Direction

_BATCH = 96


def fit_directions(
    generator: StyleGAN2Generator, classifier: AttributeClassifier, *, count: int, seed: int
) -> Iterator[Direction]:
    """Fits a linear support vector machine per attribute and space to generated samples.

    Args:
        generator: A generator of avatars.
        classifier: Tells the attributes of its pictures.
        count: Number of samples.
        seed: Of the samples: sample i has the key `fold_in(key(seed), i)`.

    Yields:
        For Z, W and S (sparse there) one direction per name in `ATTRIBUTES`, as `directions.svm.fit_boundary` makes it.
    """

    shared, size = (generator, classifier, jax.random.key(seed)), batch.choose_batch_size(count, _BATCH)
    codes, labels = batch.collected(batch.map_samples(_labelled, shared, range(count), batch_size=size))
    for space in get_args(FittedSpace):
        for name, label in zip(ATTRIBUTES, labels.T, strict=True):
            yield fit_boundary(
                jax.random.key(seed),
                codes[space],
                label,
                name=name,
                space=space,
                source=generator.fingerprint,
            ).direction


def _labelled(
    shared: tuple[StyleGAN2Generator, AttributeClassifier, jax.Array], index: jax.Array
) -> tuple[dict[FittedSpace, jax.Array], jax.Array]:
    generator, classifier, key = shared
    z = jax.random.normal(jax.random.fold_in(key, index), (generator.config.z_dim,))
    w = generator.map(z)
    styles = generator.styles(w)
    labels = classifier(generator.synthesize(styles, noise="const")) > 0
    return {"z": z, "w": w, "s": join_styles(styles)}, labels
