"""`jaxedit fit-parser`: a parser of a generator's feature maps, from a hundred labelled samples."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import batch, checkpoints, images, progress
from jaxedit.cli.codes import parse_seeds
from jaxedit.cli.options import FitParser
from jaxedit.cli.records import sample_condition
from jaxedit.directions import local
from jaxedit.generators.base import Generator, sample_z
from jaxedit.networks import feature_parser
from jaxedit.networks.bisenet import FaceParser
from jaxedit.networks.feature_parser import FeatureParser, FeatureParserConfig
from jaxedit.regions import PARSING_CLASSES
from jaxedit.spaces import edited
from jaxedit.training import supervised
from jaxedit.training.losses import parsing_loss
from jaxedit.training.supervised import FitConfig

_BATCH = 4
_HELD_OUT = 5  # every fifth
_LARGEST = 256
_LEARNING_RATE = 0.01


class Drawn(NamedTuple):
    """Where batches are drawn from: latents `[samples, z_dim]` and classes `[samples, resolution, resolution]`."""

    generator: Generator
    condition: dict[str, Any]
    z: jax.Array
    classes: jax.Array

    def batch(self, key: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        """The feature maps of random samples, and their classes."""
        chosen = jax.random.choice(key, len(self.z), (_BATCH,), replace=False)
        maps = jax.vmap(lambda z: _maps(self.generator, self.condition, z))(self.z[chosen])
        return maps, self.classes[chosen].astype(jnp.int32)


def run(command: FitParser) -> None:
    """Labels samples, fits the parser, writes it and says how good it is on held-out samples.

    Args:
        command: The options.

    Raises:
        ValueError: Options that do not fit, labels of another kind, or another training in the folder; one line.
        OSError: A file cannot be read or written.
    """
    seeds = parse_seeds(*command.seeds)
    if len(seeds) < 2 * _HELD_OUT:
        raise ValueError(f"--seeds: {len(seeds)} samples; {2 * _HELD_OUT} or more would be right")
    generator = checkpoints.load(command.checkpoint)
    condition = sample_condition(command, generator)
    side = command.resolution or min(_LARGEST, generator.config.resolution)
    z = np.stack([np.asarray(sample_z(seed, generator.config.z_dim)) for seed in seeds])
    widths = tuple(maps.shape[-1] for maps in jax.eval_shape(_maps, generator, condition, z[0]))
    config = FeatureParserConfig(widths, len(PARSING_CLASSES), side)
    labels = _given_labels(command, seeds, side) if command.labels else _parsed(command, generator, condition, z, side)
    held_out = np.arange(len(seeds)) % _HELD_OUT == 0
    drawn = Drawn(generator, condition, jnp.asarray(z[~held_out]), jnp.asarray(labels[~held_out]))
    params = supervised.fit(
        jax.random.key(command.seed),
        {"params": feature_parser.init(jax.random.key(command.seed), config=config), "batch_stats": {}},
        draw=jax.tree_util.Partial(Drawn.batch, drawn),
        loss=functools.partial(_loss, config=config),
        config=FitConfig(command.steps, _LEARNING_RATE, weight_decay=0.0),
        directory=command.output,
    )
    network = FeatureParser(params["params"], config)
    source = {"checkpoint": generator.fingerprint or str(command.checkpoint), "samples": len(drawn.z)}
    checkpoints.save(command.output / "parser", params=network.params, config=config, metadata=source, replace=True)
    shared = network, generator, condition
    size = batch.choose_batch_size(int(held_out.sum()), jax.local_device_count())
    found = batch.collected(batch.map_samples(_parse, shared, z[held_out], batch_size=size))
    print(f"{command.output / 'parser'}: on {held_out.sum()} held-out samples {_agreement(found, labels[held_out])}")


def _maps(generator: Generator, condition: dict[str, Any], z: jax.Array) -> list[jax.Array]:
    return local.feature_maps(generator, z, space=generator.spaces[0].name, **condition)[1]


def _loss(params: Any, examples: tuple[list[jax.Array], jax.Array], *, config: FeatureParserConfig) -> Any:
    maps, classes = examples
    logits = jax.vmap(lambda one: feature_parser.segment(params["params"], one, config=config))(maps)
    return parsing_loss(logits, classes), ({}, {})


def _given_labels(command: FitParser, seeds: list[int], side: int) -> np.ndarray:
    assert command.labels is not None
    found = []
    for seed in seeds:
        path = command.labels / f"seed{seed:04d}.png"
        classes = np.asarray(images.open_picture(path).convert("L").resize((side, side), 0))
        if classes.max() >= len(PARSING_CLASSES):
            raise ValueError(f"{path}: has the class {classes.max()}; 0 to {len(PARSING_CLASSES) - 1} are right")
        found.append(classes)
    return np.stack(found)


def _parsed(
    command: FitParser, generator: Generator, condition: dict[str, Any], z: np.ndarray, side: int
) -> np.ndarray:
    """The samples as a parser of images sees them."""
    from jaxedit.avatars.models import load_parser

    if command.parser is None and str(command.checkpoint) != checkpoints.BUILT_IN:
        raise ValueError("give --labels, or a --parser that labels the samples of this generator")
    parser = load_parser() if command.parser is None else checkpoints.load_network(command.parser)
    if not isinstance(parser, FaceParser):
        raise ValueError(f"{command.parser}: a network of another kind than a face parser")
    shared = parser, generator, condition
    size = batch.choose_batch_size(len(z), jax.local_device_count())
    labelled = batch.map_samples(_labelled, shared, z, batch_size=size, options={"side": side})
    with progress.bar(labelled, total=len(z), unit="sample", first="compiling the parser") as counted:
        return np.stack([np.asarray(one) for one in counted])


def _labelled(shared: Any, z: jax.Array, *, side: int) -> jax.Array:
    parser, generator, condition = shared
    image = generator.render(edited(generator, z, **condition))
    seen = jax.image.resize(image, (parser.config.resolution,) * 2 + (3,), "linear")
    return jax.image.resize(parser.parse(seen).astype(jnp.uint8), (side, side), "nearest")


def _parse(shared: Any, z: jax.Array) -> jax.Array:
    network, generator, condition = shared
    return network.parse(_maps(generator, condition, z)).astype(jnp.uint8)


def _agreement(found: np.ndarray, labels: np.ndarray) -> str:
    ratios = []
    for index in np.unique(labels):
        ours, theirs = found == index, labels == index
        ratios.append((ours & theirs).sum() / (ours | theirs).sum())
    return f"{(found == labels).mean():.1%} of the pixels agree, mean IoU {np.mean(ratios):.2f}"
