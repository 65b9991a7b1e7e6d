"""Pickles, `torch.save` archives and `torch.save` streams as the official programs write them, without those programs.

The modules that the pickles mention exist only while a file is being written.
"""

import collections
import contextlib
import io
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "uint16": "BFloat16Storage",  # numpy has no bfloat16; the bits travel as uint16
}


# Objects that pickle to what the official classes pickle to.


def _official(module: str, name: str, kind: Any) -> Any:
    kind.__module__, kind.__name__, kind.__qualname__ = module, name, name
    _OFFICIAL[module, name] = kind
    return kind


_OFFICIAL: dict[tuple[str, str], Any] = {}
Network = _official("dnnlib.tflib.network", "Network", type("Network", (), {}))
ProgressiveNetwork = _official("tfutil", "Network", type("Network", (), {}))
EasyDict = _official("dnnlib.util", "EasyDict", type("EasyDict", (dict,), {}))
RebuildTensor = _official("torch._utils", "_rebuild_tensor_v2", lambda *_: None)
RebuildParameter = _official("torch._utils", "_rebuild_parameter", lambda *_: None)
LoadFromBytes = _official("torch.storage", "_load_from_bytes", lambda *_: None)
Reconstruct = _official("torch_utils.persistence", "_reconstruct_persistent_obj", lambda *_: None)
Kinds = {dtype: _official("torch", name, type(name, (), {})) for dtype, name in STORAGES.items()}


@contextlib.contextmanager
def official_modules() -> Iterator[None]:
    """Lets pickle find the names above; nothing of it stays."""
    modules: dict[str, types.ModuleType] = {}
    for (module, name), value in _OFFICIAL.items():
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            path = ".".join(parts[:end])
            modules.setdefault(path, types.ModuleType(path))
        setattr(modules[module], name, value)
    with mock.patch.dict(sys.modules, modules):
        yield


class Storage:
    """A PyTorch storage. In a plain pickle it contains a whole nested stream, in torch.save's it is a persistent id."""

    def __init__(self, numbers: np.ndarray):
        self.numbers = numbers

    def __reduce__(self) -> Any:
        return LoadFromBytes, (stream_bytes(self),)


class Tensor:
    """A PyTorch tensor over a storage; contiguous unless strides (in elements) are given."""

    def __init__(self, array: Any, strides: tuple[int, ...] | None = None, offset: int = 0, shape: Any = None):
        array = np.asarray(array)
        self.storage, self.offset, self.shape = Storage(array.ravel()), offset, array.shape if shape is None else shape
        self.strides = strides if strides is not None else tuple(s // array.itemsize for s in array.strides)

    def __reduce__(self) -> Any:
        return RebuildTensor, (self.storage, self.offset, self.shape, self.strides, False, collections.OrderedDict())


class Parameter(Tensor):
    def __reduce__(self) -> Any:
        rebuild, args = super().__reduce__()
        return RebuildParameter, (_Reduced(rebuild, args), True, collections.OrderedDict())


class _Reduced:
    def __init__(self, function: Any, args: Any):
        self.reduced = function, args

    def __reduce__(self) -> Any:
        return self.reduced


class _TorchPickler(pickle.Pickler):
    """torch.save's pickler: protocol 2, storages by key."""

    def __init__(self, file: Any, extra: tuple[Any, ...] = ()):
        super().__init__(file, protocol=2)
        self.storages: dict[str, np.ndarray] = {}
        self.keys: dict[int, str] = {}
        self.extra, self.alive = extra, []

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, Storage):
            return None
        self.alive.append(obj)
        key = self.keys.setdefault(id(obj), str(len(self.keys)))
        self.storages[key] = obj.numbers
        return ("storage", Kinds[obj.numbers.dtype.name], key, "cpu", obj.numbers.size, *self.extra)


def stream_bytes(content: Any) -> bytes:
    """The older stream of torch.save."""
    with official_modules():
        file = io.BytesIO()
        for part in (MAGIC, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}):
            pickle.dump(part, file, protocol=2)
        pickler = _TorchPickler(file, (None,))
        pickler.dump(content)
        pickle.dump(sorted(pickler.storages), file, protocol=2)
        for key in sorted(pickler.storages):
            numbers = pickler.storages[key]
            file.write(struct.pack("<q", numbers.size) + numbers.tobytes())
        return file.getvalue()


def zip_bytes(content: Any, root: str = "archive") -> bytes:
    """The zip archive of torch.save."""
    with official_modules():
        file, archive = io.BytesIO(), io.BytesIO()
        pickler = _TorchPickler(file)
        pickler.dump(content)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as members:
        members.writestr(f"{root}/data.pkl", file.getvalue())
        members.writestr(f"{root}/byteorder", "little")
        for key, numbers in pickler.storages.items():
            members.writestr(f"{root}/data/{key}", numbers.tobytes())
        members.writestr(f"{root}/version", "3\n")
    return archive.getvalue()


def torch_save(path: Path, content: Any, *, legacy: bool = False) -> Path:
    """Writes a nest of `Tensor`s and plain values as torch.save does."""
    path.write_bytes(stream_bytes(content) if legacy else zip_bytes(content))
    return path


def python2_pickled(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Writes a dict of arrays as Python 2 does: its strings, an array's bytes among them, say no encoding."""

    def string(value: bytes) -> bytes:
        head = b"U" + struct.pack("<B", len(value)) if len(value) < 256 else b"T" + struct.pack("<i", len(value))
        return head + value

    def pickled_array(array: np.ndarray) -> bytes:
        empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        shape = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in array.shape) + b"t"
        dtype = b"cnumpy\ndtype\n" + string(array.dtype.str[1:].encode()) + b"K\x00K\x01\x87R(K\x03U\x01<NNN"
        dtype += 2 * (b"J" + struct.pack("<i", -1)) + b"K\x00tb"
        return empty + b"(K\x01" + shape + dtype + b"\x89" + string(array.tobytes()) + b"tb"

    with path.open("wb") as file:
        file.write(b"\x80\x02}(")
        for name, array in arrays.items():
            file.write(string(name.encode()) + pickled_array(array))
        file.write(b"u.")
    return path


def pickled(path: Path, content: Any, protocol: int = 4) -> Path:
    """Writes a plain pickle of the objects above."""
    with official_modules():
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path
