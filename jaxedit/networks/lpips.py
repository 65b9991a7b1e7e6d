"""LPIPS (Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018), version 0.1.

The trunks are the convolutions of torchvision's AlexNet and VGG16, without their classifiers.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from jaxedit.nn.convolution import conv2d
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # to the trunks' inputs, for RGB in [-1, 1]
_EPSILON = 1e-10


class TrunkLayer(NamedTuple):
    """One convolution of a trunk, with what is around it.

    Attributes:
        width: Channels of its output.
        size: Of its kernel.
        pool: Side of the windows of the maximum before it; 0 for none.
        tapped: Whether its output is compared.
    """

    width: int
    size: int
    pool: int = 0
    tapped: bool = True


_TRUNKS = {
    "alex": (TrunkLayer(64, 11), TrunkLayer(192, 5, 3), TrunkLayer(384, 3, 3), TrunkLayer(256, 3), TrunkLayer(256, 3)),
    "vgg": tuple(
        TrunkLayer(width, 3, 2 if stage and not index else 0, index == count - 1)
        for stage, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)))
        for index in range(count)
    ),
}
_SMALLEST = {"alex": 31, "vgg": 16}


@dataclasses.dataclass(frozen=True)
class LpipsConfig:
    """The architecture; the official default by default.

    Attributes:
        trunk: "alex", which is fast and agrees best with people, or "vgg".
    """

    trunk: str = "alex"

    def __post_init__(self):
        if self.trunk not in _TRUNKS:
            raise ValueError(f"trunk is {self.trunk!r}; it has to be 'alex' or 'vgg'")

    @property
    def layers(self) -> tuple[TrunkLayer, ...]:
        """The convolutions of the trunk in order."""
        return _TRUNKS[self.trunk]


class ConvReLU(nn.Module):
    """Convolution, bias, ReLU. An 11x11 convolution is AlexNet's, with stride 4; others keep the size."""

    width: int
    size: int

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.he_normal(), (self.size, self.size, x.shape[-1], self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        pad = self.size // 2
        y = _conv_11_by_4(x, kernel) if self.size == 11 else conv2d(x, kernel, padding=((pad, pad), (pad, pad)))
        return nn.relu(y + bias[None, None])


def _conv_11_by_4(x: Array, kernel: Array) -> Array:
    """11x11 with stride 4 and padding 2, as 3x3 on blocks of 4x4 pixels.

    So the gradient needs no dilation, with which a CPU takes three times as long.
    """
    rows, columns = ((size - 7) // 4 + 3 for size in x.shape[:2])
    x = jnp.pad(x, ((2, 4 * rows - 2 - x.shape[0]), (2, 4 * columns - 2 - x.shape[1]), (0, 0)))
    x = x.reshape(rows, 4, columns, 4, -1).transpose(0, 2, 1, 3, 4).reshape(rows, columns, -1)
    kernel = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    kernel = kernel.reshape(3, 4, 3, 4, -1, kernel.shape[-1]).transpose(0, 2, 1, 3, 4, 5)
    return conv2d(x, kernel.reshape(3, 3, x.shape[-1], -1), padding=((0, 0), (0, 0)))


def _max_pool(x: Array, size: int) -> Array:
    """Maximum of windows with stride 2, without padding; of XLA's own, CPUs take ten times as long for the gradient."""
    for axis in (0, 1):
        end = (x.shape[axis] - size) // 2 * 2 + 1
        x = functools.reduce(jnp.maximum, [lax.slice_in_dim(x, i, i + end, 2, axis) for i in range(size)])
    return x


def _unit(x: Array) -> Array:
    """Channels of length 1. The least norm keeps the gradient of the root finite and is lost in the epsilon."""
    return x / (jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(x), axis=-1, keepdims=True), 1e-30)) + _EPSILON)


class LpipsNetwork(nn.Module):
    """Two images to one map of distances per tap, each at the size of its tap."""

    config: LpipsConfig

    def setup(self):
        taps = 0
        for index, layer in enumerate(self.config.layers):
            setattr(self, f"conv{index}", ConvReLU(layer.width, layer.size))
            if layer.tapped:
                setattr(self, f"head{taps}", self.param(f"head{taps}", nn.initializers.uniform(1.0), (layer.width,)))
                taps += 1

    def features(self, image):
        x = (image - jnp.asarray(_SHIFT)[None, None]) / jnp.asarray(_SCALE)[None, None]
        taps = []
        for index, layer in enumerate(self.config.layers):
            x = getattr(self, f"conv{index}")(_max_pool(x, layer.pool) if layer.pool else x)
            if layer.tapped:
                taps.append(_unit(x))
        return taps

    def __call__(self, image, other):
        pairs = zip(self.features(image), self.features(other), strict=True)
        return [
            jnp.sum(jnp.square(tap - other_tap) * getattr(self, f"head{index}")[None, None], axis=-1)
            for index, (tap, other_tap) in enumerate(pairs)
        ]


def init(key: Key[Array, ""], *, config: LpipsConfig) -> Params:
    """Draws the parameters of an untrained network.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"conv0": {"kernel", "bias"}, ..., "head0": [channels], ...}`, float32, kernels HWIO.
    """
    image = jnp.zeros((64, 64, 3))
    variables: Any = LpipsNetwork(config).init(key, image, image)
    return variables["params"]


def _maps(params: Params, image: Any, other: Any, config: LpipsConfig) -> list[Array]:
    if min(image.shape[:2]) < _SMALLEST[config.trunk]:
        raise ValueError(f"images of {image.shape[:2]} pixels; {_SMALLEST[config.trunk]} or more each way are compared")
    maps: Any = LpipsNetwork(config).apply({"params": params}, image, other)
    return maps


def distance(
    params: Params,
    image: Float[Array | np.ndarray, "height width 3"],
    other: Float[Array | np.ndarray, "height width 3"],
    *,
    config: LpipsConfig,
) -> Float[Array, ""]:
    """Says how different two images look.

    Args:
        params: As made by `init`.
        image: `[height, width, 3]` float32 RGB about [-1, 1].
        other: The same.
        config: The architecture.

    Returns:
        0 for equal images, about 0.7 for two that have nothing in common. Equal to `lpips.LPIPS(net=...)` of
        PerceptualSimilarity, version 0.1: the sum over the taps of the mean over the pixels. Its gradient at equal
        images is 0.

    Raises:
        ValueError: Images too small for the trunk.
    """
    return sum((jnp.mean(found) for found in _maps(params, image, other, config)), jnp.float32(0))


def distance_map(
    params: Params,
    image: Float[Array | np.ndarray, "height width 3"],
    other: Float[Array | np.ndarray, "height width 3"],
    *,
    config: LpipsConfig,
) -> Float[Array, "height width"]:
    """Says where two images look different.

    Args:
        params: As made by `init`.
        image: `[height, width, 3]` float32 RGB about [-1, 1].
        other: The same.
        config: The architecture.

    Returns:
        `[height, width]`, not negative: the sum of the taps' maps, enlarged bilinearly. Equal to
        `lpips.LPIPS(net=..., spatial=True)`.

    Raises:
        ValueError: Images too small for the trunk.
    """
    size = image.shape[:2]
    maps = (jax.image.resize(found, size, "linear", antialias=False) for found in _maps(params, image, other, config))
    return sum(maps, jnp.zeros(size))


@flax.struct.dataclass(repr=False)
class Lpips(Described):
    """LPIPS as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: LpipsConfig = flax.struct.field(pytree_node=False)

    def __call__(
        self, image: Float[Array | np.ndarray, "height width 3"], other: Float[Array | np.ndarray, "height width 3"]
    ) -> Float[Array, ""]:
        """See `distance`."""
        return distance(self.params, image, other, config=self.config)

    def distance_map(
        self, image: Float[Array | np.ndarray, "height width 3"], other: Float[Array | np.ndarray, "height width 3"]
    ) -> Float[Array, "height width"]:
        """See `distance_map`."""
        return distance_map(self.params, image, other, config=self.config)
