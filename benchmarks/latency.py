"""Latency of StyleGAN2 synthesis: forward, forward + gradient to the styles, and gradient steps inside `lax.scan`; or
of an editing method (`benchmarks.latency_style_intervention`).

    python -m benchmarks.latency --resolutions 256 1024
    python -m benchmarks.latency --method style_intervention --resolutions 1024
    python -m benchmarks.latency --resolutions 1024 --peer-ada ~/stylegan2-ada-pytorch --peer-python ~/torch/bin/python

Random weights of the official architecture (config-f), noise from the stored maps, float images left on the device,
mapping network not included. Every call is blocked on and sees other styles than the one before. Writes JSON to
`benchmarks/output/`, which git ignores.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import floors, latency_style_intervention, measure
from benchmarks.peers.ada import VARIANTS, AdaPeer
from jaxedit import stylegan2
from jaxedit.cli.arguments import parse_or_exit
from jaxedit.memory import keep_freed_memory

Task = Literal["forward", "gradient", "loop"]
Precision = Literal["float32", "highest", "bfloat16"]
LOOP_LENGTH = 10
INPUTS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the latency of StyleGAN2 synthesis or of an editing method."""

    method: Literal["synthesis", "style_intervention"] = "synthesis"
    """What to measure; --precisions and --tasks are for synthesis."""
    resolutions: tuple[int, ...] = (256, 1024)
    """Output sizes in pixels."""
    batches: tuple[int, ...] = (1,)
    """Batch sizes."""
    precisions: tuple[Precision, ...] = ("float32",)
    """float32: at the default precision; highest: exact float32 products; bfloat16: activations and convolutions."""
    tasks: tuple[Task, ...] = ("forward", "gradient", "loop")
    """loop: ten gradient steps inside lax.scan against ten jitted calls."""
    channel_base: int = 32768
    """32768 for config-f, 16384 for config-e."""
    repeats: int = 15
    """Timed calls of each contender, in turns."""
    peer_ada: Path | None = None
    """A checkout of stylegan2-ada-pytorch to compare with, on the same weights."""
    peer_python: str = sys.executable
    """A Python with PyTorch for the peer."""
    allocator: Literal["keep", "default"] = "keep"
    """keep: jaxedit.memory.keep_freed_memory first, no page is cleared twice; default: leave it as it is."""
    output: Path = Path("benchmarks/output")
    """Folder for the JSON file."""


def forward(params: Any, styles: Any, *, config: Any, compute_dtype: Any) -> Any:
    """A batch of images."""
    return jax.vmap(lambda s: stylegan2.synthesize(params, s, config=config, compute_dtype=compute_dtype))(styles)


def gradient(params: Any, styles: Any, **options: Any) -> Any:
    """A batch of images and the gradient of their mean square to the styles."""

    def loss(styles):
        images = forward(params, styles, **options)
        return jnp.mean(jnp.square(images)), images

    slope, images = jax.grad(loss, has_aux=True)(styles)
    return images, slope


def step(params: Any, styles: Any, **options: Any) -> Any:
    """One step of gradient descent."""
    return jax.tree.map(lambda s, g: s - 0.1 * g, styles, gradient(params, styles, **options)[1])


def loop(params: Any, styles: Any, **options: Any) -> Any:
    """Ten steps inside one program."""
    return jax.lax.scan(lambda s, _: (step(params, s, **options), None), styles, length=LOOP_LENGTH)[0]


class Inputs:
    """Different W+ codes and styles for every call."""

    def __init__(self, params: Any, config: Any, batch: int):
        generator = np.random.RandomState(0)
        self.ws = generator.randn(INPUTS, batch, config.num_ws, config.w_dim).astype(np.float32)
        compute = jax.jit(jax.vmap(partial(stylegan2.styles, config=config), in_axes=(None, 0)))
        self.styles = [jax.block_until_ready(compute(params, ws)) for ws in self.ws]


def benchmark(
    task: Task, inputs: Inputs, params: Any, peers: dict[str, AdaPeer], repeats: int, **options: Any
) -> dict[str, Any]:
    """Times one task on one network, batch and precision."""
    function: Callable = {"forward": forward, "gradient": gradient, "loop": loop}[task]
    compiled, stages = measure.compile_in_stages(partial(function, **options), params, inputs.styles[0])

    def ours(turn: int) -> None:
        jax.block_until_ready(compiled(params, inputs.styles[turn % INPUTS]))

    contenders: dict[str, Any] = {"jaxedit": ours}
    if task == "loop":
        single, _ = measure.compile_in_stages(partial(step, **options), params, inputs.styles[0])

        def calls(turn: int) -> None:
            styles = inputs.styles[turn % INPUTS]
            for _ in range(LOOP_LENGTH):
                styles = single(params, styles)
            jax.block_until_ready(styles)

        contenders["ten calls"] = calls
    else:
        contenders |= {
            name: lambda turn, peer=peer: _peer_turn(peer, task, inputs.ws[turn % INPUTS])
            for name, peer in peers.items()
        }
    report: dict[str, Any] = {"stages": stages, "steady": measure.in_turns(contenders, repeats)}
    if task == "loop":
        return report
    with jax.default_matmul_precision("highest"):
        exact = jax.jit(partial(forward, config=options["config"], compute_dtype=jnp.float32))(
            params, inputs.styles[-1]
        )
    images = compiled(params, inputs.styles[-1])
    found = {"jaxedit": np.asarray(images[0] if task == "gradient" else images)}
    for name, peer in peers.items():
        _peer_turn(peer, task, inputs.ws[-1])
        found[name] = peer.images()
    exact = np.asarray(exact)
    span = exact.max() - exact.min()
    report["image_error"] = {name: float(np.abs(image - exact).max() / span) for name, image in found.items()}
    return report


def _peer_turn(peer: AdaPeer, task: str, ws: np.ndarray) -> float:
    peer.load(ws)
    return peer.run(task)


def describe(row: dict[str, Any]) -> str:
    """One row of results as lines of text."""
    stages, numbers = row["stages"], row["steady"]
    head = f"{row['resolution']} px, batch {row['batch']}, {row['precision']}, {row['task']}"
    times = ", ".join(
        f"{name.replace('_', ' ')} {stages[name]:.2f} s" for name in ("trace", "lower", "compile", "first_call")
    )
    rates = f"{row['images_per_second']:.2f} img/s, {row['gflop_per_second']:.0f} GFLOP/s"
    floor = f"{row['percent_of_floor']:.0f} % of the floor, peak {stages['peak_bytes'] / 2**20:.0f} MiB"
    lines = [f"{head}: {rates}, {floor}; {times}"]
    for name, seconds in numbers.items():
        median, low, high = (1e3 * seconds[key] for key in ("median", "p10", "p90"))
        error = f", image error {row['image_error'][name]:.1e}" if "image_error" in row else ""
        ratio = f"{seconds['ratio_to_first']:5.2f} x jaxedit{error}"
        lines.append(f"    {name:24s} {median:9.1f} ms (p10 {low:.1f}, p90 {high:.1f}), {ratio}")
    return "\n".join(lines)


def run(options: Options) -> Iterator[dict[str, Any]]:
    """All combinations of the options: the result, again after each row."""
    kept = options.allocator == "keep" and keep_freed_memory()  # before JAX starts its threads
    result: dict[str, Any] = {
        "benchmark": "latency" if options.method == "synthesis" else f"latency-{options.method}",
        "environment": measure.environment() | {"freed_memory_kept": kept},
        "rows": [],
    }
    ceilings = {dtype: floors.measure_ceilings(jnp.dtype(dtype)) for dtype in ("float32", "bfloat16")}
    result["ceilings"] = {
        dtype: {"flop_per_second": rate, "bytes_per_second": bandwidth} for dtype, (rate, bandwidth) in ceilings.items()
    }
    for resolution in options.resolutions:
        config = stylegan2.StyleGAN2Config(resolution=resolution, channel_base=options.channel_base)
        params = jax.jit(partial(stylegan2.init, config=config))(jax.random.key(0))
        with contextlib.ExitStack() as stack:
            peers = {}
            if options.peer_ada:
                host = jax.tree.map(np.asarray, params)
                for name in VARIANTS:
                    peer = AdaPeer(options.peer_ada, options.peer_python, name, host, config)
                    peers[f"ada {name}"] = stack.enter_context(contextlib.closing(peer))
            if options.method == "style_intervention":
                generator = stylegan2.StyleGAN2Generator(params, config)
                rows = latency_style_intervention.benchmark(generator, options.batches, options.repeats, peers)
            else:
                rows = synthesis(params, config, options, peers, ceilings)
            for row in rows:
                result["rows"].append({"resolution": resolution} | row)
                yield result


def synthesis(
    params: Any, config: Any, options: Options, peers: dict[str, AdaPeer], ceilings: dict[str, tuple[float, float]]
) -> Iterator[dict[str, Any]]:
    """All batches, precisions and tasks on one network, a row each."""
    for batch in options.batches:
        inputs = Inputs(params, config, batch)
        for precision in options.precisions:
            dtype = "bfloat16" if precision == "bfloat16" else "float32"
            floor = floors.floor_seconds(config, batch, ceilings[dtype], jnp.dtype(dtype).itemsize)
            for task in options.tasks:
                work = {"forward": 1, "gradient": 2, "loop": 2 * LOOP_LENGTH}[task]
                with jax.default_matmul_precision("highest" if precision == "highest" else None):
                    row = benchmark(
                        task, inputs, params, peers, options.repeats, config=config, compute_dtype=jnp.dtype(dtype)
                    )
                median = row["steady"]["jaxedit"]["median"]
                row = {"resolution": config.resolution, "batch": batch, "precision": precision, "task": task} | row
                row["images_per_second"] = batch * (LOOP_LENGTH if task == "loop" else 1) / median
                row["gflop_per_second"] = work * batch * floors.operations(config) / median / 1e9
                row["percent_of_floor"] = 100.0 * work * floor / median
                print(describe(row), flush=True)
                yield row


def _check(options: Options) -> None:
    if min(*options.batches, options.repeats) < 1:
        raise ValueError("--batches and --repeats take positive numbers")
    if options.peer_ada and not (options.peer_ada / "training" / "networks.py").is_file():
        raise ValueError(f"{options.peer_ada}: no checkout of stylegan2-ada-pytorch (training/networks.py is missing)")


def main() -> None:
    """Runs the benchmark and writes its results."""
    options = parse_or_exit(Options, program="python -m benchmarks.latency")
    began = time.strftime("%Y%m%d-%H%M%S")
    try:
        _check(options)
        options.output.mkdir(parents=True, exist_ok=True)
        for result in run(options):
            device = result["environment"]["device"].split(":")[0]
            path = options.output / f"{result['benchmark']}-{device}-{began}.json"
            path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except (RuntimeError, OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    print(path)


if __name__ == "__main__":
    main()
