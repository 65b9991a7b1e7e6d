"""Checkpoints of MobileStyleGAN's training (PyTorch Lightning): teacher, student and losses in one state dict.

Only the mapping network and the student are read. Demodulation, which does not depend on the style, is multiplied into
the kernels, as in the exported networks.
"""

import math
import re
from typing import Any

import numpy as np

from weights_convert import standins
from weights_convert.errors import ConversionError, printable
from weights_convert.options import Network, Role, add_tensor
from weights_convert.rosinality import row
from weights_convert.tensors import Tensor, computed

MAPPING, STUDENT = "mapping_net.layers.", "student."
UNUSED = re.compile(r"student\.(device_info|to_img1\..*|(layers\.\d+\.up\.)?idwt\.g[01]_(row|col))")
FOLDED = (".style_inv", ".noise.weight")
MAX_BLOCKS = 9


def role(value: Any) -> Role | None:
    """A state dict with a student that draws bands is a generator."""
    names = value if type(value) is dict else ()
    return "generator" if {"student.input.input", f"{MAPPING}1.weight"} <= set(names) else None


def kind(value: Any) -> str:
    """As `--network` calls it."""
    return "mobile_stylegan"


def network(name: str, role: Role, source: dict[str, Any]) -> Network:
    """Reads the generator; the architecture follows from the tensors' shapes."""
    tensors: dict[str, Tensor] = {}
    for key, value in source.items():
        if key.startswith((MAPPING, STUDENT)) or key == "style_mean":
            add_tensor(tensors, key, value)
    if (average := tensors.get("style_mean")) is not None:
        tensors["style_mean"] = row(average)
    blocks = sum(f"student.layers.{i}.conv2.conv.weight_permute" in tensors for i in range(MAX_BLOCKS))
    shapes = [_tensor(tensors, f"student.layers.{i}.conv2.conv.weight_permute", 4).shape for i in range(blocks)]
    layers = sum(key.startswith(MAPPING) and key.endswith(".weight") for key in tensors)
    wide, deep = _tensor(tensors, f"{MAPPING}1.weight", 2).shape
    config = {
        "channels": (_tensor(tensors, "student.conv1.conv.weight", 4).shape[0], *(shape[0] for shape in shapes)),
        "z_dim": deep,
        "w_dim": wide,
        "mapping_layers": layers,
    }
    drawn = _fold(tensors, blocks)
    used = {key: tensor for key, tensor in tensors.items() if not (UNUSED.fullmatch(key) or key.endswith(FOLDED))}
    earlier = re.compile(rf"student\.layers\.(?!{blocks - 1}\.)\d+\.to_img\..*")
    used = {key: tensor for key, tensor in used.items() if not earlier.fullmatch(key)}
    return Network("mobile_stylegan", "lightning", config, used, (standins.NOISE,) * drawn)


def _tensor(tensors: dict[str, Tensor], name: str, axes: int) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None or len(tensor.shape) != axes or not 0 < tensor.size <= tensor.storage.length:
        shape = "missing" if tensor is None else f"of shape {tensor.shape}"
        raise ConversionError(f"{name} is {printable(shape, 100)}, so the architecture cannot be told")
    return tensor


def _fold(tensors: dict[str, Tensor], blocks: int) -> bool:
    """Puts kernels with demodulation and noise with its strength in their places; whether noise had to be drawn."""
    layers = ["conv1", *(f"layers.{block}.{part}" for block in range(blocks) for part in ("conv1", "conv2"))]
    sides = [4, *(8 << block for block in range(blocks) for _ in range(2))]
    drawn = any(f"student.{layer}.noise.noise" not in tensors for layer in layers)
    maps = standins.noise_maps({layer: (1, 1, side, side) for layer, side in zip(layers, sides, strict=True)})
    for layer in layers:
        conv, noise = f"student.{layer}.conv", f"student.{layer}.noise"
        strength = _tensor(tensors, f"{noise}.weight", 1).numpy()[:1]
        constant = maps[layer] if drawn else tensors[f"{noise}.noise"].numpy()
        tensors[f"{noise}.noise"] = computed(strength * constant)
        spread = f"{conv}.weight" if layer == "conv1" else f"{conv}.weight_permute"
        kernel = _tensor(tensors, spread, 4).numpy()
        width, inverse = kernel.shape[1], _tensor(tensors, f"{conv}.style_inv", 5)
        taps = None if layer == "conv1" else _tensor(tensors, f"{conv}.weight_dw", 4)
        if inverse.shape != (1, 1, width, 1, 1) or (taps is not None and taps.shape != (width, 1, 3, 3)):
            raise ConversionError(f"{conv}: style_inv {inverse.shape} does not fit the kernel {kernel.shape}")
        weight = kernel if taps is None else kernel * taps.numpy().swapaxes(0, 1)
        energy = np.square(inverse.numpy()[0] * weight / math.sqrt(9 * width)).sum(axis=(1, 2, 3), keepdims=True)
        tensors[spread] = computed(kernel / np.sqrt(energy + 1e-8))
    return drawn
