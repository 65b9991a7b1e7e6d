"""Array files as people have them: our own formats, and PyTorch's by the reader that executes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxedit import arrays
from jaxedit.arrays import Arrays


def read_arrays(path: Path) -> Arrays:
    """Reads an array file: `.npy`, `.npz`, `.safetensors`, and `.pt` or `.pth`.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Another kind of file, or a damaged one.
    """
    if path.suffix not in (".pt", ".pth"):
        return arrays.read_arrays(path)
    from weights_convert import stored_tensors  # the only import of this package by jaxedit

    found = {}
    for name, tensor in stored_tensors(path).items():
        dtype = np.dtype(np.float32 if tensor.dtype == "bfloat16" else tensor.dtype)
        found[name] = arrays.StoredArray(tensor.shape, dtype, tensor.numpy)
    return found
