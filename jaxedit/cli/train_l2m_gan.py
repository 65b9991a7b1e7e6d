"""`jaxedit train-l2m-gan`: options to configurations, and the data that they name."""

from __future__ import annotations

import functools
from typing import Any

import jax

from jaxedit import checkpoints, progress
from jaxedit.cli.options import TrainL2MGan
from jaxedit.methods.l2m_gan import L2MConfig
from jaxedit.networks.l2m_discriminator import L2MDiscriminatorConfig
from jaxedit.networks.l2m_generator import L2MGeneratorConfig
from jaxedit.networks.l2m_style_encoder import L2MStyleEncoderConfig
from jaxedit.training import translation
from jaxedit.training.translation import Domains

_AVATARS = "avatars"


def run(command: TrainL2MGan) -> None:
    """Trains the networks, or goes on with them.

    Args:
        command: The options.

    Raises:
        ValueError: An option is wrong, or the output directory holds another training; one line.
        OSError: Something cannot be read or written.
    """
    if command.steps < 1 or command.snapshot_steps < 1:
        raise ValueError(f"--steps {command.steps} --snapshot-steps {command.snapshot_steps}: both have to be positive")
    domains, perceptual = _domains(command), _perceptual(command)
    masks = None if command.fan is None else jax.tree_util.Partial(_masks, checkpoints.load_network(command.fan))
    translation.train(
        domains,
        config=l2m_config(command, len(domains.names), perceptual is not None),
        steps=command.steps,
        output=command.output,
        seed=command.seed,
        data=f"{command.data}, mirrored" if command.mirror else command.data,
        perceptual=perceptual,
        masks=masks,
        snapshot_steps=command.snapshot_steps,
    )
    print(f"{command.output}: generator and style_encoder, for {', '.join(domains.names)}")


def l2m_config(command: TrainL2MGan, domains: int, perceptual: bool) -> L2MConfig:
    """The configuration that options stand for.

    Args:
        command: The options.
        domains: How many there are.
        perceptual: Whether there is a network whose features are kept.

    Raises:
        ValueError: An option is wrong; one line.
    """
    widths = (command.resolution, command.width or 16384 // command.resolution, command.max_width)
    return L2MConfig(
        generator=L2MGeneratorConfig(*widths, w_hpf=0.0 if command.fan is None else 1.0),
        style_encoder=L2MStyleEncoderConfig(*widths, domains=domains),
        discriminator=L2MDiscriminatorConfig(*widths, domains=domains),
        lambda_cyc=command.lambda_cyc,
        lambda_sty=command.lambda_sty,
        lambda_per=command.lambda_per if perceptual else 0.0,
        lambda_ort=command.lambda_ort,
        batch_size=command.batch_size,
        learning_rate=command.learning_rate,
    )


def _domains(command: TrainL2MGan) -> Domains:
    from jaxedit import datasets

    options: Any = {"size": command.resolution, "batch_size": command.batch_size, "seed": command.seed}
    if command.data == _AVATARS:
        if command.mirror:
            raise ValueError("--mirror is for folders of images; avatars are drawn anew for every step")
        return datasets.avatars_by_domain(command.attributes, **options)
    with progress.saying(f"looking for damaged files in {command.data}"):
        datasets.check_images(command.data)
    return datasets.folder_of_domains(command.data, mirror=command.mirror, **options)


def _perceptual(command: TrainL2MGan) -> Any:
    """F of Eq. 5 with its parameters as arguments; None if there is none."""
    if command.perceptual is not None:
        return jax.tree_util.Partial(_pooled, checkpoints.load_network(command.perceptual))
    if command.data != _AVATARS:
        return None
    from jaxedit import avatars

    return jax.tree_util.Partial(functools.partial(_resized, size=64), avatars.load_classifier())


def _pooled(network: Any, image: jax.Array) -> jax.Array:
    return network.pooled_features(image)


def _resized(network: Any, image: jax.Array, *, size: int) -> jax.Array:
    return network.pooled_features(jax.image.resize(image, (size, size, 3), "linear"))


def _masks(fan: Any, image: jax.Array) -> Any:
    return fan.masks(image)
