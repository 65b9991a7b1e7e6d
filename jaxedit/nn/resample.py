"""Two-fold resampling with the binomial filter [1, 3, 3, 1] of StyleGAN2, as shifts and adds.

A depthwise convolution with the same taps is 10 to 60 times slower in XLA on the CPU and needs a kernel launch of its
own on a GPU; sums of slices fuse with whatever stands next to them.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from jaxedit.nn.convolution import conv2d


def upsample2d(x: Float[Array, "height width features"]) -> Float[Array, "2*height 2*width features"]:
    """Doubles the size of an image.

    Args:
        x: `[height, width, features]`, any float dtype.

    Returns:
        `[2 * height, 2 * width, features]`. Equal to `upfirdn2d.upsample2d(x, setup_filter([1, 3, 3, 1]))` of
        stylegan2-ada-pytorch.
    """
    for axis in (0, 1):
        size = x.shape[axis]
        padded = _pad(x, axis, 1, 1)
        before, after = (lax.slice_in_dim(padded, start, start + size, axis=axis) for start in (0, 2))
        pairs = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def upsample_conv2d(
    x: Float[Array, "height width in_features"], kernel: Float[Array, "3 3 in_features out_features"]
) -> Float[Array, "2*height 2*width out_features"]:
    """Doubles the size with a transposed 3x3 convolution, then smooths.

    Args:
        x: `[height, width, in_features]`, any float dtype.
        kernel: `[3, 3, in_features, out_features]`, in TensorFlow's orientation (the PyTorch checkpoints hold it
            flipped).

    Returns:
        `[2 * height, 2 * width, out_features]`. Equal to `conv2d_resample(x, w, f, up=2, padding=1)` of
        stylegan2-ada-pytorch.
    """
    return _smooth(conv2d(x, kernel, padding=((2, 2), (2, 2)), input_dilation=2), pad=1, gain=4.0)


def downsample_conv2d(
    x: Float[Array, "height width in_features"], kernel: Float[Array, "3 3 in_features out_features"]
) -> Float[Array, "height//2 width//2 out_features"]:
    """Smooths, then halves the size with a 3x3 convolution of stride 2.

    Args:
        x: `[height, width, in_features]` with even sizes, any float dtype.
        kernel: `[3, 3, in_features, out_features]`.

    Returns:
        `[height / 2, width / 2, out_features]`. Equal to `conv2d_resample(x, w, f, down=2, padding=1)` of
        stylegan2-ada-pytorch.
    """
    return conv2d(_smooth(x, pad=2, gain=1.0), kernel, padding=((0, 0), (0, 0)), stride=2)


def downsample2d(x: Float[Array, "height width features"]) -> Float[Array, "height//2 width//2 features"]:
    """Halves the size of an image.

    Args:
        x: `[height, width, features]` with even sizes, any float dtype.

    Returns:
        `[height / 2, width / 2, features]`. Equal to `upfirdn2d.downsample2d(x, setup_filter([1, 3, 3, 1]))` of
        stylegan2-ada-pytorch.
    """
    for axis in (0, 1):
        padded = _pad(x, axis, 1, 1)
        size = x.shape[axis]
        taps = [lax.slice_in_dim(padded, start, start + size - 1, stride=2, axis=axis) for start in range(4)]
        x = 0.125 * (taps[0] + taps[3]) + 0.375 * (taps[1] + taps[2])
    return x


def _pad(x: Array, axis: int, before: int, after: int) -> Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (before, after)
    return jnp.pad(x, widths)


def _smooth(x: Array, *, pad: int, gain: float) -> Array:
    """Filters the two axes before the last at full size; each grows by `2 * pad - 3`."""
    return _smooth_p.bind(x, pad=pad, gain=gain)


def _filter(x: Array, *, pad: int, gain: float) -> Array:
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(pad, pad), (pad, pad), (0, 0)])
    for axis in (x.ndim - 3, x.ndim - 2):
        size = x.shape[axis] - 3
        taps = [lax.slice_in_dim(x, start, start + size, axis=axis) for start in range(4)]
        x = (taps[0] + taps[3]) + 3.0 * (taps[1] + taps[2])
    return x * (gain / 64.0)


def _abstract(x, **options):
    return jax.make_jaxpr(partial(_filter, **options))(x).out_avals[0]


def _batch(arguments, axes, **options):
    return _smooth_p.bind(jnp.moveaxis(arguments[0], axes[0], 0), **options), 0


# A primitive because the transpose of a sum of slices is a sum of padded arrays, which takes XLA's CPU backend 2.5
# times as long as filtering the cotangent.
_smooth_p = Primitive("jaxedit_smooth")
_smooth_p.def_abstract_eval(_abstract)
_jitted = jax.jit(_smooth_p.bind, static_argnames=("pad", "gain"))
_smooth_p.def_impl(lambda x, **options: (_filter if jax.config.jax_disable_jit else _jitted)(x, **options))
ad.deflinear2(_smooth_p, lambda cotangent, x, *, pad, gain: [_smooth_p.bind(cotangent, pad=3 - pad, gain=gain)])
batching.primitive_batchers[_smooth_p] = _batch
mlir.register_lowering(_smooth_p, mlir.lower_fun(_filter, multiple_results=False))
