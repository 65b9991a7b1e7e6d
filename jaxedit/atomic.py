"""Files that appear under their name only once they are complete."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial"
_unfinished: set[Path] = set()


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a path beside `path` to write to; it takes the name of `path` at the end and is removed on any failure.

    The path's name is unique among all processes and machines that may write to the folder.

    Args:
        path: The file to make or replace; its directory exists.

    Raises:
        OSError: The file cannot be written; the error names `path`, and nothing is left behind.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    try:
        with writing(path), unfinished(partial):
            yield partial
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Makes an OSError that names no file, as a full disk raises it, name this one.

    Args:
        path: What is being written.

    Raises:
        OSError: With `path` as its file name.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def write_verified(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file to the disk itself and reads it back before it takes its name.

    Args:
        path: The file to make or replace; its directory exists.
        data: Its content.

    Raises:
        OSError: It cannot be written, or what was read back is something else; nothing is left behind.
    """
    with replacing(path) as partial:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if partial.read_bytes() != data:
            raise OSError(f"{os.fspath(path)}: what was written is not what is read back; the disk may be damaged")


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[None]:
    """Marks a file or directory as worthless until the block ends; `abandon` removes it."""
    _unfinished.add(path)
    try:
        yield
    finally:
        _unfinished.discard(path)


def abandon() -> None:
    """Removes what is unfinished, for a process that ends at once, without leaving its blocks."""
    for path in tuple(_unfinished):
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.unlink()
