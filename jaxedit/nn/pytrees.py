"""Frozen dataclasses as pytrees, of whose fields only those that change a program are in its key."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, dataclass_transform

import jax
from jax.tree_util import Partial

Class = TypeVar("Class", bound=type)
Params = dict[str, Any]
"""Parameters of a network by nested names, arrays at the ends."""


class _Notes(tuple):
    """Equal to all others, so that what is compiled for one serves all."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Notes)

    def __hash__(self) -> int:
        return 0


def traced(function: Callable[..., Any]) -> Partial:
    """A function as a pytree, so that a program can take it as an argument.

    Args:
        function: Any; of a `jax.tree_util.Partial` the bound arrays are leaves, and no constants of the program.

    Returns:
        The same function.
    """
    return function if isinstance(function, Partial) else Partial(function)


@dataclass_transform(frozen_default=True, eq_default=False)
def frozen_pytree(*, leaves: Sequence[str], notes: Sequence[str]) -> Callable[[Class], Class]:
    """Makes a class a frozen dataclass and a pytree.

    Args:
        leaves: Fields that are traced.
        notes: Fields that no program depends on, such as names. They are kept wherever a pytree is mapped or moved;
            what a jitted function returns has those of the call that compiled it.

    Returns:
        A decorator. All other fields are static: part of the key of compiled programs, hashable.
    """

    def decorate(cls: Class) -> Class:
        cls = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
        static = [field.name for field in dataclasses.fields(cls) if field.name not in (*leaves, *notes)]

        def flatten(value: Any) -> tuple[Any, Any]:
            fixed = tuple(getattr(value, name) for name in static), _Notes(getattr(value, name) for name in notes)
            return tuple((jax.tree_util.GetAttrKey(name), getattr(value, name)) for name in leaves), fixed

        def unflatten(fixed: Any, children: Iterable[Any]) -> Any:
            value = object.__new__(cls)
            for names, fields in ((static, fixed[0]), (notes, fixed[1]), (leaves, children)):
                for name, field in zip(names, fields, strict=True):
                    object.__setattr__(value, name, field)
            return value

        jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
        cls.replace = dataclasses.replace  # as Flax's dataclasses have it
        return cls

    return decorate
