"""Edit images through the latent spaces of pretrained GANs, in JAX.

Names are imported on first use, so that the command line answers `--help` without importing JAX.
"""

from typing import TYPE_CHECKING

from jaxedit.lazily import attributes_of

if TYPE_CHECKING:
    from jaxedit import (
        alignment,
        arrays,
        avatars,
        bag_of_words,
        batch,
        checkpoints,
        compaction,
        conditions,
        datasets,
        directions,
        faces,
        families,
        generators,
        images,
        memory,
        methods,
        metrics,
        networks,
        nn,
        regions,
        segmenters,
        sentences,
        sheets,
        spaces,
        stage_programs,
        staged,
        training,
    )
    from jaxedit.checkpoints import load, load_discriminator, load_network
    from jaxedit.directions.files import load_direction, save_direction
    from jaxedit.generators import stylegan2, stylegan2_discriminator
    from jaxedit.generators.base import Generator, sample_z
    from jaxedit.methods import l2m_gan, lelsd, sgf, style_intervention
    from jaxedit.spaces import Direction

__version__ = "0.1.0"

__all__ = [
    "Direction",
    "Generator",
    "alignment",
    "arrays",
    "avatars",
    "bag_of_words",
    "batch",
    "checkpoints",
    "compaction",
    "conditions",
    "datasets",
    "directions",
    "faces",
    "families",
    "generators",
    "images",
    "l2m_gan",
    "lelsd",
    "load",
    "load_direction",
    "load_discriminator",
    "load_network",
    "memory",
    "methods",
    "metrics",
    "networks",
    "nn",
    "regions",
    "sample_z",
    "save_direction",
    "segmenters",
    "sentences",
    "sgf",
    "sheets",
    "spaces",
    "stage_programs",
    "staged",
    "style_intervention",
    "stylegan2",
    "stylegan2_discriminator",
    "training",
]

_ELSEWHERE = {
    "Direction": "jaxedit.spaces:Direction",
    "Generator": "jaxedit.generators.base:Generator",
    "l2m_gan": "jaxedit.methods.l2m_gan",
    "lelsd": "jaxedit.methods.lelsd",
    "load": "jaxedit.checkpoints:load",
    "load_direction": "jaxedit.directions.files:load_direction",
    "load_discriminator": "jaxedit.checkpoints:load_discriminator",
    "load_network": "jaxedit.checkpoints:load_network",
    "sample_z": "jaxedit.generators.base:sample_z",
    "save_direction": "jaxedit.directions.files:save_direction",
    "sgf": "jaxedit.methods.sgf",
    "style_intervention": "jaxedit.methods.style_intervention",
    "stylegan2": "jaxedit.generators.stylegan2",
    "stylegan2_discriminator": "jaxedit.generators.stylegan2_discriminator",
}

__getattr__, __dir__ = attributes_of(
    __name__, modules=[name for name in __all__ if name not in _ELSEWHERE], elsewhere=_ELSEWHERE
)
