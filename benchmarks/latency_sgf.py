"""Latency of SGF: `python -m benchmarks.latency --method sgf`.

Steps per second of the mapping's training (N = 15, width 512, batches of 8 pairs, a hundred in a program), and a
manipulation of five steps, which are six pictures, of one sample and of a batch. Pictures are judged by the avatars'
classifier at 64 px, above that by SE-ResNet-50; mapping, classifier and, unless it is given, generator are random.
The floor is that of the synthesis alone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import floors, measure
from jaxedit import families, sgf
from jaxedit.cli.surrogates import Seen, condition_of, field_of, latent_of
from jaxedit.conditions import Conditions
from jaxedit.networks.attributes import AttributesConfig
from jaxedit.networks.auxiliary_mapping import AuxiliaryConfig, singular_vectors
from jaxedit.networks.senet50 import SEResNet50Config
from jaxedit.training import supervised, surrogate

_STEPS, _TRAINED = 5, 100
_BATCH_PIXELS = 1 << 20


def benchmark(generator: Any, repeats: int, ceilings: tuple[float, float]) -> Iterator[dict[str, Any]]:
    """A row for the training, and one for each batch."""
    seen = _seen(generator)
    yield _training(seen, repeats)
    resolution = generator.config.resolution
    for batch in dict.fromkeys((1, min(64, max(1, _BATCH_PIXELS * 4 // resolution**2)))):
        yield _manipulation(seen, batch, repeats, ceilings)
        measure.hand_back_memory()


def _seen(generator: Any) -> Seen:
    resolution = generator.config.resolution
    config = AttributesConfig(resolution) if resolution <= 64 else SEResNet50Config(classes=48)
    mapping = AuxiliaryConfig(generator.config.w_dim, _outputs(config))
    classifier, weights = (_drawn(one, seed) for seed, one in enumerate((config, mapping)))
    network = families.FAMILIES[families.family_of(config)].network(classifier, config)
    names = tuple(str(number) for number in range(_outputs(config)))
    conditions = Conditions({"attributes": network}, jnp.zeros(len(names)), jnp.ones(len(names)), names)
    return Seen(generator, {}, conditions, weights)


def _outputs(config: Any) -> int:
    return config.attributes if isinstance(config, AttributesConfig) else config.classes


def _drawn(config: Any, seed: int) -> Any:
    return jax.jit(functools.partial(families.init, config=config))(jax.random.key(seed))


def _training(seen: Seen, repeats: int) -> dict[str, Any]:
    width, conditions = seen.generator.config.w_dim, seen.conditions.dimensions
    z, c = (
        jax.random.normal(jax.random.key(2), (10_000, width)),
        jax.random.uniform(jax.random.key(3), (10_000, conditions)),
    )
    config = supervised.FitConfig(500_000, 2e-4, weight_decay=0.0)
    state = supervised.init({"params": seen.mapping, "batch_stats": singular_vectors(seen.mapping)}, config=config)

    def steps(key: Any, pairs: Any, state: Any) -> Any:
        draw = functools.partial(surrogate.draw, pairs=pairs, batch_size=8)
        body = functools.partial(supervised.step, draw=draw, loss=surrogate.loss, config=config)
        return jax.lax.scan(lambda state, key: body(key, state), state, jax.random.split(key, _TRAINED))

    given = (jax.random.key(4), surrogate.Pairs(z, c), state)
    compiled, stages = measure.compile_in_stages(steps, *given)
    steady = measure.in_turns({"jaxedit": lambda turn: _wait(compiled(*given))}, repeats)
    row = {"task": "training", "stages": stages, "steady": steady}
    row["steps_per_second"] = _TRAINED / steady["jaxedit"]["median"]
    print(f"training: {row['steps_per_second']:.0f} steps of 8 pairs per second, {_compiling(stages)}", flush=True)
    return row


def _manipulation(seen: Seen, batch: int, repeats: int, ceilings: tuple[float, float]) -> dict[str, Any]:
    config = sgf.SgfConfig(max_steps=_STEPS, threshold=0.0)
    z = jax.random.normal(jax.random.key(5), (batch, seen.generator.config.z_dim))
    z = jax.vmap(functools.partial(latent_of, seen, space="w"))(z)
    target = jax.random.uniform(jax.random.key(6), (batch, seen.conditions.dimensions))

    def run(seen: Seen, z: Any, target: Any) -> Any:
        f, look = functools.partial(field_of, seen), functools.partial(condition_of, seen, space="w")
        return jax.vmap(functools.partial(sgf.run, f, look, config=config))(z, target)

    compiled, stages = measure.compile_in_stages(run, seen, z, target)
    steady = measure.in_turns({"jaxedit": lambda turn: _wait(compiled(seen, z, target))}, repeats)
    seconds = steady["jaxedit"]["median"]
    floor = floors.floor_seconds(seen.generator.config, batch, ceilings, 4) * (_STEPS + 1)
    row = {"task": "manipulation", "batch": batch, "steps": _STEPS, "stages": stages, "steady": steady}
    row |= {"seconds_per_sample": seconds / batch, "percent_of_floor": 100 * floor / seconds}
    print(
        f"{batch} samples: {seconds / batch:.3f} s for {_STEPS} steps of each, {row['percent_of_floor']:.0f} % of the"
        f" floor of synthesis, {_compiling(stages)}, peak {stages['peak_bytes'] / 2**20:.0f} MiB",
        flush=True,
    )
    return row


def _wait(result: Any) -> None:
    jax.block_until_ready(result)


def _compiling(stages: dict[str, float]) -> str:
    return f"compiled in {sum(stages[name] for name in ('trace', 'lower', 'compile')):.1f} s"
