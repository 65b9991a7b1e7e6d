"""The command line: arguments, errors, interrupts. A command's own file, which imports JAX, does what it is for."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

import jaxedit
from jaxedit import interrupts
from jaxedit.cli import commands
from jaxedit.cli.arguments import parse_command
from jaxedit.cli.options import RENAMED, Command, Computing
from jaxedit.messages import say

_TRACEBACK = "JAXEDIT_TRACEBACK"
_DESCRIPTION = "Edit images through the latent spaces of pretrained GANs. To begin with: jaxedit demo."


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Without the program's name; None takes them from the process.

    Returns:
        The exit code: 0; 1 after one line `error: ...` on stderr; 130, or 143 for SIGTERM, after one line that begins
        with "interrupted". With JAXEDIT_TRACEBACK=1 in the environment errors are raised instead.
    """
    with interrupts.watched() as watch:
        try:
            _run(sys.argv[1:] if arguments is None else arguments, watch)
            sys.stdout.flush()
            return 0
        except BaseException as error:
            return watch.end() if watch.interrupted(error) else _failed(error)


def _run(arguments: Sequence[str], watch: interrupts.Watch) -> None:
    if list(arguments) == ["--version"]:
        print(f"jaxedit {jaxedit.__version__}")
        return
    takes = {name: row.options for name, row in commands.COMMANDS.items()}
    try:
        command: Command = parse_command(takes, arguments, program="jaxedit", description=_DESCRIPTION, renamed=RENAMED)
    except SystemExit:  # help was printed
        return
    watch.remark = commands.row(command).remark
    from jaxedit.cli import compilation_cache

    with warnings.catch_warnings():
        told: set[str] = set()

        def tell(message: Warning | str, *_: object) -> None:
            """Each warning once, in one line, without the place in a library that it comes from."""
            text = compilation_cache.explained(str(message))
            if text not in told:
                say("warning", text)
            told.add(text)

        warnings.showwarning = tell
        if isinstance(command, Computing):
            compilation_cache.enable(command.cache)
        commands.run(command)


def _failed(error: BaseException) -> int:
    """Says what went wrong in one line; the exit code."""
    if isinstance(error, BrokenPipeError):  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if _TRACEBACK in os.environ or not isinstance(error, Exception):
        raise error
    if isinstance(error, ValueError | OSError):
        message = str(error)
    else:
        hint = "try a smaller --batch-size" if "RESOURCE_EXHAUSTED" in str(error) else f"{_TRACEBACK}=1 shows where"
        message = f"{type(error).__name__}: {str(error)[:500]} ({hint})"
    say("error", message)
    return 1
