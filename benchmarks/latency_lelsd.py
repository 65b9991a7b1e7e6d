"""Latency of LELSD: `python -m benchmarks.latency --method lelsd`.

A step of one direction for one part, and of one for each of eight, in W+ on batches of four samples, as `jaxedit
find-direction` takes 200 of; masks by a face parser of the official size, random like the generator's weights. The
floor is that of the synthesis, forward for the samples and forward and back for each edit, without the parser.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks import floors, measure
from jaxedit import families, lelsd
from jaxedit.cli import find_direction
from jaxedit.directions import local
from jaxedit.networks.bisenet import BiSeNetConfig, FaceParser

_PARTS = ("mouth", "eyes", "brows", "nose", "hair", "neck", "cloth", "skin")
_CONDITION = {"truncation_psi": np.float32(0.7)}
_INPUTS = 4


def benchmark(generator: Any, repeats: int, ceilings: tuple[float, float]) -> Iterator[dict[str, Any]]:
    """Both measurements on one generator, a row each."""
    config, parser = lelsd.PAPER, BiSeNetConfig()
    params = jax.jit(functools.partial(families.init, config=parser))(jax.random.key(1))
    like = local.direction_like(generator, space="w_plus")
    shape = (_INPUTS, config.batch_size, generator.config.z_dim)
    z = jax.random.normal(jax.random.key(2), shape)
    forward = floors.floor_seconds(generator.config, config.batch_size, ceilings, 4)
    for parts in (_PARTS[:1], _PARTS):
        count = len(parts)
        keys = jax.random.split(jax.random.key(3), count)
        states = jax.vmap(lambda key: lelsd.init(key, like, config=config))(keys)
        options = {"space": "w_plus", "layers": None, "config": config, "parts": parts}
        options["together"] = find_direction.at_once(generator, count)
        function = functools.partial(find_direction.step, **options)
        compiled, stages = measure.compile_in_stages(
            function, generator, FaceParser(params, parser), _CONDITION, keys, states, z[0]
        )

        def ours(turn: int, compiled: Any = compiled, given: Any = (keys, states)) -> None:
            jax.block_until_ready(
                compiled(generator, FaceParser(params, parser), _CONDITION, *given, z[turn % _INPUTS])
            )

        steady = measure.in_turns({"jaxedit": ours}, repeats)
        seconds = steady["jaxedit"]["median"]
        row = {"task": "step", "parts": count, "stages": stages, "steady": steady}
        row["seconds_per_direction"] = config.steps * seconds / count
        row["percent_of_floor"] = 100 * (1 + 2 * count) * forward / seconds
        print(describe(row), flush=True)
        yield row
        measure.hand_back_memory()


def describe(row: dict[str, Any]) -> str:
    """A row as a line of text."""
    seconds, stages = row["steady"]["jaxedit"]["median"], row["stages"]
    compiling = sum(stages[name] for name in ("trace", "lower", "compile"))
    return (
        f"{row['parts']} parts: {seconds:.2f} s per step, {row['seconds_per_direction']:.0f} s per direction of"
        f" {lelsd.PAPER.steps} steps, {row['percent_of_floor']:.0f} % of the floor of synthesis; compiled in"
        f" {compiling:.1f} s, peak {stages['peak_bytes'] / 2**20:.0f} MiB"
    )
