"""DeepLabV3 (Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017) and, over several
scales, DeepLabV2 (Chen et al., 2018): networks that segment any photograph.

Names and shapes of DeepLabV3 are those of torchvision. DeepLabV2 is that of `deeplab-pytorch`, which LELSD's code uses
for everything but faces; its trunk has torchvision's names here.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from jaxedit.networks.bottleneck import BottleneckConfig, BottleneckTrunk
from jaxedit.networks.deeplab_classes import COCO_STUFF, PASCAL_VOC
from jaxedit.nn.described import Described
from jaxedit.nn.normalized import Conv, batch_norm
from jaxedit.nn.pytrees import Params

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, for RGB in [0, 1]
_PIXELS = {"caffe": (104.008, 116.669, 122.675), "lelsd": (255 * 0.481, 255 * 0.458, 255 * 0.408)}
_NAMES = {len(names): names for names in (PASCAL_VOC, COCO_STUFF)}
_SMALLEST_IMAGE, _LARGEST_IMAGE, _MOST_CLASSES = 16, 1 << 13, 1 << 12
_MOST_RATES, _LARGEST_RATE, _LARGEST_SCALE = 8, 256, 4
_ROWS = 8  # of enlarged logits at a time


def _check(config: DeepLabV3Config | DeepLabV2Config) -> None:
    if not 1 <= config.resolution <= _LARGEST_IMAGE:
        raise ValueError(f"resolution is {config.resolution}; it has to be 1 to {_LARGEST_IMAGE}")
    if not 1 <= config.classes <= _MOST_CLASSES:
        raise ValueError(f"classes is {config.classes}; it has to be 1 to {_MOST_CLASSES}")
    if not 1 <= len(config.rates) <= _MOST_RATES or not 1 <= min(config.rates) <= max(config.rates) <= _LARGEST_RATE:
        raise ValueError(f"rates are {config.rates}; it has to be 1 to {_MOST_RATES}, each 1 to {_LARGEST_RATE}")


def _class_names(count: int) -> tuple[str, ...]:
    """By their number: Pascal VOC's, COCO-Stuff's, or numbers."""
    return _NAMES.get(count, tuple(map(str, range(count))))


@dataclasses.dataclass(frozen=True)
class DeepLabV3Config(BottleneckConfig):
    """The architecture; torchvision's `deeplabv3_resnet101` by default.

    Attributes:
        width: See `BottleneckConfig`.
        blocks: See `BottleneckConfig`; (3, 4, 6, 3) of `deeplabv3_resnet50`.
        dilations: See `BottleneckConfig`.
        resolution: Side at which images are best looked at; any size works.
        classes: Number of classes.
        head_width: Channels of the head.
        rates: Dilations of the pyramid.
    """

    blocks: tuple[int, ...] = (3, 4, 23, 3)
    dilations: tuple[int, ...] = (1, 1, 2, 4)
    resolution: int = 520
    classes: int = 21
    head_width: int = 256
    rates: tuple[int, ...] = (12, 24, 36)

    def __post_init__(self):
        super().__post_init__()
        _check(self)
        if not 1 <= self.head_width <= _MOST_CLASSES:
            raise ValueError(f"head_width is {self.head_width}; it has to be 1 to {_MOST_CLASSES}")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in order: Pascal VOC's if there are 21, else numbers."""
        return _class_names(self.classes)


@dataclasses.dataclass(frozen=True)
class DeepLabV2Config(BottleneckConfig):
    """The architecture; `DeepLabV2_ResNet101_MSC` of deeplab-pytorch for COCO-Stuff by default.

    Attributes:
        width: See `BottleneckConfig`.
        blocks: See `BottleneckConfig`.
        dilations: See `BottleneckConfig`.
        resolution: Side at which images are best looked at, that of LELSD's code; any size works.
        classes: Number of classes.
        rates: Dilations of the pyramid.
        scales: At which the image is seen, beside its own.
        pixels: "caffe" is what the weights were trained for, BGR minus Caffe's mean. "lelsd" is what LELSD's released
            code gives them, RGB minus a mean in that order: a mistake, for those who want its very masks.
    """

    blocks: tuple[int, ...] = (3, 4, 23, 3)
    dilations: tuple[int, ...] = (1, 1, 2, 4)
    resolution: int = 513
    classes: int = 182
    rates: tuple[int, ...] = (6, 12, 18, 24)
    scales: tuple[float, ...] = (0.5, 0.75)
    pixels: str = "caffe"

    def __post_init__(self):
        super().__post_init__()
        _check(self)
        smallest = 1 / _SMALLEST_IMAGE
        if len(self.scales) > _MOST_RATES or not all(smallest <= scale <= _LARGEST_SCALE for scale in self.scales):
            limits = f"at most {_MOST_RATES}, each {smallest} to {_LARGEST_SCALE}"
            raise ValueError(f"scales are {self.scales}; it has to be {limits}")
        if self.pixels not in _PIXELS:
            raise ValueError(f"pixels is {self.pixels!r}; it has to be 'caffe' or 'lelsd'")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in order: COCO-Stuff's if there are 182, Pascal VOC's if there are 21, else numbers."""
        return _class_names(self.classes)


Config = DeepLabV3Config | DeepLabV2Config


class ConvNormReLU(nn.Module):
    """Convolution, normalisation, ReLU, the first two called by numbers from `first` on."""

    features: int
    size: int = 1
    dilation: int = 1
    first: int = 0

    @nn.compact
    def __call__(self, x):
        x = Conv(self.features, self.size, dilation=self.dilation, name=f"{self.first}")(x)
        return nn.relu(batch_norm(train=False, name=f"{self.first + 1}")(x))


class Branches(nn.Module):
    """The pyramid's views of an image: of single pixels, of ever wider surroundings, and of the mean."""

    features: int
    rates: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        views = [ConvNormReLU(self.features, name="0")(x)]
        for index, rate in enumerate(self.rates, start=1):
            views.append(ConvNormReLU(self.features, 3, rate, name=f"{index}")(x))
        mean = jnp.mean(x, axis=(0, 1), keepdims=True)
        mean = ConvNormReLU(self.features, first=1, name=f"{len(self.rates) + 1}")(mean)
        return jnp.concatenate([*views, jnp.broadcast_to(mean, views[0].shape)], axis=-1)


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling of DeepLabV3."""

    features: int
    rates: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        x = Branches(self.features, self.rates, name="convs")(x)
        return ConvNormReLU(self.features, name="project")(x)


class Head(nn.Module):
    """The pyramid, a 3x3 convolution, then one logit per class."""

    config: DeepLabV3Config

    @nn.compact
    def __call__(self, x):
        width = self.config.head_width
        x = Conv(width, 3, name="1")(Pyramid(width, self.config.rates, name="0")(x))
        x = nn.relu(batch_norm(train=False, name="2")(x))
        return Conv(self.config.classes, 1, use_bias=True, name="4")(x)


class DeepLabV3Network(nn.Module):
    """Equal to torchvision's `DeepLabV3` without its auxiliary classifier."""

    config: DeepLabV3Config

    @nn.compact
    def __call__(self, image):
        mean, deviation = (jnp.asarray(values, image.dtype)[None, None] for values in (_MEAN, _DEVIATION))
        x = BottleneckTrunk(self.config, name="backbone")((0.5 * image + 0.5 - mean) / deviation)[-1]
        x = Head(self.config, name="classifier")(x)
        return jax.image.resize(x, (*image.shape[:2], x.shape[2]), "linear", antialias=False)


class SummedPyramid(nn.Module):
    """Atrous spatial pyramid pooling of DeepLabV2: its convolutions already are classifiers."""

    config: DeepLabV2Config

    @nn.compact
    def __call__(self, x):
        views = [
            Conv(self.config.classes, 3, 1, rate, use_bias=True, name=f"c{index}")(x)
            for index, rate in enumerate(self.config.rates)
        ]
        return functools.reduce(jnp.add, views)


class DeepLabV2Base(nn.Module):
    """The network at one scale. Equal to deeplab-pytorch's `DeepLabV2`."""

    config: DeepLabV2Config

    @nn.compact
    def __call__(self, x):
        x = BottleneckTrunk(self.config, caffe=True, name="trunk")(x)[-1]
        return SummedPyramid(self.config, name="aspp")(x)


class DeepLabV2Network(nn.Module):
    """The largest logits over several scales, in the size of the first. Equal to deeplab-pytorch's `MSC`."""

    config: DeepLabV2Config

    @nn.compact
    def __call__(self, image):
        mean = jnp.asarray(_PIXELS[self.config.pixels], image.dtype)[None, None]
        x = 127.5 * (image[..., ::-1] if self.config.pixels == "caffe" else image) + 127.5 - mean
        base = DeepLabV2Base(self.config, name="base")
        largest = base(x)
        for scale in self.config.scales:
            small = (int(image.shape[0] * scale), int(image.shape[1] * scale), 3)
            place = jnp.full(2, scale, image.dtype), jnp.zeros(2, image.dtype)
            seen = jax.image.scale_and_translate(x, small, (0, 1), *place, "linear", antialias=False)
            largest = jnp.maximum(largest, jax.image.resize(base(seen), largest.shape, "linear", antialias=False))
        return largest


_NETWORKS = {DeepLabV3Config: DeepLabV3Network, DeepLabV2Config: DeepLabV2Network}


def init(key: Key[Array, ""], *, config: Config) -> Params:
    """Draws the parameters of an untrained network.

    Args:
        key: A typed key.
        config: The architecture of one of the two.

    Returns:
        `{"params": ..., "batch_stats": ...}`, float32, kernels HWIO; below that the official names, but for DeepLabV2's
        trunk, which has torchvision's.
    """
    variables: Any = _NETWORKS[type(config)](config).init(key, jnp.zeros((32, 32, 3)))
    return variables


def segment(
    params: Params, image: Float[Array, "height width 3"], *, config: Config
) -> Float[Array, "out_height out_width classes"]:
    """Scores the classes of every pixel.

    Args:
        params: As made by `init`.
        image: `[height, width, 3]` float32 RGB about [-1, 1], of any size of at least 16 pixels each way. It is looked
            at as it is; the official programs enlarge or shrink images to `config.resolution` first.
        config: The architecture.

    Returns:
        `[out_height, out_width, classes]` logits. DeepLabV3: at the image's size, equal to torchvision's `"out"`.
        DeepLabV2: about an eighth of it, `(n + 1) // 4 // 2 + 1` each way (65 of 513), equal to `MSC` of
        deeplab-pytorch in inference.

    Raises:
        ValueError: The image is too small.
    """
    if min(image.shape[:2]) < _SMALLEST_IMAGE:
        raise ValueError(f"an image of {image.shape[:2]} pixels; {_SMALLEST_IMAGE} or more each way are segmented")
    logits: Any = _NETWORKS[type(config)](config).apply(params, image)
    return logits


def parse(
    params: Params,
    image: Float[Array, "height width 3"],
    *,
    config: Config,
    height: int | None = None,
    width: int | None = None,
) -> Int[Array, "out_height out_width"]:
    """Finds the likeliest class of every pixel.

    Args:
        params: As made by `init`.
        image: As for `segment`.
        config: The architecture.
        height: Of the result; the image's by default.
        width: Of the result; the image's by default.

    Returns:
        `[height, width]` int32, the largest of the logits, which are enlarged bilinearly first. Enlarged logits are
        never all in memory: there would be 700 MB of 182 classes at 1024 pixels.

    Raises:
        ValueError: The image is too small.
    """
    height, width = image.shape[0] if height is None else height, image.shape[1] if width is None else width
    logits = segment(params, image, config=config)
    logits = jax.image.resize(logits, (logits.shape[0], width, logits.shape[2]), "linear", antialias=False)
    last = logits.shape[0] - 1
    places = jnp.clip((jnp.arange(height, dtype=logits.dtype) + 0.5) * ((last + 1) / height) - 0.5, 0, last)

    def row(place):
        above = place.astype(jnp.int32)
        below, share = jnp.minimum(above + 1, last), place - above.astype(place.dtype)
        return jnp.argmax((1 - share) * logits[above] + share * logits[below], axis=-1).astype(jnp.int32)

    return lax.map(row, places, batch_size=_ROWS)


class _SceneParser(Described):
    """What both have."""

    params: Params
    config: Any

    def __call__(self, image: Float[Array, "height width 3"]) -> Float[Array, "out_height out_width classes"]:
        """See `segment`."""
        return segment(self.params, image, config=self.config)

    def parse(
        self, image: Float[Array, "height width 3"], *, height: int | None = None, width: int | None = None
    ) -> Int[Array, "out_height out_width"]:
        """See `parse`."""
        return parse(self.params, image, config=self.config, height=height, width=width)


@flax.struct.dataclass(repr=False)
class DeepLabV3(_SceneParser):
    """DeepLabV3 as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: DeepLabV3Config = flax.struct.field(pytree_node=False)


@flax.struct.dataclass(repr=False)
class DeepLabV2(_SceneParser):
    """DeepLabV2 over several scales as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: DeepLabV2Config = flax.struct.field(pytree_node=False)
