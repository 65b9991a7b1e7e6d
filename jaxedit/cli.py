"""The command line: arguments and error messages. The work is done in `jaxedit.commands`, which imports JAX."""

import contextlib
import dataclasses
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

Space = Literal["z", "w", "w_plus", "s"]
Existing = Literal["error", "skip", "overwrite"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """Options of every command that draws pictures with a checkpoint."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint directory, as written by `python -m weights_convert`."""
    output: Path
    """Directory for the PNG files; made if needed."""
    truncation_psi: float = 1.0
    """Truncation towards the average w, for seeds: 1 is none, 0.7 usual, 0 the average image."""
    truncation_cutoff: int | None = None
    """Truncate only the first so many rows of W+."""
    noise_mode: Literal["const", "none", "random"] = "const"
    """Noise maps stored in the checkpoint, none, or drawn anew for every seed (repeatably)."""
    label: Annotated[int | None, tyro.conf.arg(name="class", metavar="INT")] = None
    """Class label of a conditional network, for seeds."""
    grid: bool = False
    """Also write grid.png, a sheet of all pictures, shrunk where needed."""
    batch_size: int | None = None
    """Pictures computed at a time, a multiple of the number of devices; all batches have this size. Default: 8."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the synthesis network."""
    existing: Existing = "error"
    """What to do if a picture exists already: refuse, skip it (resumes an interrupted run), or overwrite it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generate(Drawing):
    """Draw pictures of seeds: seed0000.png, seed0001.png, ..."""

    seeds: str
    """Seeds such as 0-31 or 0,4,7-9; the same latents as NVIDIA's scripts draw for them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit(Drawing):
    """Move latents along directions and draw them, once for every strength: seed0000_-3.png, seed0000_+3.png, ..."""

    seeds: str | None = None
    """Seeds to edit, such as 0-31 or 0,4,7-9. Give these or --latents."""
    latents: Path | None = None
    """File of W+ codes (N, num_ws, w_dim) or W codes (N, w_dim): .npy, .npz, .safetensors, .pt. Named code0000, ..."""
    direction: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Direction file: .npy, .npz, .safetensors, .pt (never executed). Repeat the option to add several up."""
    strengths: tuple[float, ...] = (1.0,)
    """Strengths to sweep, such as -3 0 3: one picture each. Several directions move by strength times weight."""
    weights: tuple[float, ...] = ()
    """One per direction, in order; default 1. `--weights 1 -0.5` adds the first, subtracts half of the second."""
    layers: str | None = None
    """Limit directions to rows of W+, such as 4-7 or 0,2,5-6; for S, to style layers by number or name."""
    space: Space | None = None
    """Space of a direction file that does not say it. Default: what its shape fits, and W rather than Z."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Info:
    """Print what a checkpoint directory or a direction file holds."""

    path: tyro.conf.Positional[Path]
    """Checkpoint directory or direction file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo:
    """Make a small untrained 256 px network and a direction, edit four seeds, and write the pictures and a sheet.

    Needs no download and runs in under two minutes on a CPU. The network is random, so the pictures are abstract.
    """

    output: Path = Path("demo")
    """Directory for the checkpoint, the direction and the pictures."""
    existing: Existing = "error"
    """What to do if the directory holds results already: refuse, keep them, or overwrite them."""


TORCH_SUFFIXES = (".pt", ".pth")
_TRACEBACK = "JAXEDIT_TRACEBACK"
_COMMANDS = {"generate": Generate, "edit": Edit, "info": Info, "demo": Demo}


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
        commands.run(command)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _fail("interrupted; --existing skip resumes")
    except (ValueError, OSError) as error:
        if _TRACEBACK in os.environ:
            raise
        return _fail(str(error))
    except Exception as error:
        if _TRACEBACK in os.environ:
            raise
        hint = "try a smaller --batch-size" if "RESOURCE_EXHAUSTED" in str(error) else f"{_TRACEBACK}=1 shows where"
        return _fail(f"{type(error).__name__}: {str(error)[:500]} ({hint})")


def _parse(arguments: Sequence[str]) -> Generate | Edit | Info | Demo | None:
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


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads an array file: `.npy`, `.npz`, `.safetensors`, and `.pt` or `.pth` by the reader that executes nothing.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Another kind of file, or a damaged one.
    """
    if path.suffix in TORCH_SUFFIXES:
        # The only import of this package by jaxedit.
        from weights_convert import read_tensors

        return _named_arrays(read_tensors(path), path)
    from jaxedit.directions import files

    return files.read_arrays(path)


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
