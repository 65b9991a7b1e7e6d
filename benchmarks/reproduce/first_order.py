"""What LELSD is compared with: directions from derivatives of the image, by StyleSpace and by LowRankGAN.

Both see the image averaged to blocks, and the derivatives of the blocks to the styles, on a few samples.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.pictures import averaged_down
from benchmarks.reproduce.localization import Judges
from benchmarks.reproduce.world import batches
from jaxedit import segmenters
from jaxedit.spaces import Direction, edited, joined

_AT_ONCE = 8  # derivatives
_KEPT = (4, 16, 64)  # dimensions of the changes elsewhere that are left out, of which the best is taken


class Slopes(NamedTuple):
    """Derivatives of blocks of images.

    Attributes:
        inside: `[samples, parts, blocks]`, the share of a block that is of a part.
        styles: `[samples, blocks, colors, channels]`, to the joined styles.
        rows: `[samples, blocks, colors, rows * width]`, to W+.
    """

    inside: Any
    styles: Any
    rows: Any


def slopes(judges: Judges, latents: np.ndarray, *, parts: tuple[str, ...], side: int) -> Slopes:
    """The derivatives at samples of W+, of `side` x `side` blocks."""
    return batches(1, _slopes, judges[:2], latents, parts=parts, side=side)


def _slopes(shared: Any, latent: jax.Array, *, parts: tuple[str, ...], side: int) -> Slopes:
    generator, segmenter = shared

    def blocks(styles: Any) -> jax.Array:
        return averaged_down(generator.render(styles), side=side)

    styles, to_styles = jax.vjp(lambda code: edited(generator, code, start="w_plus"), latent)
    image = generator.render(styles)
    shape, pull = jax.vjp(blocks, styles)
    seeds = jnp.eye(shape.size).reshape(shape.size, *shape.shape)

    def row(seed: jax.Array) -> tuple[jax.Array, jax.Array]:
        (found,) = pull(seed)
        return joined(found), to_styles(found)[0].reshape(-1)

    of_styles, of_rows = jax.lax.map(row, seeds, batch_size=_AT_ONCE)
    masks = segmenters.part_masks(segmenter, image, parts=parts).astype(jnp.float32)
    inside = jax.vmap(lambda mask: averaged_down(mask[..., None], side=side)[..., 0].reshape(-1))(masks)
    colors = image.shape[-1]
    return Slopes(
        inside, of_styles.reshape(-1, colors, of_styles.shape[-1]), of_rows.reshape(-1, colors, of_rows.shape[-1])
    )


def channel_candidates(found: Slopes, deviation: np.ndarray, *, part: int, count: int) -> list[Direction]:
    """StyleSpace: the channels whose gradient maps lie most in the part, of the half that act most on the image.

    Unit 1 is a standard deviation of the channel.
    """
    maps = np.abs(found.styles).mean(axis=2) * deviation
    inside = (maps * found.inside[:, part, :, None]).sum(axis=1)
    whole = maps.sum(axis=1)
    share = np.where(whole > 0, inside / np.where(whole > 0, whole, 1), 0).mean(axis=0)
    strong = whole.mean(axis=0) >= np.median(whole.mean(axis=0))
    order = np.argsort(-np.where(strong, share, -1))[:count]
    width = len(deviation)
    return [
        Direction(f"channel {channel}", "s", deviation[channel] * np.eye(1, width, channel, dtype=np.float32)[0])
        for channel in order
    ]


def low_rank_candidates(found: Slopes, *, part: int, shape: tuple[int, ...]) -> list[Direction]:
    """LowRankGAN: what changes the part most, without the subspace that changes the rest most, in W+.

    The Jacobians are averaged over the samples, which makes one direction for all of them. LowRankGAN splits the
    products of Jacobians into a low-rank and a sparse part; here the first dimensions of their spectrum take its place.
    """
    rows = found.rows.reshape(len(found.rows), -1, found.rows.shape[-1]).astype(np.float64)
    colors = found.rows.shape[2]
    weight = np.repeat(found.inside[:, part], colors, axis=1)
    basis, _ = np.linalg.qr(rows.reshape(-1, rows.shape[-1]).T)  # the rest of W+ changes nothing
    rows = rows @ basis
    within = np.einsum("sb,sbi,sbj->ij", weight, rows, rows, optimize=True)
    outside = np.einsum("sb,sbi,sbj->ij", 1 - weight, rows, rows, optimize=True)
    _, vectors = np.linalg.eigh(outside)
    directions = []
    for kept in _KEPT:
        free = vectors[:, :-kept]
        _, best = np.linalg.eigh(free.T @ within @ free)
        vector = (basis @ free @ best[:, -1]).astype(np.float32).reshape(shape)
        directions.append(Direction(f"without {kept}", "w_plus", vector))
    return directions
