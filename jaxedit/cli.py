"""The command line: arguments and error messages. The work is done in `jaxedit.commands`, which imports JAX."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jaxedit
from jaxedit import interrupts
from jaxedit.arguments import parse_command
from jaxedit.messages import say
from jaxedit.options import (
    RENAMED,
    Command,
    Computing,
    Demo,
    Drawing,
    Edit,
    FitDirection,
    Generate,
    Info,
    Intervene,
    TrainStyleGAN2,
)

if TYPE_CHECKING:
    from jaxedit.arrays import Arrays

_TRACEBACK = "JAXEDIT_TRACEBACK"
_COMMANDS = {
    "demo": Demo,
    "generate": Generate,
    "edit": Edit,
    "intervene": Intervene,
    "fit-direction": FitDirection,
    "info": Info,
    "train-stylegan2": TrainStyleGAN2,
}
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
    try:
        command: Command = parse_command(
            _COMMANDS, arguments, program="jaxedit", description=_DESCRIPTION, renamed=RENAMED
        )
    except SystemExit:  # help was printed
        return
    if isinstance(command, Drawing):
        watch.remark = "; the same command with --existing skip goes on"
    elif isinstance(command, TrainStyleGAN2):
        watch.remark = "; the same command goes on from the last snapshot"
    from jaxedit import commands, compilation_cache

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
        commands.run(command, read_arrays)


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


def read_arrays(path: Path) -> Arrays:
    """Reads an array file: `.npy`, `.npz`, `.safetensors`, and `.pt` or `.pth` by the reader that executes nothing.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Another kind of file, or a damaged one.
    """
    from jaxedit import arrays

    if path.suffix not in (".pt", ".pth"):
        return arrays.read_arrays(path)
    import numpy as np

    from weights_convert import stored_tensors  # the only import of this package by jaxedit

    found = {}
    for name, tensor in stored_tensors(path).items():
        dtype = np.dtype(np.float32 if tensor.dtype == "bfloat16" else tensor.dtype)
        found[name] = arrays.StoredArray(tensor.shape, dtype, tensor.numpy)
    return found
