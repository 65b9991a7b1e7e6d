"""Real faces: a generator of them and face-api's networks, which both label and judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.reproduce.style_intervention_report import JOINT
from benchmarks.reproduce.world import Plan
from jaxedit import batch, checkpoints, faces
from jaxedit.conditions import calibrated
from jaxedit.faces import FaceNetworks
from jaxedit.generators.base import sample_z
from jaxedit.spaces import edited

PLAN = Plan(
    attributes=("gender", "age", "smile"),
    ablated=(),
    bounded=("gender", "age", "smile"),
    variants=(JOINT,),
    samples=16,
    svm_samples=2000,
    mapped_images=0,
    together=1,
    smallest=1,
    costs=False,
)
_REGIONS = {"smile": "mouth", "mouth_open": "mouth", "narrow_eyes": "eyes"}
_CALIBRATED = 200  # samples


class FaceWorld(NamedTuple):
    """`World` of faces. What is no decision of a network, age say, counts as its place among random samples.

    Attributes:
        generator: The generator.
        networks: The networks.
        middle: `[attributes]`: the score that is log odds 0, of measures their mean.
        scale: `[attributes]`: log odds per unit of the score.
    """

    generator: Any
    networks: FaceNetworks
    middle: Any
    scale: Any

    attributes = faces.ATTRIBUTES
    batch = 4

    def label(self, image: jax.Array) -> jax.Array:
        """See `World`."""
        return self.scale * (self.networks.attributes(image) - self.middle)

    def judge(self, image: jax.Array) -> jax.Array:
        """See `World`."""
        return self.label(image)

    def mask(self, image: jax.Array, attribute: str) -> jax.Array:
        """See `World`: Table I's region as landmarks outline it, without hair."""
        return self.networks.mask(image, region=_REGIONS.get(attribute, "face"))

    def embed(self, image: jax.Array) -> jax.Array:
        """See `World`."""
        return self.networks.judge(image).identity


def load(generator: Path, networks: Path) -> FaceWorld:
    """Reads the generator and the networks, and places the measures by the samples of the first seeds."""
    shared = checkpoints.load(generator), faces.load(networks)
    latents = np.stack([np.asarray(sample_z(seed, shared[0].config.z_dim)) for seed in range(_CALIBRATED)])
    scores = batch.collected(batch.map_samples(_scored, shared, latents, batch_size=FaceWorld.batch))
    middle, scale = calibrated(scores, signed=np.isin(faces.ATTRIBUTES, faces.DECIDED))
    return FaceWorld(*shared, jnp.asarray(middle), jnp.asarray(scale))


def _scored(shared: Any, z: jax.Array) -> jax.Array:
    generator, networks = shared
    return networks.attributes(generator.render(edited(generator, z)))
