"""The built-in world: avatar faces drawn from exact factors, and the networks trained on them."""

from jaxedit.avatars import captions
from jaxedit.avatars.directions import load_direction, load_directions
from jaxedit.avatars.factors import (
    ATTRIBUTES,
    IDENTITY,
    INFLUENCES,
    LATENTS,
    Factors,
    attributes,
    factors_from_normal,
    sample_factors,
    with_identity,
)
from jaxedit.avatars.models import (
    load_classifier,
    load_embedding,
    load_generator,
    load_judge,
    load_keypoints,
    load_parser,
)
from jaxedit.avatars.renderer import PARSING_CLASSES, Rendering, render

__all__ = [
    "ATTRIBUTES",
    "IDENTITY",
    "INFLUENCES",
    "LATENTS",
    "PARSING_CLASSES",
    "Factors",
    "Rendering",
    "attributes",
    "captions",
    "factors_from_normal",
    "load_classifier",
    "load_direction",
    "load_directions",
    "load_embedding",
    "load_generator",
    "load_judge",
    "load_keypoints",
    "load_parser",
    "render",
    "sample_factors",
    "with_identity",
]
