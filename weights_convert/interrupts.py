"""Ending a program by a signal: with one line, without a traceback, and with nothing half-written."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

ENDING = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "terminated: the terminal is gone"}


class Interrupts:
    """What the signals that end a program do. Until `install`, which only a program calls, nothing of it has effect."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.waits, self.received = False, 0

    def install(self) -> None:
        """From now on the process ends at once; signals that its parent has it ignore (`nohup`) stay ignored."""
        numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
        self.numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
        self._set(self._handle)

    @contextlib.contextmanager
    def deferred(self, undo: Callable[[], None]) -> Iterator[None]:
        """A signal that comes inside ends the process after the block, and after `undo` if all went well there.

        A second one raises SystemExit at once. Signals that come after the block are too late, and ignored.
        """
        self.waits, done = True, False
        try:
            yield
            done = True
        finally:
            self._set(signal.SIG_IGN)
            if self.received:
                if done:
                    undo()
                self._end(self.received)

    def _set(self, handler: signal.Handlers | Callable[[int, FrameType | None], None]) -> None:
        for number in self.numbers:
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if not self.waits:
            self._end(number)
        if self.received:
            self._set(signal.SIG_IGN)
            raise SystemExit(128 + number)
        self.received = number

    def _end(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.write(2, f"error: {ENDING[signal.Signals(number).name]}\n".encode())
        os._exit(128 + number)
