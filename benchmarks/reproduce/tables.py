"""Tables of reports in markdown, and the intervals in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return ["| " + " | ".join(line) + " |" for line in (heading, ["---"] * len(heading), *rows)]


def half_interval(values: np.ndarray) -> float:
    """Half of the 95 % confidence interval of the mean of independent values."""
    return float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))
