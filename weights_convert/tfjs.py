"""Weights of TensorFlow.js: a manifest in JSON and the files that it names, as face-api has them.

Numbers of 8 or 16 bits stand for `number * scale + min`; they are read as float32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from weights_convert.errors import ConversionError, printable
from weights_convert.options import MAX_NAME, MAX_TENSORS, Network, Role
from weights_convert.tensors import MAX_DIMENSIONS, Storage, Tensor

ENDING = "-weights_manifest.json"
MAX_MANIFEST, MAX_DATA, MAX_PATHS = 4 << 20, 256 << 20, 1000
PLAIN = {"float32": "<f4", "int32": "<i4"}
QUANTIZED = {"uint8": "|u1", "uint16": "<u2"}
# The tensors that tell a network, with the shape where two networks have the same names -> its family.
SIGNATURES: dict[str, tuple[str, tuple[int, ...]]] = {
    "face_recognition": ("conv32_down/conv/filters", (7, 7, 3, 32)),
    "face_landmarks": ("fc/weights", (256, 136)),
    "face_expressions": ("fc/weights", (256, 7)),
    "age_gender": ("fc/age/weights", (512, 1)),
    "face_detector": ("conv8/filters", (1, 1, 512, 25)),
}


class Manifest(NamedTuple):
    """Tensors by their name."""

    tensors: dict[str, Tensor]


def read(description: bytes, open_file: Callable[[str], bytes | memoryview], where: str) -> Manifest:
    """The tensors of a manifest.

    Args:
        description: The manifest.
        open_file: The content of a file beside the manifest, by its name.
        where: What the manifest is called in errors.

    Raises:
        ConversionError: No manifest, one that is too large, or files that do not hold what it says.
    """
    groups = _groups(description, where)
    tensors: dict[str, Tensor] = {}
    for group in groups:
        parts = [bytes(open_file(_beside(path, where))) for path in group["paths"]]
        if sum(map(len, parts)) > MAX_DATA:
            raise ConversionError(f"{where}: more than {MAX_DATA:,} bytes of weights")
        data = memoryview(b"".join(parts))
        for entry in group["weights"]:
            name, tensor, used = _tensor(entry, data, where)
            if name in tensors or len(tensors) >= MAX_TENSORS:
                raise ConversionError(f"{where}: two tensors {printable(name, 100)}, or more than {MAX_TENSORS}")
            tensors[name], data = tensor, data[used:]
        if len(data):
            raise ConversionError(f"{where}: its files have {len(data):,} bytes more than the tensors need")
    return Manifest(tensors)


def family(manifest: Manifest) -> str | None:
    """Which known network it is; None for others."""
    for name, (tensor, shape) in SIGNATURES.items():
        if tensor in manifest.tensors and manifest.tensors[tensor].shape == shape:
            return name
    return None


def role(value: Any) -> Role | None:
    """A manifest of a known network."""
    return "network" if type(value) is Manifest and family(value) else None


def network(name: str, role: Role, manifest: Manifest) -> Network:
    """The tensors by their own names; each of these networks has one architecture."""
    known = family(manifest)
    assert known is not None
    return Network(known, "tfjs", {}, manifest.tensors)


def _groups(description: bytes, where: str) -> list[dict[str, Any]]:
    if len(description) > MAX_MANIFEST:
        raise ConversionError(f"{where}: a manifest of more than {MAX_MANIFEST >> 20} MiB")
    try:
        groups = json.loads(description)
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{where}: no readable JSON: {printable(error, 100)}") from None
    fine = type(groups) is list and all(
        type(group) is dict and type(group.get("weights")) is list and type(group.get("paths")) is list
        for group in groups
    )
    if not fine or not groups or sum(len(group["paths"]) for group in groups) > MAX_PATHS:
        raise ConversionError(f"{where}: no manifest of TensorFlow.js: a list of groups of weights and paths")
    return groups


def _beside(path: Any, where: str) -> str:
    if type(path) is not str or path in ("", ".", "..") or not path.isprintable() or {"/", "\\", ":"} & set(path):
        raise ConversionError(f"refused: {where} names the file {printable(repr(path), 100)}, which is not beside it")
    return path


def _tensor(entry: Any, data: memoryview, where: str) -> tuple[str, Tensor, int]:
    """A tensor at the start of the data, its name, and how many bytes it takes."""
    entry = entry if type(entry) is dict else {}
    name, shape, coding = entry.get("name"), entry.get("shape"), entry.get("quantization")
    if type(name) is not str or len(name) > MAX_NAME:
        raise ConversionError(f"{where}: a tensor without a name")
    shown = f"{where}: tensor {printable(name, 100)}"
    sized = type(shape) is list and len(shape) <= MAX_DIMENSIONS and all(type(n) is int and n >= 0 for n in shape)
    if not sized:
        raise ConversionError(f"{shown} has the shape {printable(repr(shape), 100)}; whole numbers would be right")
    if (kind := entry.get("dtype")) not in PLAIN:
        raise ConversionError(f"{shown} is {printable(repr(kind), 100)}; float32 or int32 would be right")
    scale, low, stored = (1.0, 0.0, np.dtype(PLAIN[kind])) if coding is None else _coding(coding, shown)
    count = math.prod(shape)
    used = count * stored.itemsize
    if used > len(data):
        raise ConversionError(f"{shown} of shape {tuple(shape)} needs {used:,} bytes, its files have {len(data):,}")
    numbers = np.frombuffer(data[:used], stored)
    if coding is not None:
        numbers = (numbers * scale + low).astype(PLAIN[kind])
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    storage = Storage(name, numbers.dtype, count, memoryview(numbers).cast("B") if count else memoryview(b""))
    return name, Tensor(storage, 0, tuple(shape), strides), used


def _coding(coding: Any, shown: str) -> tuple[float, float, np.dtype]:
    """Scale, minimum and the type that is stored."""
    coding = coding if type(coding) is dict else {}
    kind, scale, low = coding.get("dtype"), coding.get("scale"), coding.get("min")
    if kind not in QUANTIZED or not all(type(number) in (int, float) and abs(number) < 1e30 for number in (scale, low)):
        raise ConversionError(f"{shown} has an unknown quantization; uint8 or uint16 with scale and min would be right")
    return float(scale), float(low), np.dtype(QUANTIZED[kind])  # pyright: ignore[reportArgumentType]
