"""Sheets of pictures for reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

from jaxedit import sheets

_QUALITY = 85  # keeps a sheet of 64 pictures at 128 px below 500 kB


def save_sheet(
    path: Path, pictures: Iterable[Array | np.ndarray], *, rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Writes uint8 pictures as one JPEG file whose rows and columns have names (`jaxedit.sheets.labelled_sheet`)."""
    Image.fromarray(sheets.labelled_sheet(pictures, rows=rows, columns=columns)).save(path, quality=_QUALITY)


def averaged_down(image: Array, *, side: int) -> Array:
    """An image averaged over squares to `side` pixels, or less than twice as many; smaller ones as they are."""
    height, width, channels = image.shape
    pool = max(1, min(height, width) // side)
    return jnp.mean(image.reshape(height // pool, pool, width // pool, pool, channels), axis=(1, 3))
