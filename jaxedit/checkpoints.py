"""Checkpoints: a directory with `config.json`, `metadata.json` and the parameters as an Orbax tree.

The only module that knows Orbax. Nothing in a checkpoint is ever executed, and a checkpoint that does not match its own
configuration in every name and shape is refused.
"""

from __future__ import annotations

import functools
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxedit.generators import stylegan2, stylegan2_discriminator
from jaxedit.generators.config import config_from_dict, config_to_dict

BUILT_IN = "avatars"
MAX_NUMBERS = 1 << 27  # config-f at 1024 px has 33 million

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
    unexpected = [f"unexpected {name} {shape}" for name, shape in found_shapes.items() if name not in expected_shapes]
    wrong = [
        f"{name} is {found_shapes[name]}, expected {shape}"
        for name, shape in expected_shapes.items()
        if name in found_shapes and found_shapes[name] != shape
    ]
    return missing + unexpected + wrong


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(str(key.key) for key in path): tuple(leaf.shape) for path, leaf in leaves}


def save(path: str | Path, *, network: str, params: Any, config: Any, metadata: Mapping[str, Any]) -> None:
    """Writes a checkpoint; it appears complete or not at all.

    Args:
        path: Directory to make; must not exist.
        network: "generator" or "discriminator".
        params: Nested dict of float32 arrays.
        config: `StyleGAN2Config` or `DiscriminatorConfig`.
        metadata: JSON values about the source; `"sha256"` becomes the generator's fingerprint.

    Raises:
        FileExistsError: `path` exists.
        CheckpointError: `params` do not fit `config`.
    """
    from orbax.checkpoint import v1 as ocp

    path = Path(path).absolute()
    if path.exists():
        raise FileExistsError(f"{path}: already exists; choose another destination or remove it first")
    target = abstract_params(network, config)
    if problems := mismatches(target, params) or _too_large(target):
        raise CheckpointError(f"{path}: the parameters do not fit the configuration: {_summary(problems)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
        partial = Path(temporary) / "checkpoint"
        partial.mkdir()
        _write_json(
            partial / "config.json", {"family": "stylegan2", "network": network, "config": config_to_dict(config)}
        )
        _write_json(partial / "metadata.json", dict(metadata))
        ocp.save(str(partial / "params"), jax.tree.map(np.asarray, params))
        os.rename(partial, path)  # fails if another process was faster


def load(path: str | Path) -> stylegan2.StyleGAN2Generator:
    """Reads a generator.

    Args:
        path: A directory written by `python -m weights_convert` or `save`; or "avatars" for the generator that comes
            with the package (a directory of that name is `./avatars`).

    Returns:
        The generator, its parameters on the default device, its fingerprint the SHA-256 of the source file.

    Raises:
        FileNotFoundError: There is no checkpoint at `path`.
        CheckpointError: It is damaged, or not a generator.
    """
    if str(path) == BUILT_IN:
        from jaxedit.avatars.models import load_generator

        return load_generator()
    config, params, metadata = _read(Path(path), "generator")
    return stylegan2.StyleGAN2Generator(params, config, str(metadata.get("sha256", "")))


def load_discriminator(path: str | Path) -> stylegan2_discriminator.StyleGAN2Discriminator:
    """Reads a discriminator; arguments and errors as for `load`."""
    config, params, _ = _read(Path(path), "discriminator")
    return stylegan2_discriminator.StyleGAN2Discriminator(params, config)


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
    path = Path(path)
    description, metadata = _read_json(path, "config.json"), _read_json(path, "metadata.json")
    network = description.get("network")
    if description.get("family") != "stylegan2" or not isinstance(network, str) or network not in _NETWORKS:
        raise CheckpointError(
            f"{path}: config.json names no known network (family {description.get('family')!r}, network {network!r})"
        )
    try:
        config = config_from_dict(_NETWORKS[network][0], description.get("config"))
    except ValueError as error:
        raise CheckpointError(f"{path}: config.json: {error}") from None
    return network, config, metadata


def _read(path: Path, wanted: str) -> tuple[Any, Any, dict[str, Any]]:
    from orbax.checkpoint import v1 as ocp

    path = path.absolute()  # Orbax wants it so
    network, config, metadata = read_description(path)
    if network != wanted:
        raise CheckpointError(f"{path}: holds a {network}, not a {wanted}")
    target = abstract_params(network, config)
    try:
        stored = ocp.metadata(str(path / "params")).metadata
        problems = mismatches(target, stored) or _too_large(target)
        if not problems:
            sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
            described = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), target
            )
            return config, ocp.load(str(path / "params"), described), metadata
    except Exception as error:  # Orbax and its storage layer raise many kinds
        raise CheckpointError(
            f"{path}: the parameters can't be read: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error
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
        raise FileNotFoundError(
            f"{path}: no checkpoint here ({name} is missing); make one with `python -m weights_convert SRC {path}`"
        )
    try:
        content = json.loads((path / name).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {name} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: {name} has to hold an object")
    return content


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
