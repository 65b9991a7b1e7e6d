"""The one exception a user of this package sees for a bad file."""


class ConversionError(ValueError):
    """A file that cannot be read or converted; the message is one line and says what was wrong and where."""

    def __init__(self, message: str):
        super().__init__(printable(message))


def printable(text: str, limit: int = 2000) -> str:
    """Text from a file made safe to print: one line, no control characters, at most `limit` characters."""
    if len(text) > limit:
        text = text[:limit] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def described(value: object) -> str:
    """A short number or text from a file as itself, anything else (which may be huge when written out) by its type."""
    if type(value) in (int, float) or (isinstance(value, str) and len(value) <= 100):
        return repr(value)
    return f"of type {type(value).__name__}"


def listing(names: list[str], limit: int = 12) -> str:
    """The first few names, comma-separated, and how many more there are."""
    shown = ", ".join(printable(name, 120) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
