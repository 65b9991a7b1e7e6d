"""What the supervised networks are fitted by. Each takes a batch and returns its mean."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int


def attribute_loss(
    logits: Float[Array, "batch attributes"], present: Bool[Array, "batch attributes"]
) -> Float[Array, ""]:
    """Binary cross entropy.

    Args:
        logits: `[batch, attributes]` float32.
        present: `[batch, attributes]` bool.

    Returns:
        The mean over both axes.
    """
    return jnp.mean(optax.losses.sigmoid_binary_cross_entropy(logits, present))


def parsing_loss(
    logits: Float[Array, "batch height width classes"], classes: Int[Array, "batch height width"]
) -> Float[Array, ""]:
    """Cross entropy of pixels. Every pixel weighs the same: weights for rare classes let them grow over their edges.

    Args:
        logits: `[batch, height, width, classes]` float32.
        classes: `[batch, height, width]` integers.

    Returns:
        The mean over all pixels.
    """
    # A gather's gradient is a scatter, which is slow on the CPU.
    chosen = jax.nn.one_hot(classes, logits.shape[-1], dtype=logits.dtype)
    return jnp.mean(optax.losses.softmax_cross_entropy(logits, chosen))


def keypoint_loss(found: Float[Array, "batch points 2"], expected: Float[Array, "batch points 2"]) -> Float[Array, ""]:
    """Absolute error of coordinates.

    Args:
        found: `[batch, points, 2]` float32.
        expected: `[batch, points, 2]` float32.

    Returns:
        The mean over all coordinates.
    """
    return jnp.mean(jnp.abs(found - expected))


def contrastive_loss(
    first: Float[Array, "batch dimensions"], second: Float[Array, "batch dimensions"], *, temperature: float
) -> Float[Array, ""]:
    """InfoNCE (van den Oord et al., 2018), in both directions: row i of one is to be told from all rows of the other.

    Args:
        first: `[batch, dimensions]` float32, each of length 1.
        second: Likewise; row i is of the same identity as row i of `first`, and all others are not.
        temperature: What cosines are divided by.

    Returns:
        The mean cross entropy.
    """
    cosines = jnp.matmul(first, second.T, precision=lax.Precision.HIGHEST) / temperature
    matching = jnp.diagonal(cosines)
    rows, columns = jax.nn.logsumexp(cosines, axis=1), jax.nn.logsumexp(cosines, axis=0)
    return jnp.mean(0.5 * (rows + columns) - matching)
