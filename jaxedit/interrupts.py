"""Ctrl-C and SIGTERM end a program within two seconds, also while a compiler runs and Python sees no signal.

`watched` is for programs, around all their work. Library code that has something to save before it is left stands
inside `deferred`, which changes nothing in programs that are not watched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from jaxedit import atomic

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 1.5
_NOW = b"\0"  # not a signal: what was deferred is done

_current: Watch | None = None


class Watch:
    """What is known about a program's interrupts; made by `watched`.

    Attributes:
        remark: What the line adds to "interrupted", such as how to go on.
    """

    def __init__(self) -> None:
        """Listens to nothing yet."""
        self.remark = ""
        self._signal, self._raised = 0, False
        self._deferred: str | None = None
        self._said = threading.Lock()

    def interrupted(self, error: BaseException) -> bool:
        """Whether an error is an interrupt, or what a library has made of one."""
        return self.signalled() or isinstance(error, KeyboardInterrupt)

    def end(self) -> int:
        """Says in one line on stderr that the program was interrupted, unless that was said; the exit code."""
        if self._said.acquire(blocking=False):
            below = "\n" if sys.stderr.isatty() else ""  # the terminal's ^C, or a bar
            print(f"{below}interrupted{self.remark}", file=sys.stderr, flush=True)
        return 128 + (self._signal or signal.SIGINT)

    def signalled(self) -> bool:
        """Whether there was a signal."""
        return bool(self._signal)

    def defer(self, reason: str) -> None:
        """Holds interrupts back from now on."""
        self._deferred = reason

    def undefer(self) -> None:
        """Holds them back no longer: if there was one, it is raised."""
        self._deferred = None
        if self._signal:
            self._outbox.send(_NOW)
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals from Python, but for those that the program was started to ignore, and gives them back."""
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        handlers = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}
        for number in handlers:
            signal.signal(number, self._handle)
        self._inbox, self._outbox = socket.socketpair()
        self._outbox.setblocking(False)
        wakeup, hook = signal.set_wakeup_fd(self._outbox.fileno()), sys.unraisablehook
        sys.unraisablehook = _without_interrupts
        guard = threading.Thread(target=self._guard, daemon=True)
        guard.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            sys.unraisablehook = hook
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._outbox.close()
            guard.join()
            self._inbox.close()

    def _handle(self, number: int, frame: object) -> None:
        """Python's handler, which runs in the main thread, and only once that is back from C++."""
        self._signal = number
        if not self._raised and self._deferred is None:
            self._raised = True
            raise KeyboardInterrupt

    def _guard(self) -> None:
        """Runs in a thread of its own, where a signal is heard at once; ends the process if nothing else does."""
        first = True
        while True:
            try:
                heard = self._inbox.recv(1)
            except TimeoutError:
                if self._deferred is None:
                    self._kill()
                print(f"interrupted: {self._deferred} first; once more ends at once", file=sys.stderr, flush=True)
                self._inbox.settimeout(None)
                continue
            if not heard:
                return
            if heard[0] in _SIGNALS:
                self._signal = heard[0]
                if not first:
                    self._kill()
                first = False
            elif heard != _NOW:  # a signal that the program handles itself
                continue
            self._inbox.settimeout(_PATIENCE)

    def _kill(self) -> None:
        atomic.abandon()
        os._exit(self.end())


def _without_interrupts(unraisable: Any) -> None:
    """Python can't raise an interrupt in some places and prints it instead; the guard ends the process then."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Ends the process within two seconds after a signal, if the code inside has not ended by then.

    In the main thread the first signal raises `KeyboardInterrupt`, as Python does by itself. If that does not get the
    process to its end in time, or at a second signal, a thread removes the files that are being written
    (`atomic.abandon`) and ends it. Elsewhere than in the main thread nothing is watched.
    """
    global _current
    watch = Watch()
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    with watch.listening():
        before, _current = _current, watch
        try:
            yield watch
        finally:
            _current = before


@contextlib.contextmanager
def deferred(reason: str) -> Iterator[Callable[[], bool]]:
    """Holds interrupts of a watched program back till the end of the block, where they raise `KeyboardInterrupt`.

    Args:
        reason: What has to be done first, such as "saving a snapshot"; shown if it takes long. A second signal ends the
            process at once nevertheless.

    Returns:
        A context manager that gives a function: whether there was an interrupt, so that the block should come to its
        end. Where nothing is watched it is always false, and interrupts are raised at once as ever.
    """
    if _current is None:
        yield lambda: False
        return
    watch = _current
    watch.defer(reason)
    try:
        yield watch.signalled
    finally:
        watch.undefer()
