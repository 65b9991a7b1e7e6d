"""Random ProgressiveGAN networks in both formats: what is read, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import official_progressive as official
import pytest
from official_pickles import Tensor, torch_save

from jaxedit import checkpoints
from jaxedit.generators.progressive import ProgressiveConfig
from weights_convert import ConversionError, convert
from weights_convert.__main__ import main
from weights_convert.names_progressive import progressive_rows


@pytest.mark.parametrize("fused", [False, True])
def test_both_formats_are_the_same_network(tmp_path: Path, capsys: pytest.CaptureFixture[str], fused: bool):
    """Protects: the numbers of the file as they are, so that directions of one file's generator fit the other's."""
    found = official.variables(fused=fused)
    official.tensorflow_pickle(tmp_path / "G.pkl", found)
    wrapped = {f"module.{name}": value for name, value in official.state_dict(found).items()}
    official.saved(tmp_path / "pggan.pth", wrapped, legacy=True)
    assert main([str(tmp_path / "G.pkl"), str(tmp_path / "tensorflow")]) == 0
    shown = capsys.readouterr().out
    assert "G_ema: generator 16x16, 14 tensors" in shown and "CC BY-NC 4.0" in shown
    assert main([str(tmp_path / "pggan.pth"), str(tmp_path / "torch"), "--network", "pggan"]) == 0
    one, other = (checkpoints.load(tmp_path / name) for name in ("tensorflow", "torch"))
    assert one.fingerprint == other.fingerprint and one.config == other.config
    assert main([str(tmp_path / "G.pkl"), "--info"]) == 0
    shown = capsys.readouterr().out
    assert "G_ema: generator\n  c_dim=0, channels=(8, 6, 4), z_dim=5" in shown and "D: cannot be converted" in shown


def test_names_and_shapes_are_those_of_the_published_network():
    """Protects: a released file fits as it is."""
    rows = {row.torch: row.tensorflow for row in progressive_rows(ProgressiveConfig())}
    assert len(rows) == 38
    for torch, tensorflow in {
        "layer0.conv.weight": "4x4/Dense/weight",
        "layer1.wscale.bias": "4x4/Conv/bias",
        "layer16.conv.weight": "1024x1024/Conv0/weight",
        "layer17.conv.weight": "1024x1024/Conv1/weight",
        "output8.wscale.bias": "ToRGB_lod0/bias",
    }.items():
        assert rows[torch] == tensorflow


def changed(name: str, value: Any) -> Any:
    return lambda state: state.update({name: np.asarray(value, np.float32)})


def without(name: str) -> Any:
    return lambda state: state.pop(name)


CHANGES: dict[str, tuple[bool, Any, str]] = {  # of the fused network or the plain one
    "growing": (False, changed("lod", 1.5), "lod is 1.5, so the network is still growing"),
    "two lods": (False, changed("lod", [0, 0]), "lod is of type list"),
    "missing": (False, without("8x8/Conv1/weight"), "1 missing (8x8/Conv1/weight)"),
    "missing bias": (True, without("8x8/Conv0_up/bias"), "1 missing (8x8/Conv0/bias)"),
    "unexpected": (False, changed("Noise/weight", [1]), "1 unexpected (Noise/weight)"),
    "another lod's colours": (False, changed("ToRGB_lod3/bias", [1, 1, 1]), "1 unexpected (ToRGB_lod3/bias)"),
    "misshapen": (False, changed("16x16/Conv1/weight", np.ones((3, 3, 4, 5))), "(3, 3, 4, 5), expected (3, 3, 4, 4)"),
    "misshapen dense": (False, changed("4x4/Dense/weight", np.ones((5, 130))), "(5, 130); (5, 128) would be right"),
    "vector for dense": (False, changed("4x4/Dense/weight", np.ones(5)), "4x4/Dense/weight is of shape (5,)"),
    "fused misshapen": (True, changed("8x8/Conv0_up/weight", np.ones((3, 3, 8, 6))), "(3, 3, 6, 8), expected"),
    "vector for fused": (True, changed("8x8/Conv0_up/weight", np.ones(9)), "8x8/Conv0_up/weight is of shape (9,)"),
    "both forms": (True, changed("8x8/Conv0/bias", np.ones(6)), "there are two of that name"),
    "not finite": (False, changed("8x8/Conv1/bias", np.full(6, np.nan)), "not finite, in b8/conv1/bias"),
    "no blocks": (False, without("4x4/Conv/bias"), "4x4/Conv/bias is missing, so the architecture"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_damaged_pickles_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str):
    """Protects: every variable is used and every parameter filled; one line says what does not fit."""
    fused, change, message = CHANGES[case]
    change(found := official.variables(fused=fused))
    refused(official.tensorflow_pickle(tmp_path / "G.pkl", found), capsys, message)


def refused(source: Path, capsys: pytest.CaptureFixture[str], message: str, *options: str) -> None:
    assert main([str(source), str(source.parent / "out"), *options]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {source}: ") and err.count("\n") == 1 and message in err
    assert list(source.parent.iterdir()) == [source]


OPTIONS: dict[str, tuple[Any, str]] = {
    "use_pixelnorm": (False, "use_pixelnorm is False, supported is True"),
    "use_leakyrelu": (False, "use_leakyrelu is False"),
    "use_wscale": (False, "use_wscale is False"),
    "normalize_latents": (False, "normalize_latents is False"),
    "pixelnorm_epsilon": (1e-4, "pixelnorm_epsilon is 0.0001"),
    "dtype": ("float16", "dtype is 'float16'"),
    "num_channels": (1, "num_channels is 1, supported is 3"),
    "resolution": (32, "resolution is 32, supported is 16"),
    "latent_size": (6, "latent_size is 6"),
    "label_size": (5, "label_size is 5, supported is a whole number from 0 to 4"),
    "attention": (True, "unknown construction options attention"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_other_networks_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str):
    """Protects: a network that would compute something else is never converted silently."""
    value, message = OPTIONS[option]
    refused(official.tensorflow_pickle(tmp_path / "G.pkl", official.variables(), **{option: value}), capsys, message)


def test_options_may_be_left_out_or_without_effect(tmp_path: Path):
    """Protects: files that the TensorFlow code made of Theano's, and those that rely on its defaults."""
    given: dict[str, Any] = dict(latent_size=None, fmap_max=None, fused_scale=None, mbstd_group_size=16)
    convert(official.tensorflow_pickle(tmp_path / "G.pkl", official.variables(), **given), tmp_path / "out")
    assert checkpoints.load(tmp_path / "out").config.z_dim == official.Z_DIM


def test_the_discriminator_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: one line that says what is read."""
    source = official.tensorflow_pickle(tmp_path / "G.pkl", official.variables())
    refused(source, capsys, "D is built by 'D_paper'; of ProgressiveGAN the generator is read", "--network", "D")


def test_damaged_state_dicts_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: the other format likewise, and no memory for kernels that repeat a few numbers."""
    for fused, change, message in (
        (False, changed("lod", 2), "lod is 2.0, so the network is still growing"),
        (False, without("output2.conv.weight"), "1 missing (output2.conv.weight)"),
        (True, without("layer2.weight"), "1 missing (layer2.conv.weight)"),
        (False, changed("layer9.wscale.bias", np.ones(4)), "1 unexpected (layer9.wscale.bias)"),
        (False, changed("layer0.conv.weight", np.ones((8, 5))), "layer0.conv.weight is of shape (8, 5)"),
        (
            True,
            changed("layer2.weight", np.ones((3, 3, 6, 8))),
            "layer2.conv.weight (8, 6, 3, 3), expected (6, 8, 3, 3)",
        ),
        (True, changed("layer2.conv.weight", np.ones((6, 8, 3, 3))), "there are two of that name"),
    ):
        change(state := official.state_dict(official.variables(fused=fused)))
        refused(official.saved(tmp_path / "pggan.pth", state), capsys, message)
    tensors = {name: Tensor(np.array(value)) for name, value in state.items()}
    tensors["layer2.weight"] = Tensor(np.ones(1, np.float32), strides=(0, 0, 0, 0), shape=(3, 3, 1 << 12, 1 << 12))
    refused(torch_save(tmp_path / "pggan.pth", tensors), capsys, "more than 512 MiB")
    with pytest.raises(ConversionError, match="the file has no network bisenet, it has pggan"):
        convert(official.saved(tmp_path / "pggan.pth", state), tmp_path / "out", network="bisenet")
