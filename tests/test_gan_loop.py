"""The training loop: a killed training goes on as if nothing had happened; its files; what it refuses; its command."""

import dataclasses
import json
import random
import signal
import sys
from pathlib import Path

import jax
import killing
import numpy as np
import pytest
from killing import contents
from PIL import Image

from jaxedit import checkpoints, claims, images
from jaxedit.cli import train_stylegan2 as command
from jaxedit.cli.options import TrainStyleGAN2
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig
from jaxedit.training import loop
from jaxedit.training.gan_config import GanConfig

CONFIG = GanConfig(
    generator=StyleGAN2Config(resolution=8, z_dim=6, w_dim=5, channel_base=64, channel_max=8, mapping_layers=2),
    discriminator=DiscriminatorConfig(resolution=8, channel_base=64, channel_max=8),
    batch_size=8,
    r1_gamma=1.0,
    r1_interval=3,
    path_length_interval=2,
)
SCHEDULE = loop.Schedule(total_images=72, log_steps=2, picture_steps=4, snapshot_steps=4)


def reals(step: int) -> np.ndarray:
    return np.random.default_rng(step).uniform(-1, 1, (8, 8, 8, 3)).astype(np.float32)


def evaluate(params: dict) -> dict[str, float]:
    return {"brightness": float(params["synthesis"]["b4"]["torgb"]["bias"].sum())}


def main(output: str) -> None:
    """What the processes of these tests run."""
    loop.train(reals, config=CONFIG, schedule=SCHEDULE, output=output, seed=0, data="noise", evaluate=evaluate)


def run(output: Path, cache: Path, kill_at: int = 0) -> tuple[int, int]:
    return killing.run([__file__, str(output)], folder=output, kill_at=kill_at, cache=cache)


@pytest.fixture(scope="module")
def trainings(tmp_path_factory) -> tuple[Path, Path]:
    """The directory of a training that was killed twice and went on, and of one that was not."""
    folder = tmp_path_factory.mktemp("trainings")
    killed, whole, cache = folder / "killed", folder / "whole", folder / "cache"
    code, changes = run(whole, cache)
    assert code == 0 and changes > 40
    for kill_at in random.Random(0).sample(range(2, changes), 2):
        assert run(killed, cache, kill_at)[0] in (0, -signal.SIGKILL)
        if (killed / "log.jsonl").exists():
            with (killed / "log.jsonl").open("a") as log:
                log.write('{"step": 8, "ima')
    assert run(killed, cache)[0] == 0
    return killed, whole


def lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_nothing_had_happened(trainings):
    """Protects: everything that is learnt from a training, to the last bit."""
    killed, whole = map(contents, trainings)
    assert killed == whole


@pytest.mark.slow
def test_what_a_training_leaves(trainings):
    """Protects: the log's columns, the pictures, two snapshots, checkpoints that know their origin."""
    output = trainings[0]
    log = [line for line in lines(output) if "metrics" not in line]
    assert [line["step"] for line in log] == [2, 4, 6, 8, 9] and log[-1]["images"] == 72
    assert log[-1]["r1_penalty"] is None and log[-1]["path_length"] is not None and log[0]["images_per_second"] > 0
    assert [line["step"] for line in lines(output) if "metrics" in line] == [4, 8, 9]
    names = [f"{count:09d}-psi{psi}.png" for count in (32, 64, 72) for psi in ("0.7", "1")]
    assert sorted(path.name for path in (output / "pictures").iterdir()) == names
    assert images.read_png(output / "pictures" / names[0]).std() > 0
    assert sorted(path.name for path in (output / "snapshots").iterdir()) == [
        "step_8.safetensors",
        "step_9.safetensors",
    ]
    family, config, metadata, _ = checkpoints.read_description(output / "generator")
    assert (family, config, metadata["images"], metadata["data"]) == ("stylegan2", CONFIG.generator, 72, "noise")
    assert checkpoints.load(output / "generator").config == CONFIG.generator


REFUSED = {
    "r1_gamma is 1.0 there, not 2.0": {"config": dataclasses.replace(CONFIG, r1_gamma=2.0)},
    "seed is 0 there, not 1": {"seed": 1},
    "data is noise there, not avatars": {"data": "avatars"},
    "config.generator.w_dim is 5 there, not 7": {
        "config": dataclasses.replace(CONFIG, generator=dataclasses.replace(CONFIG.generator, w_dim=7))
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("message", REFUSED)
def test_another_training_is_refused(message, trainings):
    """Protects: a directory of results from a training with other settings."""
    arguments = {"config": CONFIG, "schedule": SCHEDULE, "seed": 0, "data": "noise", "output": trainings[1]}
    before = lines(trainings[1])
    with pytest.raises(ValueError, match=f"holds another training .*{message}.*; choose another directory"):
        loop.train(reals, **(arguments | REFUSED[message]))
    assert lines(trainings[1]) == before


@pytest.mark.slow
def test_a_second_process_is_refused_and_touches_nothing(trainings, capsys):
    """Protects: the snapshots and the log of a training that runs, from the same command in another window."""
    output = trainings[1]
    with claims.claiming(output):
        before = contents(output)
        with pytest.raises(BlockingIOError, match="whole: another run is writing there"):
            loop.train(reals, config=CONFIG, schedule=SCHEDULE, output=output, seed=0, data="noise")
        assert contents(output) == before


def test_images_that_do_not_fit_are_refused_before_anything_is_compiled(tmp_path, monkeypatch):
    """Protects: minutes of compilation that end in an error from inside of jit; `--init` with a network in grey."""
    monkeypatch.setattr(loop.gan, "init", lambda *_, **__: pytest.fail("compiled"))
    grey = dataclasses.replace(
        CONFIG,
        generator=dataclasses.replace(CONFIG.generator, image_channels=1),
        discriminator=dataclasses.replace(CONFIG.discriminator, image_channels=1),
    )
    with pytest.raises(ValueError, match=r"have the shape \(8, 8, 8, 3\); the networks take \(8, 8, 8, 1\)"):
        loop.train(reals, config=grey, schedule=SCHEDULE, output=tmp_path / "out", seed=0, data="noise")


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path):
    """Protects: one line instead of an error from inside of jit."""
    with pytest.raises(ValueError, match="batch_size is 4; it has to be a multiple of the 8 devices"):
        config = dataclasses.replace(CONFIG, batch_size=4)
        loop.train(reals, config=config, schedule=SCHEDULE, output=tmp_path / "out", seed=0, data="noise")
    assert not (tmp_path / "out").exists()


def test_a_schedule_that_does_not_fit_is_refused():
    """Protects: pictures are of snapshots, or those of a stopped process could not be made up for."""
    with pytest.raises(ValueError, match="picture_steps is 10; it has to be a multiple of snapshot_steps"):
        loop.Schedule(total_images=10, log_steps=2, picture_steps=10, snapshot_steps=4)
    with pytest.raises(ValueError, match="total_images is 0; it has to be positive"):
        loop.Schedule(total_images=0)


@pytest.fixture
def called(monkeypatch) -> dict:
    """What the command hands to the loop."""
    found = {}
    monkeypatch.setattr(command, "train", lambda images_at, **arguments: found.update(arguments, images_at=images_at))
    return found


def test_the_command_trains_on_a_folder(tmp_path, called, checkpoint):
    """Protects: options to configuration, the architecture of --init, and the default weight of R1."""
    for index in range(5):
        Image.new("RGB", (40, 32), (50 * index, 0, 0)).save(tmp_path / f"{index}.png")
    options = TrainStyleGAN2(data=str(tmp_path), output=tmp_path / "out", images=100, resolution=32, batch_size=4)
    command.run(dataclasses.replace(options, init=checkpoint, augment="ada", mirror=True))
    assert called["images_at"](3).shape == (4, 32, 32, 3)
    initial = checkpoints.load(checkpoint)
    config = called["config"]
    assert config.generator == initial.config and config.discriminator.channel_max == initial.config.channel_max
    assert (config.r1_gamma, config.augment_target) == (0.0002 * 32 * 32 / 4, 0.6)
    assert config.generator_warmup_images == 10_000
    jax.tree.map(np.testing.assert_array_equal, called["generator_params"], initial.params)
    schedule = called["schedule"]
    assert (schedule.log_steps, schedule.snapshot_steps, schedule.total_images) == (250, 5000, 100)


WRONG = {
    "--mirror is for folders of images": {"mirror": True},
    "--init: a generator of 32 px; --resolution is 64": {"resolution": 64, "use_init": True},
    "--snapshot-images is 0; it has to be positive": {"snapshot_images": 0},
    "--images is 0; it has to be positive": {"images": 0},
    "batch_size is 6; it has to be a multiple of 4": {"batch_size": 6},
}


def test_snapshots_come_when_they_were_asked_for(tmp_path, called):
    """Protects: --snapshot-images, which was rounded up to whole intervals of the log without a word."""
    options = TrainStyleGAN2(data="avatars", output=tmp_path / "out", images=60_000, resolution=32, batch_size=24)
    command.run(options)
    assert called["schedule"].snapshot_steps == called["schedule"].picture_steps == 834  # 833.3 steps of 24


def test_damaged_photographs_are_found_before_anything_is_compiled(tmp_path, called):
    """Protects: minutes of compilation that end at the first damaged file."""
    for index in range(4):
        (tmp_path / f"{index}.png").write_bytes(b"half a picture")
    options = TrainStyleGAN2(data=str(tmp_path), output=tmp_path / "out", images=100, resolution=32, batch_size=4)
    with pytest.raises(ValueError, match="4 damaged image"):
        command.run(options)
    assert not called and not (tmp_path / "out").exists()


@pytest.mark.parametrize("message", WRONG)
def test_wrong_options_are_refused(message, tmp_path, called, checkpoint):
    """Protects: one line before anything is compiled or written."""
    changes = dict(WRONG[message])
    if changes.pop("use_init", False):
        changes["init"] = checkpoint
    options = TrainStyleGAN2(data="avatars", output=tmp_path / "out", images=100, resolution=32)
    with pytest.raises(ValueError, match=message):
        command.run(dataclasses.replace(options, **changes))
    assert not called and not (tmp_path / "out").exists()


if __name__ == "__main__":
    main(*sys.argv[1:])
