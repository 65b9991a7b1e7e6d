"""The directions that come with the built-in generator: one per attribute, in W."""

from __future__ import annotations

import importlib.resources

import jax
import numpy as np
from sklearn.svm import LinearSVC

from jaxedit.avatars.factors import ATTRIBUTES
from jaxedit.directions.files import load_direction
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.networks.attributes import AttributeClassifier
from jaxedit.spaces import Direction

_BATCH = 100


def fit_directions(
    generator: StyleGAN2Generator, classifier: AttributeClassifier, *, count: int, seed: int
) -> list[Direction]:
    """Fits a linear support vector machine per attribute to generated samples, as InterFaceGAN does.

    Args:
        generator: A generator of avatars.
        classifier: Tells the attributes of its pictures.
        count: Samples, a multiple of 100.
        seed: Of the samples.

    Returns:
        One W direction per name in `ATTRIBUTES`: the unit normal towards "has it", `unit` the standard deviation of w
        along it.
    """

    @jax.jit
    def labelled(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        w = generator.map(jax.random.normal(key, (generator.config.z_dim,)))
        return w, classifier.classify(generator.synthesize(generator.styles(w), noise="const")) > 0

    keys = jax.random.split(jax.random.key(seed), (count // _BATCH, _BATCH))
    parts = [jax.vmap(labelled)(batch) for batch in keys]
    w, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return [_direction(name, w, labels[:, index], generator) for index, name in enumerate(ATTRIBUTES)]


def _direction(name: str, w: np.ndarray, labels: np.ndarray, generator: StyleGAN2Generator) -> Direction:
    normal = LinearSVC(C=0.01, dual="auto").fit(w, labels).coef_[0]
    normal = (normal / np.linalg.norm(normal)).astype(np.float32)
    return Direction(name=name, space="w", vector=normal, unit=float(np.std(w @ normal)), source=generator.fingerprint)


def load_directions() -> tuple[Direction, ...]:
    """The directions that come with the package, in the order of `ATTRIBUTES`."""
    folder = importlib.resources.files("jaxedit.avatars") / "weights" / "directions"
    with importlib.resources.as_file(folder) as path:
        return tuple(load_direction(path / f"{name}.safetensors") for name in ATTRIBUTES)
