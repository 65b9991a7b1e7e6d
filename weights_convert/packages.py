"""Packages of Python and npm that are gzipped tar archives, and folders of manifests: read in place, not extracted."""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from weights_convert import tfjs
from weights_convert.errors import ConversionError, printable

GZIP = b"\x1f\x8b"
MAX_UNPACKED, MAX_MEMBERS = 256 << 20, 20_000
PICKLES = (".ckpt", ".pkl", ".pickle")
_CHUNK = 1 << 20


def read(data: memoryview, read_pickle: Callable[[memoryview], Any]) -> dict[str, Any]:
    """What a package holds by name: networks of manifests, and pickles.

    Raises:
        ConversionError: Damaged or hostile content, or nothing of the kind.
    """
    members = _members(data)
    found = _manifests(members)
    for name, content in members.items():
        if name.endswith(PICKLES):
            found[Path(name).stem] = read_pickle(memoryview(content))
    if not found:
        raise ConversionError("a package without weights: neither manifests of TensorFlow.js nor pickles")
    return found


def read_folder(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The networks of all manifests in a folder by name.

    Raises:
        ConversionError: Damaged or hostile content, or no manifest.
        OSError: A file cannot be read.
    """
    names = sorted(entry.name for entry in os.scandir(path) if entry.name.endswith(tfjs.ENDING) and entry.is_file())
    if not names:
        raise ConversionError(f"a folder without *{tfjs.ENDING} or model.safetensors")
    return {key: model for name in names for key, model in read_manifest(Path(path) / name).items()}


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The network of one manifest, with the files beside it; errors as for `read_folder`."""
    own = Path(path)

    def opened(name: str) -> bytes:
        file = own.with_name(name)
        if not file.is_file():
            raise ConversionError(f"{own.name} has no {printable(name, 100)} beside it")
        if file.stat().st_size > tfjs.MAX_DATA:
            raise ConversionError(f"{name}: more than {tfjs.MAX_DATA:,} bytes")
        return file.read_bytes()

    if own.stat().st_size > tfjs.MAX_MANIFEST:
        raise ConversionError(f"{own.name}: a manifest of more than {tfjs.MAX_MANIFEST >> 20} MiB")
    return dict([_named(own.name, tfjs.read(own.read_bytes(), opened, own.name))])


def _manifests(members: Mapping[str, bytes]) -> dict[str, Any]:
    found = {}
    for name, content in members.items():
        if not name.endswith(tfjs.ENDING):
            continue
        folder = name.rpartition("/")[0]

        def opened(file: str, folder: str = folder, manifest: str = name) -> bytes:
            if (member := f"{folder}/{file}".lstrip("/")) not in members:
                raise ConversionError(f"{printable(manifest, 100)} has no {printable(file, 100)} beside it")
            return members[member]

        key, model = _named(name.rpartition("/")[2], tfjs.read(content, opened, printable(name, 100)))
        found[key] = model
    return found


def _named(file: str, manifest: tfjs.Manifest) -> tuple[str, tfjs.Manifest]:
    """Known networks by their family, others by the file."""
    return tfjs.family(manifest) or file.removesuffix(tfjs.ENDING), manifest


def _members(data: memoryview) -> dict[str, bytes]:
    """The plain files of an archive whose names are safe, each once."""
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(data)), mode="r:") as archive:
            for count, member in enumerate(archive):
                name = member.name
                unsafe = not name.isprintable() or name.startswith("/") or {"\\", ":"} & set(name)
                if unsafe or ".." in name.split("/"):
                    raise ConversionError(f"refused: the archive has the unsafe name {printable(repr(name), 100)}")
                if count >= MAX_MEMBERS or (member.isfile() and name in members):
                    raise ConversionError(f"refused: more than {MAX_MEMBERS} members, or two of the same name")
                if not member.isdir() and not member.isfile():
                    raise ConversionError(f"refused: {printable(name, 100)} is neither a file nor a folder")
                if member.isfile() and not member.issparse():
                    content = archive.extractfile(member)
                    members[name] = b"" if content is None else content.read()
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError) as error:
        if isinstance(error, ConversionError):
            raise
        raise ConversionError(f"a damaged tar archive: {printable(str(error), 100)}") from None
    return members


def _unpacked(data: memoryview) -> bytes:
    """What a gzip stream holds, of a bounded size."""
    unpacking, content = zlib.decompressobj(wbits=31), bytearray()
    try:
        for start in range(0, len(data), _CHUNK):
            content += unpacking.decompress(data[start : start + _CHUNK], MAX_UNPACKED + 1 - len(content))
            if len(content) > MAX_UNPACKED or unpacking.unconsumed_tail:
                raise ConversionError(f"refused: an archive of more than {MAX_UNPACKED >> 20} MiB")
    except zlib.error as error:
        raise ConversionError(f"a damaged gzip stream: {printable(error, 100)}") from None
    if not unpacking.eof:
        raise ConversionError("a gzip stream that ends too early: it is truncated")
    return bytes(content)
