"""Adaptive discriminator augmentation (Karras et al., "Training generative adversarial networks with limited data",
2020): the pixel blitting, geometric and colour transforms of its appendix B ("bgc"), and how often they are applied.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

Probability = float | Float[Array, ""]

_TRANSLATION = 0.125  # of the width: the limit of whole steps, the deviation of fractional ones
_LOG_SCALE = 0.2 * math.log(2.0)
_LOG_CONTRAST = 0.5 * math.log(2.0)
_LOG_SATURATION = math.log(2.0)
_BRIGHTNESS = 0.2
_QUARTERS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)], np.float32)  # cosine and sine, exact
_GREY = np.full((3, 3), 1 / 3, np.float32)  # projection to the luma axis (1, 1, 1)
_AROUND_GREY = np.array([(0, -1, 1), (1, 0, -1), (-1, 1, 0)], np.float32) / math.sqrt(3.0)  # a quarter turn around it
_TAPS = 4


def augment(key: Key[Array, ""], image: Float[Array, "size size 3"], p: Probability) -> Float[Array, "size size 3"]:
    """Transforms an image at random, each transform with probability `p`; differentiable in the image.

    Mirroring, quarter turns, whole translations, scaling, rotation, stretching, rotation again and fractional
    translation make one affine map; brightness, contrast, luma flip, hue and saturation another (appendix B, with its
    distributions).

    The image is sampled once, with Keys' cubic kernel, and reflected at the border. The paper upsamples with a sym6
    wavelet filter, samples bilinearly and filters down again: two more passes with 12 taps and four times as many
    samples, for less aliasing where the image is made smaller. The cubic kernel leaves pixels that fall on pixels as
    they are, and passes the fine detail that a bilinear one would damp.

    Args:
        key: A typed key.
        image: `[size, size, 3]` float32, about [-1, 1].
        p: Probability, 0 (changes nothing) to 1.

    Returns:
        `[size, size, 3]` float32; values may leave [-1, 1].
    """
    geometry_key, colour_key = jax.random.split(key)
    linear, offset = _colour_map(colour_key, p)
    warped = warp(image, _source_map(geometry_key, p, image.shape[0]))
    return jnp.einsum("hwc,dc->hwd", warped + offset, linear, precision=lax.Precision.HIGHEST)


def _source_map(key: Key[Array, ""], p: Probability, size: int) -> Float[Array, "2 3"]:
    """Where a pixel of the result comes from: the product of the inverse transforms, last one rightmost. Each
    transform is distributed like its inverse, so the inverses are what is drawn."""
    keys = iter(jax.random.split(key, 16))

    def chosen(p: Probability, drawn: Array, neutral: Array | np.ndarray | float = 0.0) -> Array:
        return jnp.where(jax.random.uniform(next(keys)) < p, drawn, neutral)

    def angle(p: Probability) -> Array:
        return chosen(p, jax.random.uniform(next(keys), minval=-math.pi, maxval=math.pi))

    mirror = chosen(p, jax.random.rademacher(next(keys), (), jnp.float32), 1.0)
    quarter = chosen(p, jnp.asarray(_QUARTERS)[jax.random.randint(next(keys), (), 0, 4)], _QUARTERS[0])
    whole = chosen(p, jnp.round(jax.random.uniform(next(keys), (2,), minval=-1.0) * (_TRANSLATION * size)))
    scale = jnp.exp(chosen(p, _LOG_SCALE * jax.random.normal(next(keys))))
    p_rotation = 1.0 - jnp.sqrt(1.0 - jnp.float32(p))  # at least one of two: p
    first = angle(p_rotation)
    stretch = jnp.exp(chosen(p, _LOG_SCALE * jax.random.normal(next(keys))))
    second = angle(p_rotation)
    fraction = chosen(p, jax.random.normal(next(keys), (2,)) * (_TRANSLATION * size))
    maps = (
        _affine(((mirror, 0.0), (0.0, 1.0))),
        _rotation(quarter[0], quarter[1]),
        _affine(((1.0, 0.0), (0.0, 1.0)), whole),
        _affine(((scale, 0.0), (0.0, scale))),
        _rotation(jnp.cos(first), jnp.sin(first)),
        _affine(((stretch, 0.0), (0.0, 1.0 / stretch))),
        _rotation(jnp.cos(second), jnp.sin(second)),
        _affine(((1.0, 0.0), (0.0, 1.0)), fraction),
    )
    return functools.reduce(functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST), maps)[:2]


def _rotation(cosine: Array, sine: Array) -> Float[Array, "3 3"]:
    return _affine(((cosine, -sine), (sine, cosine)))


def _affine(linear: tuple, offset: Array | tuple[float, float] = (0.0, 0.0)) -> Float[Array, "3 3"]:
    rows = [jnp.stack([*map(jnp.float32, row), offset[index]]) for index, row in enumerate(linear)]
    return jnp.stack([*rows, jnp.array([0.0, 0.0, 1.0])])


def _colour_map(key: Key[Array, ""], p: Probability) -> tuple[Float[Array, "3 3"], Float[Array, ""]]:
    """A linear map of colours, and the number to add to all channels before it. Brightness moves along the luma axis,
    the luma flip inverts it, hue and saturation turn and scale what is perpendicular to it."""
    keys = iter(jax.random.split(key, 10))

    def chosen(drawn: Array, neutral: float = 0.0) -> Array:
        return jnp.where(jax.random.uniform(next(keys)) < p, drawn, neutral)

    brightness = chosen(_BRIGHTNESS * jax.random.normal(next(keys)))
    contrast = jnp.exp(chosen(_LOG_CONTRAST * jax.random.normal(next(keys))))
    flip = chosen(jax.random.rademacher(next(keys), (), jnp.float32), 1.0)
    hue = chosen(jax.random.uniform(next(keys), minval=-math.pi, maxval=math.pi))
    saturation = jnp.exp(chosen(_LOG_SATURATION * jax.random.normal(next(keys))))
    chroma = jnp.cos(hue) * (np.eye(3, dtype=np.float32) - _GREY) + jnp.sin(hue) * _AROUND_GREY
    return contrast * (flip * _GREY + saturation * chroma), brightness


def warp(
    image: Float[Array, "height width channels"], source: Float[Array, "2 3"]
) -> Float[Array, "height width channels"]:
    """Samples an image at affinely mapped positions, with Keys' cubic kernel (a = -1/2), reflected at the border.

    Args:
        image: `[height, width, channels]` float32, at least 3 pixels high and wide.
        source: Maps `(x, y, 1)` of a pixel of the result to x and y in the image; both from the centre, in pixels, x
            to the right, y down.

    Returns:
        `[height, width, channels]` float32.
    """
    height, width, channels = image.shape
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    x = jnp.arange(width, dtype=jnp.float32)[None, :] - centre_x
    y = jnp.arange(height, dtype=jnp.float32)[:, None] - centre_y
    row, row_weights = _taps(source[1, 0] * x + source[1, 1] * y + source[1, 2] + centre_y, height)
    column, column_weights = _taps(source[0, 0] * x + source[0, 1] * y + source[0, 2] + centre_x, width)
    padded = jnp.pad(image, ((1, 2), (1, 2), (0, 0)), mode="reflect")
    window = (_TAPS, _TAPS, channels)
    patches = jax.vmap(jax.vmap(lambda i, j: lax.dynamic_slice(padded, (i, j, 0), window)))(row, column)
    columns = jnp.sum(patches * column_weights[:, :, None, :, None], axis=3)
    return jnp.sum(columns * row_weights[:, :, :, None], axis=2)


def _taps(position: Float[Array, "height width"], size: int) -> tuple[Array, Array]:
    """The first of four pixels (of the padded image) around a position, and the weights of all four."""
    folded = jnp.abs(jnp.mod(position + (size - 1), 2.0 * (size - 1)) - (size - 1))
    first = jnp.clip(jnp.floor(folded), 0.0, size - 1.0)
    t = folded - first
    weights = (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    return first.astype(jnp.int32), jnp.stack(weights, axis=-1)


def update_probability(
    p: Float[Array, ""], overfitting: Float[Array, ""], *, target: float, images: float, speed: float
) -> Float[Array, ""]:
    """Moves the probability of augmentation towards where the discriminator does not overfit (section 3).

    Args:
        p: The present probability.
        overfitting: The mean of `sign(D(real))`, the paper's r_t, since the last change.
        target: The value it should have.
        images: Images shown since the last change.
        speed: Images in which p could go from 0 to 1.

    Returns:
        p, higher by `images / speed` if r_t is above the target and lower if it is below; 0 to 1.
    """
    return jnp.clip(p + jnp.sign(overfitting - target) * (images / speed), 0.0, 1.0)
