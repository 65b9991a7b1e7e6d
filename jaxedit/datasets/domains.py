"""Data in domains, for translation between them: every batch has as many images of each domain as the others."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt32

from jaxedit.datasets.batches import Dataset, check_seed
from jaxedit.datasets.sources import image_folder
from jaxedit.messages import natural_order
from jaxedit.suggestions import choose
from jaxedit.training.translation import DomainBatch, Domains

_CANDIDATES = 16  # avatars that one of a domain is chosen from
_TARGETS = 2  # a stream of random bits beside those of `batches`


def combinations(attributes: Sequence[str]) -> tuple[str, ...]:
    """The domains of several attributes at once: every combination of them.

    Args:
        attributes: Their names.

    Returns:
        2^n names; bit i of a domain's number says whether it has attribute i. "plain" has none.
    """
    held = itertools.product((False, True), repeat=len(attributes))
    chosen = ([name for name, there in zip(attributes, bits[::-1], strict=True) if there] for bits in held)
    return tuple("+".join(names) or "plain" for names in chosen)


def avatars_by_domain(attributes: Sequence[str], *, size: int, batch_size: int, seed: int) -> Domains:
    """Draws new avatars for ever, in the domains that attributes make (`combinations`).

    Args:
        attributes: Some of `jaxedit.avatars.ATTRIBUTES`.
        size: Height and width of the images in pixels.
        batch_size: Images per batch, a multiple of the number of domains.
        seed: 0..2^32 - 1; batch `step` depends on (seed, step) only.

    Returns:
        The domains. Of 16 avatars for each place in a batch one of the wanted domain is drawn; else all is as in
        `avatars`, its correlations included.

    Raises:
        ValueError: No such attribute, or an impossible size, batch size or seed.
    """
    from jaxedit import avatars

    places = [avatars.ATTRIBUTES.index(choose(name, avatars.ATTRIBUTES, kind="attribute")) for name in attributes]
    names = combinations([avatars.ATTRIBUTES[place] for place in places])
    _check(names, batch_size=batch_size, seed=seed)

    @jax.jit
    def make(key: Key[Array, ""], step: UInt32[Array, ""]) -> DomainBatch:
        to_draw, to_choose, to_send = jax.random.split(jax.random.fold_in(key, step), 3)
        factors = jax.vmap(avatars.sample_factors)(jax.random.split(to_draw, _CANDIDATES * batch_size))
        bits = jax.vmap(avatars.attributes)(factors)[:, jnp.array(places)].astype(jnp.int32)
        found = jnp.sum(bits << jnp.arange(len(places), dtype=jnp.int32)[None], axis=1)
        wanted = jnp.arange(batch_size, dtype=jnp.int32) % len(names)
        fits = jnp.where(found[None] == wanted[:, None], 0.0, -1e9)
        rows = jnp.argmax(fits + jax.random.gumbel(to_choose, fits.shape), axis=1)
        chosen = jax.tree.map(lambda leaf: leaf[rows], factors)
        images = jax.vmap(lambda one: avatars.render(one, size=size).image)(jax.lax.optimization_barrier(chosen))
        return DomainBatch(images, found[rows], jax.random.randint(to_send, (batch_size,), 0, len(names)))

    return Domains(names, lambda step: make(jax.random.key(seed), jnp.uint32(step)))


def folder_of_domains(
    path: str | os.PathLike, *, size: int, batch_size: int, seed: int, mirror: bool = False
) -> Domains:
    """Reads images from a folder with one folder for each domain, as StarGAN v2's data are.

    Args:
        path: The folder. Its folders' names, in natural order, are the domains.
        size: Height and width of the images in pixels.
        batch_size: Images per batch, a multiple of the number of domains.
        seed: See `image_folder`.
        mirror: See `image_folder`.

    Returns:
        The domains; within one, images are read as by `image_folder`.

    Raises:
        FileNotFoundError: No such folder, or no images in one of its folders.
        NotADirectoryError: `path` is no folder.
        ValueError: Fewer than two domains, or see `image_folder`.
    """
    folders = sorted((entry.name for entry in os.scandir(path) if entry.is_dir()), key=natural_order)
    names = tuple(name for name in folders if not name.startswith((".", "__")))
    if len(names) < 2:
        raise ValueError(f"{path}: {len(names)} folders of images; one for each of two or more domains would be right")
    _check(names, batch_size=batch_size, seed=seed)
    options = {"size": size, "batch_size": batch_size // len(names), "seed": seed, "mirror": mirror}
    datasets = [image_folder(Path(path) / name, **options) for name in names]
    return _joined(names, datasets, seed)


def _joined(names: tuple[str, ...], datasets: Sequence[Dataset], seed: int) -> Domains:
    def make(step: int) -> DomainBatch:
        images = np.concatenate([dataset.batch(step).images for dataset in datasets])
        domains = np.repeat(np.arange(len(names), dtype=np.int32), [dataset.batch_size for dataset in datasets])
        bits = np.random.Philox(key=np.array([seed, step], np.uint64), counter=[0, 0, 0, _TARGETS])
        targets = (bits.random_raw(len(images)) % len(names)).astype(np.int32)
        return DomainBatch(images, domains, targets)

    return Domains(names, make)


def _check(names: Sequence[str], *, batch_size: int, seed: int) -> None:
    check_seed(seed)
    if batch_size < 1 or batch_size % len(names):
        raise ValueError(f"batch size {batch_size}; a multiple of the {len(names)} domains would be right")
