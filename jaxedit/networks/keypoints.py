"""Keypoint network: residual trunk, then all coordinates from the flattened last stage."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.networks.resnet import ResNet, ResNetConfig
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params


@dataclasses.dataclass(frozen=True)
class KeypointsConfig(ResNetConfig):
    """The architecture; the avatars' keypoint network by default.

    Attributes:
        resolution: See `ResNetConfig`; images have to be of this size.
        widths: See `ResNetConfig`.
        blocks: See `ResNetConfig`.
        input_stride: See `ResNetConfig`.
        points: Number of keypoints.
    """

    resolution: int = 64
    widths: tuple[int, ...] = (16, 32, 64, 64)
    blocks: int = 1
    input_stride: int = 2
    points: int = 68


class KeypointNetwork(nn.Module):
    """One image to `[points, 2]`."""

    config: KeypointsConfig
    train: bool = False

    @nn.compact
    def __call__(self, image):
        x = ResNet(self.config, self.train, name="trunk")(image)[-1]
        return nn.Dense(2 * self.config.points, name="head")(x.reshape(-1)).reshape(self.config.points, 2)


def init(key: Key[Array, ""], *, config: KeypointsConfig) -> Params:
    """Draws the parameters of an untrained network.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ..., "batch_stats": ...}`, float32.
    """
    variables: Any = KeypointNetwork(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def locate(
    params: Params, image: Float[Array, "resolution resolution 3"], *, config: KeypointsConfig
) -> Float[Array, "points 2"]:
    """Finds the keypoints of an image.

    Args:
        params: As made by `init`.
        image: `[resolution, resolution, 3]` float32 RGB about [-1, 1].
        config: The architecture.

    Returns:
        `[points, 2]`: x to the right and y down, -1 and 1 at the image's edges.
    """
    points: Any = KeypointNetwork(config).apply(params, image)
    return points


@flax.struct.dataclass(repr=False)
class KeypointDetector(Described):
    """A keypoint network as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: KeypointsConfig = flax.struct.field(pytree_node=False)

    def __call__(self, image: Float[Array, "resolution resolution 3"]) -> Float[Array, "points 2"]:
        """See `locate`."""
        return locate(self.params, image, config=self.config)
