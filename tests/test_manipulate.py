"""`jaxedit train-surrogate` and `manipulate`: pairs, conditions, targets, what is written and what is refused."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from jaxedit import avatars, checkpoints, cli, faces, families, images
from jaxedit.conditions import Conditions, calibrated
from jaxedit.networks.attributes import AttributesConfig

SMALL = ["--samples", "100", "--steps", "100", "--width", "16", "--layers", "2", "--learning-rate", "1e-3"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surrogate")
    assert (
        cli.main(
            ["train-surrogate", "avatars", "--output", str(folder), "--condition", "attributes", "keypoints", *SMALL]
        )
        == 0
    )
    return folder


@pytest.mark.slow
def test_a_training_goes_on_and_knows_its_pairs(trained: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: pairs are latents and what is read off their pictures; nothing is drawn twice; other settings are
    refused."""
    with np.load(trained / "pairs" / "pairs00000.npz") as pairs:
        z, c = pairs["z"], pairs["c"]
    assert z.shape == (100, 128) and c.shape == (100, 12 + 136)
    generator = avatars.load_generator()
    image = generator.synthesize(generator.styles(jnp.asarray(z[3])), noise="const")
    np.testing.assert_allclose(c[3, 12:].reshape(68, 2), avatars.load_keypoints()(image), atol=1e-3)
    np.testing.assert_allclose(c[3, :12], 1 / (1 + np.exp(-np.asarray(avatars.load_classifier()(image)))), atol=1e-3)
    known = checkpoints.read_description(trained / "surrogate").metadata
    assert known["space"] == "w" and known["names"] == list(avatars.ATTRIBUTES) and known["measured"]["constant"] > 0.5
    stamp = (trained / "pairs" / "pairs00000.npz").stat().st_mtime_ns
    given = ["train-surrogate", "avatars", "--output", str(trained), "--condition", "attributes", "keypoints", *SMALL]
    assert cli.main(given) == 0
    assert (trained / "pairs" / "pairs00000.npz").stat().st_mtime_ns == stamp
    capsys.readouterr()
    assert cli.main([*given, "--truncation-psi", "0.5"]) == 1
    assert "holds another training (truncation_psi is 0.8 there, not 0.5)" in capsys.readouterr().err


@pytest.mark.slow
def test_edits_one_after_the_other(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: pictures after each edit, latents of all, what was reached, both sheets; keypoints of a file and of a
    picture."""
    points = tmp_path / "points.csv"
    np.savetxt(points, np.zeros((68, 2)), delimiter=",")
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(tmp_path / "face.png")
    output = tmp_path / "edited"
    given = ["manipulate", "avatars", "--surrogate", str(trained), "--output", str(output), "--seeds", "0-2"]
    edits = ["--to", "smile=1,eyeglasses=0", "--keypoints", str(points), str(tmp_path / "face.png"), "--max-steps", "2"]
    assert cli.main([*given, *edits]) == 0
    assert "smile=1,eyeglasses=0: " in capsys.readouterr().out
    report = json.loads((output / "manipulate.json").read_text())
    assert [row["edit"] for row in report["edits"]] == ["smile=1,eyeglasses=0"] * 3 + ["points"] * 3 + ["face"] * 3
    assert all(1 <= row["steps"] <= 2 and np.isfinite(row["distance"]) for row in report["edits"])
    latents = safetensors.numpy.load_file(output / "latents.safetensors")
    assert len(latents) == 3 * 4 and latents["seed0001_3"].shape == (128,)
    assert all((output / f"seed{seed:04d}_{number}.png").exists() for seed in range(3) for number in range(4))
    assert images.read_png(output / "grid.png").shape[1] > 4 * 128 and (output / "path.png").exists()
    assert cli.main([*given, *edits]) == 1 and "exists already" in capsys.readouterr().err
    edited = ["edit", "avatars", "--latents", str(output / "latents.safetensors"), "--direction", "smile"]
    assert cli.main([*edited, "--output", str(tmp_path / "more")]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "nothing to change"),
        (["--to", "smile"], "'smile' is not like smile=1"),
        (["--to", "smile=2"], "probabilities are from 0 to 1"),
        (["--to", "smiles=1"], "there is no attribute 'smiles'; perhaps you meant smile"),
        (["--caption", "a man"], "captioner"),
        (["--keypoints", "missing.csv"], "missing.csv"),
        (["--keypoints", "wrong.csv"], "keypoints of shape (3, 2); (68, 2)"),
    ],
)
def test_what_does_not_fit_is_said(
    given: list[str],
    message: str,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    """Protects: one line that names what was wrong; no folder is left."""
    monkeypatch.chdir(tmp_path)
    np.savetxt("wrong.csv", np.zeros((3, 2)), delimiter=",")
    assert cli.main(["manipulate", "avatars", "--surrogate", str(trained), "--output", "x", *given]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "x").exists()


@pytest.mark.slow
def test_captions_close_the_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: a network of captions is trained first, then the mapping; the command says what embeds sentences, and
    unknown words are refused."""
    given = ["train-surrogate", "avatars", "--output", str(tmp_path / "captions"), "--condition", "captions", *SMALL]
    assert cli.main([*given, "--captioner-images", "128"]) == 0
    assert "captions are embedded by a bag of words" in capsys.readouterr().out
    edit = ["manipulate", "avatars", "--surrogate", str(tmp_path / "captions"), "--seeds", "0", "--max-steps", "1"]
    assert cli.main([*edit, "--output", str(tmp_path / "a"), "--caption", "a smiling woman"]) == 0
    assert (tmp_path / "a" / "seed0000_1.png").exists()
    assert cli.main([*edit, "--output", str(tmp_path / "b"), "--caption", "a purple dragon"]) == 1
    assert "unknown words" in capsys.readouterr().err


@pytest.mark.slow
def test_options_of_train_surrogate_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for given, message in (
        (["--samples", "10"], "100 or more"),
        (["--space", "w_plus"], "no vectors; z would be right"),
        (["--condition", "attributes", "attributes"], "the same twice"),
        (["--steps", "150"], "a multiple would be right"),
    ):
        assert cli.main(["train-surrogate", "avatars", "--output", str(tmp_path / "x"), *SMALL, *given]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_another_classifier_has_to_name_its_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: names and scores that do not fit are refused before anything is drawn."""
    config = AttributesConfig(attributes=3)
    params = families.init(jax.random.key(0), config=config)
    checkpoints.save(tmp_path / "classifier", params=params, config=config, metadata={})
    given = [
        "train-surrogate",
        "avatars",
        "--output",
        str(tmp_path / "x"),
        "--classifier",
        str(tmp_path / "classifier"),
    ]
    assert cli.main([*given, *SMALL, "--attributes", "a", "b"]) == 1
    assert "scores of shape (3,) for 2 --attributes" in capsys.readouterr().err


def test_targets_hold_what_is_not_named():
    """Protects: only what is named has weight, so that the threshold of 0.1 is the tolerance of each kind."""
    networks = {"attributes": lambda image: jnp.zeros(2), "keypoints": lambda image: jnp.zeros((68, 2))}
    conditions = Conditions(networks, np.zeros(2, np.float32), np.ones(2, np.float32), ("a", "b"))
    c = conditions(jnp.zeros((8, 8, 3)))
    assert c.shape == (138,) and np.allclose(c[:2], 0.5)
    goal, weights = conditions.target(c, attributes={"B": 1.0})
    np.testing.assert_allclose(goal[:2], [0.5, 1.0])
    assert weights[1] == 1 and float(weights.sum()) == 1
    goal, weights = conditions.target(c, keypoints=np.full((68, 2), 0.03 / np.sqrt(2)))
    assert np.isclose(np.sqrt(np.sum(weights * np.square(goal - c))), 0.1, rtol=1e-5)
    with pytest.raises(ValueError, match="of attributes and keypoints, not of captions"):
        conditions.target(c, caption=np.zeros(3))
    with pytest.raises(ValueError, match="nothing to change"):
        conditions.target(c)


def test_measures_become_probabilities():
    """Protects: log odds stay; of other scores half of the samples are above 0.5, whatever their unit."""
    scores = np.random.default_rng(0).normal((0.3, 40), (1, 12), (500, 2)).astype(np.float32)
    middle, scale = calibrated(scores, signed=np.array([True, False]))
    assert middle[0] == 0 and scale[0] == 1
    odds = scale[1] * (scores[:, 1] - middle[1])
    assert abs(np.mean(odds > 0) - 0.5) < 0.05 and np.isclose(np.std(odds), 1.702, atol=1e-3)
    assert set(faces.DECIDED) < set(faces.SIGNED)
