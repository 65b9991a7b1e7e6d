"""Sheets of pictures that show how a generator comes along: the same latents every time, at two truncations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Array

from jaxedit import batch, images
from jaxedit.claims import remove_leftovers
from jaxedit.generators import stylegan2
from jaxedit.generators.base import sample_z
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.sheets import labelled_sheet

PSIS = (1.0, 0.7)
_SEEDS = 32


def sheets(folder: Path, images_seen: int) -> dict[float, Path]:
    """The file for each truncation, such as `000020000-psi0.7.png`."""
    return {psi: folder / f"{images_seen:09d}-psi{psi:g}.png" for psi in PSIS}


def write_sheets(folder: Path, images_seen: int, generator: StyleGAN2Generator) -> None:
    """Draws the sheets of a generator.

    Args:
        folder: Made if needed; what killed processes have left there half-written is removed.
        images_seen: How many images it was trained with.
        generator: Unconditional.

    Raises:
        OSError: They can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    latents = [sample_z(seed, generator.config.z_dim) for seed in range(_SEEDS)]
    for psi, path in sheets(folder, images_seen).items():
        samples = ((z, np.float32(psi)) for z in latents)
        drawn = batch.map_samples(_draw, generator, samples, batch_size=batch.choose_batch_size(len(latents)))
        tiles = (one.image if one.finite else None for one in drawn)
        sheet = labelled_sheet(tiles, rows=[""], columns=[f"seed {seed}" for seed in range(_SEEDS)])
        images.save_png(path, sheet)


def _draw(generator: StyleGAN2Generator, sample: tuple[Array, Array]) -> batch.Drawn:
    z, psi = sample
    w = stylegan2.map_latent(generator.params, z, config=generator.config, truncation_psi=psi)
    return batch.drawn(generator.synthesize(generator.styles(w)))
