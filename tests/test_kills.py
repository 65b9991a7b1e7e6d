"""Programs that are stopped over and over: the same command brings them to the files of one that nothing stopped."""

import functools
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import killing
import numpy as np
import official_formats as official
import pytest

from jaxedit import Direction, images, save_direction
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig

TRAIN = (
    *("-m", "jaxedit", "train-stylegan2", "--data", "avatars", "--resolution", "8", "--batch-size", "8"),
    *("--images", "72", "--snapshot-images", "32", "--channel-base", "64", "--channel-max", "8"),
    *("--z-dim", "6", "--w-dim", "5"),
)
DRAW = ("--seeds", "0-4", "--batch-size", "2", "--existing", "skip")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, config: StyleGAN2Config) -> Path:
    """Directions in Z and in S, a mask, and a foreign checkpoint."""
    folder, random = tmp_path_factory.mktemp("inputs"), np.random.default_rng(0)
    widths: dict[Any, int] = {"z": config.z_dim, "s": sum(layer.width for layer in config.style_layers)}
    for space, width in widths.items():
        vector = random.standard_normal(width).astype(np.float32)
        save_direction(folder / f"{space}.safetensors", Direction(name=space, space=space, vector=vector))
    mask = np.zeros((32, 32, 3), np.uint8)
    mask[8:24, 8:24] = 255
    images.save_png(folder / "mask.png", mask)
    discriminator = DiscriminatorConfig(resolution=32, channel_base=512, channel_max=32)
    pairs = [(official.random_params(architecture), architecture) for architecture in (config, discriminator)]
    official.write_ada(folder / "foreign.pkl", *pairs)
    return folder


def generate(inputs: Path, checkpoint: Path, output: Path) -> list[str]:
    return ["-m", "jaxedit", "generate", str(checkpoint), "--grid", *DRAW, "--output", str(output)]


def edit(inputs: Path, checkpoint: Path, output: Path) -> list[str]:
    what = ("--direction", str(inputs / "z.safetensors"), "--strengths", "-1", "1", "--grid")
    return ["-m", "jaxedit", "edit", str(checkpoint), *what, *DRAW, "--output", str(output)]


def intervene(inputs: Path, checkpoint: Path, output: Path) -> list[str]:
    files = {"--direction": "z.safetensors", "--normal": "s.safetensors", "--mask": "mask.png"}
    what = [part for option, name in files.items() for part in (option, str(inputs / name))]
    few = ("--mode", "joint", "--max-steps", "4", "--strength", "0.5")
    return ["-m", "jaxedit", "intervene", str(checkpoint), *what, *few, *DRAW, "--output", str(output)]


def convert(inputs: Path, checkpoint: Path, output: Path) -> list[str]:
    return ["-m", "weights_convert", str(inputs / "foreign.pkl"), str(output / "network")]


def train(inputs: Path, checkpoint: Path, output: Path) -> list[str]:
    return [*TRAIN, "--output", str(output)]


KILL, INTERRUPT = signal.SIGKILL, signal.SIGINT
CASES = [
    *((program, KILL, 10) for program in (generate, edit, intervene, convert, train)),
    *((program, INTERRUPT, 4) for program in (edit, intervene, train)),
]


@pytest.mark.slow
@pytest.mark.parametrize("program, number, times", CASES)
def test_signals_leave_no_trace(
    program: Callable, number: int, times: int, inputs: Path, checkpoint: Path, tmp_path: Path
):
    """Protects: hours of work on machines that are taken away: the same bytes at the end, and no file too much.
    Programs that are interrupted have no time to lose, but leave nothing half-written even before they go on."""
    whole, stopped, cache, chosen = tmp_path / "whole", tmp_path / "stopped", tmp_path / "cache", random.Random(0)
    run = functools.partial(killing.run, cache=cache, number=number)
    code, changes = run(program(inputs, checkpoint, whole), folder=whole)
    assert code == 0
    count = finished = 0
    while count < times or not finished:
        at = chosen.randint(1, changes) if count < times else 0
        code, _ = run(program(inputs, checkpoint, stopped), folder=stopped, kill_at=at)
        if code == 0 or (stopped / "network").exists():  # a conversion that is complete is not repeated
            finished += 1
            found = killing.contents(stopped)
            found.pop(".network.lock", None)  # of a kill between the last two changes
            assert found == killing.contents(whole)
            shutil.rmtree(stopped)
        else:
            assert code == (-number if number == KILL else 128 + number), "neither finished nor stopped"
            count += 1
            assert number == KILL or not list(stopped.rglob("*.partial"))
