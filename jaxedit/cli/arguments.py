"""Frozen dataclasses as command lines: every field is an option, and the text below it is its help.

`argparse` lays the help out. The arguments are read here, so that errors are the same single lines in every version of
Python, and `-1e-3` is a number and no option.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import itertools
import re
import sys
import textwrap
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from jaxedit.suggestions import choose, closest

Options = TypeVar("Options")
_HELP = ("-h", "--help")
_KINDS = {int: "an integer", float: "a number"}
_METAVARS = {bool: "", int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


class UsageError(ValueError):
    """The arguments make no sense; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Named:
    """How a field is called on the command line, in `Annotated`, where its own name would not do.

    Attributes:
        name: Instead of the field's name.
        alias: Another name, which help does not mention.
        positional: Given without a name, in the order of the fields.
    """

    name: str = ""
    alias: str = ""
    positional: bool = False


_T = TypeVar("_T")
Positional = Annotated[_T, Named(positional=True)]


class Renamed(NamedTuple):
    """What an option of another program is here: the field that it fills, if there is one, and a remark."""

    field: str
    remark: str = ""


class _Option(NamedTuple):
    field: str
    flags: tuple[str, ...]  # of a positional, what it is called in the help
    kind: Any  # of one value: bool, int, float, str, Path or a Literal
    several: bool
    default: Any  # MISSING if one has to be given

    @property
    def positional(self) -> bool:
        return not self.flags[0].startswith("-")

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING


def parse(
    options: type[Options], arguments: Sequence[str], *, program: str, renamed: Mapping[str, Renamed] | None = None
) -> Options:
    """Reads arguments.

    Args:
        options: A dataclass. Its fields are bool (False by default), int, float, str, Path, a Literal, one of these or
            None, or a tuple of any number of these; a field without a default has to be given.
        arguments: What follows the program's name.
        program: The program's name, for messages.
        renamed: Options of other programs by name, without dashes, for the error that they are.

    Returns:
        An instance of `options`.

    Raises:
        UsageError: An argument is wrong or missing; one line.
        SystemExit: Help was asked for, and has been printed.
    """
    table = _table(options)
    if set(_HELP) & set(itertools.takewhile(lambda argument: argument != "--", arguments)):
        print(_help(options, table, program), end="")
        raise SystemExit(0)
    try:
        return options(**_values(table, _grouped(table, arguments, renamed or {})))
    except UsageError as error:
        raise UsageError(f"{error}; see {program} --help") from None


def parse_or_exit(options: type[Options], *, program: str) -> Options:
    """`parse` of the process's arguments for scripts: errors end the process after one line on stderr, exit code 1."""
    try:
        return parse(options, sys.argv[1:], program=program)
    except UsageError as error:
        raise SystemExit(f"error: {error}") from None


def parse_command(
    commands: Mapping[str, type],
    arguments: Sequence[str],
    *,
    program: str,
    description: str,
    renamed: Mapping[str, Renamed] | None = None,
) -> Any:
    """Reads arguments of a program that has commands; `help`, or no argument at all, lists them.

    Args:
        commands: Options of each command by name, as for `parse`.
        arguments: What follows the program's name.
        program: The program's name, for messages.
        description: What it is for.
        renamed: As for `parse`.

    Returns:
        An instance of one of `commands`.

    Raises:
        UsageError: The command or an argument is wrong or missing; one line.
        SystemExit: Help was asked for, and has been printed.
    """
    first, *rest = arguments or ["help"]
    if first in ("help", *_HELP):
        if not rest:
            print(_overview(commands, program, description), end="")
            raise SystemExit(0)
        first, rest = rest[0], ["--help"]
    if first in commands:
        return parse(commands[first], rest, program=f"{program} {first}", renamed=renamed)
    if first.startswith("-"):
        raise UsageError(f"begin with a command: {', '.join(commands)}; see {program} --help")
    close = closest(first, commands)
    hint = f"perhaps you meant {close}" if close else f"there are {', '.join(commands)}"
    raise UsageError(f"there is no command {first!r}; {hint}; see {program} --help")


def _overview(commands: Mapping[str, type], program: str, description: str) -> str:
    """The commands, each with the first sentence of its help."""
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f"{program} COMMAND ...",
        description=description,
        epilog=f"`{program} help COMMAND` lists the options of a command.",
        add_help=False,
    )
    group = parser.add_argument_group("commands")
    for name, options in commands.items():
        first = " ".join((inspect.getdoc(options) or "").split())
        group.add_argument(name, help=re.split(r"\.\s|:\s", first)[0].rstrip(".").replace("%", "%%"))
    return parser.format_help()


def _table(options: type) -> list[_Option]:
    hints = get_type_hints(options, include_extras=True)
    return [_option(field, hints[field.name]) for field in dataclasses.fields(options)]


def _option(field: dataclasses.Field, hint: Any) -> _Option:
    named = Named()
    if get_origin(hint) is Annotated:
        hint, named = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not types.NoneType)
    several = get_origin(hint) is tuple
    kind = get_args(hint)[0] if several else hint
    name = named.name or field.name.replace("_", "-")
    if named.positional:
        flags = (name.upper(),)
    else:
        flags = (f"--{name}", *([f"--{named.alias}"] if named.alias else []))
    return _Option(field.name, flags, kind, several, field.default)


def _grouped(table: list[_Option], arguments: Sequence[str], renamed: Mapping[str, Renamed]) -> dict[str, list[str]]:
    """The texts given for each field: an option takes what follows it, one value or all up to the next option."""
    flags = {flag: option for option in table if not option.positional for flag in option.flags}
    found: dict[str, list[str]] = {}
    free, taking, literal = [], None, False
    for argument in arguments:
        if argument == "--" and not literal:
            literal, taking = True, None
        elif not literal and argument.startswith("-") and argument != "-" and not _is_number(argument):
            flag, equals, value = argument.partition("=")
            option = flags.get(flag.replace("_", "-"))
            if option is None:
                raise UsageError(_unknown(flag, table, renamed))
            if equals and option.kind is bool:
                raise UsageError(f"{flag} takes no value")
            kept = found.get(option.field, []) if option.several else []
            found[option.field] = [*kept, value] if equals else kept
            taking = None if equals or option.kind is bool else option
        elif taking is None:
            free.append(argument)
        else:
            found[taking.field].append(argument)
            taking = taking if taking.several else None
    positional = [option for option in table if option.positional]
    if len(free) > len(positional):
        raise UsageError(f"unexpected {free[len(positional)]!r}")
    return found | {option.field: [text] for option, text in zip(positional, free, strict=False)}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unknown(flag: str, table: list[_Option], renamed: Mapping[str, Renamed]) -> str:
    """What to say about an option that there is not."""
    field, remark = renamed.get(flag.lstrip("-").replace("_", "-"), Renamed(""))
    remark = f" ({remark})" if remark else ""
    for option in table:
        if option.field == field:
            if option.positional:
                return f"there is no {flag}: give {option.flags[0]} as the first argument{remark}"
            return f"{flag} is called {option.flags[0]} here{remark}"
    if remark and not field:
        return f"there is no {flag}{remark}"
    close = closest(flag, [option.flags[0] for option in table if not option.positional])
    return f"there is no {flag}" + (f"; perhaps you meant {close}" if close else "")


def _values(table: list[_Option], found: dict[str, list[str]]) -> dict[str, Any]:
    values = {}
    for option in table:
        if option.field not in found:
            continue
        texts = found[option.field]
        if option.kind is bool:
            values[option.field] = True
        elif not all(texts or [""]):
            raise UsageError(f"{option.flags[0]} takes a value")
        else:
            converted = tuple(_value(option, text) for text in texts)
            values[option.field] = converted if option.several else converted[-1]
    if missing := [option.flags[0] for option in table if option.required and option.field not in values]:
        raise UsageError(f"missing: {', '.join(missing)}")
    return values


def _value(option: _Option, text: str) -> Any:
    flag = option.flags[0]
    try:
        if get_origin(option.kind) is Literal:
            return choose(text, get_args(option.kind), kind=flag)
        return option.kind(text)
    except ValueError as error:
        wrong = f"{flag} takes {_KINDS[option.kind]}, not {text!r}" if option.kind in _KINDS else str(error)
        raise UsageError(wrong) from None


def _help(options: type, table: list[_Option], program: str) -> str:
    """The help: what is needed, then the options, those that only this command has before those of its bases."""
    needed = [dict.fromkeys((option.flags[0], _metavar(option))) for option in table if option.required]
    parser = argparse.ArgumentParser(
        prog=program,
        usage=" ".join([program, *itertools.chain(*needed), "[options]"]),
        description=" ".join((inspect.getdoc(options) or "").split()),
        add_help=False,
    )
    by_field = {option.field: option for option in table}
    for field, text in _texts(options).items():
        option = by_field[field]
        known = option.default not in (dataclasses.MISSING, None, ()) and option.kind is not bool
        if known and "Default:" not in text:
            values: Any = option.default if option.several else (option.default,)
            text += f" Default: {' '.join(map(str, values))}."
        shape: dict[str, Any] = {"action": "store_true"} if option.kind is bool else {"metavar": _metavar(option)}
        parser.add_argument(option.flags[0], help=text.replace("%", "%%"), **shape)
    return parser.format_help()


def _metavar(option: _Option) -> str:
    if option.positional:
        return option.flags[0]
    if get_origin(option.kind) is Literal:
        return "{" + ",".join(get_args(option.kind)) + "}"
    name = _METAVARS[option.kind]
    return f"{name} ..." if option.several else name


def _texts(options: type) -> dict[str, str]:
    """The string below each field, first of the class itself; a field that it repeats may keep its base's."""
    texts: dict[str, str] = {}
    for base in options.__mro__[:-1]:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in itertools.pairwise(definition.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts.setdefault(name, " ".join(text.split()))
    return texts
