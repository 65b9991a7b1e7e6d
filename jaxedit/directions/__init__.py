"""Where directions come from."""

from typing import TYPE_CHECKING

from jaxedit.lazily import attributes_of

if TYPE_CHECKING:
    from jaxedit.directions import channels, closed_form, ffhq, files, local, pca, svm

__all__ = ["channels", "closed_form", "ffhq", "files", "local", "pca", "svm"]

__getattr__, __dir__ = attributes_of(__name__, modules=__all__)
