"""The two containers of `torch.save`: the zip archive and the older stream. Both hold one pickle and flat storages."""

import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from weights_convert.errors import ConversionError, printable
from weights_convert.tensors import Storage
from weights_convert.unpickle import Allowed, Budget, Global, load

MAGIC = 0x1950A86A20F9469CFC6C  # the stream starts with this number
MAX_DIRECTORY = 8 << 20  # bytes of a zip archive's directory; a training checkpoint has about 100 KiB

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


def read_zip(data: memoryview, allowed: Allowed, budget: Budget) -> Any:
    """The object of an archive. Members are found in place and never unpacked, so their names cannot lead anywhere."""
    members = _members(data)
    roots = [name[: -len("data.pkl")] for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ConversionError("a zip archive, but not one that torch.save wrote: it has no <name>/data.pkl")
    root = roots[0]
    if root + "constants.pkl" in members or any(name.startswith(root + "code/") for name in members):
        raise ConversionError("a TorchScript archive (a program); only files of tensors can be read")
    if root + "byteorder" in members and bytes(_content(data, members[root + "byteorder"])) != b"little":
        raise ConversionError("the archive is in an unknown byte order")
    storages: dict[str, Storage] = {}
    result, _ = load(_content(data, members[root + "data.pkl"]), 0, allowed, budget, _persistent_load(storages))
    for key, storage in storages.items():
        member = members.get(f"{root}data/{key}")
        if member is None:
            raise ConversionError(f"the archive has no member for storage {printable(key)}")
        storage.data, storage.crc = _content(data, member), member.CRC
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


def _members(data: memoryview) -> dict[str, zipfile.ZipInfo]:
    """The archive's directory by name, after refusing what torch.save never writes."""
    tail = bytes(data[-(1 << 16) - 22 :])
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        raise ConversionError("a zip archive without an end: the file is truncated or damaged")
    size = max(int.from_bytes(tail[end + 12 : end + 16], "little"), _zip64_size(data, len(data) - len(tail) + end))
    if size > MAX_DIRECTORY:
        raise ConversionError(f"a zip archive with a directory of more than {MAX_DIRECTORY >> 20} MiB")
    try:
        infos = zipfile.ZipFile(_View(data)).infolist()
    except (zipfile.BadZipFile, UnicodeError, NotImplementedError, ValueError) as error:
        raise ConversionError(f"a damaged zip archive: {error}") from error
    members = {info.filename: info for info in infos}
    for name in members:
        if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
            raise ConversionError(f"refused: the archive has a member with the unsafe name {printable(name, 100)!r}")
    if len(members) != len(infos):
        raise ConversionError("refused: the archive has two members of the same name")
    return members


def _zip64_size(data: memoryview, end: int) -> int:
    """The size of the directory by the record for large archives, which takes precedence; 0 when there is none.

    `end` is the place of the archive's end record: a locator of 20 bytes comes before it, the record before that.
    """
    locator = bytes(data[max(end - 20, 0) : end])
    if locator[:4] != b"PK\6\7":
        return 0
    place = end - 76
    large = bytes(data[place : end - 20]) if place >= 0 else b""
    if large[:4] != b"PK\6\6" or int.from_bytes(locator[8:16], "little") != place:
        raise ConversionError("a damaged zip archive: its record for large archives is not where it should be")
    return int.from_bytes(large[40:48], "little")


def _content(data: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """The bytes of a member, in place. torch.save stores members uncompressed, so nothing can expand."""
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
        raise ConversionError(
            f"refused: member {printable(info.filename, 100)} is compressed or encrypted; torch.save stores plainly"
        )
    header = bytes(data[info.header_offset : info.header_offset + 30])
    if header[:4] != b"PK\3\4" or len(header) < 30:
        raise ConversionError(f"a damaged zip archive: no member at the place of {printable(info.filename, 100)}")
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    start = info.header_offset + 30 + lengths
    if start + info.file_size > len(data):
        raise ConversionError(f"member {printable(info.filename, 100)} reaches beyond the file")
    return data[start : start + info.file_size]


class _View(io.RawIOBase):
    """A read-only file over bytes that are not copied."""

    def __init__(self, data: memoryview):
        self.data, self.position = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = (0, self.position, len(self.data))[whence]
        if base + offset < 0:
            raise ValueError("seek to a negative position")
        self.position = base + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def read(self, size: int | None = -1) -> bytes:
        end = len(self.data) if size is None or size < 0 else self.position + size
        content = bytes(self.data[self.position : end])
        self.position += len(content)
        return content
