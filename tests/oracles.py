"""Float64 NumPy references of the operations of `jaxedit.nn`, written from their definitions.

Zeros are put between pixels, windows are moved, kernels are modulated: nothing is reordered as the library reorders it.
Arrays are `[height, width, channels]`, kernels `[height, width, in, out]`, as in the library.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

Padding = tuple[tuple[int, int], tuple[int, int]]

BINOMIAL = np.outer([1.0, 3.0, 3.0, 1.0], [1.0, 3.0, 3.0, 1.0]) / 64.0


def f64(x: Any) -> np.ndarray:
    return np.asarray(x, np.float64)


def insert_zeros(x: Any, factor: int) -> np.ndarray:
    x = f64(x)
    out = np.zeros(((x.shape[0] - 1) * factor + 1, (x.shape[1] - 1) * factor + 1, x.shape[2]))
    out[::factor, ::factor] = x
    return out


def conv2d(
    x: Any, kernel: Any, *, padding: Padding, stride: int = 1, input_dilation: int = 1, kernel_dilation: int = 1
) -> np.ndarray:
    """Every output pixel is the sum of its window times the kernel."""
    features = kernel.shape[2:]
    kernel = insert_zeros(f64(kernel).reshape(*kernel.shape[:2], -1), kernel_dilation)
    kernel = kernel.reshape(*kernel.shape[:2], *features)
    padded = np.pad(insert_zeros(x, input_dilation), (*padding, (0, 0)))
    height, width = ((size - taps) // stride + 1 for size, taps in zip(padded.shape[:2], kernel.shape[:2], strict=True))
    out = np.empty((height, width, kernel.shape[3]))
    for row in range(height):
        for column in range(width):
            top, left = row * stride, column * stride
            window = padded[top : top + kernel.shape[0], left : left + kernel.shape[1]]
            out[row, column] = np.tensordot(window, kernel, 3)
    return out


def fir(x: np.ndarray, *, pad: tuple[int, int], gain: float = 1.0) -> np.ndarray:
    """The binomial filter, channel by channel, with zeros around."""
    padded = np.pad(f64(x), (pad, pad, (0, 0)))
    height, width = padded.shape[0] - 3, padded.shape[1] - 3
    out = np.zeros((height, width, padded.shape[2]))
    for i in range(4):
        for j in range(4):
            out += gain * BINOMIAL[i, j] * padded[i : i + height, j : j + width]
    return out


def upsample2d(x: Any) -> np.ndarray:
    return fir(insert_zeros(x, 2), pad=(2, 2), gain=4.0)


def downsample2d(x: Any) -> np.ndarray:
    return fir(f64(x), pad=(1, 1))[::2, ::2]


def upsample_conv2d(x: Any, kernel: Any) -> np.ndarray:
    """Smooth interpolation first, the convolution last: the other order than in the library."""
    return conv2d(fir(insert_zeros(x, 2), pad=(3, 3), gain=4.0), kernel, padding=((0, 0), (0, 0)))


def downsample_conv2d(x: Any, kernel: Any) -> np.ndarray:
    """One convolution with the 6x6 kernel that filter and kernel make together."""
    kernel = f64(kernel)
    joint = np.zeros((6, 6, *kernel.shape[2:]))
    for i in range(4):
        for j in range(4):
            joint[i : i + 3, j : j + 3] += BINOMIAL[i, j] * kernel
    return conv2d(x, joint, padding=((2, 2), (2, 2)), stride=2)


def modulated_conv2d(x: Any, kernel: Any, style: Any, *, up: bool = False) -> np.ndarray:
    """A kernel of the sample's own, modulated and demodulated (StyleGAN2 paper, section 2.2)."""
    weight = f64(kernel) * f64(style)[None, None, :, None]
    weight = weight / np.sqrt((weight**2).sum((0, 1, 2)) + 1e-8)
    return upsample_conv2d(x, weight) if up else conv2d(x, weight, padding=((1, 1), (1, 1)))


def leaky_relu(x: Any) -> np.ndarray:
    x = f64(x)
    return np.where(x > 0, x, 0.2 * x) * np.sqrt(2)


def normalize_second_moment(x: Any) -> np.ndarray:
    return f64(x) / np.sqrt((f64(x) ** 2).mean() + 1e-8)


def dense(params: Mapping[str, Any], x: Any, *, lr_multiplier: float) -> np.ndarray:
    kernel = f64(params["kernel"]) * lr_multiplier / np.sqrt(params["kernel"].shape[0])
    return np.einsum("...i,io->...o", f64(x), kernel) + lr_multiplier * f64(params["bias"])


def clip(x: np.ndarray, limit: float | None) -> np.ndarray:
    return x if limit is None else np.clip(x, -limit, limit)


def style_conv(params: Mapping[str, Any], x: Any, style: Any, noise: Any, *, up: bool, clamp: float | None):
    """`noise` is the map that is added, before the bias and after the demodulation."""
    y = modulated_conv2d(x, params["kernel"], style, up=up)
    y = y + f64(params["noise_strength"]) * f64(noise)[:, :, None] + f64(params["bias"])
    return clip(leaky_relu(y), clamp)


def to_rgb(params: Mapping[str, Any], x: Any, style: Any, *, clamp: float | None) -> np.ndarray:
    weight = f64(params["kernel"]) * f64(style)[:, None] / np.sqrt(len(style))
    return clip(f64(x) @ weight + f64(params["bias"]), clamp)


def minibatch_stddev(x: Any, *, group_size: int | None, num_channels: int) -> np.ndarray:
    """Samples whose numbers are equal modulo the number of groups share a statistic."""
    x = f64(x)
    batch, channels = x.shape[0], x.shape[3]
    groups = batch // min(group_size or batch, batch)
    maps = np.empty((*x.shape[:3], num_channels))
    for sample in range(batch):
        members = [other for other in range(batch) if other % groups == sample % groups]
        for feature, part in enumerate(np.split(np.arange(channels), num_channels)):
            maps[sample, :, :, feature] = np.sqrt(x[members][..., part].var(axis=0) + 1e-8).mean()
    return np.concatenate([x, maps], axis=-1)
