"""The avatars' networks: trainings, files and measures, on a stand-in for the renderer."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from oracles import f64
from untrained import untrained

from jaxedit import checkpoints, families
from jaxedit.avatars.renderer import Rendering
from jaxedit.avatars.training import evaluation, tasks
from jaxedit.checkpoints import CheckpointError
from jaxedit.cli import avatars as program
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.networks.attributes import AttributeClassifier, AttributesConfig
from jaxedit.networks.bisenet import BiSeNetConfig, FaceParser
from jaxedit.networks.embedding import EmbeddingConfig, IdentityEmbedding
from jaxedit.networks.keypoints import KeypointDetector, KeypointsConfig
from jaxedit.nn.pytrees import frozen_pytree
from jaxedit.training import supervised

NAMES = ("classifier", "judge", "parser", "keypoints", "embedding")
SMALL = AttributesConfig(64, (4, 6), 1, 2, 12)


def disc(factors: Any, size: int) -> Rendering:
    """What the stand-in draws: a disc whose place and brightness are the factors."""
    axis = (jnp.arange(size, dtype=jnp.float32) + 0.5) * (2.0 / size) - 1.0
    inside = jnp.square(axis[None, :] - factors[0]) + jnp.square(axis[:, None] - factors[1]) < 0.1
    image = jnp.stack([jnp.where(inside, factors[2], -0.5)] * 3, axis=-1)
    parsing = jnp.where(inside, jnp.where(factors[2] > 0, 17, 3), 0).astype(jnp.int32)
    return Rendering(image, parsing, jnp.tile(factors[:2], (68, 1)))


def sample(key: jax.Array) -> jax.Array:
    return 0.9 * jnp.tanh(jax.random.normal(key, (3,)))


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the renderer, which takes long to compile, wherever it is used."""
    for module in (tasks, evaluation):
        monkeypatch.setattr(module, "sample_factors", sample)
        monkeypatch.setattr(module, "with_identity", lambda factors, other: factors.at[2].set(other[2]))
        monkeypatch.setattr(module, "attributes", lambda factors: jnp.tile(factors > 0, 4))
        monkeypatch.setattr(module, "render", lambda factors, *, size: disc(factors, size))
    monkeypatch.setattr(tasks, "_identity_numbers", lambda factors: jnp.tile(factors[2], 20))


# Trainings.


@pytest.mark.parametrize("name", NAMES)
def test_every_task_fits_its_network(name: str):
    """Protects: examples, loss and architecture go together; the state keeps its structure; size of the network."""
    task = tasks.make_task(name)
    config = supervised.FitConfig(steps=10)
    params = jax.eval_shape(functools.partial(families.init, config=task.config), jax.random.key(0))
    state = jax.eval_shape(functools.partial(supervised.init, config=config), params)
    step = functools.partial(
        supervised.step,
        draw=lambda key: jax.vmap(task.draw)(jax.random.split(key, 4)),
        loss=task.loss,
        config=config,
    )
    after, metrics = jax.eval_shape(step, jax.random.key(0), state)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert "loss" in metrics and all(leaf.shape == () for leaf in metrics.values())
    limit = {"classifier": 400_000, "judge": 400_000, "parser": 1_000_000}.get(name, 500_000)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) <= limit


def test_the_embedding_sees_two_views_of_one_identity(monkeypatch: pytest.MonkeyPatch):
    """Protects: a pair shares what `with_identity` takes over, the brightness of the disc here, and nothing else."""
    monkeypatch.setattr(tasks, "degrade", lambda key, image: image)
    draw = jax.jit(jax.vmap(tasks.make_task("embedding").draw))
    images = np.asarray(draw(jax.random.split(jax.random.key(0), 8)).image)
    assert images.shape == (8, 2, 64, 64, 3)
    brightness = images.max((2, 3, 4)) + images.min((2, 3, 4))
    np.testing.assert_array_equal(brightness[:, 0], brightness[:, 1])
    assert len(set(brightness[:, 0])) == 8
    assert np.abs(images[:, 0] - images[:, 1]).mean((1, 2, 3)).min() > 0.001


@pytest.mark.slow
def test_the_command_trains_resumes_and_writes_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    """Protects: the command of the model card; errors are one line."""
    monkeypatch.setattr(tasks, "AttributesConfig", lambda: SMALL)
    command = ["classifier", "--output", str(tmp_path / "run"), "--images", "24", "--batch-size", "8", "--seed", "3"]
    assert program.main(command) == 0
    found = checkpoints.load_network(tmp_path / "run" / "classifier.safetensors")
    assert isinstance(found, AttributeClassifier) and found.config == SMALL
    assert [json.loads(row)["step"] for row in (tmp_path / "run" / "log.jsonl").read_text().splitlines()] == [3]
    monkeypatch.setattr(tasks, "AttributesConfig", lambda: AttributesConfig(64, (4, 8), 1, 2, 12))
    capsys.readouterr()
    assert program.main(command) == 1
    assert program.main([*command[:3], "--images", "7", "--batch-size", "8"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and "another training" in errors[0] and "one whole batch" in errors[1]


def test_a_trained_generator_is_packed(tmp_path: Path, capsys: Any):
    """Protects: how a checkpoint becomes the generator in the package."""
    config = StyleGAN2Config(resolution=8, z_dim=6, w_dim=6, channel_base=32, channel_max=8)
    params = untrained(config)
    checkpoints.save(tmp_path / "trained", params=params, config=config, metadata={})
    path = tmp_path / "generator.safetensors"
    assert program.main(["pack", "--checkpoint", str(tmp_path / "trained"), "--output", str(path)]) == 0
    found = checkpoints.load_network(path)
    assert found.config == config
    jax.tree.map(lambda a, b: np.testing.assert_allclose(f64(a), f64(b), rtol=1e-3, atol=1e-6), found.params, params)
    assert program.main(["pack", "--checkpoint", str(tmp_path / "none"), "--output", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


# Files.


@pytest.fixture(scope="module")
def network() -> AttributeClassifier:
    params = jax.jit(functools.partial(families.init, config=SMALL))(jax.random.key(0))
    return AttributeClassifier(params, SMALL)


def rewritten(path: Path, change: Callable[[dict[str, Any]], None], metadata: dict[str, str] | None = None) -> Path:
    """A network's file with other arrays, or other metadata."""
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}
        kept = file.metadata()
    change(arrays)
    other = path.with_name("other.safetensors")
    safetensors.numpy.save_file(arrays, other, metadata=kept if metadata is None else metadata)
    return other


def test_a_network_survives_its_file(network: AttributeClassifier, tmp_path: Path):
    """Protects: names, configuration, float32 in memory; half precision costs a thousandth at most."""
    checkpoints.save_file(tmp_path / "a.safetensors", params=network.params, config=network.config)
    found = checkpoints.load_network(tmp_path / "a.safetensors")
    assert found.config == SMALL and jax.tree.structure(found) == jax.tree.structure(network)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"float32"}
    image = jax.random.uniform(jax.random.key(1), (64, 64, 3), minval=-1.0)
    classify = jax.jit(lambda network, image: network(image))
    before, after = f64(classify(network, image)), f64(classify(found, image))
    assert 0 < np.abs(after - before).max() <= 1e-3 * np.abs(before).max()
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_file_that_does_not_fit_is_refused(network: AttributeClassifier, tmp_path: Path):
    """Protects: strict names and shapes in both directions, and one line for everything that is wrong."""
    path = tmp_path / "a.safetensors"
    checkpoints.save_file(path, params=network.params, config=network.config)
    bias = "params/head/bias"
    wrong: dict[str, Path] = {
        f"missing {bias}": rewritten(path, lambda arrays: arrays.pop(bias)),
    }
    for message, file in wrong.items():
        with pytest.raises(CheckpointError, match=message):
            checkpoints.load_network(file)
    with pytest.raises(CheckpointError, match=rf"{bias} is \(3,\), expected \(12,\)"):
        checkpoints.load_network(rewritten(path, lambda arrays: arrays.update({bias: np.zeros(3, np.float16)})))
    with pytest.raises(CheckpointError, match="unexpected params/extra"):
        extra = {"params/extra": np.zeros(1, np.float16)}
        checkpoints.load_network(rewritten(path, lambda arrays: arrays.update(extra)))
    for metadata in (
        {},
        {"jaxedit_network": "["},
        {"jaxedit_network": '{"family": "other", "config": {}}'},
        {"jaxedit_network": '{"family": "attributes", "config": {"widths": [4, true]}}'},
        {"jaxedit_network": '{"family": "attributes", "config": {"input_stride": 3}}'},
    ):
        with pytest.raises(CheckpointError, match="other.safetensors: not a readable network"):
            checkpoints.load_network(rewritten(path, lambda arrays: None, metadata))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a readable network"):
        checkpoints.load_network(path)
    with pytest.raises(FileNotFoundError, match="no checkpoint here"):
        checkpoints.load_packaged("nobody")
    huge = jax.tree.map(lambda leaf: leaf + 1e6, network.params)
    with pytest.raises(ValueError, match="holds numbers that float16 cannot"):
        checkpoints.save_file(tmp_path / "huge.safetensors", params=huge, config=SMALL)


# Measures, with networks that cheat.

stub = frozen_pytree(leaves=("params",), notes=())


def held_out(images: int) -> list[Any]:
    keys = [jax.random.fold_in(jax.random.key(evaluation._HELD_OUT), index) for index in range(images)]
    return [sample(key) for key in keys]


@stub
class Bright(AttributeClassifier):
    """Says of every attribute whether the middle of the picture is bright."""

    def __call__(self, image):
        return jnp.full(12, image.max())


@stub
class Dark(AttributeClassifier):
    def __call__(self, image):
        return jnp.full(12, -1.0)


@stub
class Blank(FaceParser):
    """Finds hair in the brighter half of the places, background elsewhere."""

    def parse(self, image):
        return jnp.where(image[:, :, 0] > 0, 17, 0).astype(jnp.int32)


@stub
class Centre(KeypointDetector):
    def __call__(self, image):
        return jnp.zeros((68, 2))


@stub
class Brightness(IdentityEmbedding):
    """Knows an identity by the brightness of its disc."""

    def __call__(self, image):
        angle = jnp.where(image.max() > -0.5, image.max(), image.min())
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def test_accuracy_and_agreement_count_held_out_renders():
    """Protects: shares of the right renders, for a number that is no multiple of the batch."""
    factors = f64(held_out(70))
    found = evaluation.attribute_accuracy(Dark({}, AttributesConfig()), images=70)
    expected = np.tile(1 - (factors > 0).mean(0), 4)
    np.testing.assert_allclose(list(found.values()), [expected.mean(), *expected], rtol=1e-6)
    same = evaluation.agreement(Dark({}, AttributesConfig()), Bright({}, AttributesConfig()), images=70)
    bright = np.mean([float(disc(jnp.asarray(row, jnp.float32), 64).image.max()) > 0 for row in factors])
    assert same["mean"] == pytest.approx(1 - bright) and 0 < bright < 1


def test_iou_is_taken_over_all_pixels_together():
    """Protects: intersection over union per class; a class that is nowhere has none."""
    drawn = [disc(row, 64) for row in held_out(60)]
    true = np.stack([np.asarray(one.parsing) for one in drawn])
    found = np.stack([np.where(np.asarray(one.image)[:, :, 0] > 0, 17, 0) for one in drawn])
    iou = evaluation.parsing_iou(Blank({}, BiSeNetConfig()), images=60)
    for name, label in (("background", 0), ("hair", 17), ("r_brow", 3)):
        both, either = ((found == label) & (true == label)).sum(), ((found == label) | (true == label)).sum()
        assert iou[name] == pytest.approx(both / either)
    assert iou["hair"] == 1.0 and iou["r_brow"] == 0.0 and 0 < iou["background"] < 1
    assert np.isnan(iou["nose"]) and np.isnan(iou["mean"])


def test_keypoint_error_is_in_percent_of_the_width():
    """Protects: the unit: the width is 2 in the keypoints' coordinates."""
    expected = 100 * np.linalg.norm(f64(held_out(60))[:, :2], axis=1).mean() / 2
    assert evaluation.keypoint_error(Centre({}, KeypointsConfig()), images=60) == pytest.approx(expected, rel=1e-5)


def test_rank_1_finds_identities_and_nothing_else():
    """Protects: gallery and probes share the identity only."""
    assert evaluation.rank_1(Brightness({}, EmbeddingConfig()), identities=10, probes=2) == 1.0
    blind = stub(type("Blind", (Brightness,), {"__call__": lambda self, image: jnp.ones(2)}))
    assert evaluation.rank_1(blind({}, EmbeddingConfig()), identities=10, probes=2) == 0.1


def test_a_directory_of_networks_is_evaluated(network: AttributeClassifier, tmp_path: Path, capsys: Any):
    """Protects: the command's report."""
    for name in ("classifier", "judge"):
        checkpoints.save_file(tmp_path / f"{name}.safetensors", params=network.params, config=SMALL)
    command = ["evaluate", "--weights", str(tmp_path), "--names", "classifier", "judge", "--images"]
    assert program.main([*command, "8"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"classifier", "judge", "agreement"} and report["agreement"]["mean"] == 1.0
    assert report["classifier"] == report["judge"] and len(report["judge"]["accuracy"]) == 13
    assert program.main([*command, "0"]) == 1
    assert capsys.readouterr().err == "error: 0 renders to measure on; 1 or more would be right\n"
