"""Directions in the latent spaces of any generator, and edits that add them to latents.

A generator says in `spaces` which spaces it has and what a direction in them may be limited to; StyleGAN2 has

| space | one latent | a direction's vector | layers it can be limited to |
|---|---|---|---|
| `z` | `[z_dim]`, before the mapping network | `[z_dim]` | none |
| `w` | `[w_dim]`, the same for all layers | `[w_dim]` | rows of W+ by index |
| `w_plus` | `[num_ws, w_dim]` | `[num_ws, w_dim]` | rows of W+ by index |
| `s` | one vector per style layer | `[sum of the widths]`, the layers joined | style layers by index or name |

An edit is a `(direction, strength)` pair and adds `strength * unit * vector`; several edits add up.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Real

from jaxedit.generators.base import Generator, Space, added_at, space_index, space_named
from jaxedit.nn.pytrees import frozen_pytree


@frozen_pytree(leaves=("vector", "unit"), notes=("name", "source", "accuracy"))
class Direction:
    """A direction in one of the latent spaces: a frozen pytree of `vector` and `unit`. Of the other fields only `space`
    and `layers` count for what is compiled: directions of different names share programs.

    Attributes:
        name: What it changes, for messages.
        space: The name of a space, such as "z", "w", "w_plus" or "s".
        vector: Float32, of the space's shape. Its length is kept as published and need not be 1.
        layers: The layers of the space that it acts on, by index; None for all.
        unit: Multiples of `vector` that strength 1 adds. 1 for a direction as published; a fitted direction has the
            standard deviation of the latents along `vector` here, so that strengths compare between directions.
        source: Fingerprint of the generator it was made for; empty when unknown.
        accuracy: Share of held-out samples on the right side of its boundary, for a fitted one; None when unknown.
    """

    name: str
    space: str
    vector: Any
    layers: tuple[int, ...] | None = None
    unit: Any = 1.0
    source: str = ""
    accuracy: float | None = None

    def __repr__(self) -> str:
        layers = "" if self.layers is None else f", layers={self.layers}"
        unit = self.unit if isinstance(self.unit, Tracer) else f"{float(self.unit):.4g}"
        what = f"name={self.name!r}, space={self.space!r}, {np.shape(self.vector)}"
        return f"Direction({what}, unit={unit}{layers})"


Edits = Sequence[tuple[Direction, Real[ArrayLike, ""]]]


def joined(latent: Any) -> Array:
    """Makes one array of a latent.

    Args:
        latent: An array `[...]`, or a tuple of vectors `[width]`.

    Returns:
        The array as it is, or the vectors one after the other `[sum of the widths]`.
    """
    return jnp.concatenate(latent) if isinstance(latent, tuple) else jnp.asarray(latent)


def displacement(direction: Direction, *, space: Space) -> Any:
    """What strength 1 of a direction adds to a latent, with its layers and unit applied.

    Args:
        direction: Fits the generator (see `jaxedit.directions.files.check_direction`).
        space: Its space.

    Returns:
        An array of the space's shape; for a "shared" one with an axis for the layers before; for one of "parts" a
        tuple of vectors. Zero in layers left alone.

    Raises:
        ValueError: The vector has another shape than the latents of its space.
    """
    if (shape := np.shape(direction.vector)) != space.shape:
        raise ValueError(f"{direction.name}: a vector of shape {shape}; {space.shape} is right in {space.name}")
    vector, widths = direction.unit * jnp.asarray(direction.vector), [layer.width for layer in space.layers]
    if not widths:
        return vector
    mask = np.ones(len(widths), bool)
    if direction.layers is not None:
        mask[:] = False
        mask[list(direction.layers)] = True
    if space.form == "parts":
        parts = jnp.split(vector, np.cumsum(widths)[:-1])
        return tuple(part if keep else jnp.zeros_like(part) for part, keep in zip(parts, mask, strict=True))
    layers = jnp.broadcast_to(vector, (len(widths), *shape)) if space.form == "shared" else vector
    return jnp.where(mask.reshape(-1, *(1,) * (layers.ndim - 1)), layers, jnp.zeros_like(layers))


def add_directions(latent: Any, edits: Edits, *, space: Space) -> Any:
    """Adds any number of edits of one space to a latent.

    Args:
        latent: One latent: an array, a tuple of vectors, or what holds one of those in the space's `field`; for a
            "shared" space one of the next.
        edits: Pairs of a direction of that space and a strength, which may be negative and may be traced.
        space: The space.

    Returns:
        The latent of the same structure, shapes and dtypes, `latent + sum(strength * unit * vector)`.

    Raises:
        ValueError: A latent without the space's `field`.
    """

    def add(x, step, strength):
        return x + jnp.asarray(strength).astype(x.dtype) * step.astype(x.dtype)

    if space.field and not hasattr(latent, space.field):
        raise ValueError(f"a latent in {space.name} has a field {space.field!r}, as generator.advance gives it")
    moved = getattr(latent, space.field) if space.field else latent
    for direction, strength in edits:
        moved = jax.tree.map(functools.partial(add, strength=strength), moved, displacement(direction, space=space))
    return latent._replace(**{space.field: moved}) if space.field else moved


def edited(generator: Generator, latent: Any, edits: Edits = (), *, start: str | None = None, **condition: Any) -> Any:
    """Takes a latent to the last space of a generator, adding each edit in its own space on the way.

    Args:
        generator: The generator whose `render` will draw the result.
        latent: One latent.
        edits: `(direction, strength)` pairs of any spaces from `start` on.
        start: The name of the latent's space; None for the first, such as Z.
        condition: What the generator's `advance` takes in the first space, such as `truncation_psi`. Directions of
            later spaces are added after truncation.

    Returns:
        The latent in the last space.

    Raises:
        ValueError: A space that the generator does not have, an edit before `start`, or a condition after the first or
            of a generator of one space.
    """
    spaces = generator.spaces
    first = 0 if start is None else space_index(generator, start)
    if condition and (first or len(spaces) == 1):
        what = "no latent" if len(spaces) == 1 else f"only a latent in {spaces[0].name}"
        raise ValueError(f"{', '.join(condition)}: {what} depends on it")
    places = [added_at(generator, direction.space) for direction, _ in edits]
    if early := [direction.space for place, (direction, _) in zip(places, edits, strict=True) if place < first]:
        raise ValueError(f"a latent in {start} cannot be edited in {early[0]}, which comes before")
    latent = latent if isinstance(latent, tuple) else jnp.asarray(latent)
    for index in range(first, len(spaces)):
        for place, edit in zip(places, edits, strict=True):
            if place == index:
                latent = add_directions(latent, [edit], space=space_named(generator, edit[0].space))
        if index + 1 < len(spaces):
            latent = generator.advance(spaces[index].name, latent, **({} if index else condition))
    return latent


def resolve_layers(layers: str | Iterable[int | str], *, space: Space) -> tuple[int, ...]:
    """Turns a layer range into indices for `Direction.layers`.

    Args:
        layers: "4-7", "0,2,5-6" or names: "b64.conv0,b64.conv1", "b32.conv0-b64.torgb"; or the parts as a list.
        space: Whose layers.

    Returns:
        Sorted indices without repetition.

    Raises:
        ValueError: No such layer, or a space without layers.
    """
    names = [layer.name for layer in space.layers]
    if not names:
        raise ValueError(f"a direction in {space.name} acts on all layers: it cannot be limited to a layer range")
    parts = layers.split(",") if isinstance(layers, str) else [str(part) for part in layers]
    chosen: set[int] = set()
    for part in parts:
        first, dash, last = part.strip().partition("-")
        begin = _layer_index(first, names)
        end = _layer_index(last, names) if dash else begin
        if end < begin:
            raise ValueError(f"layer range {part!r} runs backwards")
        chosen.update(range(begin, end + 1))
    return tuple(sorted(chosen))


def _layer_index(text: str, names: list[str]) -> int:
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    named = "" if names[0] == "0" else f" or names such as {names[0]!r}"
    raise ValueError(f"no layer {text!r}: this generator has layers 0 to {len(names) - 1}{named}")
