"""Sheets of a generator of faces: `python -m benchmarks.faces --checkpoint ckpt/faces` draws samples and ways in W."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.pictures import averaged_down, save_sheet
from jaxedit import batch, checkpoints, images
from jaxedit.cli.arguments import parse_or_exit
from jaxedit.generators.base import Generator, sample_z
from jaxedit.spaces import edited

_SIDE = 128  # of the pictures on the sheets
_TILES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Draw samples of a generator, by truncation, and the ways between them."""

    checkpoint: Path = Path("ckpt/faces")
    """The generator."""
    truncation_psi: float = 0.7
    """Truncation of the ends of the ways."""
    output: Path = Path("benchmarks/output/faces")
    """Folder for the sheets."""


def main(options: Options) -> None:
    """Draws and writes."""
    options.output.mkdir(parents=True, exist_ok=True)
    generator = checkpoints.load(options.checkpoint)
    latents = [np.asarray(sample_z(seed, generator.config.z_dim)) for seed in range(_TILES * _TILES)]
    numbers = [f"seed {seed}" for seed in range(_TILES)]

    def sheet(name: str, samples: list[Any], rows: list[str], columns: list[str]) -> None:
        tiles = batch.collected(batch.map_samples(_drawn, generator, samples, batch_size=jax.local_device_count()))
        save_sheet(options.output / f"{name}.jpg", tiles, rows=rows, columns=columns)

    zero = np.float32(0)
    psi = np.float32(options.truncation_psi)
    samples = [(z, z, zero, psi) for z in latents]
    rows, columns = (
        [f"seed {first}" for first in range(0, len(latents), _TILES)],
        [f"+ {tile}" for tile in range(_TILES)],
    )
    sheet("samples", samples, rows, columns)
    levels = np.linspace(0, 1, _TILES, dtype=np.float32)
    samples = [(z, z, zero, level) for z in latents[:_TILES] for level in levels]
    sheet("truncation", samples, numbers, [f"psi {level:.2f}" for level in levels])
    pairs = zip(latents, latents[_TILES : 2 * _TILES], strict=False)
    samples = [(*pair, level, psi) for pair in pairs for level in levels]
    ways = [f"seeds {seed}, {seed + _TILES}" for seed in range(_TILES)]
    sheet("interpolation", samples, ways, [f"{level:.0%}" for level in levels])


def _drawn(generator: Generator, sample: tuple[jax.Array, ...]) -> jax.Array:
    first, second, way, psi = sample
    ends = [generator.advance("z", z, truncation_psi=psi) for z in (first, second)]
    image = generator.render(edited(generator, ends[0] + way * (ends[1] - ends[0]), start="w"))
    return images.to_uint8(averaged_down(image, side=_SIDE))


if __name__ == "__main__":
    main(parse_or_exit(Options, program="python -m benchmarks.faces"))
