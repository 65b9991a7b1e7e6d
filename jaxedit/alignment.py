"""Alignment of photographs as FFHQ's: the square about a face in which generators and encoders know it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxedit.nn.crops import sample_quad

_SAMPLES = 4  # per pixel of the result and axis: FFHQ draws 4096 pixels for 1024


def alignment_quad(landmarks: Float[Array | np.ndarray, "68 2"], *, height: int, width: int) -> Float[Array, "4 2"]:
    """The square about a face: level with its eyes, as large as the eyes and the mouth say.

    Args:
        landmarks: 68 points (x, y) in the order of iBUG 300-W: x to the right and y down, -1 and 1 at the image's
            edges.
        height: Of the image that they lie in; only the ratio to the width matters.
        width: Of the image.

    Returns:
        Corners in the coordinates of the landmarks: upper left, lower left, lower right, upper right. They may lie
        outside the image. Karras et al., "Progressive Growing of GANs" (2018), appendix C, with the numbers of FFHQ's
        `download_ffhq.py` (`recreate_aligned_images`) and e4e's `utils/alignment.py`. NaN where the eyes and the mouth
        lie in one point, or are not finite numbers.
    """
    to_pixels = jnp.array([[0.5 * width, 0.5 * height]], jnp.float32)
    points = jnp.asarray(landmarks, jnp.float32) * to_pixels
    left, right = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    eyes, mouth = 0.5 * (left + right), 0.5 * (points[48] + points[54])
    across, down = right - left, mouth - eyes
    x = across + jnp.stack([down[1], -down[0]])
    size = jnp.maximum(2.0 * jnp.linalg.norm(across), 1.8 * jnp.linalg.norm(down))
    x = x * (size / jnp.linalg.norm(x))
    y = jnp.stack([-x[1], x[0]])
    centre = eyes + 0.1 * down
    return jnp.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y]) / to_pixels


def align(
    image: Float[Array, "height width 3"],
    landmarks: Float[Array | np.ndarray, "68 2"],
    *,
    size: int = 1024,
) -> Float[Array, "{size} {size} 3"]:
    """Crops a photograph to a face as FFHQ is cropped; differentiable in the photograph and in the landmarks.

    Equal to FFHQ's script up to its rounding to 8 bits where the photograph surrounds the square amply and the square
    is less than 4 times `size` wide. Two of the script's steps are others here:

    * It blurs what it mirrors at the photograph's edges, the outer parts of the photograph with it, and fades to the
      median colour. Here the photograph keeps its pixels, since they are what an edit is to be told from and put back
      into, and around it lies its plain mirror image.
    * Where the square is larger, it first shrinks the photograph by a whole number that depends on the landmarks, which
      programs of fixed shapes cannot, and moves it by a part of a pixel. Here 4 x 4 samples a pixel have to do: a
      photograph whose square is more than 8 times `size` wide should be made smaller before.

    Args:
        image: `[height, width, 3]` float32 RGB about [-1, 1].
        landmarks: As for `alignment_quad`.
        size: Side of the result in pixels.

    Returns:
        `[size, size, 3]` float32. Lanczos' filter, which makes one pixel of the samples, can overshoot [-1, 1] a little
        at edges. NaN where `alignment_quad` is.
    """
    quad = alignment_quad(landmarks, height=image.shape[0], width=image.shape[1])
    samples = sample_quad(image, quad, size=_SAMPLES * size, padding="mirror")
    return jax.image.resize(samples, (size, size, 3), "lanczos3")
