"""The linear probe of feature maps, and `jaxedit fit-parser`."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import f64
from PIL import Image

import jaxedit
from jaxedit import cli, segmenters
from jaxedit.networks import feature_parser
from jaxedit.networks.feature_parser import FeatureParser, FeatureParserConfig

SMALL = FeatureParserConfig((6, 3, 5), 4, 16)


def maps() -> tuple[Any, ...]:
    random = np.random.default_rng(0)
    shapes = ((4, 4, 6), (8, 8, 3), (8, 8, 5))
    return tuple(jnp.asarray(random.standard_normal(shape), jnp.float32) for shape in shapes)


def enlarged(x: np.ndarray, size: int) -> np.ndarray:
    """Bilinear, the middles of the pixels kept in place and the border repeated."""
    place = np.clip((np.arange(size) + 0.5) * len(x) / size - 0.5, 0, len(x) - 1)
    low = np.minimum(place.astype(int), len(x) - 2)
    weights = np.zeros((size, len(x)))
    weights[np.arange(size), low], weights[np.arange(size), low + 1] = 1 - (place - low), place - low
    return np.einsum("ia,jb,abc->ijc", weights, weights, x)


def test_the_probe_sums_what_each_layer_says():
    """Protects: a 1x1 convolution of every map, enlarged, in the order of the layers; other maps are refused."""
    params = feature_parser.init(jax.random.key(0), config=SMALL)
    params["bias"] = jnp.arange(4.0)
    expected = f64(params["bias"]) + sum(
        enlarged(f64(x) @ f64(params[f"layer{index}"]), 16) for index, x in enumerate(maps())
    )
    found = FeatureParser(params, SMALL)(maps())
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    with pytest.raises(ValueError, match=r"maps of \(3, 6, 5\) channels; this probe reads \(6, 3, 5\)"):
        feature_parser.segment(params, (maps()[1], maps()[0], maps()[2]), config=SMALL)


@pytest.mark.slow
def test_labels_are_learned_and_the_parser_finds_directions(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: labels given as pictures of the samples of their names; `find-direction` takes the result."""
    (labels := tmp_path / "labels").mkdir()
    for seed in range(20):
        image = np.zeros((32, 32), np.uint8)
        image[20:] = 11  # mouth, at the same place in all samples: constant channels tell
        Image.fromarray(image).save(labels / f"seed{seed:04d}.png")
    given = ["fit-parser", "avatars", "--labels", str(labels), "--seeds", "0-19", "--resolution", "32", "--steps", "60"]
    assert cli.main([*given, "--output", str(tmp_path / "probe")]) == 0
    said = capsys.readouterr().out
    assert "on 4 held-out samples" in said and float(said.split("samples ")[1].split("%")[0]) > 95
    parser = jaxedit.load_network(tmp_path / "probe" / "parser")
    assert isinstance(parser, FeatureParser) and parser.config.resolution == 32 and parser.config.classes == 19
    found = ["find-direction", "avatars", "--parser", str(tmp_path / "probe" / "parser"), "--part", "mouth"]
    assert cli.main([*found, "--steps", "9", "--space", "w", "--output", str(tmp_path / "found")]) == 0
    assert (tmp_path / "found" / "mouth.safetensors").exists()
    refused = ["intervene", "avatars", "--seeds", "0", "--attribute", "smile", "--region", "mouth", "--parser"]
    assert cli.main([*refused, str(tmp_path / "probe" / "parser"), "--output", str(tmp_path / "x")]) == 1
    assert "takes parsers of images" in capsys.readouterr().err


def test_parts_come_from_feature_maps():
    """Protects: a parser of feature maps sees those, any other the image."""
    params = {**feature_parser.init(jax.random.key(0), config=FeatureParserConfig((6, 3, 5), 19, 16))}
    parser = FeatureParser(params, FeatureParserConfig((6, 3, 5), 19, 16))
    seen = segmenters.seen_by(parser, jnp.zeros((64, 64, 3)), list(maps()))
    masks = segmenters.part_masks(parser, seen, parts=("mouth", "hair"))
    classes = np.asarray(parser.parse(maps()))
    np.testing.assert_array_equal(masks, [np.isin(classes, (11, 12, 13)), classes == 17])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--seeds", "0-8"], "9 samples; 10 or more would be right"),
        (["--labels", "labels"], "seed0000.png"),
        (["--class", "1"], "this network has no classes"),
    ],
)
def test_wrong_options_are_refused(given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: one line, before anything is written."""
    assert cli.main(["fit-parser", "avatars", *given, "--output", str(tmp_path / "probe")]) == 1
    err = capsys.readouterr().err
    assert said in err and err.startswith("error: ") and not (tmp_path / "probe").exists()


def test_classes_out_of_range_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: a mask of another labelling from being learned; the file is named."""
    for seed in range(10):
        Image.fromarray(np.full((64, 64), 40 if seed == 7 else 1, np.uint8)).save(tmp_path / f"seed{seed:04d}.png")
    given = ["fit-parser", "avatars", "--labels", str(tmp_path), "--seeds", "0-9", "--output", str(tmp_path / "p")]
    assert cli.main(given) == 1
    assert "seed0007.png: has the class 40; 0 to 18 are right" in capsys.readouterr().err
