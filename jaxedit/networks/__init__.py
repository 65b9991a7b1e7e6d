"""Networks that look at images: trunks, parsers, classifiers, keypoints, embeddings."""

from typing import TYPE_CHECKING

from jaxedit.lazily import attributes_of

if TYPE_CHECKING:
    from jaxedit.networks import attributes, bisenet, embedding, keypoints

__all__ = ["attributes", "bisenet", "embedding", "keypoints"]

__getattr__, __dir__ = attributes_of(__name__, modules=__all__)
