"""Output folders that one run at a time writes to, on this machine and on a shared disk.

A claim ends with the process, however it ends. What killed runs have left half-written is removed by the next claim.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock

from jaxedit.atomic import PARTIAL, unfinished, writing


@contextlib.contextmanager
def claiming(folder: Path) -> Iterator[None]:
    """Makes a folder and holds it.

    Args:
        folder: Made if needed; one that was made and is still empty at the end is removed.

    Raises:
        BlockingIOError: Another run holds it.
        NotADirectoryError: There is something else.
        OSError: It can't be made or written to.
    """
    made = not folder.exists()
    if not made and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: not a directory")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _holding(folder / ".lock", folder):
            remove_leftovers(folder)
            yield
    finally:
        if made and not any(folder.iterdir()):
            folder.rmdir()


@contextlib.contextmanager
def making(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Gives a folder beside `path` to fill; it takes the name of `path` at the end and is removed on any failure.

    Args:
        path: The folder to make; the folder that it is in exists.
        replace: Whether it may exist. It is moved aside to `.NAME.old` once the new one is complete, and comes back if
            that fails; after a kill in between, the next call brings it back.

    Raises:
        BlockingIOError: Another run is making it.
        OSError: It can't be made, or appeared meanwhile.
    """
    with _holding(path.with_name(f".{path.name}.lock"), path):
        remove_leftovers(path.parent, f".{path.name}")
        partial, old = path.with_name(f".{path.name}{PARTIAL}"), path.with_name(f".{path.name}.old")
        try:
            with writing(path), unfinished(partial):
                if replace:
                    _settle(path, old)
                partial.mkdir()
                yield partial
                if replace and path.exists():
                    path.rename(old)
                partial.rename(path)  # fails if there is something by now
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if replace:
                _settle(path, old)


def _settle(path: Path, old: Path) -> None:
    """What was moved aside comes back where nothing has taken its place, and goes where something has."""
    if old.exists() and not path.exists():
        old.rename(path)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _holding(lock_file: Path, what: Path) -> Iterator[None]:
    lock = filelock.FileLock(lock_file, timeout=0)
    try:
        with writing(lock_file):
            lock.acquire()
    except filelock.Timeout:
        raise BlockingIOError(f"{what}: another run is writing there; wait for it or choose another output") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # some systems don't remove an open file
            lock_file.unlink()
        lock.release()


def remove_leftovers(folder: Path, prefix: str = ".") -> None:
    """Removes what killed runs have left half-written in a folder that this run holds.

    Args:
        folder: The folder.
        prefix: Of the names to look at.
    """
    for entry in folder.iterdir():
        if entry.name.startswith(prefix) and entry.name.endswith(PARTIAL):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
