"""Drawn latents and what a network says of their pictures, for `fit-direction --samples`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import batch, checkpoints, faces, progress
from jaxedit.cli.options import FitDirection
from jaxedit.generators.base import Generator, sample_z
from jaxedit.spaces import edited
from jaxedit.suggestions import choose

_BATCH = 8
_FEWEST = 20


def judged_samples(command: FitDirection, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Latents in Z of the seeds 0, 1, ..., and labels of their pictures.

    Args:
        command: The options; `samples` and `attribute` are given.
        generator: The generator.

    Returns:
        `[samples, z_dim]` float32; and 0 or 1 for each (log odds above 0, or a measure above its median), or with
        --fraction the scores as they are.

    Raises:
        ValueError: Options that do not fit, or pictures of which nothing finite can be said.
    """
    assert command.samples is not None
    if command.latents is not None or command.labels is not None:
        raise ValueError("--samples takes the place of latents and --labels")
    if command.samples < _FEWEST or command.attribute is None:
        raise ValueError(f"--samples takes {_FEWEST} or more, and --attribute with it")
    score, network, index, signed = _judge(command, command.attribute)
    latents = np.stack([np.asarray(sample_z(seed, generator.config.z_dim)) for seed in range(command.samples)])
    size, options = batch.choose_batch_size(len(latents), _BATCH), {"score": score, "index": index}
    found = batch.map_samples(_scored, (generator, network), latents, batch_size=size, options=options)
    with progress.bar(found, total=len(latents), unit="picture", first="compiling") as counted:
        scores = np.stack([np.asarray(one) for one in counted])
    if not np.isfinite(scores).all():
        raise ValueError(
            f"--attribute {command.attribute}: {np.sum(~np.isfinite(scores))} pictures have no finite score"
        )
    if command.fraction is not None:
        return latents, scores
    return latents, (scores > (0 if signed else np.median(scores))).astype(np.int64)


def _judge(command: FitDirection, attribute: str) -> tuple[Callable[..., Any], Any, int, bool]:
    """What scores all attributes of an image, with which network, which of them counts, and whether 0 divides it."""
    if command.faces is not None:
        name = choose(attribute, faces.ATTRIBUTES, kind="attribute")
        return _of_face, faces.load(command.faces), faces.ATTRIBUTES.index(name), name in faces.SIGNED
    if str(command.checkpoint) != checkpoints.BUILT_IN:
        raise ValueError("--samples needs --faces, whose networks look at the pictures, for this generator")
    from jaxedit import avatars

    index = avatars.ATTRIBUTES.index(choose(attribute, avatars.ATTRIBUTES, kind="attribute"))
    return _of_avatar, avatars.load_classifier(), index, True


def _of_face(networks: Any, image: jax.Array) -> jax.Array:
    return networks.attributes(image)


def _of_avatar(classifier: Any, image: jax.Array) -> jax.Array:
    return classifier(image)


def _scored(shared: Any, z: jax.Array, *, score: Callable[..., Any], index: int) -> jax.Array:
    generator, network = shared
    return score(network, generator.render(edited(generator, z))).astype(jnp.float32)[index]
