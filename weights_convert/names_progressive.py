"""The name table of ProgressiveGAN, after `progressive` has made fused kernels plain ones."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from weights_convert.names import Row

if TYPE_CHECKING:
    from jaxedit.generators.progressive import ProgressiveConfig


def progressive_rows(config: "ProgressiveConfig") -> Iterator[Row]:
    """The table of the generator."""
    last = len(config.channels) - 1
    for block in range(last + 1):
        for conv in (0, 1):
            size, first = 4 << block, block == conv == 0
            names = tensorflow_layer(size, conv), f"layer{2 * block + conv}"
            yield from _layer(f"b{size}/conv{conv}", "spread" if first else "conv", *names)
    yield from _layer("torgb", "pointwise", "ToRGB_lod0", f"output{last}")


def tensorflow_layer(size: int, conv: int) -> str:
    """What the TensorFlow code calls one of the two layers of a resolution."""
    return f"{size}x{size}/" + (f"Conv{conv}" if size > 4 else ("Dense", "Conv")[conv])


def _layer(leaf: str, layout: str, tensorflow: str, torch: str) -> Iterator[Row]:
    yield Row(f"{leaf}/kernel", layout, tensorflow=f"{tensorflow}/weight", torch=f"{torch}.conv.weight")
    yield Row(f"{leaf}/bias", "vector", tensorflow=f"{tensorflow}/bias", torch=f"{torch}.wscale.bias")
