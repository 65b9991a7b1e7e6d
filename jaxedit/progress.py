"""What is said on stderr while a program compiles or works."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

_T = TypeVar("_T")
_PATIENCE = 1.0


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
    """Shows on terminals how many items there have been; the bar begins when the first one is there.

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
    with tqdm(itertools.chain(head, iterator), total=total, unit=unit, disable=None) as shown:
        yield shown
