"""BigGAN-deep against the official network in float64; directions and commands."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from official_biggan import BLOCKS, CONFIG, official, saved, state_dict

from jaxedit import Direction, checkpoints, cli, images, lelsd, save_direction, spaces
from jaxedit.directions import local
from jaxedit.generators.base import space_named
from jaxedit.generators.biggan import BigGANConfig, BigGANGenerator, BigGANLatent
from jaxedit.generators.biggan_layers import place_of
from weights_convert import convert


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("biggan")
    convert(saved(folder / "pytorch_model.bin", state_dict()), folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def generator(checkpoint: Path) -> BigGANGenerator:
    return checkpoints.load(checkpoint)


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def one_hot(index: int) -> np.ndarray:
    return np.eye(CONFIG.c_dim, dtype=np.float32)[index]


@jax.jit
def drawn(generator: BigGANGenerator, z: Any, c: Any, psi: Any) -> jax.Array:
    return generator.render(generator.advance("z", z, c=c, truncation_psi=psi))


# What is drawn.


@pytest.mark.parametrize("psi", [1.0, 0.4, 0.58, 0.5, 0.41, 0.14, 0.013])
def test_the_image_is_that_of_the_official_network(generator: BigGANGenerator, psi: float):
    """Protects: every tensor in its place, statistics of the truncation, channel order, attention, shortcuts."""
    z, c = normal(1, CONFIG.z_dim), one_hot(3)
    expected = official(state_dict(), np.tile(z, (CONFIG.rows, 1)), c, psi)
    found = drawn(generator, z, c, jnp.float32(psi))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    assert found.shape == (CONFIG.resolution, CONFIG.resolution, 3) and expected.std() > 0.1


@pytest.mark.slow
def test_rows_of_z_plus_are_those_of_the_official_wrapper(generator: BigGANGenerator):
    """Protects: which row each layer reads; the last one is read by none."""
    c, rows = one_hot(1), normal(2, CONFIG.rows, CONFIG.z_dim)
    latent = generator.advance("z", rows[0], c=c, truncation_psi=0.6)._replace(z=rows)
    image, features = generator.render(latent, with_features=True)
    expected = official(state_dict(), np.asarray(rows), c, 0.6)
    np.testing.assert_allclose(image, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(generator.render(latent._replace(z=rows.at[-1].add(1.0))), image)
    names = ["b4.layer0", "b4.layer1", "b8.layer2", "b8.layer3", "b8.layer4", "b16.layer5"]
    assert list(features) == [*names, "torgb"] and len(rows) == len(BLOCKS) + 2
    shapes = [(layer.resolution, layer.resolution, layer.width) for layer in CONFIG.layers]
    assert [features[name].shape for name in names] == shapes


def test_statistics_are_read_as_the_official_code_reads_them():
    """Protects: rows beside the multiples of a step, weights the wrong way round, and that truncation is traced."""
    traces = []

    @jax.jit
    def read(psi: jax.Array) -> jax.Array:
        traces.append(psi)
        return place_of(psi, 51).read(jnp.arange(51.0))

    given = [*(step / 50 for step in range(1, 51)), 0.41, 0.437, 0.013, 0.999]
    for psi in given:
        fraction, whole = math.modf(psi / (1.0 / 50))
        expected = whole * fraction + (whole + 1) * (1 - fraction) if fraction else whole
        np.testing.assert_allclose(read(jnp.float32(psi)), expected, atol=1e-4)
    rows = {psi: round(float(read(jnp.float32(psi)))) for psi in (0.58, 0.94, 0.14, 0.28, 0.56, 0.5)}
    assert rows == {0.58: 28, 0.94: 46, 0.14: 8, 0.28: 15, 0.56: 29, 0.5: 25}
    assert np.isnan([read(jnp.float32(psi)) for psi in (0.0, -0.1, 1.01, np.nan)]).all()
    assert len(traces) == 1


def test_classes_mix(generator: BigGANGenerator):
    """Protects: the class as weights of embeddings."""
    z, mix = normal(3, CONFIG.z_dim), 0.3 * one_hot(0) + 0.7 * one_hot(4)
    embeddings = state_dict()["embeddings.weight"]
    latent = generator.advance("z", z, c=mix)
    np.testing.assert_allclose(latent.embedding, 0.3 * embeddings[:, 0] + 0.7 * embeddings[:, 4], rtol=1e-5, atol=1e-6)
    expected = official(state_dict(), np.tile(z, (CONFIG.rows, 1)), mix, 1.0)
    np.testing.assert_allclose(drawn(generator, z, mix, 1.0), expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_bfloat16_is_close(generator: BigGANGenerator):
    """Protects: that the option reaches all layers, and the image stays float32."""
    latent = generator.advance("z", normal(4, CONFIG.z_dim), c=one_hot(2))
    whole, (image, features) = (
        generator.render(latent),
        generator.render(latent, compute_dtype=jnp.bfloat16, with_features=True),
    )
    assert image.dtype == jnp.float32 and features["b8.layer3"].dtype == jnp.bfloat16
    assert 0 < np.abs(image - whole).max() < 0.3


def test_what_is_no_latent_is_refused(generator: BigGANGenerator, unchecked: None):
    """Protects: one line that says what would be right."""
    z, c = normal(5, CONFIG.z_dim), one_hot(0)
    rows = generator.advance("z", z, c=c)
    for call, message in (
        (lambda: generator.advance("z", z), "this network has 5 classes, so a label c is needed"),
        (lambda: generator.advance("z", z, c=c[:3]), r"c has shape \(3,\); \(5,\) is right"),
        (lambda: generator.advance("z", rows.z, c=c), r"z has shape \(6, 6\); \(6,\) is right"),
        (lambda: generator.advance("z", z, c=c, truncation_psi=0.0), "truncation_psi is 0.0; above 0 and at most 1"),
        (lambda: generator.advance("z", z, c=c, truncation_psi=1.5), "truncation_psi is 1.5"),
        (lambda: generator.advance("z_plus", rows), "'z_plus' has no next one"),
        (lambda: generator.render(rows.z), r"takes a latent with its class and truncation"),
        (lambda: generator.render(rows._replace(z=rows.z[:2])), r"\(6, 6\), \(6,\), \(\)\) are right"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": (16,)}, r"channels are \(16,\); 2 to 11 multiples of 4"),
        ({"channels": (16, 10)}, "multiples of 4"),
        ({"channels": (16, 4)}, "as many as the one before, or half"),
        ({"attention_resolution": 16}, "attention_resolution is 16; it can be 4, 8"),
        ({"channels": (16, 12), "attention_resolution": 8}, "as many as the one before"),
        ({"c_dim": 0}, "c_dim is 0"),
        ({"truncations": 1}, "truncations is 1; it has to be at least 2"),
    ],
)
def test_impossible_architectures_are_refused(change: dict[str, Any], message: str):
    """Protects: one line, before anything is built."""
    with pytest.raises(ValueError, match=message):
        BigGANConfig(**{"channels": (16, 16, 8), "attention_resolution": 8, **change})


def test_the_published_architectures():
    """Protects: LELSD's numbers of feature maps and rows, and the attention's place."""
    published = {
        128: (2048, 2048, 1024, 512, 256, 128),
        256: BigGANConfig().channels,
        512: (*BigGANConfig().channels, 128),
    }
    for resolution, channels in published.items():
        config = BigGANConfig(channels=channels)
        assert config.resolution == resolution and len(config.layers) == config.rows
        assert config.layers[9].kind == "attention" and config.layers[9].name == "b64.layer9"
    resolutions = [layer.resolution for layer in BigGANConfig(channels=published[512]).layers]
    assert resolutions == [4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 64, 128, 128, 256, 256, 512]


# Directions.


def test_directions_act_in_their_space(generator: BigGANGenerator):
    """Protects: z before it is repeated, rows of z_plus within their layers, class and truncation untouched."""
    z, given = normal(6, CONFIG.z_dim), {"c": one_hot(2), "truncation_psi": 0.5}
    of_z = Direction("z", "z", normal(7, CONFIG.z_dim), unit=0.5)
    of_rows = Direction("rows", "z_plus", normal(8, CONFIG.rows, CONFIG.z_dim), layers=(1, 4))
    latent = spaces.edited(generator, z, [(of_z, 2.0), (of_rows, -3.0)], **given)
    expected = np.tile(z + of_z.vector, (CONFIG.rows, 1))
    expected[[1, 4]] -= 3 * np.asarray(of_rows.vector)[[1, 4]]
    assert isinstance(latent, BigGANLatent) and float(latent.truncation) == 0.5
    np.testing.assert_allclose(latent.z, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(latent.embedding, generator.advance("z", z, **given).embedding)
    with pytest.raises(ValueError, match="a latent in z_plus has a field 'z'"):
        spaces.edited(generator, latent.z, [(of_rows, 1.0)], start="z_plus")
    again = spaces.edited(generator, latent, [(of_rows, 3.0)], start="z_plus")
    np.testing.assert_allclose(again.z, np.tile(z + of_z.vector, (CONFIG.rows, 1)), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("space", "layers"), [("z", None), ("z_plus", None), ("z_plus", (1, 2))])
def test_lelsd_finds_directions(generator: BigGANGenerator, space: str, layers: Any):
    """Protects: what LELSD sees of the family: a step moves the direction, within its layers, to a better score."""
    config = lelsd.LelsdConfig(steps=4, batch_size=2, learning_rate=0.05)
    given = {"c": one_hot(1), "truncation_psi": 0.4}
    before, after = ({}, given) if space == "z" else (given, {})

    def features(latent: Any) -> Any:
        return local.feature_maps(generator, latent, space=space, **after)

    def segment(image: Any) -> Any:
        return (jnp.arange(CONFIG.resolution)[:, None] < 8).astype(jnp.float32) * jnp.ones((1, CONFIG.resolution))

    @jax.jit
    def step(state: Any, key: Any) -> Any:
        z = jax.random.normal(key, (2, CONFIG.z_dim))
        latents = jax.vmap(lambda one: local.latent_in(generator, one, space=space, **before))(z)
        move = local.mover(generator, space=space, layers=layers)
        samples = lelsd.observe(features, segment, latents)
        return lelsd.step(key, features, segment, state, samples, config=config, move=move)

    like = local.direction_like(generator, space=space)
    assert like.shape == space_named(generator, space).shape
    first = state = lelsd.init(jax.random.key(0), like, config=config)
    for number in range(4):
        state, info = step(state, jax.random.key(number))
        assert np.isfinite(info.score) and info.layer_scores.shape == (len(CONFIG.layers),)
    found, moved = lelsd.found(state)[0], np.abs(state.directions - first.directions)[0]
    assert np.isfinite(found).all() and moved.max() > 0.01
    if space == "z_plus":  # the last row is read by no layer
        reached = moved.max(axis=1) > 0
        assert reached.tolist() == [row in (layers or range(CONFIG.rows - 1)) for row in range(CONFIG.rows)]


# Commands.


def test_commands_know_it(checkpoint: Path, generator: BigGANGenerator, tmp_path: Path, capsys: Any):
    """Protects: told, drawn and edited like any other family, with its classes; latents of files are of z."""

    def run(*arguments: Any) -> int:
        return cli.main([str(argument) for argument in arguments])

    assert run("info", checkpoint) == 0
    shown = capsys.readouterr().out
    assert "generator (biggan_deep), 16 px" in shown and "space z_plus: 6 x 6 numbers, layers 0 to 5" in shown
    direction = Direction("rows", "z_plus", normal(9, CONFIG.rows, CONFIG.z_dim), source=generator.fingerprint)
    save_direction(tmp_path / "rows.safetensors", direction)
    np.save(tmp_path / "z.npy", np.asarray(normal(10, 2, CONFIG.z_dim)))
    editing = ["--direction", tmp_path / "rows.safetensors", "--layers", "1-3", "--strengths", 0, 2]
    of_class = ["--class", 4, "--truncation-psi", 0.5]
    assert run("generate", checkpoint, "--seeds", "0-1", *of_class, "--save-latents", "--output", tmp_path / "a") == 0
    assert not (tmp_path / "a" / "z_plus.safetensors").exists()
    assert run("edit", checkpoint, "--seeds", 0, *of_class, *editing, "--output", tmp_path / "b") == 0
    assert (
        run(
            "edit",
            checkpoint,
            "--latents",
            tmp_path / "a" / "z.safetensors",
            *of_class,
            *editing,
            "--output",
            tmp_path / "c",
        )
        == 0
    )
    assert (
        run("edit", checkpoint, "--latents", tmp_path / "z.npy", *of_class, *editing, "--output", tmp_path / "d") == 0
    )
    plain, same = (images.read_png(tmp_path / name).astype(int) for name in ("a/seed0000.png", "b/seed0000_+0.png"))
    assert (
        np.abs(plain - same).max() <= 1 and np.abs(plain - images.read_png(tmp_path / "b/seed0000_+2.png")).max() > 10
    )
    assert np.abs(plain - images.read_png(tmp_path / "c/seed0000_+0.png")).max() <= 1
    for command, message in (
        (["generate", checkpoint, "--seeds", 0], "choose one with --class 0 to --class 4"),
        (["generate", checkpoint, "--seeds", 0, "--class", 1, "--truncation-psi", 1.5], "at most 1 would be right"),
        (["generate", checkpoint, "--seeds", 0, "--class", 1, "--noise-mode", "none"], "--noise-mode: generators"),
        (["edit", checkpoint, "--latents", tmp_path / "z.npy", *editing], "choose one with --class 0"),
    ):
        capsys.readouterr()
        assert run(*command, "--output", tmp_path / "e") != 0
        assert message in capsys.readouterr().err
