"""The commands of the command line: what each takes, and what does it."""

from __future__ import annotations

import importlib
from typing import NamedTuple

from jaxedit.cli.options import (
    Command,
    Demo,
    Edit,
    FindDirection,
    FitDirection,
    FitParser,
    Generate,
    Info,
    Intervene,
    Manipulate,
    Palette,
    TrainL2MGan,
    TrainStyleGAN2,
    TrainSurrogate,
    Translate,
)


class Row(NamedTuple):
    """A command.

    Attributes:
        options: What it takes.
        module: Its file in `jaxedit.cli`, whose `run` takes these options. Imported when it is needed: it imports JAX.
        remark: What is said, after "interrupted", about how it goes on.
    """

    options: type[Command]
    module: str
    remark: str = ""


_PICTURES = "; the same command with --existing skip goes on"
COMMANDS = {
    "demo": Row(Demo, "demo"),
    "generate": Row(Generate, "generate", _PICTURES),
    "edit": Row(Edit, "edit", _PICTURES),
    "intervene": Row(Intervene, "intervene", _PICTURES),
    "fit-direction": Row(FitDirection, "fit_direction"),
    "fit-parser": Row(FitParser, "fit_parser", "; the same command goes on from the last snapshot"),
    "find-direction": Row(FindDirection, "find_direction"),
    "palette": Row(Palette, "palette"),
    "train-stylegan2": Row(TrainStyleGAN2, "train_stylegan2", "; the same command goes on from the last snapshot"),
    "train-surrogate": Row(TrainSurrogate, "train_surrogate", "; the same command goes on from there"),
    "train-l2m-gan": Row(TrainL2MGan, "train_l2m_gan", "; the same command goes on from the last snapshot"),
    "translate": Row(Translate, "translate", _PICTURES),
    "manipulate": Row(Manipulate, "manipulate"),
    "info": Row(Info, "info"),
}


def row(command: Command) -> Row:
    """The row of a command."""
    return next(row for row in COMMANDS.values() if row.options is type(command))


def run(command: Command) -> None:
    """Runs one command.

    Args:
        command: Its options.

    Raises:
        ValueError: Something that the user gave is wrong; one line.
        OSError: A file cannot be read or written.
    """
    importlib.import_module(f"jaxedit.cli.{row(command).module}").run(command)
