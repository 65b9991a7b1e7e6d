"""Configurations as JSON, checked on the way in because they may come from strangers."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, TypeVar

Config = TypeVar("Config")

_LARGEST = 1 << 20


def config_to_dict(config: Any) -> dict[str, Any]:
    """The fields of a frozen config dataclass as JSON values."""
    return dataclasses.asdict(config)


def config_from_dict(cls: type[Config], values: Any) -> Config:
    """Makes a config from JSON values.

    Args:
        cls: A frozen dataclass whose fields are numbers or None.
        values: The dict that `config_to_dict` gave; absent fields take their defaults.

    Returns:
        The config.

    Raises:
        ValueError: Not a dict, an unknown field, a value of another type, or one that is out of any sensible range.
    """
    if not isinstance(values, dict):
        raise ValueError("the configuration has to be an object")
    types = typing.get_type_hints(cls)
    for name, value in values.items():
        if name not in types:
            raise ValueError(f"unknown field {name!r}; the fields are {', '.join(types)}")
        allowed = typing.get_args(types[name]) or (types[name],)
        if isinstance(value, bool) or not isinstance(value, (*allowed, int) if float in allowed else allowed):
            raise ValueError(f"{name} is {value!r}, expected {' or '.join(kind.__name__ for kind in allowed)}")
        if value is not None and not 0 <= value <= _LARGEST:
            raise ValueError(f"{name} is {value!r}, expected a value from 0 to {_LARGEST}")
    return cls(**values)
