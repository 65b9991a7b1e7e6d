"""What the networks of face-api look at: crops of boxes, and chips that the landmarks align.

All places are as in `networks.keypoints`: x to the right and y down, -1 and 1 at the image's edges.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxedit.nn.crops import sample_quad

FFHQ_BOX = (-0.74, -0.35, 0.74, 0.92)
"""Where the face is in an image aligned as FFHQ's, so that those, which generators draw, need no detector."""

_ALIGNED = (45, 42, 36, 39, 33)  # corners of the eyes and base of the nose in iBUG 300-W's order
_TEMPLATE = (  # where dlib's `get_face_chip_details` wants them, in a square of side 1
    (0.8595674595992, 0.2134981538014),
    (0.6460604764104, 0.2289674387677),
    (0.1205750620789, 0.2137274526848),
    (0.3340850613712, 0.2290642403242),
    (0.4901123135679, 0.6277975316475),
)


def _square(
    box: Float[Array | np.ndarray, "4"], height: int, width: int
) -> tuple[Float[Array, "2"], Float[Array, "2"], Float[Array, "2"]]:
    """Middle and half the sides of the smallest square around a box that is cut at the image's borders, and the part of
    the square's width and height that the box fills."""
    box, extent = jnp.clip(jnp.asarray(box), -1, 1), jnp.array([width, height], jnp.float32)
    middle, halves = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    side = jnp.maximum(jnp.max(halves * extent), 1)
    return middle, side / extent, halves * extent / side


def box_crop(
    image: Float[Array, "height width 3"], box: Float[Array | np.ndarray, "4"], *, size: int = 112, pool: int = 1
) -> Float[Array, "{size} {size} 3"]:
    """Crops a box as face-api does: it is cut at the image's borders, and black bars make it a square.

    Args:
        image: `[height, width, 3]` float32 RGB about [-1, 1].
        box: Left, top, right and bottom, such as `face_detector.best_box` or `landmark_box` gives.
        size: Side of the crop in pixels.
        pool: See `nn.crops.sample_quad`.

    Returns:
        `[size, size, 3]`. Equal to `extractFaceTensors`, `padToSquare` and `resizeBilinear` of face-api.js up to how
        they resample: that rounds the box to pixels, and takes single pixels, counted from their corners, where here
        fractions of a pixel count, pixels are counted from their middles, and `pool` averages them.

    Raises:
        ValueError: See `sample_quad`.
    """
    middle, halves, filled = _square(box, *image.shape[:2])
    signs = jnp.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    corners = middle[None] + signs * halves[None]
    crop = sample_quad(image, corners, size=size, padding="mirror", pool=pool)
    places = (2 * jnp.arange(size, dtype=jnp.float32) + 1) / size - 1
    across, down = (jnp.clip((part - jnp.abs(places)) * size / 2 + 0.5, 0, 1) for part in filled)
    return (crop + 1) * (down[:, None] * across[None, :])[:, :, None] - 1


def place_points(
    points: Float[Array, "count 2"], box: Float[Array | np.ndarray, "4"], *, height: int, width: int
) -> Float[Array, "count 2"]:
    """From places in the crop of a box to places in the image.

    Args:
        points: `[count, 2]`: -1 and 1 at the edges of `box_crop`, such as `face_landmarks.locate` gives.
        box: As given to `box_crop`.
        height: Of the image in pixels.
        width: Of the image in pixels.

    Returns:
        `[count, 2]`: -1 and 1 at the image's edges.
    """
    middle, halves, _ = _square(box, height, width)
    return middle[None] + halves[None] * points


def landmark_box(landmarks: Float[Array | np.ndarray, "count 2"], *, padding: float = 0.2) -> Float[Array, "4"]:
    """The box around landmarks, in which face-api looks for age, gender and expression where it has them.

    Args:
        landmarks: `[count, 2]`: places in the image.
        padding: How much larger than the smallest box it is, in parts of that one's width and height.

    Returns:
        `[4]`: left, top, right and bottom. Equal to `alignMinBbox` of face-api.js inside the image.
    """
    low, high = jnp.min(landmarks, axis=0), jnp.max(landmarks, axis=0)
    more = padding / 2 * (high - low)
    return jnp.concatenate([low - more, high + more])


def chip_of(
    image: Float[Array, "height width 3"],
    landmarks: Float[Array | np.ndarray, "68 2"],
    *,
    size: int = 150,
    padding: float = 0.25,
    pool: int = 1,
) -> Float[Array, "{size} {size} 3"]:
    """Aligns a face as dlib does: the similarity transform that best fits eye corners and nose base to a template.

    Args:
        image: `[height, width, 3]` float32 RGB about [-1, 1].
        landmarks: `[68, 2]`: places in the image, in the order of iBUG 300-W.
        size: Side of the chip in pixels.
        padding: Width of the border around the template, in parts of its side.
        pool: See `nn.crops.sample_quad`.

    Returns:
        `[size, size, 3]`, black where the image ends. Equal to dlib's `get_face_chip` with five landmarks up to
        resampling and half a pixel; face-api.js takes an upright box instead.

    Raises:
        ValueError: See `sample_quad`.
    """
    extent = jnp.array([image.shape[1], image.shape[0]], jnp.float32)[None] / 2
    wanted, found = jnp.array(_TEMPLATE), jnp.asarray(landmarks)[jnp.array(_ALIGNED)] * extent
    wanted_middle, found_middle = (jnp.mean(points, axis=0, keepdims=True) for points in (wanted, found))
    wanted, found = wanted - wanted_middle, found - found_middle
    along = jnp.sum(wanted * found)
    turned = jnp.sum(wanted[:, 0] * found[:, 1] - wanted[:, 1] * found[:, 0])
    matrix = jnp.stack([along, turned, -turned, along]).reshape(2, 2) / jnp.sum(wanted * wanted)
    low, high = -padding, 1 + padding
    square = jnp.array([[low, low], [low, high], [high, high], [high, low]]) - wanted_middle
    corners = found_middle + jnp.matmul(square, matrix, precision="highest")
    return sample_quad(image, corners / extent, size=size, padding="black", pool=pool)
