"""The published editing methods, one module each."""

from typing import TYPE_CHECKING

from jaxedit.lazily import attributes_of

if TYPE_CHECKING:
    from jaxedit.methods import l2m_config, l2m_gan, l2m_losses, lelsd, sgf, style_intervention

__all__ = ["l2m_config", "l2m_gan", "l2m_losses", "lelsd", "sgf", "style_intervention"]

__getattr__, __dir__ = attributes_of(__name__, modules=__all__)
