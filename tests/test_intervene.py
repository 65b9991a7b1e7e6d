"""`jaxedit intervene`: Style Intervention from the command line."""

import dataclasses
import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxedit import Direction, cli, images, load_direction, save_direction, stage_programs
from jaxedit.cli.masks import read_mask
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator


@pytest.fixture
def inputs(tmp_path: Path, config: StyleGAN2Config, generator: StyleGAN2Generator) -> Path:
    """A Z direction, a normal in S, and a mask, for the tiny generator."""
    random = np.random.default_rng(0)
    widths = {"z": config.z_dim, "s": sum(layer.width for layer in config.style_layers)}
    for space, width in widths.items():
        vector = random.standard_normal(width).astype(np.float32)
        made: Any = space
        direction = Direction(name=space, space=made, vector=vector, source=generator.fingerprint)
        save_direction(tmp_path / f"{space}.safetensors", direction)
    mask = np.zeros((32, 32, 3), np.uint8)
    mask[8:24, 8:24] = 255
    images.save_png(tmp_path / "mask.png", mask)
    return tmp_path


def intervene(*arguments: object) -> int:
    return cli.main(["intervene", *map(str, arguments)])


def options(inputs: Path, strength: str = "0.5") -> tuple[object, ...]:
    directions = (
        "--direction",
        inputs / "z.safetensors",
        "--normal",
        inputs / "s.safetensors",
        "--strengths",
        strength,
    )
    return (*directions, "--mask", inputs / "mask.png", "--max-steps", "3", "--mode", "joint")


def measured(output: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in (output / "intervene.jsonl").read_text().splitlines()]
    return {row["picture"]: row for row in rows}


@pytest.mark.slow
def test_pictures_change_less_outside_the_mask(inputs: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: files, the record with its numbers, resuming, and the batch that is filled up with copies."""
    output = inputs / "out"
    command = (checkpoint, "--seeds", "0-2", *options(inputs), "--output", output, "--batch-size", "8", "--grid")
    assert intervene(*command) == 0
    names = [f"seed{seed:04d}_z+0.5.png" for seed in range(3)]
    written = [*names, "grid.png", "intervene.json", "intervene.jsonl"]
    assert sorted(path.name for path in output.iterdir()) == sorted(written)
    assert json.loads((output / "intervene.json").read_text())["mode"] == "joint"
    assert list(measured(output)) == names
    for row in measured(output).values():
        assert 0 < row["outside_mse"] < row["outside_mse_plain"] and 1 <= row["steps"][0] <= 3
    assert images.read_png(output / "grid.png").shape[0] == 20 + 3 * 128
    assert "3 pictures written" in capsys.readouterr().out

    kept = (output / names[0]).read_bytes()
    (output / names[2]).unlink()
    assert intervene(*command) == 1 and "exist already" in capsys.readouterr().err
    assert intervene(*command, "--existing", "skip") == 0
    assert "1 pictures written, 2 kept" in capsys.readouterr().out
    assert (output / names[0]).read_bytes() == kept and (output / names[2]).exists()
    assert set(measured(output)) == set(names)
    assert intervene(*command, "--existing", "skip", "--learning-rate", "0.2") == 1
    assert "another learning_rate" in capsys.readouterr().err
    more = (*command[:2], "3-4", *command[3:-1])
    assert intervene(*more) == 0 and intervene(*more, "--existing", "overwrite") == 0
    assert len(measured(output)) == 5 and len((output / "intervene.jsonl").read_text().splitlines()) == 5


@pytest.mark.slow
def test_all_devices_share_a_batch(inputs: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: every program of the loop from computing everything on every device."""
    render, drawn = stage_programs.render, []

    def watched(*arguments: Any, **options: Any) -> Any:
        pictures, pull = render(*arguments, **options)
        slopes = pull(jnp.ones_like(pictures))
        drawn.extend((pictures, slopes))
        return render(*arguments, **options)

    monkeypatch.setattr(stage_programs, "render", watched)
    assert intervene(checkpoint, "--seeds", "0-7", *options(inputs), "--output", inputs / "out") == 0
    assert drawn
    for leaf in drawn:
        assert {shard.data.shape[0] for shard in leaf.addressable_shards} == {1} and len(leaf.addressable_shards) == 8


@pytest.mark.slow
def test_latents_and_masks_of_their_own(inputs: Path, checkpoint: Path, config: StyleGAN2Config, capsys):
    """Protects: W+ codes with W directions, one mask per picture, and changed masks, which are other settings."""
    random = np.random.default_rng(1)
    np.save(inputs / "codes.npy", random.standard_normal((2, config.num_ws, config.w_dim)).astype(np.float32))
    vector = random.standard_normal(config.w_dim).astype(np.float32)
    save_direction(inputs / "w.safetensors", Direction(name="w", space="w", vector=vector))
    (inputs / "masks").mkdir()
    for index, rows in enumerate((4, 32)):
        mask = np.zeros((32, 32, 3), np.uint8)
        mask[:rows] = 255
        images.save_png(inputs / "masks" / f"code{index:04d}.png", mask)
    arguments = ("--latents", inputs / "codes.npy", *options(inputs, "-0.5"), "--output", inputs / "out")
    changed = ("--direction", inputs / "w.safetensors", "--mask", inputs / "masks")
    assert intervene(checkpoint, *arguments, *changed) == 0
    assert "warning: " in (shown := capsys.readouterr().err) and "code0001.png: every pixel may change;" in shown
    pictures = measured(inputs / "out")
    assert pictures["code0000_w-0.5.png"]["outside_mse"] > 0 and pictures["code0001_w-0.5.png"]["outside_mse"] == 0
    images.save_png(inputs / "masks" / "code0001.png", np.zeros((32, 32, 3), np.uint8))
    assert intervene(checkpoint, *arguments, *changed, "--existing", "skip") == 1


def test_a_negative_strength_is_the_opposite_direction(inputs: Path, checkpoint: Path):
    """Protects: the sign of both displacements, and the unit and the layers of the normal."""
    for space in ("z", "s"):
        direction = load_direction(inputs / f"{space}.safetensors")
        layers = (0, 2) if space == "s" else None
        limited = functools.partial(dataclasses.replace, direction, layers=layers)
        turned = limited(vector=-direction.vector)
        made = {"": limited(), "-": turned, "unit": dataclasses.replace(turned, vector=2 * turned.vector, unit=-0.5)}
        for name, one in made.items():
            save_direction(inputs / f"{space}{name}.safetensors", one)
    found = {}
    for name, strength in (("", "-0.5"), ("-", "0.5"), ("unit", "-0.5")):
        files = ("--direction", inputs / f"z{name}.safetensors", "--normal", inputs / f"s{name}.safetensors")
        arguments = (
            "--seeds",
            "0",
            *options(inputs, strength),
            *files,
            "--output",
            inputs / f"out{name}",
        )
        assert intervene(checkpoint, *arguments) == 0
        (found[name],) = (images.read_png(path) for path in (inputs / f"out{name}").glob("seed*.png"))
    np.testing.assert_array_equal(found[""], found["-"])
    np.testing.assert_array_equal(found[""], found["unit"])


MASKS = {
    "black": (np.zeros((32, 32), np.uint8), "no pixel may change, as none is white (255)"),
    "zero and one": (np.eye(32, dtype=np.uint8), "no pixel may change, as none is white (255)"),
    "white": (np.full((32, 32, 3), 255, np.uint8), "every pixel may change"),
    "alpha": (np.full((32, 32, 4), 255, np.uint8) * np.eye(32, dtype=np.uint8)[..., None], "parts are transparent"),
    "small": (np.eye(16, dtype=np.uint8), "16 x 16 pixels; the images have 32 x 32"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_that_mean_nothing(kind: str, inputs: Path, checkpoint: Path, capsys):
    """Protects: a mask of 0 and 1, one drawn in its transparency, and one that is all alike from passing in silence."""
    pixels, message = MASKS[kind]
    Image.fromarray(pixels).save(inputs / "mask.png")
    command = ("--seeds", "0", *options(inputs), "--direction", inputs / "z.safetensors", "--mask", inputs / "mask.png")
    assert intervene(checkpoint, *command, "--output", inputs / "out") == 1
    shown = capsys.readouterr().err
    assert "mask.png: " in shown and message in shown and shown.count("\n") == 1 and not (inputs / "out").exists()


def test_a_mask_that_is_no_picture_starts_no_program(inputs: Path, checkpoint: Path, capsys, monkeypatch):
    """Protects: PostScript under the name of a picture, which Pillow hands to Ghostscript."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started a program"))
    (inputs / "mask.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EOF\n")
    command = ("--seeds", "0", *options(inputs), "--direction", inputs / "z.safetensors", "--mask", inputs / "mask.png")
    assert intervene(checkpoint, *command, "--output", inputs / "out") == 1
    assert capsys.readouterr().err == f"error: {inputs / 'mask.png'}: no PNG, JPEG or WebP image\n"


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "L"])
def test_masks_of_all_kinds(mode: str, tmp_path: Path):
    """Protects: white is white in one bit, in palettes and beside an opaque alpha channel."""
    white = np.zeros((8, 8), bool)
    white[2:5, 1:7] = True
    picture = Image.fromarray(np.uint8(255 * white)).convert("1" if mode in ("1", "P") else "L").convert(mode)
    picture.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), white)


@pytest.mark.slow
def test_built_in_attributes(tmp_path: Path):
    """Protects: `--attribute` alone, with the package's directions, parser and regions: much less changes outside."""
    arguments = (
        "--attribute",
        "Eyeglasses",
        "beard",
        "--seeds",
        "0-1",
        "--mode",
        "joint",
        "--max-steps",
        "8",
        "--grid",
    )
    assert intervene("avatars", *arguments, "--output", tmp_path / "out") == 0
    pictures = {f"seed000{seed}_{name}+2.5.png" for seed in (0, 1) for name in ("eyeglasses", "beard")}
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"grid.png", *pictures}
    assert json.loads((tmp_path / "out" / "intervene.json").read_text())["region"]["eyeglasses"] == ["l_eye", "r_eye"]
    for row in measured(tmp_path / "out").values():
        assert row["outside_mse"] < 0.5 * row["outside_mse_plain"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--attribute", "smile"), "--attribute is for the built-in generator"),
        (("--normal", "z.safetensors"), "--normal takes one in s"),
        (("--strengths", "0"), "--strengths takes numbers other than 0"),
        (("--max-steps", "0"), "--max-steps is 0"),
        (("--learning-rate", "-1"), "--learning-rate one above 0"),
        (("--attribute-weight", "nan"), "--attribute-weight takes a number from 0 on"),
        (("--truncation-psi", "nan"), "--truncation-psi takes a finite number"),
        (("--truncation-cutoff", "99"), "--truncation-cutoff takes a number of rows"),
        (("--space", "w"), "this direction is in space 'z'"),
        (("--mask", "deep.png"), "a mask has 8 bits or less"),
        (("--region", "beak"), "give either --mask or --region"),
        (("--dilation", "0"), "--dilation is 0"),
        (("--mask", "small.png"), "4 x 4 pixels; the images have 32 x 32"),
        (("--mask", "nowhere.png"), "nowhere.png"),
        (("--noise-mode", "random"), "--noise-mode const or none"),
        (("--latents", "codes.npy"), "give either --seeds or --latents"),
    ],
)
def test_mistakes_are_one_line(
    inputs: Path,
    checkpoint: Path,
    change: tuple[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    """Protects: what was wrong, before anything is compiled or written."""
    monkeypatch.chdir(inputs)
    images.save_png(Path("small.png"), np.zeros((4, 4, 3), np.uint8))
    Image.fromarray(np.zeros((32, 32), np.uint16)).save("deep.png")
    assert intervene(checkpoint, "--seeds", "0", *options(inputs), "--output", "out", *change) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error, error
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("avatars", "--attribute", "wings"), "there is no attribute 'wings'; choose from gender, age"),
        (("avatars", "--attribute", "smile", "--region", "beak"), "no region 'beak'"),
        (("avatars",), "give --attribute"),
    ],
)
def test_mistakes_with_the_built_in_generator(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Protects: the lists of what there is."""
    assert intervene(*arguments, "--seeds", "0", "--output", tmp_path / "out") == 1
    assert message in capsys.readouterr().err
