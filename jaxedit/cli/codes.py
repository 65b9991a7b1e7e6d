"""The latents of a run of the command line: those of seeds, or those in a file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxedit.cli.latents import StoredLatents, latent_files, rows, stored_latents
from jaxedit.cli.options import Edit, Intervene
from jaxedit.digests import digest, file_digest
from jaxedit.generators.base import Generator, Space, added_at, sample_z, space_index
from jaxedit.messages import printable
from jaxedit.spaces import Direction

MAX_PICTURES = 1_000_000
_UNIT = 1e-4
_MAX_NAME = 150  # bytes; a picture's name says more, and file systems take 255


class ChosenLatents(NamedTuple):
    """The latents of a run: names, numbers that fresh noise depends on, `latent(position)` on the host, their space."""

    names: Sequence[str]
    numbers: Sequence[int]
    latent: Callable[[int], np.ndarray]
    space: str


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
    generator: Generator,
    directions: Iterable[Direction],
) -> ChosenLatents:
    """The latents of a command that takes seeds or latents, which the directions can edit."""
    if command.latents is None:
        return seed_codes(seeds, generator)
    codes = file_codes(command.latents, generator)
    for direction in directions:
        if added_at(generator, direction.space) < space_index(generator, codes.space):
            raise ValueError(
                f"a direction in {direction.space} cannot edit --latents in {codes.space}: it acts before; use --seeds"
            )
    return codes


def seed_codes(seeds: Sequence[int], generator: Generator) -> ChosenLatents:
    """The latents of the first space that NVIDIA's scripts draw for seeds."""
    space = generator.spaces[0]
    names, size = [f"seed{seed:04d}" for seed in seeds], math.prod(space.shape)
    return ChosenLatents(
        names, seeds, lambda position: sample_z(seeds[position], size).reshape(space.shape), space.name
    )


def file_codes(path: Path, generator: Generator) -> ChosenLatents:
    """The codes of a file or a folder, in the last space whose latents are arrays, such as W+, or in one that its
    layers share, such as W; they stay on the disk where the format allows it.

    Those of one array are named by their number, those under keys or in files of their own after these.
    """
    index = max(index for index, space in enumerate(generator.spaces) if space.form == "array" and not space.field)
    accepted = [generator.spaces[index]]
    accepted += [space for space in generator.spaces[max(index - 1, 0) : index] if space.form == "shared"]
    row = accepted[0].shape
    stored = stored_latents(path)
    named = path.is_dir() or len(stored) > 1
    shapes = [_shape(one, accepted, single=named) for one in stored]
    _check_lengths(path, stored, shapes)
    whole = None if named else np.asarray(stored[0].array).reshape(shapes[0])
    names = _file_names(path, stored) if named else [f"code{number:04d}" for number in range(shapes[0][0])]

    def latent(position: int) -> np.ndarray:
        code = np.asarray(stored[position].array) if whole is None else whole[position]
        return np.broadcast_to(code.reshape(shapes[position if named else 0][1:]).astype(np.float32), row)

    return ChosenLatents(names, range(len(names)), latent, accepted[0].name)


def latents_digest(path: Path | None) -> str | None:
    """What the record of a run says of `--latents`."""
    if path is None or not path.is_dir():
        return None if path is None else file_digest(path)
    return digest(np.zeros(0), [(file.name, file_digest(file)) for file in latent_files(path)])


def _shape(stored: StoredLatents, accepted: Sequence[Space], *, single: bool) -> tuple[int, ...]:
    """`(N, *latent)` of codes that the generator takes."""
    found, right = stored.array.shape, [space.shape for space in accepted]
    shape = (1, *found) if found in right else found
    if shape[1:] not in right or stored.array.dtype.kind != "f":
        wanted = " or ".join(f"(N, {', '.join(map(str, space.shape))}) for {space.name}" for space in accepted)
        raise ValueError(
            f"{stored.where}: latents of shape {found}, {stored.array.dtype}; this generator takes floats {wanted}"
        )
    if not shape[0]:
        raise ValueError(f"{stored.where}: holds no latents")
    if single and shape[0] > 1:
        raise ValueError(f"{stored.where}: {shape[0]} codes; under a name, or in a file of a folder, there is one")
    return shape


def _check_lengths(path: Path, stored: Sequence[StoredLatents], shapes: Sequence[tuple[int, ...]]) -> None:
    """All numbers are finite, and not every code has length 1."""
    directions = True
    for one, shape in zip(stored, shapes, strict=True):
        for part in rows(one, shape):
            lengths = np.linalg.norm(part.reshape(len(part), -1).astype(np.float64), axis=1)
            directions = directions and bool(np.all(abs(lengths - 1) < _UNIT))
    if directions:
        raise ValueError(
            f"{path}: holds a vector of length 1, which is a direction, not a latent; give it as --direction"
        )


def _file_names(path: Path, stored: Sequence[StoredLatents]) -> list[str]:
    """Names for pictures: letters, digits, blanks, - and _ stay, and the rest, such as dots and slashes, becomes _."""
    names: dict[str, str] = {}
    for one in stored:
        name = re.sub(r"[^\w -]+", "_", one.stem).strip()
        if not name or len(name.encode()) > _MAX_NAME:
            raise ValueError(f"{path}: pictures can't be named after {printable(one.stem, 60)!r}")
        if name in names:
            both = f"{printable(names[name], 60)!r} and {printable(one.stem, 60)!r}"
            raise ValueError(f"{path}: the pictures of {both} would have the same name, {printable(name, 60)}")
        names[name] = one.stem
    return list(names)
