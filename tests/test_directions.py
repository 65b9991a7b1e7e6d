"""jaxedit.directions: support vector machines, principal components, closed form, style channels."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untrained import QUICKLY, untrained

from jaxedit import Direction
from jaxedit.directions import channels, closed_form, files, pca, svm
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator, split_styles

KEY = jax.random.key(0)
CONFIG = StyleGAN2Config(resolution=16, z_dim=24, w_dim=32, channel_base=256, channel_max=16, mapping_layers=2)


def generator(seed: int = 0) -> StyleGAN2Generator:
    return StyleGAN2Generator(untrained(CONFIG, seed), CONFIG, "made here")


def labelled(count: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents far from the origin with channels of different spread, labels by the first two of them."""
    random = np.random.default_rng(seed)
    latents = (5 + random.standard_normal((count, width)) * np.linspace(1, 2, width)).astype(np.float32)
    true = np.zeros(width)
    true[:2] = 3.0, -2.0
    return latents, (latents - 5) @ true > 0.5, true / np.linalg.norm(true)


# Support vector machines.


def test_boundary_finds_the_normal():
    """Protects: normal, side, offset, standard deviation and held-out accuracy."""
    latents, labels, true = labelled(3000, 20)
    found = svm.fit_boundary(KEY, latents, labels, name="it", space="w", source="abc")
    direction = found.direction
    assert (direction.name, direction.space, direction.source) == ("it", "w", "abc")
    assert direction.vector.dtype == np.float32 and abs(np.linalg.norm(direction.vector) - 1) < 1e-6
    assert direction.vector @ true > 0.99
    np.testing.assert_allclose(direction.unit, np.std(latents @ direction.vector), rtol=1e-4)
    assert direction.accuracy is not None and direction.accuracy > 0.97 and found.train_accuracy > 0.97
    sides = latents @ direction.vector + found.offset > 0
    assert np.mean(sides == labels) > 0.97


def test_sparse_boundary_has_the_zeros_asked_for():
    """Protects: the L1 penalty of S and its weight: as few zeros as asked for, the right channels left."""
    latents, labels, true = labelled(1500, 60)
    for sparsity in (0.9, 0.96):
        found = svm.fit_boundary(KEY, latents, labels, name="it", space="s", sparsity=sparsity)
        vector = np.asarray(found.direction.vector)
        assert sparsity <= np.mean(vector == 0) < sparsity + 0.05
        assert vector @ true > 0.98 and found.train_accuracy > 0.95


def test_boundary_in_w_plus_keeps_the_shape():
    """Protects: latents of more than one axis."""
    latents, labels, _ = labelled(400, 24)
    found = svm.fit_boundary(KEY, latents.reshape(400, 6, 4), labels, name="it", space="w_plus")
    flat = svm.fit_boundary(KEY, latents, labels, name="it", space="w_plus")
    np.testing.assert_array_equal(found.direction.vector.reshape(-1), flat.direction.vector)
    assert found.direction.vector.shape == (6, 4)


@pytest.mark.parametrize(
    ("latents", "labels", "message"),
    [
        (np.ones((4, 3)), np.ones(4), "all 4 labels are alike"),
        (np.ones((4, 3)), np.array([0, 1, 0, 0]), "1 of 4 labels are 1; at least two samples of both kinds"),
        (np.ones((4, 3)), np.array([1, 1, 0, 1]), "3 of 4 labels are 1; at least two samples of both kinds"),
        (np.ones((4, 3)), np.array([0, 1, 2, 1]), "labels hold 2; they are 0 or 1"),
        (np.ones((4, 3)), np.array([0, 1, 1]), r"labels of shape \(3,\) for latents of shape \(4, 3\)"),
        (np.full((4, 3), np.nan), np.array([0, 1, 0, 1]), "not finite"),
        (np.ones((40, 3)), np.arange(40) % 2, "nothing in the latents separates these samples"),
    ],
)
def test_wrong_samples_are_refused(latents: np.ndarray, labels: np.ndarray, message: str):
    """Protects: one line for each mistake."""
    with pytest.raises(ValueError, match=message):
        svm.fit_boundary(KEY, latents, labels, name="it", space="w")


def test_extremes_are_the_ends_of_the_scores():
    """Protects: InterFaceGAN's choice of samples."""
    scores = np.random.default_rng(0).standard_normal(100)
    chosen, positive = svm.select_extremes(scores, fraction=0.1)
    assert sorted(scores[chosen[positive]]) == sorted(scores)[-10:]
    assert sorted(scores[chosen[~positive]]) == sorted(scores)[:10]
    with pytest.raises(ValueError, match="less than one"):
        svm.select_extremes(scores, fraction=0.001)
    with pytest.raises(ValueError, match="fraction is 0.6"):
        svm.select_extremes(scores, fraction=0.6)
    with pytest.raises(ValueError, match="highest and the lowest 10 of 100 scores are not apart"):
        svm.select_extremes(np.ones(100), fraction=0.1)


def in_w(vector: np.ndarray, name: str = "it") -> Direction:
    return Direction(name=name, space="w", vector=np.float32(vector), unit=2.0, accuracy=0.9)


def test_published_conditional_boundaries_are_reproduced(fixtures: Path):
    """Protects: InterFaceGAN's projection for one and two conditions, to 1e-12 of its thirteen published results."""
    folder = fixtures / "interfacegan" / "boundaries"
    read = lambda name: np.load(folder / f"{name}_boundary.npy")  # noqa: E731
    names = [path.name.removesuffix("_boundary.npy") for path in folder.glob("*_c_*.npy")]
    assert len(names) == 13
    for name in names:
        primal, others = name.split("_c_")
        network = primal.rpartition("_")[0]
        found = svm.project_out(read(primal), [read(f"{network}_{other}") for other in others.split("_")])
        np.testing.assert_allclose(found, read(name), rtol=0, atol=1e-12, err_msg=name)


def test_conditions_are_projected_out():
    """Protects: one condition by the paper's formula; several, also repeated and dependent ones, at right angles."""
    random = np.random.default_rng(0)
    first, *others = (row / np.linalg.norm(row) for row in random.standard_normal((4, 8)))
    expected = first - (first @ others[0]) * others[0]
    one = svm.condition(in_w(first), [in_w(others[0])])
    np.testing.assert_allclose(one.vector, expected / np.linalg.norm(expected), atol=1e-6)
    repeated = [*others, others[0], -2 * others[1], others[0] + others[2]]
    for conditions in (others, repeated):
        found = svm.condition(in_w(3 * first, "a"), [in_w(other, "b") for other in conditions])
        assert max(abs(np.asarray(found.vector) @ other) for other in others) < 1e-6
        assert abs(np.linalg.norm(found.vector) - 3) < 1e-5 and found.unit == 2.0 and found.accuracy is None
        assert found.name.startswith("a without b, b")
    np.testing.assert_allclose(svm.condition(in_w(first), []).vector, first, atol=1e-6)
    with pytest.raises(ValueError, match="a: nothing is left of it beside b"):
        svm.condition(in_w(first, "a"), [in_w(-first, "b")])
    with pytest.raises(ValueError, match="cannot condition"):
        svm.condition(in_w(first), [dataclasses.replace(in_w(first), space="z")])


def test_accuracy_is_kept_in_files(tmp_path):
    """Protects: what a fitted direction's file says, and directions without an accuracy."""
    for accuracy in (0.9, None):
        files.save_direction(tmp_path / "it.safetensors", dataclasses.replace(in_w(np.ones(4)), accuracy=accuracy))
        assert files.load_direction(tmp_path / "it.safetensors").accuracy == accuracy


# Principal components.


def test_components_equal_those_of_the_whole_set():
    """Protects: batches give what one decomposition of everything gives, and strengths in standard deviations."""
    random = np.random.default_rng(0)
    mixing = random.standard_normal((8, 8)) * np.arange(8, 0, -1) ** 2
    w = (random.standard_normal((4000, 8)) @ mixing + 3).astype(np.float32)
    found = pca.principal_components(np.split(w, 8), count=4)
    values, vectors = np.linalg.eigh(np.cov(w.astype(np.float64), rowvar=False))
    np.testing.assert_allclose(found.mean, w.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.deviations, np.sqrt(values[::-1][:4]), rtol=1e-2)
    assert (np.abs(np.sum(found.components * vectors.T[::-1][:4], axis=1)) > 0.999).all()
    assert (found.components.max(axis=1) >= -found.components.min(axis=1)).all()
    direction = pca.component_direction(found, 1, layers=(0, 1), source="abc")
    assert (direction.space, direction.layers, direction.source) == ("w", (0, 1), "abc")
    assert direction.unit == found.deviations[1] and (direction.vector == found.components[1]).all()
    with pytest.raises(ValueError, match="no batches"):
        pca.principal_components([])


def test_sampled_w_are_those_of_the_mapping():
    """Protects: number, shape and repeatability of the samples."""
    first, second = ([*pca.sample_w(KEY, generator(), count=6, batch_size=3)] for _ in range(2))
    assert [batch.shape for batch in first] == [(3, 32), (3, 32)] and (np.stack(first) == np.stack(second)).all()
    assert len(np.unique(np.concatenate(first), axis=0)) == 6
    with pytest.raises(ValueError, match="a multiple of batch_size 4"):
        next(pca.sample_w(KEY, generator(), count=6, batch_size=4))


# Closed form.


def test_closed_form_equals_the_official_recipe():
    """Protects: which layers stand in the matrix, their normalisation, and the order."""
    made = generator()
    kernel = np.asarray(made.params["synthesis"]["affine"]["kernel"], np.float64)
    ends = np.cumsum([layer.width for layer in CONFIG.style_layers])
    parts = dict(zip((layer.name for layer in CONFIG.style_layers), np.split(kernel.T, ends[:-1]), strict=True))
    chosen = {
        None: ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1", "b16.torgb"],
        (1, 5): ["b8.conv0", "b16.torgb"],
    }
    for layers, names in chosen.items():
        rows = np.concatenate([parts[name] for name in names])
        matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        values, vectors = np.linalg.eigh(matrix.T @ matrix)
        found = closed_form.closed_form_directions(made, layers=layers, count=3)
        assert [d.layers for d in found] == [layers] * 3 and {d.source for d in found} == {"made here"}
        for index, direction in enumerate(found):
            assert abs(np.asarray(direction.vector) @ vectors[:, -1 - index]) > 1 - 1e-4
    with pytest.raises(ValueError, match="rows of W\\+ from 0 to 5"):
        closed_form.closed_form_directions(made, layers=(6,))
    with pytest.raises(ValueError, match="count is 33; 1 to 32"):
        closed_form.closed_form_directions(made, count=33)


# Style channels.


def test_ranking_finds_the_channel_that_the_examples_share():
    """Protects: mean over deviation of normalised differences, the sign, and dead channels."""
    random = np.random.default_rng(0)
    mean, deviation = np.arange(6.0), np.array([1.0, 2.0, 3.0, 1.0, 1.0, 0.0])
    examples = mean + deviation * random.standard_normal((20, 6))
    examples[:, 2] = mean[2] - 3 * deviation[2] + 0.1 * random.standard_normal(20)
    found = channels.rank_channels(np.float32(examples), np.float32(mean), np.float32(deviation))
    assert found.order[0] == 2 and found.order[-1] == 5 and found.relevance[5] == 0
    normalised = (examples - mean)[:, :5] / deviation[:5]
    np.testing.assert_allclose(found.relevance[:5], np.abs(normalised.mean(0)) / normalised.std(0), rtol=1e-4)
    direction = channels.channel_direction(found.difference, deviation, channel=2, source="abc")
    assert (direction.vector == [0, 0, -1, 0, 0, 0]).all() and direction.unit == 3.0 and direction.space == "s"
    with pytest.raises(ValueError, match="1 positive examples"):
        channels.rank_channels(examples[:1], mean, deviation)


@pytest.mark.slow
@pytest.mark.parametrize("size", [4, 16])
def test_gradient_maps_equal_single_derivatives(size: int):
    """Protects: forward (16 blocks a side) and reverse sweeps (4), and the absolute mean over colours."""
    made = generator()
    draw = jax.jit(lambda flat: made.synthesize(split_styles(flat, config=CONFIG)))
    flat = jnp.concatenate(made.styles(made.map(jnp.ones(24))))
    maps = np.asarray(
        jax.jit(lambda s: channels.gradient_maps(draw, s, size=size, batch_size=7), compiler_options=QUICKLY)(flat)
    )
    assert maps.shape == (len(flat), size, size)
    for channel in (0, 40, len(flat) - 1):
        _, derivative = jax.jvp(draw, (flat,), (jnp.zeros_like(flat).at[channel].set(1),))
        blocks = np.asarray(derivative).reshape(size, 16 // size, size, 16 // size, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(maps[channel], np.abs(blocks).mean(axis=-1), atol=1e-4 * maps[channel].max())
    with pytest.raises(ValueError, match="does not divide an image of 16 x 16"):
        channels.gradient_maps(draw, flat, size=5)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "noise"), [(8, "const"), (32, "none")])
def test_local_gradient_maps_equal_those_of_the_whole_network(size: int, noise: Any):
    """Protects: the windows: noise in place, zeros beyond the image and nowhere else, blocks down to one pixel."""
    config = dataclasses.replace(CONFIG, resolution=32)
    params = untrained(config, 3)
    noisy = lambda path, leaf: leaf + 0.5 if "noise_strength" in jax.tree_util.keystr(path) else leaf  # noqa: E731
    made = StyleGAN2Generator(jax.tree_util.tree_map_with_path(noisy, params), config, "made here")
    draw = lambda flat: made.synthesize(split_styles(flat, config=config), noise=noise)  # noqa: E731
    flat = jnp.concatenate(made.styles(made.map(jnp.ones(24))))
    whole = np.asarray(jax.jit(lambda s: channels.gradient_maps(draw, s, size=size), compiler_options=QUICKLY)(flat))
    local = np.asarray(jax.jit(lambda s: channels.local_gradient_maps(made, s, size=size, noise=noise))(flat))
    np.testing.assert_allclose(local, whole, atol=1e-6 * whole.max())
    with pytest.raises(ValueError, match="does not divide an image of 32 x 32"):
        channels.local_gradient_maps(made, flat, size=5)


def test_overlaps_and_activity_of_hand_made_maps():
    """Protects: area-matched thresholds, the preference for small regions, and regions that an image does not have."""
    parsing = np.zeros((8, 8), np.int32)
    parsing[:4, :4] = 10  # nose: 4 of 16 blocks of 2 x 2
    parsing[6:, 6:] = 17  # hair: 1 block
    maps = np.random.default_rng(0).random((3, 4, 4)).astype(np.float32)
    maps[0, :2, :2] += 5
    maps[1, 3, 3] += 5
    regions = (("background",), ("nose",), ("hair",), ("hat",))
    found = np.asarray(jax.jit(lambda m, p: channels.region_overlaps(m, p, regions))(maps, parsing))
    np.testing.assert_allclose(found[0, 1:3], [4 / 16, 0])
    assert found[1, 2] == 1 and np.isnan(found[:, 3]).all()
    share = np.asarray(channels.activity(np.stack([found, found])))
    assert share[0].tolist() == [0, 1, 0, 0] and share[1].tolist() == [0, 0, 1, 0]
