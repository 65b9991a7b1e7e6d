"""Speed of adversarial training of StyleGAN2: steps without penalty, with path length, with both; the mean of all.

    python -m benchmarks.training --resolution 64 --batch-size 16 --channel-base 2048 --channel-max 128 --latent 128

Random weights and random reals, one device, no pictures, log or snapshots. Every call is blocked on and begins with the
state that the one before has left. Writes JSON to `benchmarks/output/`, which git ignores.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from benchmarks import floors, measure
from jaxedit.cli.arguments import parse_or_exit
from jaxedit.generators.stylegan2 import StyleGAN2Config
from jaxedit.memory import keep_freed_memory
from jaxedit.training import gan
from jaxedit.training.gan_config import GanConfig, config_for


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the speed of adversarial training."""

    resolution: int = 64
    """Size of the images in pixels."""
    batch_size: int = 16
    """Images of a step."""
    channel_base: int = 32768
    """Channels at resolution r are this divided by r ..."""
    channel_max: int = 512
    """... and at most this."""
    latent: int = 512
    """Length of z and w."""
    augment: Literal["off", "ada"] = "off"
    """ada: with adaptive augmentation."""
    repeats: int = 8
    """Timed calls of each kind of step, in turns."""
    allocator: Literal["keep", "default"] = "keep"
    """keep: jaxedit.memory.keep_freed_memory first, no page is cleared twice; default: leave it as it is."""
    output: Path = Path("benchmarks/output")
    """Folder for the JSON file."""


def gan_config(options: Options) -> GanConfig:
    """What is trained."""
    channels = {"channel_base": options.channel_base, "channel_max": options.channel_max}
    latent = {"z_dim": options.latent, "w_dim": options.latent}
    return config_for(
        StyleGAN2Config(resolution=options.resolution, **latent, **channels),
        batch_size=options.batch_size,
        trained=False,
        r1_gamma=1.0,
        augment_target=0.6 if options.augment == "ada" else None,
    )


def operations(config: GanConfig) -> dict[str, float]:
    """Floating-point operations of the convolutions of a step by its kind.

    A gradient to inputs and kernels costs two forward passes. Plain: generator 3 + 1, discriminator 2 (of which one to
    the fakes) + 6. A penalty is forward and input gradient, and a gradient to both factors of each product: 6.
    """
    generator = floors.operations(config.generator)
    discriminator = floors.discriminator_operations(config.discriminator)
    plain = config.batch_size * (4 * generator + 8 * discriminator)
    path_length = config.batch_size // config.path_length_batch_shrink * 6 * generator
    r1 = config.batch_size * 6 * discriminator
    return {"plain": plain, "path length": plain + path_length, "path length and R1": plain + path_length + r1}


def shares(config: GanConfig) -> dict[str, float]:
    """How often each kind of step comes; the intervals have to divide each other."""
    path_length, both = 1 / config.path_length_interval, 1 / math.lcm(config.path_length_interval, config.r1_interval)
    return {"plain": 1 - path_length, "path length": path_length - both, "path length and R1": both}


def run(options: Options) -> dict[str, Any]:
    """Times each kind of step."""
    kept = options.allocator == "keep" and keep_freed_memory()  # before JAX starts its threads
    config = gan_config(options)
    rate, _ = floors.measure_ceilings(jnp.dtype("float32"))
    state = jax.jit(partial(gan.init, config=config))(jax.random.key(0))
    size = (options.batch_size, options.resolution, options.resolution, 3)
    reals = jax.random.uniform(jax.random.key(1), size, minval=-1.0)
    compiled, stages = measure.compile_in_stages(partial(gan.step, config=config), state, reals)
    numbers = {"plain": 1, "path length": config.path_length_interval, "path length and R1": 0}
    held = {"state": state}

    def turn(number: int) -> None:
        held["state"], _ = compiled(held["state"]._replace(step=jnp.int32(number)), reals)
        jax.block_until_ready(held["state"])

    contenders = {name: lambda _, number=number: turn(number) for name, number in numbers.items()}
    steady = measure.in_turns(contenders, options.repeats)
    costs, kinds = operations(config), shares(config)
    rows = [
        {"kind": name, "seconds": seconds, "images_per_second": options.batch_size / seconds["median"]}
        | {"gflop_per_second": costs[name] / seconds["median"] / 1e9}
        | {"percent_of_floor": 100 * costs[name] / rate / seconds["median"]}
        for name, seconds in steady.items()
    ]
    mean = sum(share * steady[name]["median"] for name, share in kinds.items())
    floor = sum(share * costs[name] / rate for name, share in kinds.items())
    return {
        "benchmark": "training",
        "environment": measure.environment() | {"freed_memory_kept": kept},
        "options": dataclasses.asdict(options) | {"output": str(options.output)},
        "flop_per_second": rate,
        "stages": stages,
        "rows": rows,
        "images_per_second": options.batch_size / mean,
        "percent_of_floor": 100 * floor / mean,
    }


def describe(result: dict[str, Any]) -> str:
    """Results as lines of text."""
    stages = result["stages"]
    times = ", ".join(f"{name} {stages[name]:.1f} s" for name in ("trace", "lower", "compile"))
    lines = [
        f"{row['kind']:20s} {1e3 * row['seconds']['median']:8.1f} ms, {row['images_per_second']:7.2f} img/s, "
        f"{row['gflop_per_second']:6.0f} GFLOP/s, {row['percent_of_floor']:3.0f} % of the floor"
        for row in result["rows"]
    ]
    peak = f"peak {stages['peak_bytes'] / 2**20:.0f} MiB" if "peak_bytes" in stages else ""
    total = f"mean: {result['images_per_second']:.2f} img/s, {result['percent_of_floor']:.0f} % of the floor"
    return "\n".join([f"{times}; {peak}", *lines, f"{total} ({result['flop_per_second'] / 1e9:.0f} GFLOP/s)"])


def main() -> None:
    """Runs the benchmark and writes its results."""
    options = parse_or_exit(Options, program="python -m benchmarks.training")
    if options.repeats < 1:
        raise SystemExit("error: --repeats takes a positive number")
    try:
        result = run(options)
    except (RuntimeError, OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    print(describe(result), flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    device = result["environment"]["device"].split(":")[0]
    path = options.output / f"training-{device}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
