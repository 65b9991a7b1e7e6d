"""MobileStyleGAN against the official network in float64, and through files and commands."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import f64

from jaxedit import checkpoints, cli, families, images, load_direction, save_direction, staged
from jaxedit.directions.files import direction_from_arrays
from jaxedit.generators import mobile_stylegan
from jaxedit.generators.mobile_stylegan import MobileStyleGANConfig, MobileStyleGANGenerator
from jaxedit.generators.mobile_stylegan_staged import StagedMobileStyleGAN
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.nn.depthwise import depthwise_conv2d
from jaxedit.nn.haar import inverse_haar
from jaxedit.spaces import Direction

CONFIG = MobileStyleGANConfig(channels=(16, 8, 4), z_dim=6, w_dim=5, mapping_layers=2)


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


@pytest.fixture(scope="module")
def generator() -> MobileStyleGANGenerator:
    """Of which no parameter is zero."""
    shapes = families.abstract_params(CONFIG)
    leaves, tree = jax.tree.flatten(shapes)
    drawn = [0.5 * normal(seed, *leaf.shape) for seed, leaf in enumerate(leaves)]
    return MobileStyleGANGenerator(jax.tree.unflatten(tree, drawn), CONFIG)


# The official network: channels first, the three bands of differences channel by channel.


def transform(x: np.ndarray) -> np.ndarray:
    """The transposed convolutions of `DWTInverse`, rows first."""
    count, height, width = len(x) // 4, *x.shape[1:]
    low, high = x[:count], x[count:].reshape(count, 3, height, width)
    taps = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)

    def apart(band: np.ndarray, tap: np.ndarray, axis: int) -> np.ndarray:
        moved = np.moveaxis(band, axis, -1)
        spread = (moved[..., None] * tap).reshape(*moved.shape[:-1], -1)
        return np.moveaxis(spread, -1, axis)

    rows_low = apart(low, taps[0], 1) + apart(high[:, 0], taps[1], 1)
    rows_high = apart(high[:, 1], taps[0], 1) + apart(high[:, 2], taps[1], 1)
    return apart(rows_low, taps[0], 2) + apart(rows_high, taps[1], 2)


def by_channel(bands: np.ndarray, axis: int) -> np.ndarray:
    """From bands side by side, as they lie here, to the official order."""
    low, *differences = np.split(bands, 4, axis=axis)
    mixed = np.stack(differences, axis=axis + 1)
    shape = [*low.shape[:axis], 3 * low.shape[axis], *low.shape[axis + 1 :]]
    return np.concatenate([low, mixed.reshape(shape)], axis=axis)


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """`x` `[in, h, w]`, `kernel` `[out, in, 3, 3]`."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.einsum("ihwyx,oiyx->ohw", windows, kernel)


def official(params: Any, w: np.ndarray) -> np.ndarray:
    """The image `[3, r, r]` of w_plus rows."""
    synthesis = jax.tree.map(f64, params["synthesis"])
    affine, start, found = synthesis["affine"], 0, []
    for layer in CONFIG.style_layers:
        columns = slice(start, start + layer.width)
        found.append(w[layer.w_index] @ affine["kernel"][:, columns] + affine["bias"][columns])
        start += layer.width
    styles, x = iter(found), synthesis["const"].transpose(2, 0, 1)

    def finished(y: np.ndarray, part: Any) -> np.ndarray:
        y = y + part["finish"]["noise_const"] + part["finish"]["bias"][:, None, None]
        return np.where(y > 0, y, 0.2 * y)

    first = synthesis["b4_conv1"]
    scaled = x * (next(styles) / np.sqrt(9 * len(x)))[:, None, None]
    x = finished(convolved(scaled, first["kernel"].transpose(3, 2, 0, 1)), first)
    for resolution in (8, 16):
        x = transform(by_channel(x * next(styles)[:, None, None], 0))
        for name in ("conv0", "conv1"):
            part, channels = synthesis[f"b{resolution}_{name}"], len(x)
            scaled = x * (next(styles) / np.sqrt(9 * channels))[:, None, None]
            kernel = np.zeros((channels, channels, 3, 3))
            kernel[range(channels), range(channels)] = part["depthwise"].transpose(2, 0, 1)
            x = finished(np.einsum("ihw,io->ohw", convolved(scaled, kernel), part["pointwise"]), part)
    scaled = x * (next(styles) / np.sqrt(len(x)))[:, None, None]
    bands = np.einsum("ihw,io->ohw", scaled, synthesis["torgb"]["kernel"]) + synthesis["torgb"]["bias"][:, None, None]
    return transform(by_channel(bands, 0))


def test_the_image_is_that_of_the_official_network(generator: MobileStyleGANGenerator):
    """Protects: which row of w_plus each layer reads, gains, noise, and the order of the bands."""
    w = normal(100, CONFIG.num_ws, CONFIG.w_dim)
    expected = official(generator.params, f64(w)).transpose(1, 2, 0)
    found = jax.jit(lambda generator, w: generator.synthesize(generator.styles(w)))(generator, w)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert found.shape == (CONFIG.resolution, CONFIG.resolution, 3)


def test_the_transform_and_depthwise_convolution():
    """Protects: both operations for images that are not square."""
    x = normal(0, 3, 5, 8)
    expected = transform(by_channel(f64(x).transpose(2, 0, 1), 0)).transpose(1, 2, 0)
    np.testing.assert_allclose(inverse_haar(x), expected, atol=1e-6)
    kernel = normal(1, 3, 3, 8)
    full = np.zeros((8, 8, 3, 3))
    full[range(8), range(8)] = f64(kernel).transpose(2, 0, 1)
    expected = convolved(f64(x).transpose(2, 0, 1), full).transpose(1, 2, 0)
    np.testing.assert_allclose(depthwise_conv2d(x, kernel), expected, atol=1e-5)


def test_the_preview_is_the_image_averaged_down(generator: MobileStyleGANGenerator):
    """Protects: the low band's scale, and that the last transform is left out."""
    styles = generator.styles(normal(2, CONFIG.w_dim))
    image, preview = generator.synthesize(styles), generator.synthesize(styles, preview=True)
    half = CONFIG.resolution // 2
    mean = np.asarray(image).reshape(half, 2, half, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(preview, mean, atol=1e-5 * np.abs(mean).max())


def test_noise_and_features(generator: MobileStyleGANGenerator):
    """Protects: kinds of noise, and the names of what is returned."""
    styles = generator.styles(normal(3, CONFIG.w_dim))
    drawn = [generator.synthesize(styles, noise=noise) for noise in ("const", "none", jax.random.key(0))]
    assert all(np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-3 for a, b in zip(drawn, drawn[1:], strict=False))
    image, features = generator.synthesize(styles, with_features=True)
    assert list(features) == [layer.name for layer in CONFIG.style_layers]
    np.testing.assert_array_equal(features["b16.torgb"], image)
    assert features["b8.up"].shape == (8, 8, 4) and features["b8.conv0"].shape == (8, 8, 8)
    with pytest.raises(ValueError, match="noise is 'random'"):
        generator.synthesize(styles, noise="random")


def test_truncation(generator: MobileStyleGANGenerator):
    """Protects: the same rule as StyleGAN2's, with rows of its own."""
    z = normal(4, CONFIG.z_dim)
    whole, average = generator.map(z), generator.params["mapping"]["w_avg"]
    np.testing.assert_allclose(generator.map(z, truncation_psi=0.3), average + 0.3 * (whole - average), rtol=1e-5)
    rows = generator.map(z, truncation_psi=0.0, truncation_cutoff=2)
    assert rows.shape == (CONFIG.num_ws, CONFIG.w_dim)
    np.testing.assert_allclose(rows[:2], jnp.stack([average] * 2), rtol=1e-6)
    np.testing.assert_array_equal(rows[2], whole)


def test_files_and_commands_know_it(generator: MobileStyleGANGenerator, tmp_path: Path, capsys: Any):
    """Protects: the family's row in the registry: it is saved, told, drawn and edited like any other."""
    checkpoints.save(tmp_path / "mobile", params=generator.params, config=CONFIG, metadata={})
    loaded = checkpoints.load(tmp_path / "mobile")
    assert isinstance(loaded, MobileStyleGANGenerator) and loaded.config == CONFIG
    direction = Direction(name="w", space="w", vector=normal(5, CONFIG.w_dim), source=loaded.fingerprint)
    save_direction(tmp_path / "w.safetensors", direction)
    command = ["edit", str(tmp_path / "mobile"), "--seeds", "0-1", "--direction", str(tmp_path / "w.safetensors")]
    assert cli.main([*command, "--strengths", "0", "2", "--output", str(tmp_path / "out")]) == 0
    drawn = [images.read_png(path) for path in sorted((tmp_path / "out").glob("*.png"))]
    assert len(drawn) == 4 and np.abs(drawn[0].astype(int) - drawn[1]).max() > 10
    assert cli.main(["info", str(tmp_path / "mobile")]) == 0
    assert "mobile_stylegan" in capsys.readouterr().out


def test_directions_of_the_teacher_act_layer_by_layer(generator: MobileStyleGANGenerator, tmp_path: Path):
    """Protects: which rows of a W+ direction of StyleGAN2 act on which layers, by kind and resolution."""
    teacher = StyleGAN2Config(resolution=CONFIG.resolution)
    vector = np.asarray(normal(6, teacher.num_ws, CONFIG.w_dim))
    np.save(tmp_path / "rows.npy", vector)
    direction = load_direction(tmp_path / "rows.npy", generator=generator)
    assert direction.space == "w_plus" and np.shape(direction.vector) == (CONFIG.num_ws, CONFIG.w_dim)
    reads = {layer.name: layer.w_index for layer in teacher.style_layers}
    for layer in CONFIG.style_layers:
        name = layer.name.replace("up", "conv0") if layer.kind != "torgb" else f"b{CONFIG.resolution}.torgb"
        np.testing.assert_array_equal(np.asarray(direction.vector)[layer.w_index], vector[reads[name]])
    published = MobileStyleGANConfig().teacher
    assert published.count == 18 and len(published.rows) == 23 and published.rows[-3:] == (14, 17, 17)
    with pytest.raises(ValueError, match="shape .7, 5. fits no space"):
        direction_from_arrays({"": vector[:7]}, name="cut", generator=generator)


@pytest.mark.parametrize(
    ("space", "joint"), [("s", False), ("s", True), ("w_plus", False), ("w_plus", True), ("w", False)]
)
def test_stages_render_what_the_whole_renders(generator: MobileStyleGANGenerator, space: Any, joint: bool):
    """Protects: the staged form of the family, in all spaces, from every stage on."""
    synthesis = families.staged(generator, space=space, joint=joint)
    assert isinstance(synthesis, staged.StagedSynthesis) and isinstance(synthesis, StagedMobileStyleGAN)
    w = normal(8, CONFIG.w_dim)
    latent = {"w": w, "w_plus": normal(9, CONFIG.num_ws, CONFIG.w_dim), "s": generator.styles(w)}[space]
    expected = generator.synthesize(latent if space == "s" else generator.styles(latent))
    codes, state = synthesis.codes(latent), synthesis.start()
    layers = len(CONFIG.style_layers)
    assert len(codes) == (1 if joint or space == "w" else {"s": layers, "w_plus": CONFIG.num_ws}[space])
    for index, code in enumerate(codes):
        prepared = staged.prepare(synthesis, state, codes, index=index)
        np.testing.assert_allclose(staged.render(synthesis, prepared, codes, index=index), expected, atol=1e-5)
        state = synthesis.stage(state, code, index=index)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": (16,)}, r"channels are \(16,\); 2 to 10 multiples of 4"),
        ({"channels": (16, 6)}, "multiples of 4"),
        ({"w_dim": 0}, "w_dim is 0"),
        ({"mapping_layers": 65}, "mapping_layers is 65"),
    ],
)
def test_impossible_architectures_are_refused(change: dict[str, Any], message: str):
    """Protects: one line, before anything is built."""
    with pytest.raises(ValueError, match=message):
        mobile_stylegan.MobileStyleGANConfig(**change)
