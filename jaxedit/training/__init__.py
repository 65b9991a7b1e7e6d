"""Loops that fit parameters: checkpointed and resumable."""

from typing import TYPE_CHECKING

from jaxedit.lazily import attributes_of

if TYPE_CHECKING:
    from jaxedit.training import augment, degradation, gan, gan_config, loop, losses, supervised, surrogate, translation

__all__ = ["augment", "degradation", "gan", "gan_config", "loop", "losses", "supervised", "surrogate", "translation"]

__getattr__, __dir__ = attributes_of(__name__, modules=__all__)
