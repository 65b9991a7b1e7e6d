"""Fitting: losses against their definitions, defects, snapshots, and a training that is interrupted."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial
from oracles import f64

from jaxedit.networks import attributes
from jaxedit.nn.normalized import train_on_batch
from jaxedit.training import losses, snapshots, supervised
from jaxedit.training.degradation import degrade

CONFIG = attributes.AttributesConfig(8, (4,), 1, 2, 2)


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


# Losses.


def test_attribute_loss():
    """Protects: the cross entropy of independent bits, also where a logit is large."""
    logits, present = 3 * normal(0, 4, 5), normal(1, 4, 5) > 0
    probability = 1 / (1 + np.exp(-f64(logits)))
    expected = -np.log(np.where(np.asarray(present), probability, 1 - probability)).mean()
    assert losses.attribute_loss(logits, present) == pytest.approx(expected, rel=1e-5)
    assert losses.attribute_loss(jnp.full((1, 1), 200.0), jnp.zeros((1, 1), bool)) == pytest.approx(200.0)


def test_parsing_loss():
    """Protects: cross entropy, the mean over all pixels."""
    logits, classes = normal(1, 2, 3, 4, 5), jax.random.randint(jax.random.key(2), (2, 3, 4), 0, 5, jnp.int32)
    rows, total = f64(logits).reshape(-1, 5), 0.0
    for row, index in zip(rows, np.asarray(classes).reshape(-1), strict=True):
        total -= np.log(np.exp(row[index]) / np.exp(row).sum())
    assert losses.parsing_loss(logits, classes) == pytest.approx(total / len(rows), rel=1e-5)


def test_contrastive_loss():
    """Protects: InfoNCE in both directions, with the temperature."""
    first, second = normal(0, 4, 3), normal(1, 4, 3)
    cosines = f64(first) @ f64(second).T / 0.2
    rows = np.diagonal(np.log(np.exp(cosines) / np.exp(cosines).sum(1, keepdims=True)))
    columns = np.diagonal(np.log(np.exp(cosines) / np.exp(cosines).sum(0, keepdims=True)))
    expected = -(rows + columns).mean() / 2
    assert losses.contrastive_loss(first, second, temperature=0.2) == pytest.approx(expected, rel=1e-5)


def test_keypoint_loss():
    """Protects: a mean of absolute errors, not of squares."""
    assert losses.keypoint_loss(jnp.zeros((1, 2, 2)), jnp.array([[[1.0, 0.0], [0.0, -3.0]]])) == 1.0


def test_defects_are_light_random_and_per_sample():
    """Protects: the label stays readable: pictures stay in range and close, and no two keys give the same."""
    image = jnp.tanh(normal(0, 16, 16, 3))
    changed = jax.jit(jax.vmap(degrade, (0, None)))(jax.random.split(jax.random.key(0), 64), image)
    distance = np.abs(f64(changed) - f64(image)).mean((1, 2, 3))
    assert np.abs(np.asarray(changed)).max() <= 1.0
    assert 0.001 < distance.min() and distance.max() < 0.4 and len(set(distance)) == 64
    flat = jax.jit(degrade)(jax.random.key(1), jnp.zeros((8, 8, 3)))
    assert np.asarray(flat).std((0, 1)).max() < 0.1, "blur and borders leave a flat picture flat but for the noise"


# Snapshots.


def state_of(value: float) -> Any:
    weights = {"b": jnp.full((2,), value), "a": {"kernel": jnp.full((3, 2), value)}}
    many = [jnp.float32(index + value) for index in range(12)]  # "[10]" sorts before "[2]"
    return weights, optax.adamw(1e-3).init(weights), many, jax.random.key(int(value)), 7, None


def test_the_newest_two_snapshots_are_kept(tmp_path: Path):
    """Protects: structure, order, keys and numbers of a state; and that the disk does not fill."""
    assert snapshots.latest(tmp_path / "runs", state_of(0.0)) is None
    for step in (2, 9, 10):
        snapshots.save(tmp_path / "runs", step, state_of(float(step)))
    snapshots.save(tmp_path / "runs", 10, state_of(11.0))
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["step_10.safetensors", "step_9.safetensors"]
    step, found = snapshots.latest(tmp_path / "runs", state_of(0.0)) or (0, None)
    assert step == 10 and jax.tree.structure(found) == jax.tree.structure(state_of(0.0))
    for leaf, expected in zip(jax.tree.leaves(found), jax.tree.leaves(state_of(11.0)), strict=True):
        if jnp.issubdtype(jnp.asarray(leaf).dtype, jax.dtypes.prng_key):
            leaf, expected = jax.random.key_data(leaf), jax.random.key_data(expected)
        np.testing.assert_array_equal(leaf, expected)


def test_what_a_killed_process_left_is_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: a kill while writing or while removing leaves the last complete snapshot, and no rubbish for long."""
    snapshots.save(tmp_path, 1, state_of(1.0))

    def killed(*_: Any) -> None:
        (tmp_path / ".step_2.safetensors.0123.partial").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(snapshots, "write_verified", killed)
    with pytest.raises(KeyboardInterrupt):
        snapshots.save(tmp_path, 2, state_of(2.0))
    monkeypatch.undo()
    assert (snapshots.latest(tmp_path, state_of(0.0)) or (0,))[0] == 1
    snapshots.save(tmp_path, 2, state_of(2.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_1.safetensors", "step_2.safetensors"]


def test_a_snapshot_of_another_training_is_refused(tmp_path: Path):
    """Protects: no state is stretched, cut or mixed."""
    snapshots.save(tmp_path, 1, {"a": jnp.zeros(3)})
    with pytest.raises(ValueError, match=r"a snapshot of another training.*\['a'\] is \(3,\), expected \(4,\)"):
        snapshots.latest(tmp_path, {"a": jnp.zeros(4)})
    with pytest.raises(ValueError, match="missing"):
        snapshots.latest(tmp_path, {"b": jnp.zeros(3)})


# Fitting.


def draw(key: jax.Array) -> Any:
    """Pictures of two colours; the attributes are whether each of two channels is bright."""
    images = jax.random.uniform(key, (16, 1, 1, 3), minval=-1.0)
    return jnp.broadcast_to(images, (16, 8, 8, 3)), images[:, 0, 0, :2] > 0


def loss(params: Any, batch: Any) -> Any:
    images, truth = batch
    (logits, _), statistics = train_on_batch(attributes.AttributeNetwork(CONFIG, train=True), params, images)
    right = jnp.mean(((logits > 0) == truth).astype(jnp.float32))
    return losses.attribute_loss(logits, truth), (statistics, {"accuracy": right})


def fit(directory: Path) -> Any:
    return supervised.fit(
        jax.random.key(1),
        jax.jit(functools.partial(attributes.init, config=CONFIG))(jax.random.key(0)),
        draw=draw,
        loss=loss,
        config=supervised.FitConfig(steps=120, learning_rate=0.03),
        directory=directory,
        save_every=40,
        log_every=20,
    )


def rows(directory: Path) -> list[dict[str, float]]:
    return [json.loads(row) for row in (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_a_fit_converges_and_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: the loop learns, inference agrees, and an interruption changes neither weights nor log."""
    params = fit(tmp_path / "whole")
    whole = rows(tmp_path / "whole")
    assert [row["step"] for row in whole] == [20, 40, 60, 80, 100, 120]
    assert whole[-1]["loss"] < 0.5 * whole[0]["loss"]
    images, truth = draw(jax.random.key(2))
    logits = jax.jit(jax.vmap(functools.partial(attributes.classify, config=CONFIG), (None, 0)))(params, images)
    assert np.mean(np.asarray((logits > 0) == truth)) > 0.9

    save = snapshots.save

    def killed(directory: Path, step: int, state: Any) -> None:
        if step == 80:
            raise KeyboardInterrupt
        save(directory, step, state)

    monkeypatch.setattr(snapshots, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts")
    monkeypatch.undo()
    with (tmp_path / "parts" / "log.jsonl").open("a") as log:
        log.write('{"step": 81, "lo')  # half a row
    jax.tree.map(np.testing.assert_array_equal, fit(tmp_path / "parts"), params)
    parts = rows(tmp_path / "parts")
    assert [{**row, "seconds": 0} for row in parts] == [{**row, "seconds": 0} for row in whole]
    jax.tree.map(np.testing.assert_array_equal, fit(tmp_path / "parts"), params)  # finished: nothing left to do


def test_only_kernels_decay(tmp_path: Path):
    """Protects: weight decay leaves scales and biases alone."""
    params = {"params": {"kernel": jnp.ones((2, 2)), "scale": jnp.ones(2)}, "batch_stats": {}}
    config = supervised.FitConfig(steps=10, learning_rate=0.1, warmup=0.1, weight_decay=0.5)
    state = supervised.init(params, config=config)
    still = functools.partial(
        supervised.step,
        draw=lambda key: jnp.zeros(1),
        loss=lambda params, batch: (jnp.float32(0.0), ({}, {})),
        config=config,
    )
    for step in range(3):
        state, _ = still(jax.random.key(step), state)
    assert float(state.params["params"]["kernel"].max()) < 0.99
    np.testing.assert_array_equal(state.params["params"]["scale"], np.ones(2))


def test_what_a_loss_binds_is_no_constant_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: memory and the time of compiling: networks that examples or losses need are arguments."""
    compile_, texts = jax.stages.Lowered.compile, []
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda self: (texts.append(self.as_text()), compile_(self))[1])

    def far(wanted: jax.Array, params: Any, batch: Any) -> Any:
        return jnp.mean(jnp.square(params["params"]["a"] - wanted - batch.mean())), ({}, {})

    supervised.fit(
        jax.random.key(0),
        {"params": {"a": jnp.zeros(20_000)}, "batch_stats": {}},
        draw=Partial(lambda table, key: table, normal(1, 20_000)),
        loss=Partial(far, normal(2, 20_000)),
        config=supervised.FitConfig(steps=1),
        directory=tmp_path,
    )
    assert len(texts) == 1 and "20000xf32" in texts[0] and len(texts[0]) < 50_000
