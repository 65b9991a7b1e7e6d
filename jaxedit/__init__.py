"""Edit images through the latent spaces of pretrained GANs, in JAX.

Names are imported on first use, so that the command line answers `--help` without importing JAX.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxedit import avatars, batch, checkpoints, datasets, families, images, memory, metrics, nn, regions, spaces
    from jaxedit import directions as directions
    from jaxedit.checkpoints import load, load_discriminator, load_network
    from jaxedit.directions.files import load_direction, save_direction
    from jaxedit.generators import stylegan2, stylegan2_discriminator
    from jaxedit.generators.base import Generator, sample_z
    from jaxedit.methods import style_intervention
    from jaxedit.spaces import Direction

__version__ = "0.1.0"

__all__ = [
    "Direction",
    "Generator",
    "avatars",
    "batch",
    "checkpoints",
    "datasets",
    "families",
    "images",
    "load",
    "load_direction",
    "load_discriminator",
    "load_network",
    "memory",
    "metrics",
    "nn",
    "regions",
    "sample_z",
    "save_direction",
    "spaces",
    "style_intervention",
    "stylegan2",
    "stylegan2_discriminator",
]

_ATTRIBUTES = {
    "Direction": "jaxedit.spaces",
    "Generator": "jaxedit.generators.base",
    "load": "jaxedit.checkpoints",
    "load_direction": "jaxedit.directions.files",
    "load_discriminator": "jaxedit.checkpoints",
    "load_network": "jaxedit.checkpoints",
    "sample_z": "jaxedit.generators.base",
    "save_direction": "jaxedit.directions.files",
}
_MODULES = {
    "avatars": "jaxedit.avatars",
    "batch": "jaxedit.batch",
    "checkpoints": "jaxedit.checkpoints",
    "datasets": "jaxedit.datasets",
    "directions": "jaxedit.directions",
    "families": "jaxedit.families",
    "images": "jaxedit.images",
    "memory": "jaxedit.memory",
    "metrics": "jaxedit.metrics",
    "nn": "jaxedit.nn",
    "regions": "jaxedit.regions",
    "spaces": "jaxedit.spaces",
    "style_intervention": "jaxedit.methods.style_intervention",
    "stylegan2": "jaxedit.generators.stylegan2",
    "stylegan2_discriminator": "jaxedit.generators.stylegan2_discriminator",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    elif name in _ATTRIBUTES:
        value = getattr(importlib.import_module(_ATTRIBUTES[name]), name)
    else:
        raise AttributeError(f"module 'jaxedit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ATTRIBUTES, *_MODULES})
