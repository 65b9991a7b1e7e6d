"""The layers of BigGAN-deep, and its tables of statistics."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxedit.nn import conv2d

_EPSILON = 1e-4


class Place(NamedTuple):
    """Two rows of a table of statistics, and the weight of the first one, `[]` each."""

    low: Int[Array, ""]
    high: Int[Array, ""]
    weight: Float[Array, ""]

    def read(self, table: Array) -> Array:
        return self.weight * table[self.low] + (1 - self.weight) * table[self.high]


def place_of(truncation: Float[Array, ""], rows: int) -> Place:
    """Where the official code reads a table; the weight is NaN for what is no truncation.

    It divides by the step in double precision, so that some multiples of it end up beside their row, and what is
    between two rows has their weights exchanged: just above a row is the next one. Multiples of the step are known
    here by their nearest float32.
    """
    multiples = np.arange(rows) / (rows - 1)
    fraction, whole = np.modf(multiples / (1.0 / (rows - 1)))
    beside = jnp.asarray(np.where((fraction > 0) & (fraction < 0.5), whole + 1, whole), jnp.int32)
    known = jnp.asarray(multiples, jnp.float32)
    low = jnp.clip(jnp.sum(known <= truncation) - 1, 0, rows - 1)
    exact, high = known[low] == truncation, jnp.minimum(low + 1, rows - 1)
    weight = jnp.where(exact, 1.0, jnp.clip(truncation * (rows - 1) - low.astype(jnp.float32), 0, 1))
    possible = (truncation > 0) & (truncation <= 1)
    return Place(jnp.where(exact, beside[low], low), high, jnp.where(possible, weight, jnp.nan))


class Norm(NamedTuple):
    """A batch normalisation in inference, `[channels]` each: `(x - mean) * scale + bias`."""

    mean: Array
    scale: Array
    bias: Array

    def activated(self, x: Float[Array, "height width channels"]) -> Float[Array, "height width channels"]:
        """Normalises and applies ReLU, in float32; the dtype of `x` is kept."""
        mean, scale, bias = (vector[None, None] for vector in self)
        return jax.nn.relu((x.astype(jnp.float32) - mean) * scale + bias).astype(x.dtype)


def _statistics(module: nn.Module, shape: tuple[int, int], place: Place) -> tuple[Array, Array]:
    """Mean and standard deviation at a truncation; the tables are parameters of the module."""
    mean = module.param("mean", nn.initializers.zeros, shape)
    var = module.param("var", nn.initializers.ones, shape)
    return place.read(mean), jnp.sqrt(place.read(var) + _EPSILON)


class ConditionalNorms(nn.Module):
    """The batch normalisations of a block, side by side: all scales, then all offsets, depend on z and the class."""

    widths: tuple[int, ...]
    truncations: int

    @nn.compact
    def __call__(self, condition: Array, place: Place) -> list[Norm]:
        total = sum(self.widths)
        affine = nn.Dense(2 * total, use_bias=False, precision=lax.Precision.HIGHEST, name="affine")(condition)
        mean, deviation = _statistics(self, (self.truncations, total), place)
        vectors = (mean, (1 + affine[:total]) / deviation, affine[total:])
        ends = np.cumsum(self.widths)[:-1]
        return [Norm(*parts) for parts in zip(*(jnp.split(vector, ends) for vector in vectors), strict=True)]


class LastNorm(nn.Module):
    """The one batch normalisation that depends on the truncation alone."""

    truncations: int

    @nn.compact
    def __call__(self, x, place):
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        mean, deviation = _statistics(self, (self.truncations, x.shape[-1]), place)
        return Norm(mean, scale / deviation, bias).activated(x)


class Conv(nn.Module):
    """3x3 convolution with bias that keeps the size."""

    features: int

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return conv2d(x, kernel.astype(x.dtype), padding=((1, 1), (1, 1))) + bias.astype(x.dtype)[None, None]


class Pointwise(nn.Module):
    """1x1 convolution."""

    features: int
    bias: bool = True

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.features))
        y = jnp.einsum("hwi,io->hwo", x, kernel.astype(x.dtype))
        if not self.bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return y + bias.astype(x.dtype)[None, None]


class Block(nn.Module):
    """A residual block; its shortcut drops channels where there are fewer above. Equal to `GenBlock`."""

    features: int
    up: bool
    truncations: int

    @nn.compact
    def __call__(self, x, condition, place):
        middle = x.shape[-1] // 4
        norms = ConditionalNorms((x.shape[-1], middle, middle, middle), self.truncations, name="norms")(
            condition, place
        )
        y = norms[1].activated(Pointwise(middle, name="conv0")(norms[0].activated(x)))
        shortcut = x[:, :, : self.features]
        if self.up:
            y, shortcut = _doubled(y), _doubled(shortcut)
        y = norms[2].activated(Conv(middle, name="conv1")(y))
        y = norms[3].activated(Conv(middle, name="conv2")(y))
        return Pointwise(self.features, name="conv3")(y) + shortcut


def _doubled(x: Array) -> Array:
    """Every pixel four times."""
    height, width, channels = x.shape
    return jnp.broadcast_to(x[:, None, :, None], (height, 2, width, 2, channels)).reshape(2 * height, 2 * width, -1)


def _halved(x: Array) -> Array:
    """The largest of every four pixels, in rows `[pixels / 4, channels]`."""
    height, width, channels = x.shape
    return jnp.max(x.reshape(height // 2, 2, width // 2, 2, channels), axis=(1, 3)).reshape(-1, channels)


class Attention(nn.Module):
    """Every pixel reads from the largest of every four. Equal to `SelfAttn`."""

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        query = Pointwise(channels // 8, False, name="theta")(x).reshape(-1, channels // 8)
        key = _halved(Pointwise(channels // 8, False, name="phi")(x))
        value = _halved(Pointwise(channels // 2, False, name="g")(x))
        likeness = jnp.einsum("qc,kc->qk", query, key, preferred_element_type=jnp.float32)
        read = jnp.einsum("qk,kc->qc", jax.nn.softmax(likeness).astype(x.dtype), value)
        gamma = self.param("gamma", nn.initializers.zeros, ())
        return x + gamma.astype(x.dtype) * Pointwise(channels, False, name="o")(read.reshape(*x.shape[:2], -1))
