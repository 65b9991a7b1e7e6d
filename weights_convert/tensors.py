"""Tensors as a file describes them: bytes somewhere in the file, a data type, a shape and strides."""

import contextlib
import dataclasses
import math
import os
from typing import Any

import numpy as np

from weights_convert.archive import check
from weights_convert.errors import ConversionError, described, naming

MAX_DIMENSIONS = 16
MAX_EXPANDED = 1 << 30  # bytes of a tensor that has more elements than its storage
MAX_EMPTY = 1 << 31  # numpy refuses larger shapes even when one of the sizes is zero


@dataclasses.dataclass(eq=False, slots=True)
class Storage:
    """A flat run of numbers in the file. bfloat16 has no numpy type; it is kept as uint16 and widened when read."""

    name: str
    dtype: np.dtype
    length: int
    data: memoryview | None = None
    crc: int | None = None
    bfloat16: bool = False

    def numbers(self) -> np.ndarray:
        """The storage as a one-dimensional view into the file."""
        if self.data is None or len(self.data) != self.length * self.dtype.itemsize:
            have = "nothing" if self.data is None else f"{len(self.data)} bytes"
            need = self.length * self.dtype.itemsize
            raise ConversionError(f"storage {self.name} should have {need} bytes, the file has {have} for it")
        if self.crc is not None:
            check(self.data, self.crc, f"storage {self.name}")
            self.crc = None
        return np.frombuffer(self.data, self.dtype)


@dataclasses.dataclass(eq=False, slots=True)
class Tensor:
    """A strided window into a storage; offset and strides count elements. Errors of `numpy` name the file, if known."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    file: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        tuples = type(self.shape) is tuple and type(self.strides) is tuple
        fit = tuples and len(self.shape) == len(self.strides) <= MAX_DIMENSIONS
        if not fit or not all(type(n) is int and n >= 0 for n in (self.offset, *self.shape, *self.strides)):
            raise ConversionError("a tensor's offset, shape or strides are not whole numbers that fit each other")

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def dtype(self) -> str:
        return "bfloat16" if self.storage.bfloat16 else self.storage.dtype.name

    def view(self) -> np.ndarray:
        """The numbers as a read-only window into the file (bfloat16 as a float32 copy).

        Raises:
            ConversionError: the tensor reaches beyond its storage, or has more elements than it, or, where it repeats
                them along an axis (as PyTorch's `expand` does), more than 1 GiB.
        """
        numbers = self.storage.numbers()
        reach = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        distinct = math.prod(size for size, stride in zip(self.shape, self.strides, strict=True) if stride)
        if self.size and (distinct > len(numbers) or reach >= len(numbers)):
            raise ConversionError(
                f"a tensor of shape {self.shape}, offset {self.offset} and strides {self.strides} does not fit into"
                f" its storage of {len(numbers)} elements"
            )
        dtype = np.dtype(np.float32) if self.storage.bfloat16 else numbers.dtype
        if not self.size:
            if math.prod(size for size in self.shape if size) > MAX_EMPTY:
                raise ConversionError(f"a tensor has the absurd shape {self.shape}")
            return np.empty(self.shape, dtype)
        if self.size > len(numbers) and self.size * dtype.itemsize > MAX_EXPANDED:
            raise ConversionError(f"a tensor of shape {self.shape} repeats its numbers to more than 1 GiB")
        step = [
            stride * numbers.itemsize if size > 1 else 0 for size, stride in zip(self.shape, self.strides, strict=True)
        ]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, step, writeable=False)
        if not self.storage.bfloat16:
            return view
        bits = view.astype(np.uint32, order="C")
        bits <<= 16
        return bits.view(dtype)

    def numpy(self) -> np.ndarray:
        """The numbers as a new contiguous array in native byte order; errors as for `view`."""
        with contextlib.nullcontext() if self.file is None else naming(self.file):
            view = self.view()
            copy = None if self.storage.bfloat16 else True
            return np.array(view, dtype=view.dtype.newbyteorder("="), order="C", copy=copy)


def computed(array: np.ndarray) -> Tensor:
    """An array of a reader's own as a tensor, float32."""
    array = np.ascontiguousarray(array, "<f4")
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return Tensor(Storage("computed", array.dtype, array.size, memoryview(array).cast("B")), 0, array.shape, strides)


class NumpyDtype:
    """Stand-in for `numpy.dtype` in a pickle: plain numbers only."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True):
        if type(code) is not str or code not in _NUMPY_CODES:
            what = "Python objects" if code in ("O", "O8", "|O") else f"data type {described(code)}"
            raise ConversionError(f"refused: an array of {what}; only arrays of plain numbers are read")
        self.dtype = np.dtype(code).newbyteorder("<")

    def build(self, state: Any) -> None:
        if type(state) is not tuple or len(state) < 5 or state[2:5] != (None, None, None):
            raise ConversionError("refused: an array of structured data; only arrays of plain numbers are read")
        if state[1] not in ("<", ">", "|", "="):
            raise ConversionError("a numpy data type has an unknown byte order")
        self.dtype = self.dtype.newbyteorder(">" if state[1] == ">" else "<")


class NumpyArray:
    """Stand-in for `numpy.ndarray` in a pickle, before `build` gives it its content."""

    tensor: Tensor | None = None

    def build(self, state: Any) -> None:
        if self.tensor is not None or type(state) is not tuple or len(state) != 5:
            raise ConversionError("a numpy array has a state that is not (version, shape, data type, order, bytes)")
        _, shape, dtype, fortran, data = state
        self.tensor = numpy_tensor(data, dtype, shape, bool(fortran))


def numpy_tensor(data: Any, dtype: Any, shape: Any, fortran: bool) -> Tensor:
    """A numpy array's bytes as a tensor."""
    if type(data) is str:  # bytes written by Python 2
        data = data.encode("latin-1")
    if not isinstance(data, bytes | memoryview) or type(dtype) is not NumpyDtype or type(shape) is not tuple:
        raise ConversionError("refused: a numpy array whose content is not plain bytes")
    if len(shape) > MAX_DIMENSIONS or not all(type(size) is int for size in shape):
        raise ConversionError("a numpy array has a malformed shape")
    axes = range(len(shape))
    strides = tuple(math.prod(shape[:i] if fortran else shape[i + 1 :]) for i in axes)
    return Tensor(Storage("of a numpy array", dtype.dtype, math.prod(shape), memoryview(data)), 0, shape, strides)


def numpy_scalar(dtype: Any, data: Any) -> Tensor:
    """A numpy scalar as a tensor without axes."""
    return numpy_tensor(data, dtype, (), False)


_NUMPY_CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
