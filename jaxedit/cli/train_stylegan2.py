"""What `jaxedit train-stylegan2` does: options to configurations, and the data that they name."""

from __future__ import annotations

import math
from typing import Any

from jaxedit import checkpoints, progress
from jaxedit.cli.options import TrainStyleGAN2
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.training.gan_config import GanConfig, config_for
from jaxedit.training.loop import Schedule, train

_AUGMENT_TARGET = 0.6
_LOG_IMAGES = 1000


def run(command: TrainStyleGAN2) -> None:
    """Trains a network, or goes on with it.

    Args:
        command: The options.

    Raises:
        ValueError: An option is wrong, or the output directory holds another training; one line.
        OSError: Something cannot be read or written.
    """
    from jaxedit import datasets

    initial = checkpoints.load(command.init) if command.init else None
    config = gan_config(command, initial.config if initial else None)
    schedule = _schedule(command)
    options: Any = {"size": command.resolution, "batch_size": command.batch_size, "seed": command.seed}
    if command.data == "avatars":
        dataset = datasets.avatars(**options)
    else:
        dataset = datasets.image_folder(command.data, mirror=command.mirror, **options)
        with progress.saying(f"looking for damaged files in {command.data}"):
            datasets.check_images(command.data)
    train(
        lambda step: dataset.batch(step).images,
        config=config,
        schedule=schedule,
        output=command.output,
        seed=command.seed,
        data=f"{command.data}, mirrored" if command.mirror else command.data,
        generator_params=initial.params if initial else None,
    )
    print(f"{command.output / 'generator'}: the trained generator")


def gan_config(command: TrainStyleGAN2, architecture: StyleGAN2Config | None) -> GanConfig:
    """The configuration that options stand for.

    Args:
        command: The options.
        architecture: Of the generator to start from, which overrules that of the options; None for a new one.

    Raises:
        ValueError: An option is wrong; one line.
    """
    if command.mirror and command.data == "avatars":
        raise ValueError("--mirror is for folders of images; avatars are drawn anew for every step")
    if architecture and architecture.resolution != command.resolution:
        raise ValueError(f"--init: a generator of {architecture.resolution} px; --resolution is {command.resolution}")
    generator = architecture or StyleGAN2Config(
        resolution=command.resolution,
        z_dim=command.z_dim,
        w_dim=command.w_dim,
        channel_base=command.channel_base,
        channel_max=command.channel_max,
    )
    return config_for(
        generator,
        batch_size=command.batch_size,
        trained=architecture is not None,
        r1_gamma=command.r1_gamma,
        learning_rate=command.learning_rate,
        augment_target=_AUGMENT_TARGET if command.augment == "ada" else None,
    )


def _schedule(command: TrainStyleGAN2) -> Schedule:
    if command.snapshot_images < 1:
        raise ValueError(f"--snapshot-images is {command.snapshot_images}; it has to be positive")
    if command.images < 1:
        raise ValueError(f"--images is {command.images}; it has to be positive")
    log_steps, steps = (math.ceil(images / command.batch_size) for images in (_LOG_IMAGES, command.snapshot_images))
    return Schedule(total_images=command.images, log_steps=log_steps, picture_steps=steps, snapshot_steps=steps)
