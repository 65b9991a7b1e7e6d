"""The built-in world as the reproductions see it: labelled samples, boundaries in every space, and what an edit did."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import avatars, batch
from jaxedit.directions.svm import Boundary, fit_boundary
from jaxedit.generators.stylegan2 import StyleGAN2Generator, join_styles
from jaxedit.training.gan_terms import mixed_w

SPACES: tuple[str, ...] = ("z", "w", "w_plus", "s")
BATCH = 48


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


def batches(function: Callable[..., Any], shared: Any, *trees: Any, **static: Hashable) -> Any:
    """A function `(shared, *sample, **static)` of single samples over many, as NumPy arrays."""
    count = len(jax.tree.leaves(trees)[0])
    samples = (jax.tree.map(lambda leaf: np.asarray(leaf[index]), trees) for index in range(count))  # noqa: B023
    size, options = batch.choose_batch_size(count, BATCH), {"function": function, **static}
    return batch.collected(batch.map_samples(_applied, shared, samples, batch_size=size, options=options))


def _applied(shared: Any, sample: tuple[Any, ...], *, function: Callable[..., Any], **static: Hashable) -> Any:
    return function(shared, *sample, **static)


def batches_of_keys(function: Callable[..., Any], shared: Any, key: jax.Array, count: int, **static: Hashable) -> Any:
    """A function `(shared, key, **static)` of so many keys that a key is split into, as NumPy arrays."""
    raw_keys = np.asarray(jax.random.key_data(jax.random.split(key, count)))  # samples lie on the host, keys do not
    return batches(_of_key, shared, raw_keys, of_key=function, **static)


def _of_key(shared: Any, raw_key: jax.Array, *, of_key: Callable[..., Any], **static: Hashable) -> Any:
    return of_key(shared, jax.random.wrap_key_data(raw_key), **static)


def labelled_codes(world: World, *, count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Codes of random samples in every space, and the classifier's labels.

    W+ codes are mixed: two samples share the layers at a random place, as in the generator's training, since with all
    rows equal W+ would be W.

    Returns:
        Codes by space, and labels `[count, 12]` for those of Z, W and S, and for those of W+, as one array `[2, ...]`.
    """
    codes, labels = batches_of_keys(_labelled, world, jax.random.key(seed), count)
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
        z, logits = batches_of_keys(_classified, world, jax.random.fold_in(jax.random.key(seed), step), 4 * BATCH)
        found.append(z[logits[:, attribute] <= 0])
        if sum(map(len, found)) >= count:
            break
    return np.concatenate(found)[:count]


def _classified(world: World, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    generator = world.generator
    z = jax.random.normal(key, (generator.config.z_dim,))
    return z, world.classifier.classify(generator.synthesize(generator.styles(generator.map(z)), noise="const"))
