"""A contender in a process of its own: requests on its standard input, an answer of one line to each.

A process of its own because a peer may need another Python, and because its threads and allocator settings must not
meet JAX's. The script that it runs imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np


class PeerProcess:
    """A process that renders W+ codes and says how long it took; `folder` is for the arrays of both sides."""

    tasks = ("forward", "gradient")

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        self._log = open(self.folder / "log", "w+")  # noqa: SIM115

    def start(self, command: Sequence[str]) -> None:
        """Starts the process and waits until it is ready.

        Raises:
            RuntimeError: It could not start; the message ends with what it printed.
        """
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self._read()

    def load(self, ws: np.ndarray) -> None:
        """Sets the W+ codes `[batch, num_ws, w_dim]` that the next calls render."""
        np.save(self.folder / "ws.npy", ws)
        self.ask("load")

    def run(self, task: str) -> float:
        """Seconds of one "forward" or "gradient"."""
        return float(self.ask(task))

    def images(self) -> np.ndarray:
        """The last images as `[batch, height, width, 3]`."""
        self.ask("images")
        return np.load(self.folder / "images.npy")

    def ask(self, request: str) -> str:
        """The answer to a request of one line."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has died; its log says why
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
        self._process.wait()
        self._log.close()
        self._temporary.cleanup()

    def _read(self) -> str:
        assert self._process.stdout
        answer = self._process.stdout.readline().strip()
        if not answer:
            self._log.seek(0)
            raise RuntimeError(f"the peer stopped: {' '.join(self._log.read().splitlines()[-1:])}")
        return answer
