"""The two containers of `torch.save`: the zip archive and the older stream. Both hold one pickle and flat storages."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from weights_convert.archive import Archive
from weights_convert.errors import ConversionError, printable
from weights_convert.tensors import Storage
from weights_convert.unpickle import Allowed, Budget, Global, load

MAGIC = 0x1950A86A20F9469CFC6C  # the stream starts with this number

STORAGES = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.BFloat16Storage": "<u2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "|b1",
}


def read_stream(data: memoryview, position: int, allowed: Allowed, budget: Budget) -> Any:
    """The object of a stream whose first pickle, the magic number, ended at `position`."""
    storages: dict[str, Storage] = {}
    protocol, position = load(data, position, {}, budget)
    system, position = load(data, position, {}, budget)
    if (
        type(protocol) is not int
        or protocol != 1001
        or type(system) is not dict
        or system.get("little_endian") is not True
    ):
        raise ConversionError("a PyTorch stream of an unknown protocol or byte order")
    result, position = load(data, position, allowed, budget, _persistent_load(storages))
    keys, position = load(data, position, {}, budget)
    if type(keys) is not list or not all(type(key) is str and key in storages for key in keys):
        raise ConversionError("a PyTorch stream whose storage list does not match its tensors")
    for key in keys:
        storage = storages[key]
        size = storage.length * storage.dtype.itemsize
        count = int.from_bytes(data[position : position + 8], "little")
        if count != storage.length or len(data) - position - 8 < size:
            raise ConversionError(
                f"storage {printable(key)} should have {storage.length} elements: the file is truncated or damaged"
            )
        storage.data = data[position + 8 : position + 8 + size]
        position += 8 + size
    return result


def read_zip(archive: Archive, allowed: Allowed, budget: Budget) -> Any:
    """The object of an archive. Storages are checked when their numbers are asked for, everything else here."""
    members = archive.members
    roots = [name[: -len("data.pkl")] for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ConversionError("a zip archive, but not one that torch.save wrote: it has no <name>/data.pkl")
    root = roots[0]
    if root + "constants.pkl" in members or any(name.startswith(root + "code/") for name in members):
        raise ConversionError("a TorchScript archive (a program); only files of tensors can be read")
    if root + "byteorder" in members and bytes(archive.checked(root + "byteorder")) != b"little":
        raise ConversionError("the archive is in an unknown byte order")
    storages: dict[str, Storage] = {}
    result, _ = load(archive.checked(root + "data.pkl"), 0, allowed, budget, _persistent_load(storages))
    for key, storage in storages.items():
        name = f"{root}data/{key}"
        if name not in members:
            raise ConversionError(f"the archive has no member for storage {printable(key)}")
        storage.data, storage.crc = archive.content(name), members[name].crc
    return result


def _persistent_load(storages: dict[str, Storage]) -> Callable[[Any], Storage]:
    """What turns a persistent id, ("storage", class, key, device, length[, view]), into one shared Storage per key."""

    def persistent_load(identity: Any) -> Storage:
        if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
            raise ConversionError("refused: the pickle refers to something that is not a PyTorch storage")
        kind, key, length = identity[1], identity[2], identity[4]
        if (
            type(kind) is not Global
            or kind.name not in STORAGES
            or type(key) is not str
            or not re.fullmatch("[0-9]{1,20}", key)
        ):
            raise ConversionError("refused: a PyTorch storage of an unknown kind or name")
        if type(length) is not int or length < 0 or (len(identity) == 6 and identity[5] is not None):
            raise ConversionError("a PyTorch storage of a malformed length, or one that is a view of another")
        name = kind.name
        storage = Storage(key, np.dtype(STORAGES[name]), length, bfloat16=name == "torch.BFloat16Storage")
        known = storages.setdefault(key, storage)
        if (known.dtype, known.length, known.bfloat16) != (storage.dtype, length, storage.bfloat16):
            raise ConversionError(f"storage {key} is described in two different ways")
        return known

    return persistent_load
