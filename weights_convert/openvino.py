"""OpenVINO's intermediate representation: a graph in XML, its constants in a file beside it.

Nothing of it is executed. The graph is only followed, from its result back, to tell which constant is what; a graph of
another kind is refused where it first differs.
"""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from weights_convert.archive import Archive
from weights_convert.errors import ConversionError, listing, printable
from weights_convert.options import Network, Role
from weights_convert.tensors import MAX_DIMENSIONS, Storage, Tensor

MAPPING, SYNTHESIS = "MappingNetwork", "SynthesisNetwork"
MAX_XML, MAX_DATA, MAX_NODES, MAX_GRAPHS = 8 << 20, 256 << 20, 20_000, 8
DTYPES = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4"}
MAX_BLOCKS = 9
SMALL = 8  # constants of so few numbers are filters, gains and sizes


class Node(NamedTuple):
    """A node of a graph: its name, what it does, the nodes that it reads, and its numbers if it is a constant."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    tensor: Tensor | None


class Model(NamedTuple):
    """Graphs by name, each a dict of nodes by their number."""

    graphs: Mapping[str, dict[str, Node]]


def read_graph(xml: bytes, data: memoryview, where: str) -> dict[str, Node]:
    """The nodes of a graph.

    Args:
        xml: The description.
        data: The constants, one after the other.
        where: What the file is called in errors.

    Raises:
        ConversionError: No graph, one that is too large, or constants that are not where it says.
    """
    if len(xml) > MAX_XML:
        raise ConversionError(f"{where}: a description of more than {MAX_XML >> 20} MiB")
    if b"<!" in xml:
        raise ConversionError(f"refused: {where} has declarations, which graphs do not need")
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ConversionError(f"{where}: no readable XML: {printable(error, 100)}") from None
    layers, edges = root.findall("./layers/layer"), root.findall("./edges/edge")
    if root.tag != "net" or not layers or len(layers) + len(edges) > MAX_NODES:
        raise ConversionError(f"{where}: no graph of OpenVINO with at most {MAX_NODES} nodes and edges")
    inputs: dict[str, dict[int, str]] = {layer.get("id", ""): {} for layer in layers}
    if len(inputs) != len(layers):
        raise ConversionError(f"{where}: two nodes have the same number")
    for edge in edges:
        start, end, port = edge.get("from-layer", ""), edge.get("to-layer", ""), edge.get("to-port", "")
        if start not in inputs or end not in inputs or not _whole(port) or int(port) in inputs[end]:
            raise ConversionError(f"{where}: an edge that leads nowhere")
        inputs[end][int(port)] = start
    return {
        number: Node(
            layer.get("name", "")[:200],
            layer.get("type", ""),
            tuple(inputs[number][port] for port in sorted(inputs[number])),
            _constant(layer, data, where) if layer.get("type") == "Const" else None,
        )
        for number, layer in zip(inputs, layers, strict=True)
    }


def read_archive(archive: Archive) -> Model | None:
    """The graphs in an archive, such as a wheel; None if it has none.

    Raises:
        ConversionError: Damaged or hostile content.
    """
    descriptions = [name for name in archive.members if name.endswith(".xml")]
    if not descriptions or len(descriptions) > MAX_GRAPHS:
        return None
    graphs = {}
    for name in descriptions:
        stem = name.removesuffix(".xml")
        if f"{stem}.bin" not in archive.members:
            raise ConversionError(f"{printable(name, 100)} has no {printable(Path(stem).name, 100)}.bin beside it")
        xml, data = archive.unpacked(name, MAX_XML), archive.unpacked(f"{stem}.bin", MAX_DATA)
        graphs[Path(stem).name] = read_graph(xml, memoryview(data), printable(name, 100))
    return Model(graphs)


def read_files(path: str | os.PathLike[str]) -> Model:
    """The graph of a description, and that of the other half of a MobileStyleGAN in the same folder.

    Raises:
        ConversionError: Damaged or hostile content, or constants that are missing.
        OSError: A file cannot be opened.
    """
    own = Path(path)
    graphs = {}
    for stem in dict.fromkeys((own.stem, MAPPING, SYNTHESIS)):
        xml, data = own.with_name(f"{stem}.xml"), own.with_name(f"{stem}.bin")
        if stem == own.stem:
            xml = own
        elif not xml.is_file():
            continue
        if not data.is_file():
            raise ConversionError(f"{xml.name} has no {data.name} beside it")
        if xml.stat().st_size > MAX_XML or data.stat().st_size > MAX_DATA:
            raise ConversionError(f"{xml.name}: more than {MAX_XML:,} bytes, or {data.name} more than {MAX_DATA:,}")
        graphs[stem] = read_graph(xml.read_bytes(), memoryview(data.read_bytes()), xml.name)
    return Model(graphs)


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


def _constant(layer: ElementTree.Element, data: memoryview, where: str) -> Tensor:
    found = layer.find("data")
    options = {} if found is None else found.attrib
    name, kind = printable(layer.get("name", ""), 100), options.get("element_type", "")
    sizes = [part.strip() for part in options.get("shape", "").split(",")] if options.get("shape") else []
    numbers = [*sizes, options.get("offset", ""), options.get("size", "")]
    if kind not in DTYPES or len(sizes) > MAX_DIMENSIONS or not all(map(_whole, numbers)):
        raise ConversionError(f"{where}: constant {name} has no type, shape or place that is known")
    *shape, offset, size = map(int, numbers)
    dtype = np.dtype(DTYPES[kind])
    if math.prod(shape) * dtype.itemsize != size or offset + size > len(data):
        raise ConversionError(f"{where}: constant {name} of shape {tuple(shape)} does not lie in the {len(data)} bytes")
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return Tensor(Storage(name, dtype, math.prod(shape), data[offset : offset + size]), 0, tuple(shape), strides)


def role(value: object) -> Role | None:
    """Both graphs of MobileStyleGAN together are a generator."""
    return "generator" if type(value) is Model and {MAPPING, SYNTHESIS} <= set(value.graphs) else None


def kind(value: object) -> str:
    """As `--network` calls it."""
    return "mobile_stylegan"


def network(name: str, role: Role, model: Model) -> Network:
    """The tensors of MobileStyleGAN by names of its layers, and its architecture."""
    mapping, synthesis = (_Reader(model.graphs[graph], graph) for graph in (MAPPING, SYNTHESIS))
    tensors = _mapping(mapping) | _synthesis(synthesis)
    for reader in (mapping, synthesis):
        reader.finish()
    channels = [tensors["b4.conv1.weight"].shape[0]]
    while f"b{8 << len(channels) - 1}.conv1.pointwise" in tensors:
        channels.append(tensors[f"b{8 << len(channels) - 1}.conv1.pointwise"].shape[0])
    layers = sum(name.startswith("mapping.") for name in tensors) // 2
    config = {
        "channels": tuple(channels),
        "z_dim": tensors["mapping.fc0.weight"].shape[1],
        "w_dim": tensors["mapping.fc0.weight"].shape[0],
        "mapping_layers": layers,
    }
    return Network("mobile_stylegan", "openvino", config, tensors)


class _Reader:
    """Follows a graph from its result back, and remembers which constants were read."""

    def __init__(self, nodes: dict[str, Node], name: str):
        self.nodes, self.name, self.read, self.steps = nodes, name, set(), 0

    def result(self) -> str:
        ends = [node.inputs for node in self.nodes.values() if node.kind == "Result"]
        if len(ends) != 1 or len(ends[0]) != 1:
            raise ConversionError(f"{self.name}: a graph with {len(ends)} results; 1 would be right")
        return ends[0][0]

    def apart(self, number: str, kind: str, *wanted: str) -> tuple[str, ...]:
        """The inputs of a node of a kind, in the order of the wanted kinds ("" for any)."""
        self.steps += 1
        if self.steps > len(self.nodes):
            raise ConversionError(f"{self.name}: a graph that leads in a circle")
        node = self.nodes[number]
        inputs = list(node.inputs)
        chosen = []
        for one in wanted:
            fits = [number for number in inputs if not one or self.nodes[number].kind == one]
            if node.kind != kind or not fits:
                raise self.other(number, f"{kind} of {' and '.join(filter(None, wanted)) or 'anything'}")
            chosen.append(fits[0])
            inputs.remove(fits[0])
        return tuple(chosen)

    def other(self, number: str, expected: str) -> ConversionError:
        node = self.nodes[number]
        found = f"{node.kind} of {' and '.join(self.nodes[one].kind for one in node.inputs)}"
        return ConversionError(
            f"{self.name}: no MobileStyleGAN as it was exported: {printable(node.name, 60)} is a"
            f" {printable(found, 100)} where {expected} was expected"
        )

    def constant(self, number: str) -> Tensor:
        tensor = self.nodes[number].tensor
        if tensor is None:
            raise self.other(number, "a constant")
        self.read.add(number)
        return tensor

    def number(self, number: str, wanted: float) -> None:
        """Checks a constant of one number."""
        tensor = self.constant(number)
        if tensor.size != 1 or not np.isclose(float(tensor.view().reshape(())), wanted, rtol=1e-5):
            raise ConversionError(f"{self.name}: {printable(self.nodes[number].name, 60)} is not {wanted:.6g}")

    def behind(self, number: str, *kinds: str) -> str:
        """What nodes of some kinds, which change no number, are made of."""
        while self.nodes[number].kind in kinds:
            (number,) = self.apart(number, self.nodes[number].kind, "")
        return number

    def finish(self) -> None:
        """Refuses a graph with weights that were not read; those of transposed convolutions are filters of Haar."""
        for node in self.nodes.values():
            if node.kind == "GroupConvolutionBackpropData":
                filters = self.constant(node.inputs[-1])
                if not np.allclose(np.abs(filters.view()), math.sqrt(0.5), atol=1e-5):
                    raise ConversionError(f"{self.name}: {printable(node.name, 60)} is no filter of the Haar transform")
        unread = [
            node.name
            for number, node in self.nodes.items()
            if node.tensor is not None and node.tensor.size > SMALL and number not in self.read
        ]
        if unread:
            raise ConversionError(f"{self.name}: constants of no known use: {listing(unread)}")


def _mapping(reader: _Reader) -> dict[str, Tensor]:
    layers: list[tuple[Tensor, Tensor]] = []
    place = reader.result()
    while any(reader.nodes[one].kind == "PReLU" for one in reader.nodes[place].inputs):
        activated, gain = reader.apart(place, "Multiply", "PReLU", "Const")
        reader.number(gain, math.sqrt(2))
        added, slope = reader.apart(activated, "PReLU", "Add", "Const")
        reader.number(slope, 0.2)
        bias, product = reader.apart(added, "Add", "Reshape", "MatMul")
        weight, place = reader.apart(product, "MatMul", "Const", "")
        layers.insert(0, (reader.constant(weight), reader.constant(reader.behind(bias, "Reshape"))))
    if not layers or reader.nodes[place].kind != "Multiply":
        raise reader.other(place, "the normalised latent")
    named = {}
    for index, (weight, bias) in enumerate(layers):
        named |= {f"mapping.fc{index}.weight": weight, f"mapping.fc{index}.bias": bias}
    return named


def _synthesis(reader: _Reader) -> dict[str, Tensor]:
    bands = _transformed(reader, reader.result())
    product, bias = reader.apart(bands, "Add", "Convolution", "Const")
    scaled, weight = reader.apart(product, "Convolution", "Multiply", "Const")
    found, blocks = {"torgb.weight": reader.constant(weight), "torgb.bias": reader.constant(bias)}, []
    style, place = _scaled(reader, scaled, 1)
    found |= {f"torgb.modulation.{part}": tensor for part, tensor in style.items()}
    while (first := _first(reader, place)) is None:
        block = {}
        for name in ("conv1", "conv0"):
            part, place = _depthwise(reader, place)
            block |= {f"{name}.{key}": tensor for key, tensor in part.items()}
        style, place = _scaled(reader, _transformed(reader, place), 0)
        block |= {f"up.modulation.{part}": tensor for part, tensor in style.items()}
        blocks.insert(0, block)
        if len(blocks) > MAX_BLOCKS:
            raise ConversionError(f"{reader.name}: more than {MAX_BLOCKS} blocks")
    for index, block in enumerate(blocks):
        found |= {f"b{8 << index}.{key}": tensor for key, tensor in block.items()}
    return found | first


def _transformed(reader: _Reader, number: str) -> str:
    """What an inverse transform is taken of, found by the way of its low band."""
    for _ in range(2):
        number = reader.apart(number, "Add", "GroupConvolutionBackpropData")[0]
        kernel, number = reader.apart(number, "GroupConvolutionBackpropData", "Const", "")
        if not np.allclose(reader.constant(kernel).view(), math.sqrt(0.5), atol=1e-5):
            raise reader.other(number, "a low pass of the Haar transform")
    return reader.apart(number, "VariadicSplit", "")[0]


def _scaled(reader: _Reader, number: str, taps: int) -> tuple[dict[str, Tensor], str]:
    """The affine layer of the style that activations are scaled by, and these; `taps` of the kernel give
    the gain, and 0 stands for none."""
    pair = reader.apart(number, "Multiply", "", "")
    style = next((one for one in pair if reader.nodes[one].kind == ("Multiply" if taps else "Reshape")), None)
    if style is None:
        raise reader.other(number, "activations scaled by a style")
    data, gain = pair[1 - pair.index(style)], None
    if taps:
        style, gain = reader.apart(style, "Multiply", "Reshape", "Const")
    product, bias = reader.apart(reader.behind(style, "Reshape"), "Add", "MatMul", "Const")
    weight, _ = reader.apart(product, "MatMul", "Const", "Parameter")
    found = {"weight": reader.constant(weight), "bias": reader.constant(bias)}
    if gain is not None:
        reader.number(gain, (taps * found["weight"].shape[0]) ** -0.5)
    return found, data


def _finished(reader: _Reader, number: str) -> tuple[dict[str, Tensor], str]:
    """Noise and bias in front of an activation, and the convolution that they are added to."""
    added, slope = reader.apart(number, "PReLU", "Add", "Const")
    reader.number(slope, 0.2)
    noisy, bias = reader.apart(added, "Add", "Add", "Const")
    product, noise = reader.apart(noisy, "Add", "Convolution", "Const")
    return {"noise": reader.constant(noise), "bias": reader.constant(bias)}, product


def _depthwise(reader: _Reader, number: str) -> tuple[dict[str, Tensor], str]:
    found, product = _finished(reader, number)
    depthwise, pointwise = reader.apart(product, "Convolution", "GroupConvolution", "Const")
    scaled, kernel = reader.apart(depthwise, "GroupConvolution", "Multiply", "Const")
    style, data = _scaled(reader, scaled, 9)
    found |= {"depthwise": reader.constant(kernel), "pointwise": reader.constant(pointwise)}
    return found | {f"modulation.{part}": tensor for part, tensor in style.items()}, data


def _first(reader: _Reader, number: str) -> dict[str, Tensor] | None:
    """The layer at 4 px and the constant; None if this is a later one."""
    found, product = _finished(reader, number)
    if not any(reader.nodes[one].kind == "Multiply" for one in reader.nodes[product].inputs):
        return None
    scaled, kernel = reader.apart(product, "Convolution", "Multiply", "Const")
    style, data = _scaled(reader, scaled, 9)
    data = reader.behind(data, "Tile", "Broadcast")
    named = found | {"weight": reader.constant(kernel)} | {f"modulation.{part}": one for part, one in style.items()}
    return {f"b4.conv1.{part}": tensor for part, tensor in named.items()} | {"const": reader.constant(data)}
