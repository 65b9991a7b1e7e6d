"""The one two-dimensional convolution of the library.

XLA's CPU backend serves only plain correlations quickly. It loses the fast path where a kernel is reversed and its axes
are swapped inside a loop (every input gradient in `lax.scan` or `lax.while_loop`), where axes are transposed inside a
loop or a branch (every kernel gradient in those and in `lax.cond`), where the input is dilated (every up-sampling
convolution), and with many channels where the kernel is. So the convolution and its kernel gradient are bilinear
primitives of their own: their derivatives are again these two, and each platform lowers them in the form that it is
fast at. `grad`, `jvp`, `vmap`, `linearize` and their nestings all work.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import AxisType
from jaxtyping import Array, Float

from jaxedit.nn.winograd import winograd_conv2d

Padding = tuple[tuple[int, int], tuple[int, int]]

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_OPTIONS = ("padding", "stride", "dilation", "kernel_dilation", "reverse", "precision")
_PHASES: dict[tuple[int, ...], Padding] = {(3, 3): ((1, 1), (0, 0)), (4, 4): ((1, 0), (0, 1))}
"""By the taps of a transposed convolution, what even and odd outputs are padded with."""


def conv2d(
    x: Float[Array, "height width in_features"],
    kernel: Float[Array, "kernel_height kernel_width in_features out_features"],
    *,
    padding: Padding,
    stride: int = 1,
    input_dilation: int = 1,
    kernel_dilation: int = 1,
) -> Float[Array, "out_height out_width out_features"]:
    """Correlates one image with a kernel.

    Args:
        x: `[height, width, in_features]`, any float dtype.
        kernel: `[kernel_height, kernel_width, in_features, out_features]`, same dtype; not flipped.
        padding: Zeros before and after each spatial axis (of the dilated input).
        stride: Step of the window, the same on both axes.
        input_dilation: `n` puts `n - 1` zeros between neighbouring pixels first, which makes a transposed convolution.
        kernel_dilation: `n` puts `n - 1` zeros between neighbouring taps first, which makes an atrous convolution.

    Returns:
        `[out_height, out_width, out_features]` in the dtype of `x`. Equal to `jax.lax.conv_general_dilated` in
        NHWC/HWIO.
    """
    precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    options = {
        "padding": tuple(map(tuple, padding)),
        "stride": stride,
        "dilation": input_dilation,
        "kernel_dilation": kernel_dilation,
        "reverse": False,
        "precision": precision,
    }
    x, kernel = _vary_alike(x[None], kernel), _vary_alike(kernel, x)
    return _conv_p.bind(x, kernel, **options)[0]


def _vary_alike(array: Array, other: Array) -> Array:
    """Inside `jax.shard_map`: marks an array that all devices share as differing, where the other operand differs."""
    missing = tuple(jax.typeof(other).mat.varying - jax.typeof(array).mat.varying)
    return lax.pcast(array, missing, to="varying") if missing else array


def _orient(kernel: Array, reverse: bool) -> Array:
    return kernel[::-1, ::-1].transpose(0, 1, 3, 2) if reverse else kernel


def _plain(
    x: Array,
    kernel: Array,
    *,
    padding: Padding,
    stride: int,
    dilation: int,
    kernel_dilation: int,
    reverse: bool,
    precision: Any,
) -> Array:
    """The form that every platform has, and the oracle of the others."""
    return lax.conv_general_dilated(
        x,
        _orient(kernel, reverse),
        (stride, stride),
        padding,
        lhs_dilation=(dilation, dilation),
        rhs_dilation=(kernel_dilation, kernel_dilation),
        dimension_numbers=_DIMENSIONS,
        precision=precision,
    )


def _cpu(x: Array, kernel: Array, *, padding: Padding, reverse: bool, precision: Any, **steps: int) -> Array:
    """Winograd where it pays; a pointwise convolution as a product of matrices; a transposed 3x3 or 4x4 one in its
    phases; a wide atrous one as one product of all taps; no reversal left for XLA to fold."""
    stride, dilation, atrous = steps["stride"], steps["dilation"], steps["kernel_dilation"]
    keeps = kernel.shape[:2] == (3, 3) and padding == ((atrous, atrous), (atrous, atrous)) and stride == dilation == 1
    if keeps and precision is None and _winograd_pays(x, kernel, atrous):
        return _winograd(x, kernel, atrous, reverse)
    if reverse:
        kernel = lax.optimization_barrier(_orient(kernel, True))
    if kernel.shape[:2] == (1, 1) and padding == ((0, 0), (0, 0)) and stride == dilation == 1:
        return jnp.dot(x, kernel[0, 0], precision=precision)  # up to a third faster
    if dilation == 2 and stride == atrous == 1 and kernel.shape[:2] in _PHASES and padding == ((2, 2), (2, 2)):
        return _transposed_in_phases(x, kernel, precision)
    if atrous > 1 and stride == dilation == 1 and kernel.shape[2] >= 4 * kernel.shape[3]:
        return _product_of_taps(x, kernel, padding, atrous, precision)
    return _plain(x, kernel, padding=padding, reverse=False, precision=precision, **steps)


def _winograd_pays(x: Array, kernel: Array, atrous: int) -> bool:
    """Measured: from 256 channels on, with enough pixels to make up for transforming the kernel and for compiling, and
    not too many more once each phase of an atrous convolution consists of whole tiles."""
    if x.dtype != jnp.float32 or min(kernel.shape[2:]) < 256:
        return False
    if not all(isinstance(size, int) for size in x.shape):  # symbolic in a shape-polymorphic export
        return False
    batch, height, width, _ = x.shape
    pixels, step = height * width, 4 * atrous
    padded = (height + -height % step) * (width + -width % step)
    return batch * pixels >= 2048 and (padded == pixels if atrous == 1 else padded <= 1.6 * pixels)


def _winograd(x: Array, kernel: Array, atrous: int, reverse: bool) -> Array:
    """The phases of an atrous convolution, every `atrous`-th pixel each way, are plain convolutions of a batch."""
    if atrous == 1:
        return winograd_conv2d(x, kernel, reverse=reverse)
    batch, height, width, features = x.shape
    rows, columns = (-(-size // (4 * atrous)) * 4 for size in (height, width))
    x = jnp.pad(x, ((0, 0), (0, rows * atrous - height), (0, columns * atrous - width), (0, 0)))
    x = x.reshape(batch, rows, atrous, columns, atrous, features).transpose(0, 2, 4, 1, 3, 5)
    x = winograd_conv2d(x.reshape(-1, rows, columns, features), kernel, reverse=reverse)
    x = x.reshape(batch, atrous, atrous, rows, columns, -1).transpose(0, 3, 1, 4, 2, 5)
    return x.reshape(batch, rows * atrous, columns * atrous, -1)[:, :height, :width]


def _product_of_taps(x: Array, kernel: Array, padding: Padding, atrous: int, precision: Any) -> Array:
    """Every pixel times all taps at once, then each tap's products moved into place; taps that see only zeros are left
    out."""
    sizes, lows = x.shape[1:3], [low for low, _ in padding]
    outs = [
        size + low + high - (k - 1) * atrous
        for size, (low, high), k in zip(sizes, padding, kernel.shape[:2], strict=True)
    ]

    def edges(tap: int, axis: int) -> tuple[int, int, int]:
        before = lows[axis] - tap * atrous
        return before, outs[axis] - sizes[axis] - before, 0

    seen = [
        [tap for tap in range(kernel.shape[axis]) if -sizes[axis] < edges(tap, axis)[0] < outs[axis]] for axis in (0, 1)
    ]
    taps = [(i, j) for i in seen[0] for j in seen[1]]
    out = jnp.zeros((x.shape[0], *outs, kernel.shape[3]), x.dtype)
    if not taps:
        return out
    products = jnp.dot(x, jnp.concatenate([kernel[tap] for tap in taps], axis=1), precision=precision)
    for tap, product in zip(taps, jnp.split(products, len(taps), axis=-1), strict=True):
        out += lax.pad(product, jnp.zeros((), x.dtype), ((0, 0, 0), edges(tap[0], 0), edges(tap[1], 1), (0, 0, 0)))
    return out


def _transposed_in_phases(x: Array, kernel: Array, precision: Any) -> Array:
    """`[N, H, W, I]` to `[N, 2H + 1, 2W + 1, O]`, or to `[N, 2H, 2W, O]` with four taps: even outputs see kernel taps 0
    and 2, odd ones 1 and 3."""
    pads = _PHASES[kernel.shape[:2]]

    def row(vertical: int) -> Array:
        even, odd = (
            lax.conv_general_dilated(
                x,
                kernel[vertical::2, horizontal::2],
                (1, 1),
                (pads[vertical], pads[horizontal]),
                dimension_numbers=_DIMENSIONS,
                precision=precision,
            )
            for horizontal in (0, 1)
        )
        return _interleave(even, odd, axis=2)

    return _interleave(row(0), row(1), axis=1)


def _interleave(even: Array, odd: Array, *, axis: int) -> Array:
    """`n` or `n + 1` even and `n` odd slices one after the other along `axis`."""
    total = even.shape[axis] + odd.shape[axis]
    widths = [(0, 0)] * odd.ndim
    widths[axis] = (0, even.shape[axis] - odd.shape[axis])
    pairs = jnp.stack([even, jnp.pad(odd, widths)], axis + 1)
    shape = list(even.shape)
    shape[axis] *= 2
    return lax.slice_in_dim(pairs.reshape(shape), 0, total, axis=axis)


def _input_transpose(
    cotangent: Array,
    x: Any,
    kernel: Array,
    *,
    padding: Padding,
    stride: int,
    dilation: int,
    kernel_dilation: int,
    reverse: bool,
    precision: Any,
):
    sizes, taps = x.aval.shape[1:3], kernel.shape[:2]
    transposed = tuple(
        ((k - 1) * kernel_dilation - low, (size - 1) * dilation - (out - 1) * stride + low)
        for k, low, size, out in zip(taps, (padding[0][0], padding[1][0]), sizes, cotangent.shape[1:3], strict=True)
    )
    return _conv_p.bind(
        cotangent,
        kernel,
        padding=transposed,
        stride=dilation,
        dilation=stride,
        kernel_dilation=kernel_dilation,
        reverse=not reverse,
        precision=precision,
    )


def _kernel_transpose(cotangent: Array, x: Array, kernel: Any, **options: Any):
    return _kernel_gradient_p.bind(x, cotangent, kernel=kernel.aval, **options)


def _plain_kernel_gradient(x: Array, cotangent: Array, *, kernel: Any, **options: Any) -> Array:
    """The gradient of `sum(cotangent * conv(x, kernel))` to the kernel, whose type is given; for every platform."""
    (out,) = jax.linear_transpose(lambda k: _plain(x, k, **options), kernel)(cotangent)
    return out


def _cpu_kernel_gradient(
    x: Array,
    cotangent: Array,
    *,
    kernel: Any,
    padding: Padding,
    stride: int,
    dilation: int,
    kernel_dilation: int,
    reverse: bool,
    precision: Any,
) -> Array:
    """A correlation over the batch, its operands transposed to NHWC and HWIO here, because XLA does so outside of loops
    and branches only; a transposed convolution's is that of the convolution with stride whose adjoint it is."""
    if (dilation > 1 and stride > 1) or AxisType.Explicit in kernel.sharding.mesh.axis_types:
        options = {"stride": stride, "dilation": dilation, "kernel_dilation": kernel_dilation}
        options |= {"padding": padding, "reverse": reverse, "precision": precision}
        return _plain_kernel_gradient(x, cotangent, kernel=kernel, **options)
    reaches, lows = [(k - 1) * kernel_dilation for k in kernel.shape[:2]], [low for low, _ in padding]
    if dilation > 1:
        lows = [reach - low for reach, low in zip(reaches, lows, strict=True)]
        x, cotangent, stride, reverse = cotangent, x, dilation, not reverse
    sizes = zip(reaches, lows, x.shape[1:3], cotangent.shape[1:3], strict=True)
    gradient = lax.conv_general_dilated(
        lax.optimization_barrier(x.transpose(3, 1, 2, 0)),
        lax.optimization_barrier(cotangent.transpose(1, 2, 0, 3)),
        (kernel_dilation, kernel_dilation),
        [(low, (n - 1) * stride + 1 + reach - size - low) for reach, low, size, n in sizes],
        rhs_dilation=(stride, stride),
        dimension_numbers=_DIMENSIONS,
        precision=precision,
    )
    return _orient(gradient.transpose(1, 2, 0, 3), reverse)


def _kernel_gradient_input_transpose(tangent: Array, x: Any, cotangent: Array, *, kernel: Any, **options: Any):
    return _input_transpose(cotangent, x, tangent, **options)


def _kernel_gradient_cotangent_transpose(tangent: Array, x: Array, cotangent: Any, *, kernel: Any, **options: Any):
    return _conv_p.bind(x, tangent, **options)


def _batch_kernel_gradient(arguments, axes, **options):
    return jax.vmap(functools.partial(_plain_kernel_gradient, **options), in_axes=axes)(*arguments), 0


def _batch(arguments, axes, **options):
    x, kernel = arguments
    x_axis, kernel_axis = axes
    if kernel_axis is not None:  # per-sample kernels: correct, slow, not used by this library
        return jax.vmap(functools.partial(_plain, **options), in_axes=axes)(x, kernel), 0
    x = jnp.moveaxis(x, x_axis, 0)
    out = _conv_p.bind(x.reshape(-1, *x.shape[2:]), kernel, **options)
    return out.reshape(*x.shape[:2], *out.shape[1:]), 0


def _abstract(x, kernel, **options):
    return jax.make_jaxpr(functools.partial(_plain, **options))(x, kernel).out_avals[0]


_conv_p = Primitive("jaxedit_conv2d")
_conv_p.def_abstract_eval(_abstract)
_jitted = jax.jit(_conv_p.bind, static_argnames=_OPTIONS)
_conv_p.def_impl(lambda *arrays, **options: (_plain if jax.config.jax_disable_jit else _jitted)(*arrays, **options))
ad.defbilinear(_conv_p, _input_transpose, _kernel_transpose)
batching.primitive_batchers[_conv_p] = _batch
mlir.register_lowering(_conv_p, mlir.lower_fun(_plain, multiple_results=False))
mlir.register_lowering(_conv_p, mlir.lower_fun(_cpu, multiple_results=False), platform="cpu")

_kernel_gradient_p = Primitive("jaxedit_conv2d_kernel_gradient")
_kernel_gradient_p.def_abstract_eval(lambda x, cotangent, *, kernel, **options: kernel)
_jitted_kernel_gradient = jax.jit(_kernel_gradient_p.bind, static_argnames=("kernel", *_OPTIONS))
_kernel_gradient_p.def_impl(
    lambda *arrays, **options: (_plain_kernel_gradient if jax.config.jax_disable_jit else _jitted_kernel_gradient)(
        *arrays, **options
    )
)
ad.defbilinear(_kernel_gradient_p, _kernel_gradient_input_transpose, _kernel_gradient_cotangent_transpose)
batching.primitive_batchers[_kernel_gradient_p] = _batch_kernel_gradient
mlir.register_lowering(_kernel_gradient_p, mlir.lower_fun(_plain_kernel_gradient, multiple_results=False))
mlir.register_lowering(_kernel_gradient_p, mlir.lower_fun(_cpu_kernel_gradient, multiple_results=False), platform="cpu")
