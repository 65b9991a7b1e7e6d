"""What is said on stderr while a program compiles or works."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

_T = TypeVar("_T")
_PATIENCE = 1.0
_REPORTED = 60.0  # seconds between the lines of a log


@contextlib.contextmanager
def saying(text: str) -> Iterator[None]:
    """Says in one line what a block does, unless it takes less than a second.

    Also where stderr is no terminal, since a log shows as well where the time went.

    Args:
        text: Such as "compiling, about a minute".
    """
    timer = threading.Timer(_PATIENCE, lambda: print(f"{text} ...", file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def bar(items: Iterable[_T], *, total: int, unit: str, first: str) -> Iterator[Iterable[_T]]:
    """Shows how many items there have been: on terminals a bar from the first one on, in logs a line each minute.

    Args:
        items: What takes its time.
        total: How many there are.
        unit: What one is called.
        first: What is done until the first one is there, as for `saying`.

    Returns:
        A context manager that gives `items` to go through.
    """
    iterator = iter(items)
    with saying(first):
        head = list(itertools.islice(iterator, 1))
    everything = itertools.chain(head, iterator)
    if not sys.stderr.isatty():
        yield _told(everything, total, unit)
        return
    with tqdm(everything, total=total, unit=unit) as shown:
        yield shown


def _told(items: Iterable[_T], total: int, unit: str) -> Iterator[_T]:
    last = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last > _REPORTED:
            last = time.monotonic()
            print(f"{number} of {total} {unit}s", file=sys.stderr, flush=True)
