"""The published editing methods, one module each."""

from typing import TYPE_CHECKING

from jaxedit.lazily import attributes_of

if TYPE_CHECKING:
    from jaxedit.methods import lelsd, sgf, style_intervention

__all__ = ["lelsd", "sgf", "style_intervention"]

__getattr__, __dir__ = attributes_of(__name__, modules=__all__)
