"""How local the edits of a direction are at equal distances from the originals: what LELSD's Fig. 4 compares."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.reproduce.edits import thumbnail
from benchmarks.reproduce.world import batches
from jaxedit import metrics, regions, segmenters
from jaxedit.directions import local
from jaxedit.faces import FaceNetworks
from jaxedit.generators.base import Generator
from jaxedit.methods import lelsd
from jaxedit.networks.attributes import AttributeClassifier
from jaxedit.networks.lpips import Lpips
from jaxedit.segmenters import Segmenter
from jaxedit.spaces import Direction, edited

SEEN = 256  # px of the images that distances are measured on, as in the released code
PSI = 0.7


class Judges(NamedTuple):
    """What draws and what judges.

    Attributes:
        generator: Of the pictures.
        segmenter: Says where parts are, before and after.
        perceptual: LPIPS with AlexNet.
        attributes: Tells the attributes of a picture.
    """

    generator: Generator
    segmenter: Segmenter
    perceptual: Lpips
    attributes: AttributeClassifier | FaceNetworks


class Curve(NamedTuple):
    """What edits of growing strengths do to samples: `[samples, signs, strengths]` each.

    Attributes:
        distance: LPIPS from the original.
        share: Of the squared change of the pixels, inside the part before or after, grown by 5 % of the image.
        score: Localisation score of the feature maps (Eq. 2).
        released: The released code's metric.
    """

    distance: np.ndarray
    share: np.ndarray
    score: np.ndarray
    released: np.ndarray


def starts(judges: Judges, z: np.ndarray, *, batch: int) -> np.ndarray:
    """The latents of samples in the space that W+ directions are added in, truncated."""
    return batches(batch, _start, judges.generator, z)


def _start(generator: Generator, z: jax.Array) -> jax.Array:
    return local.latent_in(generator, z, space="w_plus", truncation_psi=PSI)


def curve(
    judges: Judges,
    latents: np.ndarray,
    direction: Direction,
    *,
    part: str,
    parts: tuple[str, ...],
    strengths: np.ndarray,
    batch: int,
) -> Curve:
    """Measures a direction at strengths of both signs.

    Args:
        judges: What draws and judges.
        latents: Of the samples, in W+.
        direction: Of any space from W+ on.
        part: That it shall change, one of
        parts: All that are measured in the run, which share programs.
        strengths: Growing, positive.
        batch: Samples at a time.
    """
    signed = np.stack([strengths, -strengths]).astype(np.float32)
    shared = judges, jnp.asarray(direction.vector), jnp.asarray(signed), jnp.int32(parts.index(part))
    return batches(batch, _curve, shared, latents, parts=parts, space=direction.space, layers=direction.layers)


def moved(
    generator: Generator,
    latent: jax.Array,
    vector: jax.Array,
    strength: jax.Array,
    *,
    space: str,
    layers: tuple[int, ...] | None,
) -> Any:
    """A latent of W+ after an edit, in the last space."""
    return edited(generator, latent, [(Direction("", space, vector, layers), strength)], start="w_plus")


def seen(image: jax.Array) -> jax.Array:
    """An image as LPIPS sees it."""
    return jax.image.resize(image, (SEEN, SEEN, 3), "linear", antialias=False)


def _curve(
    shared: Any, latent: jax.Array, *, parts: tuple[str, ...], space: str, layers: tuple[int, ...] | None
) -> Curve:
    (generator, segmenter, perceptual, _), vector, strengths, part = shared

    def draw(strength: jax.Array) -> tuple[jax.Array, list[jax.Array], jax.Array]:
        last = generator.spaces[-1].name
        styles = moved(generator, latent, vector, strength, space=space, layers=layers)
        image, maps = local.feature_maps(generator, styles, space=last)
        return image, maps, segmenters.part_masks(segmenter, image, parts=parts)[part]

    image, maps, mask = draw(jnp.float32(0))

    def measured(strength: jax.Array) -> Curve:
        other, other_maps, other_mask = draw(strength)
        masks = mask.astype(jnp.float32), other_mask.astype(jnp.float32)
        distances = perceptual.distance_map(seen(image), seen(other))
        found = (
            jnp.mean(distances),
            metrics.share_inside(image, other, regions.dilate(mask | other_mask)),
            lelsd.localization_score(maps, other_maps, *masks, config=lelsd.PAPER),
            metrics.localization_lpips(distances, seen(masks[0][..., None] * jnp.ones(3))[..., 0]),
        )
        return Curve(*found)  # pyright: ignore[reportArgumentType]

    flat = jax.lax.map(measured, strengths.reshape(-1))
    return jax.tree.map(lambda x: x.reshape(strengths.shape), flat)


def pictures(
    generator: Generator, latents: np.ndarray, direction: Direction, strengths: np.ndarray, *, batch: int
) -> np.ndarray:
    """Thumbnails, each of a latent at its own strength."""
    shared = generator, jnp.asarray(direction.vector)
    given = np.asarray(strengths, np.float32)
    return batches(batch, _picture, shared, latents, given, space=direction.space, layers=direction.layers)


def _picture(
    shared: Any, latent: jax.Array, strength: jax.Array, *, space: str, layers: tuple[int, ...] | None
) -> jax.Array:
    generator, vector = shared
    return thumbnail(generator.render(moved(generator, latent, vector, strength, space=space, layers=layers)))


def at_distance(found: Curve, strengths: np.ndarray, target: float) -> dict[str, np.ndarray]:
    """What edits do at an LPIPS distance: between the strengths before and after it is first reached, by interpolation.

    Returns:
        Name -> `[samples, signs]`; NaN where the largest strength does not reach it.
    """
    far = found.distance >= target
    after = np.where(far.any(axis=-1), far.argmax(axis=-1), -1)[..., None]
    reached, before = after[..., 0] >= 0, np.maximum(after - 1, 0)

    def values(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = (np.take_along_axis(x, index, axis=-1)[..., 0] for index in (before, after))
        return low, high

    low, high = values(found.distance)
    first = after[..., 0] == 0
    place = np.where(first, 1, (target - low) / np.where(high > low, high - low, 1))
    result = {}
    for name in ("share", "score", "released"):
        low, high = values(getattr(found, name))
        result[name] = np.where(reached, low + place * (high - low), np.nan)
    low, high = values(np.broadcast_to(strengths, found.distance.shape))
    at_first = high * target / np.maximum(found.distance[..., 0], 1e-12)
    result["strength"] = np.where(reached, np.where(first, at_first, low + place * (high - low)), np.nan)
    return result
