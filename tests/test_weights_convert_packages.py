"""Networks in packages: manifests of TensorFlow.js in folders and npm archives, and what is refused of them."""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxedit import checkpoints, families
from jaxedit.networks.age_gender import AgeGenderConfig
from jaxedit.networks.face_landmarks import FaceLandmarksConfig
from weights_convert import ConversionError, convert
from weights_convert.tables import TABLES

MANIFEST = "face-weights_manifest.json"


def manifest_of(config: Any, *, bits: int = 8) -> tuple[list[Any], bytes, dict[str, np.ndarray]]:
    """A manifest of random weights, its bytes, and the parameters that it stands for."""
    shapes: Any = flatten_dict(families.abstract_params(config), sep="/")
    random, weights, data, expected = np.random.RandomState(0), [], b"", {}
    for index, row in enumerate(TABLES[families.family_of(config)].rows(config)):
        shape = tuple(shapes[row.leaf].shape)
        numbers = random.randint(0, 1 << bits, shape)
        coding = {"dtype": f"uint{bits}", "scale": 0.01 / (1 << bits), "min": -0.005}
        if index % 3:
            stored = numbers.astype(f"<u{bits // 8}")
            expected[row.leaf] = (numbers * coding["scale"] + coding["min"]).astype(np.float32)
        else:
            stored, coding = (numbers / (1 << bits) - 0.5).astype("<f4"), None
            expected[row.leaf] = stored
        source = {"depthwise": (*shape, 1), "pointwise": (1, 1, *shape)}.get(row.layout, shape)
        entry = {"name": row.tfjs, "shape": list(source), "dtype": "float32"}
        weights.append(entry | ({} if coding is None else {"quantization": coding}))
        data += stored.tobytes()
    return [{"weights": weights, "paths": ["one.bin", "two"]}], data, expected


def written(folder: Path, groups: Any, data: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_text(groups if isinstance(groups, str) else json.dumps(groups))
    (folder / "one.bin").write_bytes(data[:1000])
    (folder / "two").write_bytes(data[1000:])
    return folder


def packed(path: Path, members: dict[str, bytes], *links: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
    return path


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("form", ["folder", "manifest", "package"])
def test_a_manifest_becomes_the_network(tmp_path, form, bits):
    """Protects: every tensor in its place and every quantised number, from a folder, one manifest and an archive."""
    config = FaceLandmarksConfig()
    groups, data, expected = manifest_of(config, bits=bits)
    folder = source = written(tmp_path / "model", groups, data)
    if form == "manifest":
        source = folder / MANIFEST
    if form == "package":
        members = {f"package/model/{name}": (folder / name).read_bytes() for name in os.listdir(folder)}
        source = packed(tmp_path / "model.tgz", members | {"package/index.js": b"while (true) {}"})
    convert(source, tmp_path / "out")
    network = checkpoints.load_network(tmp_path / "out")
    assert network.config == config
    found: Any = flatten_dict(network.params, sep="/")
    assert found.keys() == expected.keys()
    for leaf, array in expected.items():
        np.testing.assert_allclose(found[leaf], array, rtol=0, atol=1e-7, err_msg=leaf)


@pytest.mark.slow
def test_several_networks_get_a_folder_each(tmp_path):
    """Protects: one command converts all that a package holds; one of them can be chosen; unknown ones are left."""
    members = {}
    for name, config in (("a", FaceLandmarksConfig()), ("b", AgeGenderConfig())):
        groups, data, _ = manifest_of(config)
        groups[0]["paths"] = [f"{name}.bin"]
        members |= {f"m/{name}-weights_manifest.json": json.dumps(groups).encode(), f"m/{name}.bin": data}
    other = [{"weights": [{"name": "x", "shape": [1], "dtype": "float32"}], "paths": ["c.bin"]}]
    members |= {"m/c-weights_manifest.json": json.dumps(other).encode(), "m/c.bin": bytes(4)}
    source = packed(tmp_path / "p.tgz", members)
    lines = convert(source, tmp_path / "all")
    assert sorted(os.listdir(tmp_path / "all")) == ["age_gender", "face_landmarks"]
    assert any("MIT" in line for line in lines)
    convert(source, tmp_path / "one", network="age_gender")
    for path in (tmp_path / "all" / "age_gender", tmp_path / "one"):
        assert checkpoints.read_description(path).family == "age_gender"


@pytest.mark.slow
def test_real_weights_are_read(tmp_path, fixtures):
    """Protects: the published files of three networks."""
    convert(fixtures / "face_api", tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["age_gender", "face_expressions", "face_landmarks"]
    for name in os.listdir(tmp_path / "out"):
        network = checkpoints.load_network(tmp_path / "out" / name)
        kernels = [leaf for leaf in jax.tree.leaves(network.params) if leaf.ndim > 1]
        assert all(np.isfinite(leaf).all() and np.ptp(leaf) > 0 for leaf in kernels)


def _first(**changes: Any) -> Any:
    def change(groups: Any, data: bytes) -> tuple[Any, bytes]:
        groups[0]["weights"][0] |= changes
        return groups, data

    return change


def _coding(**changes: Any) -> Any:
    def change(groups: Any, data: bytes) -> tuple[Any, bytes]:
        next(entry for entry in groups[0]["weights"] if "quantization" in entry)["quantization"] |= changes
        return groups, data

    return change


def _paths(*paths: Any) -> Any:
    def change(groups: Any, data: bytes) -> tuple[Any, bytes]:
        groups[0]["paths"] = list(paths)
        return groups, data

    return change


HOSTILE = {
    "not JSON": (lambda groups, data: ("[{", data), "no readable JSON"),
    "deep JSON": (lambda groups, data: ("[" * 200_000, data), "no readable JSON"),
    "another JSON": (lambda groups, data: ("[1]", data), "no manifest"),
    "no group": (lambda groups, data: ([], data), "no manifest"),
    "negative shape": (_first(shape=[-1, 3]), "has the shape"),
    "fraction in the shape": (_first(shape=[1.5]), "has the shape"),
    "huge shape": (_first(shape=[1 << 40, 1 << 40]), "its files have"),
    "wrong dtype": (_first(dtype="string"), "float32 or int32 would be right"),
    "unknown coding": (_coding(dtype="uint4"), "quantization"),
    "scale that is no number": (_coding(scale="1"), "quantization"),
    "scale that is not finite": (_coding(scale=float("inf")), "quantization"),
    "two of one name": (lambda g, d: (g + [g[0] | {"paths": ["one.bin", "two"]}], d), "two tensors"),
    "too few bytes": (lambda groups, data: (groups, data[:-1]), "its files have"),
    "too many bytes": (lambda groups, data: (groups, data + b"0"), "more than the tensors need"),
    "path to elsewhere": (_paths("../one.bin"), "not beside it"),
    "absolute path": (_paths("/etc/passwd"), "not beside it"),
    "path that is no text": (_paths(7), "not beside it"),
    "missing file": (_paths("three.bin"), "has no three.bin beside it"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_broken_manifests_are_refused_in_one_line(tmp_path, name):
    """Protects: what the manifest says is checked before it is believed, and nothing half-written stays behind."""
    change, message = HOSTILE[name]
    groups, data, _ = manifest_of(FaceLandmarksConfig())
    source = written(tmp_path / "model", *change(groups, data))
    with pytest.raises(ConversionError, match=message) as caught:
        convert(source, tmp_path / "out")
    assert "\n" not in str(caught.value) and "model" in str(caught.value)
    assert os.listdir(tmp_path) == ["model"]


def _good() -> dict[str, bytes]:
    groups, data, _ = manifest_of(FaceLandmarksConfig())
    groups[0]["paths"] = ["one.bin"]
    return {f"m/{MANIFEST}": json.dumps(groups).encode(), "m/one.bin": data}


ARCHIVES = {
    "path to elsewhere": (lambda path: packed(path, _good() | {"m/../../x": b""}), "unsafe name"),
    "absolute path": (lambda path: packed(path, _good() | {"/etc/x": b""}), "unsafe name"),
    "a link": (lambda path: packed(path, _good(), "m/link"), "neither a file nor a folder"),
    "no weights": (lambda path: packed(path, {"m/readme": b"hello"}), "without weights"),
    "missing bin": (lambda path: packed(path, {f"m/{MANIFEST}": _good()[f"m/{MANIFEST}"]}), "has no one.bin"),
    "a pickle that asks for more": (
        lambda path: packed(path, {"m/x.ckpt": b"cos\nsystem\n(S'true'\ntR."}),
        "os.system|posix|refused",
    ),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_hostile_packages_are_refused_in_one_line(tmp_path, name):
    """Protects: archives are only looked into; what leads out of them or asks for code is refused."""
    make, message = ARCHIVES[name]
    source = make(tmp_path / "package.tgz")
    with pytest.raises(ConversionError, match=message) as caught:
        convert(source, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["package.tgz"]


def test_damaged_gzip_streams_are_refused(tmp_path):
    """Protects: truncation, flipped bytes and bombs of a compressed archive."""
    whole = packed(tmp_path / "whole.tgz", _good()).read_bytes()
    damaged = {
        "truncated": whole[: len(whole) // 2],
        "flipped": whole[:2000] + bytes(byte ^ 255 for byte in whole[2000:2100]) + whole[2100:],
        "bomb": gzip.compress(bytes(300 << 20), 6),
        "no tar": gzip.compress(b"hello"),
    }
    for name, content in damaged.items():
        path = tmp_path / f"{name}.tgz"
        path.write_bytes(content)
        with pytest.raises(ConversionError, match="gzip|tar archive|more than 256 MiB|without weights"):
            convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
