"""State dicts in PyTorch's own layout: converted by the names of their tensors, and foreign ones refused."""

import hashlib
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import official_pickles as pickles
import pytest
from official_pickles import Tensor
from oracles import f64
from slowly import first_quick
from test_networks import Reference, check, lively, normal

import jaxedit
from jaxedit.families import abstract_params
from jaxedit.networks.bisenet import BiSeNetConfig, FaceParser
from weights_convert.__main__ import main
from weights_convert.state_dicts import official_rows

SMALL = BiSeNetConfig(512, (4, 6, 8, 10), 2, 4, 5, 6, 8, 4, 4)
SOURCES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
# Of the sorted lines "name shape" of the official network's state dict, without its counters.
OFFICIAL = {"bisenet": (BiSeNetConfig(), 160, "99c082d77f3b12bfd7b6ee02965eb84d6203417f0410c24310f55e7e1d39aa67")}


def official_state(params: Any) -> dict[str, Any]:
    """Parameters under their official names, in PyTorch's layout, with the counters that official files have."""
    state: dict[str, Any] = {}
    for path, leaf in flax.traverse_util.flatten_dict(params).items():
        name = ".".join((*path[1:-1], SOURCES[path[-1]]))
        array = np.asarray(leaf)
        state[name] = Tensor(np.ascontiguousarray(array.transpose(3, 2, 0, 1)) if array.ndim == 4 else array)
        if path[-1] == "var":
            state[name.replace("running_var", "num_batches_tracked")] = Tensor(np.array(7))
    return state


@pytest.fixture(scope="module")
def params() -> Any:
    return lively(abstract_params(SMALL))


@pytest.mark.parametrize("family", OFFICIAL)
def test_names_and_shapes_are_those_of_the_official_files(family: str):
    """Protects: a released file fits as it is: every name and every shape."""
    config, count, digest = OFFICIAL[family]
    shapes: Any = flax.traverse_util.flatten_dict(abstract_params(config), sep="/")
    lines = []
    for row in official_rows(config):
        shape = shapes[row.leaf].shape
        lines.append(f"{row.torch} {tuple(shape[axis] for axis in (3, 2, 0, 1)) if len(shape) == 4 else shape}")
    assert len(lines) == count
    assert hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == digest


@pytest.mark.parametrize("network", [None, "bisenet"])
@pytest.mark.parametrize("prefix", first_quick(["module.", ""]))
def test_a_parser_is_converted_and_called(tmp_path: Path, params: Any, prefix: str, network: str | None):
    """Protects: the way from an official file to logits, against float64, with and without a wrapper's prefix."""
    state = {prefix + name: value for name, value in official_state(params).items()}
    source = pickles.torch_save(tmp_path / "79999_iter.pth", state)
    named = [] if network is None else ["--network", network]
    assert main([str(source), str(tmp_path / "parser"), *named]) == 0
    parser = jaxedit.load_network(tmp_path / "parser")
    assert isinstance(parser, FaceParser) and parser.config == SMALL
    image = normal(5, 64, 96, 3)
    logits = jax.jit(lambda network, image: network(image))(parser, image)
    check(logits, Reference(params).bisenet(f64(image), SMALL)[0])


CHANGES: dict[str, tuple[Any, str]] = {
    "missing": (lambda state: state.pop("ffm.conv1.weight"), "1 missing (ffm.conv1.weight)"),
    "unexpected": (lambda state: state.update({"ffm.conv3.weight": Tensor(np.zeros(2, np.float32))}), "1 unexpected"),
    "misshapen": (
        lambda state: state.update({"cp.conv_head16.bn.bias": Tensor(np.zeros(7, np.float32))}),
        "cp.conv_head16.bn.bias (7,), expected (6,)",
    ),
    "not finite": (
        lambda state: state.update({"cp.arm16.bn_atten.bias": Tensor(np.full(6, np.nan, np.float32))}),
        "numbers that are not finite, in params/cp/arm16/bn_atten/bias",
    ),
    "no number": (lambda state: state.update({"cp.arm16.bn_atten.bias": "none"}), "is no tensor"),
    "vector for a kernel": (
        lambda state: state.update({"cp.arm16.conv.conv.weight": Tensor(np.zeros(6, np.float32))}),
        "cp.arm16.conv.conv.weight is of shape (6,), so the architecture cannot be told",
    ),
    "huge": (
        lambda state: state.update({"cp.arm16.conv.conv.weight": Tensor(np.zeros((1 << 20, 1, 1, 1), np.float32))}),
        "and 30 more",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_damaged_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], params: Any, case: str):
    """Protects: every tensor is used and every parameter filled; one line says what does not fit."""
    change, message = CHANGES[case]
    change(state := official_state(params))
    source = pickles.torch_save(tmp_path / "source.pth", state)
    assert main([str(source), str(tmp_path / "parser")]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {source}: ") and err.count("\n") == 1 and message in err
    assert [path.name for path in tmp_path.iterdir()] == ["source.pth"]


def test_another_network_than_asked_for_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], params: Any):
    """Protects: `--network` never makes one network of another's file."""
    source = pickles.torch_save(tmp_path / "source.pth", official_state(params))
    assert main([str(source), str(tmp_path / "parser"), "--network", "deeplabv3"]) == 1
    assert "the file has no network deeplabv3, it has bisenet (network)" in capsys.readouterr().err
