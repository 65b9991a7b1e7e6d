"""Fits the directions of the built-in generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import jax
import numpy as np

from jaxedit.avatars.directions import FittedSpace
from jaxedit.avatars.factors import ATTRIBUTES
from jaxedit.directions.svm import fit_boundary
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.networks.attributes import AttributeClassifier
from jaxedit.spaces import Direction, join_styles

_BATCH = 100


def fit_directions(
    generator: StyleGAN2Generator, classifier: AttributeClassifier, *, count: int, seed: int
) -> Iterator[Direction]:
    """Fits a linear support vector machine per attribute and space to generated samples.

    Args:
        generator: A generator of avatars.
        classifier: Tells the attributes of its pictures.
        count: Samples, a multiple of 100.
        seed: Of the samples.

    Yields:
        For Z, W and S (sparse there) one direction per name in `ATTRIBUTES`, as `directions.svm.fit_boundary` makes it.
    """

    @jax.jit
    @jax.vmap
    def labelled(key: jax.Array) -> tuple[dict[FittedSpace, jax.Array], jax.Array]:
        z = jax.random.normal(key, (generator.config.z_dim,))
        w = generator.map(z)
        styles = generator.styles(w)
        labels = classifier.classify(generator.synthesize(styles, noise="const")) > 0
        return {"z": z, "w": w, "s": join_styles(styles)}, labels

    keys = jax.random.split(jax.random.key(seed), (count // _BATCH, _BATCH))
    parts = [jax.tree.map(np.asarray, labelled(batch)) for batch in keys]
    codes, labels = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
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
