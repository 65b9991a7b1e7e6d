"""What `generate` saves beside its pictures, for `fit-direction`: latents, and what the built-in classifier says."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy

from jaxedit import images
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
    map_batch = jax.jit(jax.vmap(functools.partial(_map, **truncation), (None, 0, None)))
    z = np.stack([codes.latent(index) for index in range(len(codes.names))])
    parts = [np.asarray(map_batch(generator, part, label)) for part in _batches(z)]
    w = np.concatenate(parts)[: len(z)]
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

    classify = jax.jit(jax.vmap(_classify, (None, 0)))
    classifier = avatars.load_classifier()
    pictures = np.stack([images.read_png(output / f"{name}.png") for name in names])
    logits = np.concatenate([np.asarray(classify(classifier, part)) for part in _batches(pictures)])
    lines = [",".join(["name", *avatars.ATTRIBUTES])]
    lines += [",".join([name, *(f"{value:.6g}" for value in row)]) for name, row in zip(names, logits, strict=False)]
    write_verified(output / SCORES, ("\n".join(lines) + "\n").encode())


def _map(generator: StyleGAN2Generator, z: jax.Array, label: Any, **truncation: Any) -> jax.Array:
    return generator.map(z, label, **truncation)


def _classify(classifier: AttributeClassifier, image: jax.Array) -> jax.Array:
    return classifier.classify(images.from_uint8(image))


def _batches(array: np.ndarray) -> list[np.ndarray]:
    """Parts of one size, so that one program does for all; the last one is filled up with zeros."""
    count = -(-len(array) // _BATCH)
    filled = np.concatenate([array, np.zeros((count * _BATCH - len(array), *array.shape[1:]), array.dtype)])
    return np.split(filled, count)
