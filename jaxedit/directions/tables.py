"""Files of several directions, of which one is chosen: GANSpace's components, SeFa's eigenvectors, arrays of rows."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from jaxedit.arrays import Arrays, StoredArray
from jaxedit.messages import listing

MAX_NUMBERS = 1 << 22  # of all directions in a file whose generator is not known; S at 1024 px has 9088
_COMPONENTS = {"lat_comp": "lat_stdev", "comp": "std"}  # GANSpace's own files, and e4e's copies of them
_EIGENVECTORS = "eigvec"  # of rosinality's `factor.pt`, one in each column


def split_row(path: Path) -> tuple[Path, int | None]:
    """The file and the number in a name such as `pca.npz:3`; None without a number, or for a file of that name."""
    match = re.fullmatch(r"(.+\.(?:npy|npz|safetensors|pt|pth)):([0-9]{1,9})", path.name)
    return (path, None) if match is None or path.exists() else (path.with_name(match[1]), int(match[2]))


def count_directions(arrays: Arrays) -> int:
    """How many directions are in a file that is known to hold several; 0 for any other."""
    for key in _COMPONENTS:
        if key in arrays and arrays[key].ndim > 1:
            return arrays[key].shape[0]
    return arrays[_EIGENVECTORS].shape[1] if _EIGENVECTORS in arrays and arrays[_EIGENVECTORS].ndim == 2 else 0


def choose_direction(arrays: Arrays, row: int, *, where: str) -> tuple[np.ndarray, float]:
    """One of several directions.

    Args:
        arrays: Those of GANSpace or SeFa, or a single one with a direction in each row.
        row: Which, from 0.
        where: What error messages call the file.

    Returns:
        The vector, and what strength 1 adds of it: GANSpace's standard deviation along the component, or 1.

    Raises:
        ValueError: Another kind of file, or no such direction; one line.
    """
    known = next((key for key in (*_COMPONENTS, _EIGENVECTORS) if key in arrays), None)
    key = next(iter(arrays), "") if known is None else known
    if (known is None and len(arrays) != 1) or arrays[key].ndim < 2:
        held = f"{len(arrays)} array(s), {listing([array.shape for array in arrays.values()], 3)}"
        raise ValueError(f"{where}: holds {held}, not the components of GANSpace or SeFa, or rows of one array")
    if math.prod(arrays[key].shape) > MAX_NUMBERS:
        raise ValueError(f"{where}: shape {arrays[key].shape} is more than {MAX_NUMBERS} numbers")
    table = np.asarray(arrays[key])
    table = table.T if key == _EIGENVECTORS else table
    if row >= len(table):
        raise ValueError(f"{where}: there is no direction {row}, but 0 to {len(table) - 1}")
    deviations = arrays.get(_COMPONENTS[key]) if key in _COMPONENTS else None
    return table[row], 1.0 if deviations is None else _deviation(deviations, row, len(table), where)


def _deviation(deviations: StoredArray | np.ndarray, row: int, count: int, where: str) -> float:
    if math.prod(deviations.shape) != count or deviations.dtype.kind != "f":
        found = f"shape {deviations.shape}, {deviations.dtype}"
        raise ValueError(f"{where}: standard deviations of {found}; one number for each of {count} directions is right")
    deviation = float(np.asarray(deviations).reshape(-1)[row])
    if not 0 < deviation < math.inf:
        raise ValueError(f"{where}: the standard deviation along direction {row} is {deviation}")
    return deviation
