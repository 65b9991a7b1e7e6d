"""For every family of networks its name table and the licence of the weights; what each format may lack."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from weights_convert.names import Row, discriminator_rows, generator_rows
from weights_convert.names_biggan import biggan_rows
from weights_convert.names_deeplab import deeplabv2_rows
from weights_convert.names_face_api import (
    age_gender_rows,
    dense_trunk_rows,
    face_detector_rows,
    face_recognition_rows,
)
from weights_convert.names_lpips import lpips_rows
from weights_convert.names_mobile import mobile_rows
from weights_convert.names_progressive import progressive_rows
from weights_convert.names_resnet import attribute_rows, resnet18_rows
from weights_convert.options import Format, Network
from weights_convert.state_dicts import official_rows

KEPT = "Converted weights keep the licence of the file they come from."
NVIDIA = (
    f"{KEPT} NVIDIA's StyleGAN2 weights, in any format, are under the NVIDIA Source Code License: non-commercial use"
    " only."
)
STUDENT = (
    f"{KEPT} MobileStyleGAN's published weights were distilled from NVIDIA's StyleGAN2, whose licence allows"
    " non-commercial use only: treat them alike."
)
PROGRESSIVE = (
    f"{KEPT} NVIDIA's ProgressiveGAN weights, in any format, are under the licence CC BY-NC 4.0: non-commercial use"
    " only."
)
DEEPMIND = (
    f"{KEPT} BigGAN-deep's are DeepMind's of TensorFlow Hub, in the form of pytorch-pretrained-BigGAN, which is under"
    " the MIT licence."
)
TORCHVISION = f"{KEPT} torchvision is under the BSD licence; its weights were trained on ImageNet."
L2M_GAN = (
    f"{KEPT} L2M-GAN's and StarGAN v2's code and weights are under the licence CC BY-NC 4.0: non-commercial use only."
)
FACE_API = f"{KEPT} face-api's weights are under the MIT licence."


class Table(NamedTuple):
    """A family's rows, made from its config, and what is known of the licence of its weights."""

    rows: Callable[[Any], Iterable[Row]]
    licence: str


TABLES = {
    "stylegan2": Table(generator_rows, NVIDIA),
    "stylegan2_discriminator": Table(discriminator_rows, NVIDIA),
    "mobile_stylegan": Table(mobile_rows, STUDENT),
    "pggan": Table(progressive_rows, PROGRESSIVE),
    "biggan_deep": Table(biggan_rows, DEEPMIND),
    "lpips": Table(lpips_rows, f"{KEPT} LPIPS is under the BSD licence."),
    "face_recognition": Table(face_recognition_rows, FACE_API),
    "face_landmarks": Table(dense_trunk_rows, FACE_API),
    "face_expressions": Table(dense_trunk_rows, FACE_API),
    "age_gender": Table(age_gender_rows, FACE_API),
    "face_detector": Table(face_detector_rows, FACE_API),
    "bisenet": Table(
        official_rows,
        f"{KEPT} face-parsing.PyTorch is under the MIT licence; its training images, CelebAMask-HQ, are for"
        " non-commercial use only.",
    ),
    "deeplabv3": Table(
        official_rows, f"{KEPT} torchvision is under the BSD licence; its weights were trained on COCO."
    ),
    "senet50": Table(
        official_rows,
        f"{KEPT} VGGFace2-pytorch is under the MIT licence; its weights are those that VGGFace2's authors published for"
        " Caffe, under their terms.",
    ),
    **dict.fromkeys(("l2m_generator", "l2m_style_encoder", "l2m_discriminator"), Table(official_rows, L2M_GAN)),
    "deeplabv2_msc": Table(
        deeplabv2_rows, f"{KEPT} deeplab-pytorch is under the MIT licence; its weights were trained on COCO-Stuff."
    ),
    "resnet18": Table(resnet18_rows, TORCHVISION),
    "resnet50": Table(official_rows, TORCHVISION),
    "resnet18_attribute": Table(
        attribute_rows,
        f"{KEPT} The repository of IALS states no licence.",
    ),
    "fan": Table(
        official_rows,
        f"{KEPT} StarGAN v2 is under the licence CC BY-NC 4.0: non-commercial use only.",
    ),
    "minilm": Table(official_rows, f"{KEPT} all-MiniLM-L6-v2 is under the Apache licence, version 2.0."),
}
"""Family -> table. A new network is one row."""

MAY_LACK: dict[Format, tuple[str, ...]] = {
    "rosinality": ("noise", "average"),
    "openvino": ("average",),
    "lightning": ("average",),
}


def missing(network: Network, rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of noise maps and of the average w that the format may lack and the file does, each all or none."""
    groups = {
        "noise": [row for row in rows if row.layout == "noise"],
        "average": [row for row in rows if row.leaf == "mapping/w_avg"],
    }
    lacking = MAY_LACK.get(network.format, ())
    return {
        name: []
        if name not in lacking or any(getattr(row, network.format) in network.tensors for row in group)
        else group
        for name, group in groups.items()
    }
