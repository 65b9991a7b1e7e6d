"""SeFa (Shen & Zhou, 2021): the directions of W that the affine layers amplify most."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float

from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from jaxedit.spaces import Direction


def closed_form_directions(
    generator: StyleGAN2Generator, *, layers: tuple[int, ...] | None = None, count: int = 10
) -> tuple[Direction, ...]:
    """Factorises the affine layers of a generator. Equal to `sefa:utils.py:factorize_weight` for StyleGAN2.

    The weights of each row's convolution (for the last row: of the last ToRGB, as in the official code) stand side by
    side, their columns of unit length; the directions are the eigenvectors of `A A^T` with the largest eigenvalues.

    Args:
        generator: The generator.
        layers: Rows of W+ whose layers count and that the directions act on; None for all.
        count: How many directions, at most `w_dim`.

    Returns:
        W directions of unit length by falling eigenvalue, each with its largest entry positive.

    Raises:
        ValueError: A row that does not exist, no row, or more directions than there are.
    """
    config = generator.config
    chosen = tuple(range(config.num_ws)) if layers is None else layers
    if not chosen or not all(0 <= row < config.num_ws for row in chosen):
        raise ValueError(f"layers are {chosen}; one or more rows of W+ from 0 to {config.num_ws - 1} are needed")
    if not 1 <= count <= config.w_dim:
        raise ValueError(f"count is {count}; 1 to {config.w_dim} directions exist")
    weights = np.asarray(_affine_columns(generator.params["synthesis"]["affine"]["kernel"], chosen, config), np.float64)
    weights = weights / np.linalg.norm(weights, axis=0, keepdims=True)
    _, vectors = np.linalg.eigh(weights @ weights.T)
    rows = vectors.T[::-1][:count]
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    return tuple(
        Direction(
            name=f"sefa {index}",
            space="w",
            vector=row.astype(np.float32),
            layers=layers,
            source=generator.fingerprint,
        )
        for index, row in enumerate(rows * np.sign(largest))
    )


def _affine_columns(kernel: Float[Array, "w_dim total"], rows: tuple[int, ...], config: StyleGAN2Config) -> np.ndarray:
    ends = np.cumsum([layer.width for layer in config.style_layers])
    parts = np.split(np.asarray(kernel), ends[:-1], axis=1)
    last = config.num_ws - 1
    return np.concatenate(
        [
            part
            for part, layer in zip(parts, config.style_layers, strict=True)
            if layer.w_index in rows and (layer.kind == "conv" or layer.w_index == last)
        ],
        axis=1,
    )
