"""How far an image is from a render: what a generator is fitted by, whose every latent stands for a known avatar."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxedit.avatars.renderer import PARSING_CLASSES
from jaxedit.networks.attributes import AttributeClassifier

Image = Float[Array, "size size 3"]
Classes = Int[Array, "size size"]

_DETAIL = 3.0
_WEIGHTS = {"background": 0.5, "cloth": 0.7, "neck": 0.8, "hair": 0.9, "hat": 1.0, "skin": 1.2}  # others: _DETAIL


class PairErrors(NamedTuple):
    """The parts of what sets an image apart from a render; float32 scalars, or what each weighs.

    Attributes:
        pixels: Absolute error of the pixels, in which small parts of the face count most.
        edges: Likewise of the differences of neighbouring pixels. It sharpens edges that are in place, and keeps those
            that are not from getting there.
        features: Absolute error of the classifier's features, in units of the render's mean, over all its stages.
    """

    pixels: Float[Array, ""] | float
    edges: Float[Array, ""] | float
    features: Float[Array, ""] | float


def pair_errors(image: Image, wanted: Image, parsing: Classes, *, classifier: AttributeClassifier) -> PairErrors:
    """Compares an image with a render.

    Args:
        image: `[size, size, 3]` float32 about [-1, 1].
        wanted: Likewise, the render.
        parsing: `[size, size]` int32, the class of each of its pixels.
        classifier: Of images of that size, or of a size that it is a multiple of.

    Returns:
        The errors.
    """
    table = jnp.array([_WEIGHTS.get(name, _DETAIL) for name in PARSING_CLASSES])
    error, weight = image - wanted, table[parsing][..., None]
    across = jnp.mean(jnp.abs(jnp.diff(error, axis=1)) * weight[:, 1:])
    down = jnp.mean(jnp.abs(jnp.diff(error, axis=0)) * weight[1:])
    features = jnp.float32(0.0)
    maps = (classifier.feature_maps(_of_size(picture, classifier.config.resolution)) for picture in (image, wanted))
    for found, true in zip(*maps, strict=True):
        features += jnp.mean(jnp.abs(found - true)) / jnp.mean(true)
    return PairErrors(jnp.mean(jnp.abs(error) * weight), across + down, features)


def _of_size(image: Image, size: int) -> Float[Array, "_ _ 3"]:
    """The means of square blocks, which leave `size` px; a smaller image as it is."""
    block = max(image.shape[0] // size, 1)
    side = image.shape[0] // block
    return jnp.mean(image.reshape(side, block, side, block, 3), axis=(1, 3))


def weighted(errors: PairErrors, weights: PairErrors) -> Float[Array, ""]:
    """The sum of the errors times their weights, which are Python numbers."""
    total = jnp.float32(0.0)
    for weight, error in zip(weights, errors, strict=True):
        if weight:  # or it is derived for nothing
            total += weight * error
    return total
