"""Direction files: our own format, and the array files that people have."""

import dataclasses
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from jaxedit.atomic import replacing
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from jaxedit.spaces import Direction, Space

_METADATA_KEY = "jaxedit_direction"
MAX_NPZ_BYTES = 1 << 30
_UNREADABLE = (
    *(ValueError, EOFError, KeyError, TypeError, AttributeError, NotImplementedError, MemoryError),
    *(OverflowError, RecursionError),
    *(zipfile.BadZipFile, zlib.error, SafetensorError),
)
Arrays = Mapping[str, np.ndarray]
Reader = Callable[[Path], Arrays]


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads all arrays of a `.npy` (under the name ""), `.npz` or `.safetensors` file; nothing is ever unpickled.

    bfloat16 becomes float32.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Another kind of file, or a damaged one.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        if path.suffix == ".npy":
            # A mapped file costs no memory, whatever size its header claims.
            return {"": np.lib.format.open_memmap(path, mode="r")}
        if path.suffix == ".npz":
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                if sum(member.file_size for member in archive.zip.infolist()) > MAX_NPZ_BYTES:
                    raise ValueError(f"more than {MAX_NPZ_BYTES >> 30} GiB unpacked; store such arrays as .npy")
                arrays = {name: archive[name] for name in archive.files}
            wrong = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
            if wrong:
                raise ValueError(f"{wrong[0]!r} is no array")
            return arrays
        if path.suffix == ".safetensors":
            return {name: _widened(array) for name, array in safetensors.numpy.load_file(path).items()}
    except _UNREADABLE as error:
        raise ValueError(f"{path}: not a readable {path.suffix} file of plain arrays ({error})") from error
    raise ValueError(f"{path}: unknown kind of array file; .npy, .npz and .safetensors can be read")


def save_direction(path: str | os.PathLike, direction: Direction) -> None:
    """Writes a direction with all its fields as a `.safetensors` file; a file of that name is replaced.

    The file appears under its name only once it is complete.

    Args:
        path: Ends in `.safetensors`.
        direction: What to write; the vector is stored as float32.

    Raises:
        ValueError: Another file name ending.
        OSError: The file cannot be written; nothing is left behind.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: directions are written as .safetensors files")
    fields = {f.name: getattr(direction, f.name) for f in dataclasses.fields(direction) if f.name != "vector"}
    vector = np.ascontiguousarray(direction.vector, np.float32)
    data = safetensors.numpy.save({"vector": vector}, metadata={_METADATA_KEY: json.dumps(fields)})
    with replacing(path) as partial:
        partial.write_bytes(data)


def load_direction(
    path: str | os.PathLike,
    *,
    generator: StyleGAN2Generator | None = None,
    space: Space | None = None,
    read: Reader = read_arrays,
) -> Direction:
    """Reads a direction file: our own, or arrays of any of the usual shapes in `.npy`, `.npz` or `.safetensors`.

    Shapes: `(512,)`, `(1, 512)` (W unless `space` says Z), `(18, 512)`, `(1, 18, 512)` (W+), flat S `(9088,)`,
    `(1, 9088)`, and per-layer S as 26 arrays in one file, in order or under their layer names. No file is unpickled.

    Args:
        path: The file.
        generator: The generator to edit; with it the direction is checked to fit. S needs it.
        space: The space of a vector that could belong to several ("z" or "w"); checked in the other cases.
        read: Reads arrays of other kinds of files too, as the command line does with `.pt`.

    Returns:
        The direction, its vector float32 in memory.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not an array file, or a direction that does not fit; one line with the shapes that would fit.
    """
    path = Path(path)
    own = read_own(path)
    if own is not None:
        if space is not None and space != own.space:
            raise ValueError(f"{path}: this direction is in space {own.space!r}, not {space!r}")
        if generator is not None:
            check_direction(own, generator, where=str(path))
        return own
    return direction_from_arrays(read(path), name=path.stem, generator=generator, space=space, where=str(path))


def direction_from_arrays(
    arrays: Arrays,
    *,
    name: str,
    generator: StyleGAN2Generator | None = None,
    space: Space | None = None,
    where: str = "",
) -> Direction:
    """Makes a direction of arrays of any of the shapes that `load_direction` lists.

    Args:
        arrays: One array, or one per style layer.
        name: For the direction.
        generator: As in `load_direction`.
        space: As in `load_direction`.
        where: What error messages call the arrays; `name` when empty.

    Raises:
        ValueError: They do not fit; one line.
    """
    where = where or name
    config = None if generator is None else generator.config
    parts = {key: _as_float32(array, where) for key, array in arrays.items()}
    vector = _only(parts) if len(parts) == 1 else _joined_styles(parts, config, where)
    fits: list[Space] = _fitting_spaces(vector.shape, config) if len(parts) == 1 else ["s"]
    if not fits or (space or fits[0]) not in fits:
        wanted = "no space" if space is None else f"space {space!r} not"
        raise ValueError(f"{where}: shape {vector.shape} fits {wanted} of this generator{_what_fits(config)}")
    return Direction(name=name, space=space or fits[0], vector=vector)


def check_direction(direction: Direction, generator: StyleGAN2Generator, *, where: str = "") -> None:
    """Refuses a direction that does not fit a generator.

    Args:
        direction: The direction.
        generator: The generator to edit with it.
        where: What error messages call the direction; its name when empty.

    Raises:
        ValueError: Made for another generator, of another width, or for layers that do not exist; one line.
    """
    config, name = generator.config, where or direction.name
    if direction.source and generator.fingerprint and direction.source != generator.fingerprint:
        made, here = direction.source[:12], generator.fingerprint[:12]
        raise ValueError(f"{name}: this direction was made for another generator ({made}..., this is {here}...)")
    if direction.space not in _fitting_spaces(np.shape(direction.vector), config):
        shape, space = np.shape(direction.vector), direction.space
        raise ValueError(f"{name}: shape {shape} does not fit space {space!r} of this generator{_what_fits(config)}")
    count = len(config.style_layers) if direction.space == "s" else 0 if direction.space == "z" else config.num_ws
    wrong = [layer for layer in direction.layers or () if not 0 <= layer < count]
    if wrong:
        raise ValueError(f"{name}: layer {wrong[0]} of space {direction.space!r} does not exist; there are {count}")


def read_own(path: str | os.PathLike) -> Direction | None:
    """Reads a file written by `save_direction`; None if it is something else.

    Raises:
        ValueError: It is one, but damaged.
    """
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if _METADATA_KEY not in metadata:
                return None
            fields, vector = json.loads(metadata[_METADATA_KEY]), file.get_tensor("vector")
        layers = fields["layers"]
        if layers is not None and not (isinstance(layers, list) and all(type(layer) is int for layer in layers)):
            raise ValueError("layers are not a list of integers")
        space: Any = fields["space"]
        own = Direction(
            name=str(fields["name"]),
            space=space,
            vector=_as_float32(vector, str(path)),
            layers=None if layers is None else tuple(layers),
            unit=float(fields["unit"]),
            source=str(fields["source"]),
            accuracy=None if fields.get("accuracy") is None else float(fields["accuracy"]),
        )
    except (OSError, *_UNREADABLE) as error:
        raise ValueError(f"{path}: not a readable direction file ({error})") from error
    if own.space not in get_args(Space) or not np.isfinite(own.unit):
        raise ValueError(f"{path}: not a readable direction file (space {own.space!r}, unit {own.unit})")
    return own


def _as_float32(array: np.ndarray, where: str) -> np.ndarray:
    """Drops leading axes of length 1; the numbers must be real and finite."""
    array = _widened(array)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{where}: holds {array.dtype} values; a direction is made of real numbers")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{where}: holds values that are not finite float32 numbers")
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return array


def _widened(array: np.ndarray) -> np.ndarray:
    """bfloat16, which is no type of NumPy's own, as float32."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _only(parts: Arrays) -> np.ndarray:
    return next(iter(parts.values()))


def _joined_styles(parts: Arrays, config: StyleGAN2Config | None, where: str) -> np.ndarray:
    """One array per style layer, by layer name or in the order of the numbers in their names, as flat S."""
    if config is None:
        raise ValueError(f"{where}: holds {len(parts)} arrays, which only a generator's layer table can tell apart")
    names, widths = [layer.name for layer in config.style_layers], [layer.width for layer in config.style_layers]
    ordered = names if set(parts) == set(names) else sorted(parts, key=_natural)
    found = [parts[name].shape for name in ordered]
    if found != [(width,) for width in widths]:
        held = f"{len(found)} arrays of shapes {found[:3]}..." if found else "no array"
        raise ValueError(f"{where}: holds {held}, not the styles of this generator{_what_fits(config)}")
    return np.concatenate([parts[name] for name in ordered])


def _natural(name: str) -> list:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _fitting_spaces(shape: tuple[int, ...], config: StyleGAN2Config | None) -> list[Space]:
    """The spaces a vector of a shape can be in, the usual one first. Without a generator the number of axes decides."""
    if config is None:
        by_axes: dict[int, list[Space]] = {1: ["w", "z", "s"], 2: ["w_plus"]}
        return by_axes.get(len(shape), [])
    shapes: dict[Space, tuple[int, ...]] = {
        "w": (config.w_dim,),
        "z": (config.z_dim,),
        "w_plus": (config.num_ws, config.w_dim),
        "s": (sum(layer.width for layer in config.style_layers),),
    }
    return [space for space, fitting in shapes.items() if fitting == shape]


def _what_fits(config: StyleGAN2Config | None) -> str:
    if config is None:
        return "; (w_dim,) for z or w and (num_ws, w_dim) for w_plus would"
    widths = [layer.width for layer in config.style_layers]
    listed = ", ".join(str(width) for width in widths[:3])
    return (
        f"; ({config.z_dim},) for z, ({config.w_dim},) for w, ({config.num_ws}, {config.w_dim}) for w_plus, "
        f"({sum(widths)},) or {len(widths)} arrays of widths {listed}... for s would fit"
    )
