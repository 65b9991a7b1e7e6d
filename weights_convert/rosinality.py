"""State dicts of rosinality's stylegan2-pytorch: bare, in a checkpoint's dict, or as a part of a larger network's."""

import re
from typing import Any, NamedTuple

from weights_convert.errors import ConversionError, printable
from weights_convert.options import Network, Role, add_tensor
from weights_convert.tensors import Tensor

TYPICAL: dict[str, Role] = {"input.input": "generator", "final_conv.0.weight": "discriminator"}
DRIVEN = re.compile(r"(.*\.)?ecd0\.")  # GPEN, whose generator takes an encoder's features in place of noise
MAX_PARTS = 8
MAX_ROWS = 64


class Part(NamedTuple):
    """A network in a state dict: its prefix there, its role, its tensors without the prefix, and what else there is."""

    prefix: str
    role: Role
    tensors: dict[str, Any]
    beside: tuple[str, ...]


def parts(state: dict[Any, Any]) -> list[Part]:
    """The networks in a state dict; none if it is another dict.

    A prefix that all names have (`module.`, `generator.`) is a wrapper's. pSp and e4e have `encoder.` and `decoder.`.
    """
    items = {str(key): value for key, value in state.items()}
    prefixes: dict[str, Role] = {}
    for name in items:
        for typical, role in TYPICAL.items():
            if f".{name}".endswith(f".{typical}"):
                prefixes[name[: -len(typical)]] = role
    if not 1 <= len(prefixes) <= MAX_PARTS or any(map(DRIVEN.match, items)):
        return []
    return [_part(items, prefix, role) for prefix, role in prefixes.items()]


def _part(items: dict[str, Any], prefix: str, role: Role) -> Part:
    own = {name.removeprefix(prefix): value for name, value in items.items() if name.startswith(prefix)}
    others = [name for name in items if not name.startswith(prefix) and name != "latent_avg"]
    depth = max(prefix.count("."), 1)
    beside = {".".join(name.split(".", depth)[:depth]) for name in others}
    return Part(prefix.removesuffix("."), role, own, tuple(sorted(beside)))


def network(name: str, role: Role, source: dict[str, Any]) -> Network:
    """Reads one network; the file has no options, so the architecture follows from the tensors' shapes."""
    tensors: dict[str, Tensor] = {}
    for key, value in source.items():
        add_tensor(tensors, key, value)
    if role == "discriminator":
        return Network("stylegan2_discriminator", "rosinality", _discriminator(tensors), tensors)
    if "latent_avg" in tensors:
        tensors["latent_avg"] = row(tensors["latent_avg"])
    return Network("stylegan2", "rosinality", _generator(tensors), tensors)


def row(average: Tensor) -> Tensor:
    """One of the equal rows that pSp and e4e have; any other tensor as it is."""
    while len(average.shape) > 1 and 1 <= average.shape[0] <= MAX_ROWS:
        rows = average.view()
        if not (rows == rows[0]).all():
            break
        average = Tensor(average.storage, average.offset, average.shape[1:], average.strides[1:])
    return average


def _size(tensors: dict[str, Tensor], name: str, dimensions: int, axis: int) -> int:
    tensor = tensors.get(name)
    if tensor is None or len(tensor.shape) != dimensions or not 0 < tensor.shape[axis] <= 1 << 16:
        shape = "missing" if tensor is None else f"of shape {tensor.shape}"
        raise ConversionError(f"{name} is {printable(shape, 100)}, so the architecture cannot be told")
    return tensor.shape[axis]


def _count(tensors: dict[str, Tensor], pattern: str, first: int) -> int:
    count = 0
    while pattern.format(first + count) in tensors:
        count += 1
    return count


def _channels(blocks: int, widest: int, last: int) -> dict[str, int]:
    """The channel formula that gives `widest` at 4 px and `last` at the full resolution."""
    if not 1 <= blocks <= 10:
        raise ConversionError(f"a network of {blocks} blocks above 4 px; from 1 to 10 are supported")
    resolution = 4 << blocks
    base = 32768 if last == widest and 32768 // resolution >= widest else last * resolution
    return dict(resolution=resolution, channel_base=base, channel_max=widest)


def _generator(tensors: dict[str, Tensor]) -> dict[str, Any]:
    blocks = _count(tensors, "to_rgbs.{}.bias", 0)
    last = _size(tensors, f"convs.{2 * blocks - 1}.conv.weight", 5, 1)
    w_dim = _size(tensors, "style.1.weight", 2, 0)
    return _channels(blocks, _size(tensors, "input.input", 4, 1), last) | dict(
        z_dim=_size(tensors, "style.1.weight", 2, 1),
        w_dim=w_dim,
        mapping_layers=_count(tensors, "style.{}.weight", 1),
        image_channels=_size(tensors, "to_rgb1.bias", 4, 1),
    )


def _discriminator(tensors: dict[str, Tensor]) -> dict[str, Any]:
    blocks = _count(tensors, "convs.{}.conv1.0.weight", 1)
    widest, first = _size(tensors, "final_conv.0.weight", 4, 0), _size(tensors, "convs.0.0.weight", 4, 0)
    extra = _size(tensors, "final_conv.0.weight", 4, 1) - widest
    image_channels = _size(tensors, "convs.0.0.weight", 4, 1)
    return _channels(blocks, widest, first) | dict(
        image_channels=image_channels, mbstd_group_size=4, mbstd_channels=extra
    )
