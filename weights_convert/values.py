"""Any readable file as nested Python containers of numpy arrays."""

import dataclasses
import itertools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from weights_convert import files
from weights_convert.errors import ConversionError, naming
from weights_convert.tensors import NumpyArray, Storage, Tensor
from weights_convert.unpickle import Global, Record

MAX_DEPTH = 32
MAX_VALUES = 1_000_000
MAX_BYTES = 1 << 30
TENSORS = (Tensor, NumpyArray, Storage)  # what a pickle may hold for one


def read_tensors(path: str | os.PathLike[str]) -> Any:
    """Reads a `torch.save` file (or a pickle of arrays) without PyTorch and without executing anything.

    Args:
        path: A file in either format of `torch.save`, or a NVIDIA pickle; recognised by content.

    Returns:
        What was saved: dicts, lists, tuples, sets, numbers and text, with numpy arrays in place of tensors (of their
        own data type; bfloat16 becomes float32) and dicts of attributes in place of objects. Strings of Python 2 with
            more than 4096 characters are byte strings. At most 1 GiB of arrays and byte strings.

    Raises:
        ConversionError: The file is damaged, too large, or asks for anything to be executed; one line that names it.
        OSError: The file cannot be opened.
    """
    with naming(path):
        return _Converter().convert(files.read(path)[1], 0)


def stored_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a file that holds nothing else; no number of them is read.

    Args:
        path: As for `read_tensors`.

    Returns:
        By name: "" for a saved tensor, "0", "1", ... for a list or tuple of tensors, and the keys of a dict of tensors.
            `shape` and `dtype` say what `numpy()` would read.

    Raises:
        ConversionError: As for `read_tensors`, or the file holds anything else; one line that names it.
        OSError: The file cannot be opened.
    """
    with naming(path):
        saved = files.read(path)[1]
        if type(saved) in (list, tuple):
            saved = dict(enumerate(saved))
        elif type(saved) is not dict:
            saved = {"": saved}
        if not all(type(value) in TENSORS for value in saved.values()):
            raise ConversionError("holds other things than a tensor, or a list or dict of tensors")
        found = {str(key): dataclasses.replace(as_tensor(value), file=path) for key, value in saved.items()}
        if len(found) != len(saved):
            raise ConversionError("holds two tensors of one name")
        return found


class _Converter:
    def __init__(self) -> None:
        self.arrays: dict[int, np.ndarray] = {}
        self.values = self.bytes = 0

    def convert(self, value: Any, depth: int) -> Any:
        self.values += 1
        if depth > MAX_DEPTH or self.values > MAX_VALUES:
            raise ConversionError(f"more than {MAX_DEPTH} levels of containers, or more than {MAX_VALUES} values")
        if type(value) is dict:
            return {key: self.convert(item, depth + 1) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.convert(item, depth + 1) for item in value)
        if type(value) is Record:
            return self.convert(value.state, depth + 1)
        if type(value) is Global:
            return value.name
        if type(value) is memoryview:
            self.spend(len(value))
            return bytes(value)
        return self.array(value) if type(value) in TENSORS else value

    def spend(self, size: int) -> None:
        self.bytes += size
        if self.bytes > MAX_BYTES:
            raise ConversionError(f"more than {MAX_BYTES >> 30} GiB of arrays and byte strings")

    def array(self, value: Any) -> np.ndarray:
        if id(value) not in self.arrays:
            tensor = as_tensor(value)
            self.spend(tensor.size * max(4, tensor.storage.dtype.itemsize))
            self.arrays[id(value)] = tensor.numpy()
        return self.arrays[id(value)]


def as_tensor(value: Any) -> Tensor:
    """The tensor behind one of `TENSORS`."""
    if type(value) is Storage:
        return Tensor(value, 0, (value.length,), (1,))
    tensor = value.tensor if type(value) is NumpyArray else value
    if type(tensor) is not Tensor:
        raise ConversionError("a numpy array without content")
    return tensor


def named_tensors(value: Any, limit: int | None = None) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a value once, with the path to it, without reading any; those among the first `limit` values."""
    seen: set[int] = set()
    waiting = [("", value)]
    for _ in itertools.count() if limit is None else range(limit):
        if not waiting:
            break
        name, value = waiting.pop()
        if type(value) in TENSORS:
            yield name or "the whole file", as_tensor(value)
        elif type(value) in (dict, list, tuple, Record) and id(value) not in seen:
            seen.add(id(value))
            value = value.state if type(value) is Record else value
            items = value.items() if type(value) is dict else enumerate(value)
            names = [(str(key)[:200], item) for key, item in reversed(list(items))]
            waiting += [(f"{name[:200]}.{key}" if name else key, item) for key, item in names]
