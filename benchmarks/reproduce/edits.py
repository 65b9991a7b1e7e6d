"""Edits as straight paths of codes, what they did to the pictures, and their strength for a wanted change."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.pictures import averaged_down
from benchmarks.reproduce.world import World, batches, without
from jaxedit import images, metrics, regions
from jaxedit.generators.stylegan2 import Styles, split_styles

_WEAKEST = 0.25  # the first strength tried
_CLOSE = 0.005  # of the wanted change
_ROUNDS = 6
_SIDE = 128  # of a picture


class Samples(NamedTuple):
    """Images to edit and where they may change: `[samples, ...]` each."""

    z: np.ndarray
    image: np.ndarray
    mask: np.ndarray


class Path(NamedTuple):
    """What a method does to codes: `start + strength * displacement`, `[samples, ...]` each.

    Attributes:
        space: Of the codes.
        start: Of the images.
        displacement: At strength 1.
        most: The largest strength tried.
    """

    space: str
    start: np.ndarray
    displacement: np.ndarray
    most: float = 8.0


class Outcome(NamedTuple):
    """What an edit did to each image.

    Attributes:
        outside: Mean squared change outside the mask, of images in [-1, 1].
        ssim: Of the whole image.
        identity: Cosine similarity of identity embeddings.
        ssim_outside: Of the image whose masked region is as before the edit.
        identity_outside: The same.
        change: Change of the probability of each attribute, as the judge sees it.
        picture: 8 bit, at most 128 px.
    """

    outside: np.ndarray
    ssim: np.ndarray
    identity: np.ndarray
    ssim_outside: np.ndarray
    identity_outside: np.ndarray
    change: np.ndarray
    picture: np.ndarray


def samples_of(world: World, attribute: str, *, count: int, seed: int) -> Samples:
    """Images without an attribute, and its region, dilated."""
    z = without(world, world.attributes.index(attribute), count=count, seed=seed)
    return Samples(z, *batches(world.batch, _sample, world, z, attribute=attribute))


def _sample(world: World, z: jax.Array, *, attribute: str) -> tuple[jax.Array, jax.Array]:
    image = world.generator.synthesize(styles_of(world.generator, z, space="z"), noise="const")
    return image, regions.dilate(world.mask(image, attribute))


def styles_of(generator: Any, code: jax.Array, *, space: str) -> Styles:
    """The style vectors of a code of any space."""
    if space == "s":
        return split_styles(code, config=generator.config)
    return generator.styles(generator.map(code) if space == "z" else code)


def measured(world: World, samples: Samples, path: Path, strength: float = 1.0) -> Outcome:
    """What a path did to the images at one strength."""
    return _over(world, _measured, samples, path, strength)


def changed(world: World, samples: Samples, path: Path, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Of `measured`, only the change of the attributes and the mean squared change outside the mask."""
    return _over(world, _changed, samples, path, strength)


def thumbnail(image: jax.Array) -> jax.Array:
    """A picture for sheets: 8 bit, averaged down to 128 px where the image is larger."""
    return images.to_uint8(averaged_down(image, side=_SIDE))


def _over(world: World, function: Any, samples: Samples, path: Path, strength: float) -> Any:
    shared = (world, jnp.float32(strength))
    trees = samples.image, samples.mask, path.start, path.displacement
    return batches(world.batch, function, shared, *trees, space=path.space)


def _edited(shared: tuple[World, jax.Array], start: Any, displacement: Any, space: str) -> jax.Array:
    world, strength = shared
    code = start + strength * displacement
    return world.generator.synthesize(styles_of(world.generator, code, space=space), noise="const")


def _changed(
    shared: tuple[World, jax.Array], image: jax.Array, mask: jax.Array, start: Any, along: Any, *, space: str
) -> tuple[jax.Array, jax.Array]:
    edited, judge = _edited(shared, start, along, space), shared[0].judge
    return metrics.attribute_change(judge(image), judge(edited)), metrics.masked_mse(image, edited, ~mask)


def _measured(
    shared: tuple[World, jax.Array], image: jax.Array, mask: jax.Array, start: Any, along: Any, *, space: str
) -> Outcome:
    edited = _edited(shared, start, along, space)
    kept = jnp.where(mask[..., None], image, edited)
    embed, judged = shared[0].embed, shared[0].judge
    found = (
        metrics.masked_mse(image, edited, ~mask),
        metrics.ssim(image, edited),
        metrics.identity_score(embed(image), embed(edited)),
        metrics.ssim(image, kept),
        metrics.identity_score(embed(image), embed(kept)),
        metrics.attribute_change(judged(image), judged(edited)),
        thumbnail(edited),
    )
    return Outcome(*found)  # pyright: ignore[reportArgumentType]


def strength_for(world: World, samples: Samples, path: Path, *, attribute: int, goal: float) -> float:
    """The least strength at which the mean change of an attribute is as wanted, or else that with the largest change.

    Of doublings; between two of them by false position and bisection in turns.
    """
    tried = {0.0: 0.0}

    def change(strength: float) -> float:
        if strength not in tried:
            tried[strength] = float(changed(world, samples, path, strength)[0][:, attribute].mean())
        return tried[strength]

    if goal <= 0:
        raise ValueError(f"the wanted change is {goal:.3f}; above 0 would be right")
    below, above = 0.0, _WEAKEST
    while change(above) < goal:
        if 2 * above > path.most:
            return max(tried, key=tried.__getitem__)
        below, above = above, 2 * above
    for turn in range(_ROUNDS):
        share = 0.5 if turn % 2 else (goal - change(below)) / (change(above) - change(below))
        guess = below + share * (above - below)
        if abs(change(guess) - goal) < _CLOSE:
            break
        below, above = (guess, above) if change(guess) < goal else (below, guess)
    return min(tried, key=lambda strength: abs(tried[strength] - goal))
