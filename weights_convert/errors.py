"""The one exception a user of this package sees for a bad file."""

import contextlib
import os
from collections.abc import Iterator

MAX_MESSAGE = 2000  # characters, without the name of the file


class ConversionError(ValueError):
    """A file that cannot be read or converted; the message is one line and says what was wrong and where."""

    def __init__(self, message: str, limit: int = MAX_MESSAGE):
        super().__init__(printable(message, limit))


@contextlib.contextmanager
def naming(what: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the name of the file, or what in it is being read, before the message of any error about its content.

    Whatever else goes wrong while reading is an error about the content too, except what the system says of the file.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(what)) from error
    except Exception as error:
        name = printable(os.fspath(what), 4 * MAX_MESSAGE)
        message = f"malformed content ({type(error).__name__})"
        if isinstance(error, ConversionError):
            message = str(error)
        elif isinstance(error, MemoryError):
            message = "not enough memory to read it"
        raise ConversionError(f"{name}: {message}", 8 * MAX_MESSAGE) from error


def printable(text: str, limit: int = MAX_MESSAGE) -> str:
    """Text from a file made safe to print: one line, no control characters, at most about `limit` characters."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: limit + 1])
    return escaped if len(escaped) <= limit else escaped[:limit] + "..."


def described(value: object) -> str:
    """A short number or text from a file as itself, anything else (which may be huge when written out) by its type."""
    if type(value) in (int, float) or (isinstance(value, str) and len(value) <= 100):
        return repr(value)
    return f"of type {type(value).__name__}"


def listing(names: list[str], limit: int = 12) -> str:
    """The first few names, comma-separated, and how many more there are."""
    shown = ", ".join(printable(name, 120) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
