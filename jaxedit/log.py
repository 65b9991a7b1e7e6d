"""Files of JSON lines that go on where an interrupted run stopped."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxedit.atomic import replacing


class Log:
    """A file of JSON lines; a context manager."""

    def __init__(self, path: Path, keeps: Callable[[dict[str, Any]], bool]):
        """Opens the file, without the lines that are not to be kept.

        Args:
            path: The file; made if needed.
            keeps: Whether a line of an earlier run stays.

        Raises:
            OSError: The file can't be written.
        """
        with replacing(path) as partial:
            rows = filter(keeps, read_rows(path))
            partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Log:
        return self

    def write(self, line: dict[str, Any]) -> None:
        """Appends one line, at once."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def __exit__(self, *error: Any) -> None:
        self._file.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a `Log`, without what is none, such as one that a stopped process has left half-written.

    Args:
        path: The file.

    Returns:
        The rows; none if there is no such file.

    Raises:
        OSError: The file can't be read.
    """
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, RecursionError):
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]
