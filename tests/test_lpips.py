"""LPIPS: the layers of the published trunks and the arithmetic of the official network, with random weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from official_pickles import Tensor, torch_save
from slowly import first_quick
from untrained import untrained

from jaxedit import checkpoints, families
from jaxedit.networks import lpips
from jaxedit.networks.lpips import Lpips, LpipsConfig
from weights_convert import convert

# Of torchvision's `features`: (place, channels, kernel, stride, padding) or the window of a maximum.
ALEX = [(0, 64, 11, 4, 2), 3, (3, 192, 5, 1, 2), 3, (6, 384, 3, 1, 1), (8, 256, 3, 1, 1), (10, 256, 3, 1, 1)]
VGG_PLACES = [[0, 2], [5, 7], [10, 12, 14], [17, 19, 21], [24, 26, 28]]
VGG_WIDTHS = (64, 128, 256, 512, 512)
TRUNKS = first_quick(["alex", "vgg"])


def vgg() -> list[Any]:
    layers: list[Any] = []
    for places, width in zip(VGG_PLACES, VGG_WIDTHS, strict=True):
        layers += [2] * bool(layers) + [(place, width, 3, 1, 1) for place in places]
    return layers


def pictures(size: int = 48) -> np.ndarray:
    return np.random.RandomState(0).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)


def state_dict(trunk: str) -> dict[str, np.ndarray]:
    """What torchvision and the published heads have, with random numbers."""
    random, below, state, taps = np.random.RandomState(1), 3, {}, []
    for layer in ALEX if trunk == "alex" else vgg():
        if not isinstance(layer, int):
            place, width, size, _, _ = layer
            state[f"features.{place}.weight"] = random.randn(width, below, size, size) * (2 / (below * size**2)) ** 0.5
            state[f"features.{place}.bias"] = 0.1 * random.randn(width)
            below = width
            taps.append(width)
    taps = taps if trunk == "alex" else list(VGG_WIDTHS)
    state |= {f"lin{index}.model.1.weight": random.rand(1, width, 1, 1) for index, width in enumerate(taps)}
    return {name: array.astype(np.float32) for name, array in state.items()}


def official(state: dict[str, np.ndarray], trunk: str, images: np.ndarray) -> list[np.ndarray]:
    """The map of each tap, as PerceptualSimilarity computes them from channels-first images."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x: Any = jnp.asarray(((images - shift) / scale).transpose(0, 3, 1, 2), jnp.float32)
    layers, taps = (ALEX if trunk == "alex" else vgg()), []
    last = {places[-1] for places in VGG_PLACES} if trunk == "vgg" else {0, 3, 6, 8, 10}
    for layer in layers:
        if isinstance(layer, int):
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, layer, layer), (1, 1, 2, 2), "VALID")
            continue
        place, _, _, stride, pad = layer
        kernel = jnp.asarray(state[f"features.{place}.weight"])
        x = lax.conv_general_dilated(
            x, kernel, (stride,) * 2, [(pad, pad)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW"), precision="highest"
        )
        x = jnp.maximum(x + state[f"features.{place}.bias"][None, :, None, None], 0)
        if place in last:
            tap = np.asarray(x, np.float64)
            unit = tap / (np.sqrt((tap**2).sum(axis=1, keepdims=True)) + 1e-10)
            head = state[f"lin{len(taps)}.model.1.weight"]
            taps.append(((unit[0] - unit[1]) ** 2 * head[0]).sum(axis=0))
    return taps


@pytest.mark.parametrize("trunk", TRUNKS)
def test_distances_are_the_official_ones(tmp_path, trunk):
    """Protects: layers, scaling, taps, heads, their sum and map, through the converter from torchvision's names."""
    state, images = state_dict(trunk), pictures()
    heads = {name: array for name, array in state.items() if name.startswith("lin")}
    rest = {name: array for name, array in state.items() if name not in heads} | {
        "classifier.1.weight": np.zeros((2, 2), np.float32)
    }
    for name, content in (("trunk", rest), ("heads", heads)):
        torch_save(tmp_path / f"{name}.pth", {key: Tensor(array) for key, array in content.items()})
    convert(tmp_path / "trunk.pth", tmp_path / "lpips", heads=tmp_path / "heads.pth")
    network = checkpoints.load_network(tmp_path / "lpips")
    assert isinstance(network, Lpips) and network.config.trunk == trunk
    taps = official(state, trunk, images)
    expected = sum(tap.mean() for tap in taps)
    np.testing.assert_allclose(network(*images), expected, rtol=2e-5)
    size = images.shape[1:3]
    maps = sum(jax.image.resize(jnp.asarray(tap, jnp.float32), size, "linear", antialias=False) for tap in taps)
    np.testing.assert_allclose(network.distance_map(*images), maps, rtol=0, atol=2e-5 * float(jnp.max(maps)))


@pytest.mark.slow
@pytest.mark.parametrize("trunk", TRUNKS)
def test_gradients_are_finite_where_images_are_equal_or_flat(trunk):
    """Protects: optimisation that begins at the image that it is compared with."""
    config = LpipsConfig(trunk)
    network = Lpips(untrained(config), config)
    image, flat = jnp.asarray(pictures(32)[0]), jnp.zeros((32, 32, 3))
    gradient = jax.jit(jax.grad(network))
    np.testing.assert_array_equal(gradient(image, image), jnp.zeros_like(image))
    assert np.isfinite(gradient(flat, image)).all() and np.abs(gradient(image, flat)).max() > 0


def test_wrong_trunks_and_small_images_are_refused():
    """Protects: one line instead of shapes that do not fit."""
    with pytest.raises(ValueError, match="'alex' or 'vgg'"):
        LpipsConfig("squeeze")
    config = LpipsConfig()
    params, small = families.abstract_params(config), jnp.zeros((30, 64, 3))
    with pytest.raises(ValueError, match="31 or more"):
        jax.eval_shape(lambda p: lpips.distance(p, small, small, config=config), params)
