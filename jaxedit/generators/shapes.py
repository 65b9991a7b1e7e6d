"""Latents that look alike: an array of another shape is refused, with the call that would be right.

Shapes are known while a function is traced, so nothing is added to a compiled program.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

Space = Literal["z", "w", "w_plus", "s"]

_BATCH = "functions take one sample and jax.vmap makes the batch, as in jax.vmap(generator.styles)(ws)"


def latent_shapes(config: Any) -> dict[Space, tuple[int, ...]]:
    """The shape of one latent, and of a direction's vector, in each space of a StyleGAN2; W first, S joined."""
    return {
        "w": (config.w_dim,),
        "z": (config.z_dim,),
        "w_plus": (config.num_ws, config.w_dim),
        "s": (sum(layer.width for layer in config.style_layers),),
    }


def check_z(z: Any, config: Any) -> None:
    """Raises ValueError unless `z` is one latent of Z."""
    if np.shape(z) != (config.z_dim,):
        raise ValueError(f"z has shape {np.shape(z)}; {(config.z_dim,)} is right: {_BATCH}")


def check_w(w: Any, config: Any) -> None:
    """Raises ValueError unless `w` is one latent of W or W+."""
    shapes = latent_shapes(config)
    if np.shape(w) not in (shapes["w"], shapes["w_plus"]):
        right = f"{shapes['w']} for W or {shapes['w_plus']} for W+ is right"
        raise ValueError(f"w has shape {np.shape(w)}; {right}: {_BATCH}")


def check_styles(styles: Any, config: Any) -> None:
    """Raises ValueError unless there is one style vector of the right width for every layer."""
    layers = config.style_layers
    if hasattr(styles, "shape"):
        raise ValueError(
            f"synthesize takes styles, not one array of shape {styles.shape}; use "
            "generator.synthesize(generator.styles(w)), and spaces.split_styles for styles in one array"
        )
    if len(styles) != len(layers):
        raise ValueError(f"{len(styles)} style vectors; this generator has {len(layers)}, as generator.styles(w) gives")
    for style, layer in zip(styles, layers, strict=True):
        if np.shape(style) != (layer.width,):
            wrong = f"the style of {layer.name} has shape {np.shape(style)}"
            raise ValueError(f"{wrong}; {(layer.width,)} is right: {_BATCH}")
