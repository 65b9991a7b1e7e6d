"""The members of a zip archive: found in place, handed out as bytes, never written anywhere.

Names therefore cannot lead anywhere. `torch.save` stores plainly; a member that is compressed, as in Python's wheels,
is unpacked only on demand and to no more than its directory says. A member is handed out with the checksum that the
directory gives for it, and only if its own header agrees with the directory.
"""

import struct
import zlib
from typing import NamedTuple

from weights_convert.errors import ConversionError, printable

MAX_DIRECTORY = 8 << 20  # bytes; a training checkpoint has about 100 KiB
ENTRY, HEADER = struct.Struct("<4s4x2H4x3L4H6xL"), struct.Struct("<4s2x2H4x3L2H")
END, LARGE_END, LOCATOR = struct.Struct("<4s2H2xH2L2x"), struct.Struct("<4s12x2L8x3Q"), struct.Struct("<4s4xQL")
LARGE = 0xFFFFFFFF  # in place of a number that stands in the extra field for large archives
DEFLATED = 8
ENCRYPTED, SIZES_FOLLOW, UTF8 = 0x2041, 0x0008, 0x0800  # flags


class Member(NamedTuple):
    """What the directory says of a member."""

    name: bytes
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    offset: int


class Archive:
    """An archive; `members` is its directory, by name."""

    def __init__(self, data: memoryview):
        self.data, self.unread = data, len(data)
        self.members = _directory(data)

    def content(self, name: str) -> memoryview:
        """The bytes of a member, in place and unchecked. Each member is asked for once: together they fit the file."""
        member = self.members[name]
        start = _start(self.data, member, printable(name, 100))
        end = start + member.size
        if end > len(self.data):
            raise ConversionError(f"member {printable(name, 100)} reaches beyond the file: it is truncated or damaged")
        self.unread -= end - member.offset
        if self.unread < 0:
            raise ConversionError("refused: members of the archive overlap")
        return self.data[start:end]

    def unpacked(self, name: str, limit: int) -> bytes:
        """The bytes of a member that may be compressed, of at most `limit` and no more than the directory says."""
        member, shown = self.members[name], printable(name, 100)
        if member.size > limit:
            raise ConversionError(f"refused: member {shown} has {member.size:,} bytes, at most {limit:,} are read")
        if member.method == 0:
            return bytes(self.checked(name))
        start = _start(self.data, member, shown, compressed=True)
        if member.method != DEFLATED or start + member.stored > len(self.data):
            raise _damaged(f"{shown} is compressed in an unknown way, or truncated")
        unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = unpacking.decompress(self.data[start : start + member.stored], member.size + 1)
        except zlib.error:
            raise _damaged(f"{shown} cannot be unpacked") from None
        if len(content) != member.size or not unpacking.eof:
            raise _damaged(f"{shown} has another size than its directory says")
        check(memoryview(content), member.crc, f"member {shown}")
        return content

    def checked(self, name: str) -> memoryview:
        """The bytes of a member, after comparing the checksum of all of them."""
        content = self.content(name)
        check(content, self.members[name].crc, f"member {printable(name, 100)}")
        return content


def check(data: memoryview, crc: int, what: str) -> None:
    """Raises ConversionError if the bytes do not have the checksum."""
    if zlib.crc32(data) != crc:
        raise ConversionError(f"{what} does not have the checksum the archive says: the file is damaged")


def _directory(data: memoryview) -> dict[str, Member]:
    """Every member by name, after refusing what torch.save never writes."""
    count, size, place, end = _place(data)
    if size > MAX_DIRECTORY:
        raise ConversionError(f"a zip archive with a directory of more than {MAX_DIRECTORY >> 20} MiB")
    if place + size != end:
        raise _damaged("its directory is not where it should be")
    members: dict[str, Member] = {}
    while place < end:
        member, place = _entry(data[:end], place)
        name = _name(member)
        if name in members:
            raise ConversionError("refused: the archive has two members of the same name")
        members[name] = member
    if len(members) != count:
        raise _damaged(f"its directory has {len(members)} members, it should have {count}")
    return members


def _place(data: memoryview) -> tuple[int, int, int, int]:
    """How many members the directory has, its size, its place and its end, from the records after it."""
    start = max(len(data) - (1 << 16) - END.size, 0)
    end = start + bytes(data[start:]).rfind(b"PK\5\6")
    if end < start or end + END.size > len(data):
        raise ConversionError("a zip archive without an end: the file is truncated or damaged")
    _, disk, first_disk, count, size, place = END.unpack_from(data, end)
    if data[max(end - LOCATOR.size, 0) : end][:4] == b"PK\6\7":
        _, record, disks = LOCATOR.unpack_from(data, end - LOCATOR.size)
        end -= LOCATOR.size + LARGE_END.size
        if record != end or data[end : end + 4] != b"PK\6\6":
            raise _damaged("its record for large archives is not where it should be")
        _, disk, first_disk, count, size, place = LARGE_END.unpack_from(data, end)
        first_disk += disks > 1
    if disk or first_disk:
        raise ConversionError("a zip archive in several parts; only whole ones are read")
    return count, size, place, end


def _entry(data: memoryview, place: int) -> tuple[Member, int]:
    """The directory's entry at a place, and the place of the next."""
    if place + ENTRY.size > len(data):
        raise _damaged("its directory ends in the middle of an entry")
    signature, flags, method, *numbers, name, extra, comment, disk, offset = ENTRY.unpack_from(data, place)
    place += ENTRY.size
    if signature != b"PK\1\2" or disk or place + name + extra + comment > len(data):
        raise _damaged("its directory has a malformed entry")
    crc, stored, size = numbers
    size, stored, offset = _large(data[place + name :][:extra], size, stored, offset)
    member = Member(bytes(data[place : place + name]), flags, method, crc, stored, size, offset)
    return member, place + name + extra + comment


def _large(extra: memoryview, *numbers: int) -> list[int]:
    """Numbers of 4 bytes; those that are too large for it from the extra field for large archives, in order."""
    found = [number for number in numbers if number == LARGE]
    while found and len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1 and min(length, len(extra) - 4) >= 8 * len(found):
            found = list(struct.unpack_from(f"<{len(found)}Q", extra, 4))
            break
        extra = extra[4 + length :]
    return [found.pop(0) if number == LARGE else number for number in numbers]


def _name(member: Member) -> str:
    try:
        name = member.name.decode("utf-8" if member.flags & UTF8 else "ascii")
    except UnicodeError:
        raise _damaged("a member has a malformed name") from None
    if not name.isprintable() or name.startswith("/") or {"\\", ":"} & set(name) or ".." in name.split("/"):
        raise ConversionError(f"refused: the archive has a member with the unsafe name {printable(name, 100)!r}")
    return name


def _start(data: memoryview, member: Member, name: str, *, compressed: bool = False) -> int:
    """Where the bytes of a member begin, once its own header agrees with the directory."""
    plain = not member.method and member.stored == member.size
    if not (plain or compressed) or member.flags & ENCRYPTED:
        raise ConversionError(f"refused: member {name} is compressed or encrypted; torch.save stores plainly")
    start = member.offset + HEADER.size
    if start > len(data) or data[member.offset : member.offset + 4] != b"PK\3\4":
        raise _damaged(f"no member at the place of {name}")
    _, flags, method, crc, stored, size, length, extra = HEADER.unpack_from(data, member.offset)
    size, stored = _large(data[start + length :][:extra], size, stored)
    agree = (flags & ENCRYPTED, method, bytes(data[start : start + length])) == (0, member.method, member.name)
    follow = flags & SIZES_FOLLOW and not crc | stored | size  # they stand after the member
    if not agree or not follow and (crc, stored, size) != (member.crc, member.stored, member.size):
        raise _damaged(f"the header of {name} does not agree with the directory")
    return start + length + extra


def _damaged(what: str) -> ConversionError:
    return ConversionError(f"a damaged zip archive: {what}")
