"""BiSeNet (Yu et al., 2018) as face parsing uses it: the spatial path is an early stage of the context path's trunk.

Names and shapes are those of `face-parsing.PyTorch:model.py`; the 19 classes are CelebAMask-HQ's in that project's
order.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxedit.networks.resnet import ResNet, ResNetConfig
from jaxedit.nn.described import Described
from jaxedit.nn.normalized import Conv, batch_norm
from jaxedit.nn.pytrees import Params
from jaxedit.nn.resize import resize_align_corners

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, for RGB in [0, 1]


@dataclasses.dataclass(frozen=True)
class BiSeNetConfig(ResNetConfig):
    """The architecture; the official face parser by default.

    The last three stages of the trunk are tapped: at 1/8, 1/16 and 1/32 of the size for the official one.

    Attributes:
        resolution: Side of the images that it was trained on; any multiple of the smallest stage's stride works.
        widths: See `ResNetConfig`; at least three stages.
        blocks: See `ResNetConfig`.
        input_stride: See `ResNetConfig`.
        classes: Number of classes.
        context_width: Channels of the context path.
        fusion_width: Channels where both paths are joined; a multiple of 4.
        head_width: Hidden channels of the output head.
        auxiliary_width: Hidden channels of the two heads that only training uses.
    """

    resolution: int = 512
    classes: int = 19
    context_width: int = 128
    fusion_width: int = 256
    head_width: int = 256
    auxiliary_width: int = 64

    def __post_init__(self):
        super().__post_init__()
        if len(self.widths) < 3:
            raise ValueError(f"widths are {self.widths}; three stages or more are tapped")
        if self.fusion_width % 4:
            raise ValueError(f"fusion_width is {self.fusion_width}; it has to be a multiple of 4")


class ConvBNReLU(nn.Module):
    """Convolution, normalisation, ReLU."""

    features: int
    size: int
    train: bool

    @nn.compact
    def __call__(self, x):
        return nn.relu(batch_norm(train=self.train, name="bn")(Conv(self.features, self.size, name="conv")(x)))


def _pooled(x: Array) -> Array:
    return jnp.mean(x, axis=(0, 1), keepdims=True)


def _doubled(x: Array) -> Array:
    """Nearest up-sampling."""
    return jnp.repeat(jnp.repeat(x, 2, axis=0), 2, axis=1)


class AttentionRefinement(nn.Module):
    """Channels weighed by what the whole image looks like."""

    features: int
    train: bool

    @nn.compact
    def __call__(self, x):
        x = ConvBNReLU(self.features, 3, self.train, name="conv")(x)
        attention = Conv(self.features, 1, name="conv_atten")(_pooled(x))
        return x * nn.sigmoid(batch_norm(train=self.train, name="bn_atten")(attention))


class ContextPath(nn.Module):
    """The trunk, then from coarse to fine: global average, attention refinement, nearest up-sampling."""

    config: BiSeNetConfig
    train: bool

    @nn.compact
    def __call__(self, x):
        width, train = self.config.context_width, self.train
        fine, middle, coarse = ResNet(self.config, train, name="resnet")(x)[-3:]
        context = ConvBNReLU(width, 1, train, name="conv_avg")(_pooled(coarse))
        coarse = AttentionRefinement(width, train, name="arm32")(coarse) + context
        coarse = ConvBNReLU(width, 3, train, name="conv_head32")(_doubled(coarse))
        middle = AttentionRefinement(width, train, name="arm16")(middle) + coarse
        middle = ConvBNReLU(width, 3, train, name="conv_head16")(_doubled(middle))
        return fine, middle, coarse


class FeatureFusion(nn.Module):
    """Joins the two paths, then strengthens channels by what the whole image looks like."""

    features: int
    train: bool

    @nn.compact
    def __call__(self, spatial, context):
        x = jnp.concatenate([spatial, context], axis=-1)
        x = ConvBNReLU(self.features, 1, self.train, name="convblk")(x)
        attention = nn.relu(Conv(self.features // 4, 1, name="conv1")(_pooled(x)))
        return x + x * nn.sigmoid(Conv(self.features, 1, name="conv2")(attention))


class OutputHead(nn.Module):
    """A hidden 3x3 convolution, then one logit per class."""

    hidden: int
    classes: int
    train: bool

    @nn.compact
    def __call__(self, x):
        return Conv(self.classes, 1, name="conv_out")(ConvBNReLU(self.hidden, 3, self.train, name="conv")(x))


class BiSeNet(nn.Module):
    """Equal to `BiSeNet` of face-parsing.PyTorch: the prediction and the two auxiliary ones, at the image's size."""

    config: BiSeNetConfig
    train: bool = False

    @nn.compact
    def __call__(self, image):
        config, train = self.config, self.train
        mean, deviation = (jnp.asarray(values, image.dtype)[None, None] for values in (_MEAN, _DEVIATION))
        fine, middle, coarse = ContextPath(config, train, name="cp")((0.5 * image + 0.5 - mean) / deviation)
        fused = FeatureFusion(config.fusion_width, train, name="ffm")(fine, middle)
        heads = (
            OutputHead(config.head_width, config.classes, train, name="conv_out")(fused),
            OutputHead(config.auxiliary_width, config.classes, train, name="conv_out16")(middle),
            OutputHead(config.auxiliary_width, config.classes, train, name="conv_out32")(coarse),
        )
        return tuple(resize_align_corners(logits, height=image.shape[0], width=image.shape[1]) for logits in heads)


def init(key: Key[Array, ""], *, config: BiSeNetConfig) -> Params:
    """Draws the parameters of an untrained parser.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ..., "batch_stats": ...}`, float32; below that the official names, with kernels HWIO.
    """
    variables: Any = BiSeNet(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def segment(
    params: Params, image: Float[Array, "height width 3"], *, config: BiSeNetConfig
) -> Float[Array, "height width classes"]:
    """Scores the classes of every pixel.

    Args:
        params: As made by `init`.
        image: `[height, width, 3]` float32 RGB about [-1, 1]; sides are multiples of the smallest stage's stride.
        config: The architecture.

    Returns:
        `[height, width, classes]` logits; the first output of the official network.
    """
    logits: Any = BiSeNet(config).apply(params, image)
    return logits[0]


@flax.struct.dataclass(repr=False)
class FaceParser(Described):
    """A parser as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: BiSeNetConfig = flax.struct.field(pytree_node=False)

    def __call__(self, image: Float[Array, "height width 3"]) -> Float[Array, "height width classes"]:
        """See `segment`."""
        return segment(self.params, image, config=self.config)

    def parse(self, image: Float[Array, "height width 3"]) -> Int[Array, "height width"]:
        """The likeliest class of every pixel, int32."""
        return jnp.argmax(self(image), axis=-1).astype(jnp.int32)
