"""StyleSpace (Wu et al., 2021): single style channels that control an attribute or act in one region."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from jaxedit.generators.stylegan2 import StyleGAN2Generator, split_styles
from jaxedit.generators.stylegan2_blocks import synthesize_block
from jaxedit.regions import mask_of
from jaxedit.spaces import Direction

_PRECISION = 2  # power of a region's area that its overlap is divided by: prefers small regions


class ChannelRanking(NamedTuple):
    """Channels by their relevance for an attribute.

    Attributes:
        order: `[channels]` int32, the most relevant first.
        relevance: `[channels]` float32 for each channel, `|mean| / deviation` of its normalised difference.
        difference: `[channels]` float32, mean of the normalised differences: its sign is the way to the attribute.
    """

    order: Int[Array, " channels"]
    relevance: Float[Array, " channels"]
    difference: Float[Array, " channels"]


def rank_channels(
    positives: Float[ArrayLike, "examples channels"],
    mean: Float[ArrayLike, " channels"],
    deviation: Float[ArrayLike, " channels"],
) -> ChannelRanking:
    """Ranks channels by a few positive examples of an attribute: StyleSpace, section 5.

    A channel is relevant if it differs from the average in the same way in all of them.

    Args:
        positives: Flat styles of images that have the attribute, two or more (StyleSpace: 10 to 30).
        mean: Of the styles of random images.
        deviation: Standard deviation of the same; a channel of 0 is irrelevant.

    Returns:
        The ranking.

    Raises:
        ValueError: Fewer than two examples.
    """
    positives, mean, deviation = (jnp.asarray(x, jnp.float32) for x in (positives, mean, deviation))
    if len(positives) < 2:
        raise ValueError(f"{len(positives)} positive examples; the ranking needs two or more")
    scale = jnp.where(deviation > 0, 1 / jnp.where(deviation > 0, deviation, 1), 0)
    differences = (positives - mean[None]) * scale[None]
    difference, spread = differences.mean(axis=0), differences.std(axis=0)
    relevance = jnp.where(deviation > 0, jnp.abs(difference) / jnp.where(spread > 0, spread, 1), 0)
    return ChannelRanking(jnp.argsort(-relevance).astype(jnp.int32), relevance, difference)


def gradient_maps(
    synthesize: Callable[[Float[Array, " channels"]], Float[Array, "height width colors"]],
    styles: Float[ArrayLike, " channels"],
    *,
    size: int = 32,
    batch_size: int = 16,
) -> Float[Array, "channels size size"]:
    """How strongly each channel acts on each part of an image: StyleSpace, section 4.

    The image is averaged to `size` x `size` blocks; the map of a channel is the mean over colours of the absolute
    derivatives. All derivatives are exact and taken from one linearisation, in forward mode (a sweep over the channels)
    or in reverse mode (over the blocks and colours), whichever needs fewer steps.

    Args:
        synthesize: Flat styles to an image; such as `lambda s: generator.synthesize(split_styles(s, config=config))`.
        styles: Flat styles of the image.
        size: Side of the maps; it divides the image's (StyleSpace's code: 32).
        batch_size: Derivatives computed at a time; more need more memory.

    Returns:
        The maps, not negative.

    Raises:
        ValueError: `size` does not divide the image's.
    """
    styles = jnp.asarray(styles)

    def blocks(flat: Float[Array, " channels"]) -> Float[Array, "size size colors"]:
        image = synthesize(flat)
        height, width, colors = image.shape
        if height % size or width % size:
            raise ValueError(f"size is {size}, which does not divide an image of {height} x {width}")
        return image.reshape(size, height // size, size, width // size, colors).mean(axis=(1, 3))

    output, push = jax.linearize(blocks, styles)
    if styles.size <= output.size:
        rows = jax.lax.map(push, jnp.eye(styles.size, dtype=styles.dtype), batch_size=batch_size)
    else:
        pull = jax.linear_transpose(push, styles)
        seeds = jnp.eye(output.size, dtype=output.dtype).reshape(output.size, *output.shape)
        (columns,) = jax.lax.map(pull, seeds, batch_size=batch_size)
        rows = columns.T.reshape(styles.size, *output.shape)
    return jnp.abs(rows).mean(axis=-1)


def local_gradient_maps(
    generator: StyleGAN2Generator,
    styles: Float[ArrayLike, " channels"],
    *,
    size: int = 32,
    noise: Literal["const", "none"] = "const",
    batch_size: int = 16,
) -> Float[Array, "channels size size"]:
    """`gradient_maps` of a StyleGAN2 generator with a fraction of the work, equal to them up to rounding.

    Every block is differentiated through its own window of the network, see `jaxedit.generators.stylegan2_blocks`.

    Args:
        generator: The generator.
        styles: Flat styles of the image.
        size: Side of the maps; it divides the image's (StyleSpace's code: 32).
        noise: As in `synthesize_block`.
        batch_size: Blocks differentiated at a time; more need more memory.

    Returns:
        The maps, not negative.

    Raises:
        ValueError: `size` does not divide the image's.
    """
    styles = jnp.asarray(styles)

    def derivatives(block: Int[Array, "2"]) -> Float[Array, " channels"]:
        def mean(flat: Float[Array, " channels"]) -> Float[Array, " colors"]:
            codes, config = split_styles(flat, config=generator.config), generator.config
            pixels = synthesize_block(generator.params, codes, block, size=size, config=config, noise=noise)
            return pixels.mean(axis=(0, 1))

        return jnp.abs(jax.jacrev(mean)(styles)).mean(axis=0)

    blocks = jnp.stack(jnp.meshgrid(jnp.arange(size), jnp.arange(size), indexing="ij"), axis=-1).reshape(-1, 2)
    return jax.lax.map(derivatives, blocks, batch_size=batch_size).T.reshape(-1, size, size)


def region_overlaps(
    maps: Float[ArrayLike, "channels size size"],
    parsing: Int[ArrayLike, "height width"],
    regions: Sequence[Sequence[str]],
) -> Float[Array, "channels regions"]:
    """Overlap of each channel's strongest pixels with each region of one image, in favour of small regions.

    As many of a channel's pixels count as the region has, those where its map is largest; their number inside the
    region is divided by the square of the region's area. Equal to what `align_mask.py` and `semantic_channel.py` of
    StyleSpace compute.

    Args:
        maps: As from `gradient_maps`.
        parsing: Parsing map of the image, larger by a whole number of times.
        regions: Parsing classes of each, such as `jaxedit.regions.STYLESPACE_REGIONS`.

    Returns:
        0 or more; NaN for a region that the image does not have.
    """
    maps = jnp.asarray(maps)
    masks = _region_masks(jnp.asarray(parsing), regions, maps.shape[1])
    flat = maps.reshape(len(maps), -1)

    def overlap(mask: Array) -> Array:
        area = mask.sum()
        share = area.astype(flat.dtype) / mask.size
        threshold = jnp.quantile(flat, 1 - share, axis=1)
        inside = ((flat > threshold[:, None]) & mask.reshape(1, -1)).sum(axis=1).astype(flat.dtype)
        return jnp.where(area > 0, inside / jnp.maximum(area, 1).astype(flat.dtype) ** _PRECISION, jnp.nan)

    return jax.lax.map(overlap, masks).T


def _region_masks(parsing: Array, regions: Sequence[Sequence[str]], size: int) -> Array:
    """`[regions, size, size]`: the region that most pixels of a block are of; none where most are of other classes."""
    height, width = parsing.shape
    members = jnp.stack([mask_of(parsing, classes) for classes in regions])
    members = jnp.concatenate([members, ~members.any(axis=0, keepdims=True)]).astype(jnp.int32)
    counts = members.reshape(-1, size, height // size, size, width // size).sum(axis=(2, 4))
    return counts.argmax(axis=0)[None] == jnp.arange(len(regions))[:, None, None]


def activity(overlaps: Float[ArrayLike, "images channels regions"]) -> Float[Array, "channels regions"]:
    """In what share of the images a channel acts most in a region: StyleSpace's measure of locally active channels.

    Args:
        overlaps: As from `region_overlaps`, for many images.

    Returns:
        0 to 1: of the images that have the region, those where it overlaps most. 0 for a region that none has.
    """
    overlaps = jnp.asarray(overlaps)
    present = ~jnp.isnan(overlaps)
    best = jnp.where(present, overlaps, -1.0).argmax(axis=2)
    wins = (best[..., None] == jnp.arange(overlaps.shape[2])[None, None]) & present
    return wins.sum(axis=0).astype(overlaps.dtype) / jnp.maximum(present.sum(axis=0), 1).astype(overlaps.dtype)


def channel_direction(
    mean_difference: Real[ArrayLike, " channels"],
    deviation: Real[ArrayLike, " channels"],
    *,
    channel: int,
    source: str = "",
) -> Direction:
    """Makes an S direction of a single channel.

    Args:
        mean_difference: `difference` of a `ChannelRanking`: the direction goes the way of its sign.
        deviation: Standard deviation of each channel over random images.
        channel: Which, as an index in flat styles.
        source: Fingerprint of the generator.

    Returns:
        A one-hot direction; `unit` is the channel's standard deviation, StyleSpace's unit of strength.
    """
    vector = np.zeros(np.shape(deviation), np.float32)
    vector[channel] = -1.0 if np.asarray(mean_difference)[channel] < 0 else 1.0
    return Direction(
        name=f"channel {channel}", space="s", vector=vector, unit=float(np.asarray(deviation)[channel]), source=source
    )
