"""Residual trunk of bottleneck blocks (He et al., 2016); atrous stages (Chen et al., 2017) and weighed channels (Hu et
al., 2018) as options."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxedit.networks.resnet import Downsample
from jaxedit.nn.normalized import Conv, batch_norm

_EXPANSION = 4
_MOST_BLOCKS, _WIDEST, _LARGEST_DILATION = 256, 1 << 12, 64


@dataclasses.dataclass(frozen=True)
class BottleneckConfig:
    """The trunk that a network is built on; ResNet-50 by default.

    Attributes:
        width: Channels of the stem and inside the blocks of the first stage; each further stage doubles them, and its
            output has four times as many.
        blocks: Blocks of each stage: (3, 4, 6, 3) of ResNet-50, (3, 4, 23, 3) of ResNet-101.
        dilations: Of each stage's 3x3 convolutions. Where one is larger than that of the stage before, it takes the
            place of the stride of 2 with which other stages begin; the first stage has none.
    """

    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    dilations: tuple[int, ...] = (1, 1, 1, 1)

    def __post_init__(self):
        if not self.blocks or min(self.blocks) < 1 or sum(self.blocks) > _MOST_BLOCKS:
            raise ValueError(f"blocks are {self.blocks}; there have to be some in each stage, at most {_MOST_BLOCKS}")
        if not 1 <= self.width or self.width << len(self.blocks) > _WIDEST:
            widest = _WIDEST >> len(self.blocks)
            raise ValueError(f"width is {self.width}; with {len(self.blocks)} stages it has to be 1 to {widest}")
        dilated = len(self.dilations) == len(self.blocks) and 1 <= min(self.dilations)
        if not dilated or max(self.dilations) > _LARGEST_DILATION:
            raise ValueError(f"dilations are {self.dilations}; it has to be one per stage, 1 to {_LARGEST_DILATION}")


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut; torchvision's `Bottleneck`, or Caffe's with the stride first."""

    features: int
    stride: int
    dilation: int
    shortcut: bool
    caffe: bool
    squeeze: int
    train: bool

    @nn.compact
    def __call__(self, x):
        wide, train = _EXPANSION * self.features, self.train
        strides = (self.stride, 1) if self.caffe else (1, self.stride)
        y = nn.relu(batch_norm(train=train, name="bn1")(Conv(self.features, 1, strides[0], name="conv1")(x)))
        y = Conv(self.features, 3, strides[1], self.dilation, name="conv2")(y)
        y = Conv(wide, 1, name="conv3")(nn.relu(batch_norm(train=train, name="bn2")(y)))
        y = batch_norm(train=train, name="bn3")(y)
        if self.squeeze:
            seen = jnp.mean(y, axis=(0, 1), keepdims=True)
            seen = nn.relu(Conv(wide // self.squeeze, 1, use_bias=True, name="conv4")(seen))
            y *= nn.sigmoid(Conv(wide, 1, use_bias=True, name="conv5")(seen))
        if self.shortcut:
            x = Downsample(wide, self.stride, train, name="downsample")(x)
        return nn.relu(x + y)


class BottleneckStage(nn.Module):
    """Blocks of one size; `first` is the dilation of the first, which may have a stride."""

    features: int
    blocks: int
    stride: int
    first: int
    dilation: int
    caffe: bool
    squeeze: int
    train: bool

    @nn.compact
    def __call__(self, x):
        options = self.caffe, self.squeeze, self.train
        for index in range(self.blocks):
            stride, dilation = (1, self.dilation) if index else (self.stride, self.first)
            x = Bottleneck(self.features, stride, dilation, not index, *options, name=str(index))(x)
        return x


class BottleneckTrunk(nn.Module):
    """One image in, the outputs of all stages out. Names and shapes are torchvision's `ResNet`'s, without `fc`.

    Attributes:
        config: The architecture.
        caffe: False is torchvision's trunk, with the stride in a block's 3x3 convolution ("v1.5"), and with a first
            block that keeps the previous dilation in an atrous stage. True is the trunk of Caffe's weights as
            deeplab-pytorch has it: the stride in the first 1x1 convolution, one dilation per stage, and a maximum whose
            size is rounded up.
        padding: Around the image of which the maximum is taken, in pixels.
        squeeze: How many times fewer hidden channels than channels a block has that weighs its channels by what the
            whole image looks like; 0 for blocks that do not.
        train: See `batch_norm`.
    """

    config: BottleneckConfig
    caffe: bool = False
    padding: int = 1
    squeeze: int = 0
    train: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "height width channels"]) -> tuple[Float[Array, "_ _ _"], ...]:
        config, low = self.config, self.padding
        x = nn.relu(batch_norm(train=self.train, name="bn1")(Conv(config.width, 7, 2, name="conv1")(x)))
        padding = [(low, low + 1 - size % 2 if self.caffe else low) for size in x.shape[:2]]
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=padding)  # pyright: ignore[reportArgumentType]
        taps, before = [], config.dilations[0]
        for index, (blocks, dilation) in enumerate(zip(config.blocks, config.dilations, strict=True)):
            stride = 2 if index and dilation <= before else 1
            first = dilation if self.caffe else before
            size = config.width << index, blocks, stride, first, dilation
            options = self.caffe, self.squeeze, self.train
            x, before = BottleneckStage(*size, *options, name=f"layer{index + 1}")(x), dilation
            taps.append(x)
        return tuple(taps)
