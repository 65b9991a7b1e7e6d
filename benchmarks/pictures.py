"""Sheets of pictures for reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

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
