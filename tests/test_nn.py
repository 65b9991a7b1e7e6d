"""jaxedit.nn against float64 references, and its convolution under every transformation."""

import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax import lax
from slowly import first_quick

from jaxedit.generators.stylegan2_discriminator import minibatch_stddev
from jaxedit.nn import (
    Dense,
    StyleConv,
    ToRGB,
    conv2d,
    downsample2d,
    downsample_conv2d,
    leaky_relu,
    modulated_conv2d,
    normalize_second_moment,
    upsample2d,
    upsample_conv2d,
)
from jaxedit.nn.nearest import nearest_conv2d, pooled_conv2d
from jaxedit.nn.winograd import winograd_conv2d

BUDGET = 1e-5  # of the largest value; float32 operations measure 2e-7 to 2e-6
SAME = ((1, 1), (1, 1))


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def check(found: Any, expected: Any, budget: float = BUDGET) -> None:
    """Same tree, shapes and values: the largest error is within the budget, relative to the largest value."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= budget * np.abs(want).max()


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "same": ((6, 5, 3), (3, 3, 3, 4), {"padding": SAME}),
    "stride 2": ((7, 9, 3), (3, 3, 3, 4), {"padding": ((0, 0), (0, 0)), "stride": 2}),
    "transposed": ((4, 5, 3), (3, 3, 3, 4), {"padding": ((2, 2), (2, 2)), "input_dilation": 2}),
    "transposed, four taps": ((4, 5, 3), (4, 4, 3, 4), {"padding": ((2, 2), (2, 2)), "input_dilation": 2}),
    "odd": ((5, 7, 3), (2, 4, 3, 4), {"padding": ((1, 2), (0, 3)), "stride": 3, "input_dilation": 2}),
    "pointwise": ((5, 4, 3), (1, 1, 3, 4), {"padding": ((0, 0), (0, 0))}),
    "atrous": ((7, 6, 3), (3, 3, 3, 4), {"padding": ((2, 2), (2, 2)), "kernel_dilation": 2}),
    "atrous odd": (
        (5, 7, 3),
        (2, 4, 3, 4),
        {"padding": ((3, 2), (4, 3)), "stride": 3, "input_dilation": 2, "kernel_dilation": 2},
    ),
    "atrous, few outputs": ((4, 9, 8), (3, 3, 8, 2), {"padding": ((4, 5), (5, 3)), "kernel_dilation": 4}),
    "wide padding": ((4, 4, 3), (1, 1, 3, 4), {"padding": ((1, 2), (3, 0))}),
}


# Values.


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv2d_is_the_sum_over_windows(name: str):
    """Protects: orientation, padding, stride and dilation of the one convolution."""
    shape, taps, options = CONVOLUTIONS[name]
    x, kernel = normal(0, *shape), normal(1, *taps)
    check(conv2d(x, kernel, **options), oracles.conv2d(x, kernel, **options))


@pytest.mark.parametrize("function", [upsample2d, downsample2d])
def test_resampling(function: Any):
    """Protects: phase, gain and borders of the binomial filter, on images that are not square."""
    x = normal(0, 6, 10, 3)
    check(function(x), getattr(oracles, function.__name__)(x))


@pytest.mark.parametrize("function", [upsample_conv2d, downsample_conv2d])
def test_resampling_convolutions(function: Any):
    """Protects: orientation of the kernel, phase and borders of the resampling layers."""
    x, kernel = normal(0, 6, 8, 3), normal(1, 3, 3, 3, 5)
    check(function(x, kernel), getattr(oracles, function.__name__)(x, kernel))


def test_nearest_convolution():
    """Protects: orientation of the kernel, phase and borders where every pixel is repeated first."""
    x, kernel = normal(0, 6, 5, 3), normal(1, 3, 3, 3, 4)
    enlarged = np.asarray(x).repeat(2, axis=0).repeat(2, axis=1)
    check(nearest_conv2d(x, kernel), oracles.conv2d(enlarged, kernel, padding=SAME))


def test_pooled_convolution():
    """Protects: orientation of the kernel, phase and borders where the mean of four pixels is taken after."""
    x, kernel = normal(0, 6, 8, 3), normal(1, 3, 3, 3, 4)
    whole = oracles.conv2d(x, kernel, padding=SAME)
    check(pooled_conv2d(x, kernel), whole.reshape(3, 2, 4, 2, 4).mean((1, 3)))


@pytest.mark.parametrize("scale", [1.0, 1e-4])
@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_equals_a_kernel_per_sample(up: bool, scale: float):
    """Protects: scaling activations is modulating weights, epsilon is added to un-scaled weights (styles near 0)."""
    x, kernel, style = normal(0, 6, 5, 7), normal(1, 3, 3, 7, 4), 1 + normal(2, 7)
    y, demodulation = modulated_conv2d(x, kernel, scale * style, up=up)
    check(y * demodulation[None, None], oracles.modulated_conv2d(x, kernel, scale * style, up=up))


def layer_params(layer: nn.Module, *arguments: Any) -> dict[str, Any]:
    """Parameters of which none is zero."""
    shapes = jax.eval_shape(lambda key: layer.init(key, *arguments), jax.random.key(0))["params"]
    return {name: normal(len(name), *leaf.shape) for name, leaf in shapes.items()}


@pytest.mark.parametrize("clamp", [None, 0.5])
@pytest.mark.parametrize("noise", ["const", "none", "key"])
@pytest.mark.parametrize("up", [False, True])
def test_style_conv(up: bool, noise: str, clamp: float | None):
    """Protects: the order demodulation, noise, bias, activation, gain, clamp; and the three kinds of noise."""
    x, style, size = normal(0, 4, 4, 6), 1 + normal(1, 6), 8 if up else 4
    layer = StyleConv(5, size, up, clamp)
    kind = jax.random.key(7) if noise == "key" else noise
    params = layer_params(layer, x, style, "none")
    maps = {
        "const": params["noise_const"],
        "none": np.zeros((size, size)),
        "key": jax.random.normal(jax.random.key(7), (size, size)),
    }
    found = layer.apply({"params": params}, x, style, kind)
    check(found, oracles.style_conv(params, x, style, maps[noise], up=up, clamp=clamp))


@pytest.mark.parametrize("clamp", [None, 0.5])
def test_to_rgb(clamp: float | None):
    """Protects: the gain 1 / sqrt(in) inside the layer, no demodulation, bias before the clamp."""
    x, style = normal(0, 4, 5, 6), 1 + normal(1, 6)
    layer = ToRGB(3, clamp)
    params = layer_params(layer, x, style)
    check(layer.apply({"params": params}, x, style), oracles.to_rgb(params, x, style, clamp=clamp))


@pytest.mark.parametrize("shape", [(6,), (2, 3, 6)])
def test_dense(shape: tuple[int, ...]):
    """Protects: equalised learning rate and its multiplier on kernel and bias."""
    x, layer = normal(0, *shape), Dense(5, 0.01, 1.0)
    params = layer_params(layer, x)
    check(layer.apply({"params": params}, x), oracles.dense(params, x, lr_multiplier=0.01))
    initial: Any = layer.init(jax.random.key(0), jnp.zeros(400))["params"]
    assert float(jnp.std(initial["kernel"])) == pytest.approx(100, rel=0.1) and (initial["bias"] == 1).all()


@pytest.mark.parametrize("function", [leaky_relu, normalize_second_moment])
def test_elementwise(function: Any):
    """Protects: slope and gain of the activation, epsilon of the normalisation (tiny inputs)."""
    for x in (normal(0, 9), 1e-4 * normal(1, 9)):
        check(function(x), getattr(oracles, function.__name__)(x))


@pytest.mark.parametrize(("group_size", "num_channels"), [(4, 1), (2, 3), (None, 2), (32, 1)])
def test_minibatch_stddev(group_size: int | None, num_channels: int):
    """Protects: which samples form a group (equal number modulo the groups), and which channels a map."""
    x = normal(0, 8, 2, 3, 6) * jnp.arange(1.0, 9.0)[:, None, None, None]
    options: dict[str, Any] = {"group_size": group_size, "num_channels": num_channels}
    check(minibatch_stddev(x, **options), oracles.minibatch_stddev(x, **options))
    with pytest.raises(ValueError, match="batch of 8 can't be split into groups of 3"):
        minibatch_stddev(x, group_size=3, num_channels=1)


# Winograd.


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (12, 20)])
def test_winograd_values(size: tuple[int, int], reverse: bool):
    """Protects: the minimal filtering form, tiles at the borders, several samples, the turned kernel of gradients."""
    x, kernel = normal(0, 3, *size, 32), normal(1, 3, 3, 32, 32)
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2) if reverse else kernel
    expected = np.stack([oracles.conv2d(image, turned, padding=SAME) for image in x])
    check(winograd_conv2d(x, kernel, reverse=reverse), expected)


def test_winograd_is_one_product():
    """Protects: the time to compile a wide layer, which its 36 products written one by one multiply by four."""
    lowered = jax.jit(functools.partial(winograd_conv2d, reverse=False)).lower(
        normal(0, 1, 8, 8, 32), normal(1, 3, 3, 32, 32)
    )
    assert lowered.as_text().count("stablehlo.dot_general") == 1


def batch_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.vmap(lambda image: conv2d(image, kernel, padding=SAME))(x)


def has_convolution(x: jax.Array, kernel: jax.Array) -> bool:
    return "stablehlo.convolution" in jax.jit(batch_conv).lower(x, kernel).as_text()


def test_where_winograd_is_taken():
    """Protects: the fast form for wide float32 layers on the CPU at default precision, and nowhere else."""
    x, kernel = jnp.zeros((2, 32, 32, 256)), jnp.zeros((3, 3, 256, 256))
    assert not has_convolution(x, kernel)
    assert has_convolution(x[..., :128], kernel[:, :, :128]), "too few channels"
    assert has_convolution(x[:1], kernel), "too few pixels"
    assert has_convolution(jnp.zeros((3, 30, 30, 256)), kernel), "no whole tiles"
    assert has_convolution(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)), "rounding of bfloat16"
    with jax.default_matmul_precision("highest"):
        assert has_convolution(x, kernel), "direct form on request"


@pytest.mark.parametrize("dilation", [2, 4])
def test_winograd_of_atrous_convolutions(dilation: int):
    """Protects: the phases of an image that is no whole number of tiles, in the convolution and its input gradient."""
    x, kernel = normal(0, 50, 47, 256), normal(1, 3, 3, 256, 256)
    atrous = functools.partial(conv2d, padding=((dilation, dilation), (dilation, dilation)), kernel_dilation=dilation)
    assert "stablehlo.convolution" not in jax.jit(atrous).lower(x, kernel).as_text()
    assert "stablehlo.convolution" in jax.jit(atrous).lower(x[:28, :28], kernel).as_text(), "too few pixels"

    def both(x, kernel):
        y, pull = jax.vjp(lambda x: atrous(x, kernel), x)
        return y, pull(jnp.cos(x))

    found = jax.jit(both)(x, kernel)
    with jax.default_matmul_precision("highest"):
        check(found, jax.jit(both)(x, kernel))


def test_winograd_in_the_convolution_and_its_gradients():
    """Protects: the accuracy of wide layers, forward (float64) and through both gradients (direct form)."""
    x, kernel, cotangent = normal(0, 1, 48, 48, 256), normal(1, 3, 3, 256, 256), normal(2, 1, 48, 48, 256)
    y, pull = jax.vjp(jax.jit(batch_conv), x, kernel)
    rows = oracles.conv2d(x[0, :5], kernel, padding=((1, 0), (1, 1)))  # a part is enough, and quick
    check(y[0, :4], rows)
    with jax.default_matmul_precision("highest"):
        direct, direct_pull = jax.vjp(jax.jit(batch_conv), x, kernel)
        expected = direct_pull(cotangent)
    check(y, direct)
    check(pull(cotangent), expected)


# The convolution under transformations, each against the same expression of lax.conv_general_dilated.


def direct(
    x: jax.Array,
    kernel: jax.Array,
    *,
    padding: Any,
    stride: int = 1,
    input_dilation: int = 1,
    kernel_dilation: int = 1,
) -> jax.Array:
    return lax.conv_general_dilated(
        x[None],
        kernel,
        (stride, stride),
        padding,
        lhs_dilation=(input_dilation, input_dilation),
        rhs_dilation=(kernel_dilation, kernel_dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )[0]


def loss(f: Any, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jnp.sum(jnp.sin(f(x, kernel)))  # its higher derivatives do not vanish


def two(x: jax.Array) -> jax.Array:
    return jnp.stack([x, 0.5 - x[::-1]])


def gradients(f: Any, x: jax.Array, kernel: jax.Array) -> Any:
    return jax.grad(functools.partial(loss, f), (0, 1))(x, kernel)


def hessian_vector(f: Any, x: jax.Array, kernel: jax.Array) -> Any:
    return jax.jvp(lambda *at: gradients(f, *at), (x, kernel), (x[::-1], kernel[::-1]))


def penalty(f: Any, x: jax.Array, kernel: jax.Array) -> Any:
    """The gradient of a squared gradient, as R1 and the path length need it, with respect to both."""

    def squared(x, kernel):
        return jnp.sum(jnp.square(jax.grad(functools.partial(loss, f))(x, kernel)))

    return jax.grad(squared, (0, 1))(x, kernel)


def transpose(f: Any, x: jax.Array, kernel: jax.Array) -> Any:
    y = f(x, kernel)
    by_x = jax.linear_transpose(lambda x: f(x, kernel), x)(y)
    return by_x, jax.linear_transpose(lambda kernel: f(x, kernel), kernel)(y)


def linearize(f: Any, x: jax.Array, kernel: jax.Array) -> Any:
    y, tangent = jax.linearize(f, x, kernel)
    return y, tangent(x[::-1], kernel[::-1])


def in_scan(f: Any, x: jax.Array, kernel: jax.Array) -> Any:
    """Gradient descent, and the gradient through it."""

    def descend(x, kernel):
        return lax.scan(lambda x, _: (x - 0.1 * jax.grad(functools.partial(loss, f))(x, kernel), x), x, length=3)

    return descend(x, kernel), jax.grad(lambda kernel: jnp.sum(descend(x, kernel)[0]))(kernel)


def in_fori(f: Any, x: jax.Array, kernel: jax.Array) -> Any:
    return lax.fori_loop(0, 3, lambda _, k: k - 0.1 * gradients(f, x, k)[1], kernel)


def in_while(f: Any, x: jax.Array, kernel: jax.Array) -> Any:
    def body(carry):
        return carry[0] + 1, carry[1] - 0.1 * gradients(f, carry[1], kernel)[0]

    return lax.while_loop(lambda carry: carry[0] < 3, body, (0, x))


def grad_of_vmap(f: Any, x: jax.Array, kernel: jax.Array) -> Any:
    return gradients(jax.vmap(f, (0, None)), two(x), kernel)


TRANSFORMS: dict[str, Any] = {
    "jit": lambda f, x, k: f(x, k),
    "grad": gradients,
    "jvp": lambda f, x, k: jax.jvp(f, (x, k), (x[::-1], k[::-1])),
    "linearize": linearize,
    "linear_transpose": transpose,
    "vmap input": lambda f, x, k: jax.vmap(f, (0, None))(two(x), k),
    "vmap last input axis": lambda f, x, k: jax.vmap(f, (3, None), 2)(jnp.moveaxis(two(x), 0, 3), k),
    "vmap kernel": lambda f, x, k: jax.vmap(f, (None, 0))(x, two(k)),
    "vmap both": lambda f, x, k: jax.vmap(f)(two(x), two(k)),
    "vmap of vmap": lambda f, x, k: jax.vmap(jax.vmap(f, (0, None)), (None, 0))(two(x), two(k)),
    "vmap of grad": lambda f, x, k: jax.vmap(functools.partial(gradients, f))(two(x), two(k)),
    "grad of vmap": grad_of_vmap,
    "jvp of grad": hessian_vector,
    "grad of grad": penalty,
    "vmap of grad of grad": lambda f, x, k: jax.vmap(functools.partial(penalty, f), (0, None))(two(x), k),
    "scan": in_scan,
    "fori_loop": in_fori,
    "while_loop": in_while,
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(
    "name", first_quick(["same", "stride 2", "transposed", "odd", "pointwise", "atrous odd", "atrous, few outputs"])
)
def test_convolution_under(transform: str, name: str):
    """Protects: the rules of the convolution primitive, alone and nested."""
    shape, taps, options = CONVOLUTIONS[name]
    x, kernel = 0.3 * normal(0, *shape), 0.3 * normal(1, *taps)

    def both(x, kernel):
        return tuple(TRANSFORMS[transform](functools.partial(f, **options), x, kernel) for f in (conv2d, direct))

    check(*jax.jit(both)(x, kernel))


@pytest.mark.parametrize("function", first_quick([downsample_conv2d, upsample_conv2d]))
def test_smoothing_under_gradients(function: Any):
    """Protects: the transpose of the filter primitive, which is the filter with other padding, to second order."""
    x, kernel = 0.3 * normal(0, 6, 8, 3), 0.3 * normal(1, 3, 3, 3, 5)

    def written_out(x, kernel):
        up, taps = function is upsample_conv2d, jnp.asarray(oracles.BINOMIAL, jnp.float32)
        each = jax.vmap(lambda c: direct(c[..., None], taps[:, :, None, None], padding=pad)[..., 0], 2, 2)
        if up:
            pad = ((1, 1), (1, 1))
            return 4.0 * each(direct(x, kernel, padding=((2, 2), (2, 2)), input_dilation=2))
        pad = ((2, 2), (2, 2))
        return direct(each(x), kernel, padding=((0, 0), (0, 0)), stride=2)

    for name in ("grad", "vmap of grad", "jvp of grad", "grad of grad", "scan"):
        check(*jax.jit(lambda x, k, f=TRANSFORMS[name]: (f(function, x, k), f(written_out, x, k)))(x, kernel))


def descent_program(f: Any, x: jax.Array, kernel: jax.Array) -> str:
    """What XLA's CPU backend runs for steps of gradient descent in a scan."""

    def descend(x, kernel):
        return lax.scan(lambda x, _: (x - jax.grad(functools.partial(loss, f))(x, kernel), None), x, length=4)[0]

    return jax.jit(descend).lower(x, kernel).compile().as_text() or ""


def is_plain(program: str) -> bool:
    """Whether all convolutions are correlations in NHWC with a kernel in HWIO, the form with a fast implementation."""
    layouts = set(re.findall(r"dim_labels=([\w>-]+)", program))
    assert layouts, "there are convolutions to look at"
    return layouts == {"b01f_01io->b01f"} and "rhs_reversal" not in program


def test_gradients_in_a_scan_keep_the_fast_convolution():
    """Protects: input gradients in loops, up to 48 times slower on the CPU with a turned kernel; no timing."""
    x, kernel = normal(0, 16, 16, 8), normal(1, 3, 3, 8, 8)
    for f in (functools.partial(conv2d, padding=SAME), upsample_conv2d, downsample_conv2d):
        assert is_plain(descent_program(f, x, kernel))
    slow = descent_program(functools.partial(direct, padding=SAME), x, kernel)
    assert not is_plain(slow), "this test can see the slow form; if XLA has lost it, the primitive is no longer needed"


@pytest.mark.parametrize("derivative", ["grad", "grad of grad"])
@pytest.mark.parametrize("function", [functools.partial(conv2d, padding=SAME), upsample_conv2d, downsample_conv2d])
def test_training_keeps_the_fast_convolution_in_branches_and_loops(function: Any, derivative: str):
    """Protects: kernel gradients and gradient penalties in `lax.cond` and `lax.scan`, up to 20 times slower on the CPU
    where a transposition is left to XLA or a kernel is turned; no timing."""
    derive = functools.partial(TRANSFORMS[derivative], jax.vmap(function, (0, None)))

    def descend(x, kernel):
        def step(kernel, _):
            return lax.cond(kernel[0, 0, 0, 0] > 0, lambda k: k - derive(x, k)[1], lambda k: k, kernel), None

        return lax.scan(step, kernel, length=4)[0]

    program = jax.jit(descend).lower(normal(0, 4, 16, 16, 8), normal(1, 3, 3, 8, 8)).compile().as_text() or ""
    assert is_plain(program) and "lhs_dilate" not in program


@pytest.mark.parametrize("function", [upsample_conv2d, downsample_conv2d])
def test_no_dilated_input_on_the_cpu(function: Any):
    """Protects: up-sampling convolutions (and gradients of down-sampling) run in phases, not over zeros."""
    x, kernel = normal(0, 16, 16, 8), normal(1, 3, 3, 8, 8)
    program = jax.jit(functools.partial(gradients, function)).lower(x, kernel).compile().as_text() or ""
    assert "lhs_dilate" not in program
    options = {"padding": ((2, 2), (2, 2)), "input_dilation": 2}
    plain = jax.jit(functools.partial(direct, **options)).lower(x, kernel).compile().as_text() or ""
    assert "lhs_dilate" in plain


def test_bfloat16_stays_bfloat16():
    """Protects: no silent float32, and rounding of no more than the 8 bits of bfloat16."""
    x, kernel, style = normal(0, 8, 8, 6).astype(jnp.bfloat16), normal(1, 3, 3, 6, 5), 1 + normal(2, 6)
    low = kernel.astype(jnp.bfloat16)
    for function in (upsample2d, downsample2d):
        y = function(x)
        assert y.dtype == jnp.bfloat16
        check(y.astype(jnp.float32), getattr(oracles, function.__name__)(x.astype(jnp.float32)), 1e-2)
    for function in (functools.partial(conv2d, padding=SAME), upsample_conv2d, downsample_conv2d):
        assert function(x, low).dtype == jnp.bfloat16
    for up in (False, True):
        y, demodulation = modulated_conv2d(x, kernel, style, up=up)
        assert (y.dtype, demodulation.dtype) == (jnp.bfloat16, jnp.float32)
        found = y.astype(jnp.float32) * demodulation[None, None]
        check(found, oracles.modulated_conv2d(x.astype(jnp.float32), kernel, style, up=up), 2e-2)
