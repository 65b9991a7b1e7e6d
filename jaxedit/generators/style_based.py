"""What generators with a mapping network and style layers have in common: Z, W, W+ and S, and the way through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxedit.generators.base import Layer, Relative, Space
from jaxedit.generators.shapes import check_w
from jaxedit.nn.described import Described


def truncated(w: Array, average: Array | np.ndarray, psi: Any, cutoff: int | None, *, num_ws: int) -> Array:
    """Moves a w towards the average; with a cutoff the rows of w_plus, of which only the first so many are moved."""
    near = average + psi * (w - average)
    return near if cutoff is None else jnp.where((jnp.arange(num_ws) < cutoff)[:, None], near[None], w[None])


def split_by_layer(affine: Array, layers: Sequence[Any]) -> tuple[Array, ...]:
    """The style vectors of all layers, from their affine outputs side by side: `[total]`, or `[num_ws, total]`."""
    ends = [sum(layer.width for layer in layers[: index + 1]) for index in range(len(layers))]
    columns = jnp.split(affine, ends[:-1], axis=-1)
    return tuple(s if s.ndim == 1 else s[layer.w_index] for s, layer in zip(columns, layers, strict=True))


class StyleBased(Described):
    """The part of `jaxedit.Generator` that follows from `config`, `map`, `styles` and `synthesize`."""

    config: Any
    map: Any
    styles: Any
    synthesize: Any

    @property
    def spaces(self) -> tuple[Space, ...]:
        """Z, W, W+ and S."""
        config = self.config
        rows = tuple(Layer(str(row), config.w_dim) for row in range(config.num_ws))
        return (
            Space("z", (config.z_dim,)),
            Space("w", (config.w_dim,), rows, "shared"),
            Space("w_plus", (config.num_ws, config.w_dim), rows, relative=self.relative),
            Space("s", (sum(layer.width for layer in config.style_layers),), config.style_layers, "parts"),
        )

    @property
    def relative(self) -> Relative | None:
        """The generator of another number of rows whose W+ directions act on this one, if there is one."""
        return None

    def advance(self, space: str, latent, **condition):
        """Takes a latent one space on; Z takes what `map` does."""
        if space == "z":
            return self.map(latent, **condition)
        if condition or space not in ("w", "w_plus"):
            raise ValueError(f"space {space!r} has no next one, or none that depends on {', '.join(condition)}")
        check_w(latent, self.config)
        if space == "w":
            return jnp.broadcast_to(latent, (self.config.num_ws, self.config.w_dim))
        return tuple(self.styles(latent))

    def render(self, latent, **options):
        """See `synthesize`."""
        return self.synthesize(latent, **options)
