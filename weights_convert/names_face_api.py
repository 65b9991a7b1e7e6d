"""The name tables of face-api's networks, whose files are weights manifests of TensorFlow.js."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from weights_convert.names import Row

if TYPE_CHECKING:
    from jaxedit.networks.age_gender import AgeGenderConfig
    from jaxedit.networks.face_blocks import DenseTrunkConfig
    from jaxedit.networks.face_detector import FaceDetectorConfig
    from jaxedit.networks.face_recognition import FaceRecognitionConfig


def face_recognition_rows(config: "FaceRecognitionConfig") -> Iterator[Row]:
    """The table of the recognition network."""

    def scaled(name: str) -> Iterator[Row]:
        yield from _conv(f"{name}/conv", f"{name}/conv")
        yield _row(f"{name}/scale/scale", "vector", f"{name}/scale/weights")
        yield _row(f"{name}/scale/bias", "vector", f"{name}/scale/biases")

    yield from scaled(f"conv{config.width}_down")
    names = [f"conv{width}_{i + 1}" for width, n in zip(config.widths, config.blocks, strict=True) for i in range(n)]
    names += [f"conv{width}_down" for width in config.widths[1:]] + [f"conv{config.widths[-1]}_down_out"]
    for name in names:
        yield from scaled(f"{name}/conv1")
        yield from scaled(f"{name}/conv2")
    yield _row("fc/kernel", "dense", "fc")


def dense_trunk_rows(config: "DenseTrunkConfig") -> Iterator[Row]:
    """The table of the landmark and of the expression network."""
    for block in range(len(config.widths)):
        for index in range(4):
            name = f"dense{block}/conv{index}"
            yield from _separable(name, name) if block + index else _conv(name, name)
    yield from _dense("fc", "fc")


def age_gender_rows(config: "AgeGenderConfig") -> Iterator[Row]:
    """The table of the age and gender network."""
    last = len(config.widths) - 3
    yield from _conv("conv_in", "entry_flow/conv_in")
    for index in range(last + 1):
        name = f"reduction_block_{index}"
        source = f"entry_flow/{name}" if index < last else "exit_flow/reduction_block"
        for part in ("separable_conv0", "separable_conv1"):
            yield from _separable(f"{name}/{part}", f"{source}/{part}")
        yield from _conv(f"{name}/expansion_conv", f"{source}/expansion_conv")
    for index in range(config.main_blocks):
        for part in range(3):
            name = f"main_block_{index}/separable_conv{part}"
            yield from _separable(name, f"middle_flow/{name}")
    yield from _separable("separable_conv", "exit_flow/separable_conv")
    yield from _dense("age", "fc/age")
    yield from _dense("gender", "fc/gender")


def face_detector_rows(config: "FaceDetectorConfig") -> Iterator[Row]:
    """The table of the detector."""
    yield from _conv("conv0", "conv0")
    for index in range(1, len(config.widths)):
        yield from _separable(f"conv{index}", f"conv{index}")
    yield from _conv("out", "conv8")


def _row(leaf: str, layout: str, source: str) -> Row:
    return Row(f"params/{leaf}", layout, tfjs=source)


def _conv(leaf: str, source: str) -> Iterator[Row]:
    yield _row(f"{leaf}/kernel", "conv", f"{source}/filters")
    yield _row(f"{leaf}/bias", "vector", f"{source}/bias")


def _separable(leaf: str, source: str) -> Iterator[Row]:
    yield _row(f"{leaf}/depthwise", "depthwise", f"{source}/depthwise_filter")
    yield _row(f"{leaf}/pointwise", "pointwise", f"{source}/pointwise_filter")
    yield _row(f"{leaf}/bias", "vector", f"{source}/bias")


def _dense(leaf: str, source: str) -> Iterator[Row]:
    yield _row(f"{leaf}/kernel", "dense", f"{source}/weights")
    yield _row(f"{leaf}/bias", "vector", f"{source}/bias")
