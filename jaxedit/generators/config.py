"""Configurations as JSON, checked on the way in because they may come from strangers."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, TypeVar

from jaxedit.messages import printable

Config = TypeVar("Config")

_LARGEST = 1 << 20
_LARGEST_IMAGE = 1 << 13
_DEEPEST = 64


def check_config(config: Any, *, may_be_zero: tuple[str, ...]) -> None:
    """Refuses an architecture that can't be built.

    Args:
        config: A config with `resolution`, `channel_base`, `channel_max` and `mapping_layers`.
        may_be_zero: The fields that need not be positive.

    Raises:
        ValueError: One line with the field, its value and what would be right.
    """
    if not 8 <= config.resolution <= _LARGEST_IMAGE or config.resolution & (config.resolution - 1):
        raise ValueError(
            f"resolution is {config.resolution}; it has to be a power of two, at least 8 and at most {_LARGEST_IMAGE}"
        )
    for name, value in config_to_dict(config).items():
        if value is not None and not (value > 0 or (value == 0 and name in may_be_zero)):
            raise ValueError(f"{name} is {value}; it has to be positive")
    if config.channel_base < config.resolution:
        raise ValueError(f"channel_base is {config.channel_base}; it has to be at least the resolution")
    if config.mapping_layers > _DEEPEST:
        raise ValueError(f"mapping_layers is {config.mapping_layers}; it has to be at most {_DEEPEST}")


def config_to_dict(config: Any) -> dict[str, Any]:
    """The fields of a frozen config dataclass as JSON values."""
    return dataclasses.asdict(config)


def config_from_dict(cls: type[Config], values: Any) -> Config:
    """Makes a config from JSON values.

    Args:
        cls: A frozen dataclass whose fields are numbers, text, None, or tuples of those.
        values: The dict that `config_to_dict` gave; absent fields take their defaults.

    Returns:
        The config.

    Raises:
        ValueError: Not a dict, an unknown field, a value of another type, or one that is out of any sensible range.
    """
    if not isinstance(values, dict):
        raise ValueError("the configuration has to be an object")
    types = typing.get_type_hints(cls)
    if unknown := [name for name in values if name not in types]:
        raise ValueError(f"unknown field {printable(repr(unknown[0]), 100)}; the fields are {', '.join(types)}")
    return cls(**{name: _checked(name, value, types[name]) for name, value in values.items()})


def _checked(name: str, value: Any, kind: Any) -> Any:
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple) or len(value) > _DEEPEST:
            raise ValueError(f"{name} is {printable(repr(value), 100)}, expected a list of at most {_DEEPEST} numbers")
        return tuple(_checked(name, entry, typing.get_args(kind)[0]) for entry in value)
    shown, allowed = printable(repr(value), 100), typing.get_args(kind) or (kind,)
    if isinstance(value, bool) or not isinstance(value, (*allowed, int) if float in allowed else allowed):
        raise ValueError(f"{name} is {shown}, expected {' or '.join(kind.__name__ for kind in allowed)}")
    if isinstance(value, int | float) and not 0 <= value <= _LARGEST:
        raise ValueError(f"{name} is {shown}, expected a value from 0 to {_LARGEST}")
    return float(value) if value is not None and float in allowed else value
