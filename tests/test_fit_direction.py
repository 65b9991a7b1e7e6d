"""`jaxedit fit-direction`: latents and labels in, a direction file out."""

import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

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
        (("--labels", "bytes.txt"), "bytes.txt: not readable as labels .no text in UTF-8"),
        (("--output", "it.npy"), "directions are written as .safetensors files"),
        (("--sparsity", "1"), "--sparsity is 1.0"),
        (("--labels", "few.txt"), "3 labels for 300 latents"),
        (("--labels", "words.txt"), "words.txt, line 2: 'perhaps' is no label; 0 and 1, .* are read"),
        (("--labels", "alike.txt"), "all 300 labels are alike"),
        (("--labels", "single.txt"), "1 of 300 labels are 1; at least two samples of both kinds"),
        (("--fraction", "0.001"), "0.001 of 300 samples is less than one"),
        (("--fraction", "0.9"), "fraction is 0.9; above 0 to 0.5"),
        (("--labels", "alike.txt", "--fraction", "0.1"), "highest and the lowest 30 of 300 scores are not apart"),
        (("--labels", "none.txt"), "No such file"),
        (("--latents-space", "w", "--space", "s"), "--checkpoint is needed"),
        (("--latents-space", "w", "--checkpoint", "ckpt"), "there is no way from w to z"),
        (("--space", "s"), "--space s needs --checkpoint: .* taken to s by --latents-space w"),
        (("--checkpoint", "ckpt", "--space", "w"), r"part0.npy: .* \(20,\); in w of this generator they are \(24,\)"),
        (("--checkpoint", "ckpt", "--space", "s"), r"part0.npy: .* \(20,\); in s of this generator they are \(\d+,\)"),
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
    Path("words.txt").write_text("yes\nperhaps\n")
    Path("alike.txt").write_text("1\n" * 300)
    Path("single.txt").write_text("0\n" * 299 + "1\n")
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


# Folders and labels as people have them.


def folder_of(path: Path, latents: np.ndarray, name: str) -> Path:
    """A file for every latent, made in an order that is not theirs."""
    path.mkdir()
    for index in np.random.default_rng(0).permutation(len(latents)):
        np.save(path / name.format(index), latents[index])
    return path


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ("labels_in_numeric_order.txt", "{}.npy"),
        ("names_with_blanks.csv", "my face {:03}.npy"),
        ("byte_order_mark.csv", "{:03}.npy"),
    ],
)
def test_reported_labels_belong_to_their_latents(cases: Path, tmp_path: Path, labels: str, name: str):
    """Protects: files numbered without zeros, names with blanks, a byte order mark: the direction is the true one."""
    latents = np.load(cases / "labels" / "latents_of_120_files.npy")
    folder, output = folder_of(tmp_path / "latents", latents, name), tmp_path / "it.safetensors"
    assert fit(folder, "--labels", cases / "labels" / labels, "--output", output) == 0
    assert files.load_direction(output).vector[3] > 0.5  # -0.05 in the order of the names as texts
    np.save(tmp_path / "all.npy", latents)
    whole = tmp_path / "whole.safetensors"
    assert fit(tmp_path / "all.npy", "--labels", cases / "labels/labels_in_numeric_order.txt", "--output", whole) == 0
    np.testing.assert_array_equal(files.load_direction(output).vector, files.load_direction(whole).vector)


def test_other_files_of_the_folder_are_not_latents(tmp_path: Path):
    """Protects: hidden files and folders and the labels themselves, whatever their name, are not taken as latents."""
    latents, labels = samples(60)
    folder = folder_of(tmp_path / "latents", latents, "{}.npy")
    for name in ("._3.npy", ".npy", ".ipynb_checkpoints/4.npy", "more.npy/5.npy", "labels.npy"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"something else")
    np.save(folder / "scores.npy", labels.astype(np.float32))
    output = tmp_path / "it.safetensors"
    assert fit(folder, "--labels", folder / "scores.npy", "--space", "z", "--output", output) == 0
    assert files.load_direction(output).vector @ NORMAL > 0.7


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_codes_under_names(tmp_path: Path, suffix: str):
    """Protects: a file with a code under each name, in natural order, or with labels by name."""
    latents, labels = samples(60)
    codes: dict[str, Any] = {f"face {index}": latents[index] for index in np.random.default_rng(0).permutation(60)}
    path, output = tmp_path / f"codes{suffix}", tmp_path / "it.safetensors"
    np.savez(path, **codes) if suffix == ".npz" else safetensors.numpy.save_file(codes, path)
    (tmp_path / "named.csv").write_text("".join(f"face {i},{label}\n" for i, label in reversed([*enumerate(labels)])))
    np.savetxt(tmp_path / "ordered.txt", labels)
    for table in ("named.csv", "ordered.txt"):
        options = ("--labels", tmp_path / table, "--space", "z", "--output", output, "--existing", "overwrite")
        assert fit(path, *options) == 0
        assert files.load_direction(output).vector @ NORMAL > 0.7


@pytest.mark.parametrize("save", [np.save, np.savez])
def test_many_files_do_not_stay_open(tmp_path: Path, save: Callable[..., None]):
    """Protects: folders of more files than a process may have open."""
    latents, labels = samples(60)
    folder = tmp_path / "latents"
    folder.mkdir()
    np.savetxt(folder / "labels.txt", labels)
    for index, latent in enumerate(latents):
        save(folder / f"{index}{'.npy' if save is np.save else '.npz'}", latent)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    try:
        assert fit(folder, "--space", "z", "--output", tmp_path / "it.safetensors") == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_nothing_is_fitted_to_numbers_that_are_not_finite(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Protects: the file and the row of NaN, infinity, or a double too large; halves and doubles are read."""
    latents, _ = samples()
    output = tmp_path / "it.safetensors"
    for value in (np.nan, np.inf, 1e300):
        part = latents[100:200].astype(np.float64)
        part[7, 3] = value
        np.save(folder / "data" / "part1.npy", part)
        assert fit(folder / "data", "--space", "z", "--output", output) == 1
        assert "part1.npy: row 7 holds values that are not finite" in capsys.readouterr().err
    np.save(folder / "data" / "part1.npy", latents[100:200].astype(np.float64))
    np.save(folder / "data" / "part2.npy", latents[200:].astype(np.float16))
    assert fit(folder / "data", "--space", "z", "--output", output) == 0


def test_everything_is_judged_before_it_is_read(folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: a file that claims gigabytes costs nothing; W latents of the generator are no styles."""
    with (folder / "data" / "part3.npy").open("wb") as file:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (1 << 24, 512)}
        np.lib.format.write_array_header_1_0(file, shape)
        file.truncate(file.tell() + (1 << 35))
    assert fit(folder / "data", "--space", "z", "--output", folder / "it.safetensors") == 1
    assert "part3.npy: latents of shape (512,); those before are (20,)" in capsys.readouterr().err
    np.save(folder / "w.npy", np.ones((300, 24), np.float32))
    arguments = ("--labels", folder / "data" / "labels.txt", "--checkpoint", checkpoint)
    assert fit(folder / "w.npy", *arguments, "--space", "s", "--output", folder / "it.safetensors") == 1
    assert "w.npy: latents of shape (24,); in s of this generator they are" in capsys.readouterr().err


def test_directions_are_no_latents(folder: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: a direction between the latents, or instead of them, is found by what its file says."""
    made = folder / "data" / "smile.safetensors"
    assert fit(folder / "data", "--space", "z", "--output", made) == 0
    for latents, message in [
        (folder / "data", "smile.safetensors: holds a direction; in a folder of latents"),
        (made, "smile.safetensors: a direction, not latents"),
    ]:
        options = ("--labels", folder / "data" / "labels.txt", "--space", "z", "--output", folder / "it.safetensors")
        assert fit(latents, *options) == 1
        assert message in capsys.readouterr().err
