"""Files of JSON lines that go on where an interrupted run stopped."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxedit.atomic import replacing, writing

_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}


class Log:
    """A file of JSON lines; a context manager. One process at a time may write to it.

    Attributes:
        path: The file.

    Numbers that are not finite are written as the texts "NaN", "Infinity" and "-Infinity": JSON has none for them.
    """

    def __init__(self, path: Path, keeps: Callable[[dict[str, Any]], bool]):
        """Opens the file, without the lines that are not to be kept.

        Args:
            path: The file; made if needed.
            keeps: Whether a line of an earlier run stays.

        Raises:
            OSError: The file can't be written.
        """
        with replacing(path) as partial:
            partial.write_text("".join(map(_as_line, filter(keeps, read_rows(path)))), encoding="utf-8")
        self.path, self._file = path, path.open("a", encoding="utf-8")

    def __enter__(self) -> Log:
        return self

    def write(self, line: dict[str, Any]) -> None:
        """Appends one line, at once.

        Args:
            line: JSON values, and numbers of any kind.

        Raises:
            OSError: It can't be written, or only in part, which whoever reads the file passes over; names the file.
        """
        with writing(self.path):
            self._file.write(_as_line(line))
            self._file.flush()

    def __exit__(self, *error: Any) -> None:
        with writing(self.path):
            self._file.close()


def _as_line(row: dict[str, Any]) -> str:
    return json.dumps(_valid(row), allow_nan=False) + "\n"


def _valid(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _valid(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(item) for item in value]
    return _NOT_FINITE.get(value, "NaN") if isinstance(value, float) and not math.isfinite(value) else value


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
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, RecursionError):
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]
