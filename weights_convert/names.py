"""The name tables: which tensor of each format fills which leaf of the parameter tree, and in which layout.

One table per network drives all formats. Layouts are written as axes: "1 o i h w" is a tensor with a leading axis of
size one, then output channels, input channels, height and width; the letters say how to transpose to the target.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from weights_convert.options import Format

if TYPE_CHECKING:
    from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleLayer
    from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig


class Layout(NamedTuple):
    """Axes of a leaf in the parameter tree and in each format."""

    target: str
    tensorflow: str = ""
    ada: str = ""
    rosinality: str = ""
    openvino: str = ""
    lightning: str = ""
    torch: str = ""
    flax: str = ""
    tfjs: str = ""


class Row(NamedTuple):
    """One leaf, or some columns of it, and what it is called in each format ("" where the format cannot have it)."""

    leaf: str
    layout: str
    tensorflow: str = ""
    ada: str = ""
    rosinality: str = ""
    columns: slice | None = None
    openvino: str = ""
    lightning: str = ""
    torch: str = ""
    flax: str = ""
    tfjs: str = ""


MAPPING_MULTIPLIER = 0.01  # of StyleGAN2's mapping network
LAYOUTS = {
    "vector": Layout("o", "o", "o", "o", lightning="o", torch="o", flax="o", tfjs="o"),
    "dense": Layout("i o", "i o", "o i", "o i", torch="o i", tfjs="i o"),
    "flatten": Layout("i o", "i o", "o i", "o i"),
    "style_bias": Layout("o", "o", "o", "o"),
    "const": Layout("h w o", "1 o h w", "o h w", "1 o h w"),
    "modulated": Layout("h w i o", "h w i o", "o i h w", "1 o i h w"),
    "modulated_up": Layout("h w i o", "h w i o", "o i h w", "1 o i h w"),
    "to_rgb": Layout("i o", "1 1 i o", "o i 1 1", "1 o i 1 1"),
    "rgb_bias": Layout("o", "o", "o", "1 o 1 1"),
    "noise": Layout("h w", "1 1 h w", "h w", "1 1 h w"),
    "strength": Layout("", "", "", "1", torch="1"),
    "conv": Layout("h w i o", "h w i o", "o i h w", "o i h w", torch="o i h w", flax="h w i o", tfjs="h w i o"),
    "spread": Layout("h w i o", "i o h w", torch="o i h w"),
    "pointwise": Layout("i o", "1 1 i o", "o i 1 1", "o i 1 1", torch="o i 1 1", tfjs="1 1 i o"),
    "table": Layout("n o", torch="n o"),
    "mapped": Layout("i o", openvino="o i", lightning="o i"),
    "mapped_bias": Layout("o", openvino="o", lightning="o"),
    "linear": Layout("i o", openvino="o i", lightning="o i"),
    "linear_bias": Layout("o", openvino="1 o", lightning="o"),
    "bias": Layout("o", openvino="1 o 1 1", lightning="1 o 1 1"),
    "first": Layout("h w o", openvino="1 o h w", lightning="1 o h w"),
    "full": Layout("h w i o", openvino="o i h w", lightning="o i h w"),
    "depthwise": Layout("h w o", openvino="o 1 1 h w", lightning="o 1 h w", tfjs="h w o 1"),
    "channels": Layout("i o", openvino="o i 1 1", lightning="o i 1 1"),
    "map": Layout("h w", openvino="1 1 h w", lightning="1 1 h w"),
    "head": Layout("o", torch="1 o 1 1", flax="1 1 o 1"),
}
BANDS = "_bands"
"""Ends the name of a layout whose last axis becomes the bands of an inverse Haar transform."""


def adjust(array: np.ndarray, layout: str, source: Format) -> np.ndarray:
    """What differs between the formats besides the layout, undone on an array that already has the target's axes."""
    if layout == "modulated_up" and source != "tensorflow":
        return array[::-1, ::-1]  # both PyTorch forms store the up-sampling kernels flipped
    if layout == "spread" and source == "torch":
        return array[::-1, ::-1]  # a convolution of one padded pixel
    if layout == "style_bias" and source == "tensorflow":
        return array + np.float32(1)  # TensorFlow adds the one at run time
    if layout == "mapped" and source == "openvino":  # exported with the gain that ours applies at run time
        return array * np.float32(len(array) ** 0.5 / MAPPING_MULTIPLIER)
    if layout == "mapped_bias" and source == "openvino":
        return array * np.float32(1 / MAPPING_MULTIPLIER)
    if layout == "flatten":  # rows count channels, height, width; ours height, width, channels
        rows, columns = array.shape
        return array.reshape(rows // 16, 4, 4, columns).transpose(1, 2, 0, 3).reshape(rows, columns)
    return array


def side_by_side(array: np.ndarray) -> np.ndarray:
    """The last axis as bands side by side, where the file has those of differences channel by channel."""
    channels = array.shape[-1] // 4
    places = np.arange(channels, 4 * channels).reshape(channels, 3).T
    return array[..., np.concatenate([np.arange(channels), places.ravel()])]


# Tensors that hold no weights. FIR kernels have to be [1, 3, 3, 1] (outer product, with the sum given here); others are
# counters that inference does not use.
FIR_SUMS: dict[tuple[str, Format], dict[str, int]] = {
    ("generator", "ada"): {r"synthesis\.b\d+\.(conv\d\.)?resample_filter": 1},
    ("generator", "rosinality"): {r"convs\.\d+\.conv\.blur\.kernel": 4, r"to_rgbs\.\d+\.upsample\.kernel": 4},
    ("discriminator", "ada"): {r"b\d+\.((fromrgb|conv\d?|skip)\.)?resample_filter": 1},
    ("discriminator", "rosinality"): {r"convs\.\d+\.(conv2|skip)\.0\.kernel": 1},
}
IGNORED: dict[tuple[str, Format], str] = {("generator", "tensorflow"): r"lod|epochs(_\d+)?"}


def generator_rows(config: "StyleGAN2Config") -> Iterator[Row]:
    """The table of the generator."""
    yield Row("mapping/w_avg", "vector", "dlatent_avg", "mapping.w_avg", "latent_avg")
    if config.c_dim:
        yield from _dense("mapping/embed", "mapping/LabelEmbed", "mapping.embed", "")
    for i in range(config.mapping_layers):
        yield from _dense(f"mapping/fc{i}", f"mapping/Dense{i}", f"mapping.fc{i}", f"style.{i + 1}")
    yield Row("synthesis/const", "const", "synthesis/4x4/Const/const", "synthesis.b4.const", "input.input")
    column = 0
    for layer in config.style_layers:
        yield from _style_layer(layer, slice(column, column + layer.width))
        column += layer.width


def _style_layer(layer: "StyleLayer", columns: slice) -> Iterator[Row]:
    block, part = layer.name.split(".")
    r, k = layer.resolution, layer.resolution.bit_length() - 1
    index = 2 * k - 5 + (part == "conv1")  # of the noise; 0 at 4 px
    tensorflow, rosinality = {
        "conv0": (f"synthesis/{r}x{r}/Conv0_up", f"convs.{index - 1}"),
        "conv1": (f"synthesis/{r}x{r}/{'Conv' if r == 4 else 'Conv1'}", "conv1" if r == 4 else f"convs.{index - 1}"),
        "torgb": (f"synthesis/{r}x{r}/ToRGB", "to_rgb1" if r == 4 else f"to_rgbs.{k - 3}"),
    }[part]
    ada, leaf = f"synthesis.{layer.name}", f"synthesis/{block}/{part}"
    modulation = f"{rosinality}.conv.modulation"
    yield Row(
        "synthesis/affine/kernel",
        "dense",
        tensorflow + "/mod_weight",
        ada + ".affine.weight",
        modulation + ".weight",
        columns,
    )
    yield Row(
        "synthesis/affine/bias",
        "style_bias",
        tensorflow + "/mod_bias",
        ada + ".affine.bias",
        modulation + ".bias",
        columns,
    )
    kind = {"conv0": "modulated_up", "conv1": "modulated", "torgb": "to_rgb"}[part]
    yield Row(leaf + "/kernel", kind, tensorflow + "/weight", ada + ".weight", rosinality + ".conv.weight")
    if part == "torgb":
        yield Row(leaf + "/bias", "rgb_bias", tensorflow + "/bias", ada + ".bias", rosinality + ".bias")
        return
    yield Row(leaf + "/bias", "vector", tensorflow + "/bias", ada + ".bias", rosinality + ".activate.bias")
    noise = f"synthesis/noise{index}", ada + ".noise_const", f"noises.noise_{index}"
    yield Row(leaf + "/noise_const", "noise", *noise)
    strength = tensorflow + "/noise_strength", ada + ".noise_strength", rosinality + ".noise.weight"
    yield Row(leaf + "/noise_strength", "strength", *strength)


def discriminator_rows(config: "DiscriminatorConfig") -> Iterator[Row]:
    """The table of the discriminator."""
    r = config.resolution
    yield from _conv(f"b{r}/fromrgb", "pointwise", f"{r}x{r}/FromRGB", f"b{r}.fromrgb", "convs.0", 0)
    for i in range(1, r.bit_length() - 2):  # rosinality counts the blocks from the highest
        tensorflow, ada, rosinality = f"{r}x{r}", f"b{r}", f"convs.{i}"
        yield from _conv(f"b{r}/conv0", "conv", tensorflow + "/Conv0", ada + ".conv0", rosinality + ".conv1", 0)
        yield from _conv(f"b{r}/conv1", "conv", tensorflow + "/Conv1_down", ada + ".conv1", rosinality + ".conv2", 1)
        yield Row(
            f"b{r}/skip/kernel",
            "pointwise",
            tensorflow + "/Skip/weight",
            ada + ".skip.weight",
            rosinality + ".skip.1.weight",
        )
        r //= 2
    yield from _conv("b4/conv", "conv", "4x4/Conv", "b4.conv", "final_conv", 0)
    yield from _dense("b4/fc", "4x4/Dense0", "b4.fc", "final_linear.0", "flatten")
    yield from _dense("b4/out", "Output", "b4.out", "final_linear.1")
    if config.c_dim:
        yield from _dense("mapping/embed", "LabelEmbed", "mapping.embed", "")
        for i in range(config.mapping_layers):
            yield from _dense(f"mapping/fc{i}", f"Mapping{i}", f"mapping.fc{i}", "")


def _dense(leaf: str, tensorflow: str, ada: str, rosinality: str, layout: str = "dense") -> Iterator[Row]:
    for part, source, kind in (("kernel", "weight", layout), ("bias", "bias", "vector")):
        yield Row(
            f"{leaf}/{part}", kind, f"{tensorflow}/{source}", f"{ada}.{source}", rosinality and f"{rosinality}.{source}"
        )


def _conv(leaf: str, layout: str, tensorflow: str, ada: str, rosinality: str, place: int) -> Iterator[Row]:
    """rosinality's convolution is a sequence: an optional blur, the weight at `place`, the bias after it."""
    yield Row(leaf + "/kernel", layout, tensorflow + "/weight", ada + ".weight", f"{rosinality}.{place}.weight")
    yield Row(leaf + "/bias", "vector", tensorflow + "/bias", ada + ".bias", f"{rosinality}.{place + 1}.bias")
