"""MobileStyleGAN as graphs of OpenVINO, laid out as in the published export: for the tests of the converter."""

import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from jaxedit.generators.mobile_stylegan import MobileStyleGANConfig

KINDS = {"float32": "f32", "int64": "i64"}


def by_channel(bands: np.ndarray, axis: int = -1) -> np.ndarray:
    """From bands side by side, as ours lie, to the official order: the three of differences channel by channel."""
    low, *differences = np.split(np.moveaxis(bands, axis, -1), 4, axis=-1)
    mixed = np.stack(differences, axis=-1).reshape(*low.shape[:-1], -1)
    return np.moveaxis(np.concatenate([low, mixed], axis=-1), -1, axis)


class Graph:
    """A graph that is written node by node."""

    def __init__(self) -> None:
        self.layers: list[str] = []
        self.edges: list[str] = []
        self.data = bytearray()

    def node(self, kind: str, *inputs: int, options: str = "") -> int:
        number = len(self.layers)
        name = quoteattr(f"{kind}_{number}")
        self.layers.append(f'<layer id="{number}" name={name} type="{kind}">{options}</layer>')
        for port, source in enumerate(inputs):
            self.edges.append(f'<edge from-layer="{source}" from-port="0" to-layer="{number}" to-port="{port}"/>')
        return number

    def const(self, array: Any, dtype: str = "float32") -> int:
        array = np.ascontiguousarray(array, dtype)
        shape = ", ".join(map(str, np.shape(array)))
        place = f'offset="{len(self.data)}" size="{array.nbytes}"'
        self.data += array.tobytes()
        return self.node("Const", options=f'<data element_type="{KINDS[dtype]}" shape="{shape}" {place}/>')

    def xml(self) -> str:
        return (
            f'<?xml version="1.0"?><net name="graph" version="10"><layers>{"".join(self.layers)}</layers>'
            f"<edges>{''.join(self.edges)}</edges></net>"
        )


def mapping_graph(params: Any, config: MobileStyleGANConfig) -> Graph:
    """The mapping network; its gains are part of the weights."""
    graph = Graph()
    z = graph.node("Parameter")
    x = graph.node("Multiply", z, graph.node("Power", z, graph.const([[-0.5]])))
    for index in range(config.mapping_layers):
        layer = params["mapping"][f"fc{index}"]
        gain = config.mapping_lr_multiplier
        kernel = layer["kernel"].T * (gain / np.sqrt(len(layer["kernel"])))
        product = graph.node("MatMul", x, graph.const(kernel))
        bias = graph.node("Reshape", graph.const(layer["bias"] * gain), graph.const([1, -1], "int64"))
        added = graph.node("Add", product, bias)
        x = graph.node("Multiply", graph.node("PReLU", added, graph.const([0.2])), graph.const([[np.sqrt(2)]]))
    graph.node("Result", x)
    return graph


def synthesis_graph(params: Any, config: MobileStyleGANConfig) -> Graph:
    """The synthesis network."""
    graph, synthesis = Graph(), params["synthesis"]
    w, columns = graph.node("Parameter"), iter(_columns(config))

    def style(gain: float | None, bands: bool = False) -> int:
        chosen = next(columns)
        kernel, bias = (synthesis["affine"][name][..., chosen] for name in ("kernel", "bias"))
        if bands:
            kernel, bias = by_channel(kernel), by_channel(bias)
        added = graph.node("Add", graph.node("MatMul", w, graph.const(kernel.T)), graph.const(bias[None]))
        shaped = graph.node("Reshape", added, graph.const([1, -1, 1, 1], "int64"))
        return shaped if gain is None else graph.node("Multiply", shaped, graph.const([[[[gain]]]]))

    def finished(y: int, part: Any, bands: bool) -> int:
        bias = by_channel(part["finish"]["bias"]) if bands else part["finish"]["bias"]
        noisy = graph.node("Add", y, graph.const(part["finish"]["noise_const"][None, None]))
        added = graph.node("Add", noisy, graph.const(bias[None, :, None, None]))
        return graph.node("PReLU", added, graph.const([0.2]))

    def transformed(x: int, channels: int) -> int:
        def spread(band: int, sign: float, shape: tuple[int, ...]) -> int:
            taps = np.sqrt(0.5) * np.array([1.0, sign]).reshape(shape) * np.ones((channels, 1, 1, 1, 1))
            return graph.node("GroupConvolutionBackpropData", band, graph.const(taps))

        rows, across = (1, 1, 1, 2, 1), (1, 1, 1, 1, 2)
        split = graph.node("VariadicSplit", x, graph.const(1, "int64"), graph.const([channels, -1], "int64"))
        high = graph.node("Squeeze", graph.node("Reshape", split, graph.const([1, -1, 3, 4, 4], "int64")))
        low_rows = graph.node("Add", spread(split, 1, rows), spread(high, -1, rows))
        high_rows = graph.node("Add", spread(high, 1, rows), spread(high, -1, rows))
        return graph.node("Add", spread(low_rows, 1, across), spread(high_rows, -1, across))

    first, count = synthesis["b4_conv1"], len(config.channels)
    constant = graph.node("Broadcast", graph.const(synthesis["const"].transpose(2, 0, 1)[None]))
    scaled = graph.node("Multiply", style((9 * config.channels[0]) ** -0.5), graph.node("Tile", constant))
    kernel = by_channel(first["kernel"]).transpose(3, 2, 0, 1)
    x = finished(graph.node("Convolution", scaled, graph.const(kernel)), first, True)
    for block in range(count - 1):
        below = config.channels[block]
        x = transformed(graph.node("Multiply", style(None, bands=True), x), below // 4)
        for name, width in (("conv0", below // 4), ("conv1", config.channels[block + 1])):
            part, bands = synthesis[f"b{8 << block}_{name}"], name == "conv1" and block < count - 2
            scaled = graph.node("Multiply", style((9 * width) ** -0.5), x)
            depthwise = part["depthwise"].transpose(2, 0, 1)[:, None, None]
            y = graph.node("GroupConvolution", scaled, graph.const(depthwise))
            pointwise = (by_channel(part["pointwise"]) if bands else part["pointwise"]).T[:, :, None, None]
            x = finished(graph.node("Convolution", y, graph.const(pointwise)), part, bands)
    last = synthesis["torgb"]
    scaled = graph.node("Multiply", style(config.channels[-1] ** -0.5), x)
    y = graph.node("Convolution", scaled, graph.const(by_channel(last["kernel"]).T[:, :, None, None]))
    image = graph.node("Add", y, graph.const(by_channel(last["bias"])[None, :, None, None]))
    graph.node("Result", transformed(image, 3))
    return graph


def _columns(config: MobileStyleGANConfig) -> list[slice]:
    ends = np.cumsum([0, *(layer.width for layer in config.style_layers)])
    return [slice(start, end) for start, end in zip(ends, ends[1:], strict=False)]


def graphs(params: Any, config: MobileStyleGANConfig) -> dict[str, Graph]:
    """Both networks by name."""
    return {"MappingNetwork": mapping_graph(params, config), "SynthesisNetwork": synthesis_graph(params, config)}


def write_wheel(path: Path, files: dict[str, bytes]) -> Path:
    """An archive as Python's wheels are: compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def members(found: dict[str, Graph]) -> dict[str, bytes]:
    """The files of graphs, by name."""
    texts = {f"data/{name}.xml": graph.xml().encode() for name, graph in found.items()}
    return texts | {f"data/{name}.bin": bytes(graph.data) for name, graph in found.items()}
