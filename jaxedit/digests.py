"""Numbers that stand for files and arrays."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: It can't be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(array: np.ndarray, *fields: Any) -> str:
    """SHA-256 of an array and of the `repr` of what belongs to it, in hexadecimal."""
    return hashlib.sha256(array.tobytes() + repr(fields).encode()).hexdigest()
