"""The name tables of residual networks that others keep as the sequence of torchvision's parts."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from weights_convert.names import Row
from weights_convert.state_dicts import official_rows

if TYPE_CHECKING:
    from jaxedit.networks.classifiers import AttributeResNetConfig, ResNet18Config

_PLACES = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


def resnet18_rows(config: "ResNet18Config") -> Iterator[Row]:
    """The table; without a head that of `Sequential(*children()[:-1])`, which is what L2M-GAN keeps."""
    for row in official_rows(config):
        yield row if config.classes else row._replace(torch=_placed(row.torch))


def attribute_rows(config: "AttributeResNetConfig") -> Iterator[Row]:
    """The table of IALS's classifiers."""
    for row in official_rows(config):
        head = row.torch.startswith("fc.")
        name = row.torch.replace("fc.", "extra_layer.") if head else f"backbone.{_placed(row.torch)}"
        yield row._replace(torch=name)


def _placed(name: str) -> str:
    """`layer1.0.conv1.weight` is `4.0.conv1.weight`."""
    return re.sub(r"^\w+", lambda part: _PLACES[part[0]], name)
