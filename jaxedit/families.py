"""The registry: every family of networks whose weights are kept in files, by the name that files call it by."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxedit.generators import (
    biggan,
    mobile_stylegan,
    mobile_stylegan_staged,
    progressive,
    stylegan2,
    stylegan2_discriminator,
    stylegan2_staged,
)
from jaxedit.networks import (
    age_gender,
    attributes,
    auxiliary_mapping,
    bisenet,
    classifiers,
    deeplab,
    embedding,
    face_detector,
    face_expressions,
    face_landmarks,
    face_recognition,
    fan,
    feature_parser,
    keypoints,
    l2m_discriminator,
    l2m_generator,
    l2m_style_encoder,
    lpips,
    minilm,
    senet50,
)

_MILLIONS = 1 << 20


class Family(NamedTuple):
    """A family of networks.

    Attributes:
        kind: "generator", "discriminator" or "network".
        config: The frozen dataclass of its architectures.
        init: `init(key, *, config)` draws the parameters of an untrained network.
        network: The frozen pytree, made from parameters and a config.
        largest: Numbers in its largest architecture; files that claim more are not read.
        staged: Of generators, its synthesis in stages (`jaxedit.staged`).
    """

    kind: str
    config: type
    init: Callable[..., Any]
    network: Callable[..., Any]
    largest: int
    staged: Callable[..., Any] | None = None


FAMILIES = {
    "stylegan2": Family(
        "generator",
        stylegan2.StyleGAN2Config,
        stylegan2.init,
        stylegan2.StyleGAN2Generator,
        128 * _MILLIONS,
        stylegan2_staged.StagedStyleGAN2,
    ),
    "mobile_stylegan": Family(
        "generator",
        mobile_stylegan.MobileStyleGANConfig,
        mobile_stylegan.init,
        mobile_stylegan.MobileStyleGANGenerator,
        64 * _MILLIONS,
        mobile_stylegan_staged.StagedMobileStyleGAN,
    ),
    "biggan_deep": Family("generator", biggan.BigGANConfig, biggan.init, biggan.BigGANGenerator, 64 * _MILLIONS),
    "pggan": Family(
        "generator",
        progressive.ProgressiveConfig,
        progressive.init,
        progressive.ProgressiveGenerator,
        64 * _MILLIONS,
    ),
    "stylegan2_discriminator": Family(
        "discriminator",
        stylegan2_discriminator.DiscriminatorConfig,
        stylegan2_discriminator.init,
        stylegan2_discriminator.StyleGAN2Discriminator,
        128 * _MILLIONS,
    ),
    "attributes": Family(
        "network", attributes.AttributesConfig, attributes.init, attributes.AttributeClassifier, 32 * _MILLIONS
    ),
    "auxiliary_mapping": Family(
        "network",
        auxiliary_mapping.AuxiliaryConfig,
        auxiliary_mapping.init,
        auxiliary_mapping.AuxiliaryMapping,
        128 * _MILLIONS,
    ),
    "bisenet": Family("network", bisenet.BiSeNetConfig, bisenet.init, bisenet.FaceParser, 32 * _MILLIONS),
    "deeplabv3": Family("network", deeplab.DeepLabV3Config, deeplab.init, deeplab.DeepLabV3, 128 * _MILLIONS),
    "deeplabv2_msc": Family("network", deeplab.DeepLabV2Config, deeplab.init, deeplab.DeepLabV2, 128 * _MILLIONS),
    "embedding": Family(
        "network", embedding.EmbeddingConfig, embedding.init, embedding.IdentityEmbedding, 128 * _MILLIONS
    ),
    "keypoints": Family(
        "network", keypoints.KeypointsConfig, keypoints.init, keypoints.KeypointDetector, 32 * _MILLIONS
    ),
    "feature_parser": Family(
        "network",
        feature_parser.FeatureParserConfig,
        feature_parser.init,
        feature_parser.FeatureParser,
        1 * _MILLIONS,
    ),
    "l2m_generator": Family(
        "network",
        l2m_generator.L2MGeneratorConfig,
        l2m_generator.init,
        l2m_generator.L2MGenerator,
        128 * _MILLIONS,
    ),
    "l2m_style_encoder": Family(
        "network",
        l2m_style_encoder.L2MStyleEncoderConfig,
        l2m_style_encoder.init,
        l2m_style_encoder.L2MStyleEncoder,
        128 * _MILLIONS,
    ),
    "l2m_discriminator": Family(
        "network",
        l2m_discriminator.L2MDiscriminatorConfig,
        l2m_discriminator.init,
        l2m_discriminator.L2MDiscriminator,
        128 * _MILLIONS,
    ),
    "senet50": Family("network", senet50.SEResNet50Config, senet50.init, senet50.SEResNet50, 128 * _MILLIONS),
    "resnet18": Family("network", classifiers.ResNet18Config, classifiers.init, classifiers.ResNet18, 64 * _MILLIONS),
    "resnet50": Family("network", classifiers.ResNet50Config, classifiers.init, classifiers.ResNet50, 128 * _MILLIONS),
    "resnet18_attribute": Family(
        "network",
        classifiers.AttributeResNetConfig,
        classifiers.init,
        classifiers.AttributeResNet,
        64 * _MILLIONS,
    ),
    "fan": Family("network", fan.FANConfig, fan.init, fan.FAN, 32 * _MILLIONS),
    "minilm": Family("network", minilm.MiniLMConfig, minilm.init, minilm.MiniLM, 64 * _MILLIONS),
    "lpips": Family("network", lpips.LpipsConfig, lpips.init, lpips.Lpips, 32 * _MILLIONS),
    "face_detector": Family(
        "network", face_detector.FaceDetectorConfig, face_detector.init, face_detector.FaceDetector, 4 * _MILLIONS
    ),
    "face_landmarks": Family(
        "network", face_landmarks.FaceLandmarksConfig, face_landmarks.init, face_landmarks.FaceLandmarks, 4 * _MILLIONS
    ),
    "face_recognition": Family(
        "network",
        face_recognition.FaceRecognitionConfig,
        face_recognition.init,
        face_recognition.FaceRecognition,
        32 * _MILLIONS,
    ),
    "age_gender": Family("network", age_gender.AgeGenderConfig, age_gender.init, age_gender.AgeGender, 4 * _MILLIONS),
    "face_expressions": Family(
        "network",
        face_expressions.FaceExpressionsConfig,
        face_expressions.init,
        face_expressions.FaceExpressions,
        4 * _MILLIONS,
    ),
}
"""Name -> family. A new family is one row."""


def family_of(config: Any) -> str:
    """The name of the family that a config is of.

    Args:
        config: An architecture.

    Returns:
        A key of `FAMILIES`.

    Raises:
        TypeError: It is of none.
    """
    for name, family in FAMILIES.items():
        if type(config) is family.config:
            return name
    raise TypeError(f"{type(config).__name__} is the configuration of no known family: {', '.join(FAMILIES)}")


def staged(generator: Any, **options: Any) -> Any:
    """Takes a generator's synthesis apart into stages.

    Args:
        generator: Of any family.
        options: Of the family's staged form, such as `space`.

    Returns:
        A `jaxedit.staged.StagedSynthesis`.

    Raises:
        TypeError: Not a generator of a known family.
    """
    made = FAMILIES[family_of(generator.config)].staged
    if made is None:
        raise TypeError(f"{type(generator).__name__} has no synthesis in stages")
    return made(generator, **options)


def init(key: jax.Array, *, config: Any) -> Any:
    """Draws the parameters of an untrained network of any family.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        The nested dict of its family's `init`, float32.
    """
    return FAMILIES[family_of(config)].init(key, config=config)


def abstract_params(config: Any) -> Any:
    """The names, shapes and dtypes that the parameters of an architecture have to have.

    Args:
        config: The architecture, of any family.

    Returns:
        The nested dict of parameters with `jax.ShapeDtypeStruct` leaves; nothing is allocated.
    """
    return jax.eval_shape(functools.partial(init, config=config), jax.random.key(0))
