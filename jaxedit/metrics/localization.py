"""Where an edit changed an image, compared with where it should."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

_TINY = 1e-7


def share_inside(
    image: Float[ArrayLike, "height width channels"],
    other: Float[ArrayLike, "height width channels"],
    mask: Bool[ArrayLike, "height width"],
) -> Float[Array, ""]:
    """Measures how much of the squared change of an image lies inside a mask.

    Args:
        image: Of any range.
        other: Of the same shape.
        mask: True for the pixels inside.

    Returns:
        `[]` in [0, 1]; 0 if nothing changed.
    """
    squares = jnp.sum(jnp.square(jnp.asarray(image) - jnp.asarray(other)), axis=-1)
    whole, inside = jnp.sum(squares), jnp.sum(jnp.where(jnp.asarray(mask), squares, 0))
    return jnp.where(whole > 0, inside / jnp.where(whole > 0, whole, 1), 0)


def localization_lpips(
    distance_map: Float[ArrayLike, "height width"],
    mask: Float[ArrayLike, "height width"],
    *,
    smallest: float = 1e-6,
) -> Float[Array, ""]:
    """Says whether the pixels that changed most, as many as a mask has, lie in it: LELSD's own metric.

    Args:
        distance_map: `[height, width]`, how much each pixel changed: LPIPS' map with AlexNet, of images of 256 px.
        mask: `[height, width]` in [0, 1].
        smallest: Distances below count as 0.

    Returns:
        `[]` in [0, 0.5]: P R / (P + R) of the N + 1 pixels of the largest distance for a mask of N, without the 2 of
        the F score. Equal to `LocalizationLPIPS.get_localization_score` of the released code, but where distances are
        equal, for which its order is not defined; a mask of all pixels, which it fails on, counts all of them.
    """
    distance, mask = jnp.ravel(jnp.asarray(distance_map)), jnp.ravel(jnp.asarray(mask))
    order = jnp.argsort(-jnp.where(distance < smallest, 0, distance))
    wanted = jnp.sum(mask)
    last = jnp.minimum(wanted.astype(jnp.int32), mask.size - 1)
    found = jnp.cumsum(mask[order])[last]
    precision, recall = found / (last.astype(mask.dtype) + 1), found / jnp.maximum(wanted, 1)
    return precision * recall / (precision + recall + _TINY)
