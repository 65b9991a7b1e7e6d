"""Residual trunk of basic blocks (He et al., 2016; ResNet-18 by default)."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
from jaxtyping import Array, Float

from jaxedit.nn.normalized import Conv, batch_norm

_MOST_BLOCKS, _LARGEST_IMAGE = 256, 1 << 13


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
    """The trunk that a network is built on; ResNet-18 by default.

    Attributes:
        resolution: Side of the images in pixels, a multiple of the smallest stage's stride.
        widths: Channels of each stage; each stage but the first halves the size.
        blocks: Basic blocks per stage.
        input_stride: What the stem divides the size by: 4 (7x7 convolution, maximum), 2 or 1 (3x3 convolution).
    """

    resolution: int = 224
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: int = 2
    input_stride: int = 4

    def __post_init__(self):
        if self.input_stride not in (1, 2, 4):
            raise ValueError(f"input_stride is {self.input_stride}; it has to be 1, 2 or 4")
        if self.blocks < 1 or not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths {self.widths} and blocks {self.blocks} have to be positive")
        if self.blocks * len(self.widths) > _MOST_BLOCKS or self.resolution > _LARGEST_IMAGE:
            size = f"{self.blocks} blocks in each of {len(self.widths)} stages, {self.resolution} px"
            raise ValueError(f"{size}; at most {_MOST_BLOCKS} blocks and {_LARGEST_IMAGE} px are built")
        stride = self.input_stride * 2 ** (len(self.widths) - 1)
        if self.resolution < stride or self.resolution % stride:
            raise ValueError(f"resolution is {self.resolution}; these stages need a multiple of {stride}")

    @property
    def final_resolution(self) -> int:
        """Side of the last stage's output."""
        return self.resolution // (self.input_stride * 2 ** (len(self.widths) - 1))


class Downsample(nn.Module):
    """The shortcut of a block that changes shape: 1x1 convolution and normalisation."""

    features: int
    stride: int
    train: bool

    @nn.compact
    def __call__(self, x):
        return batch_norm(train=self.train, name="1")(Conv(self.features, 1, self.stride, name="0")(x))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut. Equal to torchvision's `BasicBlock`."""

    features: int
    stride: int
    train: bool

    @nn.compact
    def __call__(self, x):
        y = Conv(self.features, 3, self.stride, name="conv1")(x)
        y = nn.relu(batch_norm(train=self.train, name="bn1")(y))
        y = batch_norm(train=self.train, name="bn2")(Conv(self.features, name="conv2")(y))
        if self.stride != 1 or x.shape[-1] != self.features:
            x = Downsample(self.features, self.stride, self.train, name="downsample")(x)
        return nn.relu(x + y)


class Stage(nn.Module):
    """Blocks of one size; the first may halve it."""

    features: int
    blocks: int
    stride: int
    train: bool

    @nn.compact
    def __call__(self, x):
        for index in range(self.blocks):
            x = BasicBlock(self.features, 1 if index else self.stride, self.train, name=str(index))(x)
        return x


class ResNet(nn.Module):
    """The trunk: one image in, the outputs of all stages out. Names and shapes as torchvision's, without `fc`."""

    config: ResNetConfig
    train: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "height width channels"]) -> tuple[Float[Array, "_ _ _"], ...]:
        config = self.config
        large = config.input_stride == 4
        x = Conv(config.widths[0], 7 if large else 3, min(config.input_stride, 2), name="conv1")(x)
        x = nn.relu(batch_norm(train=self.train, name="bn1")(x))
        if large:
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))  # pyright: ignore[reportArgumentType]
        taps = []
        for index, width in enumerate(config.widths):
            x = Stage(width, config.blocks, 2 if index else 1, self.train, name=f"layer{index + 1}")(x)
            taps.append(x)
        return tuple(taps)
