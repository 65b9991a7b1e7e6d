"""What the reproductions need of a world: labelled samples, boundaries in every space, and batches of anything."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Hashable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import batch
from jaxedit.directions.svm import Boundary, fit_boundary
from jaxedit.generators.stylegan2 import join_styles
from jaxedit.training.gan_terms import mixed_w

SPACES: tuple[str, ...] = ("z", "w", "w_plus", "s")


class Plan(NamedTuple):
    """What is measured in a world unless the options say otherwise.

    Attributes:
        attributes: That Fig. 7 and Tables III and IV take the mean of.
        ablated: Those of Fig. 9.
        variants: Methods beside the layer-wise one in S, by name.
        bounded: Those that Table II and boundaries in W, W+ and S are for.
        samples: Images per attribute.
        svm_samples: Labelled samples that the boundaries are fitted to.
        mapped_images: Images for StyleSpace's gradient maps, where there is a parser.
        together: Images optimised at a time ...
        smallest: ... and of those the least that stay together when others have ended.
        costs: Whether Table VI is measured.
    """

    attributes: tuple[str, ...]
    ablated: tuple[str, ...]
    bounded: tuple[str, ...]
    variants: tuple[str, ...]
    samples: int
    svm_samples: int
    mapped_images: int
    together: int
    smallest: int
    costs: bool


class World(Protocol):
    """A generator and what looks at its pictures: a pytree."""

    @property
    def generator(self) -> Any:
        """With style layers."""
        ...

    @property
    def attributes(self) -> tuple[str, ...]:
        """What `label` and `judge` tell, in order."""
        ...

    @property
    def batch(self) -> int:
        """Pictures that are computed at a time."""
        ...

    def label(self, image: jax.Array) -> jax.Array:
        """`[attributes]` log odds that directions are fitted to."""
        ...

    def judge(self, image: jax.Array) -> jax.Array:
        """`[attributes]` log odds that edits are measured with."""
        ...

    def mask(self, image: jax.Array, attribute: str) -> jax.Array:
        """Where an edit of an attribute may change the image, not dilated."""
        ...

    def embed(self, image: jax.Array) -> jax.Array:
        """The embedding of the identity."""
        ...


def batches(size: int, function: Callable[..., Any], shared: Any, *trees: Any, **static: Hashable) -> Any:
    """A function `(shared, *sample, **static)` of single samples over many, so many at a time, as NumPy arrays."""
    count = len(jax.tree.leaves(trees)[0])
    samples = (jax.tree.map(lambda leaf: np.asarray(leaf[index]), trees) for index in range(count))  # noqa: B023
    fitting, options = batch.choose_batch_size(count, size), {"function": function, **static}
    return batch.collected(batch.map_samples(_applied, shared, samples, batch_size=fitting, options=options))


def _applied(shared: Any, sample: tuple[Any, ...], *, function: Callable[..., Any], **static: Hashable) -> Any:
    return function(shared, *sample, **static)


def batches_of_keys(
    size: int, function: Callable[..., Any], shared: Any, key: jax.Array, count: int, **static: Hashable
) -> Any:
    """A function `(shared, key, **static)` of so many keys that a key is split into, as NumPy arrays."""
    raw_keys = np.asarray(jax.random.key_data(jax.random.split(key, count)))  # samples lie on the host, keys do not
    return batches(size, _of_key, shared, raw_keys, of_key=function, **static)


def _of_key(shared: Any, raw_key: jax.Array, *, of_key: Callable[..., Any], **static: Hashable) -> Any:
    return of_key(shared, jax.random.wrap_key_data(raw_key), **static)


def labelled_codes(world: World, *, count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Codes of random samples in every space, and their labels.

    W+ codes are mixed: two samples share the layers at a random place, as in the generator's training, since with all
    rows equal W+ would be W.

    Returns:
        Codes by space, and labels `[count, attributes]` for those of Z, W and S, and for those of W+, as one array
        `[2, ...]`.
    """
    codes, labels = batches_of_keys(world.batch, _labelled, world, jax.random.key(seed), count)
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
    labels = jax.vmap(world.label)(images) > 0
    return {"z": z, "w": w, "w_plus": mixed, "s": join_styles(styles)}, labels


def boundaries(
    world: World, codes: dict[str, np.ndarray], labels: np.ndarray, attributes: Collection[str], *, seed: int
) -> dict[str, dict[str, Boundary]]:
    """A linear boundary per space and attribute, in Z and W of all attributes; L1 in S."""
    return {
        space: {
            name: fit_boundary(
                jax.random.key(seed),
                codes[space],
                labels[int(space == "w_plus")][:, index],
                name=name,
                space=space,
                source=world.generator.fingerprint,
            )
            for index, name in enumerate(world.attributes)
            if space in ("z", "w") or name in attributes
        }
        for space in SPACES
    }


def without(world: World, attribute: int, *, count: int, seed: int) -> np.ndarray:
    """z of random samples that are labelled as without an attribute."""
    found: list[np.ndarray] = []
    for step in itertools.count():
        z, logits = batches_of_keys(
            world.batch, _classified, world, jax.random.fold_in(jax.random.key(seed), step), 4 * world.batch
        )
        found.append(z[logits[:, attribute] <= 0])
        if sum(map(len, found)) >= count:
            break
    return np.concatenate(found)[:count]


def _classified(world: World, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    generator = world.generator
    z = jax.random.normal(key, (generator.config.z_dim,))
    return z, world.label(generator.synthesize(generator.styles(generator.map(z)), noise="const"))
