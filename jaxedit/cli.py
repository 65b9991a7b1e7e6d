"""The command line: arguments and error messages. The work is done in `jaxedit.commands`, which imports JAX."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro

from jaxedit import arrays
from jaxedit.options import Command, Demo, Edit, FitDirection, Generate, Info, Intervene, TrainStyleGAN2

_TRACEBACK = "JAXEDIT_TRACEBACK"
_COMMANDS = {
    "generate": Generate,
    "edit": Edit,
    "intervene": Intervene,
    "fit-direction": FitDirection,
    "info": Info,
    "demo": Demo,
    "train-stylegan2": TrainStyleGAN2,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Without the program's name; None takes them from the process.

    Returns:
        The exit code: 0, or 1 after one line `error: ...` on stderr. With JAXEDIT_TRACEBACK=1 in the environment
        errors are raised instead.
    """
    try:
        command = _parse(sys.argv[1:] if arguments is None else arguments)
        if command is None:
            return 0
        from jaxedit import commands

        logging.getLogger("absl").setLevel(logging.CRITICAL + 1)  # Orbax logs tracebacks of the errors it raises
        commands.run(command, read_arrays)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on, generate, edit and intervene with --existing skip")
    except (ValueError, OSError) as error:
        if _TRACEBACK in os.environ:
            raise
        return _fail(str(error))
    except Exception as error:
        if _TRACEBACK in os.environ:
            raise
        hint = "try a smaller --batch-size" if "RESOURCE_EXHAUSTED" in str(error) else f"{_TRACEBACK}=1 shows where"
        return _fail(f"{type(error).__name__}: {str(error)[:500]} ({hint})")


def _parse(arguments: Sequence[str]) -> Command | None:
    """The command's options; None when help was printed. Usage errors become a ValueError of one line."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return tyro.extras.subcommand_cli_from_dict(
                _COMMANDS,
                prog="jaxedit",
                description="Edit images through the latent spaces of pretrained GANs.",
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            return None
        raise ValueError(_text_of_box(shown.getvalue())) from None


def _text_of_box(box: str) -> str:
    """tyro frames its messages; this is the text inside, up to the rule under which it repeats the help."""
    lines = [line.strip("│╭╮╰╯─ ") for line in box.split("────────────────────────────── │")[0].splitlines()[1:]]
    return " ".join(line for line in lines if line).rstrip(".") + "; see --help"


def read_arrays(path: Path) -> arrays.Arrays:
    """Reads an array file: `.npy`, `.npz`, `.safetensors`, and `.pt` or `.pth` by the reader that executes nothing.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Another kind of file, or a damaged one.
    """
    if path.suffix in (".pt", ".pth"):
        # The only import of this package by jaxedit.
        from weights_convert import read_tensors

        return _named_arrays(read_tensors(path), path)
    return arrays.read_arrays(path)


def _named_arrays(saved: object, path: Path) -> dict[str, np.ndarray]:
    if isinstance(saved, np.ndarray):
        saved = {"": saved}
    elif isinstance(saved, list | tuple):
        saved = dict(enumerate(saved))
    if not isinstance(saved, dict) or not all(isinstance(value, np.ndarray) for value in saved.values()):
        raise ValueError(f"{path}: holds other things than a tensor, or a list or dict of tensors")
    return {str(key): value for key, value in saved.items()}


def _fail(message: str) -> int:
    print("error:", " ".join(message.split()), file=sys.stderr)
    return 1
