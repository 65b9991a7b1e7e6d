"""Attributes of a package that are imported on first use, so that importing the package costs nothing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping


def attributes_of(
    package: str, *, modules: Iterable[str], elsewhere: Mapping[str, str] | None = None
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Makes the `__getattr__` and `__dir__` of a package (PEP 562).

    Args:
        package: Its `__name__`.
        modules: Its submodules.
        elsewhere: Other names, and `module` or `module:attribute` that they stand for.

    Returns:
        Both functions.
    """
    places = {name: f"{package}.{name}" for name in modules} | dict(elsewhere or {})

    def get(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = places[name].partition(":")
        value = importlib.import_module(module)
        value = getattr(value, attribute) if attribute else value
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *places})
