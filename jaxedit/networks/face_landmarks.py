"""Landmarks of a face in a crop of it: `FaceLandmark68Net` of face-api.js."""

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


@dataclasses.dataclass(frozen=True)
class FaceLandmarksConfig(DenseTrunkConfig):
    """The architecture; face-api's by default.

    Attributes:
        resolution: See `DenseTrunkConfig`; crops have to be of this size.
        widths: See `DenseTrunkConfig`.
        points: Number of landmarks.
    """

    points: int = 68

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.points <= 1 << 12:
            raise ValueError(f"points is {self.points}; 1 to {1 << 12} would be right")


def _network(config: FaceLandmarksConfig) -> nn.Module:
    return DenseTrunk(config, 2 * config.points)


def init(key: Key[Array, ""], *, config: FaceLandmarksConfig) -> Params:
    """Draws the parameters of an untrained network.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ...}`, float32; below that the official names.
    """
    variables: Any = _network(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def locate(
    params: Params, crop: Float[Array, "resolution resolution 3"], *, config: FaceLandmarksConfig
) -> Float[Array, "points 2"]:
    """Finds the landmarks of a face.

    Args:
        params: As made by `init`.
        crop: `[resolution, resolution, 3]` float32 RGB about [-1, 1]: the square around the detector's box, see
            `networks.face_crops.box_crop`.
        config: The architecture.

    Returns:
        `[points, 2]` in the order of iBUG 300-W: x to the right and y down, -1 and 1 at the crop's edges, which are 0
        and 1 in the official network's output.
    """
    outputs: Any = _network(config).apply(params, crop)
    return 2 * outputs.reshape(config.points, 2) - 1


@flax.struct.dataclass(repr=False)
class FaceLandmarks(Described):
    """A landmark network as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: FaceLandmarksConfig = flax.struct.field(pytree_node=False)

    def __call__(self, crop: Float[Array, "resolution resolution 3"]) -> Float[Array, "points 2"]:
        """See `locate`."""
        return locate(self.params, crop, config=self.config)
