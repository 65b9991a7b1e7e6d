"""Training data of one type: folders of images, public datasets, and the built-in avatars."""

from jaxedit.datasets.batches import Batch, Dataset
from jaxedit.datasets.catalog import (
    CELEB_A_ATTRIBUTES,
    celeb_a,
    celeb_a_hq,
    celeb_a_hq_split,
    oxford_flowers102,
)
from jaxedit.datasets.domains import avatars_by_domain, combinations, folder_of_domains
from jaxedit.datasets.sources import avatars, check_images, image_folder

__all__ = [
    "CELEB_A_ATTRIBUTES",
    "Batch",
    "Dataset",
    "avatars",
    "avatars_by_domain",
    "celeb_a",
    "celeb_a_hq",
    "celeb_a_hq_split",
    "check_images",
    "combinations",
    "folder_of_domains",
    "image_folder",
    "oxford_flowers102",
]
