"""What `train-surrogate` and `manipulate` have in common: a generator, what looks at its pictures, and its latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxedit import batch, checkpoints, faces
from jaxedit.cli.options import Manipulate, TrainSurrogate
from jaxedit.conditions import POINTS, Conditions
from jaxedit.faces import FaceNetworks
from jaxedit.generators.base import Generator, space_index
from jaxedit.networks.auxiliary_mapping import auxiliary
from jaxedit.spaces import edited

CAPTIONER = "captioner"
_PIXELS = 1 << 19  # of a batch of pictures


class Seen(NamedTuple):
    """A pytree of what a program reads.

    Attributes:
        generator: The generator.
        condition: What its `advance` is told in the first space.
        conditions: What looks at its pictures.
        mapping: Parameters of the auxiliary mapping; None while there is none.
    """

    generator: Generator
    condition: dict[str, Any]
    conditions: Conditions
    mapping: Any = None


def latent_of(seen: Seen, z: jax.Array, *, space: str) -> jax.Array:
    """Takes z to the space of a surrogate."""
    generator = seen.generator
    for index in range(space_index(generator, space)):
        z = generator.advance(generator.spaces[index].name, z, **({} if index else seen.condition))
    return z


def picture_of(seen: Seen, latent: jax.Array, *, space: str) -> jax.Array:
    """Draws a latent of the space of a surrogate."""
    generator = seen.generator
    condition = {} if space_index(generator, space) else seen.condition
    return generator.render(edited(generator, latent, start=space, **condition))


def condition_of(seen: Seen, latent: jax.Array, *, space: str) -> jax.Array:
    """C(G(latent))."""
    return seen.conditions(picture_of(seen, latent, space=space))


def field_of(seen: Seen, latent: jax.Array, c: jax.Array) -> jax.Array:
    """F(latent, c)."""
    return auxiliary(seen.mapping, latent, c)


def pictures_at_once(generator: Generator, count: int) -> int:
    """The size of batches of so many pictures."""
    return batch.choose_batch_size(count, max(1, min(64, _PIXELS // generator.config.resolution**2)))


def given_conditions(
    command: TrainSurrogate | Manipulate, kinds: tuple[str, ...], names: tuple[str, ...], folder: Path
) -> Conditions:
    """Reads the networks that look at a command's pictures.

    Args:
        command: Its checkpoint, faces and classifier.
        kinds: Of conditions.
        names: Of the attributes of --classifier.
        folder: Where the network of captions is.

    Returns:
        The conditions, with scores as they are.

    Raises:
        ValueError: Networks that are needed and not given, or of another kind; one line.
        OSError: A file can't be read.
    """
    from jaxedit import avatars

    built_in = str(command.checkpoint) == checkpoints.BUILT_IN
    of_faces = None if command.faces is None else faces.load(command.faces)
    networks: dict[str, Any] = {}
    for kind in kinds:
        if kind == "attributes" and command.classifier is not None:
            networks[kind] = checkpoints.load_network(command.classifier)
        elif kind == "captions":
            networks[kind] = checkpoints.load_network(folder / CAPTIONER)
        elif of_faces is not None:
            networks[kind] = of_faces
        elif built_in:
            networks[kind] = avatars.load_classifier() if kind == "attributes" else avatars.load_keypoints()
        else:
            raise ValueError(f"--condition {kind} needs --faces, whose networks look at pictures, for this generator")
    if "attributes" not in networks:
        names = ()
    elif command.classifier is None:
        names = faces.ATTRIBUTES if isinstance(networks["attributes"], FaceNetworks) else avatars.ATTRIBUTES
    dimensions = networks["captions"].config.dimensions if "captions" in networks else 0
    conditions = Conditions(
        networks, np.zeros(len(names), np.float32), np.ones(len(names), np.float32), tuple(names), dimensions
    )
    _check(conditions)
    return conditions


def _check(conditions: Conditions) -> None:
    """Networks give what they should: a name for each attribute, 68 keypoints, one embedding."""
    image = jax.ShapeDtypeStruct((64, 64, 3), np.float32)
    if "attributes" in conditions.networks:
        found = jax.eval_shape(conditions.scores, image).shape
        if found != (len(conditions.names),):
            raise ValueError(f"--classifier gives scores of shape {found} for {len(conditions.names)} --attributes")
    if "keypoints" in conditions.networks and not isinstance(conditions.networks["keypoints"], FaceNetworks):
        assert conditions.networks["keypoints"].config.points == POINTS
