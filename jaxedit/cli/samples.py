"""What `generate` saves beside its pictures, for `fit-direction`: latents, and what the built-in classifier says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import safetensors.numpy

from jaxedit import batch, images
from jaxedit.atomic import write_verified
from jaxedit.cli.codes import Codes
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.networks.attributes import AttributeClassifier

MAX_SAMPLES = 100_000
LATENTS, SCORES = ("z.safetensors", "w.safetensors"), "scores.csv"
_BATCH = 64


def save_latents(output: Path, codes: Codes, generator: StyleGAN2Generator, label: Any, **truncation: Any) -> None:
    """Writes z and w of every picture, under the pictures' names.

    Args:
        output: The folder; it gets `LATENTS`.
        codes: The z.
        generator: Maps them.
        label: One-hot class of a conditional generator.
        **truncation: As for `generator.map`; the w are as drawn.

    Raises:
        OSError: They can't be written.
    """
    z = [codes.latent(index) for index in range(len(codes.names))]
    size = batch.choose_batch_size(len(z), _BATCH)
    w = batch.map_samples(_map, (generator, label), z, batch_size=size, options=truncation)
    for name, latents in zip(LATENTS, (z, w), strict=True):
        named = dict(zip(codes.names, latents, strict=True))
        write_verified(output / name, safetensors.numpy.save(named))


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


def _map(shared: tuple[StyleGAN2Generator, Any], z: jax.Array, **truncation: Any) -> jax.Array:
    generator, label = shared
    return generator.map(z, label, **truncation)


def _classify(classifier: AttributeClassifier, image: jax.Array) -> jax.Array:
    return classifier.classify(images.from_uint8(image))
