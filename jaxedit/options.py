"""What each command of the command line takes; the texts are its help."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

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
    """Truncate only the first so many rows of W+: 0 to all."""
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
    """What to do if a picture exists already: refuse, skip it (resumes an interrupted run), or overwrite it. Pictures
    of other settings (truncation, directions, ...) are never mixed: overwriting is refused if some would stay."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generate(Drawing):
    """Draw pictures of seeds: seed0000.png, seed0001.png, ..."""

    seeds: str
    """Seeds such as 0-31 or 0,4,7-9, at most a million; the same latents as NVIDIA's scripts draw for them."""


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
    """What to do if the directory holds results already: refuse, keep them, or make all of them anew."""
