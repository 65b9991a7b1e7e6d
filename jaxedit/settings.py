"""What a directory remembers of the settings that it was made with, read by a program that may know more of them."""

from __future__ import annotations

import dataclasses
from typing import Any


def with_defaults(record: Any, options: Any) -> Any:
    """A record as today's program would have written it: an option that came later had its default.

    Args:
        record: JSON values, read from a file; a dict holds settings by name.
        options: A dataclass of these settings, whose fields may be dataclasses again; anything else leaves the record
            as it is.

    Returns:
        The record with the fields that it lacks. What it holds stays, whether `options` knows it or not.
    """
    if not dataclasses.is_dataclass(options) or not isinstance(record, dict):
        return record
    fields = [field for field in dataclasses.fields(options) if field.default is not dataclasses.MISSING]
    defaults = {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default for field in fields
    }
    return {name: with_defaults(value, getattr(options, name, None)) for name, value in {**defaults, **record}.items()}
