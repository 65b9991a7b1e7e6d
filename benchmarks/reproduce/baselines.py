"""What Style Intervention is compared with: interpolation in four spaces, InterFaceGAN and StyleSpace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.reproduce.avatar_world import AvatarWorld
from benchmarks.reproduce.edits import Path, Samples, changed
from benchmarks.reproduce.world import World, batches
from jaxedit import regions
from jaxedit.directions import channels
from jaxedit.directions.svm import Boundary, condition
from jaxedit.generators.stylegan2 import join_styles, split_styles

DEVIATIONS = 2.0  # of the step in Z that is strength 1
_EXAMPLES = 30  # positive examples for StyleSpace, as in its section 5
_LOCAL = 0.5  # share of the images in which a channel has to act most in the attribute's region
_MAP = 16  # side of the gradient maps
_CANDIDATES = 10  # of the local channels, those ranked first
_TRIED = 16.0  # deviations that the candidates are compared at
_MOST_DEVIATIONS = 64.0


def codes_of(generator: Any, z: jax.Array) -> dict[str, jax.Array]:
    """The codes of a z in all spaces, as the boundaries have them."""
    w = generator.map(z)
    rows = jnp.tile(w, (generator.config.num_ws, 1))
    return {"z": z, "w": w, "w_plus": rows, "s": join_styles(generator.styles(w))}


def z_step(bounds: Mapping[str, Boundary]) -> jax.Array:
    """The displacement in Z at strength 1."""
    return DEVIATIONS * bounds["z"].direction.unit * jnp.asarray(bounds["z"].direction.vector)


def interpolation(world: World, bounds: Mapping[str, Boundary], samples: Samples) -> dict[str, Path]:
    """Along the normals of all spaces: at strength 1 as far as the step in Z takes the code there (Fig. 7)."""
    normals = {space: jnp.asarray(bound.direction.vector) for space, bound in bounds.items()}
    found = batches(world.batch, _interpolation, (world.generator, normals, z_step(bounds)), samples.z)
    return {space: Path(space, *pair) for space, pair in found.items()}


def _interpolation(shared: Any, z: jax.Array) -> Any:
    generator, normals, step = shared
    start, moved = codes_of(generator, z), codes_of(generator, z + step)
    return {space: (start[space], jnp.linalg.norm(moved[space] - start[space]) * normals[space]) for space in normals}


def interfacegan(
    world: World, every: Mapping[str, Boundary], samples: Samples, plain: Path, attribute: str
) -> tuple[Path, str]:
    """Along the normal in Z conditioned on the attribute that the plain edit changes most besides, also returned."""
    index = world.attributes.index(attribute)
    changes = np.abs(changed(world, samples, plain, 1.0)[0]).mean(axis=0)
    changes[index] = 0
    other = int(changes.argmax())
    direction = condition(every[attribute].direction, [every[world.attributes[other]].direction])
    displacement = DEVIATIONS * direction.unit * np.asarray(direction.vector)
    return plain._replace(displacement=np.broadcast_to(displacement, samples.z.shape)), world.attributes[other]


def active_channels(world: AvatarWorld, *, count: int, seed: int) -> np.ndarray:
    """`[channels, regions]`: the share of random images in which a channel acts most in a region of StyleSpace's."""
    keys = jax.random.split(jax.random.key(seed), count)
    overlaps = jax.jit(_overlaps)
    return np.asarray(channels.activity(jnp.stack([overlaps(world, key) for key in keys])))


def _overlaps(world: AvatarWorld, key: jax.Array) -> jax.Array:
    generator = world.generator
    styles = codes_of(generator, jax.random.normal(key, (generator.config.z_dim,)))["s"]
    parsing = world.parser.parse(generator.synthesize(split_styles(styles, config=generator.config), noise="const"))
    return channels.region_overlaps(channel_maps(generator, styles), parsing, regions.STYLESPACE_REGIONS)


def channel_maps(generator: Any, styles: jax.Array) -> jax.Array:
    """StyleSpace's analysis of one image: a gradient map of every channel."""
    return channels.local_gradient_maps(generator, styles, size=_MAP)


def stylespace(
    world: World,
    codes: np.ndarray,
    labels: np.ndarray,
    activity: np.ndarray | None,
    samples: Samples,
    start: np.ndarray,
    attribute: str,
) -> tuple[Path, int]:
    """The channel, also returned, that changes the attribute most for what it changes outside the region.

    Of the first that positive examples rank among those which act in the attribute's region (among all if none does, or
    if `activity` is not known); StyleSpace's authors look at them.
    """
    index = world.attributes.index(attribute)
    deviation = codes.std(axis=0)
    ranking = channels.rank_channels(codes[labels[:, index]][:_EXAMPLES], codes.mean(axis=0), deviation)
    order = local = [int(channel) for channel in np.asarray(ranking.order)]
    if activity is not None:
        wanted = set(regions.classes_of(attribute))
        inside = activity[:, [bool(wanted & set(region)) for region in regions.STYLESPACE_REGIONS]].sum(axis=1)
        local = [channel for channel in order if inside[channel] >= _LOCAL] or order

    def path(channel: int) -> Path:
        direction = channels.channel_direction(ranking.difference, deviation, channel=channel)
        displacement = direction.unit * np.asarray(direction.vector)
        return Path("s", start, np.broadcast_to(displacement, start.shape), _MOST_DEVIATIONS)

    def worth(channel: int) -> float:
        change, outside = changed(world, samples, path(channel), _TRIED)
        return float(change[:, index].mean() / np.sqrt(outside.mean()))

    best = max(local[:_CANDIDATES], key=worth)
    return path(best), best
