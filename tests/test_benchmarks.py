"""The benchmarks count and compare what they say; no time is asserted."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from untrained import untrained

from benchmarks import faces, first_picture, floors, latency, latency_lelsd, measure, training
from benchmarks.peers import ada
from jaxedit import families
from jaxedit.generators.mobile_stylegan import MobileStyleGANConfig
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig
from jaxedit.networks.bisenet import BiSeNetConfig


def test_operations_are_the_published_count():
    """74,266,894,336 multiply-adds at 1024 px: transposed convolutions counted at their input."""
    assert floors.operations(StyleGAN2Config()) / 2 == pytest.approx(74.26e9, rel=5e-4)
    assert floors.operations(StyleGAN2Config(resolution=256)) / 2 == pytest.approx(45.12e9, rel=5e-4)
    assert floors.operations(MobileStyleGANConfig()) / 2 == pytest.approx(7.28e9, rel=5e-4)


def test_the_floor_takes_the_larger_of_arithmetic_and_traffic():
    """With infinite bandwidth the floor is arithmetic alone, and the other way round."""
    config = StyleGAN2Config(resolution=64)
    arithmetic = floors.floor_seconds(config, 2, (1e12, float("inf")), 4)
    assert arithmetic == pytest.approx(2 * floors.operations(config) / 1e12)
    traffic = floors.floor_seconds(config, 2, (float("inf"), 1e9), 4)
    assert traffic == pytest.approx(sum(numbers for _, numbers in floors.layer_costs(config)) * 2 * 4 / 1e9)


def test_operations_of_a_discriminator_are_those_of_its_kernels():
    """Every kernel acts once on each of its output pixels."""
    config = DiscriminatorConfig(resolution=64, channel_base=2048, channel_max=128)
    macs = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(families.abstract_params(config)):
        block, layer, kind = (entry.key for entry in path)
        if kind == "kernel":
            size = {"fc": 1, "out": 1}.get(layer, int(block[1:]) // (2 if layer in ("conv1", "skip") else 1))
            macs += size**2 * leaf.size
    assert floors.discriminator_operations(config) == 2 * macs


def test_contenders_take_turns():
    """Contenders alternate, warm-up is not counted, and a contender's own seconds are used."""
    calls = []
    times = measure.in_turns(
        {"a": lambda t: calls.append("a") or 2.0, "b": lambda t: calls.append("b") or 3.0}, 4, warm_up=1
    )
    assert calls == ["a", "b"] * 5
    assert times["a"]["median"] == 2.0
    assert times["b"]["ratio_to_first"] == 1.5


def test_official_names_hold_every_parameter_once():
    """The peer gets the same weights: every number of the tree, kernels of conv0 flipped, affine layers split."""
    config = StyleGAN2Config(resolution=16, z_dim=8, w_dim=8, channel_base=128, channel_max=8)
    params = jax.tree.map(np.asarray, untrained(config))
    named = ada._official_names(params, config)
    assert sum(value.size for value in named.values()) == sum(leaf.size for leaf in jax.tree.leaves(params))
    kernel = params["synthesis"]["b8"]["conv0"]["kernel"]
    np.testing.assert_array_equal(named["synthesis.b8.conv0.weight"][1, 2], kernel[::-1, ::-1, 2, 1])
    np.testing.assert_array_equal(
        named["synthesis.b8.conv1.affine.weight"][3], params["synthesis"]["affine"]["kernel"][:, 8 * 3 + 3]
    )


@pytest.mark.slow
def test_latency_runs_and_reports(tmp_path, monkeypatch):
    """The whole benchmark on a small network: all tasks and precisions, every promised number, images that agree."""
    options = latency.Options(
        resolutions=(8,),
        channel_base=64,
        batches=(2,),
        precisions=("float32", "bfloat16"),
        repeats=2,
        allocator="default",
    )
    monkeypatch.setattr(floors, "measure_ceilings", lambda dtype: (1e12, 1e11))
    *_, result = latency.run(options)
    assert [(row["precision"], row["task"]) for row in result["rows"]] == [
        (precision, task) for precision in ("float32", "bfloat16") for task in ("forward", "gradient", "loop")
    ]
    json.dumps(result)
    for row in result["rows"]:
        assert {"trace", "lower", "compile", "first_call", "peak_bytes"} <= row["stages"].keys()
        assert row["images_per_second"] > 0 and row["percent_of_floor"] > 0
        assert latency.describe(row)
        if row["task"] != "loop":
            assert row["image_error"]["jaxedit"] < (1e-5 if row["precision"] == "float32" else 5e-2)
        else:
            assert "ten calls" in row["steady"]
    assert {"jax", "commit", "device", "freed_memory_kept"} <= result["environment"].keys()


@pytest.mark.slow
def test_latency_of_lelsd_runs_and_reports(monkeypatch):
    """One part and eight, on a small network."""
    monkeypatch.setattr(floors, "measure_ceilings", lambda dtype: (1e12, 1e11))
    monkeypatch.setattr(latency_lelsd, "BiSeNetConfig", functools.partial(BiSeNetConfig, resolution=64))
    options = latency.Options(method="lelsd", resolutions=(16,), channel_base=256, repeats=1, allocator="default")
    *_, result = latency.run(options)
    assert [row["parts"] for row in result["rows"]] == [1, 8]
    for row in result["rows"]:
        assert row["seconds_per_direction"] > 0 and row["percent_of_floor"] > 0 and latency_lelsd.describe(row)


@pytest.mark.slow
def test_training_runs_and_reports(monkeypatch):
    """The whole benchmark on a small network: every kind of step, with what it promises."""
    options = training.Options(
        resolution=8, batch_size=4, channel_base=64, latent=8, augment="ada", repeats=2, allocator="default"
    )
    monkeypatch.setattr(floors, "measure_ceilings", lambda dtype: (1e12, 1e11))
    result = training.run(options)
    json.dumps(result)
    rates = {row["kind"]: row["images_per_second"] for row in result["rows"]}
    assert list(rates) == ["plain", "path length", "path length and R1"]
    assert min(rates.values()) < result["images_per_second"] < max(rates.values())
    kinds = training.shares(training.gan_config(options))
    assert kinds == {"plain": 12 / 16, "path length": 3 / 16, "path length and R1": 1 / 16}
    assert training.describe(result)


def test_missing_peer_is_one_line(tmp_path):
    """A wrong --peer-ada ends in one line, without a traceback."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.latency",
        "--resolutions",
        "8",
        "--peer-ada",
        str(tmp_path),
        "--output",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path}: no checkout")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_restart_with_huge_pages_happens_once():
    """The program starts anew with the allocator setting added to what was set, and only once."""
    program = (
        "import os, sys; from jaxedit.memory import restart_with_huge_pages\n"
        "print('started', flush=True); restart_with_huge_pages(); print(os.environ['GLIBC_TUNABLES'], sys.argv[1:])"
    )
    environment = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.check=0"}
    done = subprocess.run([sys.executable, "-c", program, "a b"], capture_output=True, text=True, env=environment)
    if sys.platform.startswith("linux"):
        last = "glibc.malloc.check=0:glibc.malloc.hugetlb=1 ['a b']"
        assert done.stdout.splitlines() == ["started", "started", last], done.stderr


def test_freed_memory_is_kept():
    """Protects: the allocator setting is accepted where glibc is, and JAX computes as before with it."""
    program = (
        "import platform; from jaxedit.memory import keep_freed_memory\n"
        "assert keep_freed_memory() == (platform.libc_ver()[0] == 'glibc')\n"
        "import jax.numpy as jnp; assert float(jnp.ones((2000, 2000)).sum()) == 4e6\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.slow
def test_first_pictures_are_drawn_cold_and_warm(tmp_path):
    """Protects: the commands are today's, each runs with an empty cache and again, and one that fails is no time."""
    command = [sys.executable, "-m", "benchmarks.first_picture", "--resolutions", "8", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.json")
    rows = json.loads(path.read_text())["rows"]
    assert [(row["command"], row["cache"]) for row in rows] == [
        (f"{name}, 8 px", cache) for name in ("edit", "intervene") for cache in ("cold", "warm")
    ]
    with pytest.raises(SystemExit, match="drew nothing:\nerror: "):
        first_picture.run(sys.executable, ["edit", "nowhere"], folder=tmp_path, cache=tmp_path)


@pytest.mark.slow
def test_sheets_of_a_generator_are_drawn(tmp_path):
    """Samples, truncation and interpolation of any checkpoint, 64 pictures each."""
    faces.main(faces.Options(checkpoint=Path("avatars"), output=tmp_path))
    for name in ("samples", "truncation", "interpolation"):
        with Image.open(tmp_path / f"{name}.jpg") as sheet:
            assert min(sheet.size) >= 8 * 64
