"""Latency of Style Intervention: `python -m benchmarks.latency --method style_intervention`.

For every style layer one step on kept activations, as one program and as the programs of the stages that `run_batch`
calls, against the same step through the whole network, and for every fifth against the algorithm written plainly with
the official PyTorch network; then whole edits, layer-wise and joint, one at a time and in batches, of as many steps as
early stopping leaves on the built-in generator (2 in each layer, 10 joint ones; random weights would stop elsewhere);
then StyleSpace's channel analysis of one image. The mask is the middle of the image.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import measure
from benchmarks.peers.ada import AdaPeer
from jaxedit.directions.channels import local_gradient_maps
from jaxedit.generators.stylegan2 import StyleGAN2Generator, join_styles, split_styles
from jaxedit.generators.stylegan2_staged import StagedStyleGAN2
from jaxedit.methods import style_intervention
from jaxedit.methods.style_intervention import InterventionConfig, Problem, State
from jaxedit.staged import Prepared, prepare

_CONFIG = InterventionConfig(tolerance=0.0, max_steps=2)
_JOINT = dataclasses.replace(style_intervention.JOINT, tolerance=0.0, max_steps=10)
_COEFFICIENT = 0.3  # of all channels before a step
_FIRST_MOMENT = 0.1  # of a gradient in Adam's average after one step
_MAP = 32  # blocks on a side
_EVERY = 5  # layers that peers take part in: convolutions and ToRGB as often as in the network


def benchmark(
    generator: StyleGAN2Generator, batches: Sequence[int], repeats: int, peers: dict[str, AdaPeer]
) -> Iterator[dict[str, Any]]:
    """All measurements on one generator, a row each; ends the peers after their last."""
    layered = StagedStyleGAN2(generator)
    problem: Problem = jax.tree.map(lambda leaf: leaf[0], problems(layered, 1))
    for peer in peers.values():
        peer.pose(_for_peer(problem))
    steps = []
    for layer in range(len(problem.codes)):
        taking_part = peers if layer % _EVERY == 0 else {}
        steps.append(_layer_steps(layered, problem, layer, repeats, taking_part))
        print(describe_step(steps[-1]), flush=True)
        yield {"task": "step"} | steps[-1]
    found = summary(steps)
    print(describe_summary(found), flush=True)
    yield {"task": "mean of the steps"} | found
    for peer in peers.values():
        peer.close()
    for batch in batches:
        for mode, synthesis in (("layer-wise", layered), ("joint", StagedStyleGAN2(generator, joint=True))):
            measure.hand_back_memory()
            row = {"task": "edit", "mode": mode, "batch": batch} | _edits(synthesis, batch)
            print(
                "{mode}, batch {batch}: {seconds_per_image:.2f} s per image ({steps:.0f} steps)".format(**row),
                flush=True,
            )
            yield row
    measure.hand_back_memory()
    row = {"task": "channel analysis"} | _channel_analysis(generator, join_styles(problem.codes))
    print("channel analysis: {seconds:.1f} s, compiled in {compile:.1f} s".format(**row), flush=True)
    yield row


def problems(synthesis: StagedStyleGAN2, batch: int) -> Problem:
    """Random edits of random images, the normal with 93 % zeros, the mask a square in the middle."""

    @jax.jit
    @jax.vmap
    def pose(key: jax.Array) -> Problem:
        generator, config = synthesis.generator, synthesis.generator.config
        first, second, third = jax.random.split(key, 3)
        z = jax.random.normal(first, (config.z_dim,))
        step = jax.random.normal(second, z.shape)
        channels = sum(layer.width for layer in config.style_layers)
        normal = jnp.where(jnp.arange(channels) % 15 == 0, jax.random.normal(third, (channels,)), 0)
        edge = np.abs(np.arange(config.resolution) - config.resolution / 2) < config.resolution / 4
        before, after = (generator.styles(generator.map(code)) for code in (z, z + 0.2 * step))
        mask = edge[:, None] & edge[None]
        return style_intervention.pose(synthesis, before, after, split_styles(normal, config=config), mask)

    return pose(jax.random.split(jax.random.key(0), batch))


def _layer_steps(
    synthesis: StagedStyleGAN2, problem: Problem, layer: int, repeats: int, peers: dict[str, AdaPeer]
) -> dict[str, Any]:
    """One step on one layer: seconds of all contenders, and how far their gradients are from that of the first."""
    coefficients = tuple(jnp.full_like(code, _COEFFICIENT) for code in problem.codes)

    def before(synthesis: StagedStyleGAN2, problem: Problem) -> Any:
        codes, state = style_intervention.edited_codes(problem, coefficients), synthesis.start()
        for index in range(layer):
            state = synthesis.stage(state, codes[index], index=index)
        return state

    @jax.jit
    def prepared(synthesis: StagedStyleGAN2, problem: Problem) -> Prepared:
        codes = style_intervention.edited_codes(problem, coefficients)
        return prepare(synthesis, before(synthesis, problem), codes, index=layer)

    def whole(synthesis: StagedStyleGAN2, problem: Problem, _: Prepared, state: State) -> Any:
        return step(synthesis, problem, Prepared(before(synthesis, problem), None), state)

    state = style_intervention.init(problem, config=_CONFIG)._replace(coefficients=coefficients)
    if layer:
        state = style_intervention.next_layer(state, layer=layer - 1, config=_CONFIG)
    step = functools.partial(style_intervention.step, layer=layer, config=_CONFIG)
    arguments = (synthesis, problem, prepared(synthesis, problem), state)
    of_batch = (synthesis, *jax.tree.map(lambda leaf: leaf[None], arguments[1:]))
    calls = {"stages": (functools.partial(style_intervention.step_batch, layer=layer, config=_CONFIG), of_batch)}
    stages = {}
    for name, function in (("kept", step), ("whole network", whole)):
        compiled, stages[name] = measure.compile_in_stages(function, *arguments)
        calls[name] = (compiled, arguments)
    contenders, gradients = {}, {}
    for name, (function, given) in calls.items():
        contenders[name] = functools.partial(_call, function, given)
        gradients[name] = np.ravel(optax.tree.get(function(*given)[0].moments, "mu")) / _FIRST_MOMENT
    contenders |= {name: lambda _, peer=peer: peer.intervene(layer) for name, peer in peers.items()}
    steady = measure.in_turns(contenders, repeats, warm_up=1)
    gradients |= {name: peer.gradient() for name, peer in peers.items()}
    largest = np.abs(gradients["kept"]).max()
    errors = {name: float(np.abs(found - gradients["kept"]).max() / largest) for name, found in gradients.items()}
    name = synthesis.generator.config.style_layers[layer].name
    return {"layer": layer, "name": name, "steady": steady, "stages": stages, "gradient_errors": errors}


def _call(compiled: Any, arguments: tuple[Any, ...], _: int) -> None:
    jax.block_until_ready(compiled(*arguments))


def _for_peer(problem: Problem) -> dict[str, np.ndarray]:
    codes = np.asarray(join_styles(problem.codes))
    return {
        "codes": codes,
        "displacement": np.asarray(join_styles(problem.displacement)),
        "normal": np.asarray(join_styles(problem.normal)),
        "coefficients": np.full_like(codes, _COEFFICIENT),
        "outside": np.asarray(problem.outside),
        "image": np.asarray(problem.image),
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean seconds of a step for each contender, and beside it those of kept activations on the same layers."""
    found = {}
    for name in rows[0]["steady"]:
        common = [row for row in rows if name in row["steady"]]
        mean, kept = (float(np.mean([row["steady"][key]["median"] for row in common])) for key in (name, "kept"))
        error = max(row["gradient_errors"][name] for row in common)
        found[name] = {"layers": len(common), "seconds": mean, "ratio_to_kept": mean / kept, "gradient_error": error}
    return found


def _edits(synthesis: StagedStyleGAN2, batch: int) -> dict[str, float]:
    """Seconds of whole edits; the first call compiles."""
    posed, config = problems(synthesis, batch), _JOINT if synthesis.joint else _CONFIG
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        state = jax.block_until_ready(style_intervention.run_batch(synthesis, posed, config=config))
        seconds.append(time.perf_counter() - began)
    steps = float(np.mean(np.sum(state.steps, axis=1)))
    return {"seconds_per_image": seconds[1] / batch, "steps": steps, "first_call": seconds[0]}


def _channel_analysis(generator: StyleGAN2Generator, styles: jax.Array) -> dict[str, float]:
    """StyleSpace's gradient maps of one image, all channels; operations with direct convolutions, as on a GPU."""
    compiled, stages = measure.compile_in_stages(functools.partial(local_gradient_maps, size=_MAP), generator, styles)
    began = time.perf_counter()
    jax.block_until_ready(compiled(generator, styles))
    seconds = time.perf_counter() - began
    one_by_one = jax.jit(functools.partial(local_gradient_maps, size=_MAP, batch_size=1))
    body: Any = one_by_one.trace(generator, styles).lower(lowering_platforms=("cuda",)).cost_analysis()
    return {"seconds": seconds, "operations": _MAP**2 * body["flops"], **stages}  # XLA counts a loop's body once


def describe_step(row: dict[str, Any]) -> str:
    """One layer as a line of text."""
    times = ", ".join(f"{name} {1e3 * seconds['median']:.0f} ms" for name, seconds in row["steady"].items())
    return f"layer {row['layer']} ({row['name']}): {times}"


def describe_summary(found: dict[str, Any]) -> str:
    """The means as lines of text."""
    return "\n".join(
        f"    {name:24s} {1e3 * row['seconds']:9.1f} ms on {row['layers']} layers, {row['ratio_to_kept']:5.2f} x kept, "
        f"gradient error {row['gradient_error']:.1e}"
        for name, row in found.items()
    )
