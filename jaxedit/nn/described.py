"""Networks whose `repr` is one line, without their parameters."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np


class Described:
    """For frozen pytrees with `params` and `config`: `FaceParser(config=..., 310,000 parameters)`."""

    params: Any
    config: Any

    def __repr__(self) -> str:
        count = sum(math.prod(np.shape(leaf)) for leaf in jax.tree.leaves(self.params))
        return f"{type(self).__name__}(config={self.config}, {count:,} parameters)"
