"""Time from the start of a command to its first picture, with an empty cache of compiled programs and a second time.

    python -m benchmarks.first_picture --resolutions 64 1024
    python -m benchmarks.first_picture --before ~/older/.venv/bin/python

Whole processes, one picture each (the demo: its 48 edits): `jaxedit demo`, then `edit` and `intervene` of the built-in
generator (64 px) or of random config-f weights, which `intervene` edits layer by layer within a mask. `--before` is the
Python of an older installation, whose commands take turns with those of this one. Writes JSON to `benchmarks/output/`,
which git ignores.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from jaxedit.cli.arguments import parse_or_exit

_INPUTS = """
import sys
from pathlib import Path
import jax
import numpy as np
from PIL import Image
from jaxedit import Direction, checkpoints, save_direction, stylegan2
from jaxedit.avatars.directions import load_directions

folder, resolution = Path(sys.argv[1]), int(sys.argv[2])
for direction in load_directions():
    save_direction(folder / f"{direction.name}.safetensors", direction)
config = stylegan2.StyleGAN2Config(resolution=resolution)
params = stylegan2.init(jax.random.key(0), config=config)
checkpoints.save(folder / "random", params=params, config=config, metadata={"source": "random"})
widths = {"w": config.w_dim, "s": sum(layer.width for layer in config.style_layers)}
for space, width in widths.items():
    vector = np.random.default_rng(0).standard_normal(width).astype(np.float32)
    direction = Direction(name=space, space=space, vector=vector / np.linalg.norm(vector))
    save_direction(folder / f"{space}.safetensors", direction)
mask = np.zeros((resolution, resolution), np.uint8)
mask[resolution // 4 : resolution // 2] = 255
Image.fromarray(mask).save(folder / "mask.png")
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the time to the first picture of whole commands."""

    resolutions: tuple[int, ...] = (64, 1024)
    """64 is the built-in generator; others have random weights of config-f."""
    repeats: int = 1
    """Times that each command runs with an empty cache and then again."""
    before: Path | None = None
    """Python of an older installation to compare with."""
    output: Path = Path("benchmarks/output")
    """Folder for the JSON file."""


def commands(inputs: Path, resolutions: tuple[int, ...]) -> dict[str, list[str]]:
    """What is timed, without --output."""
    listed = {}
    if 64 in resolutions:
        eyeglasses = ["--direction", str(inputs / "eyeglasses.safetensors")]
        listed["demo"] = ["demo"]
        listed["edit, 64 px"] = ["edit", "avatars", "--seeds", "0", *eyeglasses, "--strengths", "3"]
        listed["intervene, 64 px"] = ["intervene", "avatars", "--seeds", "0", "--attribute", "eyeglasses"]
    for resolution in resolutions:
        if resolution != 64:
            folder = inputs / str(resolution)
            random = [str(folder / "random"), "--seeds", "0", "--direction", str(folder / "w.safetensors")]
            # Two steps in each of the layers: how many random weights take differs from the last bit on.
            local = ["--normal", str(folder / "s.safetensors"), "--mask", str(folder / "mask.png"), "--max-steps", "2"]
            listed[f"edit, {resolution} px"] = ["edit", *random, "--strengths", "3"]
            listed[f"intervene, {resolution} px"] = ["intervene", *random, *local]
    return listed


def make_inputs(python: str, folder: Path, resolutions: tuple[int, ...]) -> None:
    """Checkpoints, directions and masks, written by the installation that will read them."""
    for resolution in resolutions:
        own = folder if resolution == 64 else folder / str(resolution)
        own.mkdir(parents=True)
        subprocess.run([python, "-c", _INPUTS, str(own), str(resolution)], check=True, cwd=folder)


def run(python: str, arguments: list[str], *, folder: Path, cache: Path) -> dict[str, float]:
    """Seconds by the clock and of the processor that one command takes."""
    with tempfile.TemporaryDirectory(dir=folder) as output:
        command = [python, "-m", "jaxedit", *arguments, "--output", str(Path(output) / "pictures")]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "XDG_CACHE_HOME": str(cache)}, capture_output=True, text=True
        )
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode or not list(Path(output).rglob("*.png")):
            raise SystemExit(f"error: {' '.join(command)} drew nothing:\n{done.stderr}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "processor": processor}


def measured(options: Options, folder: Path) -> list[dict[str, Any]]:
    """A row for every command, installation, repetition and state of the cache."""
    pythons = {"now": sys.executable, **({"before": str(options.before)} if options.before else {})}
    for name, python in pythons.items():
        make_inputs(python, folder / name, options.resolutions)
    listed = {name: commands(folder / name, options.resolutions) for name in pythons}
    rows = []
    for command in listed["now"]:
        for repeat in range(options.repeats):
            for name, python in pythons.items():
                cache = folder / f"cache {name} {command} {repeat}"
                for state in ("cold", "warm"):
                    seconds = run(python, listed[name][command], folder=folder / name, cache=cache)
                    rows.append({"command": command, "version": name, "cache": state, **seconds})
                    print(
                        f"{command:20} {name:6} {state}: {seconds['wall']:6.1f} s, {seconds['processor']:6.1f} s cpu",
                        flush=True,
                    )
    return rows


def medians(rows: list[dict[str, Any]]) -> str:
    """A Markdown table, seconds by the clock with those of the processor in brackets."""
    versions = sorted({row["version"] for row in rows}, reverse=True)
    columns = [(version, state) for version in versions for state in ("cold", "warm")]
    lines = [["", *(" ".join(column) for column in columns)], ["---"] * (len(columns) + 1)]
    for command in dict.fromkeys(row["command"] for row in rows):
        cells = []
        for column in columns:
            found = [row for row in rows if (row["command"], row["version"], row["cache"]) == (command, *column)]
            wall, processor = (np.median([row[key] for row in found]) for key in ("wall", "processor"))
            cells.append(f"{wall:.1f} ({processor:.1f})")
        lines.append([command, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Runs the benchmark, prints a table and writes its results."""
    options = parse_or_exit(Options, program="python -m benchmarks.first_picture")
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(options, Path(folder))
    print(medians(rows))
    report = {"benchmark": "first_picture", "environment": measure.environment(), "rows": rows}
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"first-picture-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
