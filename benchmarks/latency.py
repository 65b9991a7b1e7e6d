"""Latency of synthesis: forward, forward + gradient to the styles, and gradient steps inside `lax.scan`; or
of an editing method (`benchmarks.latency_style_intervention`, `benchmarks.latency_lelsd`,
`benchmarks.latency_sgf`).

    python -m benchmarks.latency --resolutions 256 1024
    python -m benchmarks.latency --method style_intervention --resolutions 1024
    python -m benchmarks.latency --resolutions 1024 --peer-ada ~/stylegan2-ada-pytorch --peer-python ~/torch/bin/python
    python -m benchmarks.latency --checkpoint ckpt/faces --peer-openvino random_face-*.whl --peer-python ~/ov/bin/python

Random weights of the official StyleGAN2 (config-f) unless a checkpoint is given, noise from the stored maps, float
images left on the device, mapping network not included. Every call is blocked on and sees other styles than the one
before. Writes JSON to `benchmarks/output/`, which git ignores.
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

from benchmarks import floors, latency_lelsd, latency_sgf, latency_style_intervention, measure
from benchmarks.peers.ada import VARIANTS, AdaPeer
from benchmarks.peers.process import PeerProcess
from benchmarks.peers.random_face import OpenVinoPeer
from jaxedit import checkpoints, stylegan2
from jaxedit.cli.arguments import parse_or_exit
from jaxedit.memory import keep_freed_memory

Task = Literal["forward", "gradient", "loop"]
Precision = Literal["float32", "highest", "bfloat16"]
LOOP_LENGTH = 10
INPUTS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the latency of a generator's synthesis or of an editing method."""

    method: Literal["synthesis", "style_intervention", "lelsd", "sgf"] = "synthesis"
    """What to measure; --precisions and --tasks are for synthesis."""
    resolutions: tuple[int, ...] = (256, 1024)
    """Output sizes in pixels of StyleGAN2 with random weights."""
    checkpoint: Path | None = None
    """Measure this generator instead."""
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
    peer_openvino: Path | None = None
    """The wheel random_face-*.whl that the checkpoint was converted from, to compare with."""
    peer_python: str = sys.executable
    """A Python with PyTorch or OpenVINO for the peer."""
    allocator: Literal["keep", "default"] = "keep"
    """keep: jaxedit.memory.keep_freed_memory first, no page is cleared twice; default: leave it as it is."""
    output: Path = Path("benchmarks/output")
    """Folder for the JSON file."""


def forward(generator: Any, styles: Any, *, compute_dtype: Any) -> Any:
    """A batch of images."""
    return jax.vmap(lambda s: generator.synthesize(s, compute_dtype=compute_dtype))(styles)


def gradient(generator: Any, styles: Any, **options: Any) -> Any:
    """A batch of images and the gradient of their mean square to the styles."""

    def loss(styles):
        images = forward(generator, styles, **options)
        return jnp.mean(jnp.square(images)), images

    slope, images = jax.grad(loss, has_aux=True)(styles)
    return images, slope


def step(generator: Any, styles: Any, **options: Any) -> Any:
    """One step of gradient descent."""
    return jax.tree.map(lambda s, g: s - 0.1 * g, styles, gradient(generator, styles, **options)[1])


def loop(generator: Any, styles: Any, **options: Any) -> Any:
    """Ten steps inside one program."""
    return jax.lax.scan(lambda s, _: (step(generator, s, **options), None), styles, length=LOOP_LENGTH)[0]


class Inputs:
    """Different W codes, as W+, and styles for every call."""

    def __init__(self, generator: Any, batch: int):
        config = generator.config
        z = np.random.RandomState(0).randn(INPUTS, batch, config.z_dim).astype(np.float32)
        ws = jax.jit(jax.vmap(jax.vmap(generator.map)))(z)
        self.ws = np.repeat(np.asarray(ws)[:, :, None], config.num_ws, axis=2)
        compute = jax.jit(jax.vmap(generator.styles))
        self.styles = [jax.block_until_ready(compute(ws)) for ws in self.ws]


def benchmark(
    task: Task, inputs: Inputs, generator: Any, peers: dict[str, PeerProcess], repeats: int, **options: Any
) -> dict[str, Any]:
    """Times one task on one network, batch and precision."""
    function: Callable = {"forward": forward, "gradient": gradient, "loop": loop}[task]
    compiled, stages = measure.compile_in_stages(partial(function, **options), generator, inputs.styles[0])

    def ours(turn: int) -> None:
        jax.block_until_ready(compiled(generator, inputs.styles[turn % INPUTS]))

    contenders: dict[str, Any] = {"jaxedit": ours}
    if task == "loop":
        single, _ = measure.compile_in_stages(partial(step, **options), generator, inputs.styles[0])

        def calls(turn: int) -> None:
            styles = inputs.styles[turn % INPUTS]
            for _ in range(LOOP_LENGTH):
                styles = single(generator, styles)
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
        exact = jax.jit(partial(forward, compute_dtype=jnp.float32))(generator, inputs.styles[-1])
    images = compiled(generator, inputs.styles[-1])
    found = {"jaxedit": np.asarray(images[0] if task == "gradient" else images)}
    for name, peer in peers.items():
        _peer_turn(peer, task, inputs.ws[-1])
        found[name] = peer.images()
    exact = np.asarray(exact)
    span = exact.max() - exact.min()
    report["image_error"] = {name: float(np.abs(image - exact).max() / span) for name, image in found.items()}
    return report


def _peer_turn(peer: PeerProcess, task: str, ws: np.ndarray) -> float:
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
    for generator in _generators(options):
        with contextlib.ExitStack() as stack:
            peers = {name: stack.enter_context(contextlib.closing(peer)) for name, peer in _peers(options, generator)}
            if options.method == "style_intervention":
                rows = latency_style_intervention.benchmark(generator, options.batches, options.repeats, peers)
            elif options.method == "lelsd":
                rows = latency_lelsd.benchmark(generator, options.repeats, ceilings["float32"])
            elif options.method == "sgf":
                rows = latency_sgf.benchmark(generator, options.repeats, ceilings["float32"])
            else:
                rows = synthesis(generator, options, peers, ceilings)
            for row in rows:
                result["rows"].append({"resolution": generator.config.resolution} | row)
                yield result


def _generators(options: Options) -> Iterator[Any]:
    if options.checkpoint is not None:
        yield checkpoints.load(options.checkpoint)
        return
    for resolution in options.resolutions:
        config = stylegan2.StyleGAN2Config(resolution=resolution, channel_base=options.channel_base)
        params = jax.jit(partial(stylegan2.init, config=config))(jax.random.key(0))
        yield stylegan2.StyleGAN2Generator(params, config)


def _peers(options: Options, generator: Any) -> Iterator[tuple[str, Any]]:
    """Contenders by name, each started when it is asked for: one that can't start leaves those before it to close."""
    if options.peer_ada:
        host = jax.tree.map(np.asarray, generator.params)
        for name in VARIANTS:
            yield f"ada {name}", AdaPeer(options.peer_ada, options.peer_python, name, host, generator.config)
    if options.peer_openvino:
        for precision in ("float32", "bfloat16"):
            yield f"openvino {precision}", OpenVinoPeer(options.peer_openvino, options.peer_python, precision)


def synthesis(
    generator: Any, options: Options, peers: dict[str, PeerProcess], ceilings: dict[str, tuple[float, float]]
) -> Iterator[dict[str, Any]]:
    """All batches, precisions and tasks on one network, a row each."""
    config = generator.config
    for batch in options.batches:
        inputs = Inputs(generator, batch)
        for precision in options.precisions:
            dtype = "bfloat16" if precision == "bfloat16" else "float32"
            floor = floors.floor_seconds(config, batch, ceilings[dtype], jnp.dtype(dtype).itemsize)
            for task in options.tasks:
                work = {"forward": 1, "gradient": 2, "loop": 2 * LOOP_LENGTH}[task]
                able = {name: peer for name, peer in peers.items() if task in peer.tasks}
                with jax.default_matmul_precision("highest" if precision == "highest" else None):
                    row = benchmark(task, inputs, generator, able, options.repeats, compute_dtype=jnp.dtype(dtype))
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
    if options.peer_openvino and options.checkpoint is None:
        raise ValueError("--peer-openvino is compared with the --checkpoint that was converted from it")


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
