"""Face networks together, and in the commands that take them, with random weights."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import checkpoints, cli, faces, families, images, load_direction, regions, save_direction
from jaxedit.cli import demo
from jaxedit.directions import ffhq
from jaxedit.generators.mobile_stylegan import MobileStyleGANConfig
from jaxedit.spaces import Direction

MOBILE = MobileStyleGANConfig(channels=(16, 16, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def drawn(config: Any, seed: int) -> Any:
    """Random weights that keep the size of what they multiply."""
    leaves, tree = jax.tree.flatten(families.abstract_params(config))
    made = [
        normal(seed + i, *leaf.shape) * np.float32(np.prod(leaf.shape[:-1]) ** -0.5) for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(tree, made)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five networks as the converter leaves them, and a generator."""
    path = tmp_path_factory.mktemp("networks")
    for index, name in enumerate(faces.FAMILIES):
        config = families.FAMILIES[name].config()
        checkpoints.save(path / "faces" / name, params=drawn(config, index), config=config, metadata={})
    checkpoints.save(path / "mobile", params=drawn(MOBILE, 9), config=MOBILE, metadata={})
    return path


@pytest.mark.slow
def test_an_image_is_judged_by_all_networks(folder: Path):
    """Protects: one call gives landmarks, attributes and identity, all with finite gradients, and a mask."""
    networks = faces.load(folder / "faces")
    image = jnp.asarray(np.clip(0.3 * normal(1, 96, 128, 3), -1, 1))

    def summed(image: jax.Array) -> Any:
        found = networks.judge(image)
        return found.attributes.sum(), found

    slope, found = jax.jit(jax.grad(summed, has_aux=True))(image)
    assert found.landmarks.shape == (68, 2) and found.identity.shape == (128,)
    assert found.attributes.shape == (len(faces.ATTRIBUTES),) and set(faces.SIGNED) < set(faces.ATTRIBUTES)
    assert all(np.isfinite(part).all() for part in found)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0
    mask = networks.mask(image, region="eyes+mouth")
    expected = regions.landmark_mask(found.landmarks, region="eyes+mouth", height=96, width=128)
    np.testing.assert_array_equal(mask, expected)


FULL_WIDTH = MobileStyleGANConfig(channels=(16, 16, 8, 8), z_dim=16, mapping_layers=2)


@pytest.mark.slow
def test_directions_that_come_with_the_package_move_faces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Protects: the demo and `edit` take the directions by name, and refuse a generator that they were not made for."""
    directions = ffhq.load_directions()
    assert [direction.name for direction in directions] == list(ffhq.NAMES)
    assert all(direction.space == "w" and np.shape(direction.vector) == (512,) for direction in directions)
    with pytest.raises(ValueError, match="there is no direction 'beard'; there are smile"):
        ffhq.load_direction("beard")
    checkpoints.save(tmp_path / "ckpt", params=drawn(FULL_WIDTH, 9), config=FULL_WIDTH, metadata={})
    monkeypatch.setattr(demo, "SEEDS", (0, 1))
    given = ["demo", str(tmp_path / "ckpt"), "--output", str(tmp_path / "demo")]
    assert cli.main(given) == 1 and "made for another generator" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists() or not list((tmp_path / "demo").iterdir())
    assert cli.main([*given, "--any-generator"]) == 0
    assert len(list((tmp_path / "demo").glob("seed0001*.png"))) == 1 + 2 * len(ffhq.NAMES)
    assert images.read_png(tmp_path / "demo" / "grid.png").ndim == 3
    move = ["edit", str(tmp_path / "ckpt"), "--direction", "smile", "--any-generator", "--seeds", "0"]
    assert cli.main([*move, "--truncation-psi", "0.7", "--strengths", "2", "--output", str(tmp_path / "edit")]) == 0
    pictures = [
        images.read_png(path)
        for path in (tmp_path / "edit" / "seed0000_+2.png", tmp_path / "demo" / "seed0000_+smile.png")
    ]
    np.testing.assert_allclose(pictures[0].astype(int), pictures[1].astype(int), atol=1)


def test_measures_have_the_signs_that_their_names_say():
    """Protects: an open mouth, narrow eyes and a face turned to the right have larger numbers."""
    points = np.zeros((68, 2), np.float32)
    points[[0, 16, 30]] = [-0.5, 0], [0.5, 0], [0, 0]
    points[[48, 54]] = [-0.2, 0.4], [0.2, 0.4]
    points[[61, 62, 63, 65, 66, 67]] = [[x, 0.4] for x in (-0.1, 0, 0.1, 0.1, 0, -0.1)]
    for first in (36, 42):
        middle = -0.3 if first == 36 else 0.3
        points[first : first + 6] = [
            [middle + x, -0.2 + y]
            for x, y in ((-0.1, 0), (-0.05, -0.04), (0.05, -0.04), (0.1, 0), (0.05, 0.04), (-0.05, 0.04))
        ]
    changed = points.copy()
    changed[[65, 66, 67], 1] += 0.1
    changed[[37, 38, 43, 44], 1] += 0.04
    changed[30, 0] += 0.1
    zeros = jnp.zeros(7)
    before, after = (
        faces._attributes(jnp.float32(30), jnp.float32(1), zeros, jnp.asarray(p)) for p in (points, changed)
    )
    named = {name: (float(b), float(a)) for name, b, a in zip(faces.ATTRIBUTES, before, after, strict=True)}
    np.testing.assert_allclose(named["mouth_open"], (0, 0.25), atol=1e-6)
    np.testing.assert_allclose(named["narrow_eyes"], (-0.4, -0.2), atol=1e-6)
    np.testing.assert_allclose(named["yaw"], (0, 0.2), atol=1e-6)
    assert named["age"] == (30, 30) and named["gender"] == (-1, -1)
    np.testing.assert_allclose(named["smile"], -np.log(6), rtol=1e-6)


def test_missing_and_misplaced_networks_are_named(folder: Path, tmp_path: Path):
    """Protects: a folder that is not the converter's."""
    with pytest.raises(FileNotFoundError, match="face_detector: no checkpoint"):
        faces.load(tmp_path)
    (tmp_path / "face_detector").symlink_to(folder / "faces" / "age_gender")
    with pytest.raises(checkpoints.CheckpointError, match="holds age_gender, not face_detector"):
        faces.load(tmp_path)


@pytest.mark.slow
def test_directions_are_fitted_to_what_networks_say(folder: Path, tmp_path: Path, capsys: Any):
    """Protects: `fit-direction --samples` for photographs and avatars, in W and S, by 0 or the median or extremes."""
    command = ["fit-direction", "--checkpoint", str(folder / "mobile"), "--faces", str(folder / "faces")]
    for attribute, space, more in (("age", "w", []), ("yaw", "s", ["--fraction", "0.3"])):
        file = tmp_path / f"{attribute}.safetensors"
        options = ["--attribute", attribute, "--samples", "40", "--space", space, *more]
        assert cli.main([*command, *options, "--output", str(file)]) == 0
        direction = load_direction(file, generator=checkpoints.load(folder / "mobile"))
        assert direction.space == space and np.isfinite(direction.vector).all() and np.any(direction.vector)
    file = tmp_path / "smile.safetensors"
    options = ["--checkpoint", "avatars", "--attribute", "smile", "--samples", "60", "--output", str(file)]
    assert cli.main(["fit-direction", *options]) == 0
    assert "60 samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samples", "40"], "--attribute with it"),
        (["--samples", "3", "--attribute", "age"], "20 or more"),
        (["--samples", "40", "--attribute", "agee"], "age"),
        (["--samples", "40", "--attribute", "age", "--latents-space", "w"], "they are in z"),
        (["x.npy", "--samples", "40", "--attribute", "age"], "takes the place of latents"),
        ([], "give latents, or --samples"),
    ],
)
def test_samples_that_cannot_be_are_refused(folder: Path, tmp_path: Path, capsys: Any, options: Any, message: str):
    """Protects: one line before anything is drawn."""
    command = ["fit-direction", "--checkpoint", str(folder / "mobile"), "--faces", str(folder / "faces"), *options]
    assert cli.main([*command, "--output", str(tmp_path / "out.safetensors")]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_interventions_keep_to_regions_by_landmarks(folder: Path, tmp_path: Path, capsys: Any):
    """Protects: `intervene` on another family, with landmarks in place of a parser; what they cannot outline."""
    generator = checkpoints.load(folder / "mobile")
    width = sum(layer.width for layer in MOBILE.style_layers)
    for name, space, size in (("w", "w", MOBILE.w_dim), ("s", "s", width)):
        vector = normal(3, size) / np.float32(np.sqrt(size))
        direction = Direction(name=name, space=space, vector=vector, source=generator.fingerprint)
        save_direction(tmp_path / f"{name}.safetensors", direction)
    command = [
        "intervene",
        str(folder / "mobile"),
        "--seeds",
        "0",
        "--faces",
        str(folder / "faces"),
        "--max-steps",
        "2",
    ]
    command += ["--direction", str(tmp_path / "w.safetensors"), "--normal", str(tmp_path / "s.safetensors")]
    assert cli.main([*command, "--region", "face", "--mode", "joint", "--output", str(tmp_path / "out")]) == 0
    assert images.read_png(next((tmp_path / "out").glob("seed*.png"))).shape == (64, 64, 3)
    assert cli.main([*command, "--region", "hair", "--output", str(tmp_path / "hair")]) == 1
    assert "no landmarks outline 'hair'" in capsys.readouterr().err
