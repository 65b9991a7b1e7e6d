"""Data that need nothing but this package: folders of images, and avatars without end."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt32

from jaxedit.datasets.batches import (
    WHITE,
    Batch,
    Color,
    Dataset,
    Record,
    check_seed,
    decoding_threads,
    refuse_damaged,
    result_or_error,
    shuffled,
)
from jaxedit.images import check_picture
from jaxedit.messages import natural_order

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_NOT_DATA = ("__MACOSX", "@eaDir")
_AT_A_TIME = 1024


def image_folder(
    path: str | os.PathLike,
    *,
    size: int,
    batch_size: int,
    seed: int,
    mirror: bool = False,
    background: Color = WHITE,
) -> Dataset:
    """Reads images from a folder and the folders below it, without attributes.

    PNG, JPEG and WebP files (by suffix), sorted by path with numbers as numbers (2.png before 10.png), so that a seed
    means the same everywhere. Hidden files, hidden and linked folders, and those that systems put beside pictures
    (`__MACOSX`, `@eaDir`) are passed over. Images are turned upright (EXIF), cropped to the largest square in the
    middle and resized by an antialiasing filter (Lanczos). Files are opened when a batch needs them. A damaged,
    truncated or huge one (over 2^26 pixels) is an error of `Dataset.batch`; `check_images` finds most before.

    Args:
        path: The folder.
        size: Height and width of the images in pixels.
        batch_size: Images per batch.
        seed: 0..2^32 - 1; batch `step` depends on (seed, step) and the files only.
        mirror: Mirror half of the images at random, left to right.
        background: Red, green and blue, 0 to 255, of what is behind transparent pixels. White, as the page behind
            pictures for the web and for print.

    Returns:
        The dataset, attributes `[batch, 0]`. An epoch shows every image at most once, and no batch spans two epochs.

    Raises:
        FileNotFoundError: No such folder, or there is no image in it.
        NotADirectoryError: `path` is no folder.
        ValueError: Fewer images than a batch has, or an impossible size, batch size, seed or colour.
    """
    files = image_files(Path(path))
    if len(background) != 3 or not all(0 <= level <= 255 for level in background):
        raise ValueError(f"background is {background}; three numbers from 0 to 255 would be right")

    def read(row: int) -> Record:
        return Record(files[row], files[row], np.zeros(0, np.float32))

    return shuffled(
        read,
        len(files),
        attribute_names=(),
        size=size,
        batch_size=batch_size,
        seed=seed,
        mirror=mirror,
        background=background,
    )


def check_images(path: str | os.PathLike, *, progress: Callable[[int, int], object] = lambda done, count: None) -> int:
    """Looks for damaged files in a folder before anything else is done with it.

    The header and the end of every file that `image_folder` would read: what is empty, no picture, too large or
    truncated is found, 70 thousand files in about 15 seconds on two cores, whatever their size. To decode them takes
    ten times as long for JPEG files of 256 px and over a hundred times for PNG files of 1024 px, and every batch does
    it anyway: the rarer damage in the middle of a file is an error there.

    Args:
        path: The folder.
        progress: Called now and then with the number of files that were looked at, and that of all.

    Returns:
        The number of files.

    Raises:
        FileNotFoundError: No such folder, or there is no image in it.
        NotADirectoryError: `path` is no folder.
        ValueError: Files are damaged; one line with their number and the first five.
    """
    files = image_files(Path(path))
    errors: list[Exception] = []
    with decoding_threads() as threads:
        for start in range(0, len(files), _AT_A_TIME):
            part = files[start : start + _AT_A_TIME]
            results = threads.map(lambda file: result_or_error(functools.partial(check_picture, file), file), part)
            errors += [result for result in results if result is not None]
            progress(start + len(part), len(files))
    refuse_damaged(errors)
    return len(files)


def image_files(folder: Path) -> list[str]:
    """The files that `image_folder` reads.

    Args:
        folder: Where.

    Returns:
        Their paths, sorted, with numbers as numbers.

    Raises:
        FileNotFoundError: No such folder, or there is no image in it.
        NotADirectoryError: `folder` is no folder.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: not a folder")
    found = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_DATA]
        found += [
            file
            for name in names
            if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
            if (file := Path(parent, name)).is_file()  # a pipe would block its reader
        ]
    if not found:
        raise FileNotFoundError(f"{folder}: no image in it ({', '.join(_SUFFIXES)})")
    return [str(file) for file in sorted(found, key=lambda file: [natural_order(part) for part in file.parts])]


def _raise(error: OSError) -> NoReturn:
    raise error


def avatars(*, size: int, batch_size: int, seed: int) -> Dataset:
    """Draws new avatars for ever, with exact attributes (`jaxedit.avatars`).

    Drawn on the default device by one compiled program: sample i of batch `step` has the key
    `split(fold_in(key(seed), step), batch_size)[i]`.

    Args:
        size: Height and width of the images in pixels.
        batch_size: Images per batch.
        seed: 0..2^32 - 1.

    Returns:
        The dataset, without length; attributes are those of `jaxedit.avatars.ATTRIBUTES`.

    Raises:
        ValueError: An impossible size, batch size or seed.
    """
    from jaxedit.avatars import ATTRIBUTES, attributes, render, sample_factors

    check_seed(seed)

    def draw(key: Key[Array, ""]) -> Batch:
        factors = sample_factors(key)
        return Batch(render(factors, size=size).image, attributes(factors).astype(jnp.float32))

    @jax.jit
    def make(key: Key[Array, ""], step: UInt32[Array, ""]) -> Batch:
        return jax.vmap(draw)(jax.random.split(jax.random.fold_in(key, step), batch_size))

    def read(step: int) -> Batch:
        return make(jax.random.key(seed), jnp.uint32(step))

    return Dataset(attribute_names=tuple(ATTRIBUTES), size=size, batch_size=batch_size, num_images=None, read=read)
