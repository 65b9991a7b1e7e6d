"""The name table of MobileStyleGAN: of the graphs it was exported as, and of the checkpoints of its training."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from weights_convert.names import BANDS, Row

if TYPE_CHECKING:
    from jaxedit.generators.mobile_stylegan import MobileStyleGANConfig

_PARTS = {
    "const": "input.input",
    "conv0": "conv1",
    "conv1": "conv2",
    "torgb": "to_img",
    "weight": "conv.weight",
    "depthwise": "conv.weight_dw",
    "pointwise": "conv.weight_permute",
    "noise": "noise.noise",
}


def mobile_rows(config: "MobileStyleGANConfig") -> Iterator[Row]:
    """The table of the generator."""

    def row(leaf: str, layout: str, source: str, columns: slice | None = None) -> Row:
        return Row(leaf, layout, columns=columns, openvino=source, lightning=_trained(source, len(config.channels)))

    yield Row("mapping/w_avg", "vector", lightning="style_mean")
    for i in range(config.mapping_layers):
        for part, layout, source in (("kernel", "mapped", "weight"), ("bias", "mapped_bias", "bias")):
            trained = f"mapping_net.layers.{i + 1}.{source}"
            yield Row(f"mapping/fc{i}/{part}", layout, openvino=f"mapping.fc{i}.{source}", lightning=trained)
    yield row("synthesis/const", "first", "const")
    start, last = 0, f"b{config.resolution // 2}"
    for layer in config.style_layers:
        columns, start = slice(start, start + layer.width), start + layer.width
        source = "torgb" if layer.kind == "torgb" else layer.name
        bands = BANDS if layer.kind == "up" else ""
        yield row("synthesis/affine/kernel", "linear" + bands, f"{source}.modulation.weight", columns)
        yield row("synthesis/affine/bias", "linear_bias" + bands, f"{source}.modulation.bias", columns)
        if layer.kind == "up":
            continue
        leaf = f"synthesis/{source.replace('.', '_')}"
        before_bands = layer.kind == "torgb" or (layer.name.endswith("conv1") and not layer.name.startswith(f"{last}."))
        bands = BANDS if before_bands else ""
        finish = leaf if layer.kind == "torgb" else f"{leaf}/finish"
        yield row(f"{finish}/bias", "bias" + bands, f"{source}.bias")
        if layer.kind == "torgb":
            yield row(f"{leaf}/kernel", "channels" + bands, f"{source}.weight")
            continue
        yield row(f"{finish}/noise_const", "map", f"{source}.noise")
        if layer.resolution == 4:
            yield row(f"{leaf}/kernel", "full" + bands, f"{source}.weight")
        else:
            yield row(f"{leaf}/depthwise", "depthwise", f"{source}.depthwise")
            yield row(f"{leaf}/pointwise", "channels" + bands, f"{source}.pointwise")


def _trained(name: str, sizes: int) -> str:
    """What a tensor of an exported network is called in training: `b8.conv0.depthwise` is
    `student.layers.0.conv1.conv.weight_dw`."""
    block, _, rest = name.partition(".")
    if block == "const":
        return f"student.{_PARTS[block]}"
    if block == "torgb":
        block, rest = f"b{4 << sizes - 1}", f"torgb.{rest}"
    layer, _, part = rest.partition(".")
    if part.startswith("modulation") and layer != "up":
        part = f"conv.{part}"
    if block == "b4":
        return f"student.conv1.{_PARTS.get(part, part)}"
    index = int(block[1:]).bit_length() - 4
    return f"student.layers.{index}.{_PARTS.get(layer, layer)}.{_PARTS.get(part, part)}"
