"""What two sets of features have to be to be compared."""

import jax
import numpy as np


def check_feature_sets(**sets: jax.Array | np.ndarray) -> None:
    """Checks that all sets are `[count, features]`, not empty, and of the same number of features.

    Args:
        sets: The sets by the names of the arguments they came in.

    Raises:
        ValueError: One of them has another rank or no rows, or their widths differ.
    """
    for name, values in sets.items():
        if values.ndim != 2 or not len(values):
            raise ValueError(f"{name} has shape {values.shape}; it has to be [count, features] with at least one row")
    if len({values.shape[1] for values in sets.values()}) > 1:
        widths = " and ".join(f"{values.shape[1]} in {name}" for name, values in sets.items())
        raise ValueError(f"numbers of features differ: {widths}; both sets have to come from the same network")
