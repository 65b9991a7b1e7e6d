"""What a directory of pictures remembers: the settings it was made with, so that those of others never mix."""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import jaxedit
from jaxedit.atomic import replacing
from jaxedit.cli.options import (
    Drawing,
    FindDirection,
    FitParser,
    Generate,
    Manipulate,
    Palette,
    TrainSurrogate,
    Writing,
)
from jaxedit.generators.base import Generator
from jaxedit.settings import with_defaults

Sampling = FitParser | FindDirection | Palette | TrainSurrogate


def check_latent_options(command: Drawing, generator: Generator, *, conditioned: bool) -> None:
    """What the command says of latents and of drawing makes sense for this generator, and the latents of this run,
    which are `conditioned` if they are of the first space."""
    given = {**condition_of(command), **render_options(command)}
    for name in given:
        if name not in (*generator.conditions, *generator.options):
            option = {"noise": "noise-mode"}.get(name, name.replace("_", "-"))
            raise ValueError(f"--{option}: generators of this family have no such option")
    if not math.isfinite(command.truncation_psi):
        raise ValueError("--truncation-psi takes a finite number")
    rows = max((len(space.layers) for space in generator.spaces if space.form == "shared"), default=0)
    if not 0 <= (command.truncation_cutoff or 0) <= rows:
        raise ValueError(f"--truncation-cutoff takes a number of rows of W+, 0 to {rows}")
    if (command.label is not None or condition_of(command)) and not conditioned:
        raise ValueError("--class and --truncation-* act in the mapping network: use them with --seeds")


def condition_of(command: Drawing) -> dict[str, Any]:
    """What a generator's `advance` is told besides the class, as far as it is not the default."""
    given = {"truncation_psi": command.truncation_psi, "truncation_cutoff": command.truncation_cutoff}
    defaults = {"truncation_psi": 1.0, "truncation_cutoff": None}
    return {name: value for name, value in given.items() if value != defaults[name]}


def sample_condition(command: Sampling, generator: Generator) -> dict[str, Any]:
    """What a generator's `advance` is told of a command's samples: class and truncation, as far as it has them."""
    truncation = {"truncation_psi": np.float32(command.truncation_psi)}
    return class_condition(command, generator) | (truncation if "truncation_psi" in generator.conditions else {})


def class_condition(
    command: Drawing | Sampling | Manipulate,
    generator: Generator,
    conditioned: bool = True,
) -> dict[str, np.ndarray]:
    """What a generator's `advance` is told of the class: nothing if it has none, or latents are of a later space."""
    classes = generator.config.c_dim if "c" in generator.conditions else 0
    if not conditioned:
        return {}
    if not classes and command.label is not None:
        raise ValueError("--class: this network has no classes")
    if classes and (command.label is None or not 0 <= command.label < classes):
        raise ValueError(f"this network has classes: choose one with --class 0 to --class {classes - 1}")
    return {"c": np.eye(classes, dtype=np.float32)[command.label]} if classes else {}


def render_options(command: Drawing) -> dict[str, Any]:
    """What a generator's `render` is told, as far as it is not the default."""
    given = {"noise": command.noise_mode, "compute_dtype": command.compute_dtype}
    defaults = {"noise": "const", "compute_dtype": "float32"}
    return {name: value for name, value in given.items() if value != defaults[name]}


def drawing_settings(command: Drawing, generator: Generator) -> dict[str, Any]:
    """The settings that every drawing command's record holds."""
    return {
        "checkpoint": generator.fingerprint or str(command.checkpoint.resolve()),
        "truncation_psi": command.truncation_psi,
        "truncation_cutoff": command.truncation_cutoff,
        "noise_mode": command.noise_mode,
        "class": command.label,
        "compute_dtype": command.compute_dtype,
    }


def begin_pictures(output: Path, record: str, settings: dict[str, Any], names: Iterable[str]) -> None:
    """Removes earlier pictures and writes what `check_record` compares with.

    Whatever stops the run from here on, every picture in the directory is of the recorded settings.
    """
    for name in names:
        (output / name).unlink(missing_ok=True)
    with replacing(output / record) as partial:
        partial.write_text(json.dumps({"jaxedit": jaxedit.__version__, **settings}, indent=2) + "\n")


def existing(command: Writing, names: Sequence[str]) -> set[str]:
    """Names of all files in the output directory; any of this run's pictures are an error unless allowed."""
    output = command.output
    present = {entry.name for entry in os.scandir(output)}
    found = [name for name in names if name in present]
    found += ["grid.png"] if command.grid and "grid.png" in present else []
    if found and command.existing == "error":
        others = f" and {len(found) - 1} more exist" if len(found) > 1 else " exists"
        raise FileExistsError(f"{output / found[0]}{others} already; --existing skip or --existing overwrite goes on")
    return present


def check_record(
    command: Writing, settings: dict[str, Any], names: Sequence[str], present: set[str], *, config: Any = None
) -> str:
    """Name of the file that keeps a run's settings: pictures of different settings never share a directory.

    An earlier run into the directory must have had the same settings, unless all its pictures are overwritten. Those
    that its record lacks had the defaults of `command` or of `config`, a dataclass.
    """
    defaults = (command, config)
    name = f"{type(command).__name__.lower()}.json"
    path = command.output / name
    if command.existing == "overwrite":
        different = _different(path, settings, defaults) if name in present else ["settings"]
        pattern = re.compile(r"seed\d{4,}\.png" if isinstance(command, Generate) else r".+_.*[+-]\d[\d.e+-]*\.png")
        others = sorted(found for found in present - set(names) if pattern.fullmatch(found))
        if different and others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise ValueError(
                f"{command.output}: {others[0]}{more} would stay, made with another {different[0]}; remove them or "
                "choose another --output"
            )
        return name
    if name not in present:
        return name
    different = _different(path, settings, defaults)
    if different == ["record"]:
        raise ValueError(f"{path}: not the record of an earlier run")
    if different:
        raise ValueError(
            f"{command.output}: holds pictures made with another {different[0]}; choose another --output, or "
            "--existing overwrite"
        )
    return name


def _different(path: Path, settings: dict[str, Any], defaults: Sequence[Any]) -> list[str]:
    """The settings in which a record differs; ["record"] if it is none."""
    try:
        earlier = functools.reduce(with_defaults, defaults, json.loads(path.read_text()))
        return [key for key, value in settings.items() if earlier[key] != value]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ["record"]
