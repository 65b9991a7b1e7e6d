"""Networks that look at images: trunks, parsers, classifiers, keypoints, embeddings."""

from typing import TYPE_CHECKING

from jaxedit.lazily import attributes_of

if TYPE_CHECKING:
    from jaxedit.networks import (
        age_gender,
        attributes,
        auxiliary_mapping,
        bisenet,
        classifiers,
        deeplab,
        deeplab_classes,
        embedding,
        face_crops,
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
        wordpiece,
    )

__all__ = [
    "age_gender",
    "attributes",
    "auxiliary_mapping",
    "bisenet",
    "classifiers",
    "deeplab",
    "deeplab_classes",
    "embedding",
    "face_crops",
    "face_detector",
    "face_expressions",
    "face_landmarks",
    "face_recognition",
    "fan",
    "feature_parser",
    "keypoints",
    "l2m_discriminator",
    "l2m_generator",
    "l2m_style_encoder",
    "lpips",
    "minilm",
    "senet50",
    "wordpiece",
]

__getattr__, __dir__ = attributes_of(__name__, modules=__all__)
