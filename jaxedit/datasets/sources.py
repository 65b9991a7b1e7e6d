"""Data that need nothing but this package: folders of images, and avatars without end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt32

from jaxedit.datasets.batches import Batch, Dataset, Record, check_seed, shuffled

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def image_folder(path: str | os.PathLike, *, size: int, batch_size: int, seed: int, mirror: bool = False) -> Dataset:
    """Reads images from a folder and the folders below it, without attributes.

    PNG, JPEG and WebP files (by suffix), sorted by path; hidden files and linked folders are passed over. Images are
    turned upright (EXIF), cropped to the largest square in the middle and resized by an antialiasing filter (Lanczos).
    Files are opened when a batch needs them. A damaged, truncated or huge one (over 2^26 pixels) is an error of
    `Dataset.batch`.

    Args:
        path: The folder.
        size: Height and width of the images in pixels.
        batch_size: Images per batch.
        seed: 0..2^32 - 1; batch `step` depends on (seed, step) and the files only.
        mirror: Mirror half of the images at random, left to right.

    Returns:
        The dataset, attributes `[batch, 0]`. An epoch shows every image at most once, and no batch spans two epochs.

    Raises:
        FileNotFoundError: No such folder, or there is no image in it.
        NotADirectoryError: `path` is no folder.
        ValueError: Fewer images than a batch has, or an impossible size, batch size or seed.
    """
    folder = Path(path)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: not a folder")
    files = _image_files(folder)
    if not files:
        raise FileNotFoundError(f"{folder}: no image in it ({', '.join(_SUFFIXES)})")

    def read(row: int) -> Record:
        return Record(files[row], files[row], np.zeros(0, np.float32))

    return shuffled(read, len(files), attribute_names=(), size=size, batch_size=batch_size, seed=seed, mirror=mirror)


def _image_files(folder: Path) -> list[str]:
    found = [
        Path(parent, name)
        for parent, _, names in os.walk(folder, onerror=_raise)
        for name in names
        if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
    ]
    return [str(file) for file in sorted(found) if file.is_file()]  # a pipe would block its reader


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
