"""From a file's tensors to the arrays of a parameter tree: everything used, everything filled, every shape right."""

import math
import re
from collections.abc import Iterable, Mapping

import numpy as np

from weights_convert.errors import ConversionError, listing, printable
from weights_convert.names import BANDS, FIR_SUMS, IGNORED, LAYOUTS, Row, adjust, side_by_side
from weights_convert.options import Network
from weights_convert.tensors import Tensor

MAX_BYTES = 512 << 20  # of float32 parameters; a 1024 px generator has 121 MB
FLOATS = ("float32", "float16", "bfloat16", "float64")


def fill(network: Network, rows: Iterable[Row], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The arrays of every leaf, float32.

    Args:
        network: The source.
        rows: The name table.
        shapes: Leaf -> its shape.

    Raises:
        ConversionError: tensors are missing or unexpected or have other shapes or types; all are named in one message.
    """
    rows = list(rows)
    names = [getattr(row, network.format) for row in rows]
    missing = sorted(set(names) - set(network.tensors))
    unexpected = sorted(set(network.tensors) - set(names) - _constants(network))
    unfilled = sorted({row.leaf for row in rows} ^ set(shapes))
    wrong = []
    for row, name in zip(rows, names, strict=True):
        if row.leaf in shapes and name in network.tensors:
            tensor, expected = network.tensors[name], _source_shape(row, network, shapes[row.leaf])
            if tensor.shape != expected:
                wrong.append(f"{name} {tensor.shape}, expected {expected}")
            elif tensor.dtype not in FLOATS:
                wrong.append(f"{name} is {tensor.dtype}")
            elif tensor.size > tensor.storage.length:
                wrong.append(f"{name} repeats its numbers")
    problems = [
        f"{len(group)} {what} ({listing(group)})"
        for what, group in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("wrong", wrong),
            ("without rule", unfilled),
        )
        if group
    ]
    if problems:
        raise ConversionError(f"the tensors do not fit the {network.role}: {'; '.join(problems)}")
    if 4 * sum(map(math.prod, shapes.values())) > MAX_BYTES:
        raise ConversionError(f"the {network.role} has more than {MAX_BYTES >> 20} MiB of parameters")
    arrays = {leaf: np.empty(shape, np.float32) for leaf, shape in shapes.items()}
    for row, name in zip(rows, names, strict=True):
        value = _relayout(network.tensors[name], row, network)
        arrays[row.leaf][... if row.columns is None else (..., row.columns)] = value
    return arrays


def check_bytes(tensors: Mapping[str, Tensor]) -> None:
    """Refuses tensors that claim more memory than any network needs, before one of them is read."""
    if 4 * sum(tensor.size for tensor in tensors.values()) > MAX_BYTES:
        raise ConversionError(f"its tensors have more than {MAX_BYTES >> 20} MiB in float32")


def taken(tensors: dict[str, Tensor], name: str) -> np.ndarray:
    """Takes a kernel's tensor out, to compute with."""
    tensor = tensors.pop(name, None)
    if tensor is None or tensor.dtype not in FLOATS or not 0 < tensor.size <= tensor.storage.length:
        what = "missing" if tensor is None else f"{tensor.dtype} of shape {tensor.shape}"
        raise ConversionError(f"{name} is {printable(what, 100)}, so the kernel is not known")
    return tensor.numpy()


def _source_shape(row: Row, network: Network, target: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a tensor of the file has to have to fill its leaf."""
    layout = LAYOUTS[row.layout.removesuffix(BANDS)]
    sizes = dict(zip(layout.target.split(), target, strict=True))
    if row.columns is not None:
        sizes["o"] = row.columns.stop - row.columns.start
    return tuple(1 if axis == "1" else sizes[axis] for axis in getattr(layout, network.format).split())


def _relayout(tensor: Tensor, row: Row, network: Network) -> np.ndarray:
    kind = row.layout.removesuffix(BANDS)
    layout = LAYOUTS[kind]
    axes = getattr(layout, network.format).split()
    array = tensor.view()
    array = array.reshape([size for size, axis in zip(array.shape, axes, strict=True) if axis != "1"])
    letters = [axis for axis in axes if axis != "1"]
    array = adjust(array.transpose([letters.index(axis) for axis in layout.target.split()]), kind, network.format)
    return array if kind == row.layout else side_by_side(array)


def _constants(network: Network) -> set[str]:
    """Names of tensors that hold no weights, after checking the resampling kernels among them."""
    key = network.role, network.format
    found = {name for name in network.tensors if re.fullmatch(IGNORED.get(key, ""), name)}
    taps = np.array([1, 3, 3, 1]) / 8
    for pattern, total in FIR_SUMS.get(key, {}).items():
        for name, tensor in network.tensors.items():
            if re.fullmatch(pattern, name):
                if tensor.shape != (4, 4) or not np.allclose(tensor.numpy(), total * np.outer(taps, taps), rtol=1e-3):
                    raise ConversionError(f"{name} is not the resampling kernel [1, 3, 3, 1], the only one supported")
                found.add(name)
    return found
