"""Checkpoints of rosinality's stylegan2-pytorch: `torch.save` of a dict with state dicts `g_ema`, `g`, `d`."""

from typing import Any

from weights_convert.errors import ConversionError, printable
from weights_convert.options import Network, add_tensor
from weights_convert.tensors import Tensor

KEYS = {"G_ema": ("g_ema", "input.input"), "G": ("g", "input.input"), "D": ("d", "final_conv.0.weight")}


def find(checkpoint: Any) -> dict[str, Any] | None:
    """The networks by name, not yet looked at; None when this is another format."""
    items = checkpoint if type(checkpoint) is dict else {}
    found = {}
    for name, (key, typical) in KEYS.items():
        if type(items.get(key)) is dict and typical in items[key]:
            found[name] = dict(items[key])
    if "G_ema" in found and items.get("latent_avg") is not None:
        found["G_ema"]["latent_avg"] = items["latent_avg"]
    return found or None


def network(name: str, source: dict[Any, Any]) -> Network:
    """Reads one network; the file has no options, so the architecture follows from the tensors' shapes."""
    tensors: dict[str, Tensor] = {}
    for key, value in source.items():
        add_tensor(tensors, str(key), value)
    if name == "D":
        return Network("discriminator", "rosinality", _discriminator(tensors), tensors)
    return Network("generator", "rosinality", _generator(tensors), tensors)


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
