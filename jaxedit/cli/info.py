"""What `jaxedit info` prints about checkpoints and direction files."""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxedit import checkpoints
from jaxedit.arrays import Arrays
from jaxedit.cli.array_files import read_arrays
from jaxedit.cli.options import Info
from jaxedit.directions.files import read_own
from jaxedit.directions.tables import MAX_NUMBERS, count_directions
from jaxedit.families import FAMILIES, abstract_params, family_of
from jaxedit.generators.base import Space
from jaxedit.messages import printable
from jaxedit.spaces import Direction

_SHOWN = 64


def run(command: Info) -> None:
    """Prints what is known about a checkpoint or a file.

    Args:
        command: The options.

    Raises:
        ValueError: Damaged, or another kind of file; one line.
        OSError: It can't be read.
    """
    print(describe(command.path))


def describe(path: Path) -> str:
    """Describes a checkpoint directory (network, configuration, source, layer table) or a direction file.

    Args:
        path: The directory or file.

    Raises:
        FileNotFoundError: No such path, or a directory that is no checkpoint.
        ValueError: Damaged, or another kind of file.
    """
    if str(path) == checkpoints.BUILT_IN:
        generator = checkpoints.load(path)
        source = {"source": "comes with the package; see MODEL_CARD.md", "fingerprint": generator.fingerprint}
        return _describe_network(generator.config, source)
    if path.is_dir():
        description = checkpoints.read_description(path)
        return _describe_network(description.config, description.metadata)
    direction = read_own(path)
    return _describe_arrays(read_arrays(path)) if direction is None else _describe_direction(direction)


def _describe_network(config: Any, metadata: Mapping[str, Any]) -> str:
    family, sizes = family_of(config), [math.prod(leaf.shape) for leaf in jax.tree.leaves(abstract_params(config))]
    kind, size = FAMILIES[family].kind, f"{sum(sizes):,} parameters in {len(sizes)} arrays"
    pixels = f"{config.resolution} px, " if hasattr(config, "resolution") else ""
    lines = [f"{kind} ({family}), {pixels}{size}"]
    lines += ["", "source"]
    shown = itertools.islice(metadata.items(), _SHOWN)
    lines += [f"  {printable(key, 60)}: {printable(value)}" for key, value in shown]
    lines += ["", "configuration"]
    lines += [f"  {field.name}: {getattr(config, field.name)}" for field in dataclasses.fields(config)]
    if FAMILIES[family].kind == "generator":
        lines += itertools.chain.from_iterable(map(_describe_space, FAMILIES[family].network({}, config).spaces))
    return "\n".join(lines)


def _describe_space(space: Space) -> list[str]:
    lines = ["", f"space {space.name}: {' x '.join(map(str, space.shape))} numbers"]
    if space.form != "parts":
        return [*lines[:1], f"{lines[1]}, layers 0 to {len(space.layers) - 1}"] if space.layers else lines
    table = [["layer", *space.layers[0]._fields]]
    table += [[index, *layer] for index, layer in enumerate(space.layers)]
    widths = [max(len(str(cell)) for cell in column) for column in zip(*table, strict=True)]
    rows = (zip(row, widths, strict=True) for row in table)
    return lines + ["  " + "  ".join(f"{cell!s:>{width}}" for cell, width in row) for row in rows]


def _describe_direction(direction: Direction) -> str:
    accuracy = "not recorded" if direction.accuracy is None else f"{direction.accuracy:.1%} on held-out samples"
    layers = "all" if direction.layers is None else ", ".join(str(layer) for layer in direction.layers)
    return "\n".join(
        [
            f"direction {printable(direction.name)}",
            f"  space: {direction.space}",
            f"  shape: {np.shape(direction.vector)}, length {np.linalg.norm(np.asarray(direction.vector)):.6g}",
            f"  unit: {direction.unit:g}",
            f"  layers: {layers}",
            f"  source: {direction.source or 'not recorded'}",
            f"  accuracy: {accuracy}",
            f"  sparsity: {np.mean(np.asarray(direction.vector) == 0):.1%} zeros",
        ]
    )


def _describe_arrays(arrays: Arrays) -> str:
    lines = [f"{len(arrays)} array(s); space, unit and source are not recorded in the file"]
    for name, array in itertools.islice(arrays.items(), _SHOWN):
        measured = array.dtype.kind == "f" and math.prod(array.shape) <= MAX_NUMBERS
        length = f", length {np.linalg.norm(np.asarray(array)):.6g}" if measured else ""
        lines.append(f"  {printable(name) or 'array'}: shape {array.shape}, {array.dtype}{length}")
    lines += [f"  and {len(arrays) - _SHOWN} more"] * (len(arrays) > _SHOWN)
    if count := count_directions(arrays):
        lines.append(f"  {count} directions; one of them is FILE:0 to FILE:{count - 1}")
    return "\n".join(lines)
