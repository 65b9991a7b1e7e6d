"""jaxedit.cli.codes: latents of files and folders, and how the pictures of each are called."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from jaxedit import cli, images
from jaxedit.cli.codes import file_codes, latents_digest
from jaxedit.generators.stylegan2 import StyleGAN2Generator

NAMES = ["face 10", "face 2", "Zoë", "a-b_c"]
ORDER = ["Zoë", "a-b_c", "face 2", "face 10"]


def codes(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 8, 24)).astype(np.float32)


def save(path: Path, named: dict[str, Any]) -> Path:
    """A file of arrays under names, or a folder of files."""
    if path.suffix == ".npz":
        np.savez(path, **named)
    elif path.suffix == ".safetensors":
        safetensors.numpy.save_file(named, path)
    else:
        path.mkdir()
        for name, array in named.items():
            np.save(path / f"{name}.npy", array)
    return path


@pytest.mark.parametrize("kind", ["a.npz", "a.safetensors", "folder"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_codes_under_names(generator: StyleGAN2Generator, tmp_path: Path, kind: str, dtype: type):
    """Protects: each code keeps its name, in natural order, in a file of several or a folder; W becomes W+."""
    given = codes().astype(dtype)
    wanted = dict(zip(NAMES, given, strict=True))
    wanted["face 2"] = given[1][:1]  # (1, 24): a W code
    if kind == "folder":
        wanted["face 10"] = given[0][None]
    found = file_codes(save(tmp_path / kind, wanted), generator)
    assert sorted(found.names) == sorted(NAMES) and list(found.names)[-2:] == ["face 2", "face 10"]
    assert list(found.numbers) == [0, 1, 2, 3]
    for position, name in enumerate(found.names):
        expected = np.broadcast_to(wanted[name].astype(np.float32), (1, 8, 24))[0]
        np.testing.assert_array_equal(found.latent(position), expected)
        assert found.latent(position).dtype == np.float32


def test_codes_of_a_list_of_tensors(generator: StyleGAN2Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: the order of a list in a `.pt` file, whose keys are numbers."""
    found = {str(index): code for index, code in enumerate(codes(12))}
    monkeypatch.setattr("jaxedit.cli.latents.read_arrays", lambda path: found)
    found = file_codes(tmp_path / "list.pt", generator)
    assert list(found.names) == [str(index) for index in range(12)]
    np.testing.assert_array_equal(found.latent(10), codes(12)[10])


def test_one_array_is_numbered(generator: StyleGAN2Generator, tmp_path: Path):
    """Protects: the names of pictures of earlier runs."""
    np.savez(tmp_path / "a.npz", anna=codes())
    assert list(file_codes(tmp_path / "a.npz", generator).names) == [f"code000{i}" for i in range(4)]


def test_names_become_file_names(generator: StyleGAN2Generator, tmp_path: Path):
    """Protects: no picture leaves the folder or is hidden, and none replaces another."""
    path = tmp_path / "a.safetensors"
    one, two = codes(2)
    found = file_codes(save(path, {"../faces/anna.png": one, ".b\x00\n": two}), generator)
    assert list(found.names) == ["_faces_anna_png", "_b_"]
    for named, message in [
        ({"a/b": one, "a.b": two}, "the pictures of 'a.b' and 'a/b' would have the same name, a_b"),
        ({"a": one, "b" * 151: two}, "pictures can't be named after 'bbb"),
        ({"a": one, " ": two}, "pictures can't be named after ' '"),
        (
            {"a": one, "b": two[:, :5].copy()},
            r"a.safetensors: 'b': latents of shape \(8, 5\), float32; this generator takes",
        ),
        ({"a": one, "b": codes(2)}, "a.safetensors: 'b': 2 codes; under a name"),
        ({"a": one, "b": two * np.float32("nan")}, "a.safetensors: 'b': row 0 holds values that are not finite"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            file_codes(save(path, named), generator)
        assert str(error.value).startswith(str(path)) and len(str(error.value)) < 300


def test_directions_are_no_latents(generator: StyleGAN2Generator, tmp_path: Path):
    """Protects: a stack of directions, or one under each name, from being drawn as faces."""
    units = np.eye(24, dtype=np.float32)
    np.save(tmp_path / "stack.npy", units)
    named = save(tmp_path / "a.npz", {"smile": units[0], "age": units[1]})
    for path in (tmp_path / "stack.npy", named):
        with pytest.raises(ValueError, match="holds a vector of length 1, which is a direction, not a latent"):
            file_codes(path, generator)


def test_a_folder_of_latents_is_edited(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: the names of the pictures, resuming, and that pictures of other latents never mix."""
    folder, output = save(tmp_path / "codes", dict(zip(NAMES, codes(), strict=True))), tmp_path / "out"
    np.save(tmp_path / "d.npy", np.ones(24))
    command = ["edit", checkpoint, "--latents", folder, "--direction", tmp_path / "d.npy", "--output", output]
    assert cli.main([*map(str, command)]) == 0
    assert {file.name for file in output.glob("*.png")} == {f"{name}_+1.png" for name in NAMES}
    assert images.read_png(output / "Zoë_+1.png").shape == (32, 32, 3)
    assert cli.main([*map(str, command), "--existing", "skip"]) == 0
    before = latents_digest(folder)
    (folder / "face 2.npy").rename(folder / "face 3.npy")
    assert latents_digest(folder) != before
    capsys.readouterr()
    assert cli.main([*map(str, command), "--existing", "overwrite"]) == 1
    assert "face 2_+1.png would stay, made with another latents" in capsys.readouterr().err
