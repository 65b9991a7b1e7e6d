"""Ending a program by a signal: with one line, without a traceback, and with nothing half-written.

The first thing that the program imports, so it imports next to nothing.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # as typing's, without importing typing
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ENDING = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "terminated: the terminal is gone"}


class Interrupts:
    """What the signals that end a program do. Until `install`, which only a program calls, nothing of it has effect."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.defers, self.received = False, 0

    def install(self) -> None:
        """From now on the process ends at once; signals that its parent has it ignore (`nohup`) stay ignored."""
        numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
        self.numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
        self._set(self._handle)

    def deferred(self, step: Callable[[], Any], undo: Callable[[], None]) -> Any:
        """The result of a step during which a signal has to wait.

        It ends the process after the step, and after `undo` if the step succeeded. A second one raises SystemExit in
        the step. Signals that come after the step are too late, and ignored.
        """
        self.defers, done = True, False
        try:
            result = step()
            done = True
            return result
        finally:
            self._set(signal.SIG_IGN)
            if self.received:
                if done:
                    undo()
                self._end(self.received)

    def _set(self, handler: Any) -> None:
        for number in self.numbers:
            signal.signal(number, handler)

    def _handle(self, number: int, _: Any) -> None:
        if not self.defers:
            self._end(number)
        if self.received:
            self._set(signal.SIG_IGN)
            raise SystemExit(128 + number)
        self.received = number

    def _end(self, number: int) -> None:
        try:
            os.write(2, f"error: {ENDING[signal.Signals(number).name]}\n".encode())
        finally:
            os._exit(128 + number)
