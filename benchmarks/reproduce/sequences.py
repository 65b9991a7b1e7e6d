"""Several edits of one picture: one after the other (LELSD, Fig. 5), and two of one part (Fig. 3)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.pictures import save_sheet
from benchmarks.reproduce.edits import thumbnail
from benchmarks.reproduce.localization import Judges
from benchmarks.reproduce.world import batches
from jaxedit import metrics, regions, segmenters
from jaxedit.faces import FaceNetworks
from jaxedit.spaces import Direction, edited

_TILES = 4
_STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of a palette, in parts of the strengths


def _shared(judges: Judges, directions: Sequence[Direction], strengths: Sequence[float]) -> Any:
    anonymous = tuple(dataclasses.replace(direction, name="", source="") for direction in directions)
    return judges, anonymous, jnp.asarray(strengths, jnp.float32)


def measured(
    judges: Judges,
    latents: np.ndarray,
    directions: Sequence[Direction],
    strengths: Sequence[float],
    *,
    parts: tuple[str, ...],
    batch: int,
) -> dict[str, Any]:
    """Each edit on top of those before it.

    Returns:
        order_matters: The largest difference of a picture, in [-1, 1], when the order is turned round.
        inside: For each part the share of what its edit changed inside it, grown.
        kept: For each part but the last, what its edit changed in it against what all later ones did to that.
        consistency: For each part the cosine of what its edit alone does to all attributes, in standard deviations of
            the samples, and the mean of that.
        pictures: `[samples, edits + 1]` thumbnails.
    """
    found = batches(batch, _in_turn, _shared(judges, directions, strengths), latents, parts=parts)
    effects = found["effect"] / found["attributes"].std(axis=0)
    means = effects.mean(axis=0)
    lengths = np.linalg.norm(effects, axis=-1) * np.linalg.norm(means, axis=-1)
    cosines = np.sum(effects * means, axis=-1) / np.maximum(lengths, 1e-12)
    return {
        "strengths": dict(zip(parts, map(float, strengths), strict=True)),
        "order_matters": float(found["order_matters"].max()),
        "inside": dict(zip(parts, found["inside"].mean(axis=0).tolist(), strict=True)),
        "kept": dict(zip(parts, found["kept"].mean(axis=0).tolist(), strict=False)),
        "consistency": dict(zip(parts, cosines.mean(axis=0).tolist(), strict=True)),
        "pictures": found["picture"],
    }


def _in_turn(shared: Any, latent: jax.Array, *, parts: tuple[str, ...]) -> dict[str, jax.Array]:
    judges, directions, strengths = shared
    edits = list(zip(directions, strengths, strict=True))

    def draw(chosen: list[Any]) -> jax.Array:
        return judges.generator.render(edited(judges.generator, latent, chosen, start="w_plus"))

    pictures = [draw(edits[:count]) for count in range(len(edits) + 1)]
    masks = [segmenters.part_masks(judges.segmenter, picture, parts=parts) for picture in pictures]
    inside, kept = [], []
    for index, (before, after) in enumerate(itertools.pairwise(pictures)):
        mask = regions.dilate(masks[index][index] | masks[index + 1][index])
        inside.append(metrics.share_inside(before, after, mask))
        made, undone = (metrics.masked_mse(after, other, mask) for other in (before, pictures[-1]))
        kept.append(made / (made + undone))
    attributes = _attributes(judges, pictures[0])
    return {
        "order_matters": jnp.max(jnp.abs(draw(edits[::-1]) - pictures[-1])),
        "inside": jnp.stack(inside),
        "kept": jnp.stack(kept[:-1]),
        "attributes": attributes,
        "effect": jnp.stack([_attributes(judges, draw([edit])) - attributes for edit in edits]),
        "picture": jnp.stack([thumbnail(picture) for picture in pictures]),
    }


def _attributes(judges: Judges, image: jax.Array) -> jax.Array:
    network = judges.attributes
    return network.attributes(image) if isinstance(network, FaceNetworks) else network(image)


def draw(path: Path, pictures: np.ndarray, parts: Sequence[str]) -> None:
    """The sheet of Fig. 5."""
    rows, columns = [f"sample {number}" for number in range(_TILES)], ["original", *(f"+ {part}" for part in parts)]
    save_sheet(path, itertools.chain.from_iterable(pictures[:_TILES]), rows=rows, columns=columns)


def likeness(
    judges: Judges, latents: np.ndarray, pair: Sequence[Direction], strengths: Sequence[float], *, batch: int
) -> float:
    """The correlation of what two directions change in a picture, the mean of its absolute value over the samples."""
    return float(np.abs(batches(batch, _likeness, _shared(judges, pair, strengths), latents)).mean())


def _likeness(shared: Any, latent: jax.Array) -> jax.Array:
    judges, directions, strengths = shared
    generator = judges.generator
    before = generator.render(edited(generator, latent, start="w_plus"))
    first, second = (
        generator.render(edited(generator, latent, [edit], start="w_plus")) - before
        for edit in zip(directions, strengths, strict=True)
    )
    return jnp.corrcoef(first.reshape(-1), second.reshape(-1))[0, 1]


def draw_palette(
    path: Path,
    judges: Judges,
    latents: np.ndarray,
    pair: Sequence[Direction],
    strengths: Sequence[float],
    *,
    batch: int,
) -> None:
    """The sheet of Fig. 3: one sample along both directions."""
    places = np.asarray(list(itertools.product(_STEPS, _STEPS)), np.float32)
    many = np.broadcast_to(latents[0], (len(places), *latents[0].shape))
    tiles = batches(batch, _placed, _shared(judges, pair, strengths), many, places)
    rows, columns = ([f"{name} {step:+g}" for step in _STEPS] for name in ("first", "second"))
    save_sheet(path, tiles, rows=rows, columns=columns)


def _placed(shared: Any, latent: jax.Array, place: jax.Array) -> jax.Array:
    judges, directions, strengths = shared
    edits = list(zip(directions, place * strengths, strict=True))
    return thumbnail(judges.generator.render(edited(judges.generator, latent, edits, start="w_plus")))
