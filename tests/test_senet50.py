"""SE-ResNet-50: forward pass in float64, its training mode, and the converter on files of both official layouts."""

import functools
import hashlib
import io
import pickle
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
from test_networks import Reference, check, lively, normal, relu, sigmoid

import jaxedit
from jaxedit import checkpoints
from jaxedit.families import abstract_params
from jaxedit.networks.senet50 import SEResNet, SEResNet50, SEResNet50Config
from jaxedit.nn.normalized import train_on_batch
from jaxedit.training.losses import attribute_loss
from weights_convert.__main__ import main
from weights_convert.state_dicts import official_rows

EVEN = SEResNet50Config(8, (1, 2, 1, 1), resolution=56, classes=5)
ODD = SEResNet50Config(4, (1, 1, 1, 1), resolution=45, classes=3)


@functools.cache
def params_of(config: SEResNet50Config) -> Any:
    """Biases of both signs, and a stem that takes pixels from 0 to 255."""
    flat: Any = flax.traverse_util.flatten_dict(lively(abstract_params(config)))
    flat = {name: 0.3 * normal(4, *leaf.shape) if name[-1] == "bias" else leaf for name, leaf in flat.items()}
    flat["batch_stats", "bn1", "var"] *= 1e4
    return flax.traverse_util.unflatten_dict(flat)


# The forward pass.


class Official(Reference):
    """As the paper and VGGFace2-pytorch have it, channels last."""

    def dense(self, name: str, x: np.ndarray) -> np.ndarray:
        kernel = self.values["params"][f"{name}.kernel"]
        return x @ kernel.reshape(kernel.shape[-2:]) + self.values["params"][f"{name}.bias"]

    def bottleneck(self, name: str, x: np.ndarray, stride: int) -> np.ndarray:
        y = relu(self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", x)[::stride, ::stride]))
        y = relu(self.norm(f"{name}.bn2", self.conv(f"{name}.conv2", y)))
        y = self.norm(f"{name}.bn3", self.conv(f"{name}.conv3", y))
        weights = sigmoid(self.dense(f"{name}.conv5", relu(self.dense(f"{name}.conv4", y.mean((0, 1))))))
        assert weights.std() > 0.05, "the weights matter"
        if f"{name}.downsample.0.kernel" in self.values["params"]:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x)[::stride, ::stride])
        return relu(weights * y + x)

    def outputs(self, image: np.ndarray, config: SEResNet50Config) -> tuple[np.ndarray, np.ndarray]:
        red, green, blue = np.moveaxis(255 * (image + 1) / 2, -1, 0)
        x = np.stack([blue - 91.4953, green - 103.8827, red - 131.0912], axis=-1)
        x = max_pool(relu(self.norm("bn1", self.conv("conv1", x, 2))))
        for stage, blocks in enumerate(config.blocks):
            for block in range(blocks):
                x = self.bottleneck(f"layer{stage + 1}.{block}", x, 2 if stage and not block else 1)
        features = x.mean((0, 1))
        return self.dense("fc", features), features


def max_pool(x: np.ndarray) -> np.ndarray:
    """Windows of 3x3 at every second pixel from the first on, none left over; the last may reach beyond the image."""
    starts = [range(0, size - 1, 2) for size in x.shape[:2]]
    return np.array([[x[row : row + 3, column : column + 3].max((0, 1)) for column in starts[1]] for row in starts[0]])


def resized(x: np.ndarray, size: int) -> np.ndarray:
    """Each new pixel is a mean under a triangle about it, as wide as a pixel of the coarser grid on either side."""
    for axis in (0, 1):
        scale = x.shape[axis] / size
        distance = (np.arange(size)[:, None] + 0.5) * scale - (np.arange(x.shape[axis]) + 0.5)
        weights = np.maximum(1 - np.abs(distance) / max(scale, 1), 0)
        x = np.moveaxis(np.tensordot(weights / weights.sum(1, keepdims=True), x, (1, axis)), 0, axis)
    return x


@pytest.mark.parametrize(
    ("config", "size"),
    [(EVEN, (56, 56)), (ODD, (45, 45)), (EVEN, (80, 101)), (ODD, (20, 33))],
    ids=["even", "odd", "smaller", "larger"],
)
def test_the_network_is_what_the_official_code_says(config: SEResNet50Config, size: tuple[int, int]):
    """Protects: channels and mean, resizing, rounded-up pool, strides, weighed channels, and both outputs."""
    network, image = SEResNet50(params_of(config), config), jnp.tanh(normal(1, *size, 3))
    found = jax.jit(lambda network, image: (network(image), network.pooled_features(image)))(network, image)
    expected = Official(network.params).outputs(resized(f64(image), config.resolution), config)
    assert expected[1].shape == (32 * config.width,) and (expected[1] > 0).mean() > 0.3
    for got, want in zip(found, expected, strict=True):
        check(got, want)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 3}, "width is 3; blocks that weigh their channels need 4 or more"),
        ({"blocks": (3, 0, 1, 1)}, "blocks are"),
        ({"classes": 0}, "classes is 0; it has to be 1 to 32768"),
        ({"resolution": 7}, "resolution is 7; it has to be 8 to 8192"),
    ],
)
def test_impossible_architectures_are_refused(values: dict[str, Any], message: str):
    """Protects: one line that says what is wrong, whatever a file claims."""
    with pytest.raises(ValueError, match=message):
        SEResNet50Config(**values)


# Training.


@pytest.mark.slow
def test_a_classifier_of_attributes_is_trained():
    """Protects: fine-tuning; all statistics move, every parameter counts, and the loss falls."""
    config = SEResNet50Config(4, (1, 1), (1, 1), resolution=24, classes=4)
    params, images, truth = params_of(config), jnp.tanh(normal(2, 6, 24, 24, 3)), normal(3, 6, 4) > 0

    def loss(weights: Any) -> Any:
        trained = {**params, "params": weights}
        (logits, _), statistics = train_on_batch(SEResNet(config, train=True), trained, images)
        return attribute_loss(logits, truth), statistics

    fit = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (before, moved), gradient = fit(params["params"])
    changed = jax.tree.map(lambda old, new: bool((old != new).all()), params["batch_stats"], moved)
    assert jax.tree.all(changed)
    assert jax.tree.all(jax.tree.map(lambda leaf: bool(jnp.isfinite(leaf).all() and leaf.any()), gradient))
    (after, _), _ = fit(jax.tree.map(lambda leaf, slope: leaf - 1e-3 * slope, params["params"], gradient))
    assert float(after) < float(before)


# Conversion.

# Of the sorted lines "name shape" of the official network's state dict, without its counters.
NAMES, DIGEST = 331, "3e35cb5f924eac6c2a44e9c7a99ded1a69f35277e771e6e477b0565b80c8f6a4"
CONVERTED = SEResNet50Config(8, (1, 2, 1, 1), classes=5)


def in_torch(array: Any) -> Any:
    """A kernel's shape or its numbers, from ours to PyTorch's."""
    return array.transpose({1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[array.ndim])


def test_names_and_shapes_are_those_of_the_official_files():
    """Protects: a released file fits as it is: every name and every shape."""
    shapes: Any = flax.traverse_util.flatten_dict(abstract_params(SEResNet50Config()), sep="/")
    lines = [
        f"{row.torch} {in_torch(np.broadcast_to(0, shapes[row.leaf].shape)).shape}"
        for row in official_rows(SEResNet50Config())
    ]
    assert len(lines) == NAMES and hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == DIGEST


def official_state() -> dict[str, np.ndarray]:
    flat: Any = flax.traverse_util.flatten_dict(params_of(EVEN), sep="/")
    return {row.torch: np.ascontiguousarray(in_torch(np.asarray(flat[row.leaf]))) for row in official_rows(EVEN)}


def torch_state() -> dict[str, Any]:
    """With the counters that PyTorch adds."""
    state: dict[str, Any] = {name: Tensor(array) for name, array in official_state().items()}
    counters = [name.replace("running_var", "num_batches_tracked") for name in state if name.endswith("running_var")]
    return state | {name: Tensor(np.array(7)) for name in counters}


FILES: dict[str, Any] = {
    "pickle of Python 2": lambda path: pickles.python2_pickled(path, official_state()),
    "torch.save": lambda path: pickles.torch_save(path, torch_state()),
    "older torch.save": lambda path: pickles.torch_save(path, torch_state(), legacy=True),
    "checkpoint of a training": lambda path: pickles.torch_save(
        path, {"epoch": 3, "model_state_dict": {f"module.{name}": tensor for name, tensor in torch_state().items()}}
    ),
}


@pytest.mark.parametrize("layout", FILES)
def test_official_files_are_converted_and_called(tmp_path: Path, layout: str):
    """Protects: the way from a file to logits, with the architecture told by the tensors."""
    source = FILES[layout](tmp_path / "source")
    asked = ["--network", "senet50"] if "torch" in layout else []
    assert main([str(source), str(tmp_path / "network"), *asked]) == 0
    network = jaxedit.load_network(tmp_path / "network")
    assert isinstance(network, SEResNet50) and network.config == CONVERTED
    jax.tree.map(np.testing.assert_array_equal, network.params, params_of(EVEN))
    assert "MIT" in checkpoints.read_description(tmp_path / "network").metadata["licence"]


def test_the_pickle_is_one_of_python_2(tmp_path: Path):
    """Protects: the test's own files: Python's reader finds the same arrays in them, as the official program does."""
    content = pickles.python2_pickled(tmp_path / "source", official_state()).read_bytes()
    read = pickle.load(io.BytesIO(content), encoding="latin1")
    assert read.keys() == official_state().keys()
    for name, array in official_state().items():
        np.testing.assert_array_equal(read[name], array, strict=True)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"layer2.1.conv5.bias": None}, "1 missing (layer2.1.conv5.bias)"),
    "unexpected": ({"layer2.1.conv6.bias": np.zeros(2)}, "1 unexpected (layer2.1.conv6.bias)"),
    "misshapen": ({"layer1.0.conv4.bias": np.zeros(3)}, "layer1.0.conv4.bias (3,), expected (2,)"),
    "not finite": ({"bn1.running_mean": np.full(8, np.nan)}, "not finite, in batch_stats/bn1/mean"),
    "whole numbers": ({"bn1.running_mean": np.zeros(8, np.int64)}, "bn1.running_mean is int64"),
    "without a head": ({"fc.": None}, "fc.weight is missing, so the architecture cannot be told"),
    "a convolution as the head": ({"fc.weight": np.zeros((5, 256, 1, 1))}, "fc.weight is of shape (5, 256, 1, 1)"),
    "a stage without blocks": ({"layer3.": None}, "blocks are (1, 2, 0, 1)"),
    "narrow": ({"conv1.weight": np.zeros((2, 3, 7, 7))}, "width is 2"),
    "another residual network": ({"layer1.0.conv4.weight": None}, "unexpected (layer1.0.conv4.bias"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str):
    """Protects: every tensor is used and every parameter filled; one line says what does not fit."""
    changes, message = CHANGES[case]
    state = official_state()
    for name, value in changes.items():
        if value is None:
            state = {key: array for key, array in state.items() if not key.startswith(name)}
        else:
            state[name] = value
    source = pickles.python2_pickled(tmp_path / "source", state)
    assert main([str(source), str(tmp_path / "network")]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {source}: ") and err.count("\n") == 1 and message in err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_half_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: a download that broke off, in the middle of an array."""
    source = pickles.python2_pickled(tmp_path / "source", official_state())
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    assert main([str(source), str(tmp_path / "network")]) == 1
    assert "the file is truncated or damaged" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
