"""Files that appear under their name only once they are complete."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a path beside `path` to write to; it takes the name of `path` at the end and is removed on any failure.

    Args:
        path: The file to make or replace; its directory exists.

    Raises:
        OSError: The file cannot be written; nothing is left behind.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
