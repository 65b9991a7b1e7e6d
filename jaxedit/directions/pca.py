"""GANSpace (Härkönen et al., 2020): principal components of W as directions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from sklearn.decomposition import IncrementalPCA

from jaxedit import batch
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.spaces import Direction


class PrincipalComponents(NamedTuple):
    """Components in order of variance.

    Attributes:
        mean: `[w_dim]` float32.
        components: `[count, w_dim]` float32, orthonormal rows. Each has its largest entry positive.
        deviations: `[count]` float32, standard deviation of w along each.
        explained: `[count]` float32, share of the variance of w.
    """

    mean: Float[np.ndarray, " w_dim"]
    components: Float[np.ndarray, "count w_dim"]
    deviations: Float[np.ndarray, " count"]
    explained: Float[np.ndarray, " count"]


def sample_w(
    key: Key[Array, ""], generator: StyleGAN2Generator, *, count: int = 1_000_000, batch_size: int = 10_000
) -> Iterator[Float[np.ndarray, "batch_size w_dim"]]:
    """Draws w of random z without truncation, one batch on each device at a time.

    Args:
        key: A typed key.
        generator: An unconditional generator.
        count: How many in all, a multiple of `batch_size`; GANSpace takes a million.
        batch_size: How many at a time.

    Returns:
        An iterator over `[batch_size, w_dim]`, float32 in host memory.

    Raises:
        ValueError: `count` is no multiple of `batch_size`.
    """
    if count % batch_size:
        raise ValueError(f"count is {count}; a multiple of batch_size {batch_size} is needed")
    numbers, options = np.arange(count // batch_size), {"count": batch_size}
    return batch.map_samples(_random_w, (generator, key), numbers, batch_size=jax.local_device_count(), options=options)


def _random_w(
    shared: tuple[StyleGAN2Generator, Key[Array, ""]], index: Array, *, count: int
) -> Float[Array, "{count} w_dim"]:
    generator, key = shared
    keys = jax.random.split(jax.random.fold_in(key, index), count)
    return jax.vmap(lambda key: generator.map(jax.random.normal(key, (generator.config.z_dim,))))(keys)


def principal_components(
    batches: Iterable[Float[np.ndarray, "batch w_dim"]], *, count: int = 80
) -> PrincipalComponents:
    """Fits principal components batch by batch (scikit-learn's incremental PCA, as GANSpace does).

    Args:
        batches: W codes, as from `sample_w`; each batch at least `count` of them.
        count: How many components.

    Returns:
        The components.

    Raises:
        ValueError: No batches, or one with fewer codes than components.
    """
    machine = IncrementalPCA(n_components=count)
    for codes in batches:
        machine.partial_fit(codes)
    if not hasattr(machine, "components_"):
        raise ValueError("no batches of codes were given")
    rows = np.asarray(machine.components_)
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    fields = (machine.mean_, rows * np.sign(largest), np.sqrt(machine.explained_variance_))
    return PrincipalComponents(*(np.asarray(f, np.float32) for f in (*fields, machine.explained_variance_ratio_)))


def component_direction(
    components: PrincipalComponents, index: int, *, layers: tuple[int, ...] | None = None, source: str = ""
) -> Direction:
    """Makes a W direction of one component.

    Args:
        components: Of the generator.
        index: Which, from 0.
        layers: Rows of W+ that it acts on (GANSpace's layer ranges); None for all.
        source: Fingerprint of the generator.

    Returns:
        The direction; `unit` is the standard deviation along it, GANSpace's unit of strength.
    """
    return Direction(
        name=f"component {index}",
        space="w",
        vector=components.components[index],
        layers=layers,
        unit=float(components.deviations[index]),
        source=source,
    )
