"""What every generator offers, whatever its family."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from jaxtyping import Float


class Generator(Protocol):
    """A pretrained generator as a frozen pytree: `params` are leaves, `config` is static.

    All methods take one sample; `jax.vmap` makes the batch. What each space looks like is the family's matter: see
    `jaxedit.generators.stylegan2`.

    Attributes:
        params: Nested dict of arrays.
        config: Frozen, hashable description of the architecture.
        fingerprint: SHA-256 (hex) of the file that the weights came from; empty when unknown. Directions carry it.
            Compiled programs do not depend on it.
    """

    params: Any
    config: Any
    fingerprint: str

    def map(self, z: Any, c: Any = None, *, truncation_psi: Any = 1.0, truncation_cutoff: int | None = None) -> Any:
        """Maps a normal latent to the intermediate latent space."""
        ...

    def styles(self, w: Any) -> tuple[Any, ...]:
        """Computes all style vectors."""
        ...

    def synthesize(
        self, styles: Any, *, noise: Any = "const", with_features: bool = False, compute_dtype: Any = ...
    ) -> Any:
        """Renders style vectors to an image `[height, width, channels]`, float32, about [-1, 1]."""
        ...


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
