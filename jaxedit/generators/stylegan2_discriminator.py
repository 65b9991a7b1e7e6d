"""The residual discriminator of StyleGAN2 (Karras et al., 2020, section 4.1), for training and conversion."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.generators.config import check_config
from jaxedit.nn import Dense, conv2d, downsample2d, downsample_conv2d, leaky_relu, normalize_second_moment
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """The architecture of a discriminator; config-f at 1024 px by default.

    Attributes:
        resolution: Input size in pixels, a power of two, at least 8.
        c_dim: Number of classes; 0 for an unconditional network.
        channel_base: Channels at resolution r are `min(channel_base // r, channel_max)`.
        channel_max: See `channel_base`.
        image_channels: 3 for RGB.
        conv_clamp: Activations are clamped to plus and minus this value; None for networks trained in float32.
        mbstd_group_size: Size of the groups of the minibatch standard deviation; None takes the whole batch.
        mbstd_channels: Feature maps that the minibatch standard deviation adds; 0 leaves it out.
        mapping_layers: Depth of the label's mapping network (conditional networks).
        mapping_lr_multiplier: Learning rate multiplier of that network.
    """

    resolution: int = 1024
    c_dim: int = 0
    channel_base: int = 32768
    channel_max: int = 512
    image_channels: int = 3
    conv_clamp: float | None = None
    mbstd_group_size: int | None = 4
    mbstd_channels: int = 1
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01

    def __post_init__(self):
        check_config(self, may_be_zero=("c_dim", "mbstd_channels", "mapping_layers"))
        if self.mbstd_channels and self.channels(4) % self.mbstd_channels:
            raise ValueError(f"mbstd_channels is {self.mbstd_channels}; it has to divide {self.channels(4)} channels")

    def channels(self, resolution: int) -> int:
        """Width of the activations at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)


def minibatch_stddev(
    x: Float[Array, "batch height width channels"], *, group_size: int | None, num_channels: int
) -> Float[Array, "batch height width channels+{num_channels}"]:
    """Appends the standard deviation over groups of samples as feature maps. Sees the whole batch by design.

    Args:
        x: `[batch, height, width, channels]`.
        group_size: Samples of a group; None for the whole batch. The batch has to be a multiple of it, or smaller.
        num_channels: Maps to append; `channels` has to be a multiple of it.

    Returns:
        `[batch, height, width, channels + num_channels]`. Equal to `MinibatchStdLayer` of stylegan2-ada-pytorch:
        samples n and n + batch / group_size, ... form a group.

    Raises:
        ValueError: The batch is not a multiple of the group.
    """
    batch, height, width, channels = x.shape
    group = min(group_size or batch, batch)
    if batch % group:
        raise ValueError(f"a batch of {batch} can't be split into groups of {group}; use a multiple of {group}")
    y = x.reshape(group, batch // group, height, width, num_channels, channels // num_channels)
    y = y - jnp.mean(y, axis=0, keepdims=True)
    deviation = jnp.sqrt(jnp.mean(jnp.square(y), axis=0) + 1e-8)
    statistic = jnp.mean(deviation, axis=(1, 2, 4))
    maps = jnp.tile(statistic, (group, 1))[:, None, None, :]
    return jnp.concatenate([x, jnp.broadcast_to(maps, (batch, height, width, num_channels))], axis=-1)


class DiscriminatorConv(nn.Module):
    """Convolution with equalised learning rate on a batch: 3x3 or 1x1, optional halving, then bias, leaky ReLU and
    clamp.

    Equal to `Conv2dLayer` of stylegan2-ada-pytorch; `bias=False` makes its linear skip.
    """

    features: int
    size: int
    clamp: float | None = None
    down: bool = False
    bias: bool = True

    @nn.compact
    def __call__(self, x):
        in_features = x.shape[-1]
        shape = (self.size, self.size) if self.size > 1 else ()
        kernel = self.param("kernel", nn.initializers.normal(1.0), (*shape, in_features, self.features))
        scaled = kernel * (in_features * self.size**2) ** -0.5
        if self.size == 1:
            y = (jax.vmap(downsample2d)(x) if self.down else x) @ scaled
        elif self.down:
            y = jax.vmap(downsample_conv2d, (0, None))(x, scaled)
        else:
            y = jax.vmap(lambda image: conv2d(image, scaled, padding=((1, 1), (1, 1))))(x)
        if not self.bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        y = leaky_relu(y + bias[None, None, None])
        return y if self.clamp is None else jnp.clip(y, -self.clamp, self.clamp)


class DiscriminatorBlock(nn.Module):
    """A residual block that halves the size; the highest one reads the image."""

    config: DiscriminatorConfig
    resolution: int

    @nn.compact
    def __call__(self, x):
        config, width = self.config, self.config.channels(self.resolution)
        if self.resolution == config.resolution:
            x = DiscriminatorConv(width, 1, config.conv_clamp, name="fromrgb")(x)
        below = config.channels(self.resolution // 2)
        y = DiscriminatorConv(below, 1, down=True, bias=False, name="skip")(x) * 0.5**0.5
        x = DiscriminatorConv(width, 3, config.conv_clamp, name="conv0")(x)
        x = DiscriminatorConv(below, 3, down=True, name="conv1")(x) * 0.5**0.5
        clamp = None if config.conv_clamp is None else config.conv_clamp * 0.5**0.5
        return y + (x if clamp is None else jnp.clip(x, -clamp, clamp))


class DiscriminatorEpilogue(nn.Module):
    """4 px to one number (or one number per mapped label dimension)."""

    config: DiscriminatorConfig

    @nn.compact
    def __call__(self, x):
        config, width = self.config, self.config.channels(4)
        if config.mbstd_channels:
            x = minibatch_stddev(x, group_size=config.mbstd_group_size, num_channels=config.mbstd_channels)
        x = DiscriminatorConv(width, 3, config.conv_clamp, name="conv")(x)
        x = leaky_relu(Dense(width, name="fc")(x.reshape(x.shape[0], -1)))
        return Dense(width if config.c_dim else 1, name="out")(x)


class LabelMapping(nn.Module):
    """One-hot label to the vector that the features are compared with."""

    config: DiscriminatorConfig

    @nn.compact
    def __call__(self, c):
        config, width = self.config, self.config.channels(4)
        x = normalize_second_moment(Dense(width, name="embed")(c))
        for index in range(config.mapping_layers):
            x = leaky_relu(Dense(width, config.mapping_lr_multiplier, name=f"fc{index}")(x))
        return x


class DiscriminatorNetwork(nn.Module):
    """Equal to `Discriminator` (architecture "resnet") of stylegan2-ada-pytorch."""

    config: DiscriminatorConfig

    @nn.compact
    def __call__(self, x, c):
        config, resolution = self.config, self.config.resolution
        while resolution > 4:
            x = DiscriminatorBlock(config, resolution, name=f"b{resolution}")(x)
            resolution //= 2
        x = DiscriminatorEpilogue(config, name="b4")(x)
        if not config.c_dim:
            return x[:, 0]
        mapping = LabelMapping(config, name="mapping")
        label = nn.vmap(lambda module, row: module(row), variable_axes={"params": None}, split_rngs={"params": False})(
            mapping, c
        )
        return jnp.sum(x * label, axis=1) * x.shape[1] ** -0.5


def init(key: Key[Array, ""], *, config: DiscriminatorConfig) -> Params:
    """Draws the parameters of an untrained discriminator.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        A nested dict, float32, with the values that the official PyTorch network stores; rows of `b4/fc` are in height,
        width, channel order.
    """
    size = config.resolution
    images = jnp.zeros((1, size, size, config.image_channels))
    variables: Any = DiscriminatorNetwork(config).init(key, images, jnp.zeros((1, config.c_dim)))
    return variables["params"]


def discriminate(
    params: Params,
    images: Float[Array, "batch height width channels"],
    c: Float[Array, "batch c_dim"] | None = None,
    *,
    config: DiscriminatorConfig,
) -> Float[Array, " batch"]:
    """Scores a batch of images; higher is more real. Samples see their group through the minibatch standard deviation.

    Args:
        params: As made by `init`.
        images: `[batch, resolution, resolution, image_channels]` float32, about [-1, 1].
        c: `[batch, c_dim]` float32 one-hot labels of a conditional network.
        config: The architecture.

    Returns:
        `[batch]` float32 logits.

    Raises:
        ValueError: The batch is not a multiple of the group, or a label is missing or not accepted.
    """
    if (c is None) == bool(config.c_dim):
        raise ValueError(
            f"this network has {config.c_dim} classes, so labels c are {'needed' if config.c_dim else 'not accepted'}"
        )
    return DiscriminatorNetwork(config).apply({"params": params}, images, c)  # pyright: ignore[reportReturnType]


@flax.struct.dataclass(repr=False)
class StyleGAN2Discriminator(Described):
    """A discriminator as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: DiscriminatorConfig = flax.struct.field(pytree_node=False)

    def discriminate(self, images, c=None):
        """See `discriminate`."""
        return discriminate(self.params, images, c, config=self.config)
