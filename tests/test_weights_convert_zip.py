"""Torch's zip archives: nothing of a member is used before all of it agrees with the archive's directory."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import official_formats as official
import official_pickles as pickles
import pytest
from official_pickles import Tensor
from test_weights_convert import pairs

from weights_convert import ConversionError, read_tensors
from weights_convert.__main__ import main

ONE, OTHER = np.arange(6, dtype=np.float32), np.ones(6, np.float32)


def small() -> bytes:
    return pickles.zip_bytes({"one": Tensor(ONE), "other": Tensor(OTHER)})


def place(archive: bytes, member: str) -> int:
    """Where a member's content begins."""
    offset = zipfile.ZipFile(io.BytesIO(archive)).getinfo(member).header_offset
    name, extra = struct.unpack_from("<2H", archive, offset + 26)
    return offset + 30 + name + extra


def flipped(archive: bytes, position: int, bit: int = 0) -> bytes:
    return archive[:position] + bytes([archive[position] ^ (1 << bit)]) + archive[position + 1 :]


def read(path: Path, content: bytes) -> object:
    path.write_bytes(content)
    return read_tensors(path)


def test_every_bit_of_what_is_read_is_checked(tmp_path: Path) -> None:
    """Protects: one flipped bit in the pickle swaps two tensors, drops a key or changes a number; all are refused."""
    archive = small()
    sizes = {info.filename: info.file_size for info in zipfile.ZipFile(io.BytesIO(archive)).infolist()}
    for member in ("archive/data.pkl", "archive/byteorder", "archive/data/0", "archive/data/1"):
        for position in range(place(archive, member), place(archive, member) + sizes[member]):
            with pytest.raises(ConversionError, match="checksum"):
                read(tmp_path / "x.pt", flipped(archive, position, position % 8))


def test_swapped_layers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects: a bit that turns the names of two layers of equal shape into each other is found before converting."""
    source = official.write_rosinality(tmp_path / "source.pt", *pairs({}))
    content = source.read_bytes()
    place = content.index(b"convs.0.conv.weight") + len("convs.")
    source.write_bytes(flipped(content, place, 1))
    assert main([str(source), str(tmp_path / "G")]) == 1
    err = capsys.readouterr().err
    assert (
        err.startswith(f"error: {source}: member archive/data.pkl does not have the checksum") and err.count("\n") == 1
    )


def test_reported_bit(cases: Path, tmp_path: Path) -> None:
    """Protects: the reported pair of files, of which the damaged one used to convert."""
    damaged, original = (str(cases / "damaged" / f"rosinality_{name}.pt") for name in ("onebit", "original"))
    assert main([damaged, str(tmp_path / "damaged")]) == 1 and main([original, str(tmp_path / "original")]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["original"]


def header(change: Callable[[bytearray, int], None]) -> Callable[[], bytes]:
    """Changes something at the offset of a storage's own header."""

    def make() -> bytes:
        archive = bytearray(small())
        change(archive, place(bytes(archive), "archive/data/0") - 30 - len("archive/data/0"))
        return bytes(archive)

    return make


def entry(change: Callable[[bytearray, int], None]) -> Callable[[], bytes]:
    """Changes something at the offset of a storage's entry in the directory."""

    def make() -> bytes:
        archive = bytearray(small())
        change(archive, archive.rindex(b"archive/data/0") - 46)
        return bytes(archive)

    return make


def put(position: int, code: str, *values: int) -> Callable[[bytearray, int], None]:
    return lambda archive, offset: struct.pack_into(code, archive, offset + position, *values)


def overlapping() -> bytes:
    """Each of eight storages is said to be all that follows its header."""
    archive = pickles.zip_bytes([Tensor(np.full(50, i, np.float32)) for i in range(8)])
    changed = bytearray(archive)
    for i in range(8):
        name = f"archive/data/{i}"
        offset = zipfile.ZipFile(io.BytesIO(archive)).getinfo(name).header_offset
        for place in (offset + 18, archive.rindex(name.encode()) - 46 + 20):
            struct.pack_into("<2L", changed, place, *[len(archive) - offset - 100] * 2)
    return bytes(changed)


REFUSED = {
    "another name in the header": (header(put(30, "<B", ord("b"))), "does not agree with the directory"),
    "another size in the header": (header(put(22, "<L", 20)), "does not agree with the directory"),
    "another stored size in the header": (header(put(18, "<L", 20)), "does not agree with the directory"),
    "another checksum in the header": (header(put(14, "<L", 5)), "does not agree with the directory"),
    "sizes of the header missing": (header(put(14, "<3L", 0, 0, 0)), "does not agree with the directory"),
    "compressed by the header": (header(put(8, "<H", 8)), "does not agree with the directory"),
    "encrypted by the header": (header(put(6, "<H", 1)), "does not agree with the directory"),
    "no header": (header(put(0, "<L", 0)), "no member at the place"),
    "encrypted": (entry(put(8, "<H", 1)), "encrypted"),
    "strongly encrypted": (entry(put(8, "<H", 0x41)), "encrypted"),
    "compressed": (entry(put(10, "<H", 8)), "compressed"),
    "LZMA": (entry(put(10, "<H", 14)), "compressed"),
    "another disk": (entry(put(34, "<H", 1)), "malformed entry"),
    "no signature": (entry(put(0, "<L", 0)), "malformed entry"),
    "a comment beyond the directory": (entry(put(32, "<H", 60000)), "malformed entry"),
    "a name that is no text": (entry(put(46, "<B", 0xFF)), "malformed name"),
    "a name with a control character": (entry(put(46, "<B", 0x1B)), "unsafe name"),
    "beyond the file": (entry(put(42, "<L", 1 << 30)), "no member at the place"),
    "numbers that are said to be elsewhere": (
        entry(put(20, "<2L", 0xFFFFFFFF, 0xFFFFFFFF)),
        "agree with the directory",
    ),
    "several parts": (lambda: small()[:-18] + b"\1\0" + small()[-16:], "several parts"),
    "too many members": (lambda: small()[:-12] + b"\7\0" + small()[-10:], "should have 7"),
    "a directory elsewhere": (lambda: small()[:-6] + b"\0\0\0\0" + small()[-2:], "not where it should be"),
    "two members of one name": (lambda: small().replace(b"archive/data/1", b"archive/data/0"), "of the same name"),
    "members that overlap": (overlapping, "overlap"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    """Protects: an archive whose parts contradict each other, or that torch.save never writes, ends in one line."""
    make, message = REFUSED[case]
    with pytest.raises(ConversionError, match=message) as error:
        read(tmp_path / "x.pt", make())
    assert str(error.value).startswith(f"{tmp_path / 'x.pt'}: ") and str(error.value).isprintable()


class Unseekable(io.RawIOBase):
    """A stream, into which the sizes can only be written after the members."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.content += data
        return len(data)


def copied(archive: bytes, *, large: bool, comment: bytes = b"") -> bytes:
    """The same members written by a stream, as PyTorch does it, or with the extra fields of large archives."""
    file = io.BytesIO() if large else Unseekable()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(file, "w") as new:  # pyright: ignore
        new.comment = comment
        for name in old.namelist():
            with new.open(zipfile.ZipInfo(name), "w", force_zip64=large) as member:
                member.write(old.read(name))
    return file.getvalue() if isinstance(file, io.BytesIO) else bytes(file.content)


@pytest.mark.parametrize("archive", ["sizes after the members", "large", "with a comment"])
def test_other_forms_are_read(tmp_path: Path, archive: str) -> None:
    """Protects: the forms of archives that PyTorch writes, and what other tools make of them, stay readable."""
    content = copied(small(), large=archive == "large", comment=b"a comment" * (archive == "with a comment"))
    tensors = read(tmp_path / "x.pt", content)
    assert isinstance(tensors, dict)
    np.testing.assert_array_equal(tensors["one"], ONE)
    np.testing.assert_array_equal(tensors["other"], OTHER)
