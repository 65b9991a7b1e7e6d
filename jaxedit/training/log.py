"""The log of a training: a file of JSON lines that goes on after a step as if nothing had been written beyond it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from jaxedit.atomic import replacing


class Log:
    """A file of JSON lines with a number `step` each; a context manager."""

    def __init__(self, path: Path, step: int):
        """Opens the file, without what a process that was stopped has written after a step, half a line included.

        Args:
            path: The file; made if needed.
            step: The last step whose lines are kept.

        Raises:
            OSError: The file can't be written.
        """
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        with replacing(path) as partial:
            partial.write_text("".join(line for line in lines if _step_of(line) <= step), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Log:
        return self

    def write(self, line: dict[str, Any]) -> None:
        """Appends one line, at once."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def __exit__(self, *error: Any) -> None:
        self._file.close()


def _step_of(line: str) -> float:
    return float(json.loads(line)["step"]) if line.endswith("}\n") else math.inf
