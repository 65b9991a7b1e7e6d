"""Latents that look alike: an array of another shape is refused, with the call that would be right.

Shapes are known while a function is traced, so nothing is added to a compiled program.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ONE_SAMPLE = "functions take one sample and jax.vmap makes the batch"
_BATCH = f"{ONE_SAMPLE}, as in jax.vmap(generator.styles)(ws)"


def check_z(z: Any, config: Any) -> None:
    """Raises ValueError unless `z` is one latent of Z."""
    if np.shape(z) != (config.z_dim,):
        raise ValueError(f"z has shape {np.shape(z)}; {(config.z_dim,)} is right: {ONE_SAMPLE}")


def check_c(c: Any, config: Any) -> None:
    """Raises ValueError unless `c` is the label of one sample, or None for a network without classes."""
    if (c is None) == bool(config.c_dim):
        raise ValueError(
            f"this network has {config.c_dim} classes, so a label c is {'needed' if config.c_dim else 'not accepted'}"
        )
    if c is not None and np.shape(c) != (config.c_dim,):
        raise ValueError(f"c has shape {np.shape(c)}; {(config.c_dim,)} is right: {ONE_SAMPLE}")


def check_w(w: Any, config: Any) -> None:
    """Raises ValueError unless `w` is one latent of W or W+."""
    of_w, of_w_plus = (config.w_dim,), (config.num_ws, config.w_dim)
    if np.shape(w) not in (of_w, of_w_plus):
        raise ValueError(f"w has shape {np.shape(w)}; {of_w} for W or {of_w_plus} for W+ is right: {_BATCH}")


def check_styles(styles: Any, config: Any) -> None:
    """Raises ValueError unless there is one style vector of the right width for every layer."""
    layers = config.style_layers
    if hasattr(styles, "shape"):
        raise ValueError(
            f"synthesize takes styles, not one array of shape {styles.shape}; use "
            "generator.synthesize(generator.styles(w)), and stylegan2.split_styles for styles in one array"
        )
    if len(styles) != len(layers):
        raise ValueError(f"{len(styles)} style vectors; this generator has {len(layers)}, as generator.styles(w) gives")
    for style, layer in zip(styles, layers, strict=True):
        if np.shape(style) != (layer.width,):
            wrong = f"the style of {layer.name} has shape {np.shape(style)}"
            raise ValueError(f"{wrong}; {(layer.width,)} is right: {_BATCH}")
