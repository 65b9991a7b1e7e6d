"""Real faces: face-api's networks together, from an image to landmarks, attributes and identity."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxedit import regions
from jaxedit.checkpoints import CheckpointError, load_network, read_description
from jaxedit.networks.age_gender import AgeGender
from jaxedit.networks.face_crops import box_crop, chip_of, landmark_box, place_points
from jaxedit.networks.face_detector import FaceDetector, best_box
from jaxedit.networks.face_expressions import EXPRESSIONS, FaceExpressions
from jaxedit.networks.face_landmarks import FaceLandmarks
from jaxedit.networks.face_recognition import FaceRecognition
from jaxedit.nn.described import Described

ATTRIBUTES = ("gender", "age", "smile", "mouth_open", "narrow_eyes", "surprise", "yaw")
"""What `FaceNetworks.attributes` tells, in order."""

SIGNED = ("gender", "smile", "surprise")
"""Those of `ATTRIBUTES` that are log odds, of which 0 means undecided; the others are measures."""

DECIDED = ("gender", "smile")
"""Those of `SIGNED` whose 0 has many faces on either side."""

FAMILIES = ("face_detector", "face_landmarks", "face_recognition", "age_gender", "face_expressions")
_DETECTED = 224
_PIXELS = 256  # images are averaged down to about this side before crops of 112 and 150 pixels are taken


class Judgement(NamedTuple):
    """What the networks say of the face in an image.

    Attributes:
        landmarks: `[68, 2]`: x to the right and y down, -1 and 1 at the image's edges.
        attributes: One number for each of `ATTRIBUTES`.
        identity: `[128]`; two of one person are mostly less than 0.6 apart, and so are about 3 % of those of others.
    """

    landmarks: Float[Array, "68 2"]
    attributes: Float[Array, " attributes"]
    identity: Float[Array, " dimensions"]


@flax.struct.dataclass(repr=False)
class FaceNetworks(Described):
    """Five networks as one frozen pytree."""

    face_detector: FaceDetector
    face_landmarks: FaceLandmarks
    face_recognition: FaceRecognition
    age_gender: AgeGender
    face_expressions: FaceExpressions

    def locate(self, image: Float[Array, "height width 3"]) -> Float[Array, "68 2"]:
        """Finds the landmarks of the one face, or of the likeliest.

        Args:
            image: `[height, width, 3]` float32 RGB about [-1, 1].

        Returns:
            `[68, 2]` in the order of iBUG 300-W: x to the right and y down, -1 and 1 at the image's edges. Of an image
            without a face they mean nothing.
        """
        side, (height, width, _) = self.face_detector.config.resolution, image.shape
        box = best_box(self.face_detector(jax.image.resize(image, (side, side, 3), "linear")))
        size = self.face_landmarks.config.resolution
        points = self.face_landmarks(box_crop(image, box, size=size, pool=_pool(image)))
        return place_points(points, box, height=height, width=width)

    def judge(self, image: Float[Array, "height width 3"]) -> Judgement:
        """Describes the face in an image; differentiable.

        Args:
            image: `[height, width, 3]` float32 RGB about [-1, 1].

        Returns:
            The landmarks, the attributes (see `attributes`) and the identity.
        """
        landmarks, pool = self.locate(image), _pool(image)
        crop = box_crop(image, landmark_box(landmarks), size=self.age_gender.config.resolution, pool=pool)
        age, gender = self.age_gender(crop)
        attributes = _attributes(age, gender, self.face_expressions(crop), landmarks)
        chip = chip_of(image, landmarks, size=self.face_recognition.config.resolution, pool=pool)
        return Judgement(landmarks, attributes, self.face_recognition(chip))

    def attributes(self, image: Float[Array, "height width 3"]) -> Float[Array, " attributes"]:
        """Scores the attributes of a face.

        Args:
            image: `[height, width, 3]` float32 RGB about [-1, 1].

        Returns:
            In the order of `ATTRIBUTES`: gender (log odds of what the network calls male), age (years), smile (log odds
            of "happy" against the other expressions), mouth_open (height of the gap between the lips, of the mouth's
            width), narrow_eyes (minus the height of the eyes, of their width), surprise (log odds), yaw (how far the
            nose is to the right of the middle of the jaw, of half the jaw's width).
        """
        return self.judge(image).attributes

    def mask(self, image: Float[Array, "height width 3"], *, region: str) -> Bool[Array, "height width"]:
        """The pixels of a region of the face, as its landmarks outline it.

        Args:
            image: `[height, width, 3]` float32 RGB about [-1, 1].
            region: See `regions.landmark_mask`.

        Returns:
            The mask.

        Raises:
            ValueError: No landmarks outline the region.
        """
        return regions.landmark_mask(self.locate(image), region=region, height=image.shape[0], width=image.shape[1])


def load(folder: str | Path) -> FaceNetworks:
    """Reads the five networks that `python -m weights_convert` makes of face-api's package.

    Args:
        folder: With a directory for each of `FAMILIES`.

    Returns:
        The networks, float32. The detector looks at 224 px rather than its 416: of faces that fill the image, as a
        generator's do, it overlooks far fewer then.

    Raises:
        FileNotFoundError: One is missing.
        CheckpointError: One is damaged, or another network.
    """
    found: dict[str, Any] = {}
    for family in FAMILIES:
        path = Path(folder) / family
        if (known := read_description(path).family) != family:
            raise CheckpointError(f"{path}: holds {known}, not {family}")
        found[family] = load_network(path)
    detector = found["face_detector"]
    found["face_detector"] = detector.replace(config=dataclasses.replace(detector.config, resolution=_DETECTED))
    return FaceNetworks(**found)


def _pool(image: Array) -> int:
    """The largest divisor of the image's sides that leaves about `_PIXELS` pixels."""
    height, width = image.shape[:2]
    most = max(1, min(height, width) // _PIXELS)
    return next(factor for factor in range(most, 0, -1) if height % factor == 0 and width % factor == 0)


def _attributes(age: Array, gender: Array, expressions: Array, landmarks: Array) -> Array:
    def odds(name: str) -> Array:
        index = EXPRESSIONS.index(name)
        return expressions[index] - jax.nn.logsumexp(jnp.delete(expressions, index, assume_unique_indices=True))

    def length(first: Any, second: Any) -> Array:
        return jnp.linalg.norm(landmarks[np.asarray(first)] - landmarks[np.asarray(second)], axis=-1).mean()

    gap = length((61, 62, 63), (67, 66, 65)) / length((48,), (54,))
    eyes = length((37, 38, 43, 44), (41, 40, 47, 46)) / length((36, 42), (39, 45))
    jaw = landmarks[np.array([0, 16]), 0]
    yaw = (2 * landmarks[30, 0] - jaw[0] - jaw[1]) / (jaw[1] - jaw[0])
    return jnp.stack([-gender, age, odds("happy"), gap, -eyes, odds("surprised"), yaw])
