"""Light defects that pictures get in training, so that networks also read pictures that a generator made."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

_BLUR, _NOISE, _CONTRAST, _CAST, _BRIGHTNESS = 0.7, 0.06, 0.1, 0.04, 0.08


def degrade(key: Key[Array, ""], image: Float[Array, "height width 3"]) -> Float[Array, "height width 3"]:
    """Blurs an image a little, and changes contrast, colour cast and brightness, and adds noise, each by a random
    amount.

    Args:
        key: A typed key.
        image: `[height, width, 3]` float32 in [-1, 1].

    Returns:
        The changed image, clipped to [-1, 1].
    """
    blur, noise, contrast, cast, brightness, pixels = jax.random.split(key, 6)
    image = image + _BLUR * jax.random.uniform(blur) ** 2 * (_smooth(image) - image)
    image = image * (1.0 + _CONTRAST * jax.random.uniform(contrast, minval=-1.0))
    offset = _CAST * jax.random.uniform(cast, (3,), minval=-1.0) + _BRIGHTNESS * jax.random.uniform(
        brightness, (1,), minval=-1.0
    )
    grain = _NOISE * jax.random.uniform(noise) ** 2 * jax.random.normal(pixels, image.shape)
    return jnp.clip(image + offset[None, None] + grain, -1.0, 1.0)


def _smooth(image: Array) -> Array:
    """The filter [1, 2, 1] / 4 along both axes; the border repeats."""
    rows = jnp.pad(image, ((1, 1), (0, 0), (0, 0)), mode="edge")
    image = 0.25 * (rows[:-2] + rows[2:]) + 0.5 * image
    columns = jnp.pad(image, ((0, 0), (1, 1), (0, 0)), mode="edge")
    return 0.25 * (columns[:, :-2] + columns[:, 2:]) + 0.5 * image
