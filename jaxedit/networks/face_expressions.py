"""Expression of a face in a crop of it: `FaceExpressionNet` of face-api.js."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.networks.face_blocks import DenseTrunk, DenseTrunkConfig
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params

EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
"""In the order of the logits."""


@dataclasses.dataclass(frozen=True)
class FaceExpressionsConfig(DenseTrunkConfig):
    """The architecture; face-api's by default.

    Attributes:
        resolution: See `DenseTrunkConfig`.
        widths: See `DenseTrunkConfig`.
    """


def _network(config: FaceExpressionsConfig) -> nn.Module:
    return DenseTrunk(config, len(EXPRESSIONS))


def init(key: Key[Array, ""], *, config: FaceExpressionsConfig) -> Params:
    """Draws the parameters of an untrained classifier.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ...}`, float32; below that the official names.
    """
    variables: Any = _network(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def classify(
    params: Params, crop: Float[Array, "resolution resolution 3"], *, config: FaceExpressionsConfig
) -> Float[Array, "7"]:
    """Scores the expressions of a face.

    Args:
        params: As made by `init`.
        crop: `[resolution, resolution, 3]` float32 RGB about [-1, 1]: the square around the detector's box or around
            the landmarks, see `networks.face_crops`.
        config: The architecture.

    Returns:
        `[7]` logits in the order of `EXPRESSIONS`; `softmax` gives the official probabilities.
    """
    logits: Any = _network(config).apply(params, crop)
    return logits


@flax.struct.dataclass(repr=False)
class FaceExpressions(Described):
    """An expression classifier as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: FaceExpressionsConfig = flax.struct.field(pytree_node=False)

    def __call__(self, crop: Float[Array, "resolution resolution 3"]) -> Float[Array, "7"]:
        """See `classify`."""
        return classify(self.params, crop, config=self.config)
