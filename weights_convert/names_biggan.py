"""The name table of BigGAN-deep, after `biggan` has put spectral normalisation into the kernels."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from weights_convert.names import Row

if TYPE_CHECKING:
    from jaxedit.generators.biggan import BigGANConfig, BigGANLayer

_ATTENTION = {"theta": "theta", "phi": "phi", "g": "g", "o": "o_conv"}


def biggan_rows(config: "BigGANConfig") -> Iterator[Row]:
    """The table of the generator."""
    yield Row("embed/kernel", "dense", torch="embeddings.weight")
    for number, layer in enumerate(config.layers):
        leaf, source = layer.name.replace(".", "_"), f"generator.layers.{number - 1}"
        if layer.kind == "dense":
            yield from _with_bias(leaf, "dense", "generator.gen_z")
        elif layer.kind == "attention":
            yield Row(f"{leaf}/gamma", "strength", torch=f"{source}.gamma")
            for name, official in _ATTENTION.items():
                yield Row(f"{leaf}/{name}/kernel", "pointwise", torch=f"{source}.snconv1x1_{official}.weight")
        else:
            yield from _block(layer, leaf, source)
    for part, official in (("scale", "weight"), ("bias", "bias")):
        yield Row(f"norm/{part}", "vector", torch=f"generator.bn.{official}")
    yield from _statistics("norm", "generator.bn", slice(0, config.channels[-1]))
    yield from _with_bias("torgb", "conv", "generator.conv_to_rgb")


def _block(layer: "BigGANLayer", leaf: str, source: str) -> Iterator[Row]:
    middle, start = layer.below // 4, 0
    total = layer.below + 3 * middle
    for i, width in enumerate((layer.below, middle, middle, middle)):
        norm, columns = f"{source}.bn_{i}", slice(start, start + width)
        offsets = slice(total + start, total + start + width)
        yield Row(f"{leaf}/norms/affine/kernel", "dense", torch=f"{norm}.scale.weight", columns=columns)
        yield Row(f"{leaf}/norms/affine/kernel", "dense", torch=f"{norm}.offset.weight", columns=offsets)
        yield from _statistics(f"{leaf}/norms", norm, columns)
        yield from _with_bias(f"{leaf}/conv{i}", "pointwise" if i in (0, 3) else "conv", f"{source}.conv_{i}")
        start += width


def _statistics(leaf: str, norm: str, columns: slice) -> Iterator[Row]:
    for part, official in (("mean", "running_means"), ("var", "running_vars")):
        yield Row(f"{leaf}/{part}", "table", torch=f"{norm}.{official}", columns=columns)


def _with_bias(leaf: str, layout: str, source: str) -> Iterator[Row]:
    yield Row(f"{leaf}/kernel", layout, torch=f"{source}.weight")
    yield Row(f"{leaf}/bias", "vector", torch=f"{source}.bias")
