"""FAN: heat maps, landmarks and masks in float64, and the converter on files of all official layouts."""

import functools
import hashlib
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import official_pickles as pickles
import pytest
from official_pickles import Tensor
from oracles import f64
from slowly import first_quick
from test_deeplab import interpolated
from test_networks import Reference, check, lively, nearest, normal, relu, resized
from test_weights_convert_state_dicts import official_state

import jaxedit
from jaxedit import checkpoints
from jaxedit.families import abstract_params
from jaxedit.networks.fan import FAN, FANConfig
from weights_convert.__main__ import main
from weights_convert.state_dicts import official_rows

SMALL = FANConfig(resolution=32, width=4, depth=2)
LARGE = FANConfig(resolution=256, width=2, depth=1)


@functools.cache
def params_of(config: FANConfig) -> Any:
    """Biases of both signs, but for the heat maps' own, which leave little above nothing."""
    flat: Any = flax.traverse_util.flatten_dict(lively(abstract_params(config)))
    flat = {name: 0.3 * normal(4, *leaf.shape) if name[-1] == "bias" else leaf for name, leaf in flat.items()}
    flat["params", "l0", "bias"] -= 2.0
    return flax.traverse_util.unflatten_dict(flat)


def results(network: FAN, image: Any) -> Any:
    return jax.jit(lambda network, image: (network(image), network.landmarks(image), *network.masks(image)))(
        network, image
    )


# References, as `core/wing.py` has them, channels last.


class Official(Reference):
    def conv(self, name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        return super().conv(name, x, stride) + self.values["params"].get(f"{name}.bias", 0)

    def coordconv(self, name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        size = x.shape[0]
        places = np.arange(size) / (size - 1) * 2 - 1
        rows, columns = np.repeat(places[:, None], size, 1), np.repeat(places[None], size, 0)
        distances = np.sqrt(rows**2 + columns**2) / np.sqrt(2)
        return self.conv(f"{name}.conv", np.concatenate([x, np.stack([rows, columns, distances], -1)], -1), stride)

    def layer(self, name: str, number: int, x: np.ndarray) -> np.ndarray:
        return self.conv(f"{name}.conv{number}", relu(self.norm(f"{name}.bn{number}", x)))

    def block(self, name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        one = self.layer(name, 1, x)
        two = self.layer(name, 2, one)
        joined = np.concatenate([one, two, self.layer(name, 3, two)], axis=-1)
        if f"{name}.downsample.2.kernel" in self.values["params"]:
            x = self.conv(f"{name}.downsample.2", relu(self.norm(f"{name}.downsample.0", x)))
        return joined + x

    def hourglass(self, level: int, x: np.ndarray) -> np.ndarray:
        low = self.block(f"m0.b2_{level}", halved(x))
        low = self.hourglass(level - 1, low) if level > 1 else self.block("m0.b2_plus_1", low)
        return self.block(f"m0.b1_{level}", x) + nearest(self.block(f"m0.b3_{level}", low))

    def heat_maps(self, image: np.ndarray, config: FANConfig) -> np.ndarray:
        x = interpolated(image, (config.resolution, config.resolution)) / 2 + 0.5
        x = halved(self.block("conv2", relu(self.norm("bn1", self.coordconv("conv1", x, 2)))))
        x = self.coordconv("m0.coordconv", self.block("conv4", self.block("conv3", x)))
        x = self.conv("conv_last0", self.block("top_m_0", self.hourglass(config.depth, x)))
        return self.conv("l0", relu(self.norm("bn_end0", x)))


def halved(x: np.ndarray) -> np.ndarray:
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def official_masks(heat_maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`preprocess` step by step, of maps enlarged to 256 px."""
    x = resized(heat_maps, 256, 256)
    x = np.where(x < 0.1, 0, x)
    low, high = x.min((0, 1)), x.max((0, 1))
    x = (x - low) / (high - low + 1e-6)

    def shifted(part: np.ndarray, rows: int) -> np.ndarray:
        return part[(np.arange(256) + rows) % 256]

    operations = {(8, 25): (0, 3), (33, 51): (-7, 2), (55, 60): (8, 4), (77, 82): (-8, 4), (83, 88): (8, 4)}
    for (start, end), (rows, power) in {**operations, (88, 96): (-2, 3)}.items():
        x[..., start:end] = shifted(x[..., start:end], rows) ** power
    x[..., [*range(8), *range(25, 33), 33, 46, 76, 82]] = 0
    x[..., 52:55] = shifted(x[..., 52:55], 4)
    x[..., 60:76] = shifted(x[..., 60:76], -8) ** 3 + shifted(x[..., 60:76], -24)
    inner = x.copy()
    for start, end in ((8, 25), (76, 96), (33, 51)):
        inner[..., start:end] = 0
    return np.clip(x.sum(-1), 0, 1), np.clip(inner.sum(-1), 0, 1)


def official_landmarks(heat_maps: np.ndarray) -> np.ndarray:
    """`get_preds_fromhm`, of one map after the other."""
    points, last = [], heat_maps.shape[0] - 1
    for one in np.moveaxis(heat_maps, -1, 0):
        row, column = np.unravel_index(one.argmax(), one.shape)
        x, y = float(column), float(row)
        if 0 < row < last and 0 < column < last:
            x += 0.25 * np.sign(one[row, column + 1] - one[row, column - 1])
            y += 0.25 * np.sign(one[row + 1, column] - one[row - 1, column])
        points.append((x + 0.5, y + 0.5))
    return np.array(points)


@pytest.mark.parametrize("size", first_quick([(50, 27), (32, 32)]))
def test_the_network_is_what_the_official_code_says(size: tuple[int, int]):
    """Protects: coordinates, blocks, hourglass, and images of other sizes."""
    image = jnp.tanh(normal(1, *size, 3))
    found, *_ = results(FAN(params_of(SMALL), SMALL), image)
    assert found.shape == (8, 8, 99)
    check(found, Official(params_of(SMALL)).heat_maps(f64(image), SMALL))


@pytest.mark.parametrize("size", first_quick([128, 256]))
def test_masks_and_landmarks_are_made_of_heat_maps_as_officially(size: int):
    """Protects: every part, shift and power of the masks; landmarks to a quarter of a heat map's pixel."""
    network, image = FAN(params_of(LARGE), LARGE), jnp.tanh(normal(2, size, size, 3))
    heat_maps, landmarks, *masks = results(network, image)
    maps = f64(heat_maps)[..., :98]
    for found, expected in zip(masks, official_masks(maps), strict=True):
        assert 0.05 < expected.mean() < 0.95 and ((expected > 0) & (expected < 1)).mean() > 0.1, "the steps matter"
        check(found, expected)
    check(landmarks, official_landmarks(maps) * (size / 64))


def test_landmarks_are_in_pixels_of_the_image():
    """Protects: images that are no squares."""
    network, image = FAN(params_of(SMALL), SMALL), normal(3, 24, 40, 3)
    heat_maps, landmarks, *_ = results(network, image)
    check(landmarks, official_landmarks(f64(heat_maps)[..., :98]) * (40 / 8, 24 / 8))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 3}, "width is 3; it has to be an even number from 2 to 1024"),
        ({"depth": 0}, "depth is 0; it has to be 1 to 10"),
        ({"resolution": 96}, "resolution is 96; with a depth of 4 it has to be a multiple of 64, at most 8192"),
    ],
)
def test_impossible_architectures_are_refused(values: dict[str, Any], message: str):
    """Protects: one line that says what is wrong, whatever a file claims."""
    with pytest.raises(ValueError, match=message):
        FANConfig(**values)


# Conversion.

# Of the sorted lines "name shape" of the official network's state dict, without its counters.
NAMES, DIGEST = 281, "1ca4127f99afeab26aea9f2fc01ef006be713b5989739531c6f6e1c41efc3a85"
CONVERTED = FANConfig(width=4, depth=2)


def test_names_and_shapes_are_those_of_the_official_files():
    """Protects: a released file fits as it is: every name and every shape."""
    shapes: Any = flax.traverse_util.flatten_dict(abstract_params(FANConfig()), sep="/")
    lines = []
    for row in official_rows(FANConfig()):
        shape = shapes[row.leaf].shape
        lines.append(f"{row.torch} {tuple(shape[axis] for axis in (3, 2, 0, 1)) if len(shape) == 4 else shape}")
    assert len(lines) == NAMES and hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == DIGEST


def further_hourglasses() -> dict[str, Any]:
    """What the network that the weights were taken from has beside them."""
    names = ("m1.coordconv.conv.weight", "m3.b2_plus_1.bn1.running_mean", "top_m_2.conv1.weight", "conv_last1.bias")
    return {name: Tensor(np.zeros(3, np.float32)) for name in (*names, "bn_end3.weight", "l1.bias", "bl0.weight")}


def wrapped() -> dict[str, Any]:
    return {f"module.{name}": tensor for name, tensor in official_state(params_of(SMALL)).items()}


FILES: dict[str, Any] = {
    "wing.ckpt": lambda: {"state_dict": {**official_state(params_of(SMALL)), **further_hourglasses()}, "epoch": 9},
    "L2M-GAN": lambda: {"style_encoder": {"w": Tensor(np.ones(2))}, "fan": official_state(params_of(SMALL))},
    "StarGAN v2": lambda: {"mapping_network": {"module.w": Tensor(np.ones(2))}, "fan": wrapped()},
}


@pytest.mark.parametrize("layout", FILES)
def test_official_files_are_converted_and_called(tmp_path: Path, layout: str):
    """Protects: the way from a file, alone or among other networks, to heat maps."""
    source = pickles.torch_save(tmp_path / "source", FILES[layout]())
    assert main([str(source), str(tmp_path / "network"), "--network", "fan"]) == 0
    network = jaxedit.load_network(tmp_path / "network")
    assert isinstance(network, FAN) and network.config == CONVERTED
    jax.tree.map(np.testing.assert_array_equal, network.params, params_of(SMALL))
    assert "CC BY-NC" in checkpoints.read_description(tmp_path / "network").metadata["licence"]


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"m0.b2_plus_1.conv3.weight": None}, "1 missing (m0.b2_plus_1.conv3.weight)"),
    "unexpected": ({"m0.b4_1.conv3.weight": np.zeros(2)}, "1 unexpected (m0.b4_1.conv3.weight)"),
    "other landmarks": ({"l0.bias": np.zeros(69)}, "l0.bias (69,), expected (99,)"),
    "of no hourglass": ({"m0.b1_": None}, "depth is 0"),
    "odd": ({"conv1.conv.weight": np.zeros((5, 6, 7, 7))}, "width is 5"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str):
    """Protects: every tensor is used and every parameter filled; one line says what does not fit."""
    changes, message = CHANGES[case]
    state = official_state(params_of(SMALL))
    for name, value in changes.items():
        state = {key: tensor for key, tensor in state.items() if not key.startswith(name)}
        if value is not None:
            state[name] = Tensor(value.astype(np.float32))
    source = pickles.torch_save(tmp_path / "source", {"state_dict": state})
    assert main([str(source), str(tmp_path / "network")]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {source}: ") and err.count("\n") == 1 and message in err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
