"""`jaxedit fit-direction`: latents and labels in, a direction file out."""

import re
from pathlib import Path

import numpy as np
import pytest

from jaxedit import checkpoints, cli
from jaxedit.directions import files

WIDTH = 20  # z of the tiny generator
NORMAL = np.eye(WIDTH)[3]


def samples(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    latents = np.random.default_rng(0).standard_normal((count, WIDTH)).astype(np.float32)
    return latents, (latents @ NORMAL > 0).astype(int)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of latents and a text file of labels, one per latent in the order of the files' names."""
    latents, labels = samples()
    (tmp_path / "data").mkdir()
    for index, part in enumerate(np.split(latents, 3)):
        np.save(tmp_path / "data" / f"part{index}.npy", part)
    np.savetxt(tmp_path / "data" / "labels.txt", labels, fmt="%d")
    return tmp_path


def fit(*arguments: object) -> int:
    return cli.main(["fit-direction", *map(str, arguments)])


def test_a_folder_becomes_a_direction(folder: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: the order of files and labels, and what is printed."""
    output = folder / "made" / "smile.safetensors"
    assert fit(folder / "data", "--space", "z", "--output", output) == 0
    direction = files.load_direction(output)
    assert (direction.name, direction.space, direction.source) == ("smile", "z", "")
    assert direction.vector @ NORMAL > 0.95 and direction.accuracy is not None and direction.accuracy > 0.9
    assert "300 samples" in capsys.readouterr().out
    assert fit(folder / "data", "--space", "z", "--output", output) == 1
    assert "exists already" in capsys.readouterr().err
    assert fit(folder / "data", "--space", "z", "--output", output, "--existing", "overwrite") == 0


def test_labels_by_name(folder: Path):
    """Protects: one latent per file with `NAME,LABEL` lines in any order."""
    latents, labels = samples(60)
    single = folder / "single"
    single.mkdir()
    for index, latent in enumerate(latents):
        np.save(single / f"face{index:02d}.npy", latent)
    lines = [f"face{index:02d}.npy,{label}" for index, label in enumerate(labels)]
    (folder / "table.csv").write_text("\n".join(reversed(lines)) + "\n")
    output = folder / "it.safetensors"
    assert fit(single, "--labels", folder / "table.csv", "--space", "z", "--output", output) == 0
    assert files.load_direction(output).vector @ NORMAL > 0.7


def test_codes_of_w_plus(folder: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: a file with the rows of one W+ code is one latent, and no space of vectors takes it."""
    latents, labels = samples(60)
    single = folder / "single"
    single.mkdir()
    for index, latent in enumerate(latents):
        np.save(single / f"{index:02d}.npy", latent.reshape(5, 4))
    np.save(single / "labels.npy", labels)
    output = folder / "it.safetensors"
    assert fit(single, "--space", "w_plus", "--output", output) == 0
    assert np.shape(files.load_direction(output).vector) == (5, 4)
    np.save(folder / "all.npy", latents.reshape(60, 5, 4))
    arguments = (folder / "all.npy", "--labels", single / "labels.npy", "--output", folder / "other.safetensors")
    assert fit(*arguments, "--space", "w") == 1
    assert "latents of shape (60, 5, 4); 2 axes would be right" in capsys.readouterr().err


def test_scores_choose_the_ends(folder: Path):
    """Protects: `--fraction`, InterFaceGAN's recipe, with labels that are no labels."""
    latents, _ = samples()
    np.save(folder / "all.npy", latents)
    np.save(folder / "scores.npy", 10 * latents @ NORMAL)
    output = folder / "it.safetensors"
    arguments = (folder / "all.npy", "--labels", folder / "scores.npy", "--space", "z", "--output", output)
    assert fit(*arguments, "--fraction", "0.2") == 0 and fit(*arguments, "--existing", "overwrite") == 1
    assert files.load_direction(output).vector @ NORMAL > 0.9


def test_the_generator_takes_latents_to_the_space(folder: Path, checkpoint: Path):
    """Protects: z to S through mapping and affine layers, the sparsity, and the generator's fingerprint."""
    output = folder / "it.safetensors"
    options = ("--latents-space", "z", "--space", "s", "--checkpoint", checkpoint, "--sparsity", "0.9")
    assert fit(folder / "data", *options, "--output", output) == 0
    generator = checkpoints.load(checkpoint)
    direction = files.load_direction(output, generator=generator)
    assert direction.space == "s" and 0.9 <= np.mean(np.asarray(direction.vector) == 0) < 1
    assert direction.source == generator.fingerprint


def test_conditions(folder: Path):
    """Protects: `--condition`, which leaves the other direction alone."""
    first, second = folder / "first.safetensors", folder / "second.safetensors"
    assert fit(folder / "data", "--space", "z", "--output", first) == 0
    latents, _ = samples()
    np.savetxt(folder / "other.txt", latents @ (NORMAL + np.eye(WIDTH)[4]) > 0, fmt="%d")
    arguments = ("--labels", folder / "other.txt", "--space", "z", "--output", second, "--condition", first)
    assert fit(folder / "data", *arguments) == 0
    made, other = files.load_direction(second), files.load_direction(first)
    assert abs(made.vector @ other.vector) < 1e-5 and made.vector[4] > 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--space", "w_plus"), "300 labels for 3 latents"),  # each file is one code of 100 rows
        (("--condition", "other.npy"), r"other.npy: a direction of shape \(8,\); latents \(20,\)"),
        (("--labels", "bytes.txt"), "bytes.txt: not readable as labels"),
        (("--output", "it.npy"), "directions are written as .safetensors files"),
        (("--sparsity", "1"), "--sparsity is 1.0"),
        (("--labels", "few.txt"), "3 labels for 300 latents"),
        (("--labels", "words.txt"), "not readable as labels"),
        (("--labels", "none.txt"), "No such file"),
        (("--latents-space", "w", "--space", "s"), "--checkpoint is needed"),
        (("--latents-space", "w", "--checkpoint", "ckpt"), "there is no way from w to z"),
        (("--checkpoint", "ckpt", "--space", "w"), "shape \\(20,\\) does not fit space 'w'"),
        (("--checkpoint", "ckpt", "--latents-space", "w", "--space", "s"), "in w of this generator they are \\(24,\\)"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path,
    checkpoint: Path,
    change: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    """Protects: what was wrong and what would be right, and no file left behind."""
    monkeypatch.chdir(folder)
    Path("few.txt").write_text("0\n1\n1\n")
    Path("words.txt").write_text("yes\nno\n")
    Path("bytes.txt").write_bytes(b"\xff\xfe1")
    np.save("other.npy", np.ones(8, np.float32))
    options = {"--output": "it.safetensors", "--space": "z"}
    options.update(zip(change[::2], (word.replace("ckpt", str(checkpoint)) for word in change[1::2]), strict=True))
    assert fit("data", *(word for option in options.items() for word in option)) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error), error
    assert not Path("it.safetensors").exists()


def test_a_folder_without_latents(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: the message for an empty folder."""
    assert fit(tmp_path, "--output", tmp_path / "it.safetensors") == 1
    assert "holds no latents" in capsys.readouterr().err
