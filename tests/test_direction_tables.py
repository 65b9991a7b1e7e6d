"""Files of several directions: which one FILE:ROW is, how strong, and what `info` says of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxedit import Direction, load_direction, save_direction
from jaxedit.cli import info
from jaxedit.cli.array_files import read_arrays
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator

FFHQ = StyleGAN2Generator({}, StyleGAN2Config())


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def ganspace(**changed: Any) -> dict[str, Any]:
    """What GANSpace writes about a layer: its activations come first."""
    arrays = {"act_comp": random(80, 1, 7, 3), "act_stdev": random(80), "lat_comp": random(80, 1, 512)}
    return {**arrays, "lat_mean": random(1, 512), "lat_stdev": np.arange(1, 81, dtype=np.float32), **changed}


def test_components_of_ganspace(tmp_path: Path):
    """Protects: the latent's components and not the activation's, in units of the deviation along each."""
    np.savez(tmp_path / "pca.npz", **ganspace())
    for row in (0, 3, 79):
        direction = load_direction(tmp_path / f"pca.npz:{row}", generator=FFHQ)
        np.testing.assert_array_equal(direction.vector, ganspace()["lat_comp"][row, 0])
        assert (direction.name, direction.space, direction.unit) == (f"pca_{row}", "w", row + 1)
    with pytest.raises(ValueError, match="pca.npz: holds 80 directions; choose one, pca.npz:0 to pca.npz:79"):
        load_direction(tmp_path / "pca.npz", generator=FFHQ)
    shown = info.describe(tmp_path / "pca.npz")
    assert shown.endswith("80 directions; one of them is FILE:0 to FILE:79")


def test_real_components(fixtures: Path):
    """Protects: e4e's file of StyleGAN2-FFHQ, as people have it."""
    path = fixtures / "e4e" / "ffhq_pca.pt"
    direction = load_direction(f"{path}:10", generator=FFHQ, read=read_arrays)
    arrays = read_arrays(path)
    np.testing.assert_array_equal(direction.vector, np.asarray(arrays["comp"])[10, 0])
    assert direction.unit == np.asarray(arrays["std"])[10] and direction.space == "w"


def test_eigenvectors_of_sefa(tmp_path: Path):
    """Protects: rosinality's `apply_factor.py` takes columns."""
    np.savez(tmp_path / "factor.npz", eigvec=random(512, 512))
    direction = load_direction(tmp_path / "factor.npz:5", generator=FFHQ)
    np.testing.assert_array_equal(direction.vector, random(512, 512)[:, 5])
    assert direction.unit == 1
    with pytest.raises(ValueError, match="holds 512 directions"):
        load_direction(tmp_path / "factor.npz")


def test_rows_of_one_array(tmp_path: Path):
    """Protects: a stack of boundaries; without a row the shape says W+ as before; a file may be called like a row."""
    np.save(tmp_path / "all.npy", random(18, 512))
    assert load_direction(tmp_path / "all.npy", generator=FFHQ).space == "w_plus"
    direction = load_direction(tmp_path / "all.npy:17", generator=FFHQ)
    assert direction.space == "w" and (direction.vector == random(18, 512)[17]).all()
    (tmp_path / "all.npy:1").write_bytes((tmp_path / "all.npy").read_bytes())
    with pytest.raises(ValueError, match="unknown kind of array file"):
        load_direction(tmp_path / "all.npy:1")


@pytest.mark.parametrize(
    ("arrays", "row", "message"),
    [
        (ganspace(), 80, "a.npz: there is no direction 80, but 0 to 79"),
        (ganspace(lat_stdev=np.zeros(80, "f4")), 3, "a.npz: the standard deviation along direction 3 is 0.0"),
        (ganspace(lat_stdev=np.full(80, np.nan)), 3, "a.npz: the standard deviation along direction 3 is nan"),
        (
            ganspace(lat_stdev=random(79)),
            3,
            r"a.npz: standard deviations of shape \(79,\), float32; one number for each",
        ),
        (ganspace(lat_stdev=np.array(["1"] * 80)), 3, "a.npz: standard deviations of shape .*, <U1"),
        (ganspace(lat_comp=random(80, 1, 100)), 3, r"a.npz:3: shape \(100,\) fits no space of this generator"),
        (ganspace(lat_comp=random(512)), 3, "not the components of GANSpace or SeFa, or rows of one array"),
        (ganspace(lat_comp=np.full((80, 512), "x")), 3, "a.npz:3: holds <U1 values"),
        ({"a": random(9, 512), "b": random(9, 512)}, 3, r"a.npz: holds 2 array\(s\), .*, not the components"),
        ({"a": np.zeros((1 << 14, 512), "u1")}, 3, "is more than 4194304 numbers"),
        ({}, 3, "a.npz: holds 0 array"),
    ],
)
def test_what_has_no_such_row_is_refused(tmp_path: Path, arrays: dict[str, Any], row: int, message: str):
    """Protects: one line, and no direction of another array or strength."""
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_direction(tmp_path / f"a.npz:{row}", generator=FFHQ)


def test_own_files_hold_one_direction(tmp_path: Path):
    """Protects: a row is no part of the name of our own files."""
    save_direction(tmp_path / "a.safetensors", Direction(name="a", space="w", vector=random(512)))
    with pytest.raises(ValueError, match="a.safetensors: holds one direction; leave out :0"):
        load_direction(tmp_path / "a.safetensors:0")
    with pytest.raises(FileNotFoundError, match="absent.npz: no such file"):
        load_direction(tmp_path / "absent.npz:0")
