"""Array files: what they hold is known before it is read, and what is read is complete.

Nothing is ever unpickled. An `.npz` has a checksum for every array, which is compared when it is read; `.npy` and
`.safetensors` files have none, only lengths that have to agree with their headers.
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from jaxedit.messages import printable, reason

MAX_UNPACKED = 1 << 30  # bytes of one array in an .npz
_MAX_HEADER = 1 << 16
_SAFETENSORS_DTYPES = {
    **{f"F{8 * size}": np.dtype(f"f{size}") for size in (2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"u{size}") for size in (1, 2, 4, 8)},
    "BF16": np.dtype(np.float32),
    "BOOL": np.dtype(bool),
}


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """An array in a file, which `numpy.asarray` reads.

    Attributes:
        shape: Its shape.
        dtype: Its type once it is read; bfloat16 becomes float32.
        read: Reads it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.read(), dtype=dtype, copy=copy)


Arrays = Mapping[str, StoredArray | np.ndarray]
Reader = Callable[[Path], Arrays]


def read_arrays(path: str | os.PathLike) -> dict[str, StoredArray]:
    """Looks into a `.npy` (its array has the name ""), `.npz` or `.safetensors` file.

    Args:
        path: The file.

    Returns:
        Name -> array, not read yet. Of an `.npy` file it stays on the disk when it is.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Another kind of file, or a damaged one; reading an array raises it, too.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix not in _READERS:
        raise ValueError(f"{path}: unknown kind of array file; {', '.join(_READERS)} can be read")
    with damage_named(path):
        return _READERS[path.suffix](path)


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turns whatever a reader of an array file raises into one line that names the file.

    Args:
        path: The file.

    Raises:
        ValueError: The file is damaged.
        OSError: It can't be read.
    """
    try:
        yield
    except Exception as error:  # tokenizer, decompressors, zip reader: each with kinds of its own
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{path}: not a readable {path.suffix} file of plain arrays ({reason(error)})") from error


def _npy(path: Path) -> dict[str, StoredArray]:
    mapped = np.lib.format.open_memmap(path, mode="r")  # costs no memory, whatever its header claims
    return {"": StoredArray(mapped.shape, mapped.dtype, lambda: mapped)}


def _npz(path: Path) -> dict[str, StoredArray]:
    archive = zipfile.ZipFile(path)  # open as long as one of its arrays is there: its directory is read once
    members = archive.infolist()
    arrays = {member.filename.removesuffix(".npy"): _npz_member(path, archive, member) for member in members}
    if len(arrays) < len(members):
        raise ValueError("two arrays have the same name")
    return arrays


def _npz_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> StoredArray:
    name = printable(member.filename, 100)
    if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name!r} is encrypted, or packed in another way than numpy does")
    if not member.filename.endswith(".npy"):
        raise ValueError(f"{name!r} is no array")
    with archive.open(member) as file:
        shape, order, dtype = _npy_header(file)
        begin = file.tell()
    size = dtype.itemsize * math.prod(shape)
    if begin + size != member.file_size:
        raise ValueError(f"{name!r} has {member.file_size} bytes; {dtype} of shape {shape} has {begin + size}")

    def read() -> np.ndarray:
        if size > MAX_UNPACKED:
            raise ValueError(f"{path}: {name!r} has more than {MAX_UNPACKED >> 30} GiB; store such arrays as .npy")
        with damage_named(path):
            content = archive.read(member)  # to its end, where its checksum is compared
        return np.frombuffer(content, dtype, offset=begin).reshape(shape, order=order)

    return StoredArray(shape, dtype, read)


def _npy_header(file: Any) -> tuple[tuple[int, ...], Any, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of the unknown format {version}")
    header = io.BytesIO(file.read(2 if version == (1, 0) else 4))
    length = int.from_bytes(header.getvalue(), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"a header of {length} bytes")
    header.seek(0, io.SEEK_END)
    header.write(file.read(length))
    header.seek(0)
    parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = parse(header)
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"an array of {dtype} and shape {shape}; plain numbers can be read")
    return shape, "F" if fortran else "C", dtype


def _safetensors(path: Path) -> dict[str, StoredArray]:
    file: Any = safe_open(path, framework="numpy")  # open as long as one of its arrays is there
    return {name: _safetensors_member(path, name, file) for name in file.keys()}


def _safetensors_member(path: Path, name: str, file: Any) -> StoredArray:
    kind, shape = (member := file.get_slice(name)).get_dtype(), tuple(member.get_shape())
    if kind not in _SAFETENSORS_DTYPES:
        raise ValueError(f"{printable(name, 100)!r} is {kind}, which can't be read")
    dtype = _SAFETENSORS_DTYPES[kind]

    def read() -> np.ndarray:
        with damage_named(path):
            return file.get_tensor(name).astype(dtype, copy=False)

    return StoredArray(shape, dtype, read)


_READERS = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}
