"""`jaxedit find-direction`, and what LELSD sees of a generator."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untrained import untrained

from jaxedit import checkpoints, cli, images, lelsd, load_direction, segmenters, spaces
from jaxedit.avatars import models
from jaxedit.directions import local
from jaxedit.generators.biggan import BigGANConfig
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from jaxedit.networks.bisenet import BiSeNetConfig, FaceParser
from jaxedit.spaces import Direction, joined

CONFIG = StyleGAN2Config(resolution=16, z_dim=24, w_dim=32, channel_base=256, channel_max=16, mapping_layers=2)
PSI: Any = {"truncation_psi": 0.7}


def made() -> StyleGAN2Generator:
    return StyleGAN2Generator(untrained(CONFIG), CONFIG)


@pytest.mark.parametrize(
    ("space", "layers"), [("z", None), ("w", None), ("w", (1, 2)), ("w_plus", (0, 4)), ("s", (3,))]
)
def test_directions_act_as_in_edits(space: str, layers: Any):
    """Protects: what is optimised is what `edit` adds, in every space, limited to layers or not."""
    generator, z = made(), jnp.asarray(np.random.default_rng(0).standard_normal(24), jnp.float32)
    like = local.direction_like(generator, space=space)
    drawn = lelsd.init(jax.random.key(0), like, config=lelsd.PAPER).directions
    direction = jax.tree.map(lambda u: u[0], drawn)
    first = space == "z"
    latent = local.latent_in(generator, z, space=space, **({} if first else PSI))
    moved = local.mover(generator, space=space, layers=layers)(latent, direction, jnp.float32(2))
    image, maps = local.feature_maps(generator, moved, space=space, **(PSI if first else {}))
    edits = [(Direction("", space, joined(direction), layers), 2.0)]
    expected, features = generator.render(spaces.edited(generator, z, edits, **PSI), with_features=True)
    np.testing.assert_allclose(image, expected, atol=2e-5 * np.abs(expected).max())
    assert len(maps) == 5 and all(name.endswith("torgb") for name, x in features.items() if x.shape[-1] == 3)
    assert np.abs(image - generator.render(spaces.edited(generator, z, **PSI))).max() > 0


def test_strengths_are_matched():
    """Protects: bisection, also to the other side and where the distance is out of reach."""
    for target, largest, expected in ((4.0, 10.0, 2.0), (4.0, -10.0, -2.0), (400.0, 10.0, 10.0)):
        found = local.matched_strength(jnp.square, target, largest=largest, halvings=16)
        np.testing.assert_allclose(found, expected, atol=1e-2)


def find(*arguments: object) -> int:
    return cli.main(["find-direction", *map(str, arguments)])


def halves(network: Any, image: Any, *, parts: tuple[str, ...]) -> Any:
    """In place of a parser, which takes long to compile."""
    upper = jnp.broadcast_to(jnp.arange(64)[:, None] < 32, (64, 64))
    return jnp.stack([upper, ~upper])


@pytest.mark.slow
def test_directions_of_two_parts_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Protects: the command: better than at first, files that `edit` takes, scores, settings and a sheet."""
    monkeypatch.setattr(segmenters, "part_masks", halves)
    output = tmp_path / "found"
    given = ["avatars", "--part", "mouth", "hair+hat", "--directions", 2, "--learning-rate", 0.03, "--space", "S"]
    assert find(*given, "--steps", 8, "--layers", "b16.conv0-b64.conv1", "--output", output) == 0
    assert "of the change inside" in capsys.readouterr().out
    report = json.loads((output / "directions.json").read_text())
    for part in ("mouth", "hair+hat"):
        scores = report["parts"][part]
        assert scores["score"] > scores["score_at_first"] > 0 and len(scores["layer_scores"]) == 9
    assert report["settings"]["space"] == "s" and report["settings"]["learning_rate"] == 0.03
    assert images.read_png(output / "grid.png").std() > 20
    for name in ("mouth_0", "mouth_1", "hair_hat_0", "hair_hat_1"):
        direction = load_direction(output / f"{name}.safetensors")
        assert direction.space == "s" and direction.layers and np.isfinite(direction.vector).all()
    assert find(*given, "--output", output) == 1 and "exists already" in capsys.readouterr().err


@pytest.mark.slow
def test_classes_have_directions_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Protects: the same command on a generator of classes, in a space whose latents carry the class."""
    monkeypatch.setattr(segmenters, "part_masks", halves)
    config = BigGANConfig((8, 8, 4), attention_resolution=4, z_dim=6, c_dim=3)
    checkpoints.save(tmp_path / "classes", params=untrained(config), config=config, metadata={})
    parser = Path(models.__file__).parent / "weights" / "parser.safetensors"
    given = [tmp_path / "classes", "--parser", parser, "--part", "mouth", "nose", "--steps", 2]
    output = tmp_path / "found"
    assert find(*given, "--space", "z_plus", "--class", 2, "--output", output) == 0
    direction = load_direction(output / "mouth.safetensors")
    assert direction.space == "z_plus" and np.shape(direction.vector) == (6, 6) and np.any(direction.vector)
    assert find(*given, "--space", "z", "--output", tmp_path / "other") == 1
    assert "choose one with --class 0 to --class 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--part", "tail"], "no region 'tail'; there are hair"),
        (["--part", "mouth", "mouth"], "two are the same"),
        (["--part", "mouth", "--steps", "0"], "steps is 0"),
        (["--part", "mouth", "--space", "p"], "no space 'p'"),
        (["--part", "mouth", "--learning-rate", "-1"], "it has to be positive"),
        (["--part", "mouth", "--match-distance", "0.2"], "go together"),
        (["--part", "mouth", "--space", "z", "--layers", "1"], "cannot be limited"),
    ],
)
def test_wrong_options_are_refused(given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: one line, before anything is computed or written."""
    assert find("avatars", *given, "--output", tmp_path / "found") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "found").exists()


@pytest.mark.slow
def test_a_part_that_no_sample_shows_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Protects: a direction of noise from passing for one that was found."""
    monkeypatch.setattr(segmenters, "part_masks", lambda network, image, *, parts: jnp.zeros((1, 64, 64), bool))
    assert find("avatars", "--part", "nose", "--steps", 20, "--space", "w", "--output", tmp_path / "found") == 1
    assert "none of 36 samples shows it" in capsys.readouterr().err
    assert not (tmp_path / "found").exists()


class Told(FaceParser):
    """Parses by colour, without a network."""

    def parse(self, image: Any) -> Any:
        """Hair above, the mouth below."""
        return jnp.where(image[..., 0] > 0, 17, 11).astype(jnp.int32)


@pytest.mark.parametrize("size", [32, 64])
def test_parts_are_those_of_the_parser(size: int):
    """Protects: several parts of one look at the image, also where the parser sees it in another size."""
    upper = np.repeat(np.where(np.arange(size) < size // 2, 1, -1)[:, None], size, axis=1)
    image = jnp.asarray(np.repeat(upper[..., None], 3, axis=-1), jnp.float32)
    parser = Told({}, BiSeNetConfig(resolution=32))
    masks = segmenters.part_masks(parser, image, parts=("mouth", "hair+hat", "nose"))
    np.testing.assert_array_equal(masks, [upper < 0, upper > 0, np.zeros_like(upper, bool)])


def test_a_palette_has_both_directions(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: rows move along the first direction, columns along the second, and what is refused."""
    output = tmp_path / "palette.png"
    given = ["palette", "avatars", "--strengths", "-3", "0", "3", "--space", "w"]
    assert cli.main([*given, "--direction", "smile", "eyeglasses", "--output", str(output)]) == 0
    assert "smile by rows and eyeglasses by columns" in capsys.readouterr().out
    sheet = images.read_png(output).astype(int)
    tile = 128
    left, top = sheet.shape[1] - 3 * tile, sheet.shape[0] - 3 * tile
    tiles = sheet[top:, left:].reshape(3, tile, 3, tile, 3).transpose(0, 2, 1, 3, 4)
    mouth, eyes = (slice(80, 104), slice(44, 84)), (slice(44, 68), slice(30, 98))

    def change(a: np.ndarray, b: np.ndarray, place: Any) -> float:
        return np.abs(a[place] - b[place]).mean()

    assert change(tiles[0, 1], tiles[2, 1], mouth) > change(tiles[1, 0], tiles[1, 2], mouth)
    assert change(tiles[1, 0], tiles[1, 2], eyes) > change(tiles[0, 1], tiles[2, 1], eyes)
    for options, said in (
        (["--direction", "smile", "--output", str(tmp_path / "a.png")], "a palette takes two"),
        (["--direction", "smile", "age", "--output", str(tmp_path / "a.jpg")], "is a .png file"),
        (["--direction", "smile", "age", "--output", str(output)], "exists already"),
    ):
        assert cli.main([*given, *options]) == 1 and said in capsys.readouterr().err
