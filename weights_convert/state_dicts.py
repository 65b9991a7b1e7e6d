"""State dicts of single networks in PyTorch's own layout: the names of the tensors say which network it is. The tensors
are PyTorch's, or NumPy's arrays in a plain pickle.

Leaves of the parameter tree have the official names, so one rule makes most name tables. A new network is one row here
and one in `tables`.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from weights_convert import l2m_gan
from weights_convert.errors import ConversionError
from weights_convert.names import Row
from weights_convert.options import Network, Role, add_tensor, shape_of
from weights_convert.tensors import Tensor

WRAPPER = "module."  # of torch.nn.DataParallel
COUNTERS = r".*\.num_batches_tracked"
SOURCES = {
    **dict.fromkeys(("kernel", "scale", "embedding"), "weight"),
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
    "utf8": "vocab.txt",
}
_VGGFACE2 = 8631  # identities
LAYOUTS_BY_AXES = {1: "vector", 2: "dense", 4: "conv"}


class StateDict(NamedTuple):
    """How to tell a network and its architecture.

    Attributes:
        marks: Tensors that all its files have, and no other network's but later ones'.
        config: Arguments of the family's config, from the tensors' shapes; it may take out tensors that depend on it.
        unused: Pattern of the tensors that hold nothing that inference uses.
        without_head: The same of its files that have the trunk alone, under other names.
    """

    marks: frozenset[str]
    config: Callable[[dict[str, Tensor]], dict[str, Any]]
    unused: str = COUNTERS
    without_head: frozenset[str] | None = None


def kind(value: Any) -> str:
    """The network that a state dict is of, as `--network` and the families call it; empty if it is of none."""
    names = set(plain_names(value)) if type(value) is dict else set()
    for name, known in STATE_DICTS.items():
        if any(marks is not None and marks <= names for marks in (known.marks, known.without_head)):
            return name
    return ""


def role(value: Any) -> Role | None:
    """A state dict of one of the networks."""
    return "network" if kind(value) else None


def network(name: str, role: Role, source: dict[str, Any]) -> Network:
    """The tensors by their own names; those that inference does not use are left out."""
    family, tensors = kind(source), dict[str, Tensor]()
    for key, value in plain_names(source).items():
        if not re.fullmatch(STATE_DICTS[family].unused, key):
            add_tensor(tensors, key, value)
    return Network(family, "torch", STATE_DICTS[family].config(tensors), tensors)


def plain_names(source: dict[Any, Any]) -> dict[str, Any]:
    """A state dict without a wrapper's prefix."""
    wrapped = all(str(key).startswith(WRAPPER) for key in source)
    return {str(key).removeprefix(WRAPPER if wrapped else ""): value for key, value in source.items()}


def official_rows(config: Any) -> Iterator[Row]:
    """The table of any network whose tree has the official names: `params/a/conv/kernel` is `a.conv.weight`."""
    from flax.traverse_util import flatten_dict

    from jaxedit.families import abstract_params

    leaves: Any = flatten_dict(abstract_params(config))
    for leaf, value in leaves.items():
        _, *modules, last = leaf
        layout = "table" if last == "embedding" else LAYOUTS_BY_AXES[value.ndim]
        yield Row("/".join(leaf), layout, torch=".".join((*modules, SOURCES[last])))


def outputs(tensors: dict[str, Tensor], name: str, axes: int = 4) -> int:
    """The output channels of a convolution, or with `axes=2` of a dense layer.

    Raises:
        ConversionError: there is no such tensor, or it has not so many axes.
    """
    return shape_of(tensors, name, axes)[0]


def _bisenet(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "widths": tuple(outputs(tensors, f"cp.resnet.layer{stage}.0.conv1.weight") for stage in (1, 2, 3, 4)),
        "classes": outputs(tensors, "conv_out.conv_out.weight"),
        "context_width": outputs(tensors, "cp.arm16.conv.conv.weight"),
        "fusion_width": outputs(tensors, "ffm.convblk.conv.weight"),
        "head_width": outputs(tensors, "conv_out.conv.conv.weight"),
        "auxiliary_width": outputs(tensors, "conv_out16.conv.conv.weight"),
    }


def _blocks(tensors: dict[str, Tensor], *stages: str) -> tuple[int, ...]:
    """How many blocks each stage has; its pattern is of a tensor that every block has once."""
    return tuple(sum(re.fullmatch(stage, name) is not None for name in tensors) for stage in stages)


def _deeplabv3(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "width": outputs(tensors, "backbone.conv1.weight"),
        "blocks": _blocks(tensors, *(rf"backbone\.layer{stage}\.\d+\.conv2\.weight" for stage in (1, 2, 3, 4))),
        "classes": outputs(tensors, "classifier.4.weight"),
        "head_width": outputs(tensors, "classifier.1.weight"),
    }


def _deeplabv2(tensors: dict[str, Tensor]) -> dict[str, Any]:
    blocks = (rf"base\.layer{stage}\.block\d+\.conv3x3\.conv\.weight" for stage in (2, 3, 4, 5))
    return {
        "width": outputs(tensors, "base.layer1.conv1.conv.weight"),
        "blocks": _blocks(tensors, *blocks),
        "classes": outputs(tensors, "base.aspp.c0.weight"),
    }


def _senet50(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "width": outputs(tensors, "conv1.weight"),
        "blocks": _blocks(tensors, *(rf"layer{stage}\.\d+\.conv2\.weight" for stage in (1, 2, 3, 4))),
        "classes": outputs(tensors, "fc.weight", 2),
    }


def _resnet50(tensors: dict[str, Tensor]) -> dict[str, Any]:
    config = _senet50(tensors)
    if config["classes"] == _VGGFACE2:
        raise ConversionError(
            "a ResNet-50 of VGGFace2, which has other strides and pixels than torchvision's; not read"
        )
    return config


def _basic_blocks(tensors: dict[str, Tensor], *stages: str) -> dict[str, Any]:
    blocks = _blocks(tensors, *(rf"{stage}\.\d+\.conv1\.weight" for stage in stages))
    if len(set(blocks)) > 1:
        raise ConversionError(f"stages of {blocks} basic blocks; as many in each, as ResNet-18 has, are supported")
    return {"widths": tuple(outputs(tensors, f"{stage}.0.conv1.weight") for stage in stages), "blocks": blocks[0]}


def _resnet18(tensors: dict[str, Tensor]) -> dict[str, Any]:
    if "0.weight" in tensors:
        return {**_basic_blocks(tensors, "4", "5", "6", "7"), "classes": 0}
    trunk = _basic_blocks(tensors, "layer1", "layer2", "layer3", "layer4")
    return {**trunk, "classes": outputs(tensors, "fc.weight", 2)}


def _resnet18_attribute(tensors: dict[str, Tensor]) -> dict[str, Any]:
    trunk = _basic_blocks(tensors, *(f"backbone.{place}" for place in (4, 5, 6, 7)))
    return {**trunk, "classes": outputs(tensors, "extra_layer.weight", 2)}


def _fan(tensors: dict[str, Tensor]) -> dict[str, Any]:
    (depth,) = _blocks(tensors, r"m0\.b1_\d+\.conv1\.weight")
    return {"width": outputs(tensors, "conv1.conv.weight"), "depth": depth}


STATE_DICTS = {
    "bisenet": StateDict(frozenset({"cp.resnet.conv1.weight", "cp.arm16.conv.conv.weight"}), _bisenet),
    "deeplabv3": StateDict(
        frozenset({"backbone.conv1.weight", "classifier.0.convs.0.0.weight"}),
        _deeplabv3,
        rf"{COUNTERS}|aux_classifier\.([04]\.weight|4\.bias|1\.(weight|bias|running_mean|running_var))",
    ),
    "deeplabv2_msc": StateDict(frozenset({"base.layer1.conv1.conv.weight", "base.aspp.c0.weight"}), _deeplabv2),
    "senet50": StateDict(frozenset({"conv1.weight", "layer1.0.conv4.weight", "layer1.0.conv5.weight"}), _senet50),
    "resnet50": StateDict(frozenset({"conv1.weight", "layer1.0.conv3.weight"}), _resnet50),
    "resnet18": StateDict(
        frozenset({"conv1.weight", "layer1.0.conv2.weight"}),
        _resnet18,
        without_head=frozenset({"0.weight", "4.0.conv2.weight", "7.0.conv2.weight"}),
    ),
    "resnet18_attribute": StateDict(
        frozenset({"backbone.0.weight", "backbone.4.0.conv2.weight", "extra_layer.weight"}), _resnet18_attribute
    ),
    "fan": StateDict(
        frozenset({"conv1.conv.weight", "m0.coordconv.conv.weight", "l0.weight"}),
        _fan,
        rf"{COUNTERS}|(m|top_m_|conv_last|bn_end|l)[1-9]\..*|[ab]l\d\.(weight|bias)",  # of further hourglasses
    ),
    "l2m_generator": StateDict(
        frozenset({"from_rgb.weight", "encode.0.conv1.weight", "decode.0.norm1.fc.weight"}),
        l2m_gan.generator,
        l2m_gan.UNUSED,
    ),
    "l2m_style_encoder": StateDict(
        frozenset({"shared.1.conv1.weight", "unshared.0.weight"}), l2m_gan.style_encoder, l2m_gan.UNUSED
    ),
    "l2m_discriminator": StateDict(frozenset({"main.0.weight", "main.1.conv1.weight"}), l2m_gan.discriminator),
}
"""`--network` name -> how it is told; the first whose marks are there counts."""
