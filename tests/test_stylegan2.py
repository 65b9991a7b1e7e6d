"""jaxedit.generators.stylegan2: the architecture table, staged synthesis, noise, truncation, classes, precision."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxedit
from jaxedit import checkpoints, families, stylegan2, stylegan2_discriminator
from jaxedit.generators.config import config_from_dict, config_to_dict
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig

BUDGET = 1e-5  # of the largest value
TINY = StyleGAN2Config(resolution=32, z_dim=16, w_dim=32, channel_base=512, channel_max=32, mapping_layers=2)
CLASSES = dataclasses.replace(TINY, c_dim=3)
NAMES = ["b4.conv1", "b4.torgb", *(f"b{r}.{layer}" for r in (8, 16, 32) for layer in ("conv0", "conv1", "torgb"))]


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


@functools.cache
def network(config: StyleGAN2Config = TINY) -> StyleGAN2Generator:
    """Initial scale, but no noise strength, bias or average w is zero."""
    scales = {"bias": 0.1, "noise_strength": 0.3, "w_avg": 0.5}

    def leaf(path: Any, target: Any) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        scale = scales.get(name.rpartition("/")[2], 1.0) / (0.01 if name.startswith("mapping/fc") else 1.0)
        return scale * normal(len(name), *target.shape) + (1.0 if name == "synthesis/affine/bias" else 0.0)

    params = jax.tree_util.tree_map_with_path(leaf, families.abstract_params(config))
    return StyleGAN2Generator(params, config, "abc")


def code(seed: int = 0) -> jax.Array:
    return normal(seed, TINY.w_dim)


@functools.partial(jax.jit, static_argnames=("noise", "with_features", "compute_dtype"))
def render(generator: StyleGAN2Generator, w: jax.Array, noise: Any = "const", **options: Any) -> Any:
    return generator.synthesize(generator.styles(w), noise=noise, **options)


@jax.jit
def render_key(generator: StyleGAN2Generator, w: jax.Array, key: Any) -> Any:
    return generator.synthesize(generator.styles(w), noise=key)


def check(found: Any, expected: Any, budget: float = BUDGET) -> None:
    jax.tree.map(functools.partial(check_leaf, budget=budget), found, expected)


def check_leaf(found: Any, expected: Any, *, budget: float) -> None:
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert distance(found, expected) <= budget


def distance(found: Any, expected: Any) -> float:
    """Largest difference relative to the largest value."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


# The architecture.


@pytest.mark.parametrize(
    ("resolution", "base", "conv", "torgb"),
    [(1024, 32768, 6048, 3040), (512, 32768, 5952, 3008), (256, 32768, 5760, 2944)]
    + [(1024, 16384, 5072, 2544), (512, 16384, 5024, 2528), (256, 16384, 4928, 2496)],
)
def test_style_space_sizes(resolution: int, base: int, conv: int, torgb: int):
    """Protects: the size of S for config-f and config-e, as published (9088 numbers at 1024 px)."""
    layers = StyleGAN2Config(resolution=resolution, channel_base=base).style_layers
    widths = {kind: sum(layer.width for layer in layers if layer.kind == kind) for kind in ("conv", "torgb")}
    assert widths == {"conv": conv, "torgb": torgb}


def test_style_table_at_1024():
    """Protects: order, widths and w index of the 26 style layers (StyleSpace's table)."""
    config = StyleGAN2Config()
    layers = config.style_layers
    assert (config.num_ws, len(layers), config.block_resolutions) == (18, 26, (4, 8, 16, 32, 64, 128, 256, 512, 1024))
    widths = [512] * 15 + [256] * 3 + [128] * 3 + [64] * 3 + [32] * 2
    assert [layer.width for layer in layers] == widths
    assert [i for i, layer in enumerate(layers) if layer.kind == "torgb"] == list(range(1, 26, 3))
    for layer in layers:
        k = int(math.log2(layer.resolution))
        offset = {"conv0": -5, "conv1": -4, "torgb": -3}[layer.name.partition(".")[2]]
        assert layer.w_index == 2 * k + offset and layer.name.startswith(f"b{layer.resolution}.")
    by_name = {layer.name: layer.w_index for layer in layers}
    assert by_name["b4.torgb"] == by_name["b8.conv0"] == 1, "torgb shares its row of w with the next conv0"


def sizes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def test_parameter_count_at_1024():
    """Protects: the official size, 30.37 M trainable numbers (mapping 2.10 M, synthesis 28.27 M), and the buffers."""
    config = StyleGAN2Config()
    params = families.abstract_params(config)
    buffers = [params["mapping"].pop("w_avg")]
    for resolution in config.block_resolutions:
        for layer in params["synthesis"][f"b{resolution}"].values():
            buffers += [layer.pop("noise_const")] if "noise_const" in layer else []
    assert (sizes(params["mapping"]), sizes(params["synthesis"])) == (2_101_248, 28_268_812)
    assert sizes(params) == 30_370_060
    assert sizes(buffers) == 512 + 16 + 2 * sum(r * r for r in config.block_resolutions[1:])


def test_initial_parameters():
    """Protects: the scale of an untrained network: kernels normal, affine biases one, the rest zero."""
    config = dataclasses.replace(TINY, resolution=8)
    params = jax.jit(functools.partial(stylegan2.init, config=config))(jax.random.key(0))
    assert (params["synthesis"]["affine"]["bias"] == 1).all() and not params["mapping"]["w_avg"].any()
    assert float(jnp.std(params["mapping"]["fc0"]["kernel"])) == pytest.approx(100, rel=0.2)
    assert float(jnp.std(params["synthesis"]["b8"]["conv1"]["kernel"])) == pytest.approx(1, rel=0.1)
    assert params["synthesis"]["b8"]["conv1"]["noise_strength"] == 0
    assert checkpoints.mismatches(families.abstract_params(config), params) == []


@pytest.mark.parametrize("cls", [StyleGAN2Config, DiscriminatorConfig])
@pytest.mark.parametrize("resolution", [0, 4, 48, 1000, -8])
def test_configs_refuse_impossible_resolutions(cls: Any, resolution: int):
    """Protects: an error that says what would be right, before any array is made."""
    with pytest.raises(ValueError, match=f"resolution is {resolution}; it has to be a power of two, at least 8"):
        cls(resolution=resolution)


def test_configs_are_static_and_survive_json():
    """Protects: configs as static arguments (hashable, frozen, compared by value) and in `config.json`."""
    for config in (TINY, dataclasses.replace(TINY, conv_clamp=256.0), DiscriminatorConfig(mbstd_group_size=None)):
        again = config_from_dict(type(config), config_to_dict(config))
        assert again == config and hash(again) == hash(config)
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.resolution = 8  # pyright: ignore[reportAttributeAccessIssue]


def test_sample_z_is_what_nvidia_draws():
    """Protects: seeds mean the same images as in the official scripts."""
    z = jaxedit.sample_z(85, 20)
    assert z.dtype == np.float32 and (z == np.float32(np.random.RandomState(85).randn(1, 20)[0])).all()
    assert jaxedit.sample_z(0).shape == (512,) and float(jaxedit.sample_z(0)[0]) == pytest.approx(1.7640524)


# The generator as a pytree.


def test_generator_is_a_frozen_pytree():
    """Protects: generators pass through `jit`, `vmap` and `tree.map`; config and fingerprint are static."""
    generator = network()
    assert len(jax.tree.leaves(generator)) == len(jax.tree.leaves(generator.params))
    doubled = jax.tree.map(lambda leaf: 2 * leaf, generator)
    assert isinstance(doubled, StyleGAN2Generator) and (doubled.config, doubled.fingerprint) == (TINY, "abc")
    with pytest.raises(dataclasses.FrozenInstanceError):
        generator.config = CLASSES  # pyright: ignore[reportAttributeAccessIssue]
    z = normal(0, 3, TINY.z_dim)
    traces = []

    @jax.jit
    def map_all(generator: StyleGAN2Generator, z: jax.Array) -> Any:
        traces.append(generator.config)
        return jax.vmap(lambda generator, z: generator.map(z), in_axes=(None, 0))(generator, z)

    check(map_all(generator, z), jnp.stack([generator.map(row) for row in z]))
    map_all(StyleGAN2Generator(generator.params, StyleGAN2Config(**config_to_dict(TINY)), "abc"), z)
    assert traces == [TINY], "an equal config does not compile again"


# Stages.


def test_stages_one_by_one_and_from_any_state_equal_the_whole():
    """Protects: methods that keep the state before a layer and render only the rest; also with noise from a key."""

    @functools.partial(jax.jit, static_argnames="kind")
    def images(generator: StyleGAN2Generator, w: jax.Array, key: Any, kind: str) -> Any:
        params, config = generator.params, generator.config
        noise = key if kind == "key" else kind
        styles = generator.styles(w)
        state, found = stylegan2.initial_state(params, config=config), []
        for index, style in enumerate(styles):
            hidden = (jnp.full_like(styles[0], jnp.nan),) * index + styles[index:]  # earlier styles are not read
            options: dict[str, Any] = {"config": config, "noise": noise}
            found.append(stylegan2.synthesize_from(params, state, hidden, start=index, **options))
            state = stylegan2.synthesis_stage(params, state, style, index=index, **options)
        return generator.synthesize(styles, noise=noise), state.image, found

    for kind in ("const", "key"):
        whole, staged, restarted = images(network(), code(), jax.random.key(3), kind)
        assert whole.shape == (32, 32, 3)
        for image in (staged, *restarted):
            check(image, whole)


def test_features_have_names_and_shapes():
    """Protects: the dict of activations, one per style layer, and the image that comes with it."""
    image, features = render(network(), code(), with_features=True)
    assert set(features) == set(NAMES)
    for layer in TINY.style_layers:
        depth = TINY.channels(layer.resolution) if layer.kind == "conv" else 3
        assert features[layer.name].shape == (layer.resolution, layer.resolution, depth)
    assert (features["b32.torgb"] == image).all()
    check(render(network(), code()), image)
    assert [layer.name for layer in TINY.style_layers] == NAMES


# Noise.


@pytest.mark.slow
def test_kinds_of_noise():
    """Protects: stored maps, none, fresh maps by key: equal keys equal images, other keys other images."""
    one, again, other = (render_key(network(), code(), jax.random.key(seed)) for seed in (1, 1, 2))
    const, none = render(network(), code()), render(network(), code(), "none")
    assert (one == again).all()
    for pair in ((one, other), (one, const), (one, none), (const, none)):
        assert distance(*pair) > 1e-2


@pytest.mark.slow
def test_noise_is_fresh_in_every_layer_and_sample():
    """Protects: one key does not draw the same map twice, nor for two samples of a batch."""
    keys = jax.random.split(jax.random.key(0), 2)
    batch = jax.vmap(render_key, (None, None, 0))(network(), code(), keys)
    assert distance(batch[0], batch[1]) > 1e-2
    for image, key in zip(batch, keys, strict=True):
        check(image, render_key(network(), code(), key))
    zero = stylegan2.SynthesisState(jnp.zeros((16, 16, 32)), None)
    maps = []
    for index in (5, 6):  # convolutions of zeros at 16 px leave nothing but bias and noise
        layer = network().params["synthesis"]["b16"][("conv0", "conv1")[index - 5]]
        x = zero._replace(x=zero.x[::2, ::2]) if index == 5 else zero
        state = stylegan2.synthesis_stage(network().params, x, jnp.ones(32), index=index, config=TINY, noise=keys[0])
        maps.append(jnp.where(state.x > 0, state.x, 5 * state.x)[:, :, 0] / 2**0.5 - layer["bias"][0])
        maps[-1] = maps[-1] / layer["noise_strength"]
    assert distance(*maps) > 0.1 and all(0.8 < float(jnp.std(noise)) < 1.2 for noise in maps)


def silent(generator: StyleGAN2Generator) -> StyleGAN2Generator:
    def leaf(path: Any, value: jax.Array) -> jax.Array:
        return value * 0 if path[-1].key == "noise_strength" else value

    return generator.replace(params=jax.tree_util.tree_map_with_path(leaf, generator.params))  # pyright: ignore


def test_without_strength_all_noise_is_equal():
    """Protects: the strength scales the noise and nothing else."""
    generator = silent(network())
    expected = render(generator, code(), "none")
    check(render(generator, code(), "const"), expected)
    check(render_key(generator, code(), jax.random.key(1)), expected)


# Latents.


@pytest.mark.parametrize("psi", [0.0, 0.5, 1.0, -1.0])
def test_truncation_is_linear_about_the_average(psi: float):
    """Protects: w_avg + psi (w - w_avg), for floats and for traced values."""
    generator, z = network(), normal(0, TINY.z_dim)
    w, average = generator.map(z), generator.params["mapping"]["w_avg"]
    expected = average + psi * (w - average)
    check(generator.map(z, truncation_psi=psi), expected)
    check(jax.jit(lambda psi: generator.map(z, truncation_psi=psi))(jnp.float32(psi)), expected)


@pytest.mark.parametrize("cutoff", [0, 3, 8, 99])
def test_truncation_cutoff_limits_rows(cutoff: int):
    """Protects: only the first rows of w_plus are truncated."""
    generator, z = network(), normal(0, TINY.z_dim)
    rows = generator.map(z, truncation_psi=0.5, truncation_cutoff=cutoff)
    assert rows.shape == (TINY.num_ws, TINY.w_dim)
    for index, row in enumerate(rows):
        check(row, generator.map(z, truncation_psi=0.5 if index < cutoff else 1.0))


def test_rows_of_w_plus_only_reach_their_layers():
    """Protects: style mixing: a row changes the styles that read it and no other; equal rows are a single w."""
    generator = network()
    base = jnp.tile(code(), (TINY.num_ws, 1))
    styles = generator.styles(base)
    check(styles, generator.styles(code()))
    for row in range(TINY.num_ws):
        changed = generator.styles(base.at[row].set(code(1)))
        for layer, got, same, other in zip(TINY.style_layers, changed, styles, generator.styles(code(1)), strict=True):
            check(got, other if layer.w_index == row else same)


def test_styles_are_affine_outputs_without_gain():
    """Protects: S in StyleSpace's convention: ToRGB's gain 1 / sqrt(in) is not in its style."""
    generator, w = network(), np.asarray(code(), np.float64)
    affine = {name: np.asarray(value, np.float64) for name, value in generator.params["synthesis"]["affine"].items()}
    flat = w @ affine["kernel"] / np.sqrt(TINY.w_dim) + affine["bias"]
    styles = generator.styles(code())
    assert distance(jnp.concatenate(styles), flat) <= BUDGET
    assert [style.shape for style in styles] == [(layer.width,) for layer in TINY.style_layers]


def test_labels_are_needed_or_refused():
    """Protects: a clear error for a missing or superfluous class label, in both networks; labels matter."""
    z, label = normal(0, TINY.z_dim), jax.nn.one_hot(1, 3)
    with pytest.raises(ValueError, match="3 classes, so a label c is needed"):
        network(CLASSES).map(z)
    with pytest.raises(ValueError, match="0 classes, so a label c is not accepted"):
        network().map(z, label)
    assert distance(network(CLASSES).map(z, label), network(CLASSES).map(z, jax.nn.one_hot(2, 3))) > 1e-2
    images = jnp.zeros((1, 8, 8, 3))
    for classes, c in ((3, None), (0, label[None])):
        with pytest.raises(ValueError, match=f"{classes} classes, so labels c are"):
            stylegan2_discriminator.discriminate({}, images, c, config=DiscriminatorConfig(resolution=8, c_dim=classes))


# Precision and clamp.


def test_bfloat16_is_close_and_returns_float32():
    """Protects: low precision stays inside: a float32 image within 5 % of the largest value (8 bits, 7 layers)."""
    image, features = render(network(), code(), with_features=True, compute_dtype=jnp.bfloat16)
    assert image.dtype == jnp.float32
    assert {features[name].dtype for name in NAMES if "conv" in name} == {jnp.dtype(jnp.bfloat16)}
    assert {features[name].dtype for name in NAMES if "torgb" in name} == {jnp.dtype(jnp.float32)}
    assert 1e-5 < distance(image, render(network(), code())) < 5e-2


def test_conv_clamp_acts_on_every_convolution():
    """Protects: networks trained in half precision: activations stay within the clamp, which is no gain."""
    limit = 0.5
    clamped = network().replace(config=dataclasses.replace(TINY, conv_clamp=limit))  # pyright: ignore
    _, features = render(clamped, code(), with_features=True)
    for name in NAMES:
        if "conv" in name:
            assert float(jnp.abs(features[name]).max()) == limit
    loose = network().replace(config=dataclasses.replace(TINY, conv_clamp=1e6))  # pyright: ignore
    check(render(loose, code()), render(network(), code()))


# Shapes that look alike.


ROWS, TOTAL = TINY.num_ws, sum(layer.width for layer in TINY.style_layers)


@pytest.mark.parametrize("shape", [(4, 32), (ROWS - 1, 32), (1, 32), (2, ROWS, 32), (1, ROWS, 32), (16,), ()])
def test_styles_takes_one_latent(unchecked: None, shape: tuple[int, ...]):
    """Protects: a batch of W, or a W+ of too few rows, which gave the styles of a wrong W+ without a word."""
    with pytest.raises(ValueError) as caught:
        jax.eval_shape(network().styles, jax.ShapeDtypeStruct(shape, jnp.float32))
    message = f"w has shape {shape}; (32,) for W or ({ROWS}, 32) for W+ is right: "
    assert str(caught.value).startswith(message) and "jax.vmap(generator.styles)(ws)" in str(caught.value)


@pytest.mark.parametrize("shape", [(32,), (4, 16), (1, 16), ()])
def test_map_takes_one_latent(unchecked: None, shape: tuple[int, ...]):
    """Protects: Flax's error of several lines, and a batch normalised as one sample."""
    with pytest.raises(ValueError) as caught:
        jax.eval_shape(network().map, jax.ShapeDtypeStruct(shape, jnp.float32))
    assert str(caught.value).startswith(f"z has shape {shape}; (16,) is right: ") and "jax.vmap" in str(caught.value)


@pytest.mark.parametrize("shape", [(32,), (ROWS, 32), (TOTAL,)])
def test_synthesize_takes_styles(unchecked: None, shape: tuple[int, ...]):
    """Protects: `synthesize(map(z))`, the first mistake of everybody: the line has the call that is right."""
    with pytest.raises(ValueError) as caught:
        jax.eval_shape(network().synthesize, jax.ShapeDtypeStruct(shape, jnp.float32))
    assert "takes styles, not one array" in str(caught.value)
    assert "use generator.synthesize(generator.styles(w)), and stylegan2.split_styles for" in str(caught.value)


def test_synthesize_takes_all_styles_of_the_right_width(unchecked: None):
    """Protects: one line for too few vectors, for one of another width, and for a batch."""
    right = [jax.ShapeDtypeStruct((layer.width,), jnp.float32) for layer in TINY.style_layers]
    batch = [jax.ShapeDtypeStruct((2, *style.shape), jnp.float32) for style in right]
    assert jax.eval_shape(network().synthesize, right).shape == (32, 32, 3)
    for wrong, message in [
        (right[:-1], "10 style vectors; this generator has 11"),
        ([*right, right[0]], "12 style vectors"),
        ([*right[:2], right[9], *right[3:]], r"the style of b8.conv0 has shape \(16,\); \(32,\) is right"),
        (batch, r"the style of b4.conv1 has shape \(2, 32\); \(32,\) is right: .*jax.vmap"),
    ]:
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(network().synthesize, wrong)
    jax.eval_shape(jax.vmap(network().synthesize), batch)
