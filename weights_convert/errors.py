"""The one exception a user of this package sees for a bad file."""

import contextlib
import os
from collections.abc import Iterator

from jaxedit.messages import listing, printable

__all__ = ["MAX_MESSAGE", "ConversionError", "described", "listing", "naming", "printable"]

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


def described(value: object) -> str:
    """A short number or text from a file as itself, anything else (which may be huge when written out) by its type."""
    if type(value) in (int, float) or (isinstance(value, str) and len(value) <= 100):
        return repr(value)
    return f"of type {type(value).__name__}"
