"""`jaxedit demo` of a generator of faces: samples moved along the directions that come with the package."""

from __future__ import annotations

import jax
import numpy as np

from jaxedit import batch, checkpoints
from jaxedit.cli.options import Demo
from jaxedit.directions.files import check_direction
from jaxedit.generators.base import Generator, sample_z
from jaxedit.spaces import Direction, edited

_STRENGTH = 2.0
_TRUNCATION = 0.7


def edits(
    command: Demo, directions: tuple[Direction, ...], seeds: tuple[int, ...]
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Draws seeds as they are, and with less and more along every direction.

    Args:
        command: Its checkpoint.
        directions: In a space of it.
        seeds: What to draw.

    Returns:
        `[seeds, 1 + 2 * directions, size, size, 3]` uint8, the originals first; the directions' names of the others;
        and `[seeds, 2 * directions]` their signs.

    Raises:
        ValueError: The directions do not fit the generator, or the pictures are not finite.
    """
    generator = checkpoints.load(command.checkpoint)
    for direction in directions:
        check_direction(direction, generator, any_generator=command.any_generator)
    ways = np.repeat(np.eye(len(directions), dtype=np.float32), 2, axis=0) * np.tile([-1, 1], len(directions))[:, None]
    steps = _STRENGTH * np.concatenate([np.zeros_like(ways[:1]), ways]).astype(np.float32)
    latents = [np.asarray(sample_z(seed, generator.config.z_dim)) for seed in seeds]
    samples = [(latent, step) for latent in latents for step in steps]
    size = batch.choose_batch_size(len(samples), 1 if len(jax.local_devices()) == 1 else None)
    found = batch.collected(batch.map_samples(_drawn, (generator, directions), samples, batch_size=size))
    if not found.finite.all():
        raise ValueError(f"{command.checkpoint}: pictures are not finite numbers")
    names = [direction.name for direction in directions for _ in range(2)]
    pictures = found.image.reshape(len(seeds), len(steps), *found.image.shape[1:])
    return pictures, names, np.tile(["-", "+"], (len(seeds), len(directions)))


def _drawn(shared: tuple[Generator, tuple[Direction, ...]], sample: tuple[jax.Array, jax.Array]) -> batch.Drawn:
    generator, directions = shared
    latent, strengths = sample
    moves = list(zip(directions, strengths, strict=True))
    return batch.drawn(generator.render(edited(generator, latent, moves, truncation_psi=_TRUNCATION)))
