"""Names and texts from files and from errors of other libraries, fit for one line of a message."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

_LONGEST = 5000


def printable(text: object, limit: int = 300) -> str:
    """A value as one line that is safe to print on a terminal.

    Args:
        text: Anything; its `str` is taken.
        limit: Characters to keep, about; longer texts end in "...".

    Returns:
        The text with escapes in place of line breaks and control characters.
    """
    line = str(text)[: limit + 1]
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return escaped if len(escaped) <= limit else escaped[:limit] + "..."


def listing(names: Sequence[object], limit: int = 8) -> str:
    """The first few names, comma-separated, and how many more there are."""
    shown = ", ".join(printable(name, 120) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def reason(error: BaseException) -> str:
    """What an exception says, as part of a line: its text, or its kind if it has none."""
    text = " ".join((getattr(error, "strerror", None) or str(error)).split())
    return printable(text) if text else type(error).__name__


def say(kind: str, text: str) -> None:
    """Tells the user of a command something in one line on stderr, after what kind of thing it is."""
    print(f"{kind}: {printable(' '.join(text.split()), _LONGEST)}", file=sys.stderr)


def warn(text: str) -> None:
    """Tells the user of a command something odd."""
    say("warning", text)


def natural_order(name: str) -> list[tuple[int, str, str]]:
    """A key for `sorted` that takes the numbers in names as numbers: 2 comes before 10, and 01 before 1."""
    parts = re.split(r"(\d+)", name)
    numbers = [part.lstrip("0") if part.isdecimal() else None for part in parts]  # of any length: no `int`
    return [(-1, part, "") if n is None else (len(n), n, part) for part, n in zip(parts, numbers, strict=True)]
