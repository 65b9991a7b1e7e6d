"""ProgressiveGAN against the official network in float64; directions and commands."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from official_progressive import CHANNELS, RESOLUTION, Z_DIM, official, saved, state_dict, tensorflow_pickle, variables

from jaxedit import Direction, checkpoints, cli, images, lelsd, load_direction, save_direction, segmenters, spaces
from jaxedit.avatars import models
from jaxedit.directions import local
from jaxedit.generators.progressive import LabelledLatent, ProgressiveConfig, ProgressiveGenerator
from weights_convert.__main__ import main

C_DIM = 3
CONFIG = ProgressiveConfig(CHANNELS, Z_DIM)
WRITERS = {"tensorflow": tensorflow_pickle, "interfacegan": lambda path, found: saved(path, state_dict(found))}


def converted(folder: Path, source: Path, *options: str) -> ProgressiveGenerator:
    assert main([str(source), str(folder / "out"), *options]) == 0
    return checkpoints.load(folder / "out")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("progressive")
    converted(folder, tensorflow_pickle(folder / "G.pkl", variables()))
    return folder / "out"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network of classes."""
    folder = tmp_path_factory.mktemp("labelled")
    converted(folder, tensorflow_pickle(folder / "G.pkl", variables(c_dim=C_DIM)))
    return folder / "out"


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def one_hot(index: int) -> np.ndarray:
    return np.eye(C_DIM, dtype=np.float32)[index]


def check(found: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


# What is drawn.


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("layout", WRITERS)
def test_the_image_is_that_of_the_official_network(tmp_path: Path, layout: str, fused: bool):
    """Protects: every tensor in its place, in both formats; gains, order of operations, fused kernels, all layers."""
    found, z = variables(fused=fused), 3 * normal(1, Z_DIM)
    generator = converted(tmp_path, WRITERS[layout](tmp_path / "G.pkl", found))
    assert isinstance(generator, ProgressiveGenerator) and generator.config == CONFIG
    image, features = jax.jit(lambda generator, z: generator.render(z, with_features=True))(generator, z)
    expected, maps = official(found, np.asarray(z))
    check(image, expected)
    assert image.shape == (RESOLUTION, RESOLUTION, 3) and expected.std() > 0.1
    assert set(features) == {*maps, "torgb"}
    for name in maps:
        check(features[name], maps[name])


def test_a_label_is_normalised_with_z(labelled: Path):
    """Protects: networks of classes: the label behind z, before both are normalised."""
    generator, z, c = checkpoints.load(labelled), normal(2, Z_DIM), one_hot(1)
    assert generator.config == ProgressiveConfig(CHANNELS, Z_DIM, C_DIM)
    expected, _ = official(variables(c_dim=C_DIM), np.asarray(z), c)
    latent = generator.advance("z", z, c=c)
    assert isinstance(latent, LabelledLatent)
    check(generator.render(latent), expected)
    direction = Direction("z", "z", normal(3, Z_DIM))
    moved = spaces.edited(generator, z, [(direction, 2.0)], c=c)
    np.testing.assert_allclose(moved.z, z + 2 * direction.vector, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(moved.c, c)


def test_bfloat16_is_close(checkpoint: Path):
    """Protects: that the option reaches all layers, and the image stays float32."""
    generator, z = checkpoints.load(checkpoint), normal(4, Z_DIM)
    image, features = generator.render(z, compute_dtype=jnp.bfloat16, with_features=True)
    names = [f"b{size}.conv{conv}" for size in (4, 8, 16) for conv in (0, 1)]
    assert list(features) == [*names, "torgb"] and all(features[name].dtype == jnp.bfloat16 for name in names)
    assert image.dtype == jnp.float32
    assert 0 < np.abs(image - generator.render(z)).max() < 0.3


def test_what_is_no_latent_is_refused(checkpoint: Path, labelled: Path, unchecked: None):
    """Protects: one line that says what would be right; no condition that does nothing."""
    plain, of_classes, z = checkpoints.load(checkpoint), checkpoints.load(labelled), normal(5, Z_DIM)
    for call, message in (
        (lambda: plain.render(normal(0, 2, Z_DIM)), r"z has shape \(2, 5\); \(5,\) is right"),
        (lambda: plain.advance("z", z), "'z' has no next one"),
        (lambda: plain.render(LabelledLatent(z, one_hot(0))), "0 classes, so a label c is not accepted"),
        (lambda: spaces.edited(plain, z, c=one_hot(0)), "c: no latent depends on it"),
        (lambda: of_classes.render(z), "3 classes, so a label c is needed"),
        (lambda: of_classes.advance("z", z), "a label c is needed"),
        (lambda: of_classes.advance("z", z, c=np.ones(2, np.float32)), r"c has shape \(2,\); \(3,\) is right"),
        (lambda: of_classes.advance("labelled", z), "'labelled' has no next one"),
        (lambda: ProgressiveConfig((8,)), r"channels are \(8,\); 2 to 11"),
        (lambda: ProgressiveConfig((8, 0)), "positive numbers"),
        (lambda: ProgressiveConfig((8, 8), 0), "z_dim is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.slow
def test_lelsd_finds_directions(checkpoint: Path):
    """Protects: what LELSD sees of the family, whose one space nothing leads to."""
    generator, config = checkpoints.load(checkpoint), lelsd.LelsdConfig(steps=4, batch_size=2, learning_rate=0.05)

    def segment(image: Any) -> Any:
        return (jnp.arange(RESOLUTION)[:, None] < 8).astype(jnp.float32) * jnp.ones((1, RESOLUTION))

    @jax.jit
    def step(state: Any, key: Any) -> Any:
        z = jax.random.normal(key, (2, Z_DIM))
        latents = jax.vmap(lambda one: local.latent_in(generator, one, space="z"))(z)
        features, move = (
            lambda latent: local.feature_maps(generator, latent, space="z"),
            local.mover(generator, space="z"),
        )
        samples = lelsd.observe(features, segment, latents)
        return lelsd.step(key, features, segment, state, samples, config=config, move=move)

    first = state = lelsd.init(jax.random.key(0), local.direction_like(generator, space="z"), config=config)
    for number in range(4):
        state, info = step(state, jax.random.key(number))
        assert np.isfinite(info.score) and info.layer_scores.shape == (2 * len(CHANNELS),)
    assert lelsd.found(state).shape == (1, Z_DIM) and np.abs(state.directions - first.directions).min() > 0


# Commands.


def run(*arguments: Any) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_commands_know_it(checkpoint: Path, tmp_path: Path, capsys: Any):
    """Protects: told, drawn, edited and fitted like any other family; latents of files are of z."""
    assert run("info", checkpoint) == 0
    shown = capsys.readouterr().out
    assert "generator (pggan), 16 px" in shown and "space z: 5 numbers" in shown and "labelled" not in shown
    drawing = ["generate", checkpoint, "--seeds", "0-39", "--save-latents", "--output", tmp_path / "a"]
    assert run(*drawing) == 0 and sorted(path.name for path in (tmp_path / "a").glob("*.safetensors")) == [
        "z.safetensors"
    ]
    (tmp_path / "labels.txt").write_text("0\n1\n" * 20)
    fitted = tmp_path / "fitted.safetensors"
    fitting = ["--labels", tmp_path / "labels.txt", "--checkpoint", checkpoint, "--space", "z", "--output", fitted]
    assert run("fit-direction", tmp_path / "a" / "z.safetensors", *fitting) == 0
    np.save(tmp_path / "age_boundary.npy", np.asarray(normal(6, 1, Z_DIM)))  # as InterFaceGAN's are
    editing = ["--direction", fitted, tmp_path / "age_boundary.npy", "--strengths", 0, 2]
    assert run("edit", checkpoint, "--seeds", 0, *editing, "--output", tmp_path / "b") == 0
    of_file = ["--latents", tmp_path / "a" / "z.safetensors", "--output", tmp_path / "c"]
    assert run("edit", checkpoint, *of_file, *editing) == 0
    names = ("a/seed0000.png", "b/seed0000_+0.png", "c/seed0000_+0.png", "b/seed0000_+2.png")
    plain, same, again, moved = (images.read_png(tmp_path / name).astype(int) for name in names)
    assert np.abs(plain - same).max() <= 1 and np.abs(plain - again).max() <= 1 and np.abs(plain - moved).max() > 10
    save_direction(tmp_path / "w.safetensors", Direction("w", "w", np.ones(Z_DIM, np.float32)))
    for command, message in (
        (["generate", checkpoint, "--seeds", 0, "--class", 1], "--class: this network has no classes"),
        (
            ["generate", checkpoint, "--seeds", 0, "--truncation-psi", 0.5],
            "--truncation-psi: generators of this family",
        ),
        (["edit", checkpoint, "--seeds", 0, "--direction", tmp_path / "w.safetensors"], "(5,) for z would fit"),
        (["edit", checkpoint, "--seeds", 0, *editing, "--layers", 1], "cannot be limited to a layer range"),
    ):
        capsys.readouterr()
        assert run(*command, "--output", tmp_path / "e") != 0
        assert message in capsys.readouterr().err


def test_commands_know_its_classes(labelled: Path, tmp_path: Path, capsys: Any):
    """Protects: classes, of seeds and of latents from files."""
    np.save(tmp_path / "z.npy", np.asarray(normal(7, 2, Z_DIM)))
    np.save(tmp_path / "direction.npy", np.asarray(normal(8, Z_DIM)))
    editing = ["--latents", tmp_path / "z.npy", "--direction", tmp_path / "direction.npy", "--strengths", 0]
    assert run("edit", labelled, *editing, "--class", 2, "--output", tmp_path / "a") == 0
    expected, _ = official(variables(c_dim=C_DIM), np.load(tmp_path / "z.npy")[1], one_hot(2))
    written = images.read_png(tmp_path / "a" / "code0001_+0.png").astype(int)
    assert np.abs(written - np.asarray(images.to_uint8(jnp.asarray(expected, jnp.float32))).astype(int)).max() <= 1
    assert run("generate", labelled, "--seeds", 0, "--output", tmp_path / "b") != 0
    assert "choose one with --class 0 to --class 2" in capsys.readouterr().err


@pytest.mark.slow
def test_find_direction_knows_it(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: the command in the one space."""

    def halves(network: Any, image: Any, *, parts: tuple[str, ...]) -> Any:
        return jnp.broadcast_to(jnp.arange(64)[:, None] < 32, (1, 64, 64))

    monkeypatch.setattr(segmenters, "part_masks", halves)
    parser = Path(models.__file__).parent / "weights" / "parser.safetensors"
    finding = ["--parser", parser, "--part", "mouth", "--space", "z", "--steps", 2, "--output", tmp_path / "found"]
    assert run("find-direction", checkpoint, *finding) == 0
    direction = load_direction(tmp_path / "found" / "mouth.safetensors", generator=checkpoints.load(checkpoint))
    assert direction.space == "z" and np.any(direction.vector)
