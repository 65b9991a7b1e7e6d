"""What published direction files do to real faces: the change of all attributes that the networks tell, by strength."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from benchmarks.pictures import averaged_down
from benchmarks.reproduce.tables import half_interval, table
from jaxedit import batch, checkpoints, faces
from jaxedit.cli.array_files import read_arrays
from jaxedit.directions.files import load_direction
from jaxedit.faces import FaceNetworks
from jaxedit.generators.base import sample_z
from jaxedit.spaces import edited

_BATCH = 4
_SIDE = 256  # of the pictures whose squared difference is taken
_NAMED = {
    "smile": ("smile", 1),
    "Smiling": ("smile", 1),
    "age": ("age", 1),
    "Young": ("age", -1),
    "Male": ("gender", 1),
    "Mouth_Slightly_Open": ("mouth_open", 1),
    "Narrow_Eyes": ("narrow_eyes", 1),
    "pose": ("yaw", -1),
}  # what the files of this name, without "boundary_", are said to change and which way
_INTRODUCTION = """\
# What direction files do to {samples} faces

Seeds 0 to {last}, truncation {truncation_psi:g}, displacement = strength x the file's vector in W (W+ codes by the rows
that `Relative` gives). Mean change of what the networks tell, each ± half of its 95 % confidence interval over the
samples; bold where the interval leaves out 0. MSE: mean squared change of the image, in [-1, 1], at 256 px. Units:
gender, smile and surprise are log odds, age is in years, mouth_open and narrow_eyes are parts of the widths of mouth
and eyes, yaw of half the jaw's. Standard deviations of these samples: {spread}.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What direction files do to faces."""

    directions: tuple[Path, ...]
    """Direction files."""
    strengths: tuple[float, ...] = (-1.5, 1.5)
    """Strengths."""
    checkpoint: Path = Path("ckpt/faces")
    """The generator."""
    faces: Path = Path("ckpt/face_api")
    """The folder of face-api's networks."""
    samples: int = 100
    """Pictures."""
    truncation_psi: float = 0.7
    """Truncation of the samples."""
    output: Path = Path("benchmarks/output/published_directions")
    """Folder for report.json and report.md."""


def main(options: Options) -> None:
    """Measures, writes and prints."""
    options.output.mkdir(parents=True, exist_ok=True)
    generator, networks = checkpoints.load(options.checkpoint), faces.load(options.faces)
    given = {path.stem: load_direction(path, generator=generator, read=read_arrays) for path in options.directions}
    latents = np.stack([np.asarray(sample_z(seed, generator.config.z_dim)) for seed in range(options.samples)])

    def scored(edits: Any) -> tuple[np.ndarray, np.ndarray]:
        shared = (generator, networks, edits, jnp.float32(options.truncation_psi))
        return batch.collected(batch.map_samples(_scored, shared, latents, batch_size=_BATCH))

    before, pictures = scored([])
    rows: list[dict[str, Any]] = []
    for name, direction in given.items():
        for strength in options.strengths:
            after, changed = scored([(direction, jnp.float32(strength))])
            square = np.square(changed - pictures).mean(axis=(1, 2, 3))
            found = dict(zip(faces.ATTRIBUTES, (after - before).T, strict=True)) | {"mse": square}
            means = {key: [float(values.mean()), half_interval(values)] for key, values in found.items()}
            rows.append({"file": name, "strength": strength, "change": means})
        print(f"{name}: done", flush=True)
    spread = dict(zip(faces.ATTRIBUTES, before.std(axis=0).tolist(), strict=True))
    report = {"environment": measure.environment(), "samples": options.samples, "spread": spread, "rows": rows}
    report |= {"truncation_psi": options.truncation_psi}
    (options.output / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.output / "report.md").write_text(as_markdown(report), encoding="utf-8")
    print(as_markdown(report))


def as_markdown(report: dict[str, Any]) -> str:
    """What files do that name something the networks tell, and the table of all."""
    spread = ", ".join(f"{name} {value:.3g}" for name, value in report["spread"].items())
    lines = [_INTRODUCTION.format(last=report["samples"] - 1, **(report | {"spread": spread}))]
    lines += table(("file", "should change", "strength", "change", "of a deviation", "does it"), _verdicts(report))
    heading = ("file", "strength", *faces.ATTRIBUTES, "mse")
    body = []
    for row in report["rows"]:
        numbers = [f"{mean:+.3g} ± {half:.1g}" for mean, half in row["change"].values()]
        marked = [
            f"**{text}**" if abs(mean) > half and name != "mse" else text
            for text, (name, (mean, half)) in zip(numbers, row["change"].items(), strict=True)
        ]
        body.append((row["file"], f"{row['strength']:+g}", *marked))
    return "\n".join([*lines, "", *table(heading, body)]) + "\n"


def _verdicts(report: dict[str, Any]) -> list[tuple[str, ...]]:
    found = []
    for row in report["rows"]:
        attribute, sign = _NAMED.get(row["file"].removeprefix("boundary_"), ("", 0))
        if not attribute:
            continue
        mean, half = row["change"][attribute]
        wanted = sign * row["strength"] * mean > 0
        verdict = "no" if abs(mean) <= half else "yes" if wanted else "the other way"
        share = mean / report["spread"][attribute]
        text = f"{'-' if sign < 0 else '+'}{attribute}"
        found.append(
            (row["file"], text, f"{row['strength']:+g}", f"{mean:+.3g} ± {half:.1g}", f"{share:+.2f}", verdict)
        )
    return found


def _scored(shared: tuple[Any, FaceNetworks, Any, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    generator, networks, edits, psi = shared
    image = generator.synthesize(edited(generator, z, edits, truncation_psi=psi))
    return networks.attributes(image), averaged_down(image, side=_SIDE)
