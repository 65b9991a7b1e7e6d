"""Where faces are: `TinyFaceDetector` of face-api.js, a small YOLO v2 (Redmon and Farhadi, 2017)."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxedit.networks.face_blocks import FullConv, SeparableConv, check_sizes, normalized
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params

_MEAN = (117.001, 114.697, 97.404)
_SLOPE = 0.1


@dataclasses.dataclass(frozen=True)
class FaceDetectorConfig:
    """The architecture; face-api's by default.

    Attributes:
        resolution: Side of the images in pixels, officially any multiple of 32; the larger, the smaller the faces that
            are found. Of the published weights, 224 finds a face that fills the image best.
        widths: Channels of each convolution; the size is halved after each but the last.
        anchors: Width and height of the boxes that each cell corrects, in cells.
    """

    resolution: int = 416
    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    anchors: tuple[tuple[float, float], ...] = (
        (1.603231, 2.094468),
        (6.041143, 7.080126),
        (2.882459, 3.518061),
        (4.266906, 5.178857),
        (9.041765, 10.66308),
    )

    def __post_init__(self):
        check_sizes(self.resolution, self.widths, smallest=3)
        if not 1 <= len(self.anchors) <= 64 or any(len(anchor) != 2 for anchor in self.anchors):
            raise ValueError(f"anchors are {self.anchors}; 1 to 64 pairs would be right")


class Detections(NamedTuple):
    """What a detector says of each anchor of each cell.

    Attributes:
        boxes: `[count, 4]`: left, top, right and bottom; x to the right and y down, -1 and 1 at the image's edges.
        scores: `[count]`: the probability of a face.
    """

    boxes: Float[Array, "count 4"]
    scores: Float[Array, " count"]


class FaceDetectorNetwork(nn.Module):
    """One image to `[cells, cells, anchors, 5]`: place, logarithm of the size, and logit of each box."""

    config: FaceDetectorConfig

    @nn.compact
    def __call__(self, image):
        x, widths = normalized(image, _MEAN), self.config.widths
        for index, width in enumerate(widths):
            conv = SeparableConv(width, name=f"conv{index}") if index else FullConv(width, padded=False, name="conv0")
            x = nn.leaky_relu(conv(x), _SLOPE)
            x = nn.max_pool(x, (2, 2), strides=(1, 1) if index == len(widths) - 1 else (2, 2), padding="SAME")
        x = FullConv(5 * len(self.config.anchors), 1, name="out")(x)
        return x.reshape(*x.shape[:2], -1, 5)


def init(key: Key[Array, ""], *, config: FaceDetectorConfig) -> Params:
    """Draws the parameters of an untrained detector.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ...}`, float32; below that the official names, but for `out`, which is `conv8` there.
    """
    variables: Any = FaceDetectorNetwork(config).init(key, jnp.zeros((config.resolution, config.resolution, 3)))
    return variables


def detect(params: Params, image: Float[Array, "resolution resolution 3"], *, config: FaceDetectorConfig) -> Detections:
    """Finds the faces of an image.

    Args:
        params: As made by `init`.
        image: `[resolution, resolution, 3]` float32 RGB about [-1, 1].
        config: The architecture.

    Returns:
        Every anchor of every cell, in rows, columns and the order of `config.anchors`, before any threshold (the
        official one is 0.5) and suppression.
    """
    outputs: Any = FaceDetectorNetwork(config).apply(params, image)
    cells = outputs.shape[0]
    anchors = jnp.asarray(config.anchors, outputs.dtype)[None, None]
    columns, rows = jnp.meshgrid(*2 * (jnp.arange(cells, dtype=outputs.dtype),))
    corners = jnp.stack([columns, rows], axis=-1)[:, :, None]
    middles = (2 / cells) * (corners + jax.nn.sigmoid(outputs[..., :2])) - 1
    halves = jnp.exp(outputs[..., 2:4]) * anchors / cells
    boxes = jnp.concatenate([middles - halves, middles + halves], axis=-1)
    return Detections(boxes.reshape(-1, 4), jax.nn.sigmoid(outputs[..., 4]).reshape(-1))


def best_box(detections: Detections) -> Float[Array, "4"]:
    """The box of the highest score, which no suppression of overlapping ones would take away.

    Args:
        detections: As made by `detect`.

    Returns:
        `[4]`: left, top, right and bottom, as in `Detections`; of an image without faces it means nothing.
    """
    return detections.boxes[jnp.argmax(detections.scores)]


@flax.struct.dataclass(repr=False)
class FaceDetector(Described):
    """A face detector as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: FaceDetectorConfig = flax.struct.field(pytree_node=False)

    def __call__(self, image: Float[Array, "resolution resolution 3"]) -> Detections:
        """See `detect`."""
        return detect(self.params, image, config=self.config)
