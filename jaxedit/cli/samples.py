"""What `generate` saves beside its pictures, for `fit-direction`: latents, and what the built-in classifier says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import safetensors.numpy

from jaxedit import batch, images
from jaxedit.atomic import write_verified
from jaxedit.cli.codes import ChosenLatents
from jaxedit.generators.base import Generator
from jaxedit.networks.attributes import AttributeClassifier

MAX_SAMPLES = 100_000
SCORES = "scores.csv"
_BATCH = 64


def save_latents(output: Path, codes: ChosenLatents, generator: Generator, of_class: Any, **condition: Any) -> None:
    """Writes the latents of every picture in the first two spaces whose latents are arrays, under the pictures' names.

    Args:
        output: The folder; it gets `z.safetensors` and `w.safetensors`, as the spaces are called.
        codes: Those of the first space.
        generator: Takes them to the second.
        of_class: `{"c": one-hot class}` of a conditional generator, or nothing.
        **condition: As for `generator.advance`; the latents of the second space are as drawn.

    Raises:
        OSError: They can't be written.
    """
    z = [codes.latent(index) for index in range(len(codes.names))]
    size = batch.choose_batch_size(len(z), _BATCH)
    first, *others = generator.spaces
    latents = {first.name: z}
    if others and others[0].form != "parts" and not others[0].field:
        mapped = batch.map_samples(_advanced, (generator, of_class), z, batch_size=size, options=condition)
        latents[others[0].name] = list(mapped)
    for space, found in latents.items():
        named = dict(zip(codes.names, found, strict=True))
        write_verified(output / f"{space}.safetensors", safetensors.numpy.save(named))


def save_scores(output: Path, names: Sequence[str]) -> None:
    """Writes the logits of the built-in classifier for every picture, a line each.

    Args:
        output: The folder of the pictures; it gets `SCORES`.
        names: Of the pictures, without the ending.

    Raises:
        OSError: A picture can't be read, or the scores not be written.
    """
    from jaxedit import avatars

    pictures = (images.read_png(output / f"{name}.png") for name in names)
    size = batch.choose_batch_size(len(names), _BATCH)
    logits = batch.map_samples(_classify, avatars.load_classifier(), pictures, batch_size=size)
    lines = [",".join(["name", *avatars.ATTRIBUTES])]
    lines += [",".join([name, *(f"{value:.6g}" for value in row)]) for name, row in zip(names, logits, strict=True)]
    write_verified(output / SCORES, ("\n".join(lines) + "\n").encode())


def _advanced(shared: tuple[Generator, Any], latent: jax.Array, **condition: Any) -> jax.Array:
    generator, of_class = shared
    return generator.advance(generator.spaces[0].name, latent, **condition, **of_class)


def _classify(classifier: AttributeClassifier, image: jax.Array) -> jax.Array:
    return classifier(images.from_uint8(image))
