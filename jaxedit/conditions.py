"""What SGF reads off a picture: probabilities of attributes, keypoints, the embedding of a caption, or several at once.

A kind has a tolerance, the distance from its target that is close enough: of attributes 0.1, of keypoints a root mean
square of 1.5 % of the image's width, of captions 0.3. `Target.weights` scale the squares such that 0.1, the default of
`SgfConfig.threshold`, means the tolerance of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxedit.faces import FaceNetworks
from jaxedit.suggestions import choose

KINDS = ("attributes", "keypoints", "captions")
POINTS = 68
_THRESHOLD = 0.1
_PROBIT = 1.702  # the logistic function of so many deviations is about the normal distribution's
_TOLERANCES = {"attributes": 0.1, "keypoints": 0.03, "captions": 0.3}


def calibrated(
    scores: Float[np.ndarray, "samples attributes"], *, signed: Bool[np.ndarray, " attributes"]
) -> tuple[Float[np.ndarray, " attributes"], Float[np.ndarray, " attributes"]]:
    """Makes probabilities of measures, such as years: of a score its place among random samples.

    Args:
        scores: `[samples, attributes]` float32 of random samples.
        signed: `[attributes]` bool, which scores are log odds and stay as they are.

    Returns:
        `Conditions.middle` and `scale`, `[attributes]` float32.
    """
    middle = np.where(signed, 0, scores.mean(axis=0)).astype(np.float32)
    return middle, np.where(signed, 1, _PROBIT / scores.std(axis=0)).astype(np.float32)


class Target(NamedTuple):
    """Where a condition is to go.

    Attributes:
        condition: `[dimensions]` float32.
        weights: `[dimensions]` float32, of the squares in the distance: 0 for what is merely held.
    """

    condition: Float[Array, " dimensions"]
    weights: Float[Array, " dimensions"]


@flax.struct.dataclass(repr=False)
class Conditions:
    """Networks that look at pictures, as a frozen pytree; their outputs one after the other are the condition.

    Attributes:
        networks: By kind of `KINDS`: `FaceNetworks` for attributes and keypoints, else a network whose call gives log
            odds of attributes, `[68, 2]` keypoints, or an embedding.
        middle: `[attributes]`, of scores, which has the probability 0.5.
        scale: `[attributes]`, log odds per unit of a score.
        names: Of the attributes.
        caption_dimensions: Length of the embedding.
    """

    networks: dict[str, Any]
    middle: Float[Array | np.ndarray, " attributes"]
    scale: Float[Array | np.ndarray, " attributes"]
    names: tuple[str, ...] = flax.struct.field(pytree_node=False)
    caption_dimensions: int = flax.struct.field(pytree_node=False, default=0)

    @property
    def places(self) -> dict[str, slice]:
        """Where in the condition each kind is."""
        sizes = {"attributes": len(self.names), "keypoints": 2 * POINTS, "captions": self.caption_dimensions}
        places, begin = dict[str, slice](), 0
        for kind in KINDS:
            if kind in self.networks:
                places[kind] = slice(begin, begin + sizes[kind])
                begin += sizes[kind]
        return places

    @property
    def dimensions(self) -> int:
        """Length of the condition."""
        return max(place.stop for place in self.places.values())

    def scores(self, image: Float[Array, "height width 3"]) -> Float[Array, " attributes"]:
        """Scores the attributes before they become probabilities.

        Args:
            image: `[height, width, 3]` float32 RGB about [-1, 1].

        Returns:
            Log odds, or measures such as years.
        """
        network = self.networks["attributes"]
        return network.attributes(image) if isinstance(network, FaceNetworks) else network(image)

    def __call__(self, image: Float[Array, "height width 3"]) -> Float[Array, " dimensions"]:
        """Looks at a picture.

        Args:
            image: `[height, width, 3]` float32 RGB about [-1, 1].

        Returns:
            The condition: probabilities in [0, 1]; x and y of keypoints, -1 and 1 at the image's edges; a unit vector.
        """
        parts = []
        for kind in self.places:
            network = self.networks[kind]
            if kind == "attributes":
                parts.append(jax.nn.sigmoid(self.scale * (self.scores(image) - self.middle)))
            elif kind == "keypoints":
                points = network.locate(image) if isinstance(network, FaceNetworks) else network(image)
                parts.append(points.reshape(-1))
            else:
                parts.append(network(image))
        return jnp.concatenate(parts)

    def target(
        self,
        condition: Float[Array, " dimensions"],
        *,
        attributes: Mapping[str, float] | None = None,
        keypoints: Float[ArrayLike, "68 2"] | None = None,
        caption: Float[ArrayLike, " caption_dimensions"] | None = None,
    ) -> Target:
        """The target of an edit; what is not named is held where it is.

        Args:
            condition: Of the picture before the edit.
            attributes: Probabilities that named ones shall have.
            keypoints: Where they shall be.
            caption: The embedding that the picture's shall be.

        Returns:
            The target.

        Raises:
            ValueError: A kind that these conditions don't have, no such attribute, or nothing at all.
        """
        goal, weights = jnp.asarray(condition), jnp.zeros_like(condition)
        given = {"attributes": attributes, "keypoints": keypoints, "captions": caption}
        asked = [kind for kind in KINDS if given[kind] is not None]
        if unknown := [kind for kind in asked if kind not in self.networks]:
            raise ValueError(f"these conditions are of {' and '.join(self.networks)}, not of {unknown[0]}")
        if not asked:
            raise ValueError("nothing to change: attributes, keypoints or a caption would be")
        for kind in asked:
            place, unit = self.places[kind], jnp.square(_THRESHOLD / _TOLERANCES[kind])
            if kind == "attributes":
                for name, value in (attributes or {}).items():
                    index = place.start + self.names.index(choose(name, self.names, kind="attribute"))
                    goal, weights = goal.at[index].set(value), weights.at[index].set(unit)
            else:
                goal = goal.at[place].set(jnp.ravel(jnp.asarray(given[kind], goal.dtype)))
                weights = weights.at[place].set(unit / POINTS if kind == "keypoints" else unit)
        return Target(goal, weights)
