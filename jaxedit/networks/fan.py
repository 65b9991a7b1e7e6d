"""FAN (Bulat and Tzimiropoulos, 2017) of one hourglass, with coordinates among its channels (Wang et al., "Adaptive
Wing Loss", 2019): 98 landmarks of a face, and the masks that StarGAN v2 makes of them.

Names and shapes are those of `stargan-v2:core/wing.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.nn.described import Described
from jaxedit.nn.normalized import Conv, batch_norm
from jaxedit.nn.pytrees import Params
from jaxedit.nn.resize import resize_align_corners

_LANDMARKS = 98  # of WFLW
_STRIDE = 4  # of the heat maps
_WIDEST, _LARGEST_IMAGE = 1 << 10, 1 << 13
_FAINT, _EPSILON = 0.1, 1e-6
# What the masks are sums of: first landmark, the one after the last, rows of 256 by which it is drawn higher, power.
_INNER = (
    *((51, 52, 0, 1), (52, 55, 4, 1), (55, 60, 8, 4)),  # nose
    *((60, 76, -8, 3), (60, 76, -24, 1), (96, 98, 0, 1)),  # eyes, twice, and pupils
)
_OUTER = (
    *((8, 25, 0, 3), (34, 46, -7, 2), (47, 51, -7, 2)),  # chin, eyebrows
    *((77, 82, -8, 4), (83, 88, 8, 4), (88, 96, -2, 3)),  # lips without their corners
)


@dataclasses.dataclass(frozen=True)
class FANConfig:
    """The architecture; that of StarGAN v2 by default.

    Attributes:
        resolution: Side to which images are resized.
        width: Channels of the stem, an even number; the hourglass has four times as many.
        depth: How often the hourglass halves the size of the heat maps, which have a quarter of the resolution.
    """

    resolution: int = 256
    width: int = 64
    depth: int = 4

    def __post_init__(self):
        if not 2 <= self.width <= _WIDEST or self.width % 2:
            raise ValueError(f"width is {self.width}; it has to be an even number from 2 to {_WIDEST}")
        if not 1 <= self.depth <= 10:
            raise ValueError(f"depth is {self.depth}; it has to be 1 to 10")
        step = _STRIDE << self.depth
        if not step <= self.resolution <= _LARGEST_IMAGE or self.resolution % step:
            limits = f"a multiple of {step}, at most {_LARGEST_IMAGE}"
            raise ValueError(f"resolution is {self.resolution}; with a depth of {self.depth} it has to be {limits}")


def _halved(x: Array) -> Array:
    """Means of 2x2 pixels."""
    height, width, features = x.shape
    return jnp.mean(x.reshape(height // 2, 2, width // 2, 2, features), axis=(1, 3))


def _doubled(x: Array) -> Array:
    """Nearest up-sampling."""
    return jnp.repeat(jnp.repeat(x, 2, axis=0), 2, axis=1)


class CoordConv(nn.Module):
    """Convolution of an image beside its rows, columns and distances from the middle."""

    features: int
    size: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        rows, columns = jnp.meshgrid(*(jnp.linspace(-1, 1, size, dtype=x.dtype) for size in x.shape[:2]), indexing="ij")
        distances = jnp.hypot(rows, columns)
        x = jnp.concatenate([x, jnp.stack([rows, columns, distances / distances.max()], axis=-1)], axis=-1)
        return Conv(self.features, self.size, self.stride, use_bias=True, name="conv")(x)


class Widening(nn.Module):
    """The shortcut of a block that changes the number of channels."""

    features: int

    @nn.compact
    def __call__(self, x):
        return Conv(self.features, 1, name="2")(nn.relu(batch_norm(train=False, name="0")(x)))


class ConvBlock(nn.Module):
    """Three 3x3 convolutions in a row, whose outputs are the block's, side by side, plus a shortcut."""

    features: int

    @nn.compact
    def __call__(self, x):
        y, outputs = x, []
        for number, share in ((1, 2), (2, 4), (3, 4)):
            y = nn.relu(batch_norm(train=False, name=f"bn{number}")(y))
            y = Conv(self.features // share, name=f"conv{number}")(y)
            outputs.append(y)
        if x.shape[-1] != self.features:
            x = Widening(self.features, name="downsample")(x)
        return x + jnp.concatenate(outputs, axis=-1)


class Hourglass(nn.Module):
    """Down to the smallest size and up again, each size with a shortcut of its own."""

    features: int
    depth: int

    @nn.compact
    def __call__(self, x):
        def of_size(x, depth):
            def block(name, x):
                return ConvBlock(self.features, name=f"{name}_{depth}")(x)

            low = block("b2", _halved(x))
            low = of_size(low, depth - 1) if depth > 1 else block("b2_plus", low)
            return block("b1", x) + _doubled(block("b3", low))

        return of_size(CoordConv(self.features, name="coordconv")(x), self.depth)


class FANNetwork(nn.Module):
    """One image to heat maps. Equal to `FAN` of stargan-v2."""

    config: FANConfig

    @nn.compact
    def __call__(self, image):
        width, side = self.config.width, self.config.resolution
        x = 0.5 * jax.image.resize(image, (side, side, 3), "linear", antialias=False) + 0.5
        x = nn.relu(batch_norm(train=False, name="bn1")(CoordConv(width, 7, 2, name="conv1")(x)))
        x = ConvBlock(2 * width, name="conv3")(_halved(ConvBlock(2 * width, name="conv2")(x)))
        x = Hourglass(4 * width, self.config.depth, name="m0")(ConvBlock(4 * width, name="conv4")(x))
        x = Conv(4 * width, 1, use_bias=True, name="conv_last0")(ConvBlock(4 * width, name="top_m_0")(x))
        x = nn.relu(batch_norm(train=False, name="bn_end0")(x))
        return Conv(_LANDMARKS + 1, 1, use_bias=True, name="l0")(x)


def init(key: Key[Array, ""], *, config: FANConfig) -> Params:
    """Draws the parameters of an untrained network.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ..., "batch_stats": ...}`, float32; below that the official names, with kernels HWIO.
    """
    variables: Any = FANNetwork(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def heat_maps(
    params: Params, image: Float[Array, "height width 3"], *, config: FANConfig
) -> Float[Array, "rows columns 99"]:
    """Shows where the landmarks of a face are.

    Args:
        params: As made by `init`.
        image: `[height, width, 3]` float32 RGB about [-1, 1]. Where it is not of `config.resolution`, it is resized,
            bilinearly and without antialiasing, as by the official `get_heatmap`.
        config: The architecture.

    Returns:
        `[rows, columns, 99]` of a quarter of `config.resolution`: one map for each of WFLW's 98 landmarks, about 0 to 1
        after training, then one of the outlines of the parts of the face. Equal to `FAN.forward` of stargan-v2.
    """
    maps: Any = FANNetwork(config).apply(params, image)
    return maps


def landmarks(params: Params, image: Float[Array, "height width 3"], *, config: FANConfig) -> Float[Array, "98 2"]:
    """Finds the landmarks of a face.

    Args:
        params: As made by `init`.
        image: As for `heat_maps`.
        config: The architecture.

    Returns:
        `[98, 2]`, x and y in pixels from the upper left corner of the image: the brightest place of each heat map, a
        quarter of its pixels nearer to the brighter neighbours. Equal to `FAN.get_landmark` of stargan-v2 for square
        images whose sides are multiples of 64; for others that rounds the ratio of the sizes down.
    """
    maps = heat_maps(params, image, config=config)[..., :_LANDMARKS]
    last = maps.shape[0] - 1
    row, column = jnp.divmod(jnp.argmax(maps.reshape(-1, _LANDMARKS), axis=0), last + 1)

    def beside(down: int, right: int) -> Array:
        places = jnp.clip(row + down, 0, last), jnp.clip(column + right, 0, last)
        return maps[*places, jnp.arange(_LANDMARKS)]

    slope = jnp.stack([beside(0, 1) - beside(0, -1), beside(1, 0) - beside(-1, 0)], axis=-1)
    inside = (0 < row) & (row < last) & (0 < column) & (column < last)
    brightest = jnp.stack([column, row], axis=-1).astype(maps.dtype) + 0.5
    points = brightest + jnp.where(inside[:, None], 0.25 * jnp.sign(slope), 0)
    return points * jnp.array([[image.shape[1], image.shape[0]]], maps.dtype) / (last + 1)


def masks(
    params: Params, image: Float[Array, "height width 3"], *, config: FANConfig
) -> tuple[Float[Array, "resolution resolution"], Float[Array, "resolution resolution"]]:
    """Marks where an image-to-image translation keeps the details of a face.

    Args:
        params: As made by `init`.
        image: As for `heat_maps`.
        config: The architecture.

    Returns:
        Two masks `[resolution, resolution]` from 0 to 1: of chin, eyebrows, nose, eyes and lips, and of nose and eyes
        alone. Equal to `FAN.get_heatmap` of stargan-v2, whose masks are of 256 px whatever the image's size.
    """
    side = config.resolution
    maps = heat_maps(params, image, config=config)[..., :_LANDMARKS]
    maps = resize_align_corners(maps, height=side, width=side)
    maps = jnp.where(maps < _FAINT, 0, maps)
    low, high = maps.min(axis=(0, 1), keepdims=True), maps.max(axis=(0, 1), keepdims=True)
    maps = (maps - low) / (high - low + _EPSILON)

    def drawn(parts: tuple[tuple[int, int, int, int], ...]) -> Array:
        return sum(
            jnp.roll(jnp.sum(maps[..., first:end] ** power, axis=-1), -up * side // 256, axis=0)
            for first, end, up, power in parts
        )  # pyright: ignore[reportReturnType]

    inner = drawn(_INNER)
    return jnp.clip(inner + drawn(_OUTER), 0, 1), jnp.clip(inner, 0, 1)


@flax.struct.dataclass(repr=False)
class FAN(Described):
    """A network as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: FANConfig = flax.struct.field(pytree_node=False)

    def __call__(self, image: Float[Array, "height width 3"]) -> Float[Array, "rows columns 99"]:
        """See `heat_maps`."""
        return heat_maps(self.params, image, config=self.config)

    def landmarks(self, image: Float[Array, "height width 3"]) -> Float[Array, "98 2"]:
        """See `landmarks`."""
        return landmarks(self.params, image, config=self.config)

    def masks(
        self, image: Float[Array, "height width 3"]
    ) -> tuple[Float[Array, "resolution resolution"], Float[Array, "resolution resolution"]]:
        """See `masks`."""
        return masks(self.params, image, config=self.config)
