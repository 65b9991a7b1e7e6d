"""Networks that say where the parts of an image are, by one name each for the same part."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxedit import regions
from jaxedit.faces import FaceNetworks
from jaxedit.networks.bisenet import FaceParser

Segmenter = FaceParser | FaceNetworks


def check_parts(segmenter: Segmenter, parts: tuple[str, ...]) -> None:
    """Refuses parts that a network does not know.

    Args:
        segmenter: The network.
        parts: Names of regions, such as "mouth" or "hair+hat".

    Raises:
        ValueError: It doesn't know one of them; the message lists those that it knows.
    """
    for part in parts:
        if isinstance(segmenter, FaceNetworks):
            regions.landmark_mask(np.zeros((68, 2), np.float32), region=part, height=1, width=1)
        else:
            regions.classes_of(part)


def part_masks(
    segmenter: Segmenter, image: Float[Array, "height width 3"], *, parts: tuple[str, ...]
) -> Bool[Array, "parts height width"]:
    """The pixels of parts of a face, by a parser or as landmarks outline them.

    Args:
        segmenter: The network. A parser sees the image in the size that it was trained for.
        image: `[height, width, 3]` float32 RGB about [-1, 1].
        parts: Names of regions, see `regions.classes_of` and `regions.landmark_mask`.

    Returns:
        A mask for each part.

    Raises:
        ValueError: It doesn't know one of the parts.
    """
    height, width, _ = image.shape
    if isinstance(segmenter, FaceNetworks):
        landmarks = segmenter.locate(image)
        masks = [regions.landmark_mask(landmarks, region=part, height=height, width=width) for part in parts]
        return jnp.stack(masks)
    side = segmenter.config.resolution
    seen = image if height == side else jax.image.resize(image, (side, side, 3), "linear")
    parsing = segmenter.parse(seen)
    masks = jnp.stack([regions.mask_of(parsing, regions.classes_of(part)) for part in parts])
    return masks if seen is image else jax.image.resize(masks, (len(parts), height, width), "nearest")
