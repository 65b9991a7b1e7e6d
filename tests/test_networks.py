"""The helper networks: structure against float64 references and the official names, and normalisation in both modes."""

import functools
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from oracles import f64
from slowly import first_quick

from jaxedit.networks import attributes, bisenet, embedding, keypoints, resnet
from jaxedit.nn.normalized import Conv, batch_norm, train_on_batch
from jaxedit.nn.resize import resize_align_corners

BUDGET = 2e-5  # of the largest value

SMALL: dict[str, tuple[ModuleType, Any, Any]] = {
    "segment": (bisenet, bisenet.segment, bisenet.BiSeNetConfig(32, (4, 6, 8), 1, 1, 5, 6, 8, 4, 4)),
    "classify": (attributes, attributes.classify, attributes.AttributesConfig(16, (4, 6), 1, 2, 5)),
    "pooled_features": (attributes, attributes.pooled_features, attributes.AttributesConfig(16, (4, 6), 1, 2, 5)),
    "locate": (keypoints, keypoints.locate, keypoints.KeypointsConfig(16, (4, 6), 1, 2, 7)),
    "embed": (embedding, embedding.embed, embedding.EmbeddingConfig(16, (4, 6), 1, 2, 9)),
}


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def lively(params: Any) -> Any:
    """Parameters and statistics of which none is 0 or 1, so that all act."""
    flat: dict[Any, Any] = dict(flax.traverse_util.flatten_dict(params))
    rng = np.random.default_rng(3)
    draw = {name: rng.uniform(0.5, 1.5, leaf.shape) * (-1 if name[-1] == "bias" else 1) for name, leaf in flat.items()}
    for name, leaf in flat.items():
        if name[-1] == "kernel":
            draw[name] = rng.standard_normal(leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
        if name[-1] == "mean":
            draw[name] = rng.standard_normal(leaf.shape) * 0.3
    return flax.traverse_util.unflatten_dict({name: jnp.asarray(x, jnp.float32) for name, x in draw.items()})


@functools.cache
def params_of(name: str) -> Any:
    module, _, config = SMALL[name]
    return lively(jax.eval_shape(functools.partial(module.init, config=config), jax.random.key(0)))


def check(found: Any, expected: Any) -> None:
    found, expected = f64(found), f64(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= BUDGET * np.abs(expected).max()


# References.


class Reference:
    """A network written down once more in float64, on parameters under their official dotted names."""

    def __init__(self, params: Mapping[str, Any]):
        self.values = {
            kind: {".".join(path): f64(leaf) for path, leaf in flax.traverse_util.flatten_dict(params[kind]).items()}
            for kind in ("params", "batch_stats")
        }

    def conv(self, name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        kernel = self.values["params"][f"{name}.kernel"]
        pad = kernel.shape[0] // 2
        return oracles.conv2d(x, kernel, padding=((pad, pad), (pad, pad)), stride=stride)

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        weights, statistics = self.values["params"], self.values["batch_stats"]
        standard = (x - statistics[f"{name}.mean"]) / np.sqrt(statistics[f"{name}.var"] + 1e-5)
        return standard * weights[f"{name}.scale"] + weights[f"{name}.bias"]

    def conv_bn_relu(self, name: str, x: np.ndarray) -> np.ndarray:
        return relu(self.norm(f"{name}.bn", self.conv(f"{name}.conv", x)))

    def block(self, name: str, x: np.ndarray, stride: int) -> np.ndarray:
        y = relu(self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", x, stride)))
        y = self.norm(f"{name}.bn2", self.conv(f"{name}.conv2", y))
        if f"{name}.downsample.0.kernel" in self.values["params"]:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride))
        return relu(x + y)

    def resnet(self, name: str, x: np.ndarray, config: resnet.ResNetConfig) -> list[np.ndarray]:
        x = relu(self.norm(f"{name}bn1", self.conv(f"{name}conv1", x, 1 if config.input_stride == 1 else 2)))
        if config.input_stride == 4:
            x = max_pool(x)
        taps = []
        for stage in range(len(config.widths)):
            for index in range(config.blocks):
                x = self.block(f"{name}layer{stage + 1}.{index}", x, 2 if stage and not index else 1)
            taps.append(x)
        return taps

    def refined(self, name: str, x: np.ndarray) -> np.ndarray:
        x = self.conv_bn_relu(f"{name}.conv", x)
        pooled = x.mean((0, 1), keepdims=True)
        return x * sigmoid(self.norm(f"{name}.bn_atten", self.conv(f"{name}.conv_atten", pooled)))

    def bisenet(self, image: np.ndarray, config: bisenet.BiSeNetConfig) -> list[np.ndarray]:
        x = ((image + 1) / 2 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        at8, at16, at32 = self.resnet("cp.resnet.", x, config)[-3:]
        average = self.conv_bn_relu("cp.conv_avg", at32.mean((0, 1), keepdims=True))
        up32 = self.conv_bn_relu("cp.conv_head32", nearest(self.refined("cp.arm32", at32) + average))
        up16 = self.conv_bn_relu("cp.conv_head16", nearest(self.refined("cp.arm16", at16) + up32))
        fused = self.conv_bn_relu("ffm.convblk", np.concatenate([at8, up16], axis=-1))
        attention = relu(self.conv("ffm.conv1", fused.mean((0, 1), keepdims=True)))
        fused = fused * sigmoid(self.conv("ffm.conv2", attention)) + fused
        heads = {"conv_out": fused, "conv_out16": up16, "conv_out32": up32}
        return [
            resized(self.conv(f"{name}.conv_out", self.conv_bn_relu(f"{name}.conv", x)), *image.shape[:2])
            for name, x in heads.items()
        ]


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def nearest(x: np.ndarray) -> np.ndarray:
    return x.repeat(2, axis=0).repeat(2, axis=1)


def max_pool(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    shape = (x.shape[0] // 2, x.shape[1] // 2, x.shape[2])
    out = np.empty(shape)
    for row, column in np.ndindex(shape[:2]):
        out[row, column] = padded[2 * row : 2 * row + 3, 2 * column : 2 * column + 3].max((0, 1))
    return out


def resized(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation, pixel by pixel; the corners stay."""
    out = np.empty((height, width, x.shape[2]))
    for row, column in np.ndindex(height, width):
        y = row * (x.shape[0] - 1) / (height - 1) if height > 1 else 0.0
        z = column * (x.shape[1] - 1) / (width - 1) if width > 1 else 0.0
        top, left = min(int(y), max(x.shape[0] - 2, 0)), min(int(z), max(x.shape[1] - 2, 0))
        bottom, right = min(top + 1, x.shape[0] - 1), min(left + 1, x.shape[1] - 1)
        upper = (1 - (z - left)) * x[top, left] + (z - left) * x[top, right]
        lower = (1 - (z - left)) * x[bottom, left] + (z - left) * x[bottom, right]
        out[row, column] = (1 - (y - top)) * upper + (y - top) * lower
    return out


# Layers.


@pytest.mark.parametrize("sizes", [(4, 5, 9, 12), (7, 6, 3, 6), (1, 3, 4, 1), (8, 8, 8, 8)])
def test_resizing_keeps_the_corners(sizes: tuple[int, int, int, int]):
    """Protects: `align_corners=True`, up and down, for images that are not square and for single pixels."""
    x = normal(0, sizes[0], sizes[1], 3)
    found = resize_align_corners(x, height=sizes[2], width=sizes[3])
    check(found, resized(f64(x), sizes[2], sizes[3]))


class Normed(nn.Module):
    train: bool = False

    @nn.compact
    def __call__(self, x):
        return batch_norm(train=self.train, name="bn")(Conv(3, name="conv")(x))


def test_training_normalises_by_the_batch_and_inference_by_what_is_stored():
    """Protects: which statistics are used, over which axes, and how the stored ones move."""
    params = lively(jax.eval_shape(Normed().init, jax.random.key(0), jnp.zeros((4, 6, 2))))
    images = normal(0, 5, 4, 6, 2)
    reference = Reference(params)
    check(Normed().apply(params, images[0]), reference.norm("bn", reference.conv("conv", f64(images[0]))))
    outputs, moved = jax.jit(functools.partial(train_on_batch, Normed(train=True)))(params, images)
    y = np.stack([reference.conv("conv", f64(image)) for image in images])
    mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
    weights = params["params"]["bn"]
    check(outputs, (y - mean) / np.sqrt(variance + 1e-5) * f64(weights["scale"]) + f64(weights["bias"]))
    stored = params["batch_stats"]["bn"]
    check(moved["bn"]["mean"], 0.9 * f64(stored["mean"]) + 0.1 * mean)
    check(moved["bn"]["var"], 0.9 * f64(stored["var"]) + 0.1 * variance)


# Networks.


@pytest.mark.parametrize("input_stride", first_quick([4, 2, 1]))
def test_bisenet_is_what_the_paper_and_the_official_code_say(input_stride: int):
    """Protects: every connection of the parser and of its residual trunk, with all three stems."""
    config = bisenet.BiSeNetConfig(16 * input_stride, (3, 4, 5, 6), 2, input_stride, 5, 4, 8, 3, 2)
    params = lively(jax.eval_shape(functools.partial(bisenet.init, config=config), jax.random.key(0)))
    image = normal(1, config.resolution, config.resolution, 3)
    found: Any = jax.jit(bisenet.BiSeNet(config).apply)(params, image)
    expected = Reference(params).bisenet(f64(image), config)
    for logits, reference in zip(found, expected, strict=True):
        check(logits, reference)


@pytest.mark.parametrize("name", ["classify", "pooled_features", "locate", "embed"])
def test_the_heads_read_the_last_stage(name: str):
    """Protects: what classifier, keypoint network and embedding compute from the trunk."""
    _, function, config = SMALL[name]
    params, image = params_of(name), normal(1, 16, 16, 3)
    last = Reference({kind: params[kind]["trunk"] for kind in params}).resnet("", f64(image), config)[-1]
    weights = {leaf: f64(array) for leaf, array in params["params"]["head"].items()}
    if name == "pooled_features":
        expected = last.mean((0, 1))
    elif name == "classify":
        expected = last.mean((0, 1)) @ weights["kernel"] + weights["bias"]
    else:
        values = last.reshape(-1) @ weights["kernel"] + weights["bias"]
        expected = values.reshape(7, 2) if name == "locate" else values / np.linalg.norm(values)
    check(jax.jit(functools.partial(function, config=config))(params, image), expected)


def official_bisenet_shapes() -> dict[str, tuple[int, ...]]:
    """Names and PyTorch shapes of the official face parser (fact sheet, section 4.2), without counters."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, inputs: int, outputs: int, size: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, size, size)

    def norm(name: str, width: int) -> None:
        shapes.update({f"{name}.{leaf}": (width,) for leaf in ("weight", "bias", "running_mean", "running_var")})

    def conv_bn(name: str, inputs: int, outputs: int, size: int) -> None:
        conv(f"{name}.conv", inputs, outputs, size)
        norm(f"{name}.bn", outputs)

    conv("cp.resnet.conv1", 3, 64, 7)
    norm("cp.resnet.bn1", 64)
    before = 64
    for layer, width in enumerate((64, 128, 256, 512), start=1):
        for index, inputs in enumerate((before, width)):
            block = f"cp.resnet.layer{layer}.{index}"
            conv(f"{block}.conv1", inputs, width, 3)
            conv(f"{block}.conv2", width, width, 3)
            norm(f"{block}.bn1", width)
            norm(f"{block}.bn2", width)
            if inputs != width:
                conv(f"{block}.downsample.0", inputs, width, 1)
                norm(f"{block}.downsample.1", width)
        before = width
    for arm, inputs in (("cp.arm16", 256), ("cp.arm32", 512)):
        conv_bn(f"{arm}.conv", inputs, 128, 3)
        conv(f"{arm}.conv_atten", 128, 128, 1)
        norm(f"{arm}.bn_atten", 128)
    conv_bn("cp.conv_head32", 128, 128, 3)
    conv_bn("cp.conv_head16", 128, 128, 3)
    conv_bn("cp.conv_avg", 512, 128, 1)
    conv_bn("ffm.convblk", 256, 256, 1)
    conv("ffm.conv1", 256, 64, 1)
    conv("ffm.conv2", 64, 256, 1)
    for head, inputs, hidden in (("conv_out", 256, 256), ("conv_out16", 128, 64), ("conv_out32", 128, 64)):
        conv_bn(f"{head}.conv", inputs, hidden, 3)
        conv(f"{head}.conv_out", hidden, 19, 1)
    return shapes


def test_the_default_parser_has_the_official_names_and_shapes():
    """Protects: the official weights, 13.3 million, can be converted name by name."""
    config = bisenet.BiSeNetConfig()
    tree = jax.eval_shape(functools.partial(bisenet.init, config=config), jax.random.key(0))
    leaves = {
        ("params", "kernel"): "weight",
        ("params", "scale"): "weight",
        ("params", "bias"): "bias",
        ("batch_stats", "mean"): "running_mean",
        ("batch_stats", "var"): "running_var",
    }
    flat: dict[Any, Any] = dict(flax.traverse_util.flatten_dict(tree))
    found = {}
    for path, leaf in flat.items():
        shape = leaf.shape if leaf.ndim == 1 else tuple(leaf.shape[axis] for axis in (3, 2, 0, 1))
        found[".".join((*path[1:-1], leaves[path[0], path[-1]]))] = shape
    assert found == official_bisenet_shapes()
    assert sum(leaf.size for leaf in jax.tree.leaves(tree["params"])) == 13_300_416


def test_impossible_architectures_are_refused():
    """Protects: one line that says what is wrong."""
    with pytest.raises(ValueError, match="input_stride is 3"):
        resnet.ResNetConfig(input_stride=3)
    with pytest.raises(ValueError, match="resolution is 40; these stages need a multiple of 32"):
        resnet.ResNetConfig(resolution=40)
    with pytest.raises(ValueError, match="have to be positive"):
        resnet.ResNetConfig(widths=())
    with pytest.raises(ValueError, match="three stages or more"):
        bisenet.BiSeNetConfig(widths=(4, 4))
    with pytest.raises(ValueError, match="fusion_width is 6"):
        bisenet.BiSeNetConfig(fusion_width=6)
