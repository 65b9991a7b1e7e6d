"""What LELSD sees of a generator: latents of a space, feature maps, and how a direction moves a latent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxedit.generators.base import Generator, added_at, space_named
from jaxedit.spaces import Direction, add_directions, edited, joined


def latent_in(generator: Generator, z: Any, *, space: str, **condition: Any) -> Any:
    """Takes a latent to the space in which the directions of a space are added: for StyleGAN2's W that is W+.

    Args:
        generator: The generator.
        z: A latent of its first space.
        space: The name of the directions' space.
        condition: See `spaces.edited`; not for the first space, whose directions are added before.

    Returns:
        A latent.

    Raises:
        ValueError: No such space.
    """
    for index in range(added_at(generator, space)):
        z = generator.advance(generator.spaces[index].name, z, **({} if index else condition))
    return z


def direction_like(generator: Generator, *, space: str) -> Any:
    """Zeros of the form in which directions of a space are optimised: an array, or a tuple of vectors for styles.

    Args:
        generator: The generator.
        space: The name of the space.

    Returns:
        Float32, of the space's shape or, in a space of parts, of their widths.

    Raises:
        ValueError: No such space.
    """
    found = space_named(generator, space)
    if found.form == "parts":
        return tuple(jnp.zeros(layer.width) for layer in found.layers)
    return jnp.zeros(found.shape)


def feature_maps(generator: Generator, latent: Any, *, space: str, **condition: Any) -> tuple[Array, list[Array]]:
    """Draws a latent, with all feature maps on the way but the images that they are made into.

    Args:
        generator: One whose `render` takes `with_features`.
        latent: As from `latent_in`.
        space: See `latent_in`.
        condition: For latents of the first space, such as `truncation_psi`.

    Returns:
        The image, and the maps `[height, width, channels]` from the first layer to the last.

    Raises:
        ValueError: No such space, or a condition after the first.
    """
    start = generator.spaces[added_at(generator, space)].name
    image, features = generator.render(edited(generator, latent, start=start, **condition), with_features=True)
    return image, [maps for name, maps in features.items() if not name.endswith("torgb")]


def mover(generator: Generator, *, space: str, layers: tuple[int, ...] | None = None) -> Callable[[Any, Any, Any], Any]:
    """How `lelsd.step` moves latents of a generator.

    Args:
        generator: The generator.
        space: See `latent_in`.
        layers: The layers that directions act on; None for all.

    Returns:
        `move(latent, direction, strength)`, with the direction as from `direction_like`.

    Raises:
        ValueError: No such space.
    """
    known = space_named(generator, space)

    def move(latent: Any, direction: Any, strength: Float[Array, ""]) -> Any:
        edits = [(Direction("", space, joined(direction), layers), strength)]
        return add_directions(latent, edits, space=known)

    return move


def matched_strength(
    distance: Callable[[Float[Array, ""]], Float[Array, ""]],
    target: Float[ArrayLike, ""],
    *,
    largest: Float[ArrayLike, ""],
    halvings: int = 12,
) -> Float[Array, ""]:
    """The strength at which an edit is as far from the original as wanted, by bisection (LELSD, section 4.2).

    Args:
        distance: Of a strength from 0 on, `[]`; taken to grow with it.
        target: The distance wanted.
        largest: Strength to look up to, of either sign.
        halvings: Of the interval.

    Returns:
        `[]` float32 with the sign of `largest`; near `largest` if the distance is less everywhere.
    """

    def body(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        less = distance(middle) < target
        return jnp.where(less, middle, low), jnp.where(less, high, middle)

    low, high = jax.lax.fori_loop(0, halvings, body, (jnp.float32(0), jnp.asarray(largest, jnp.float32)))
    return 0.5 * (low + high)
