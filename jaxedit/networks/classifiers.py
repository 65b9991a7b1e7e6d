"""Residual networks that others have trained (He et al., "Deep Residual Learning for Image Recognition", 2016):
torchvision's classifiers of ImageNet, and IALS's of one attribute of a face each.

Names and shapes are those of torchvision, also of IALS's, which has the same network as a sequence of its parts.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.networks.bottleneck import BottleneckConfig, BottleneckTrunk
from jaxedit.networks.resnet import ResNet, ResNetConfig
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, for RGB in [0, 1]
_LARGEST_IMAGE, _MOST_CLASSES = 1 << 13, 1 << 15


def _check_classes(classes: int, least: int) -> None:
    if not least <= classes <= _MOST_CLASSES:
        raise ValueError(f"classes is {classes}; it has to be {least} to {_MOST_CLASSES}")


@dataclasses.dataclass(frozen=True)
class ResNet18Config(ResNetConfig):
    """The architecture; torchvision's `resnet18` by default.

    Attributes:
        resolution: Side of the images that it was trained on; any size works.
        widths: See `ResNetConfig`; the last is the number of pooled features.
        blocks: See `ResNetConfig`.
        input_stride: See `ResNetConfig`.
        classes: Number of classes. 0 is a network without a head, which gives the pooled features.
    """

    classes: int = 1000

    def __post_init__(self):
        super().__post_init__()
        _check_classes(self.classes, 0)


@dataclasses.dataclass(frozen=True)
class ResNet50Config(BottleneckConfig):
    """The architecture; torchvision's `resnet50` by default.

    Attributes:
        width: See `BottleneckConfig`.
        blocks: See `BottleneckConfig`; (3, 4, 23, 3) of `resnet101`.
        dilations: See `BottleneckConfig`.
        resolution: Side of the images that it was trained on; any size works.
        classes: Number of classes. 0 is a network without a head, which gives the pooled features.
    """

    resolution: int = 224
    classes: int = 1000

    def __post_init__(self):
        super().__post_init__()
        _check_classes(self.classes, 0)
        if not 1 <= self.resolution <= _LARGEST_IMAGE:
            raise ValueError(f"resolution is {self.resolution}; it has to be 1 to {_LARGEST_IMAGE}")


@dataclasses.dataclass(frozen=True)
class AttributeResNetConfig(ResNetConfig):
    """The architecture; that of IALS by default.

    Attributes:
        resolution: Side of the images; larger ones are averaged down to it, see `classify`.
        widths: See `ResNetConfig`; the last is the number of pooled features.
        blocks: See `ResNetConfig`.
        input_stride: See `ResNetConfig`.
        classes: Number of classes: that the attribute is absent, then that it is there.
    """

    resolution: int = 256
    classes: int = 2

    def __post_init__(self):
        super().__post_init__()
        _check_classes(self.classes, 1)


Config = ResNet18Config | ResNet50Config | AttributeResNetConfig


class ResidualClassifier(nn.Module):
    """One image to the features of all stages, pooled ones, and logits; all in one scope, as officially."""

    config: Config

    def setup(self):
        config = self.config
        self.trunk = BottleneckTrunk(config) if isinstance(config, ResNet50Config) else ResNet(config)
        nn.share_scope(self, self.trunk)
        if config.classes:
            self.fc = nn.Dense(config.classes)

    def __call__(self, image):
        maps = self.trunk(_pixels(image, self.config))
        features = jnp.mean(maps[-1], axis=(0, 1))
        return maps, features, self.fc(features) if self.config.classes else features


def _pixels(image: Array, config: Config) -> Array:
    """What the network has been trained on."""
    x = 0.5 * image + 0.5
    if not isinstance(config, AttributeResNetConfig):
        mean, deviation = (jnp.asarray(values, image.dtype)[None, None] for values in (_MEAN, _DEVIATION))
        return (x - mean) / deviation
    side, times = config.resolution, image.shape[0] // config.resolution
    if times > 1 and image.shape[:2] == (times * side, times * side):
        x = jnp.mean(x.reshape(side, times, side, times, 3), axis=(1, 3))
    return x


def init(key: Key[Array, ""], *, config: Config) -> Params:
    """Draws the parameters of an untrained network.

    Args:
        key: A typed key.
        config: The architecture of one of the three.

    Returns:
        `{"params": ..., "batch_stats": ...}`, float32; below that torchvision's names, with kernels HWIO.
    """
    variables: Any = ResidualClassifier(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def classify(params: Params, image: Float[Array, "height width 3"], *, config: Config) -> Float[Array, " classes"]:
    """Scores the classes of an image.

    Args:
        params: As made by `init`.
        image: `[height, width, 3]` float32 RGB about [-1, 1], looked at in its size. IALS's classifiers see squares
            whose side is a multiple of `config.resolution` averaged down to that, as images of 1024 px in its code.
        config: The architecture.

    Returns:
        `[classes]` logits, or the pooled features of a network without a head. Equal to torchvision's `resnet18` and
        `resnet50` for an image with ImageNet's normalisation, which happens here, and to `ClassifyModel` of IALS for an
        image in [0, 1]: `softmax(logits)[1]` is the probability that the attribute is there.
    """
    outputs: Any = ResidualClassifier(config).apply(params, image)
    return outputs[2]


def pooled_features(
    params: Params, image: Float[Array, "height width 3"], *, config: Config
) -> Float[Array, " features"]:
    """Describes an image by the features that its classes are read from.

    Args:
        params: As made by `init`.
        image: As for `classify`.
        config: The architecture.

    Returns:
        `[features]`, not negative: 512 of ResNet-18, 2048 of ResNet-50.
    """
    outputs: Any = ResidualClassifier(config).apply(params, image)
    return outputs[1]


def feature_maps(
    params: Params, image: Float[Array, "height width 3"], *, config: Config
) -> tuple[Float[Array, "_ _ _"], ...]:
    """Describes an image by the features of every stage, for losses that compare images.

    Args:
        params: As made by `init`.
        image: As for `classify`.
        config: The architecture.

    Returns:
        For each stage `[height, width, features]`, not negative: torchvision's `layer1` to `layer4`, of a quarter of
        the image's size down to a 32nd.
    """
    outputs: Any = ResidualClassifier(config).apply(params, image)
    return outputs[0]


class _Classifier(Described):
    """What all three have."""

    params: Params
    config: Any

    def __call__(self, image: Float[Array, "height width 3"]) -> Float[Array, " classes"]:
        """See `classify`."""
        return classify(self.params, image, config=self.config)

    def pooled_features(self, image: Float[Array, "height width 3"]) -> Float[Array, " features"]:
        """See `pooled_features`."""
        return pooled_features(self.params, image, config=self.config)

    def feature_maps(self, image: Float[Array, "height width 3"]) -> tuple[Float[Array, "_ _ _"], ...]:
        """See `feature_maps`."""
        return feature_maps(self.params, image, config=self.config)


@flax.struct.dataclass(repr=False)
class ResNet18(_Classifier):
    """ResNet-18 as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: ResNet18Config = flax.struct.field(pytree_node=False)


@flax.struct.dataclass(repr=False)
class ResNet50(_Classifier):
    """ResNet-50, or a deeper one, as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: ResNet50Config = flax.struct.field(pytree_node=False)


@flax.struct.dataclass(repr=False)
class AttributeResNet(_Classifier):
    """A classifier of one attribute as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: AttributeResNetConfig = flax.struct.field(pytree_node=False)
