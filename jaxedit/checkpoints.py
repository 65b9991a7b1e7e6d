"""Checkpoints: a directory with `config.json`, `metadata.json` and the parameters in `params.safetensors`.

Nothing in a checkpoint is ever executed. One that does not match its own configuration in every name and shape, or the
checksum of its parameters, is refused.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from jaxedit.arrays import read_arrays
from jaxedit.atomic import write_verified
from jaxedit.claims import making
from jaxedit.digests import file_digest
from jaxedit.generators import stylegan2, stylegan2_discriminator
from jaxedit.generators.config import config_from_dict, config_to_dict
from jaxedit.messages import printable, reason
from jaxedit.suggestions import suggest_checkpoint

BUILT_IN = "avatars"
MAX_NUMBERS = 1 << 27  # config-f at 1024 px has 33 million
_PARAMS = "params.safetensors"
_INCIDENTAL = ("noise_const", "w_avg")

_NETWORKS = {
    "generator": (stylegan2.StyleGAN2Config, stylegan2.init),
    "discriminator": (stylegan2_discriminator.DiscriminatorConfig, stylegan2_discriminator.init),
}


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or of another kind; the message is one line that names it."""


def abstract_params(network: str, config: Any) -> Any:
    """The names, shapes and dtypes that the parameters of a network have to have.

    Args:
        network: "generator" or "discriminator".
        config: `StyleGAN2Config` or `DiscriminatorConfig`.

    Returns:
        The nested dict of parameters with `jax.ShapeDtypeStruct` leaves; nothing is allocated.
    """
    init = _NETWORKS[network][1]
    return jax.eval_shape(functools.partial(init, config=config), jax.random.key(0))


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


def save(
    path: str | Path,
    *,
    network: str,
    params: Any,
    config: Any,
    metadata: Mapping[str, Any],
    replace: bool = False,
) -> None:
    """Writes a checkpoint; it appears complete or not at all.

    Args:
        path: Directory to make.
        network: "generator" or "discriminator".
        params: Nested dict of float32 arrays.
        config: `StyleGAN2Config` or `DiscriminatorConfig`.
        metadata: JSON values about the source.
        replace: Whether `path` may exist; it is whole until the new one is.

    Raises:
        FileExistsError: `path` exists and is not to be replaced.
        CheckpointError: `params` do not fit `config`, or what was written can't be read back.
        OSError: It can't be written; the error names `path`.
    """
    path = Path(path).absolute()
    if path.exists() and not replace:
        raise FileExistsError(f"{path}: already exists; choose another destination or remove it first")
    target = abstract_params(network, config)
    if problems := mismatches(target, params) or _too_large(target):
        raise CheckpointError(f"{path}: the parameters do not fit the configuration: {_summary(problems)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with making(path, replace=replace) as partial:
        digest = _write_params(partial / _PARAMS, params)
        description = {"family": "stylegan2", "network": network, "config": config_to_dict(config), "sha256": digest}
        _write_json(partial / "config.json", description)
        _write_json(partial / "metadata.json", dict(metadata))
        _read(partial, network)


def _write_params(path: Path, params: Any) -> str:
    """Writes the file, and returns its SHA-256."""
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    data = safetensors.numpy.save({name: np.array(leaf, np.float32, order="C") for name, leaf in flat.items()})
    write_verified(path, data)
    return hashlib.sha256(data).hexdigest()


def load(path: str | Path) -> stylegan2.StyleGAN2Generator:
    """Reads a generator.

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
    if str(path) == BUILT_IN:
        from jaxedit.avatars.models import load_generator

        return load_generator()
    config, params = _read(Path(path), "generator")
    return stylegan2.StyleGAN2Generator(jax.tree.map(jnp.asarray, params), config, fingerprint(params))


def load_discriminator(path: str | Path) -> stylegan2_discriminator.StyleGAN2Discriminator:
    """Reads a discriminator; arguments and errors as for `load`."""
    config, params = _read(Path(path), "discriminator")
    return stylegan2_discriminator.StyleGAN2Discriminator(jax.tree.map(jnp.asarray, params), config)


def read_description(path: str | Path) -> tuple[str, Any, dict[str, Any]]:
    """Reads what a checkpoint holds, without its parameters.

    Args:
        path: A checkpoint directory.

    Returns:
        The network ("generator" or "discriminator"), its config, and the metadata.

    Raises:
        FileNotFoundError: There is no checkpoint at `path`.
        CheckpointError: Its description is damaged.
    """
    return _read_description(Path(path))[:3]


def _read_description(path: Path) -> tuple[str, Any, dict[str, Any], str | None]:
    """And the checksum of the parameters, if there is one."""
    description, metadata = _read_json(path, "config.json"), _read_json(path, "metadata.json")
    network, family = description.get("network"), description.get("family")
    if family != "stylegan2" or not isinstance(network, str) or network not in _NETWORKS:
        named = f"family {printable(repr(family), 100)}, network {printable(repr(network), 100)}"
        raise CheckpointError(f"{path}: config.json names no known network ({named})")
    try:
        config = config_from_dict(_NETWORKS[network][0], description.get("config"))
    except ValueError as error:
        raise CheckpointError(f"{path}: config.json: {error}") from None
    return network, config, metadata, description.get("sha256")


def _read(path: Path, wanted: str) -> tuple[Any, dict[str, Any]]:
    """The config, and the parameters as arrays of NumPy."""
    network, config, _, digest = _read_description(path)
    if network != wanted:
        raise CheckpointError(f"{path}: holds a {network}, not a {wanted}")
    target = abstract_params(network, config)
    try:
        stored = read_arrays(path / _PARAMS)
        problems = mismatches(target, stored) or _too_large(target)
        if not problems:
            params = {name: np.asarray(array, np.float32) for name, array in stored.items()}
            if digest is not None and digest != file_digest(path / _PARAMS):
                raise ValueError("they don't have the checksum that config.json says: the file is damaged")
            return config, flax.traverse_util.unflatten_dict(params, sep="/")
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: the parameters can't be read: {reason(error)}") from error
    raise CheckpointError(f"{path}: the parameters do not fit config.json: {_summary(problems)}")


def _too_large(tree: Any) -> list[str]:
    """Storage may claim arrays that it does not hold, so shapes that agree with config.json protect nobody's memory."""
    numbers = sum(math.prod(shape) for shape in _shapes(tree).values())
    return [f"{numbers:,} numbers, and at most {MAX_NUMBERS:,} are read"] if numbers > MAX_NUMBERS else []


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
