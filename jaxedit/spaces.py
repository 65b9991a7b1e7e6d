"""Latent spaces Z, W, W+ and S of style-based generators: the layer table, directions, edits.

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
from jaxtyping import Array, ArrayLike, Float, Real

from jaxedit.generators.shapes import Space, check_w, check_z, latent_shapes
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from jaxedit.nn.pytrees import frozen_pytree

Styles = tuple[Float[Array, " _"], ...]


@frozen_pytree(leaves=("vector", "unit"), notes=("name", "source", "accuracy"))
class Direction:
    """A direction in one of the latent spaces: a frozen pytree of `vector` and `unit`. Of the other fields only `space`
    and `layers` count for what is compiled: directions of different names share programs.

    Attributes:
        name: What it changes, for messages.
        space: "z", "w", "w_plus" or "s".
        vector: Float32, of the shape in the table above. Its length is kept as published and need not be 1.
        layers: The layers it acts on: rows of W+ in W and W+, rows of `config.style_layers` in S; None for all.
        unit: Multiples of `vector` that strength 1 adds. 1 for a direction as published; a fitted direction has the
            standard deviation of the latents along `vector` here, so that strengths compare between directions.
        source: Fingerprint of the generator it was made for; empty when unknown.
        accuracy: Share of held-out samples on the right side of its boundary, for a fitted one; None when unknown.
    """

    name: str
    space: Space
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


def split_styles(flat: Float[ArrayLike, " total"], *, config: StyleGAN2Config) -> Styles:
    """Divides a flat style code into one vector per entry of `config.style_layers`.

    Args:
        flat: `[sum of the widths]`, un-gained styles (StyleSpace's order: per resolution conv(s), then toRGB).

    Returns:
        A tuple of vectors `[width]`, dtype kept.
    """
    ends = np.cumsum([layer.width for layer in config.style_layers])
    return tuple(jnp.split(jnp.asarray(flat), ends[:-1]))


def join_styles(styles: Styles) -> Float[Array, " total"]:
    """Joins the vectors of all style layers to one flat style code: the inverse of `split_styles`."""
    return jnp.concatenate(styles)


def displacement(direction: Direction, *, config: StyleGAN2Config) -> Float[Array, "..."] | Styles:
    """What strength 1 of a direction adds to a latent, with its layers and unit applied.

    Args:
        direction: Fits the generator (see `jaxedit.directions.files.check_direction`).

    Returns:
        `[z_dim]` in Z, `[num_ws, w_dim]` in W and W+, a tuple of `[width]` in S; zero in layers left alone.

    Raises:
        ValueError: The vector has another shape than the latents of its space.
    """
    shape, right = np.shape(direction.vector), latent_shapes(config)[direction.space]
    if shape != right:
        raise ValueError(f"{direction.name}: a vector of shape {shape}; {right} is right in {direction.space}")
    vector = direction.unit * jnp.asarray(direction.vector)
    if direction.space == "z":
        return vector
    if direction.space == "s":
        mask = _layer_mask(direction.layers, len(config.style_layers))
        parts = split_styles(vector, config=config)
        return tuple(part if keep else jnp.zeros_like(part) for part, keep in zip(parts, mask, strict=True))
    rows = jnp.broadcast_to(vector, (config.num_ws, config.w_dim)) if direction.space == "w" else vector
    return jnp.where(_layer_mask(direction.layers, config.num_ws)[:, None], rows, jnp.zeros_like(rows))


def add_directions(latent: Any, edits: Edits, *, config: StyleGAN2Config) -> Any:
    """Adds any number of edits of one space to a latent.

    Args:
        latent: `[z_dim]`, `[num_ws, w_dim]` (for W and W+ directions) or a tuple of style vectors (for S directions).
        edits: Pairs of a direction of that space and a strength, which may be negative and may be traced.

    Returns:
        The latent of the same structure, shapes and dtypes, `latent + sum(strength * unit * vector)`.
    """

    def add(x, step, strength):
        return x + jnp.asarray(strength).astype(x.dtype) * step.astype(x.dtype)

    for direction, strength in edits:
        latent = jax.tree.map(functools.partial(add, strength=strength), latent, displacement(direction, config=config))
    return latent


def edited_styles(
    generator: StyleGAN2Generator,
    latent: Float[ArrayLike, " z_dim"] | Float[ArrayLike, "num_ws w_dim"],
    edits: Edits = (),
    *,
    c: Float[ArrayLike, " c_dim"] | None = None,
    truncation_psi: float = 1.0,
    truncation_cutoff: int | None = None,
) -> Styles:
    """Takes a latent through mapping and affine layers, adding each edit in its own space on the way.

    Args:
        generator: The generator whose `synthesize` will draw the styles.
        latent: A Z vector `[z_dim]`, which is mapped, or a W+ code `[num_ws, w_dim]`, which is taken as it is. One
            dimension always means Z: repeat a W code for all rows, as in `jnp.tile(w, (num_ws, 1))`.
        edits: `(direction, strength)` pairs of any spaces: Z before the mapping, W and W+ after truncation, S last.
        c: One-hot class label of a conditional generator, for Z vectors only.
        truncation_psi: 1 is none, 0 the average; for Z vectors only.
        truncation_cutoff: Number of W+ rows truncated; None is all.

    Returns:
        A tuple of style vectors for `generator.synthesize`.

    Raises:
        ValueError: a Z direction for a W+ code, or neither one Z vector nor one W+ code.
    """
    config = generator.config
    of_z, of_w, of_s = _by_space(edits, "z"), _by_space(edits, "w", "w_plus"), _by_space(edits, "s")
    w = latent = jnp.asarray(latent)
    if latent.ndim == 1:
        check_z(latent, config)
        z = add_directions(latent, of_z, config=config)
        w = generator.map(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
    else:
        check_w(latent, config)
        if of_z:
            raise ValueError("a Z direction cannot edit a W+ code: it acts before the mapping network")
    if of_w:
        w = add_directions(jnp.broadcast_to(w, (config.num_ws, config.w_dim)), of_w, config=config)
    return add_directions(tuple(generator.styles(w)), of_s, config=config)


def _by_space(edits: Edits, *spaces: Space) -> list:
    return [edit for edit in edits if edit[0].space in spaces]


def resolve_layers(layers: str | Iterable[int | str], space: Space, *, config: StyleGAN2Config) -> tuple[int, ...]:
    """Turns a layer range into indices for `Direction.layers`.

    Args:
        layers: "4-7", "0,2,5-6" or, in S, names: "b64.conv0,b64.conv1", "b32.conv0-b64.torgb"; or the parts as a list.
        space: Whose layers: rows of W+ for "w" and "w_plus", entries of `config.style_layers` for "s".

    Returns:
        Sorted indices without repetition.

    Raises:
        ValueError: no such layer, or a space without layers.
    """
    if space == "z":
        raise ValueError("a Z direction acts on all layers: it cannot be limited to a layer range")
    names = [layer.name for layer in config.style_layers] if space == "s" else []
    count = len(names) or config.num_ws
    parts = layers.split(",") if isinstance(layers, str) else [str(part) for part in layers]
    chosen: set[int] = set()
    for part in parts:
        first, dash, last = part.strip().partition("-")
        begin = _layer_index(first, names, count)
        end = _layer_index(last, names, count) if dash else begin
        if end < begin:
            raise ValueError(f"layer range {part!r} runs backwards")
        chosen.update(range(begin, end + 1))
    return tuple(sorted(chosen))


def _layer_index(text: str, names: list[str], count: int) -> int:
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < count:
        return int(text)
    named = f" or names such as {names[0]!r}" if names else ""
    raise ValueError(f"no layer {text!r}: this generator has layers 0 to {count - 1}{named}")


def _layer_mask(layers: tuple[int, ...] | None, count: int) -> np.ndarray:
    mask = np.zeros(count, bool)
    mask[list(range(count) if layers is None else layers)] = True
    return mask
