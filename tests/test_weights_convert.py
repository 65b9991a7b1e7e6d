"""Conversion: three serialisations of one set of weights give one parameter tree, and nothing is guessed."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import official_formats as official
import official_pickles as pickles
import pytest

import jaxedit
from jaxedit import checkpoints
from jaxedit.generators import stylegan2
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig
from weights_convert import convert
from weights_convert.__main__ import main

CONFIG = StyleGAN2Config(resolution=32, z_dim=20, w_dim=20, channel_base=512, channel_max=32, mapping_layers=2)
D_CONFIG = DiscriminatorConfig(resolution=32, channel_base=512, channel_max=32)
CLAMPED = dict(conv_clamp=256.0)
CONDITIONAL = dict(c_dim=3, conv_clamp=256.0)

Pair = tuple[Any, Any]


def pairs(changes: dict[str, Any], **d_changes: Any) -> tuple[Pair, Pair]:
    """(params, config) of a generator and of a discriminator."""
    config = dataclasses.replace(CONFIG, **changes)
    own = {name: value for name, value in changes.items() if hasattr(D_CONFIG, name)}
    d_config = dataclasses.replace(D_CONFIG, **own, **d_changes)
    generator = official.random_params(config), config
    return generator, (official.random_params(d_config, seed=1), d_config)


def check_tree(read: Any, expected: Any) -> None:
    """Same names, same bits."""
    assert jax.tree.structure(read) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(read), jax.tree.leaves(expected), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(np.asarray(one), other)


def legacy_rosinality(path: Path, generator: Pair, discriminator: Pair) -> Path:
    return official.write_rosinality(path, generator, discriminator, legacy=True)


def original_tensorflow(path: Path, generator: Pair, discriminator: Pair) -> Path:
    return official.write_tensorflow(path, generator, discriminator, original=True)


def stylegan3(path: Path, generator: Pair, discriminator: Pair) -> Path:
    return official.write_ada(path, generator, discriminator, stylegan3=True)


WRITERS: dict[str, tuple[Callable[..., Path], list[dict[str, Any]]]] = {
    "tensorflow": (official.write_tensorflow, [{}, CLAMPED, CONDITIONAL]),
    "tensorflow original": (original_tensorflow, [{}]),
    "ada": (official.write_ada, [{}, CLAMPED, CONDITIONAL]),
    "stylegan3": (stylegan3, [CLAMPED, CONDITIONAL]),
    "rosinality zip": (official.write_rosinality, [{}]),
    "rosinality stream": (legacy_rosinality, [{}]),
}


@pytest.mark.parametrize(
    "writer, changes", [pytest.param(w, c, id=f"{n}-{'-'.join(c)}") for n, (w, cs) in WRITERS.items() for c in cs]
)
def test_every_format_gives_the_same_bits(tmp_path: Path, writer: Any, changes: dict[str, Any]) -> None:
    """Protects: names, transposes, flips, the bias of one, noise, the order of the affines, the discriminator's dense
    rows and the configuration. All formats are compared with the tree they come from, so they equal each other."""
    generator, discriminator = pairs(changes)
    source = writer(tmp_path / "source", generator, discriminator)
    convert(source, tmp_path / "G")
    loaded = jaxedit.load(tmp_path / "G")
    assert loaded.config == generator[1]
    check_tree(loaded.params, generator[0])
    convert(source, tmp_path / "D", network="D")
    critic = jaxedit.load_discriminator(tmp_path / "D")
    assert critic.config == discriminator[1]
    check_tree(critic.params, discriminator[0])


def test_the_training_generator_on_request(tmp_path: Path) -> None:
    """Protects: G_ema is the default and G really is the other network (the writers add one to it)."""
    generator, discriminator = pairs({})
    for name, writer in (("tf", official.write_tensorflow), ("ada", official.write_ada)):
        source = writer(tmp_path / name, generator, discriminator)
        convert(source, tmp_path / f"{name}.G", network="G")
        other = jax.tree.map(lambda leaf: leaf + 1, generator[0])
        check_tree(jaxedit.load(tmp_path / f"{name}.G").params, other)


def test_average_of_w_is_estimated_when_the_file_has_none(tmp_path: Path) -> None:
    """Protects: truncation works with rosinality's training checkpoints, and the user is told what stands for w_avg."""
    generator, discriminator = pairs({})
    source = official.write_rosinality(tmp_path / "source.pt", generator, discriminator, average=False)
    lines = convert(source, tmp_path / "G")
    assert any("no average w" in line for line in lines)
    loaded = jaxedit.load(tmp_path / "G")
    z = np.random.RandomState(0).randn(4096, CONFIG.z_dim).astype(np.float32)
    w = jax.vmap(lambda z: stylegan2.map_latent(generator[0], z, config=CONFIG))(z)
    average, largest = loaded.params["mapping"]["w_avg"], float(np.abs(w).max())
    np.testing.assert_allclose(average, np.mean(w, axis=0), atol=1e-5 * largest)
    del loaded.params["mapping"]["w_avg"], generator[0]["mapping"]["w_avg"]
    check_tree(loaded.params, generator[0])


def test_fingerprints_are_of_the_weights(tmp_path: Path) -> None:
    """Protects: a direction made for one file of some weights fits those from any other, or of the network alone."""
    generator, discriminator = pairs({})
    alone = {"G_ema": official.ada_objects(generator, discriminator)["G_ema"]}
    sources = [
        official.write_tensorflow(tmp_path / "tensorflow.pkl", generator, discriminator),
        official.write_ada(tmp_path / "ada.pkl", generator, discriminator),
        official.write_rosinality(tmp_path / "rosinality.pt", generator, discriminator),
        pickles.pickled(tmp_path / "alone.pkl", alone),
    ]
    for source in sources:
        convert(source, tmp_path / source.stem)
    assert len({jaxedit.load(tmp_path / source.stem).fingerprint for source in sources}) == 1


def test_checkpoint_describes_its_source(tmp_path: Path) -> None:
    """Protects: provenance."""
    generator, discriminator = pairs({})
    source = official.write_ada(tmp_path / "source.pkl", generator, discriminator)
    convert(source, tmp_path / "G")
    metadata = json.loads((tmp_path / "G" / "metadata.json").read_text())
    assert metadata["source"] == "source.pkl" and metadata["format"] == "NVIDIA PyTorch pickle"
    assert metadata["network"] == "G_ema" and metadata["jaxedit_version"] == jaxedit.__version__
    assert "licence" in metadata["licence"] and "non-commercial" in metadata["licence"]
    assert metadata["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


@pytest.mark.parametrize("original, expected", [(True, 4), (False, None)])
def test_minibatch_group_default_depends_on_the_build_function(
    tmp_path: Path, original: bool, expected: int | None
) -> None:
    """Protects: without the option, stylegan2's discriminator means groups of 4 and ADA's the whole batch."""
    generator, discriminator = pairs({}, mbstd_group_size=8)
    objects = official.tensorflow_objects(generator, discriminator, original=original)
    del objects[1].static_kwargs["mbstd_group_size"]
    convert(pickles.pickled(tmp_path / "source", objects), tmp_path / "D", network="D")
    assert jaxedit.load_discriminator(tmp_path / "D").config.mbstd_group_size == expected


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    """Protects: checkpoints that people saved with `.half()` to share them."""
    (params, config), _ = pairs({})
    rounded = jax.tree.map(lambda leaf: np.float32(np.float16(leaf)), params)
    state = official.rosinality_generator(rounded, config)
    halves = {name: pickles.Tensor(np.array(array, np.float16, order="C")) for name, array in state.items()}
    content = {"g_ema": halves, "latent_avg": pickles.Tensor(rounded["mapping"]["w_avg"])}
    convert(pickles.torch_save(tmp_path / "half.pt", content), tmp_path / "G")
    check_tree(jaxedit.load(tmp_path / "G").params, rounded)


def test_command_line_converts_and_prints_what_it_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects: the documented command, its exit code and its report."""
    source = official.write_tensorflow(tmp_path / "source.pkl", *pairs({}))
    assert main([str(source), str(tmp_path / "G")]) == 0
    out, err = capsys.readouterr()
    assert not err
    for part in ("NVIDIA TensorFlow pickle", "G_ema: generator 32x32", "non-commercial", str(tmp_path / "G")):
        assert part in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["G", "source.pkl"]


def test_info_shows_networks_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects: `--info` for every kind of file, also when one of the networks cannot be converted."""
    generator, discriminator = pairs(CLAMPED)
    objects = official.ada_objects(generator, discriminator)
    objects["D"].state["_init_kwargs"]["architecture"] = "orig"
    source = pickles.pickled(tmp_path / "source.pkl", objects)
    assert main([str(source), "--info"]) == 0
    out, err = capsys.readouterr()
    assert not err
    for part in ("NVIDIA PyTorch pickle", "G_ema: generator", "conv_clamp=256.0", "float32", "D: cannot be converted"):
        assert part in out
    pickles.torch_save(source, {"direction": pickles.Tensor(np.zeros((1, 512), np.float32))})
    assert main([str(source), "--info"]) == 0
    assert "direction (1, 512) float32" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["source.pkl"]


def test_info_does_not_import_jax(tmp_path: Path) -> None:
    """Protects: looking into a file is instant."""
    source = official.write_ada(tmp_path / "source.pkl", *pairs({}))
    code = "import sys; from weights_convert.__main__ import main; main(sys.argv[1:]); sys.exit('jax' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code, str(source), "--info"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def edited_tensorflow(**options: Any) -> Callable[[Pair, Pair], Any]:
    return lambda generator, discriminator: official.tensorflow_objects(generator, discriminator, **options)


def edited_ada(network: str, group: str | None, name: str, value: Any) -> Callable[[Pair, Pair], Any]:
    def edit(generator: Pair, discriminator: Pair) -> Any:
        objects = official.ada_objects(generator, discriminator)
        options = objects[network].state["_init_kwargs"]
        (options if group is None else options[group])[name] = value
        return objects

    return edit


def other_blur(generator: Pair, discriminator: Pair) -> Any:
    objects = official.ada_objects(generator, discriminator)
    block = objects["G_ema"].state["_modules"]["synthesis"].state["_modules"]["b8"]
    block.state["_buffers"]["resample_filter"] = pickles.Tensor(np.full((4, 4), 1 / 16, np.float32))
    return objects


def label_concat(generator: Pair, discriminator: Pair) -> Any:
    objects = official.tensorflow_objects(generator, discriminator, original=True, label_size=3)
    objects[2].components["mapping"].variables.append(("LabelConcat/weight", np.zeros((3, 20), np.float32)))
    return objects


def progressive(generator: Pair, discriminator: Pair) -> Any:
    objects = official.tensorflow_objects(generator, discriminator)
    objects[2].components["synthesis"].variables.append(("ToRGB_lod0/weight", np.zeros((1, 1, 16, 3), np.float32)))
    return objects


def original_stylegan(generator: Pair, discriminator: Pair) -> Any:
    objects = official.tensorflow_objects(generator, discriminator)
    objects[2].build_func_name = "G_style"
    return objects


def stylegan3_generator(generator: Pair, discriminator: Pair) -> Any:
    objects = official.ada_objects(generator, discriminator)
    del objects["G_ema"].state["_modules"]["synthesis"].state["_modules"]["b4"].state["_parameters"]["const"]
    return objects


UNSUPPORTED = {
    "architecture": (edited_tensorflow(architecture="resnet"), "architecture is 'resnet'"),
    "kernel": (edited_tensorflow(resample_kernel=[1, 2, 1]), "resample_kernel is [1, 2, 1]"),
    "box filter": (edited_tensorflow(resample_kernel=None), "resample_kernel is None"),
    "unknown option": (
        edited_tensorflow(truncation="yes", spectral=1),
        "unknown construction options spectral, truncation",
    ),
    "activation": (edited_tensorflow(nonlinearity="relu"), "nonlinearity is 'relu'"),
    "mapping width": (edited_tensorflow(mapping_fmaps=7), "mapping_fmaps is 7"),
    "resolution": (edited_tensorflow(resolution=48), "resolution is 48"),
    "ada architecture": (edited_ada("G_ema", "synthesis_kwargs", "architecture", "orig"), "architecture is 'orig'"),
    "ada filter": (edited_ada("G_ema", "synthesis_kwargs", "resample_filter", [1, 1]), "resample_filter is [1, 1]"),
    "ada option": (
        edited_ada("G_ema", None, "magnitude_ema_beta", 0.5),
        "unknown construction options magnitude_ema_beta",
    ),
    "ada mapping": (edited_ada("G_ema", "mapping_kwargs", "activation", "relu"), "activation is 'relu'"),
    "other blur in a buffer": (other_blur, "b8.resample_filter is not the resampling kernel"),
    "labels of the original": (label_concat, "LabelConcat"),
    "progressive network": (progressive, "progressive"),
    "StyleGAN1": (original_stylegan, "G_style"),
    "StyleGAN3": (stylegan3_generator, "StyleGAN3 is not supported"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported_networks_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    """Protects: a network that would compute something else is never converted silently."""
    edit, message = UNSUPPORTED[case]
    source = pickles.pickled(tmp_path / "source.pkl", edit(*pairs({})))
    assert main([str(source), str(tmp_path / "G")]) == 1
    out, err = capsys.readouterr()
    assert not out and err.startswith(f"error: {source}: ") and err.count("\n") == 1 and message in err
    assert [path.name for path in tmp_path.iterdir()] == ["source.pkl"]


def test_all_problems_are_reported_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects: missing, unexpected and misshapen tensors appear in one message, so that a user needs one attempt."""
    (params, config), _ = pairs({})
    state = official.rosinality_generator(params, config)
    state["to_rgbs.0.bias"] = state["to_rgbs.0.bias"].reshape(3, 1)
    state["conv1.noise.weight"] = state["conv1.noise.weight"].astype(np.int64)
    state["convs.2.conv.modulation.bias"] = state["convs.2.conv.modulation.bias"][:-1]
    del state["noises.noise_1"], state["style.1.bias"]
    state["extra.weight"] = np.zeros(3, np.float32)
    content = {"g_ema": official.state_dict(state), "latent_avg": pickles.Tensor(np.zeros(CONFIG.w_dim, np.float32))}
    source = pickles.torch_save(tmp_path / "source.pt", content)
    assert main([str(source), str(tmp_path / "G")]) == 1
    err = capsys.readouterr().err
    for part in ("2 missing (noises.noise_1, style.1.bias)", "1 unexpected (extra.weight)", "3 wrong"):
        assert part in err
    assert "convs.2.conv.modulation.bias (31,), expected (32,)" in err and "conv1.noise.weight is int64" in err


def test_existing_destination_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects: nothing is ever overwritten."""
    source = official.write_ada(tmp_path / "source.pkl", *pairs({}))
    (tmp_path / "G").mkdir()
    (tmp_path / "G" / "mine").write_text("keep")
    assert main([str(source), str(tmp_path / "G")]) == 1
    err = capsys.readouterr().err
    assert "exists already" in err and err.count("\n") == 1 and (tmp_path / "G" / "mine").read_text() == "keep"


def test_failure_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects: a full disk does not leave half a checkpoint."""
    source = official.write_ada(tmp_path / "source.pkl", *pairs({}))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "G"))

    monkeypatch.setattr(checkpoints, "_write_json", full)
    assert main([str(source), str(tmp_path / "G")]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["source.pkl"]


def test_network_that_the_file_does_not_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects: the message says which networks there are."""
    (params, config), _ = pairs({})
    content = {"g_ema": official.state_dict(official.rosinality_generator(params, config))}
    source = pickles.torch_save(tmp_path / "source.pt", content)
    assert main([str(source), str(tmp_path / "G"), "--network", "D"]) == 1
    assert "has no network D, it has G_ema" in capsys.readouterr().err
