"""Networks that say where the parts of an image are, by one name each for the same part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxedit import regions
from jaxedit.faces import FaceNetworks
from jaxedit.networks.bisenet import FaceParser
from jaxedit.networks.deeplab import DeepLabV2, DeepLabV3
from jaxedit.networks.feature_parser import FeatureParser
from jaxedit.suggestions import choose

SceneParser = DeepLabV3 | DeepLabV2
Parser = FaceParser | SceneParser
Segmenter = Parser | FaceNetworks | FeatureParser


def classes_of(segmenter: Segmenter, part: str) -> tuple[str, ...]:
    """The classes that make up a part.

    Args:
        segmenter: The network.
        part: Of faces a region, such as "mouth" or "hair+hat", see `regions.classes_of` and `regions.landmark_mask`. Of
            scenes a class of the network in any spelling, or several joined by "+": "cat", "sky-other+clouds",
            "traffic_light".

    Returns:
        Names of classes.

    Raises:
        ValueError: The network doesn't know it; the message lists what it knows.
    """
    if isinstance(segmenter, SceneParser):
        return tuple(choose(name, segmenter.config.class_names, kind="class") for name in part.split("+"))
    if isinstance(segmenter, FaceNetworks):
        regions.landmark_mask(np.zeros((68, 2), np.float32), region=part, height=1, width=1)
    return regions.classes_of(part)


def check_parts(segmenter: Segmenter, parts: tuple[str, ...]) -> None:
    """Refuses parts that a network does not know.

    Args:
        segmenter: The network.
        parts: Names of parts, see `classes_of`.

    Raises:
        ValueError: It doesn't know one of them; the message lists those that it knows.
    """
    for part in parts:
        classes_of(segmenter, part)


def seen_by(segmenter: Segmenter, image: Float[Array, "height width 3"], maps: Sequence[Array]) -> Any:
    """What a network looks at of what a generator draws.

    Args:
        segmenter: The network.
        image: As drawn.
        maps: Its feature maps, see `directions.local.feature_maps`.

    Returns:
        The maps for a parser of those, else the image.
    """
    return tuple(maps) if isinstance(segmenter, FeatureParser) else image


def part_masks(
    segmenter: Segmenter,
    seen: Float[Array, "height width 3"] | Sequence[Float[Array, "_ _ _"]],
    *,
    parts: tuple[str, ...],
) -> Bool[Array, "parts height width"]:
    """The pixels of parts of an image, by a parser or as landmarks outline them.

    Args:
        segmenter: The network. A parser sees the image in the size of `config.resolution`, as the programs do that it
            is from: 512 px for BiSeNet, 520 px for torchvision's DeepLabV3, and 513 px for DeepLabV2, whose logits are
            enlarged to the size of the image, as in LELSD's code.
        seen: `[height, width, 3]` float32 RGB about [-1, 1]; for a parser of feature maps those, see `seen_by`.
        parts: Names of parts, see `classes_of`.

    Returns:
        A mask for each part, of the image's size or, from feature maps, of the parser's.

    Raises:
        ValueError: It doesn't know one of the parts.
    """
    if isinstance(segmenter, FeatureParser):
        parsing = segmenter.parse(cast(Any, seen))
        return jnp.stack([regions.mask_of(parsing, classes_of(segmenter, part)) for part in parts])
    image = cast(Array, seen)
    height, width, _ = image.shape
    if isinstance(segmenter, FaceNetworks):
        landmarks = segmenter.locate(image)
        masks = [regions.landmark_mask(landmarks, region=part, height=height, width=width) for part in parts]
        return jnp.stack(masks)
    classes = [classes_of(segmenter, part) for part in parts]
    side = segmenter.config.resolution
    sized = image if height == side else jax.image.resize(image, (side, side, 3), "linear")
    if isinstance(segmenter, SceneParser):
        parsing, names = segmenter.parse(sized, height=height, width=width), segmenter.config.class_names
        return jnp.stack([regions.mask_of(parsing, part, names=names) for part in classes])
    parsing = segmenter.parse(sized)
    masks = jnp.stack([regions.mask_of(parsing, part) for part in classes])
    return masks if sized is image else jax.image.resize(masks, (len(parts), height, width), "nearest")
