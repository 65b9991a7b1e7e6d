"""The latents of a run of the command line: those of seeds, or those in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxedit.arrays import Reader
from jaxedit.directions.files import read_own
from jaxedit.generators.base import sample_z
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.messages import listing
from jaxedit.options import Edit, Intervene
from jaxedit.spaces import Direction

MAX_PICTURES = 1_000_000
_CHECKED = 1024  # latents at a time
_UNIT = 1e-4


class Codes(NamedTuple):
    """The latents of a run: names, numbers that fresh noise depends on, and `latent(position)` in host memory."""

    names: Sequence[str]
    numbers: Sequence[int]
    latent: Callable[[int], np.ndarray]


def parse_seeds(*texts: str) -> list[int]:
    """Parses texts such as "0-31", "5" or "0,4,7-9" to seeds in the order given, without repetition."""
    seeds: dict[int, None] = {}
    text = " ".join(texts)
    for part in re.split(r"[\s,]+", text.strip(" ,")):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"seeds {text!r}: {part!r} is not a number or a range such as 0-31")
        begin, end = int(first), int(last or first)
        if end < begin or end >= 2**32:
            raise ValueError(f"seeds {text!r}: {part!r} is not a range of numbers from 0 to 4294967295")
        if end - begin + len(seeds) >= MAX_PICTURES:
            raise ValueError(f"seeds {text!r}: more than {MAX_PICTURES} seeds; divide them between several runs")
        seeds.update(dict.fromkeys(range(begin, end + 1)))
    return list(seeds)


def chosen_seeds(command: Edit | Intervene) -> list[int]:
    """The seeds of a command that takes seeds or latents; none for latents."""
    if bool(command.seeds) == (command.latents is not None):
        raise ValueError("give either --seeds or --latents")
    return parse_seeds(*command.seeds) if command.seeds else []


def chosen_codes(
    command: Edit | Intervene,
    seeds: Sequence[int],
    generator: StyleGAN2Generator,
    directions: Iterable[Direction],
    read_arrays: Reader,
) -> Codes:
    """The latents of a command that takes seeds or latents, which the directions can edit."""
    if command.latents is None:
        return seed_codes(seeds, generator)
    if any(direction.space == "z" for direction in directions):
        raise ValueError("a Z direction cannot edit --latents: it acts before the mapping network; use --seeds")
    return file_codes(command.latents, generator, read_arrays)


def seed_codes(seeds: Sequence[int], generator: StyleGAN2Generator) -> Codes:
    """The z that NVIDIA's scripts draw for seeds."""
    z_dim = generator.config.z_dim
    return Codes([f"seed{seed:04d}" for seed in seeds], seeds, lambda position: sample_z(seeds[position], z_dim))


def file_codes(path: Path, generator: StyleGAN2Generator, read_arrays: Reader) -> Codes:
    """W or W+ codes of a file; they stay on the disk where the format allows it."""
    config = generator.config
    if read_own(path) is not None:
        raise ValueError(f"{path}: a direction, not latents; give it as --direction")
    arrays = read_arrays(path)
    if len(arrays) != 1:
        raise ValueError(f"{path}: holds {len(arrays)} arrays ({listing(sorted(arrays))}); latents are one array")
    stored, row = next(iter(arrays.values())), (config.num_ws, config.w_dim)
    shape = (1, *stored.shape) if stored.shape in (row, row[1:]) else stored.shape
    if shape[1:] not in (row, row[1:]) or stored.dtype.kind != "f":
        raise ValueError(
            f"{path}: latents of shape {stored.shape}, {stored.dtype}; this generator takes floats "
            f"(N, {row[0]}, {row[1]}) for W+ or (N, {row[1]}) for W"
        )
    if not shape[0]:
        raise ValueError(f"{path}: holds no latents")
    latents = np.asarray(stored).reshape(shape)
    for begin in range(0, len(latents), _CHECKED):
        if not np.isfinite(latents[begin : begin + _CHECKED].astype(np.float32)).all():
            raise ValueError(f"{path}: holds values that are not finite float32 numbers")
    if len(latents) == 1 and abs(np.linalg.norm(np.asarray(latents, np.float64)) - 1) < _UNIT:
        raise ValueError(f"{path}: a vector of length 1, which is a direction, not a latent; give it as --direction")

    def latent(position: int) -> np.ndarray:
        code = np.asarray(latents[position], np.float32)
        return np.broadcast_to(code, row)

    numbers = range(len(latents))
    return Codes([f"code{number:04d}" for number in numbers], numbers, latent)
