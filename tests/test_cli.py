"""The command line, as a user runs it: pictures, resuming, one-line errors, no JAX for --help."""

import dataclasses
import functools
import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untrained import untrained

from jaxedit import (
    Direction,
    arrays,
    avatars,
    checkpoints,
    claims,
    cli,
    images,
    load,
    load_direction,
    sample_z,
    save_direction,
    spaces,
)
from jaxedit.cli import demo, drawing
from jaxedit.generators.stylegan2 import StyleGAN2Config


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def failure(capsys, *arguments):
    """Runs a command that must fail; its one line of explanation."""
    capsys.readouterr()
    assert run(*arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1, shown.err
    return shown.err


@pytest.fixture
def smile(tmp_path, config, generator):
    path = tmp_path / "smile.safetensors"
    vector = np.random.default_rng(0).standard_normal(config.w_dim).astype(np.float32)
    save_direction(path, Direction(name="smile", space="w", vector=vector, source=generator.fingerprint))
    return path


def expected_image(generator, w, *, noise="const"):
    return np.asarray(
        images.to_uint8(jax.jit(functools.partial(generator.synthesize, noise=noise))(generator.styles(w)))
    )


def close(path, image):
    return np.abs(images.read_png(path).astype(int) - image.astype(int)).max() <= 1


# Without JAX.


@pytest.mark.parametrize("arguments", [["--help"], ["edit", "--help"], ["generate", "nowhere"], ["nonsense"]])
def test_help_and_usage_errors_do_not_import_jax(arguments):
    code = (
        "import sys; from jaxedit import cli; code = cli.main(sys.argv[1:]); "
        "assert 'jax' not in sys.modules, 'imported JAX'; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    if "--help" in arguments:
        assert done.returncode == 0 and "usage: jaxedit" in done.stdout and not done.stderr
    else:
        assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_python_m_jaxedit_is_the_same_program():
    done = subprocess.run([sys.executable, "-m", "jaxedit", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "usage: jaxedit" in done.stdout


# Pictures.


def test_generate_draws_what_the_library_draws(checkpoint, generator, config, tmp_path, capsys):
    output = tmp_path / "out" / "nested"
    assert run("generate", checkpoint, "--seeds", "3,7-8", "--truncation-psi", 0.5, "--grid", "--output", output) == 0
    assert capsys.readouterr().out == f"{output}: 3 pictures written\n"
    names = ["generate.json", "grid.png", "seed0003.png", "seed0007.png", "seed0008.png"]
    assert sorted(entry.name for entry in output.iterdir()) == names
    for seed in (3, 7, 8):
        w = generator.map(jnp.asarray(sample_z(seed, config.z_dim)), truncation_psi=0.5)
        assert close(output / f"seed{seed:04d}.png", expected_image(generator, w))
    assert images.read_png(output / "grid.png").shape == (2 * (20 + 128), 2 * 128, 3)  # names above enlarged pictures


@pytest.mark.slow
def test_generate_saves_what_fit_direction_takes(tmp_path, capsys):
    """Protects: samples, their latents and their scores become a direction without a line of Python."""
    output, direction = tmp_path / "samples", tmp_path / "glasses.safetensors"
    command = ["generate", "avatars", "--seeds", "0-199", "--truncation-psi", 0.7, "--output", output]
    assert run(*command, "--save-latents", "--scores") == 0
    generator, files = load("avatars"), arrays.read_arrays(output / "w.safetensors")
    z = jnp.asarray(sample_z(70, generator.config.z_dim))
    np.testing.assert_allclose(files["seed0070"], generator.map(z, truncation_psi=0.7), atol=1e-4)
    fit = ["fit-direction", output / "w.safetensors", "--labels", output / "scores.csv", "--attribute", "eyeglasses"]
    assert run(*fit, "--fraction", 0.2, "--checkpoint", "avatars", "--output", direction) == 0
    found, known = load_direction(direction).vector, avatars.load_direction("eyeglasses").vector
    assert found @ known / np.linalg.norm(found) / np.linalg.norm(known) > 0.4
    command = ["generate", tmp_path, "--seeds", "0", "--scores", "--output", tmp_path / "none"]
    assert "built-in generator's pictures only" in failure(capsys, *command)


def test_edit_sweeps_strengths_of_seeds(checkpoint, generator, config, smile, tmp_path):
    output = tmp_path / "out"
    command = ["edit", checkpoint, "--seeds", "0-1", "--direction", smile, "--strengths", -1.5, 0, 2, "--layers", "2-3"]
    assert run(*command, "--output", output) == 0
    assert sorted(path.stem for path in output.glob("*.png")) == sorted(
        f"seed000{seed}_{strength}" for seed in (0, 1) for strength in ("-1.5", "+0", "+2")
    )
    vector = load_direction(smile, generator=generator).vector
    w = np.tile(np.asarray(generator.map(jnp.asarray(sample_z(1, config.z_dim)))), (config.num_ws, 1))
    w[2:4] -= 1.5 * np.asarray(vector)
    assert close(output / "seed0001_-1.5.png", expected_image(generator, jnp.asarray(w)))


def test_edit_adds_directions_by_weight(checkpoint, generator, config, smile, tmp_path):
    output, w = tmp_path / "out", np.random.default_rng(1).standard_normal((9, config.num_ws, config.w_dim))
    np.save(tmp_path / "w.npy", w)
    style = np.random.default_rng(2).standard_normal(sum(layer.width for layer in config.style_layers))
    np.savez(tmp_path / "style.npz", style)
    arguments = ["--direction", smile, "--direction", tmp_path / "style.npz", "--weights", 1, -0.5, "--strengths", 2]
    assert run("edit", checkpoint, "--latents", tmp_path / "w.npy", *arguments, "--output", output) == 0
    assert len(list(output.glob("code*.png"))) == 9
    first, second = (load_direction(path, generator=generator) for path in (smile, tmp_path / "style.npz"))
    styles = spaces.edited(generator, w[8].astype(np.float32), [(first, 2), (second, -1)], start="w_plus")
    image = np.asarray(images.to_uint8(jax.jit(generator.synthesize)(styles)))
    assert close(output / "code0008_+2.png", image)


@pytest.mark.parametrize("shape", [(24,), (3, 24), (8, 24), (2, 8, 24)])
def test_shapes_of_latents(checkpoint, smile, tmp_path, shape):
    np.save(tmp_path / "w.npy", np.zeros(shape, np.float32))
    output = tmp_path / "out"
    assert run("edit", checkpoint, "--latents", tmp_path / "w.npy", "--direction", smile, "--output", output) == 0
    assert len(list(output.glob("*.png"))) == {(24,): 1, (3, 24): 3, (8, 24): 1, (2, 8, 24): 2}[shape]


@pytest.mark.slow
def test_fresh_noise_depends_on_the_seed_only(checkpoint, tmp_path, monkeypatch):
    noisy = ["generate", checkpoint, "--noise-mode", "random"]
    load_plain = checkpoints.load

    def load_noisy(path):
        loaded = load_plain(path)
        strong = jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf + 1.0 if path[-1].key == "noise_strength" else leaf, loaded.params
        )
        return dataclasses.replace(loaded, params=strong)

    monkeypatch.setattr(checkpoints, "load", load_noisy)
    assert run(*noisy, "--seeds", "0-9", "--output", tmp_path / "a") == 0
    assert run(*noisy, "--seeds", "9", "--output", tmp_path / "b") == 0
    assert run("generate", checkpoint, "--seeds", "9", "--output", tmp_path / "c") == 0
    a, b, c = (images.read_png(tmp_path / folder / "seed0009.png").astype(int) for folder in "abc")
    assert np.abs(a - b).max() <= 1 and np.abs(a - c).max() > 20


def test_conditional_networks_need_a_class(tmp_path, capsys):
    config = StyleGAN2Config(resolution=8, z_dim=8, w_dim=8, c_dim=3, channel_base=64, channel_max=8, mapping_layers=1)
    path, output = tmp_path / "conditional", tmp_path / "out"
    params = untrained(config)
    checkpoints.save(path, params=params, config=config, metadata={})
    command = ["generate", path, "--seeds", "0", "--output", output]
    assert "--class 0 to --class 2" in failure(capsys, *command)
    assert "--class 0 to --class 2" in failure(capsys, *command, "--class", 3)
    assert not output.exists()
    assert run(*command, "--class", 2) == 0
    w = load(path).map(jnp.asarray(sample_z(0, 8)), jnp.array([0.0, 0.0, 1.0]))
    assert close(output / "seed0000.png", expected_image(load(path), w))
    assert "another class" in failure(capsys, "generate", path, "--seeds", "1", "--output", output, "--class", 1)


def test_a_run_of_any_length_compiles_once(checkpoint, smile, tmp_path, monkeypatch):
    traces = 0
    render = drawing._render

    def counted(*arguments, **options):
        nonlocal traces
        traces += 1
        return render(*arguments, **options)

    monkeypatch.setattr(drawing, "_render", counted)
    command = ["edit", checkpoint, "--seeds", "0-20", "--direction", smile, "--strengths", -1, 0, 1]
    assert run(*command, "--output", tmp_path / "out") == 0
    assert traces == 1 and len(list((tmp_path / "out").glob("*.png"))) == 63
    assert run(*command, 2, "--output", tmp_path / "again") == 0
    assert traces == 1, "a second run in one process compiles nothing"


def test_pictures_that_are_not_finite_are_named_and_the_others_written(checkpoint, smile, tmp_path, capsys):
    """Protects: no black picture in place of NaN; exit code 1; a second try keeps what was written."""
    output, far = tmp_path / "out", tmp_path / "far.safetensors"
    save_direction(far, dataclasses.replace(load_direction(smile), unit=5e37))
    command = ["edit", checkpoint, "--seeds", "0-1", "--direction", far, "--strengths", 0, 2000, "--grid"]
    assert run(*command, "--output", output) == 1
    shown = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("compiling")]
    warned, *lines, last = shown
    assert "2000 is far beyond" in warned and last.startswith("error: ") and "2 of 4 pictures are not finite" in last
    assert lines == [
        f"warning: {output}/seed000{seed}_+2000.png: not written, its values are not finite numbers" for seed in (0, 1)
    ]
    written = {path.name for path in output.glob("*.png")}
    assert written == {"seed0000_+0.png", "seed0001_+0.png", "grid.png"}


def test_two_runs_into_one_directory(checkpoint, tmp_path, capsys):
    """Protects: two runs of different settings never both report success; the claim ends with the run."""
    output = tmp_path / "out"
    command = ["generate", checkpoint, "--seeds", "0", "--output", output]
    with claims.claiming(output):
        assert "another run is writing there" in failure(capsys, *command)
    assert not output.exists() and run(*command) == 0


def test_leftovers_of_a_killed_run_are_removed(checkpoint, tmp_path):
    """Protects: nothing half-written stays behind for long."""
    output = tmp_path / "out"
    output.mkdir()
    (output / ".seed0000.png.0123.partial").write_bytes(b"half")
    assert run("generate", checkpoint, "--seeds", "0", "--output", output) == 0
    assert sorted(path.name for path in output.iterdir()) == ["generate.json", "seed0000.png"]


# Existing files.


def test_existing_pictures(checkpoint, tmp_path, capsys):
    output = tmp_path / "out"
    command = ["generate", checkpoint, "--output", output, "--seeds"]
    assert run(*command, "0-3") == 0
    third = (output / "seed0002.png").read_bytes()
    (output / "seed0001.png").unlink()
    (output / "seed0002.png").write_bytes(b"not touched")

    message = failure(capsys, *command, "0-4")
    assert "seed0000.png and 2 more exist already" in message and "--existing skip" in message
    assert not (output / "seed0001.png").exists()

    assert run(*command, "0-4", "--existing", "skip") == 0
    assert capsys.readouterr().out == f"{output}: 2 pictures written, 3 kept\n"
    assert (output / "seed0002.png").read_bytes() == b"not touched" and (output / "seed0004.png").exists()
    assert run(*command, "0-4", "--existing", "skip") == 0

    psi = ["--truncation-psi", 0.5]
    assert "another truncation_psi" in failure(capsys, *command, "0-5", "--existing", "skip", *psi)
    assert "another truncation_psi" in failure(capsys, *command, "5", *psi)

    assert run(*command, "0-4", "--existing", "overwrite") == 0
    assert (output / "seed0002.png").read_bytes() == third
    assert run(*command, "0-4", "--existing", "overwrite", *psi) == 0
    assert json.loads((output / "generate.json").read_text())["truncation_psi"] == 0.5


def test_an_interrupted_run_resumes(checkpoint, tmp_path, monkeypatch, capsys):
    output, save, written = tmp_path / "out", images.save_png, []

    def stops(path, image):
        if len(written) == 10:
            raise KeyboardInterrupt
        written.append(path)
        save(path, image)

    monkeypatch.setattr(images, "save_png", stops)
    command = ["generate", checkpoint, "--seeds", "0-29", "--batch-size", 8, "--output", output]
    assert run(*command) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted; the same command with --existing skip goes on"
    assert all(images.read_png(path).shape == (32, 32, 3) for path in output.glob("*.png"))
    before = len(list(output.glob("*.png")))
    assert 0 < before < 30 and not list(output.glob(".*"))
    monkeypatch.setattr(images, "save_png", save)
    assert run(*command, "--existing", "skip") == 0
    assert f"{30 - before} pictures written, {before} kept" in capsys.readouterr().out


def test_overwriting_never_mixes_settings(checkpoint, tmp_path, monkeypatch, capsys):
    """Protects: `--existing skip` keeps pictures of the settings asked for only."""
    output, save = tmp_path / "out", images.save_png
    command = ["generate", checkpoint, "--batch-size", 8, "--output", output, "--existing"]
    assert run(*command, "overwrite", "--seeds", "0-19", "--truncation-psi", 0.1) == 0
    old = {path.name: path.read_bytes() for path in output.iterdir()}
    message = failure(capsys, *command, "overwrite", "--seeds", "0-3")
    assert "seed0004.png and 15 more would stay, made with another truncation_psi" in message
    assert {path.name: path.read_bytes() for path in output.iterdir()} == old

    def stops(path, image):
        if path.name == "seed0009.png":
            raise KeyboardInterrupt
        save(path, image)

    monkeypatch.setattr(images, "save_png", stops)
    assert run(*command, "overwrite", "--seeds", "0-19") == 130
    monkeypatch.setattr(images, "save_png", save)
    assert all(path.read_bytes() != old[path.name] for path in output.glob("*.png"))
    assert run(*command, "skip", "--seeds", "0-19") == 0
    assert all(path.read_bytes() != old[path.name] for path in output.glob("*.png"))
    assert len(list(output.glob("*.png"))) == 20

    record = json.loads((output / "generate.json").read_text())
    del record["noise_mode"]  # as if it had come later
    (output / "generate.json").write_text(json.dumps(record))
    assert run(*command, "skip", "--seeds", "0-19") == 0
    assert "made with another noise_mode" in failure(
        capsys, *command, "skip", "--seeds", "0-19", "--noise-mode", "none"
    )

    (output / "generate.json").write_text("[" * 100000)
    assert "not the record" in failure(capsys, *command, "skip", "--seeds", "0-19")
    assert "would stay" in failure(capsys, *command, "overwrite", "--seeds", "0")
    assert run(*command, "overwrite", "--seeds", "0-19") == 0


# Errors: one line, exit code 1, nothing written, nothing compiled.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0-"], "seeds '0-'"),
        (["--seeds", "5-2"], "'5-2' is not a range"),
        (["--seeds", "a"], "'a' is not a number"),
        (["--seeds", "4294967296"], "from 0 to 4294967295"),
        (["--seeds", "0-4294967295"], "more than 1000000 seeds"),
        (["--seeds", "0", "--class", "1"], "no classes"),
        (["--seeds", "0", "--batch-size", "3"], "batch size 3 is not a positive multiple of the 8 device"),
        (["--seeds", "0", "--batch-size", "0"], "batch size 0"),
        (["--seeds", "0", "--noise-mode", "loud"], "no --noise-mode 'loud'"),
        (["--seeds", "0", "--truncation-psi", "nan"], "finite"),
        (["--seeds", "0", "--truncation-cutoff", "-3"], "rows of W+, 0 to 8"),
        (["--seeds", "0", "--truncation-cutoff", "9"], "rows of W+, 0 to 8"),
        (["--seeds", "0", "--bogus"], "--bogus"),
        ([], "--seeds"),
    ],
)
def test_wrong_options_of_generate(checkpoint, tmp_path, capsys, arguments, message):
    output = tmp_path / "out"
    assert message in failure(capsys, "generate", checkpoint, "--output", output, *arguments)
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --seeds or --latents"),
        (["--seeds", "0", "--latents", "w.npy"], "either --seeds or --latents"),
        (["--seeds", "0", "--no-direction"], "at least one --direction"),
        (["--seeds", "0", "--strengths", "1", "1"], "two values are the same"),
        (["--seeds", "0", "--strengths", "nan"], "finite"),
        (["--seeds", "0-999999", "--strengths", "1", "2"], "more than 1000000 pictures"),
        (["--seeds", "0", "--weights", "1", "2"], "2 values for 1 directions"),
        (["--seeds", "0", "--layers", "6-9"], "layers 0 to 7"),
        (["--seeds", "0", "--layers", "b8.conv0"], "no layer 'b8.conv0'"),
        (["--seeds", "0", "--space", "z"], "space 'w', not 'z'"),
        (["--seeds", "0", "--direction", "absent.npy"], "absent.npy: no such file"),
        (["--seeds", "0", "--direction", "wide.npy"], "(24,) for w, (8, 24) for w_plus"),
        (["--seeds", "0", "--direction", "style.npy", "--layers", "1"], "rows of W+ for some"),
        (["--seeds", "0", "--direction", "absent.pt"], "absent.pt"),
        (["--seeds", "0", "--direction", "zero.npy"], "zero.npy: all values are zero"),
        (["--latents", "direction.safetensors"], "a direction, not latents; give it as --direction"),
        (["--latents", "unit.npy"], "a vector of length 1, which is a direction"),
        (["--latents", "absent.npy"], "absent.npy: no such file"),
        (["--latents", "wide.npy"], "(N, 8, 24) for w_plus or (N, 24) for w"),
        (["--latents", "nan.npy"], "not finite"),
        (["--latents", "integers.npy"], "int64"),
        (["--latents", "none.npy"], "none.npy"),
        (["--latents", "two.npz"], "two.npz: 'a': 2 codes; under a name"),
        (["--latents", "w.npy", "--truncation-psi", "0.7"], "with --seeds"),
        (["--latents", "w.npy", "--direction", "z.npy"], "a direction in z cannot edit --latents in w_plus"),
    ],
)
def test_wrong_options_of_edit(checkpoint, smile, config, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drawing, "_render", lambda *_, **__: pytest.fail("compiled before everything was checked"))
    w = np.zeros((2, config.num_ws, config.w_dim), np.float32)
    arrays = {
        "w": w,
        "nan": w * np.nan,
        "integers": w.astype(np.int64),
        "none": w[:0],
        "wide": np.zeros((3, 512), "f4"),
    }
    arrays |= {"z": np.ones(config.z_dim), "style": np.ones(sum(layer.width for layer in config.style_layers))}
    arrays |= {"zero": np.zeros(config.w_dim), "unit": np.eye(config.w_dim)[:1]}
    shutil.copy(smile, "direction.safetensors")
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    np.savez("two.npz", a=w, b=w)
    direction = [] if "--no-direction" in arguments else ["--direction", smile]
    given = [argument for argument in arguments if argument != "--no-direction"]
    assert message in failure(capsys, "edit", checkpoint, "--output", "out", *direction, *given)
    assert not (tmp_path / "out").exists()


def test_directions_of_another_generator_are_refused(checkpoint, config, tmp_path, capsys):
    other = Direction(name="o", space="w", vector=np.zeros(config.w_dim, np.float32), source="f" * 64)
    save_direction(tmp_path / "other.safetensors", other)
    arguments = ["--seeds", "0", "--direction", tmp_path / "other.safetensors", "--output", tmp_path / "out"]
    assert "another generator (ffffffffffff" in (shown := failure(capsys, "edit", checkpoint, *arguments))
    assert "--any-generator" in shown
    other = dataclasses.replace(other, vector=np.ones(config.w_dim, np.float32))
    save_direction(tmp_path / "other.safetensors", other)
    assert run("edit", checkpoint, *arguments, "--any-generator") == 0
    assert "warning: " in (shown := capsys.readouterr().err) and "made for other weights (ffffffffffff" in shown


def test_built_in_directions_have_names(tmp_path, capsys):
    """Protects: the quick start: an edit without a file, in each of the spaces, and a hint for a wrong name."""
    command = ["edit", "avatars", "--seeds", "0", "--strengths", -3, 3, "--output"]
    assert run(*command, tmp_path / "w", "--direction", "Eyeglasses") == 0
    assert run(*command, tmp_path / "s", "--direction", "eyeglasses", "--space", "s") == 0
    pair = [images.read_png(tmp_path / space / "seed0000_+3.png").astype(int) for space in "ws"]
    without = images.read_png(tmp_path / "w" / "seed0000_-3.png").astype(int)
    assert np.abs(pair[0] - without).max() > 60 and np.abs(pair[0] - pair[1]).max() > 10
    message = failure(capsys, *command, tmp_path / "no", "--direction", "smiel")
    assert "perhaps you meant smile" in message and not (tmp_path / "no").exists()
    assert "built-in directions are in z, w and s" in failure(
        capsys, *command, tmp_path / "no", "--direction", "smile", "--space", "w_plus"
    )


def test_paths_that_are_no_checkpoint_or_directory(checkpoint, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "no checkpoint" in failure(capsys, "generate", tmp_path, "--seeds", "0", "--output", tmp_path / "out")
    assert "not a directory" in failure(capsys, "generate", checkpoint, "--seeds", "0", "--output", tmp_path / "file")
    assert "file" in failure(capsys, "generate", checkpoint, "--seeds", "0", "--output", tmp_path / "file" / "out")


def test_relative_paths(checkpoint, tmp_path, monkeypatch):
    shutil.copytree(checkpoint, tmp_path / "checkpoint")
    monkeypatch.chdir(tmp_path)
    assert run("generate", "checkpoint", "--seeds", "0", "--output", "out") == 0
    assert (tmp_path / "out" / "seed0000.png").exists()


def test_a_damaged_checkpoint_is_one_line(checkpoint, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(checkpoint, damaged)
    params = damaged / "params.safetensors"
    params.write_bytes(params.read_bytes()[:1000])
    command = [
        sys.executable,
        "-m",
        "jaxedit",
        "generate",
        str(damaged),
        "--seeds",
        "0",
        "--output",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr


def test_unexpected_failures_are_one_line_too(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checkpoints, "load", lambda path: 1 / 0)
    command = ["generate", checkpoint, "--seeds", "0", "--output", tmp_path / "out"]
    assert "ZeroDivisionError: division by zero (JAXEDIT_TRACEBACK=1 shows where)" in failure(capsys, *command)
    monkeypatch.setenv("JAXEDIT_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        run(*command)


# info and demo.


def test_info_of_a_checkpoint(checkpoint, config, capsys):
    assert run("info", checkpoint) == 0
    shown = capsys.readouterr().out
    assert "generator (stylegan2), 32 px" in shown and "licence: none" in shown and "w_dim: 24" in shown
    for index, layer in enumerate(config.style_layers):
        assert [str(index), layer.name, str(layer.resolution), layer.kind, str(layer.width), str(layer.w_index)] in [
            line.split() for line in shown.splitlines()
        ]


def test_info_of_directions_and_other_arrays(smile, generator, tmp_path, capsys):
    assert run("info", smile) == 0
    shown = capsys.readouterr().out
    assert "direction smile" in shown and "space: w" in shown and generator.fingerprint in shown
    np.save(tmp_path / "w.npy", np.ones((2, 8, 24), np.float32))
    assert run("info", tmp_path / "w.npy") == 0
    assert "shape (2, 8, 24), float32" in capsys.readouterr().out
    assert "no such file" in failure(capsys, "info", tmp_path / "absent.npy")


def test_info_of_the_built_in_generator(capsys):
    assert run("info", "avatars") == 0
    shown = capsys.readouterr().out
    assert "generator (stylegan2), 64 px" in shown and load("avatars").fingerprint in shown


@pytest.mark.slow
def test_the_demo_edits_the_built_in_generator(tmp_path, monkeypatch, capsys):
    """Protects: the README's first command, and that what it leaves can be edited further."""
    monkeypatch.setattr(demo, "SEEDS", (0,))
    output = tmp_path / "demo"
    output.mkdir()
    (output / "grid.png").write_text("of an earlier demo")
    assert "exists already" in failure(capsys, "demo", "--output", output)
    assert run("demo", "--output", output, "--existing", "overwrite") == 0
    assert "grid.png" in capsys.readouterr().out
    assert images.read_png(output / "grid.png").std() > 30 and len(list(output.glob("seed*.png"))) == 13
    original, *edits = (images.read_png(path).astype(int) for path in sorted(output.glob("seed0000*.png")))
    assert all(abs(edit - original).max() > 20 for edit in edits)
    smile = output / "directions" / "smile.safetensors"
    assert run("edit", "avatars", "--seeds", "0", "--direction", smile, "--output", tmp_path / "more") == 0


@pytest.mark.slow
def test_real_codes_along_real_directions(fixtures, tmp_path, capsys):
    config = StyleGAN2Config(channel_base=1024, channel_max=16, mapping_layers=1)
    path = tmp_path / "checkpoint"
    params = untrained(config)
    checkpoints.save(path, params=params, config=config, metadata={})
    codes = np.load(fixtures / "styleclip" / "w_plus.npy", mmap_mode="r")[:2]
    np.save(tmp_path / "two.npy", codes)
    directions = ["--direction", fixtures / "e4e" / "smile.pt", "--direction"]
    directions += [fixtures / "interfacegan" / "stylegan2_ffhq_w" / "boundary_Bangs.npy"]
    command = ["edit", path, "--latents", tmp_path / "two.npy", *directions, "--strengths", -3, 3, "--layers", "2-7"]
    assert run(*command, "--output", tmp_path / "out") == 0
    pictures = sorted((tmp_path / "out").glob("*.png"))
    assert [picture.name for picture in pictures][:2] == ["code0000_+3.png", "code0000_-3.png"] and len(pictures) == 4
    assert images.read_png(pictures[0]).shape == (1024, 1024, 3)
