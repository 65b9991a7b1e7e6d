"""The networks of the avatars' world that come with the package."""

from __future__ import annotations

from jaxedit import checkpoints
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.networks.attributes import AttributeClassifier
from jaxedit.networks.bisenet import FaceParser
from jaxedit.networks.embedding import IdentityEmbedding
from jaxedit.networks.keypoints import KeypointDetector


def load_generator() -> StyleGAN2Generator:
    """The StyleGAN2 of avatars, 64 px, float32; `jaxedit.load("avatars")` is the same."""
    return checkpoints.load(checkpoints.BUILT_IN)


def load_classifier() -> AttributeClassifier:
    """Reads the classifier of the twelve attributes, float32."""
    return checkpoints.load_packaged("classifier")


def load_judge() -> AttributeClassifier:
    """Reads another classifier of the same attributes, float32; no method sees it, so that it can judge results."""
    return checkpoints.load_packaged("judge")


def load_parser() -> FaceParser:
    """Reads the face parser of the 19 classes, float32."""
    return checkpoints.load_packaged("parser")


def load_keypoints() -> KeypointDetector:
    """Reads the network of the 68 keypoints, float32."""
    return checkpoints.load_packaged("keypoints")


def load_embedding() -> IdentityEmbedding:
    """Reads the identity network, float32."""
    return checkpoints.load_packaged("embedding")
