"""Two-fold resampling with the binomial filter [1, 3, 3, 1] of StyleGAN2, as shifts and adds.

A depthwise convolution with the same taps is 10 to 60 times slower in XLA on the CPU and needs a kernel launch of its own on a GPU; sums of slices fuse
with whatever stands next to them.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxedit.nn.convolution import conv2d


def upsample2d(x: Float[Array, "height width features"]) -> Float[Array, "2*height 2*width features"]:
    """Doubles the size of an image.

    Args:
        x: `[height, width, features]`, any float dtype.

    Returns:
        `[2 * height, 2 * width, features]`. Equal to `upfirdn2d.upsample2d(x, setup_filter([1, 3, 3, 1]))` of stylegan2-ada-pytorch.
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
        kernel: `[3, 3, in_features, out_features]`, in TensorFlow's orientation (the PyTorch checkpoints hold it flipped).

    Returns:
        `[2 * height, 2 * width, out_features]`. Equal to `conv2d_resample(x, w, f, up=2, padding=1)` of stylegan2-ada-pytorch.
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
        `[height / 2, width / 2, out_features]`. Equal to `conv2d_resample(x, w, f, down=2, padding=1)` of stylegan2-ada-pytorch.
    """
    return conv2d(_smooth(x, pad=2, gain=1.0), kernel, padding=((0, 0), (0, 0)), stride=2)


def downsample2d(x: Float[Array, "height width features"]) -> Float[Array, "height//2 width//2 features"]:
    """Halves the size of an image.

    Args:
        x: `[height, width, features]` with even sizes, any float dtype.

    Returns:
        `[height / 2, width / 2, features]`. Equal to `upfirdn2d.downsample2d(x, setup_filter([1, 3, 3, 1]))` of stylegan2-ada-pytorch.
    """
    for axis in (0, 1):
        padded = _pad(x, axis, 1, 1)
        size = x.shape[axis]
        taps = [lax.slice_in_dim(padded, start, start + size - 1, stride=2, axis=axis) for start in range(4)]
        x = 0.125 * (taps[0] + taps[3]) + 0.375 * (taps[1] + taps[2])
    return x


def _smooth(x: Array, *, pad: int, gain: float) -> Array:
    """Filters both axes at full size; each axis grows by `2 * pad - 3`."""
    for axis in (0, 1):
        padded = _pad(x, axis, pad, pad)
        size = padded.shape[axis] - 3
        taps = [lax.slice_in_dim(padded, start, start + size, axis=axis) for start in range(4)]
        x = taps[0] + 3.0 * (taps[1] + taps[2]) + taps[3]
    return x * (gain / 64.0)


def _pad(x: Array, axis: int, before: int, after: int) -> Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (before, after)
    return jnp.pad(x, widths)
