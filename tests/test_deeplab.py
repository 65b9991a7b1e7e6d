"""DeepLab: forward passes in float64, parts by class names, and the converter on files in the official layouts."""

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import official_pickles as pickles
import oracles
import pytest
from official_pickles import Tensor
from oracles import f64
from slowly import first_quick
from test_networks import Reference, check, lively, normal, relu

import jaxedit
from jaxedit import checkpoints, cli, segmenters
from jaxedit.families import FAMILIES, abstract_params
from jaxedit.networks.bottleneck import BottleneckConfig
from jaxedit.networks.deeplab import DeepLabV2, DeepLabV2Config, DeepLabV3, DeepLabV3Config
from jaxedit.networks.deeplab_classes import COCO_STUFF, PASCAL_VOC
from weights_convert.__main__ import main
from weights_convert.tables import TABLES

V3 = DeepLabV3Config(3, (1, 2, 2, 2), (1, 1, 2, 4), resolution=33, classes=5, head_width=6, rates=(2, 3, 12))
V2 = DeepLabV2Config(3, (1, 2, 2, 2), (1, 1, 2, 4), resolution=33, classes=7, rates=(1, 2, 3, 6))
SMALL: dict[str, Any] = {"deeplabv3": V3, "deeplabv2_msc": V2}


@functools.cache
def params_of(config: Any) -> Any:
    """Of both signs before each maximum with 0, so that something is left after many."""
    flat: Any = flax.traverse_util.flatten_dict(lively(abstract_params(config)))
    return flax.traverse_util.unflatten_dict(
        {name: 0.3 * normal(4, *leaf.shape) if name[-1] == "bias" else leaf for name, leaf in flat.items()}
    )


# References.


def interpolated(x: np.ndarray, size: tuple[int, int], scale: float | None = None) -> np.ndarray:
    """Bilinear, `align_corners=False`; with `scale` the distance of samples is that of the scale, not of the sizes."""
    for axis, new in enumerate(size):
        step = x.shape[axis] / new if scale is None else 1 / scale
        places = np.clip((np.arange(new) + 0.5) * step - 0.5, 0, x.shape[axis] - 1)
        lower = np.floor(places).astype(int)
        share = (places - lower).reshape(-1, *[1] * (2 - axis))
        upper = np.minimum(lower + 1, x.shape[axis] - 1)
        x = (1 - share) * x.take(lower, axis) + share * x.take(upper, axis)
    return x


def max_pool(x: np.ndarray, *, ceil: bool) -> np.ndarray:
    """3x3 windows at every second pixel from -1 on, as PyTorch counts them."""
    count = [(size - 1 + ceil) // 2 + 1 for size in x.shape[:2]]
    count = [n - (2 * (n - 1) >= size + 1) for n, size in zip(count, x.shape[:2], strict=True)]
    padded = np.pad(x, ((1, 3), (1, 3), (0, 0)), constant_values=-np.inf)
    rows = [padded[2 * row : 2 * row + 3].max(0) for row in range(count[0])]
    return np.stack([np.stack([row[2 * at : 2 * at + 3].max(0) for at in range(count[1])]) for row in rows])


class DeepLab(Reference):
    """Both networks, as the papers and the official programs have them."""

    def atrous(self, name: str, x: np.ndarray, dilation: int) -> np.ndarray:
        kernel, pad = self.values["params"][f"{name}.kernel"], (dilation, dilation)
        y = oracles.conv2d(x, kernel, padding=(pad, pad), kernel_dilation=dilation)
        return y + self.values["params"].get(f"{name}.bias", 0)

    def bottleneck(self, name: str, x: np.ndarray, stride: int, dilation: int, caffe: bool) -> np.ndarray:
        y = self.conv(f"{name}.conv1", x, stride if caffe else 1)
        y = relu(self.norm(f"{name}.bn1", y))
        y = self.atrous(f"{name}.conv2", y, dilation)
        y = y if caffe else y[::stride, ::stride]
        y = relu(self.norm(f"{name}.bn2", y))
        y = self.norm(f"{name}.bn3", self.conv(f"{name}.conv3", y))
        if f"{name}.downsample.0.kernel" in self.values["params"]:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride))
        return relu(x + y)

    def trunk(self, name: str, x: np.ndarray, config: BottleneckConfig, *, caffe: bool) -> np.ndarray:
        """Strides 1, 2, 1, 1; dilations 1, 1, 2, 4, of torchvision's first blocks 1, 1, 1, 2."""
        x = max_pool(relu(self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", x, 2))), ceil=caffe)
        for stage, (stride, first, dilation) in enumerate(((1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4))):
            for block in range(config.blocks[stage]):
                own = dilation if block or caffe else first
                place = f"{name}.layer{stage + 1}.{block}"
                x = self.bottleneck(place, x, 1 if block else stride, own, caffe)
        return x

    def deeplabv3(self, image: np.ndarray, config: Any) -> np.ndarray:
        x = ((image + 1) / 2 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        x, convs = self.trunk("backbone", x, config, caffe=False), "classifier.0.convs"
        views = [relu(self.norm(f"{convs}.0.1", self.conv(f"{convs}.0.0", x)))]
        for index, rate in enumerate(config.rates, start=1):
            views.append(relu(self.norm(f"{convs}.{index}.1", self.atrous(f"{convs}.{index}.0", x, rate))))
        mean = self.conv(f"{convs}.4.1", x.mean((0, 1), keepdims=True))
        views.append(np.broadcast_to(relu(self.norm(f"{convs}.4.2", mean)), views[0].shape))
        x = self.conv("classifier.0.project.0", np.concatenate(views, axis=-1))
        x = relu(self.norm("classifier.2", self.conv("classifier.1", relu(self.norm("classifier.0.project.1", x)))))
        x = self.conv("classifier.4", x) + self.values["params"]["classifier.4.bias"]
        return interpolated(x, image.shape[:2])

    def deeplabv2_msc(self, image: np.ndarray, config: Any) -> np.ndarray:
        if config.pixels == "caffe":
            x = 255 * (image[..., ::-1] + 1) / 2 - [104.008, 116.669, 122.675]
        else:
            x = ((image + 1) / 2 - [0.481, 0.458, 0.408]) / (1 / 255)

        def base(x: np.ndarray) -> np.ndarray:
            x = self.trunk("base.trunk", x, config, caffe=True)
            return np.sum(
                [self.atrous(f"base.aspp.c{index}", x, rate) for index, rate in enumerate(config.rates)], axis=0
            )

        found = [base(x)]
        for scale in (0.5, 0.75):
            size = int(np.floor(x.shape[0] * scale)), int(np.floor(x.shape[1] * scale))
            found.append(interpolated(base(interpolated(x, size, scale)), found[0].shape[:2]))
        return np.max(found, axis=0)


def expected_of(family: str, image: Any, config: Any) -> np.ndarray:
    logits = getattr(DeepLab(params_of(config)), family)(f64(image), config)
    assert logits.std(axis=(0, 1)).min() > 0.01 * np.abs(logits).max(), "the image matters"
    return logits


# Forward passes.


@pytest.mark.parametrize("size", first_quick([(40, 27), (33, 33), (18, 63)]))
@pytest.mark.parametrize("family", SMALL)
def test_the_networks_are_what_the_official_code_says(family: str, size: tuple[int, int]):
    """Protects: every connection, strides and dilations of both trunks, pools, pyramids, scales, and all the sizes."""
    config, image = SMALL[family], normal(1, *size, 3)
    network = FAMILIES[family].network(params_of(config), config)
    found = jax.jit(lambda network, image: network(image))(network, image)
    expected = expected_of(family, image, config)
    check(found, expected)
    if family == "deeplabv2_msc":
        assert expected.shape[:2] == tuple((n + 1) // 4 // 2 + 1 for n in size)


@pytest.mark.slow
def test_lelsd_mistakes_the_channels_on_request():
    """Protects: the option that gives the very masks of LELSD's released code; it is off by default."""
    assert DeepLabV2Config().pixels == "caffe"
    config, image = dataclasses.replace(V2, pixels="lelsd"), normal(1, 33, 24, 3)
    found = jax.jit(lambda network, image: network(image))(DeepLabV2(params_of(config), config), image)
    check(found, expected_of("deeplabv2_msc", image, config))


@pytest.mark.parametrize(("height", "width"), [(None, None), (50, 21)])
@pytest.mark.parametrize("family", first_quick(SMALL))
def test_the_likeliest_class_is_that_of_enlarged_logits(family: str, height: int | None, width: int | None):
    """Protects: maps in the image's size, or any other, as argmax after bilinear interpolation."""
    config, image = SMALL[family], normal(2, 33, 26, 3)
    network = FAMILIES[family].network(params_of(config), config)
    found = jax.jit(lambda network, image: network.parse(image, height=height, width=width))(network, image)
    logits = f64(jax.jit(lambda network, image: network(image))(network, image))
    logits = interpolated(logits, (height or 33, width or 26))
    assert found.dtype == jnp.int32 and found.shape == logits.shape[:2]
    best, second = np.sort(logits, axis=-1)[..., :-3:-1].transpose(2, 0, 1)
    clear = best - second > 1e-5 * np.abs(logits).max()
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(np.asarray(found)[clear], logits.argmax(-1)[clear])


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (DeepLabV3Config, {"blocks": (3, 0)}, "blocks are"),
        (DeepLabV3Config, {"blocks": (200, 200)}, "at most 256"),
        (DeepLabV3Config, {"width": 0}, "width is 0"),
        (DeepLabV3Config, {"dilations": (1, 2)}, "one per stage"),
        (DeepLabV3Config, {"head_width": 0}, "head_width is 0"),
        (DeepLabV3Config, {"classes": 0}, "classes is 0"),
        (DeepLabV3Config, {"resolution": 1 << 20}, "resolution is"),
        (DeepLabV2Config, {"rates": ()}, "rates are"),
        (DeepLabV2Config, {"scales": (0.01,)}, "scales are"),
        (DeepLabV2Config, {"pixels": "rgb"}, "'caffe' or 'lelsd'"),
    ],
)
def test_impossible_architectures_are_refused(config: Any, values: dict[str, Any], message: str):
    """Protects: one line that says what is wrong, whatever a file claims."""
    with pytest.raises(ValueError, match=message):
        config(**values)


def test_tiny_images_are_refused():
    """Protects: one line instead of a picture of no pixels at the smallest scale."""
    with pytest.raises(ValueError, match="16 or more"):
        DeepLabV2(params_of(V2), V2)(jnp.zeros((15, 40, 3)))


# Classes.


class Told(DeepLabV2):
    """Parses by colour, without a network."""

    def parse(self, image: Any, *, height: int | None = None, width: int | None = None) -> Any:
        """Cats above, clouds below."""
        assert image.shape[:2] == (33, 33) and height is not None and width is not None
        names = self.config.class_names
        seen = jax.image.resize(image[..., 0], (height, width), "nearest")
        return jnp.where(seen > 0, names.index("cat"), names.index("clouds")).astype(jnp.int32)


@pytest.mark.parametrize("size", [33, 99])
def test_parts_are_classes_by_name(size: int):
    """Protects: what LELSD and masks ask a parser of scenes for, in its size and in the image's."""
    image = jnp.where(jnp.arange(size)[:, None, None] < size // 3, 1.0, -1.0) * jnp.ones((size, size, 3))
    parser = Told({}, DeepLabV2Config(resolution=33))
    masks = segmenters.part_masks(parser, image, parts=("cat", "sky-other+clouds", "Traffic_light"))
    upper = np.repeat(np.arange(size)[:, None] < size // 3, size, axis=1)
    np.testing.assert_array_equal(masks, [upper, ~upper, np.zeros_like(upper)])


def test_classes_have_their_published_names():
    """Protects: both lists, which are asked for by name in any spelling, and numbers where there is no list."""
    assert COCO_STUFF[16] == "cat" and COCO_STUFF[156] == "sky-other" and COCO_STUFF[181] == "wood"
    assert PASCAL_VOC[0] == "__background__" and PASCAL_VOC[8] == "cat" and PASCAL_VOC[20] == "tvmonitor"
    scenes, things = DeepLabV2({}, DeepLabV2Config()), DeepLabV3({}, DeepLabV3Config())
    for network, count, names in ((scenes, 182, COCO_STUFF), (things, 21, PASCAL_VOC)):
        assert network.config.classes == count == len(set(names)) and network.config.class_names == names
        assert [segmenters.classes_of(network, name) for name in names] == [(name,) for name in names]
    assert V2.class_names == tuple("0123456")


def test_parts_that_a_scene_does_not_have_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: `--parser` takes parsers of scenes, and says what their classes are."""
    config = dataclasses.replace(V3, classes=21)
    checkpoints.save(tmp_path / "parser", params=params_of(config), config=config, metadata={})
    given = ["find-direction", "avatars", "--parser", str(tmp_path / "parser"), "--output", str(tmp_path / "found")]
    assert cli.main([*given, "--part", "tvs"]) == 1
    err = capsys.readouterr().err
    assert "there is no class 'tvs'; choose from __background__, aeroplane" in err and err.count("\n") == 1


# Conversion.


# Of the sorted lines "name shape" of the official network's state dict, without counters and the auxiliary classifier.
OFFICIAL = {
    "deeplabv3": (DeepLabV3Config(), 557, "fecb8e9c85f05383a03b22e2a9d5994c12303adf7979333097f44ad9de73b8a7"),
    "deeplabv2_msc": (DeepLabV2Config(), 528, "13d2bf8b3720aa07f272a48e5aad76f49745b2a4df2b2c18bcc1131a04511696"),
}


@pytest.mark.parametrize("family", first_quick(OFFICIAL))
def test_names_and_shapes_are_those_of_the_official_files(family: str):
    """Protects: a released file fits as it is: every name and every shape."""
    config, count, digest = OFFICIAL[family]
    shapes = flax.traverse_util.flatten_dict(abstract_params(config), sep="/")
    lines = []
    for row in TABLES[family].rows(config):
        shape = shapes[row.leaf].shape  # pyright: ignore[reportAttributeAccessIssue]
        lines.append(f"{row.torch} {tuple(shape[axis] for axis in (3, 2, 0, 1)) if len(shape) == 4 else shape}")
    assert len(lines) == count
    assert hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == digest


# What converted files have beside the tests' own: pyramids as published.
FILES: dict[str, Any] = {
    "deeplabv3": dataclasses.replace(V3, resolution=520, rates=(12, 24, 36)),
    "deeplabv2_msc": dataclasses.replace(V2, resolution=513, rates=(6, 12, 18, 24)),
}


def official_state(family: str) -> dict[str, Any]:
    """The tensors under their official names, with the counters and the auxiliary classifier of official files."""
    config, state = FILES[family], {}
    flat: Any = flax.traverse_util.flatten_dict(params_of(config), sep="/")
    for row in TABLES[family].rows(config):
        array = np.asarray(flat[row.leaf])
        state[row.torch] = Tensor(np.ascontiguousarray(array.transpose(3, 2, 0, 1)) if array.ndim == 4 else array)
        if row.torch.endswith("running_var"):
            state[row.torch.replace("running_var", "num_batches_tracked")] = Tensor(np.array(7))
    if family == "deeplabv3":
        parts = ("0.weight", "4.weight", "4.bias", *(f"1.{part}" for part in ("weight", "bias", "running_mean")))
        state |= {f"aux_classifier.{part}": Tensor(np.zeros(2, np.float32)) for part in parts}
    return state


@pytest.mark.slow
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("family", SMALL)
def test_official_files_are_converted_and_called(tmp_path: Path, family: str, named: bool):
    """Protects: the way from a file to logits, with the architecture told by the tensors, against float64."""
    source = pickles.torch_save(tmp_path / "source.pth", official_state(family), legacy=named)
    assert main([str(source), str(tmp_path / "parser"), *(["--network", family] if named else [])]) == 0
    network = jaxedit.load_network(tmp_path / "parser")
    assert isinstance(network, DeepLabV3 if family == "deeplabv3" else DeepLabV2)
    assert network.config == FILES[family]
    assert "licence" in checkpoints.read_description(tmp_path / "parser").metadata["licence"]
    if named:
        image = normal(5, 32, 41, 3)
        logits = jax.jit(lambda network, image: network(image))(network, image)
        check(logits, expected_of(family, image, FILES[family]))


V3_STEM, V2_STEM = "backbone.conv1.weight", "base.layer1.conv1.conv.weight"
CHANGES: dict[str, tuple[str, Any, str]] = {
    "missing": ("deeplabv2_msc", {"base.layer3.block2.conv3x3.bn.bias": None}, "1 missing (base.layer3.block2"),
    "a pyramid's view missing": ("deeplabv3", {"classifier.0.convs.4.1.weight": None}, "1 missing (classifier.0"),
    "a block's middle missing": ("deeplabv3", {"backbone.layer3.0.conv2.weight": None}, "missing (backbone.layer3.0"),
    "unexpected": ("deeplabv2_msc", {"base.aspp.c4.weight": (2,)}, "1 unexpected (base.aspp.c4.weight)"),
    "more than the auxiliary classifier": ("deeplabv3", {"aux_classifier.5.weight": (2,)}, "1 unexpected (aux_"),
    "misshapen": ("deeplabv3", {"classifier.2.bias": (7,)}, "classifier.2.bias (7,), expected (6,)"),
    "of another width": ("deeplabv2_msc", {"base.layer2.block1.reduce.conv.weight": (4, 3, 1, 1)}, "expected (3,"),
    "not finite": ("deeplabv3", {"classifier.4.bias": "nan"}, "not finite, in params/classifier/4/bias"),
    "a vector for a kernel": ("deeplabv3", {V3_STEM: (3,)}, "the architecture cannot be told"),
    "a stage without blocks": ("deeplabv2_msc", {r"base.layer5": None}, "blocks are (1, 2, 2, 0)"),
    "huge": ("deeplabv2_msc", {V2_STEM: (1 << 20, 1, 1, 1)}, "width is 1048576"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_damaged_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str):
    """Protects: every tensor is used and every parameter filled; one line says what does not fit."""
    family, changes, message = CHANGES[case]
    state = official_state(family)
    for name, value in changes.items():
        if value is None:
            state = {key: tensor for key, tensor in state.items() if not key.startswith(name)}
        else:
            array = np.full(FILES[family].classes, np.nan) if value == "nan" else np.zeros(value)
            state[name] = Tensor(array.astype(np.float32))
    source = pickles.torch_save(tmp_path / "source.pth", state)
    assert main([str(source), str(tmp_path / "parser")]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {source}: ") and err.count("\n") == 1 and message in err
    assert [path.name for path in tmp_path.iterdir()] == ["source.pth"]


def test_one_network_is_not_taken_for_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: `--network` never makes one network of another's file."""
    source = pickles.torch_save(tmp_path / "source.pth", official_state("deeplabv3"))
    assert main([str(source), str(tmp_path / "parser"), "--network", "deeplabv2_msc"]) == 1
    assert "the file has no network deeplabv2_msc, it has deeplabv3 (network)" in capsys.readouterr().err
