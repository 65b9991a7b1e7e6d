"""Trains the networks of the avatars' world and measures them: `python -m jaxedit.cli.avatars NAME ...`."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxedit import interrupts
from jaxedit.cli.arguments import parse_command
from jaxedit.memory import keep_freed_memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """Options of every network that is fitted to renders; the same command again goes on where it was stopped."""

    output: Path
    """Directory for the log, the snapshots and the finished NAME.safetensors; made if needed."""
    images: int
    """Renders to train on; for the embedding, pairs of them."""
    batch_size: int = 64
    """Renders (or pairs) per step."""
    seed: int = 0
    """Of the first weights and of the renders."""
    learning_rate: float = 3e-3
    """At its highest: a linear warm-up comes before, a cosine down to zero after it."""

    @property
    def name(self) -> str:
        """Of the network, and of the command."""
        return type(self).__name__.lower()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifier(Network):
    """Train the classifier of the twelve attributes."""

    images: int = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge(Network):
    """Train the other classifier, which judges results and is seen by no method."""

    images: int = 100_000
    seed: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parser(Network):
    """Train the face parser of the 19 classes."""

    images: int = 60_000
    batch_size: int = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keypoints(Network):
    """Train the network of the 68 keypoints."""

    images: int = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embedding(Network):
    """Train the identity network."""

    images: int = 240_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedGenerator(Network):
    """Fit a StyleGAN2 to renders, latent by latent: the checkpoint `generator` in --output, for `paired --init`."""

    images: int = 320_000
    """Renders to learn from, three quarters of them with edges and features."""
    batch_size: int = 16
    learning_rate: float = 0.03
    resolution: int = 64
    """Of the images, in px."""
    channel_base: int = 2048
    """Channels at resolution r are this divided by r ..."""
    channel_max: int = 128
    """... and at most this."""
    mapping_steps: int = 15_000
    """Steps of the mapping network's fit, of 512 latents each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedGenerator(Network):
    """Train a fitted generator adversarially, each fake held to the render of its latent: the checkpoint `generator`
    in --output."""

    init: Path
    """Checkpoint directory of the generator to start from, such as `generator` leaves."""
    images: int = 400_000
    """Renders to show to the discriminator."""
    batch_size: int = 16
    learning_rate: float = 2e-3
    """Of both networks."""
    style_mixing: float = 0.3
    """Probability that a fake is of two latents, and paired with nothing."""
    pixels: float = 10.0
    """Weight of the pixels' error ..."""
    edges: float = 5.0
    """... of that of their differences ..."""
    features: float = 0.5
    """... and of the classifier's features, beside the discriminator's verdict."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Directions:
    """Fit a W direction per attribute to samples of the generator in the package, labelled by its classifier."""

    output: Path
    """Directory for NAME.safetensors; made if needed."""
    samples: int = 20_000
    """Samples to fit to."""
    seed: int = 0
    """Of the samples."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pack:
    """Write a trained generator as the float16 file that the package holds."""

    checkpoint: Path
    """Checkpoint directory, such as the `generator` that `jaxedit train-stylegan2` leaves."""
    output: Path
    """The file, such as jaxedit/avatars/weights/generator.safetensors."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure networks on held-out renders and print the numbers as JSON."""

    weights: Path | None = None
    """Directory of NAME.safetensors files. Default: the networks that come with the package."""
    names: tuple[str, ...] = ("classifier", "judge", "parser", "keypoints", "embedding")
    """Networks to measure."""
    images: int = 2000
    """Number of renders."""
    identities: int = 100
    """Size of the identity network's gallery."""
    probes: int = 5
    """Renders of each identity that are looked up."""


_COMMANDS = {
    "generator": FittedGenerator,
    "paired": PairedGenerator,
    "pack": Pack,
    "directions": Directions,
    "classifier": Classifier,
    "judge": Judge,
    "parser": Parser,
    "keypoints": Keypoints,
    "embedding": Embedding,
    "evaluate": Evaluate,
}


def train_network(options: Network) -> None:
    """Trains a network and writes it.

    Args:
        options: The command's.

    Raises:
        ValueError: Less than one step, or a directory of another training.
        OSError: The directory can't be written.
    """
    if min(options.images // max(options.batch_size, 1), options.batch_size) < 1:
        raise ValueError(
            f"--images {options.images} --batch-size {options.batch_size}: one whole batch or more is needed"
        )
    if isinstance(options, FittedGenerator):
        _fit_generator(options)
    elif isinstance(options, PairedGenerator):
        _train_paired(options)
    else:
        _fit_to_task(options)


def _fit_to_task(options: Network) -> None:
    import jax

    from jaxedit import checkpoints, families
    from jaxedit.avatars.training import tasks
    from jaxedit.training import supervised

    task = tasks.make_task(options.name)
    weights_key, batches_key = jax.random.split(jax.random.key(options.seed))
    params = supervised.fit(
        batches_key,
        jax.jit(functools.partial(families.init, config=task.config))(weights_key),
        draw=lambda key: jax.vmap(task.draw)(jax.random.split(key, options.batch_size)),
        loss=task.loss,
        config=supervised.FitConfig(steps=options.images // options.batch_size, learning_rate=options.learning_rate),
        directory=options.output,
    )
    checkpoints.save_file(options.output / f"{options.name}.safetensors", params=params, config=task.config)


def _fit_generator(options: FittedGenerator) -> None:
    import jax

    from jaxedit import checkpoints
    from jaxedit.avatars import latents
    from jaxedit.avatars.training import fitting
    from jaxedit.generators.stylegan2 import StyleGAN2Config

    config = StyleGAN2Config(
        resolution=options.resolution,
        z_dim=latents.Z_DIM,
        w_dim=latents.Z_DIM,
        channel_base=options.channel_base,
        channel_max=options.channel_max,
    )
    params = fitting.fit_generator(
        jax.random.key(options.seed),
        config=config,
        images=options.images,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        mapping_steps=options.mapping_steps,
        directory=options.output,
    )
    checkpoints.save(
        options.output / "generator",
        params=params,
        config=config,
        metadata={"source": "fitted to avatars by jaxedit", "seed": options.seed, "images": options.images},
        replace=True,
    )


def _train_paired(options: PairedGenerator) -> None:
    from jaxedit import checkpoints
    from jaxedit.avatars.training import paired, pairs

    paired.train_paired(
        checkpoints.load(options.init),
        weights=pairs.PairErrors(options.pixels, options.edges, options.features),
        images=options.images,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        style_mixing=options.style_mixing,
        seed=options.seed,
        directory=options.output,
    )


def pack_generator(options: Pack) -> None:
    """Writes a generator for the package.

    Args:
        options: The command's.

    Raises:
        ValueError: Not a checkpoint of a generator.
        OSError: Something cannot be read or written.
    """
    from jaxedit import checkpoints

    generator = checkpoints.load(options.checkpoint)
    checkpoints.save_file(options.output, params=generator.params, config=generator.config)


def fit_directions(options: Directions) -> None:
    """Fits the directions of the package and writes them.

    Args:
        options: The command's.

    Raises:
        OSError: The directory can't be written.
    """
    from jaxedit.avatars import models
    from jaxedit.avatars.training import boundaries
    from jaxedit.directions.files import save_direction

    generator, classifier = models.load_generator(), models.load_classifier()
    for direction in boundaries.fit_directions(generator, classifier, count=options.samples, seed=options.seed):
        folder = options.output / direction.space
        folder.mkdir(parents=True, exist_ok=True)
        save_direction(folder / f"{direction.name}.safetensors", direction)


def evaluate_networks(options: Evaluate) -> None:
    """Measures networks and prints what was found.

    Args:
        options: The command's.

    Raises:
        ValueError: No renders, or a file that holds no network.
        OSError: A network is missing.
    """
    from jaxedit.avatars.training import evaluation

    print(json.dumps(evaluation.evaluate(**dataclasses.asdict(options)), indent=2))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Without the program's name; None takes them from the process.

    Returns:
        The exit code: 0; 1 after one line `error: ...` on stderr; 130, or 143 for SIGTERM, after one line that begins
        with "interrupted".
    """
    given = sys.argv[1:] if arguments is None else arguments
    with interrupts.watched() as watch:
        watch.remark = "; the same command goes on from the last snapshot"
        try:
            program = "python -m jaxedit.cli.avatars"
            options = parse_command(_COMMANDS, given, program=program, description=str(__doc__))
            if isinstance(options, Directions):
                fit_directions(options)
            elif isinstance(options, Pack):
                pack_generator(options)
            elif isinstance(options, Evaluate):
                evaluate_networks(options)
            else:
                train_network(options)
            return 0
        except BaseException as error:
            if watch.interrupted(error):
                return watch.end()
            if not isinstance(error, ValueError | OSError):
                raise
            print("error:", " ".join(str(error).split()), file=sys.stderr)
    return 1


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
