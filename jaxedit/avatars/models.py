"""The networks of the avatars' world: files of float16 weights with their configuration, some of them in the package.

Nothing in a file is executed, and one that does not match its own configuration in every name and shape is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from jaxedit.arrays import read_arrays
from jaxedit.atomic import write_verified
from jaxedit.checkpoints import CheckpointError, fingerprint, mismatches
from jaxedit.generators import stylegan2
from jaxedit.generators.config import config_from_dict, config_to_dict
from jaxedit.messages import reason
from jaxedit.networks import attributes, bisenet, embedding, keypoints

_METADATA_KEY = "jaxedit_network"


class _Family(NamedTuple):
    config: Any
    init: Any
    network: Any


_FAMILIES = {
    "attributes": _Family(attributes.AttributesConfig, attributes.init, attributes.AttributeClassifier),
    "bisenet": _Family(bisenet.BiSeNetConfig, bisenet.init, bisenet.FaceParser),
    "embedding": _Family(embedding.EmbeddingConfig, embedding.init, embedding.IdentityEmbedding),
    "keypoints": _Family(keypoints.KeypointsConfig, keypoints.init, keypoints.KeypointDetector),
    "stylegan2": _Family(stylegan2.StyleGAN2Config, stylegan2.init, stylegan2.StyleGAN2Generator),
}


def _family_of(config: Any) -> str:
    return next(name for name, family in _FAMILIES.items() if type(config) is family.config)


def init_network(key: jax.Array, *, config: Any) -> Any:
    """Draws the parameters of an untrained network of any family.

    Args:
        key: A typed key.
        config: Of one of the families.

    Returns:
        The nested dict of its `init`, float32.
    """
    return _FAMILIES[_family_of(config)].init(key, config=config)


def write_network(path: Path, *, params: Any, config: Any) -> None:
    """Writes a network as a `.safetensors` file in float16; a file of that name is replaced.

    The file appears under its name only once it is complete.

    Args:
        path: The file.
        params: Nested dict of float32 arrays.
        config: Of one of the families.

    Raises:
        ValueError: A number that float16 cannot hold.
        OSError: The file cannot be written; nothing is left behind.
    """
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    with np.errstate(over="ignore"):
        arrays = {name: np.array(leaf, np.float16, order="C") for name, leaf in flat.items()}
    if wrong := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise ValueError(f"{path}: {wrong[0]} holds numbers that float16 cannot")
    description = {"family": _family_of(config), "config": config_to_dict(config)}
    data = safetensors.numpy.save(arrays, metadata={_METADATA_KEY: json.dumps(description)})
    write_verified(path, data)


def read_network(path: Path) -> Any:
    """Reads a network.

    Args:
        path: A file made by `write_network`.

    Returns:
        The network as a frozen pytree, such as `AttributeClassifier`, its parameters float32 on the default device.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: Damaged, or something else; one line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {})[_METADATA_KEY])
        family = _FAMILIES[description["family"]]
        config = config_from_dict(family.config, description["config"])
        stored = read_arrays(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable network ({reason(error)})") from error
    target = jax.eval_shape(functools.partial(family.init, config=config), jax.random.key(0))
    if problems := mismatches(target, stored):
        raise CheckpointError(f"{path}: the parameters do not fit the configuration: {problems[0]}")
    params = {name: jnp.asarray(np.asarray(array, np.float32)) for name, array in stored.items()}
    return family.network(flax.traverse_util.unflatten_dict(params, sep="/"), config)


def load_network(name: str) -> Any:
    """Reads a network that comes with the package.

    Args:
        name: "generator", "classifier", "judge", "parser", "keypoints" or "embedding".

    Returns:
        As from `read_network`.

    Raises:
        FileNotFoundError: There is none of that name.
    """
    with importlib.resources.as_file(_packaged(name)) as path:
        return read_network(path)


def _packaged(name: str) -> Traversable:
    return importlib.resources.files("jaxedit.avatars") / "weights" / f"{name}.safetensors"


def load_generator() -> stylegan2.StyleGAN2Generator:
    """The StyleGAN2 of avatars, 64 px, float32; `jaxedit.load("avatars")` is the same."""
    generator = load_network("generator")
    return dataclasses.replace(generator, fingerprint=fingerprint(generator.params))


def load_classifier() -> attributes.AttributeClassifier:
    """Reads the classifier of the twelve attributes, float32."""
    return load_network("classifier")


def load_judge() -> attributes.AttributeClassifier:
    """Reads another classifier of the same attributes, float32; no method sees it, so that it can judge results."""
    return load_network("judge")


def load_parser() -> bisenet.FaceParser:
    """Reads the face parser of the 19 classes, float32."""
    return load_network("parser")


def load_keypoints() -> keypoints.KeypointDetector:
    """Reads the network of the 68 keypoints, float32."""
    return load_network("keypoints")


def load_embedding() -> embedding.IdentityEmbedding:
    """Reads the identity network, float32."""
    return load_network("embedding")
