"""What an avatar of two latents is: which rows of w_plus decide which factors.

As in any StyleGAN early rows decide the layout and late ones the colours. Here it is fixed, and trained for, what a row
decides, so that images of mixed styles, and of styles that were edited in some layers alone, are those of an avatar.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxedit.avatars.factors import IDENTITY, Factors
from jaxedit.avatars.latents import factors_from_z

GROUPS = {
    # 4 and 8 px: pose, outlines and presentation
    0: ("face_width", "face_height", "jaw", "chin", "ear_size", "gender", "age", "yaw", "pitch", "roll")
    + ("hair_length", "hair_volume"),
    # 8 px: what is worn, and what hair is like
    2: ("hair_curl", "hair_part", "bangs", "beard", "eyeglasses", "hat", "earrings", "necklace"),
    # 16 px: small parts, and expression
    3: ("eye_distance", "eye_size", "eye_tilt", "eye_height", "brow_height", "brow_thickness", "brow_angle")
    + ("nose_width", "nose_length", "mouth_width", "mouth_height", "lip_fullness")
    + ("smile", "mouth_open", "narrow_eyes", "glasses_shape"),
    # 32 px and more: colours and light
    5: ("skin_tone", "skin_warmth", "eye_color", "hair_lightness", "hair_red", "hair_grey", "lipstick", "light")
    + ("brightness", "accent", "background", "clothing"),
}
"""The factors that a group of rows of w_plus decides together, by its first row."""
CROSSOVERS = tuple(GROUPS)[1:]
"""The rows between two groups, where two latents can be mixed and be an avatar."""


class Mixed(NamedTuple):
    """An avatar of two latents.

    Attributes:
        factors: Those of the first latent in the groups before the crossover, of the second in the others.
        whole: Bool scalar: the crossover divides no group. If it does, it is open what the avatar is.
    """

    factors: Factors
    whole: Bool[Array, ""]


def _first_rows() -> Factors:
    rows: dict[str, Any] = {name: row for row, names in GROUPS.items() for name in names}
    identity: Any = np.array([rows.pop(name) for name in IDENTITY])
    return Factors(identity=identity, **rows)


def mixed_avatar(z: Float[Array, "2 128"], crossover: Int[Array, ""], *, num_ws: int) -> Mixed:
    """Mixes the avatars of two latents as the generator mixes their styles.

    Args:
        z: `[2, 128]` float32, two latents.
        crossover: The first row of w_plus of the second latent, 1 .. num_ws.
        num_ws: Rows of w_plus; none of them is the second one's if that is the crossover.

    Returns:
        The avatar.
    """
    first, second = factors_from_z(z[0]), factors_from_z(z[1])
    factors = jax.tree.map(lambda row, one, other: jnp.where(row < crossover, one, other), _first_rows(), first, second)
    return Mixed(factors, jnp.any(crossover == jnp.array([*CROSSOVERS, num_ws])))
