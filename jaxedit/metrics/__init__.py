"""How good images and edits are, as numbers."""

from jaxedit.metrics.frechet import frechet_distance
from jaxedit.metrics.neighbors import Neighbors, nearest_neighbors
from jaxedit.metrics.precision_recall import PrecisionRecall, precision_recall

__all__ = ["Neighbors", "PrecisionRecall", "frechet_distance", "nearest_neighbors", "precision_recall"]
