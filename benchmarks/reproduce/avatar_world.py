"""The built-in world, 64 px."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from benchmarks.reproduce.style_intervention_report import IN_W, IN_W_PLUS, JOINT, SHORTER
from benchmarks.reproduce.world import Plan
from jaxedit import avatars, regions
from jaxedit.generators.stylegan2 import StyleGAN2Generator

PLAN = Plan(
    attributes=("smile", "eyeglasses", "bangs", "beard", "age", "blond_hair"),
    ablated=("beard", "age", "gender"),
    bounded=avatars.ATTRIBUTES,
    variants=(JOINT, SHORTER, IN_W, IN_W_PLUS),
    samples=200,
    svm_samples=10_000,
    mapped_images=40,
    together=48,
    smallest=16,
    costs=True,
)


class AvatarWorld(NamedTuple):
    """`World` of avatars. The judge labels nothing that directions are fitted to."""

    generator: StyleGAN2Generator
    classifier: Any
    judging: Any
    parser: Any
    embedding: Any

    attributes = avatars.ATTRIBUTES
    batch = 48

    def label(self, image: jax.Array) -> jax.Array:
        """See `World`."""
        return self.classifier(image)

    def judge(self, image: jax.Array) -> jax.Array:
        """See `World`."""
        return self.judging(image)

    def mask(self, image: jax.Array, attribute: str) -> jax.Array:
        """See `World`: Table I's classes, as the parser sees them."""
        return regions.mask_of(self.parser.parse(image), regions.classes_of(attribute))

    def embed(self, image: jax.Array) -> jax.Array:
        """See `World`."""
        return self.embedding(image)


def load() -> AvatarWorld:
    """Reads the networks of the package."""
    return AvatarWorld(
        avatars.load_generator(),
        avatars.load_classifier(),
        avatars.load_judge(),
        avatars.load_parser(),
        avatars.load_embedding(),
    )
