"""How much an edit changed: differences of one image and its edited version."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

_WINDOW, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03  # of the original SSIM
_RANGE = 2.0  # of images in [-1, 1]


def masked_mse(
    image: Float[ArrayLike, "height width channels"],
    other: Float[ArrayLike, "height width channels"],
    mask: Bool[ArrayLike, "height width"],
) -> Float[Array, ""]:
    """Mean squared difference over the pixels of a mask; outside a region with its mask negated.

    Args:
        image: About [-1, 1].
        other: Of the same shape.
        mask: True for the pixels that count.

    Returns:
        The mean over pixels and channels; 0 for an empty mask.
    """
    image, mask = jnp.asarray(image), jnp.asarray(mask)
    squares = jnp.where(mask[..., None], jnp.square(image - jnp.asarray(other)), 0)
    count = mask.sum().astype(image.dtype) * image.shape[-1]
    return squares.sum() / jnp.maximum(count, 1)


def psnr(
    image: Float[ArrayLike, "height width channels"], other: Float[ArrayLike, "height width channels"]
) -> Float[Array, ""]:
    """Peak signal-to-noise ratio of images in [-1, 1].

    Args:
        image: One image.
        other: Of the same shape.

    Returns:
        Decibels, `10 log10(4 / mse)`; infinite for equal images.
    """
    mse = jnp.mean(jnp.square(jnp.asarray(image) - jnp.asarray(other)))
    return 10 * jnp.log10(_RANGE**2 / mse)


def ssim(
    image: Float[ArrayLike, "height width channels"], other: Float[ArrayLike, "height width channels"]
) -> Float[Array, ""]:
    """Structural similarity (Wang et al., 2004) of images in [-1, 1], the mean over channels.

    The original's constants: Gaussian window of 11 pixels and deviation 1.5, K1 = 0.01, K2 = 0.03, statistics of the
    population, and only windows that lie inside the image. It is defined on one channel from black upwards, so its
    luminance term sees images as [0, 2]; colours are averaged as scikit-image does.

    Args:
        image: One image, 11 pixels or more each way.
        other: Of the same shape.

    Returns:
        1 for equal images, about 0 for unrelated ones.

    Raises:
        ValueError: An image smaller than the window.
    """
    first, second = jnp.asarray(image), jnp.asarray(other)
    if min(first.shape[:2]) < _WINDOW:
        raise ValueError(f"images of {first.shape[0]} x {first.shape[1]} pixels; ssim needs {_WINDOW} or more each way")
    mean1, mean2 = _windowed(first), _windowed(second)
    variance1 = _windowed(first * first) - mean1 * mean1
    variance2 = _windowed(second * second) - mean2 * mean2
    covariance = _windowed(first * second) - mean1 * mean2
    c1, c2 = (_K1 * _RANGE) ** 2, (_K2 * _RANGE) ** 2
    level1, level2 = mean1 + 1, mean2 + 1
    luminance = (2 * level1 * level2 + c1) / (level1 * level1 + level2 * level2 + c1)
    return jnp.mean(luminance * (2 * covariance + c2) / (variance1 + variance2 + c2))


def _windowed(image: Float[Array, "height width channels"]) -> Float[Array, "_ _ channels"]:
    """Gaussian means of all windows inside the image, one axis after the other."""
    weights = np.exp(-0.5 * ((np.arange(_WINDOW) - _WINDOW // 2) / _SIGMA) ** 2)
    weights = weights / weights.sum()
    for axis in (0, 1):
        count = image.shape[axis] - _WINDOW + 1
        image = sum(
            (jax.lax.slice_in_dim(image, start, start + count, axis=axis) * image.dtype.type(weight))
            for start, weight in enumerate(weights)
        )  # pyright: ignore[reportAssignmentType]
    return image


def identity_score(embedding: Float[ArrayLike, " features"], other: Float[ArrayLike, " features"]) -> Float[Array, ""]:
    """Cosine similarity of two identity embeddings, such as those of a face before and after an edit.

    Args:
        embedding: Of an identity network; any length.
        other: Of the same network.

    Returns:
        -1 to 1, 1 for the same direction; 0 if either is zero.
    """
    first, second = jnp.asarray(embedding), jnp.asarray(other)
    product = jnp.sqrt(jnp.sum(first * first) * jnp.sum(second * second))
    return jnp.sum(first * second) / jnp.where(product > 0, product, 1)


def attribute_change(
    logits: Float[ArrayLike, " attributes"], other: Float[ArrayLike, " attributes"]
) -> Float[Array, " attributes"]:
    """Change of the probability of each attribute from an image to its edited version.

    Args:
        logits: Of a classifier for the image.
        other: For the edited version.

    Returns:
        -1 to 1 per attribute: `sigmoid(other) - sigmoid(logits)`.
    """
    return jax.nn.sigmoid(jnp.asarray(other)) - jax.nn.sigmoid(jnp.asarray(logits))
