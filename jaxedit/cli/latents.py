"""Files of latents: one array of them, codes under names, or a folder of files; of each the shape before it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxedit.arrays import StoredArray
from jaxedit.cli.array_files import read_arrays
from jaxedit.directions.files import read_own
from jaxedit.messages import listing, natural_order, printable

LABELS = ("labels.npy", "labels.txt", "labels.csv")
_SUFFIXES = (".npy", ".npz", ".safetensors", ".pt", ".pth")
_AT_A_TIME = 1024  # rows


class StoredLatents(NamedTuple):
    """An array of latents that is not read yet.

    Attributes:
        name: Of its file; or its key, in a file of several.
        stem: The name of its file without the ending; or its key.
        where: What error messages call it.
        array: What is read when it is needed.
    """

    name: str
    stem: str
    where: str
    array: StoredArray | np.ndarray


def stored_latents(path: Path, *, besides: Path | None = None) -> list[StoredLatents]:
    """Looks into a file or a folder of latents.

    Args:
        path: A file of one array or of several under names, or a folder of files of one array each.
        besides: A file of the folder that is something else.

    Returns:
        The arrays in natural order of their names, at least one.

    Raises:
        ValueError: No latents, or a direction; one line.
        OSError: A file can't be read.
    """
    if path.is_dir():
        return [_in_folder(file) for file in latent_files(path, besides=besides)]
    if read_own(path) is not None:
        raise ValueError(f"{path}: a direction, not latents; give it as --direction")
    arrays = read_arrays(path)
    if len(arrays) == 1:
        return [StoredLatents(path.name, path.stem, str(path), next(iter(arrays.values())))]
    if not arrays:
        raise ValueError(f"{path}: holds no arrays")
    return [
        StoredLatents(key, key, f"{path}: {printable(key, 100)!r}", arrays[key])
        for key in sorted(arrays, key=natural_order)
    ]


def latent_files(folder: Path, *, besides: Path | None = None) -> list[Path]:
    """The array files of a folder in natural order, without hidden ones, labels, and `besides`.

    Raises:
        ValueError: There is none.
        OSError: The folder can't be read.
    """
    skipped = [*LABELS]
    if besides is not None and besides.parent.resolve() == folder.resolve():
        skipped.append(besides.name)
    found = [
        file
        for file in folder.iterdir()
        if file.suffix in _SUFFIXES and not file.name.startswith(".") and file.name not in skipped and file.is_file()
    ]
    if not found:
        raise ValueError(f"{folder}: holds no latents ({', '.join(_SUFFIXES)})")
    return sorted(found, key=lambda file: natural_order(file.name))


def _in_folder(file: Path) -> StoredLatents:
    """Nothing of the file stays open or in memory, as there may be many."""

    def only() -> StoredArray | np.ndarray:
        arrays = read_arrays(file)
        if len(arrays) != 1 or read_own(file) is not None:
            held = f"{len(arrays)} arrays ({listing(list(arrays))})" if len(arrays) != 1 else "a direction"
            raise ValueError(f"{file}: holds {held}; in a folder of latents every file holds one array of them")
        return next(iter(arrays.values()))

    array = only()
    return StoredLatents(
        file.name, file.stem, str(file), StoredArray(array.shape, array.dtype, lambda: np.asarray(only()))
    )


def rows(latents: StoredLatents, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Reads latents, some at a time.

    Args:
        latents: What to read.
        shape: `(N, *latent)`, which the array can be reshaped to.

    Yields:
        `[at most 1024, *latent]` float32.

    Raises:
        ValueError: A number is not finite in float32; the line names the file and the row.
    """
    array = np.asarray(latents.array).reshape(shape)
    for begin in range(0, len(array), _AT_A_TIME):
        with np.errstate(over="ignore"):
            part = array[begin : begin + _AT_A_TIME].astype(np.float32)
        finite = np.isfinite(part).reshape(len(part), -1).all(axis=1)
        if not finite.all():
            row = begin + int(np.argmin(finite))
            raise ValueError(f"{latents.where}: row {row} holds values that are not finite float32 numbers")
        yield part
