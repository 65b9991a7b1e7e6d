"""Checkpoints: a directory with `config.json`, `metadata.json` and the parameters in `params.safetensors`.

Networks that are shipped are single files of float16 parameters, with their configuration inside. Nothing in either is
ever executed. What does not match its own configuration in every name and shape, or its checksum, is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from jaxedit.arrays import Arrays, read_arrays
from jaxedit.atomic import write_verified
from jaxedit.claims import making
from jaxedit.digests import file_digest
from jaxedit.families import FAMILIES, abstract_params, family_of
from jaxedit.generators.config import config_from_dict, config_to_dict
from jaxedit.messages import printable, reason
from jaxedit.suggestions import suggest_checkpoint

BUILT_IN = "avatars"
_PACKAGED = Path(__file__).parent / "avatars" / "weights"
_PARAMS, _FILE_KEY = "params.safetensors", "jaxedit_network"
_FIRST_NAMES = {"stylegan2 generator": "stylegan2", "stylegan2 discriminator": "stylegan2_discriminator"}
_INCIDENTAL = ("noise_const", "w_avg")


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or of another kind; the message is one line that names it."""


class Description(NamedTuple):
    """What a checkpoint says about itself.

    Attributes:
        family: A key of `jaxedit.families.FAMILIES`.
        config: The architecture.
        metadata: JSON values about the source.
        sha256: Of the parameters' file; None in checkpoints that were written before there was one.
    """

    family: str
    config: Any
    metadata: dict[str, Any]
    sha256: str | None


def fingerprint(params: Any) -> str:
    """A number that stands for the weights of a generator, whatever file they came from.

    Noise maps and the average of w don't count: formats may leave them out, and no direction depends on them.

    Args:
        params: Nested dict of arrays.

    Returns:
        SHA-256 of the names, shapes and float32 numbers, in hexadecimal.
    """
    digest = hashlib.sha256()
    for name, leaf in sorted(flax.traverse_util.flatten_dict(params, sep="/").items()):
        if name.rpartition("/")[2] not in _INCIDENTAL:
            digest.update(f"{name} {leaf.shape}".encode())
            digest.update(np.ascontiguousarray(leaf, "<f4").data)
    return digest.hexdigest()


def mismatches(expected: Any, found: Any) -> list[str]:
    """Compares two trees of arrays or shapes by name, in both directions.

    Args:
        expected: Nested dict whose leaves have `shape`.
        found: Likewise.

    Returns:
        One phrase for each missing name, unexpected name and wrong shape; empty when they agree.
    """
    expected_shapes, found_shapes = _shapes(expected), _shapes(found)
    missing = [f"missing {name} {shape}" for name, shape in expected_shapes.items() if name not in found_shapes]
    unexpected = [
        f"unexpected {printable(name, 120)} {shape}"
        for name, shape in found_shapes.items()
        if name not in expected_shapes
    ]
    wrong = [
        f"{name} is {found_shapes[name]}, expected {shape}"
        for name, shape in expected_shapes.items()
        if name in found_shapes and found_shapes[name] != shape
    ]
    return missing + unexpected + wrong


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves: Any = flax.traverse_util.flatten_dict(tree, sep="/")
    return {name: tuple(leaf.shape) for name, leaf in leaves.items()}


def save(path: str | Path, *, params: Any, config: Any, metadata: Mapping[str, Any], replace: bool = False) -> None:
    """Writes a checkpoint; it appears complete or not at all.

    Args:
        path: Directory to make.
        params: Nested dict of float32 arrays.
        config: The architecture, of any family.
        metadata: JSON values about the source.
        replace: Whether `path` may exist; it is whole until the new one is.

    Raises:
        FileExistsError: `path` exists and is not to be replaced.
        CheckpointError: `params` do not fit `config`, or what was written can't be read back.
        OSError: It can't be written; the error names `path`.
    """
    path, family = Path(path).absolute(), family_of(config)
    if path.exists() and not replace:
        raise FileExistsError(f"{path}: already exists; choose another destination or remove it first")
    if problems := _problems(config, params):
        raise CheckpointError(f"{path}: the parameters do not fit the configuration: {_summary(problems)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with making(path, replace=replace) as partial:
        digest = _write_params(partial / _PARAMS, params)
        _write_json(partial / "config.json", {"family": family, "config": config_to_dict(config), "sha256": digest})
        _write_json(partial / "metadata.json", dict(metadata))
        _read(partial, FAMILIES[family].kind)


def _write_params(path: Path, params: Any) -> str:
    """Writes the file, and returns its SHA-256."""
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    data = safetensors.numpy.save({name: np.array(leaf, np.float32, order="C") for name, leaf in flat.items()})
    write_verified(path, data)
    return hashlib.sha256(data).hexdigest()


def save_file(path: Path, *, params: Any, config: Any) -> None:
    """Writes a network as a `.safetensors` file in float16; a file of that name is replaced.

    The file appears under its name only once it is complete.

    Args:
        path: The file.
        params: Nested dict of float32 arrays.
        config: The architecture, of any family.

    Raises:
        ValueError: A number that float16 cannot hold.
        OSError: The file cannot be written; nothing is left behind.
    """
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    with np.errstate(over="ignore"):
        arrays = {name: np.array(leaf, np.float16, order="C") for name, leaf in flat.items()}
    if wrong := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise ValueError(f"{path}: {wrong[0]} holds numbers that float16 cannot")
    description = {"family": family_of(config), "config": config_to_dict(config)}
    write_verified(path, safetensors.numpy.save(arrays, metadata={_FILE_KEY: json.dumps(description)}))


def load(path: str | Path) -> Any:
    """Reads a generator of any family.

    Args:
        path: A directory written by `python -m weights_convert` or `save`; or "avatars" for the generator that comes
            with the package (a directory of that name is `./avatars`).

    Returns:
        The generator, its parameters on the default device and committed to none, its fingerprint that of its weights
        (see `fingerprint`).

    Raises:
        FileNotFoundError: There is no checkpoint at `path`.
        CheckpointError: It is damaged, or not a generator.
    """
    packaged = str(path) == BUILT_IN
    read = _read_file(_PACKAGED / "generator.safetensors") if packaged else _read(Path(path), "generator")
    generator = _network(*read)
    return dataclasses.replace(generator, fingerprint=fingerprint(generator.params))


def load_discriminator(path: str | Path) -> Any:
    """Reads a discriminator; arguments and errors as for `load`."""
    return _network(*_read(Path(path), "discriminator"))


def load_network(path: str | Path) -> Any:
    """Reads any other network, such as a face parser.

    Args:
        path: A directory written by `python -m weights_convert` or `save`, or a file written by `save_file`.

    Returns:
        The network as a frozen pytree, its parameters float32 on the default device.

    Raises:
        FileNotFoundError: There is no checkpoint at `path`.
        CheckpointError: It is damaged, or a generator or a discriminator.
    """
    path = Path(path)
    return _network(*(_read_file(path) if path.is_file() else _read(path, "network")))


def load_packaged(name: str) -> Any:
    """Reads a network that comes with the package.

    Args:
        name: "classifier", "judge", "parser", "keypoints" or "embedding".

    Returns:
        As from `load_network`.

    Raises:
        FileNotFoundError: There is none of that name.
    """
    return load_network(_PACKAGED / f"{name}.safetensors")


def _network(config: Any, params: Any) -> Any:
    return FAMILIES[family_of(config)].network(jax.tree.map(jnp.asarray, params), config)


def read_description(path: str | Path) -> Description:
    """Reads what a checkpoint holds, without its parameters.

    Args:
        path: A checkpoint directory.

    Returns:
        The description.

    Raises:
        FileNotFoundError: There is no checkpoint at `path`.
        CheckpointError: Its description is damaged.
    """
    path = Path(path)
    content, metadata = _read_json(path, "config.json"), _read_json(path, "metadata.json")
    try:
        family, config = _architecture(content)
    except ValueError as error:
        raise CheckpointError(f"{path}: config.json: {error}") from None
    return Description(family, config, metadata, content.get("sha256"))


def _architecture(content: Any) -> tuple[str, Any]:
    """The family and the config that a description names."""
    if not isinstance(content, dict):
        raise ValueError("the description has to be an object")
    family = content.get("family")
    if "network" in content:  # as they were written at first
        family = _FIRST_NAMES.get(f"{family} {content['network']}")
    if not isinstance(family, str) or family not in FAMILIES:
        raise ValueError(f"family is {printable(repr(family), 100)}, expected one of {', '.join(FAMILIES)}")
    return family, config_from_dict(FAMILIES[family].config, content.get("config"))


def _read(path: Path, wanted: str) -> tuple[Any, Any]:
    """The config, and the parameters as float32 arrays of NumPy."""
    family, config, _, digest = read_description(path)
    if (kind := FAMILIES[family].kind) != wanted:
        raise CheckpointError(f"{path}: holds a {kind} ({family}), not a {wanted}")
    try:
        stored = read_arrays(path / _PARAMS)
        problems = _problems(config, stored)
        if not problems:
            params = _as_float32(stored)
            if digest is not None and digest != file_digest(path / _PARAMS):
                raise ValueError("they don't have the checksum that config.json says: the file is damaged")
            return config, params
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: the parameters can't be read: {reason(error)}") from error
    raise CheckpointError(f"{path}: the parameters do not fit config.json: {_summary(problems)}")


def _read_file(path: Path) -> tuple[Any, Any]:
    """As `_read`, of a file that `save_file` wrote."""
    try:
        with safe_open(path, framework="numpy") as file:
            _, config = _architecture(json.loads((file.metadata() or {})[_FILE_KEY]))
        stored = read_arrays(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable network ({reason(error)})") from error
    if problems := _problems(config, stored):
        raise CheckpointError(f"{path}: the parameters do not fit the configuration: {_summary(problems)}")
    return config, _as_float32(stored)


def _as_float32(stored: Arrays) -> Any:
    params = {name: np.asarray(array, np.float32) for name, array in stored.items()}
    return flax.traverse_util.unflatten_dict(params, sep="/")


def _problems(config: Any, found: Any) -> list[str]:
    """Why these parameters are not of this architecture, or not to be read."""
    target = abstract_params(config)
    return mismatches(target, found) or _too_large(target, FAMILIES[family_of(config)].largest)


def _too_large(tree: Any, largest: int) -> list[str]:
    """Storage may claim arrays that it does not hold, so shapes that agree with config.json protect nobody's memory."""
    numbers = sum(math.prod(shape) for shape in _shapes(tree).values())
    return [f"{numbers:,} numbers, and at most {largest:,} are read"] if numbers > largest else []


def _summary(problems: list[str], limit: int = 8) -> str:
    more = f"; and {len(problems) - limit} more" if len(problems) > limit else ""
    return "; ".join(problems[:limit]) + more


def _read_json(path: Path, name: str) -> dict[str, Any]:
    if not (path / name).is_file():
        raise FileNotFoundError(f"{path}: no checkpoint here ({name} is missing); {suggest_checkpoint(path)}")
    try:
        content = json.loads((path / name).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {name} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: {name} has to hold an object")
    return content


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
