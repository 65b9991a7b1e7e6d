"""Parity with the official implementations: same weights, same inputs, same numbers.

`data/parity.npz` holds what the official code computed in float32 on a CPU, with the stored noise maps ("const")
unless a name says otherwise. Keys are `network/implementation/quantity`; the implementations are

* `stylegan2`: github.com/NVlabs/stylegan2 at bf0fe0b, TensorFlow 2.21 through `tensorflow.compat.v1`;
* `stylegan2-ada`: github.com/NVlabs/stylegan2-ada at 43eca51, likewise;
* `stylegan2-ada-pytorch`: github.com/NVlabs/stylegan2-ada-pytorch at d72cc7d, PyTorch 2.13, `force_fp32`;
* `stylegan3`: `training/networks_stylegan2.py` of github.com/NVlabs/stylegan3 at c233a91, PyTorch 2.13;
* `rosinality`: github.com/rosinality/stylegan2-pytorch at bef283a, PyTorch 2.13.

The TensorFlow code ran with its own reference forms of its custom operations, and with the NCHW convolutions transposed
to NHWC, the only layout of TensorFlow's CPU kernels. The weights are those of `weights` below in the official layouts;
they come from NumPy's legacy generator, which never changes. Images above 32 px are thinned out by `sample_image`, most
styles by `[::16]`. In float64 PyTorch differs from each of these float32 results by at most 5e-6 of the image's range.
"""

import functools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import official_formats as official
import pytest
from slowly import first_quick

import jaxedit
from jaxedit import families
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig, discriminate
from weights_convert import convert

W_TOLERANCE = STYLE_TOLERANCE = 1e-5  # of the largest entry of a vector
IMAGE_TOLERANCE = 3e-5  # of the image's range; the promise is 1e-4, measured is 7e-6
LOGIT_TOLERANCE = 2e-5  # of the largest logit

GENERATORS = {
    "g32": StyleGAN2Config(resolution=32),
    "g32-depth2": StyleGAN2Config(resolution=32, mapping_layers=2),
    "g32-clamp1": StyleGAN2Config(resolution=32, conv_clamp=1.0),  # low enough to act in every layer
    "g32-classes": StyleGAN2Config(resolution=32, c_dim=10),
    "g256": StyleGAN2Config(resolution=256),
    "g256-auto": StyleGAN2Config(resolution=256, channel_base=16384, mapping_layers=2, conv_clamp=256.0),
    "g1024": StyleGAN2Config(resolution=1024),
}
DISCRIMINATORS = {
    "d32": DiscriminatorConfig(resolution=32),
    "d32-group8": DiscriminatorConfig(resolution=32, mbstd_group_size=8),
    "d32-clamp1": DiscriminatorConfig(resolution=32, conv_clamp=1.0),
    "d32-classes": DiscriminatorConfig(resolution=32, c_dim=10),
    "d32-classes-depth0": DiscriminatorConfig(resolution=32, c_dim=10, mapping_layers=0),
    "d256": DiscriminatorConfig(resolution=256),
}


def draw(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers that depend on nothing but the seed and the name."""
    return np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode())).standard_normal(shape)


def weights(config: Any, seed: int) -> dict[str, Any]:
    """A parameter tree at the scale of an untrained network, but no bias, noise strength or average w is zero."""

    def leaf(path: Any, target: Any) -> np.ndarray:
        name = "/".join(key.key for key in path)
        if name.startswith("synthesis/affine/"):
            return affine(name.rpartition("/")[2])
        scale = 1.0 if name.endswith(("kernel", "const")) else 0.1
        scale *= 100 if name.startswith("mapping/fc") else 1
        return np.asarray(draw(seed, name, target.shape) * scale, np.float32)

    def affine(part: str) -> np.ndarray:
        columns = []
        for layer in config.style_layers:
            name = f"synthesis/{layer.name.replace('.', '/')}/affine/{part}"
            shape = (config.w_dim, layer.width) if part == "kernel" else (layer.width,)
            values = draw(seed, name, shape)
            columns.append(np.float32(values if part == "kernel" else 0.1 * np.clip(values, -4, 4) + 1))
        return np.concatenate(columns, axis=-1)

    return jax.tree_util.tree_map_with_path(leaf, families.abstract_params(config))


def on_device(params: Any) -> Any:
    return jax.tree.map(jnp.asarray, params)


def labels(count: int, classes: int) -> jax.Array | None:
    """One-hot labels 1, 4, 7, ..., or None for a network without classes."""
    return jax.nn.one_hot((3 * jnp.arange(count) + 1) % classes, classes) if classes else None


def random_images(size: int) -> jax.Array:
    """A batch whose samples differ in contrast, so that a wrong grouping in the minibatch statistics shows."""
    count = 8 if size == 32 else 2
    noise = np.random.RandomState(1000 + size).standard_normal((count, size, size, 3))
    return jnp.asarray(np.float32(noise * np.linspace(0.25, 2, count)[:, None, None, None]))


def sample_image(image: np.ndarray) -> np.ndarray:
    """All of a small image; of a large one a grid with an odd stride (all phases of up-sampling) and two corners."""
    if len(image) == 32:
        return image.ravel()
    stride = {256: 7, 1024: 31}[len(image)]
    parts = image[::stride, ::stride], image[:8, :8], image[-8:, -8:]
    return np.concatenate([part.ravel() for part in parts])


@pytest.fixture(autouse=True)
def full_precision():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def references() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "data" / "parity.npz", allow_pickle=False) as file:
        return dict(file)


def of_network(references: dict[str, np.ndarray], network: str) -> dict[tuple[str, str], np.ndarray]:
    """(implementation, quantity) -> numbers."""
    found = {}
    for key, values in references.items():
        name, implementation, quantity = key.split("/")
        if name == network:
            found[implementation, quantity] = values
    return found


def error(found: Any, expected: np.ndarray, *, of_range: bool = False) -> float:
    """Largest difference, relative to the largest value or to the range of the expected values."""
    found, expected = np.asarray(found, np.float64), expected.astype(np.float64)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / (np.ptp(expected) if of_range else np.abs(expected).max()))


def style_error(found: tuple[Any, ...], expected: np.ndarray) -> float:
    """Largest error of a style vector relative to its largest entry; of all together where they are thinned out."""
    flat = np.concatenate(found)
    if len(flat) != len(expected):
        return error(flat[::16], expected)
    ends = np.cumsum([len(style) for style in found])[:-1]
    return max(error(*pair) for pair in zip(found, np.split(expected, ends), strict=True))


def latents(generator: StyleGAN2Generator) -> dict[str, Any]:
    """w of seeds 0 and 1, and the (w_plus) codes of the variants."""
    config = generator.config
    classes = labels(2, config.c_dim)
    inputs = [(jnp.asarray(jaxedit.sample_z(seed)), None if classes is None else classes[seed]) for seed in range(2)]
    first, second = (generator.map(*pair) for pair in inputs)
    half = config.num_ws // 2
    return {
        "w": jnp.stack([first, second]),
        "plain": first,
        "none": first,
        "psi": generator.map(*inputs[0], truncation_psi=0.7),
        "cut": generator.map(*inputs[0], truncation_psi=0.7, truncation_cutoff=3),
        "mix": jnp.stack([first] * half + [second] * half),
    }


@functools.partial(jax.jit, static_argnames="noise")
def render(generator: StyleGAN2Generator, w: Any, noise: str) -> tuple[Any, Any]:
    styles = generator.styles(w)
    return styles, generator.synthesize(styles, noise=noise)


def check_generator(generator: StyleGAN2Generator, expected: dict[tuple[str, str], np.ndarray]) -> None:
    codes = latents(generator)
    wanted = {quantity.partition("_")[2] for _, quantity in expected if quantity.startswith("image_")}
    found = {name: render(generator, codes[name], "none" if name == "none" else "const") for name in sorted(wanted)}
    failures = {}
    for (implementation, quantity), values in expected.items():
        kind, _, name = quantity.partition("_")
        if kind == "w":
            wrong = error(codes["w"], values), W_TOLERANCE
        elif kind == "styles":
            wrong = style_error(jax.device_get(found[name][0]), values), STYLE_TOLERANCE
        else:
            wrong = error(sample_image(np.asarray(found[name][1])), values, of_range=True), IMAGE_TOLERANCE
        if not wrong[0] <= wrong[1]:
            failures[implementation, quantity] = wrong
    assert expected and not failures, failures


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if "32" in name else pytest.mark.slow) for name in GENERATORS]
)
def test_generator_equals_the_official_ones(name: str, references: dict[str, np.ndarray]):
    config = GENERATORS[name]
    generator = StyleGAN2Generator(on_device(weights(config, 1)), config, "")
    check_generator(generator, of_network(references, name))


def check_discriminator(params: Any, config: DiscriminatorConfig, expected: dict[tuple[str, str], np.ndarray]) -> None:
    images = random_images(config.resolution)
    score = jax.jit(functools.partial(discriminate, config=config))
    found = score(params, images, labels(len(images), config.c_dim))
    errors = {implementation: error(found, values) for (implementation, _), values in expected.items()}
    assert errors and max(errors.values()) <= LOGIT_TOLERANCE, errors


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if "32" in name else pytest.mark.slow) for name in DISCRIMINATORS]
)
def test_discriminator_equals_the_official_ones(name: str, references: dict[str, np.ndarray]):
    config = DISCRIMINATORS[name]
    check_discriminator(on_device(weights(config, 3)), config, of_network(references, name))


def write_original_tensorflow(path: Path, generator: Any, discriminator: Any) -> Path:
    return official.write_tensorflow(path, generator, discriminator, original=True)


WRITERS: dict[str, Callable[..., Path]] = {
    "stylegan2": write_original_tensorflow,
    "stylegan2-ada-pytorch": official.write_ada,
    "rosinality": official.write_rosinality,
}


@pytest.mark.parametrize("implementation", first_quick(WRITERS))
def test_converted_files_give_what_the_official_code_gives(
    implementation: str, references: dict[str, np.ndarray], tmp_path: Path
):
    """From a file in the official format to images and logits, at the real width."""
    config, d_config = GENERATORS["g32"], DISCRIMINATORS["d32"]
    pairs = (weights(config, 1), config), (weights(d_config, 3), d_config)
    source = WRITERS[implementation](tmp_path / "checkpoint", *pairs)
    convert(source, tmp_path / "generator")
    convert(source, tmp_path / "discriminator", network="D")
    source.unlink()

    def expected(name: str) -> dict[tuple[str, str], np.ndarray]:
        return {key: values for key, values in of_network(references, name).items() if key[0] == implementation}

    check_generator(jaxedit.load(tmp_path / "generator"), expected("g32"))
    discriminator = jaxedit.load_discriminator(tmp_path / "discriminator")
    check_discriminator(discriminator.params, discriminator.config, expected("d32"))
