"""Direction files: our own format, and the array files that people have."""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import safe_open

from jaxedit.arrays import Arrays, Reader, damage_named, read_arrays
from jaxedit.atomic import write_verified
from jaxedit.directions.tables import MAX_NUMBERS, choose_direction, count_directions, split_row
from jaxedit.generators.base import Generator, Space, space_named
from jaxedit.messages import listing, natural_order, printable
from jaxedit.spaces import Direction

_METADATA_KEY, _LONGEST = "jaxedit_direction", 40


def save_direction(path: str | os.PathLike, direction: Direction) -> None:
    """Writes a direction with all its fields as a `.safetensors` file; a file of that name is replaced.

    The file appears under its name only once it is complete.

    Args:
        path: Ends in `.safetensors`.
        direction: What to write; the vector is stored as float32.

    Raises:
        ValueError: Another file name ending, or a vector that is not finite.
        OSError: The file cannot be written; nothing is left behind.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: directions are written as .safetensors files")
    fields = {f.name: getattr(direction, f.name) for f in dataclasses.fields(direction) if f.name != "vector"}
    vector = np.ascontiguousarray(direction.vector, np.float32)
    if not np.isfinite(vector).all():
        raise ValueError(f"{path}: the direction is not finite")
    data = safetensors.numpy.save({"vector": vector}, metadata={_METADATA_KEY: json.dumps(fields)})
    write_verified(path, data)


def load_direction(
    path: str | os.PathLike,
    *,
    generator: Generator | None = None,
    space: str | None = None,
    any_generator: bool = False,
    read: Reader = read_arrays,
) -> Direction:
    """Reads a direction file: our own, or arrays of any of the usual shapes in `.npy`, `.npz` or `.safetensors`.

    Shapes, for StyleGAN2: `(512,)`, `(1, 512)` (W unless `space` says Z), `(18, 512)`, `(1, 18, 512)` (W+), flat S
    `(9088,)`, `(1, 9088)`, and per-layer S as 26 arrays in one file, in order or under their layer names. No file is
    unpickled.
    Of a file of several directions `FILE:ROW` is one, from 0: GANSpace's components (with `unit` the standard deviation
    along each), the eigenvectors of SeFa in rosinality's `factor.pt`, and the rows of any single array.

    Args:
        path: The file, or `FILE:ROW`.
        generator: The generator to edit; with it the direction is checked to fit. S needs it.
        space: The space of a vector that could belong to several ("z" or "w"); checked in the other cases.
        any_generator: As in `check_direction`.
        read: Reads arrays of other kinds of files too, as the command line does with `.pt`.

    Returns:
        The direction, its vector float32 in memory.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not an array file, or a direction that is zero or does not fit; one line that says what would.
    """
    path, row = split_row(Path(path))
    direction = read_own(path)
    if direction is None:
        direction = _from_others(read(path), path, row, generator, space)
    elif row is not None:
        raise ValueError(f"{path}: holds one direction; leave out :{row}")
    elif space is not None and space != direction.space:
        raise ValueError(f"{path}: this direction is in space {direction.space!r}, not {space!r}")
    elif generator is not None:
        check_direction(direction, generator, any_generator=any_generator, where=str(path))
    if not np.any(direction.vector):
        raise ValueError(f"{path}: all values are zero; such a direction changes nothing")
    return direction


def _from_others(
    arrays: Arrays, path: Path, row: int | None, generator: Generator | None, space: str | None
) -> Direction:
    options: Any = {"generator": generator, "space": space}
    if row is not None:
        vector, unit = choose_direction(arrays, row, where=str(path))
        one = direction_from_arrays({"": vector}, name=f"{path.stem}_{row}", where=f"{path}:{row}", **options)
        return dataclasses.replace(one, unit=unit)
    if count := count_directions(arrays):
        raise ValueError(f"{path}: holds {count} directions; choose one, {path.name}:0 to {path.name}:{count - 1}")
    return direction_from_arrays(arrays, name=path.stem, where=str(path), **options)


def direction_from_arrays(
    arrays: Arrays,
    *,
    name: str,
    generator: Generator | None = None,
    space: str | None = None,
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
        ValueError: They do not fit, or are not finite; one line.
    """
    where = where or name
    spaces = None if generator is None else generator.spaces
    shapes = {key: _squeezed(array.shape) for key, array in arrays.items()}
    if wrong := [array.dtype for array in arrays.values() if not _is_real(array.dtype)]:
        raise ValueError(f"{where}: holds {wrong[0]} values; a direction is made of real numbers")
    if len(arrays) == 1:
        shape, rows = _of_relative(next(iter(shapes.values())), spaces)
        fits = _fitting_spaces(shape, spaces)
        if not fits or (space or fits[0]) not in fits or math.prod(shape) > MAX_NUMBERS:
            wanted = "no space" if space is None else f"space {space!r} not"
            raise ValueError(f"{where}: shape {shape} fits {wanted} of this generator{_what_fits(spaces)}")
        found = space or fits[0]
        vector = np.asarray(next(iter(arrays.values())))
        vector = vector.reshape(shape) if rows is None else vector.reshape(-1, shape[-1])[list(rows)]
    else:
        found, order = _of_parts(shapes, spaces, where)
        if space not in (None, found):
            raise ValueError(f"{where}: holds {len(arrays)} arrays, one per layer; they fit space {found!r} alone")
        vector = np.concatenate([np.asarray(arrays[key]).reshape(-1) for key in order])
    return Direction(name=name, space=found, vector=_as_float32(vector, where))


def check_direction(
    direction: Direction, generator: Generator, *, any_generator: bool = False, where: str = ""
) -> None:
    """Refuses a direction that does not fit a generator.

    Args:
        direction: The direction.
        generator: The generator to edit with it.
        any_generator: Whether one made for other weights will do, such as those that a fine-tuned generator began with.
        where: What error messages call the direction; its name when empty.

    Raises:
        ValueError: Made for another generator, of another width, or for layers that do not exist; one line.
    """
    name = where or direction.name
    if not any_generator and not made_for(direction, generator):
        made, here = direction.source[:12], generator.fingerprint[:12]
        raise ValueError(
            f"{name}: this direction was made for another generator ({made}..., this is {here}...); for a relative"
            " any_generator (--any-generator) takes it nevertheless"
        )
    if direction.space not in _fitting_spaces(np.shape(direction.vector), generator.spaces):
        shape, fits = np.shape(direction.vector), _what_fits(generator.spaces)
        raise ValueError(f"{name}: shape {shape} does not fit space {direction.space!r} of this generator{fits}")
    count = len(space_named(generator, direction.space).layers)
    wrong = [layer for layer in direction.layers or () if not 0 <= layer < count]
    if wrong:
        raise ValueError(f"{name}: layer {wrong[0]} of space {direction.space!r} does not exist; there are {count}")


def made_for(direction: Direction, generator: Generator) -> bool:
    """Whether a direction was made for the weights of a generator, or nobody knows better.

    Args:
        direction: The direction.
        generator: The generator.

    Returns:
        False only if both fingerprints are known and differ.
    """
    return not (direction.source and generator.fingerprint) or direction.source == generator.fingerprint


def read_own(path: str | os.PathLike) -> Direction | None:
    """Reads a file written by `save_direction`; None if it is something else.

    Args:
        path: The file; it need not exist.

    Raises:
        ValueError: It is one, but damaged.
    """
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    with damage_named(path):
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        if _METADATA_KEY not in metadata:
            return None
        fields, stored = json.loads(metadata[_METADATA_KEY]), read_arrays(path)["vector"]
        if math.prod(stored.shape) > MAX_NUMBERS or not _is_real(stored.dtype):
            raise ValueError(f"a vector of shape {stored.shape}, {stored.dtype}")
        own = _own(fields, np.asarray(stored))
    return dataclasses.replace(own, vector=_as_float32(own.vector, str(path)))


def _own(fields: Any, vector: np.ndarray) -> Direction:
    """The direction of a file's fields, each of which may be anything."""
    layers, space, unit = fields["layers"], fields["space"], float(fields["unit"])
    if layers is not None and not (isinstance(layers, list) and all(type(layer) is int for layer in layers)):
        raise ValueError("layers are not a list of integers")
    if not isinstance(space, str) or not space.isidentifier() or len(space) > _LONGEST or not math.isfinite(unit):
        raise ValueError(f"space {printable(space, 40)!r}, unit {unit}")
    return Direction(
        name=printable(fields["name"], 100),
        space=space,
        vector=vector.reshape(_squeezed(vector.shape)),
        layers=None if layers is None else tuple(layers),
        unit=unit,
        source=printable(fields["source"], 100),
        accuracy=None if fields.get("accuracy") is None else float(fields["accuracy"]),
    )


def _is_real(dtype: np.dtype) -> bool:
    return dtype.kind in "fiu" or dtype.name == "bfloat16"


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without leading axes of length 1."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _as_float32(array: np.ndarray, where: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{where}: holds values that are not finite float32 numbers")
    return array


def _of_relative(
    shape: tuple[int, ...], spaces: tuple[Space, ...] | None
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shape in a space that takes directions of another number of rows, and which of them; else as it is."""
    for space in spaces or ():
        if space.relative is not None and shape == (space.relative.count, *space.shape[1:]):
            return space.shape, space.relative.rows
    return shape, None


def _of_parts(
    shapes: dict[str, tuple[int, ...]], spaces: tuple[Space, ...] | None, where: str
) -> tuple[str, list[str]]:
    """The space of parts that several arrays belong to, and their order there: by name, or by the numbers in it."""
    if spaces is None:
        raise ValueError(f"{where}: holds {len(shapes)} arrays, which only a generator's layer table can tell apart")
    by_number = sorted(shapes, key=natural_order)
    for space in spaces:
        names = [layer.name for layer in space.layers]
        order = names if set(shapes) == set(names) else by_number
        if space.form == "parts" and [shapes[name] for name in order] == [(layer.width,) for layer in space.layers]:
            return space.name, order
    found = list(map(shapes.__getitem__, by_number))
    held = f"{len(found)} arrays of shapes {listing(found, 3)}" if found else "no array"
    raise ValueError(f"{where}: holds {held}, not the styles of this generator{_what_fits(spaces)}")


def _fitting_spaces(shape: tuple[int, ...], spaces: tuple[Space, ...] | None) -> list[str]:
    """The spaces a vector of a shape can be in, the usual one first. Without a generator the number of axes decides."""
    if spaces is None:
        return {1: ["w", "z", "s"], 2: ["w_plus"]}.get(len(shape), [])
    usual = sorted(spaces, key=lambda space: space.form != "shared")
    return [space.name for space in usual if space.shape == shape]


def _what_fits(spaces: tuple[Space, ...] | None) -> str:
    if spaces is None:
        return "; (w_dim,) for z or w and (num_ws, w_dim) for w_plus would"
    return f"; {', '.join(map(_described, spaces))} would fit"


def _described(space: Space) -> str:
    if space.form != "parts":
        return f"{space.shape} for {space.name}"
    widths = ", ".join(str(layer.width) for layer in space.layers[:3])
    return f"{space.shape} or {len(space.layers)} arrays of widths {widths}... for {space.name}"
