"""Age and gender of a face in a crop of it: `AgeGenderNet` of face-api.js, a small Xception (Chollet, 2017)."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.networks.face_blocks import MEAN, FullConv, SeparableConv, check_sizes, normalized
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params

_MOST_BLOCKS = 256


@dataclasses.dataclass(frozen=True)
class AgeGenderConfig:
    """The architecture; face-api's by default.

    Attributes:
        resolution: Side of the crops in pixels.
        widths: Channels of the first convolution, of each reduction block, and of the last convolution; the first
            convolution and each reduction block halve the size.
        main_blocks: Blocks that keep the size, before the last reduction block.
    """

    resolution: int = 112
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    main_blocks: int = 2

    def __post_init__(self):
        check_sizes(self.resolution, self.widths, smallest=1)
        if len(self.widths) < 3 or not 0 <= self.main_blocks <= _MOST_BLOCKS:
            raise ValueError(
                f"widths are {self.widths}, main_blocks {self.main_blocks}; at least 3 widths and at most "
                f"{_MOST_BLOCKS} blocks would be right"
            )


class ReductionBlock(nn.Module):
    """Two convolutions and a maximum that halves the size, beside a 1x1 convolution with stride."""

    features: int

    @nn.compact
    def __call__(self, x):
        y = SeparableConv(self.features, name="separable_conv0")(nn.relu(x))
        y = SeparableConv(self.features, name="separable_conv1")(nn.relu(y))
        y = nn.max_pool(y, (3, 3), strides=(2, 2), padding="SAME")
        return y + FullConv(self.features, 1, 2, name="expansion_conv")(x)


class MainBlock(nn.Module):
    """Three convolutions around a shortcut."""

    @nn.compact
    def __call__(self, x):
        y = x
        for index in range(3):
            y = SeparableConv(x.shape[-1], name=f"separable_conv{index}")(nn.relu(y))
        return y + x


class AgeGenderNetwork(nn.Module):
    """One crop to age `[1]` and the logits of male and female `[2]`: `TinyXception` and the two heads."""

    config: AgeGenderConfig

    @nn.compact
    def __call__(self, crop):
        first, *reductions, last = self.config.widths
        x = nn.relu(FullConv(first, stride=2, name="conv_in")(normalized(crop, MEAN)))
        for index, width in enumerate(reductions):
            if index == len(reductions) - 1:
                for block in range(self.config.main_blocks):
                    x = MainBlock(name=f"main_block_{block}")(x)
            x = ReductionBlock(width, name=f"reduction_block_{index}")(x)
        features = jnp.mean(nn.relu(SeparableConv(last, name="separable_conv")(x)), axis=(0, 1))
        return nn.Dense(1, name="age")(features), nn.Dense(2, name="gender")(features)


def init(key: Key[Array, ""], *, config: AgeGenderConfig) -> Params:
    """Draws the parameters of an untrained network.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ...}`, float32; below that the official names, those of the three flows side by side.
    """
    variables: Any = AgeGenderNetwork(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def estimate(
    params: Params, crop: Float[Array, "resolution resolution 3"], *, config: AgeGenderConfig
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Estimates the age and the gender that a face looks like.

    Args:
        params: As made by `init`.
        crop: `[resolution, resolution, 3]` float32 RGB about [-1, 1]: the square around the detector's box or around
            the landmarks, see `networks.face_crops`.
        config: The architecture.

    Returns:
        The age in years and the logit of what the official network calls female: `sigmoid` of it is one minus the
        official probability of male.
    """
    outputs: Any = AgeGenderNetwork(config).apply(params, crop)
    age, gender = outputs
    return age[0], gender[1] - gender[0]


@flax.struct.dataclass(repr=False)
class AgeGender(Described):
    """An age and gender network as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: AgeGenderConfig = flax.struct.field(pytree_node=False)

    def __call__(self, crop: Float[Array, "resolution resolution 3"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """See `estimate`."""
        return estimate(self.params, crop, config=self.config)
