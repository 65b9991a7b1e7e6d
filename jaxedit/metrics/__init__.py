"""How good images and edits are, as numbers."""

from jaxedit.metrics.disentanglement import DisentanglementCurve, disentanglement_curve, disentanglement_score
from jaxedit.metrics.edits import attribute_change, identity_score, masked_mse, psnr, ssim
from jaxedit.metrics.frechet import frechet_distance
from jaxedit.metrics.localization import localization_lpips, share_inside
from jaxedit.metrics.neighbors import Neighbors, nearest_neighbors
from jaxedit.metrics.precision_recall import PrecisionRecall, precision_recall

__all__ = [
    "DisentanglementCurve",
    "Neighbors",
    "PrecisionRecall",
    "attribute_change",
    "disentanglement_curve",
    "disentanglement_score",
    "frechet_distance",
    "identity_score",
    "localization_lpips",
    "masked_mse",
    "nearest_neighbors",
    "precision_recall",
    "psnr",
    "share_inside",
    "ssim",
]
