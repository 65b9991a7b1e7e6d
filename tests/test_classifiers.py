"""Residual classifiers of others: forward passes in float64, and the converter on files of all official layouts."""

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
from test_networks import Reference, check, lively, max_pool, normal, relu

import jaxedit
from jaxedit.families import FAMILIES, abstract_params
from jaxedit.networks.classifiers import AttributeResNetConfig, Config, ResNet18Config, ResNet50Config
from weights_convert.__main__ import main
from weights_convert.tables import TABLES

# By what their files are called here.
SMALL: dict[str, Any] = {
    "resnet18": ResNet18Config(32, (4, 6, 5, 7), 2, classes=5),
    "vgg": ResNet18Config(32, (4, 6, 5, 7), 2, classes=0),
    "resnet50": ResNet50Config(4, (1, 2, 1, 1), resolution=32, classes=5),
    "resnet18_attribute": AttributeResNetConfig(32, (4, 6, 5, 7), 2),
}
FAMILY = {name: "resnet18" if name == "vgg" else name for name in SMALL}


@functools.cache
def params_of(config: Config) -> Any:
    """Of both signs before each maximum with 0, so that something is left after many."""
    flat: Any = flax.traverse_util.flatten_dict(lively(abstract_params(config)))
    flat = {name: 0.3 * normal(4, *leaf.shape) if name[-1] == "bias" else leaf for name, leaf in flat.items()}
    return flax.traverse_util.unflatten_dict(flat)


class Official(Reference):
    """torchvision's `ResNet` on parameters under its names, channels last."""

    def bottleneck(self, name: str, x: np.ndarray, stride: int) -> np.ndarray:
        y = relu(self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", x)))
        y = relu(self.norm(f"{name}.bn2", self.conv(f"{name}.conv2", y, stride)))
        y = self.norm(f"{name}.bn3", self.conv(f"{name}.conv3", y))
        if f"{name}.downsample.0.kernel" in self.values["params"]:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride))
        return relu(y + x)

    def stages(self, x: np.ndarray, config: Config) -> list[np.ndarray]:
        if not isinstance(config, ResNet50Config):
            return self.resnet("", x, config)
        x, taps = max_pool(relu(self.norm("bn1", self.conv("conv1", x, 2)))), []
        for stage, blocks in enumerate(config.blocks):
            for block in range(blocks):
                x = self.bottleneck(f"layer{stage + 1}.{block}", x, 2 if stage and not block else 1)
            taps.append(x)
        return taps

    def head(self, x: np.ndarray) -> np.ndarray:
        weights = self.values["params"]
        return x @ weights["fc.kernel"] + weights["fc.bias"] if "fc.kernel" in weights else x


@pytest.mark.parametrize("size", first_quick([(64, 96), (32, 32), (64, 64)]))
@pytest.mark.parametrize("name", SMALL)
def test_the_networks_are_what_the_official_code_says(name: str, size: tuple[int, int]):
    """Protects: pixels, strides, every connection and all outputs, in the image's size; the average of large ones."""
    config, image = SMALL[name], jnp.tanh(normal(1, *size, 3))
    network, official = FAMILIES[FAMILY[name]].network(params_of(config), config), Official(params_of(config))
    outputs = jax.jit(lambda network, image: (network(image), network.pooled_features(image)))(network, image)
    maps = jax.jit(lambda network, image: network.feature_maps(image))(network, image)
    x = f64(image) / 2 + 0.5
    if name != "resnet18_attribute":
        x = (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    elif size == (64, 64):
        x = (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
    stages = official.stages(x, config)
    features = stages[-1].mean((0, 1))
    assert (features > 0).mean() > 0.3
    for found, expected in zip((*outputs, *maps), (official.head(features), features, *stages), strict=True):
        check(found, expected)


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (ResNet18Config, {"classes": -1}, "classes is -1; it has to be 0 to 32768"),
        (ResNet50Config, {"classes": 1 << 16}, "classes is 65536"),
        (ResNet50Config, {"resolution": 0}, "resolution is 0; it has to be 1 to 8192"),
        (AttributeResNetConfig, {"classes": 0}, "classes is 0; it has to be 1 to 32768"),
        (AttributeResNetConfig, {"resolution": 100}, "resolution is 100; these stages need a multiple of 32"),
    ],
)
def test_impossible_architectures_are_refused(config: Any, values: dict[str, Any], message: str):
    """Protects: one line that says what is wrong, whatever a file claims."""
    with pytest.raises(ValueError, match=message):
        config(**values)


# Conversion.

# Of the sorted lines "name shape" of the official networks' state dicts, without counters.
OFFICIAL: dict[str, tuple[Config, int, str]] = {
    "resnet18": (ResNet18Config(), 102, "2bb53b15765c4651c9f371fb47d78ca6d34a306e7a0b11007b6c2c2ce195baac"),
    "vgg": (ResNet18Config(classes=0), 100, "69899904b446872e7606183dc591d28341e5de348868d9b36c93dc3cca7d7c89"),
    "resnet50": (ResNet50Config(), 267, "cf11dad974eadeaaacacc7af8f712d7e05766d1627d3c8842ab8e5f421ecb9eb"),
    "resnet18_attribute": (
        AttributeResNetConfig(),
        102,
        "deca181977b519b3cb7828517d93e7f631397588872e41f30067e50d52049173",
    ),
}
# What converted files have: the resolution of the official ones, which no file tells.
RESOLUTIONS = {name: config.resolution for name, (config, _, _) in OFFICIAL.items()}


def in_torch(array: Any) -> Any:
    """A kernel's shape or its numbers, from ours to PyTorch's."""
    return array.transpose({1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[array.ndim])


@pytest.mark.parametrize("name", OFFICIAL)
def test_names_and_shapes_are_those_of_the_official_files(name: str):
    """Protects: a released file fits as it is: every name and every shape."""
    config, count, digest = OFFICIAL[name]
    shapes: Any = flax.traverse_util.flatten_dict(abstract_params(config), sep="/")
    rows = TABLES[FAMILY[name]].rows(config)
    lines = [f"{row.torch} {in_torch(np.broadcast_to(0, shapes[row.leaf].shape)).shape}" for row in rows]
    assert len(lines) == count and hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == digest


def official_state(name: str) -> dict[str, Any]:
    """The tensors under their official names, with the counters that PyTorch adds."""
    config, state = SMALL[name], {}
    flat: Any = flax.traverse_util.flatten_dict(params_of(config), sep="/")
    for row in TABLES[FAMILY[name]].rows(config):
        state[row.torch] = Tensor(np.ascontiguousarray(in_torch(np.asarray(flat[row.leaf]))))
        if row.torch.endswith("running_var"):
            state[row.torch.replace("running_var", "num_batches_tracked")] = Tensor(np.array(7))
    return state


@pytest.mark.parametrize("asked", first_quick([False, True]))
@pytest.mark.parametrize("name", SMALL)
def test_official_files_are_converted_and_called(tmp_path: Path, name: str, asked: bool):
    """Protects: the way from a file to a network, alone or, as L2M-GAN has it, among others."""
    content = {"vgg": official_state(name)} if name == "vgg" else official_state(name)
    source = pickles.torch_save(tmp_path / "source.pth", content)
    assert main([str(source), str(tmp_path / "network"), *(["--network", FAMILY[name]] if asked else [])]) == 0
    network: Any = jaxedit.load_network(tmp_path / "network")
    assert type(network) is FAMILIES[FAMILY[name]].network
    assert network.config.resolution == RESOLUTIONS[name] and network.config.classes == SMALL[name].classes
    jax.tree.map(np.testing.assert_array_equal, network.params, params_of(SMALL[name]))


CHANGES: dict[str, tuple[str, dict[str, Any], str]] = {
    "missing": ("resnet18", {"layer2.1.bn2.bias": None}, "1 missing (layer2.1.bn2.bias)"),
    "of the trunk alone": ("vgg", {"6.0.downsample.1.bias": None}, "1 missing (6.0.downsample.1.bias)"),
    "unexpected": ("resnet18_attribute", {"backbone.8.weight": (2,)}, "1 unexpected (backbone.8.weight)"),
    "without a head": ("resnet50", {"fc.": None}, "fc.weight is missing, so the architecture cannot be told"),
    "grouped": ("resnet50", {"layer1.0.conv2.weight": (4, 1, 3, 3)}, "(4, 1, 3, 3), expected (4, 4, 3, 3)"),
    "uneven": ("resnet18", {"layer3.1.": None}, "stages of (2, 2, 1, 2) basic blocks; as many in each"),
    "of VGGFace2": ("resnet50", {"fc.weight": (8631, 128)}, "a ResNet-50 of VGGFace2, which has other strides"),
    "no stage": ("resnet18_attribute", {"backbone.7.": None}, "stages of (2, 2, 2, 0) basic blocks"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str):
    """Protects: every tensor is used and every parameter filled; one line says what does not fit."""
    name, changes, message = CHANGES[case]
    state = official_state(name)
    for start, shape in changes.items():
        state = {key: tensor for key, tensor in state.items() if not key.startswith(start)}
        if shape is not None:
            state[start] = Tensor(np.zeros(shape, np.float32))
    source = pickles.torch_save(tmp_path / "source.pth", state)
    assert main([str(source), str(tmp_path / "network")]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {source}: ") and err.count("\n") == 1 and message in err
    assert [path.name for path in tmp_path.iterdir()] == ["source.pth"]
