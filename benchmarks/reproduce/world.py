"""The built-in world as the reproductions see it: labelled samples, boundaries in every space, and what an edit did."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import avatars
from jaxedit.directions.svm import Boundary, fit_boundary
from jaxedit.generators.stylegan2 import StyleGAN2Generator, join_styles
from jaxedit.training.gan_terms import mixed_w

SPACES: tuple[str, ...] = ("z", "w", "w_plus", "s")
BATCH = 50


class World(NamedTuple):
    """The generator and what looks at its pictures. The judge labels nothing that directions are fitted to."""

    generator: StyleGAN2Generator
    classifier: Any
    judge: Any
    parser: Any
    embedding: Any


def load_world() -> World:
    """Reads the networks of the package."""
    return World(
        avatars.load_generator(),
        avatars.load_classifier(),
        avatars.load_judge(),
        avatars.load_parser(),
        avatars.load_embedding(),
    )


def batches(function: Callable[..., Any], shared: Any, *trees: Any, **static: Any) -> Any:
    """A function `(shared, *sample, **static)` of single samples over many, in batches, as NumPy arrays.

    It is compiled once if it is one of a module.
    """
    count = len(jax.tree.leaves(trees)[0])
    parts = []
    for start in range(0, count, BATCH):
        rows = np.minimum(np.arange(start, start + BATCH), count - 1)
        samples = jax.tree.map(lambda leaf, rows=rows: leaf[rows], trees)
        part = _batch(function, tuple(static.items()), shared, samples)
        parts.append(jax.tree.map(lambda leaf, start=start: np.asarray(leaf)[: count - start], part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@functools.partial(jax.jit, static_argnames=("function", "static"))
def _batch(function: Callable[..., Any], static: tuple[tuple[str, Any], ...], shared: Any, samples: Any) -> Any:
    return jax.vmap(functools.partial(function, shared, **dict(static)))(*samples)


def labelled_codes(world: World, *, count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Codes of random samples in every space, and the classifier's labels.

    W+ codes are mixed: two samples share the layers at a random place, as in the generator's training, since with all
    rows equal W+ would be W.

    Returns:
        Codes by space, and labels `[count, 12]` for those of Z, W and S, and for those of W+, as one array `[2, ...]`.
    """
    codes, labels = batches(_labelled, world, jax.random.split(jax.random.key(seed), count))
    return codes, np.moveaxis(labels, 1, 0)


def _labelled(world: World, key: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    generator = world.generator
    first, second, place = jax.random.split(key, 3)
    z = jax.random.normal(first, (generator.config.z_dim,))
    w, other = generator.map(z), generator.map(jax.random.normal(second, z.shape))
    num_ws = generator.config.num_ws
    mixed = mixed_w(w, other, jax.random.randint(place, (), 1, num_ws), num_ws=num_ws)
    styles = generator.styles(w)
    images = jnp.stack([generator.synthesize(s, noise="const") for s in (styles, generator.styles(mixed))])
    labels = jax.vmap(world.classifier.classify)(images) > 0
    return {"z": z, "w": w, "w_plus": mixed, "s": join_styles(styles)}, labels


def boundaries(codes: dict[str, np.ndarray], labels: np.ndarray, *, seed: int) -> dict[str, list[Boundary]]:
    """A linear boundary per space and attribute; L1 in S."""
    return {
        space: [
            fit_boundary(
                jax.random.key(seed),
                codes[space],
                labels[int(space == "w_plus")][:, index],
                name=name,
                space=space,
            )
            for index, name in enumerate(avatars.ATTRIBUTES)
        ]
        for space in SPACES
    }


def without(world: World, attribute: int, *, count: int, seed: int) -> np.ndarray:
    """z of random samples that the classifier sees without an attribute."""
    found: list[np.ndarray] = []
    for step in itertools.count():
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), step), 4 * BATCH)
        z, logits = batches(_classified, world, keys)
        found.append(z[logits[:, attribute] <= 0])
        if sum(map(len, found)) >= count:
            break
    return np.concatenate(found)[:count]


def _classified(world: World, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    generator = world.generator
    z = jax.random.normal(key, (generator.config.z_dim,))
    return z, world.classifier.classify(generator.synthesize(generator.styles(generator.map(z)), noise="const"))
