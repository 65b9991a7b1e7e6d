"""State dicts of pytorch-pretrained-BigGAN with random weights: what is read, and what is refused."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from official_biggan import CONFIG, saved, state_dict
from official_pickles import Tensor, torch_save

from jaxedit import checkpoints
from weights_convert import ConversionError, convert


def test_older_files_are_read(tmp_path: Path):
    """Protects: the stream of old PyTorch, and sigma as PyTorch takes it from the normalised kernel where v is not."""
    state = state_dict()
    convert(saved(tmp_path / "new.bin", state), tmp_path / "new")
    for name in [name.removesuffix("_v") for name in state if name.endswith(".weight_v")]:
        kernel, u, v = (state[name + part] for part in ("_orig", "_u", "_v"))
        state[name] = kernel / (u @ (kernel.reshape(len(kernel), -1) @ v))
        del state[f"{name}_v"]
    lines = convert(saved(tmp_path / "old.bin", state, legacy=True), tmp_path / "old")
    assert "biggan_deep: generator 16x16" in lines[1] and "MIT" in lines[2]
    new, old = (checkpoints.load(tmp_path / name) for name in ("new", "old"))
    assert new.config == old.config == CONFIG
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6), old.params, new.params)


def without(*names: str) -> Any:
    return lambda state: [state.pop(name) for name in names]


def changed(name: str, value: Any) -> Any:
    return lambda state: state.update({name: np.asarray(value, np.float32)})


def moved(state: dict[str, np.ndarray]) -> None:
    """Attention between the two blocks of a pair."""
    other = {"layers.1.": "layers.2.", "layers.2.": "layers.1."}
    for name in [name for name in state if name[10:19] in other]:
        state[f"moved {name[:10]}{other[name[10:19]]}{name[19:]}"] = state.pop(name)
    for name in [name for name in state if name.startswith("moved ")]:
        state[name.removeprefix("moved ")] = state.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("generator.layers.0.conv_1.weight_v"), "conv_1.weight_v is missing, so the kernel is not known"),
        (without("generator.layers.0.conv_1.weight_u"), "conv_1.weight_u is missing"),
        (changed("generator.layers.0.conv_1.weight_v", np.ones(35)), r"does not fit .*\(35,\)"),
        (changed("generator.layers.0.conv_1.weight", np.ones((4, 4, 3, 3))), "there are two of that name"),
        (changed("generator.extra", [1.0]), r"1 unexpected \(generator.extra\)"),
        (without("generator.layers.3.bn_2.running_vars"), r"1 missing \(generator.layers.3.bn_2.running_vars\)"),
        (changed("generator.layers.3.bn_2.running_vars", np.ones((50, 4))), r"\(50, 4\), expected \(51, 4\)"),
        (changed("generator.layers.2.gamma", [np.nan]), "not finite, in b8_layer3/gamma"),
        (without("generator.layers.2.gamma"), "5 blocks and attention as layer nowhere"),
        (moved, "4 blocks and attention as layer 1"),
        (changed("embeddings.weight", np.ones(5)), "embeddings.weight is of shape .5,., so the architecture"),
        (changed("generator.conv_to_rgb.bias", np.ones(2)), "conv_to_rgb.weight has the shape"),
        (lambda state: state.pop("embeddings.weight"), "no network of a known format"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: Any, message: str):
    """Protects: missing, strange, unknown and non-finite tensors are named in one line; nothing is written."""
    state = state_dict()
    change(state)
    with pytest.raises(ConversionError, match=message):
        convert(saved(tmp_path / "model.bin", state), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_that_claim_much_are_refused(tmp_path: Path):
    """Protects: no memory for kernels that repeat a few numbers."""
    tensors: dict[str, Any] = {name: Tensor(tensor) for name, tensor in state_dict().items()}
    large = Tensor(np.ones(1, np.float32), strides=(0, 0, 0, 0), shape=(1 << 14, 1 << 14, 3, 3))
    tensors["generator.layers.0.conv_1.weight_orig"] = large
    with pytest.raises(ConversionError, match="more than 512 MiB"):
        convert(torch_save(tmp_path / "model.bin", tensors), tmp_path / "out")
    small = Tensor(np.ones(1, np.float32), strides=(0, 0, 0, 0), shape=(4, 4, 3, 3))
    tensors["generator.layers.0.conv_1.weight_orig"] = small
    with pytest.raises(ConversionError, match="so the kernel is not known"):
        convert(torch_save(tmp_path / "model.bin", tensors), tmp_path / "out")
