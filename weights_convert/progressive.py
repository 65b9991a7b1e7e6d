"""ProgressiveGAN: NVIDIA's TensorFlow pickles, a tuple (G, D, Gs) of `tfutil.Network`, and InterFaceGAN's state dicts.

Both are read with fused scaling or without: a fused layer is the plain one of the flipped kernel. Only full-grown
networks are read, and of their layers that make colours only the last one, which alone they use.
"""

import itertools
import re
from collections.abc import Callable
from typing import Any

from weights_convert.errors import ConversionError, described
from weights_convert.fill import check_bytes, taken
from weights_convert.names_progressive import tensorflow_layer
from weights_convert.nvidia_tensorflow import add_variables
from weights_convert.options import Network, Options, Role, add_tensor, plain, shape_of
from weights_convert.state_dicts import plain_names
from weights_convert.tensors import Tensor, computed
from weights_convert.unpickle import Record

CLASS, FUNCTION = "tfutil.Network", "G_paper"
MARKS = frozenset({"layer0.conv.weight", "layer0.wscale.bias", "output0.conv.weight"})


def role(value: Any) -> Role | None:
    """A network of the TensorFlow code, or a state dict of InterFaceGAN's generator."""
    if type(value) is dict:
        return "generator" if set(plain_names(value)) >= MARKS else None
    function = value.state.get("build_func_name") if type(value) is Record and value.kind == CLASS else None
    return None if type(function) is not str else "generator" if function.startswith("G") else "discriminator"


def kind(value: Any) -> str:
    """As `--network` calls a state dict."""
    return "pggan" if type(value) is dict else ""


def network(name: str, role: Role, source: Any) -> Network:
    """Reads the generator; the architecture follows from the tensors' shapes."""
    return _interfacegan(source) if type(source) is dict else _tensorflow(name, source)


def _tensorflow(name: str, source: Record) -> Network:
    """Its source code, which the official loader executes, is left alone."""
    function, tensors = source.state.get("build_func_name"), dict[str, Tensor]()
    if function != FUNCTION:
        what = f"{name} is built by {described(function)}"
        raise ConversionError(f"{what}; of ProgressiveGAN the generator is read, which {FUNCTION} builds")
    add_variables(tensors, "", source.state.get("variables"))
    channels = _channels(tensors, lambda block: f"{tensorflow_layer(4 << block, 1)}/bias")
    for lod in range(1, len(channels)):
        _drop(tensors, f"ToRGB_lod{lod}/weight", f"ToRGB_lod{lod}/bias")
    for key in [key for key in tensors if "/Conv0_up/" in key]:
        unfused = _unfused(tensors, key, (0, 1, 3, 2)) if key.endswith("/weight") else tensors.pop(key)
        add_tensor(tensors, key.replace("Conv0_up", "Conv0"), unfused)
    dense = f"{tensorflow_layer(4, 0)}/weight"
    inputs, outputs = shape_of(tensors, dense, 2)
    if outputs != 16 * channels[0]:
        raise ConversionError(f"{dense} has the shape {(inputs, outputs)}; {(inputs, 16 * channels[0])} would be right")
    tensors[dense] = _spread(tensors[dense])
    return Network("pggan", "tensorflow", _config(name, source, channels, inputs), tensors)


def _config(name: str, source: Record, channels: tuple[int, ...], inputs: int) -> dict[str, Any]:
    """Options that say what the tensors say too have to agree with them."""
    options = Options(name, source.state.get("static_kwargs"))
    c_dim = options.integer("label_size", 0, 0, inputs - 1)
    options.require("latent_size", None, inputs - c_dim)
    options.require("resolution", 2 << len(channels))
    options.require("num_channels", 3)
    for option in ("normalize_latents", "use_wscale", "use_pixelnorm", "use_leakyrelu"):
        options.require(option, True)
    options.require("pixelnorm_epsilon", 1e-8)
    options.require("dtype", "float32")
    options.ignore("fmap_base", "fmap_decay", "fmap_max", "fused_scale", "structure", "is_template_graph")
    options.ignore("mbstd_group_size")  # of the discriminator; files converted from Theano have it in both networks
    options.finish()
    return dict(channels=channels, z_dim=inputs - c_dim, c_dim=c_dim)


def _interfacegan(source: dict[str, Any]) -> Network:
    tensors: dict[str, Tensor] = {}
    for key, value in plain_names(source).items():
        add_tensor(tensors, key, value)
    channels = _channels(tensors, lambda block: f"layer{2 * block + 1}.wscale.bias")
    for block in range(len(channels) - 1):
        _drop(tensors, f"output{block}.conv.weight", f"output{block}.wscale.bias")
    for key in [key for key in tensors if re.fullmatch(r"layer\d+\.weight", key)]:
        add_tensor(tensors, key.replace(".", ".conv."), _unfused(tensors, key, (3, 2, 0, 1)))
    z_dim = shape_of(tensors, "layer0.conv.weight", 4)[1]
    return Network("pggan", "torch", dict(channels=channels, z_dim=z_dim), tensors)


def _channels(tensors: dict[str, Tensor], bias: Callable[[int], str]) -> tuple[int, ...]:
    """Of all blocks, of a full-grown network."""
    lod = plain(tensors.pop("lod", 0))
    if lod != 0:
        raise ConversionError(
            f"lod is {described(lod)}, so the network is still growing; full-grown ones, of 0, are read"
        )
    check_bytes(tensors)
    blocks = next(block for block in itertools.count(1) if bias(block) not in tensors)
    return tuple(shape_of(tensors, bias(block), 1)[0] for block in range(blocks))


def _unfused(tensors: dict[str, Tensor], name: str, axes: tuple[int, ...]) -> Tensor:
    shape_of(tensors, name, 4)
    return computed(taken(tensors, name)[::-1, ::-1].transpose(axes))


def _spread(dense: Tensor) -> Tensor:
    """`[z_dim, 16 * channels]` as `[z_dim, channels, 4, 4]`."""
    (rows, columns), (row, column) = dense.shape, dense.strides
    strides = (row, 16 * column, 4 * column, column)
    return Tensor(dense.storage, dense.offset, (rows, columns // 16, 4, 4), strides)


def _drop(tensors: dict[str, Tensor], *names: str) -> None:
    for name in names:
        tensors.pop(name, None)
