"""Opening a file: which container it is, and the object inside, without executing anything.

Three containers of pickles: the zip archive of `torch.save`, the older stream of `torch.save`, and a plain pickle
(NVIDIA's, whose PyTorch tensors are themselves pickled as nested streams of the second kind); OpenVINO's graphs, in
files or in a wheel of Python; manifests of TensorFlow.js, in a folder; models of sentence-transformers, in a folder or
a wheel; and packages of Python and npm. The content decides, never the name. Only archives have checksums, which are
compared; in streams, pickles and files of constants, damage that leaves them readable is not noticed.
"""

import hashlib
import mmap
import os
import re
import stat
from collections.abc import Callable
from typing import Any

from weights_convert import openvino, packages, sentence_transformers, tfjs
from weights_convert.archive import Archive
from weights_convert.errors import ConversionError
from weights_convert.tensors import MAX_DIMENSIONS, NumpyArray, NumpyDtype, Storage, Tensor, numpy_scalar, numpy_tensor
from weights_convert.torch_files import MAGIC, STORAGES, read_stream, read_zip
from weights_convert.unpickle import Allowed, Budget, Record, load, plain_key, record

_PICKLE_START = re.compile(rb"[\x80(c\])}]")
_OTHERS = {
    b"version https://": "is a pointer of Git LFS, which stands for the file; `git lfs pull` fetches it",
    b"<": "is a web page, so perhaps a download that failed",
    b"\x89HDF": "is a file of HDF5",
    b"\x93NUMPY": "is an array of NumPy",
}


def read(path: str | os.PathLike[str]) -> tuple[str, Any]:
    """The container's name ("torch-zip", "torch-stream", "pickle", "openvino", "tfjs", "safetensors" or "package"), and
    the object that a file or folder holds.

    The object is made of dicts, lists, tuples, sets, numbers, text, `Tensor`s (whose bytes stay in the file until
    `numpy()` copies them) and `Record`s.

    Raises:
        ConversionError: the file is empty, truncated, of no known format, or asks for anything to be executed.
        OSError: the file cannot be opened.
    """
    if os.path.isdir(path):
        if os.path.isfile(weights := os.path.join(path, sentence_transformers.WEIGHTS)):
            return "safetensors", sentence_transformers.read_files(weights)
        return "tfjs", packages.read_folder(path)
    data = _map(path)
    budget = Budget()
    if data[:2] == packages.GZIP:
        return "package", packages.read(data, lambda content: _pickled(content, budget)[1])
    if bytes(data[:64]).lstrip().startswith((b"[", b"{")) and os.fspath(path).endswith(tfjs.ENDING):
        return "tfjs", packages.read_manifest(path)
    if data[:4] == b"PK\x03\x04":
        archive = Archive(data)
        if (model := sentence_transformers.read_archive(archive)) is not None:
            return "safetensors", model
        if (model := openvino.read_archive(archive)) is not None:
            return "openvino", model
        return "torch-zip", read_zip(archive, _allowed(budget), budget)
    if bytes(data[:64]).lstrip().startswith((b"<?xml", b"<net")):
        return "openvino", openvino.read_files(path)
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data):
        return "safetensors", sentence_transformers.read_files(path)
    if not _PICKLE_START.match(data):
        start = bytes(data[:16])
        what = next(
            (what for magic, what in _OTHERS.items() if start.lstrip().startswith(magic)), f"starts with {start!r}"
        )
        raise ConversionError(f"not a checkpoint in a known format (neither a pickle nor a zip archive): it {what}")
    return _pickled(data, budget)


def _pickled(data: memoryview, budget: Budget) -> tuple[str, Any]:
    first, position = load(data, 0, _allowed(budget), budget)
    if type(first) is int and first == MAGIC:
        return "torch-stream", read_stream(data, position, _allowed(budget), budget)
    return "pickle", first


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, or of those of all files of a folder in the order of their names, as 64 hexadecimal
    digits."""
    if os.path.isdir(path):
        names = sorted(entry.path for entry in os.scandir(path) if entry.is_file())
        return hashlib.sha256("".join(map(sha256, names)).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _map(path: str | os.PathLike[str]) -> memoryview:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ConversionError("not a file" if not stat.S_ISDIR(status.st_mode) else "a directory, not a file")
    if not status.st_size:
        raise ConversionError("the file is empty")
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


# The allow-list: what official files mention, and what of ours stands in for it.


def _allowed(budget: Budget, nested: bool = False) -> Allowed:
    def nested_stream(data: Any) -> Any:
        if nested or not isinstance(data, bytes | memoryview):
            raise ConversionError("refused: a nested PyTorch stream inside a nested PyTorch stream")
        view = memoryview(data)
        first, position = load(view, 0, _allowed(budget, nested=True), budget)
        if type(first) is not int or first != MAGIC:
            raise ConversionError("a nested PyTorch storage does not start with torch.save's number")
        return read_stream(view, position, _allowed(budget, nested=True), budget)

    return {**_ALLOWED, ("torch.storage", "_load_from_bytes"): nested_stream}


def _dict(items: Any = ()) -> dict[str, Any]:
    if type(items) not in (list, tuple):
        raise TypeError
    if not all(type(item) in (list, tuple) and len(item) == 2 and type(item[0]) is str for item in items):
        raise TypeError
    return {plain_key(key): value for key, value in items}


def _set(items: Any = ()) -> set[Any]:
    if type(items) not in (list, tuple) or not all(type(item) in (str, int) for item in items):
        raise TypeError
    return set(map(plain_key, items))


def _encode(text: Any, encoding: Any = "utf-8") -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1", "utf-8"):
        raise TypeError
    return text.encode(encoding)


def _array(kind: Any, shape: Any, code: Any) -> NumpyArray:
    return NumpyArray()


def _array_from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> Tensor:
    return numpy_tensor(buffer, dtype, shape, order == "F")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    if type(storage) is not Storage:
        raise ConversionError("a PyTorch tensor without a storage")
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _persistent_object(meta: Any) -> Record:
    """An ada-pytorch module: its source code is left alone, its attributes become a Record named after its class."""
    if type(meta) is not dict or type(meta.get("class_name")) is not str or type(meta.get("state")) is not dict:
        raise ConversionError("a persistent object without a class name and a state")
    return Record(meta["class_name"], meta["state"])


def _size(sizes: Any = ()) -> tuple[Any, ...]:
    if type(sizes) not in (list, tuple) or len(sizes) > MAX_DIMENSIONS or not all(type(n) is int for n in sizes):
        raise TypeError
    return tuple(sizes)


def _device(*names: Any) -> str:
    return ":".join(str(name) for name in names if type(name) in (str, int))


_ALLOWED: dict[tuple[str, str], Callable[..., Any] | None] = {
    ("collections", "OrderedDict"): _dict,
    ("dnnlib.util", "EasyDict"): _dict,
    ("dnnlib", "EasyDict"): _dict,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
    ("_codecs", "encode"): _encode,
    ("argparse", "Namespace"): record("argparse.Namespace"),
    ("dnnlib.tflib.network", "Network"): record("dnnlib.tflib.network.Network"),
    ("tfutil", "Network"): record("tfutil.Network"),
    ("network", "Network"): record("network.Network"),
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): NumpyDtype,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    **{("torch", name.removeprefix("torch.")): None for name in STORAGES},
}
for _numpy in ("numpy.core", "numpy._core"):
    _ALLOWED[_numpy + ".multiarray", "_reconstruct"] = _array
    _ALLOWED[_numpy + ".multiarray", "scalar"] = numpy_scalar
    _ALLOWED[_numpy + ".numeric", "_frombuffer"] = _array_from_buffer
