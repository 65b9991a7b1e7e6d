"""Generator families."""

from typing import TYPE_CHECKING

from jaxedit.lazily import attributes_of

if TYPE_CHECKING:
    from jaxedit.generators import (
        base,
        biggan,
        mobile_stylegan,
        mobile_stylegan_staged,
        progressive,
        stylegan2,
        stylegan2_blocks,
        stylegan2_discriminator,
        stylegan2_staged,
    )

__all__ = [
    "base",
    "biggan",
    "mobile_stylegan",
    "mobile_stylegan_staged",
    "progressive",
    "stylegan2",
    "stylegan2_blocks",
    "stylegan2_discriminator",
    "stylegan2_staged",
]

__getattr__, __dir__ = attributes_of(__name__, modules=__all__)
