"""The built-in world as the reproductions see it: labelled samples, boundaries in every space, and what an edit did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import avatars, metrics, regions
from jaxedit.directions.svm import Boundary, fit_boundary
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.spaces import Space, join_styles
from jaxedit.staged import Codes

SPACES: tuple[Space, ...] = ("z", "w", "w_plus", "s")
BATCH = 50


class World(NamedTuple):
    """The generator and what looks at its pictures. The judge labels nothing that is fitted."""

    generator: StyleGAN2Generator
    classifier: Any
    judge: Any
    parser: Any
    embedding: Any


class Outcome(NamedTuple):
    """What an edit did to one image.

    Attributes:
        outside: Mean squared change outside the mask, of images in [-1, 1].
        inside: The same inside.
        ssim: Of the whole image.
        identity: Cosine similarity of identity embeddings.
        change: Change of the probability of each attribute, as the judge sees it.
    """

    outside: Any
    inside: Any
    ssim: Any
    identity: Any
    change: Any


def load_world() -> World:
    """Reads the networks of the package."""
    return World(
        avatars.load_generator(),
        avatars.load_classifier(),
        avatars.load_judge(),
        avatars.load_parser(),
        avatars.load_embedding(),
    )


def batches(function: Callable[..., Any], *trees: Any, size: int = BATCH) -> Any:
    """A function of single samples over many, in batches of one size, as NumPy arrays."""
    compiled = jax.jit(jax.vmap(function))
    count = len(jax.tree.leaves(trees)[0])
    parts = []
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        part = compiled(*jax.tree.map(lambda leaf, rows=rows: leaf[rows], trees))
        parts.append(jax.tree.map(lambda leaf, start=start: np.asarray(leaf)[: count - start], part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def labelled_codes(world: World, *, count: int, seed: int) -> tuple[dict[Space, np.ndarray], np.ndarray]:
    """Codes of random samples in every space, and the classifier's labels.

    W+ codes are mixed: two samples share the layers at a random place, as in the generator's training, since with all
    rows equal W+ would be W.

    Returns:
        Codes by space, and labels `[count, 12]` for those of Z, W and S, and for those of W+, as one array `[2, ...]`.
    """
    generator = world.generator

    def one(key: jax.Array) -> Any:
        first, second, place = jax.random.split(key, 3)
        z = jax.random.normal(first, (generator.config.z_dim,))
        w, other = generator.map(z), generator.map(jax.random.normal(second, z.shape))
        rows = jnp.arange(generator.config.num_ws) < jax.random.randint(place, (), 1, generator.config.num_ws)
        mixed = jnp.where(rows[:, None], w[None], other[None])
        styles = generator.styles(w)
        images = jnp.stack([generator.synthesize(s, noise="const") for s in (styles, generator.styles(mixed))])
        labels = jax.vmap(world.classifier.classify)(images) > 0
        return {"z": z, "w": w, "w_plus": mixed, "s": join_styles(styles)}, labels

    codes, labels = batches(one, jax.random.split(jax.random.key(seed), count))
    return codes, np.moveaxis(labels, 1, 0)


def boundaries(codes: dict[Space, np.ndarray], labels: np.ndarray, *, seed: int) -> dict[Space, list[Boundary]]:
    """A linear boundary per space and attribute; L1 in S."""
    return {
        space: [
            fit_boundary(
                jax.random.key(seed),
                codes[space],
                labels[int(space == "w_plus")][:, index],
                name=name,
                space=space,
                penalty="l1" if space == "s" else "l2",
            )
            for index, name in enumerate(avatars.ATTRIBUTES)
        ]
        for space in SPACES
    }


def mask_for(world: World, image: jax.Array, attribute: str) -> jax.Array:
    """Where an image may change for an attribute: Table I, from the parser, dilated."""
    parsing = jnp.argmax(world.parser.segment(image), axis=-1)
    return regions.dilate(regions.mask_of(parsing, regions.classes_of(attribute)))


def outcome(world: World, image: jax.Array, edited: jax.Array, mask: jax.Array) -> Outcome:
    """Measures an edit."""
    embed, judged = world.embedding.embed, world.judge.classify
    return Outcome(
        metrics.masked_mse(image, edited, ~mask),
        metrics.masked_mse(image, edited, mask),
        metrics.ssim(image, edited),
        metrics.identity_score(embed(image), embed(edited)),
        metrics.attribute_change(judged(image), judged(edited)),
    )


def length(codes: Codes | jax.Array) -> jax.Array:
    """Norm over all numbers of a code."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(codes)))


def without(world: World, attribute: int, *, count: int, seed: int) -> np.ndarray:
    """z of random samples that the classifier sees without an attribute."""
    generator = world.generator

    def has(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        z = jax.random.normal(key, (generator.config.z_dim,))
        image = generator.synthesize(generator.styles(generator.map(z)), noise="const")
        return z, world.classifier.classify(image)[attribute] > 0

    found: list[np.ndarray] = []
    for step in _forever():
        z, positive = batches(has, jax.random.split(jax.random.fold_in(jax.random.key(seed), step), 4 * BATCH))
        found.append(z[~positive])
        if sum(map(len, found)) >= count:
            break
    return np.concatenate(found)[:count]


def _forever() -> Iterator[int]:
    step = 0
    while True:
        yield step
        step += 1
