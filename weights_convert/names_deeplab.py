"""The name table of DeepLabV2: deeplab-pytorch's names of what has torchvision's in the parameter tree."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from weights_convert.names import Row
from weights_convert.state_dicts import official_rows

if TYPE_CHECKING:
    from jaxedit.networks.deeplab import DeepLabV2Config

_PARTS = {"1": "reduce", "2": "conv3x3", "3": "increase"}
_KINDS = {"conv": "conv", "bn": "bn", "0": "conv", "1": "bn"}


def deeplabv2_rows(config: "DeepLabV2Config") -> Iterator[Row]:
    """The table, also of shallower trunks."""
    for row in official_rows(config):
        yield row._replace(torch=_official(row.torch))


def _official(name: str) -> str:
    """`base.trunk.layer1.0.bn2.weight` is `base.layer2.block1.conv3x3.bn.weight`: the stem counts as a layer."""
    if stem := re.fullmatch(r"base\.trunk\.(conv|bn)1\.(\w+)", name):
        return f"base.layer1.conv1.{stem[1]}.{stem[2]}"
    if found := re.fullmatch(r"base\.trunk\.layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)", name):
        stage, block, kind, number, leaf = found.groups()
        part = "shortcut" if kind == "downsample." else _PARTS[number]
        kind = _KINDS[number if kind == "downsample." else kind]
        return f"base.layer{int(stage) + 1}.block{int(block) + 1}.{part}.{kind}.{leaf}"
    return name
