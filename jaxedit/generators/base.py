"""What every generator offers, whatever its family: latent spaces, the way from one to the next, and the picture."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


class Layer(NamedTuple):
    """A part of a space's latents that a direction may be limited to. A family's own records may say more.

    Attributes:
        name: As in layer ranges.
        width: Numbers in it.
    """

    name: str
    width: int


class Relative(NamedTuple):
    """How the rows of a space read those of another generator's, such as a teacher's, that has another number of them.

    Attributes:
        count: Rows that the other has.
        rows: For each row of the space, which one of the other's it takes.
    """

    count: int
    rows: tuple[int, ...]


class Space(NamedTuple):
    """One of the latent spaces of a generator.

    Attributes:
        name: As in `Direction.space`.
        shape: Of a direction's vector, and of one latent as one array.
        layers: What directions may be limited to, a `Layer` each; empty if they always act on the whole latent.
        form: "array": a latent is an array of `shape`, its layers lie along the first axis. "parts": it is a tuple of
            vectors, one a layer; joined they have `shape`. "shared": it is one array for all layers of the next space,
            in which its directions are added.
        relative: Directions of another number of rows are taken by it; None if there is no such generator.
        field: Of latents that are a NamedTuple, the field that directions are added to, of which all above is said;
            empty where that is the whole latent.
    """

    name: str
    shape: tuple[int, ...]
    layers: tuple[Any, ...] = ()
    form: Literal["array", "parts", "shared"] = "array"
    relative: Relative | None = None
    field: str = ""


@runtime_checkable
class Generator(Protocol):
    """A pretrained generator as a frozen pytree: `params` are leaves, `config` is static.

    All methods take one sample; `jax.vmap` makes the batch. A family may offer more, as StyleGAN2 does.

    Attributes:
        conditions: What `advance` takes in the first space: "c" (a one-hot class of `config.c_dim`), "truncation_psi",
            "truncation_cutoff".
        options: What `render` takes: "noise", "compute_dtype", "with_features".
    """

    conditions: ClassVar[tuple[str, ...]]
    options: ClassVar[tuple[str, ...]]

    @property
    def params(self) -> Any:
        """Nested dict of arrays."""
        ...

    @property
    def config(self) -> Any:
        """Frozen, hashable description of the architecture."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the weights, empty when unknown: directions carry it, compiled programs do not."""
        ...

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The latent spaces, from what is sampled, standard normal, to what is drawn."""
        ...

    def advance(self, space: str, latent: Any, **condition: Any) -> Any:
        """Takes a latent to the next space.

        Args:
            space: Its name.
            latent: One latent of it.
            condition: For the first space only: some of `conditions`.

        Returns:
            The latent in the next space.
        """
        ...

    def render(self, latent: Any, **options: Any) -> Any:
        """Draws a latent of the last space: an image `[height, width, channels]`, float32, about [-1, 1]."""
        ...


def space_index(generator: Generator, name: str) -> int:
    """Finds a space of a generator.

    Args:
        generator: Of any family.
        name: Of the space.

    Returns:
        Its place in `generator.spaces`, an int.

    Raises:
        ValueError: It has none of that name.
    """
    names = [space.name for space in generator.spaces]
    if name not in names:
        raise ValueError(f"no space {name!r}: this generator has {', '.join(names)}")
    return names.index(name)


def space_named(generator: Generator, name: str) -> Space:
    """Finds a space of a generator.

    Args:
        generator: Of any family.
        name: Of the space.

    Returns:
        The space.

    Raises:
        ValueError: It has none of that name.
    """
    return generator.spaces[space_index(generator, name)]


def added_at(generator: Generator, name: str) -> int:
    """Finds the space in which the directions of a space are added: the next one, if its layers share a latent.

    Args:
        generator: Of any family.
        name: Of the space.

    Returns:
        Its place in `generator.spaces`, an int.

    Raises:
        ValueError: It has none of that name.
    """
    index = space_index(generator, name)
    return index + (generator.spaces[index].form == "shared")


def sample_z(seed: int, z_dim: int = 512) -> Float[np.ndarray, " z_dim"]:
    """Draws the latent that NVIDIA's scripts draw for a seed.

    Args:
        seed: Any integer from 0 to 2**32 - 1.
        z_dim: Length of the latent.

    Returns:
        `[z_dim]` float32, standard normal. Equal to `np.random.RandomState(seed).randn(1, z_dim)[0]` (`generate.py` of
        stylegan2-ada-pytorch).
    """
    return np.random.RandomState(seed).randn(z_dim).astype(np.float32)
