"""Style Intervention on avatars: Tables II, III, IV and VI, Figures 7 and 9."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from benchmarks.pictures import save_sheet
from benchmarks.reproduce import baselines
from benchmarks.reproduce import style_intervention_report as reports
from benchmarks.reproduce import world as worlds
from benchmarks.reproduce.edits import Outcome, Path, Samples, measured, samples_of, strength_for, styles_of
from benchmarks.reproduce.world import World
from jaxedit import avatars, images
from jaxedit.directions.svm import Boundary
from jaxedit.generators.stylegan2 import StyleGAN2Generator, split_styles
from jaxedit.generators.stylegan2_staged import StagedStyleGAN2
from jaxedit.methods import style_intervention
from jaxedit.methods.style_intervention import InterventionConfig, Problem

_FIGURE_7 = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # strengths
_ABLATED = ("beard", "age", "gender")  # those of Fig. 9
_ABLATIONS = {
    "without L_pix": InterventionConfig(pixel_loss="none"),
    "without L_attr": InterventionConfig(attribute_weight=0.0),
    "without L_norm": InterventionConfig(norm_weight=0.0),
}
_SMALLEST = 16  # batch of images whose layers go on
_TILES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Style Intervention (Liu et al., 2022)."""

    attributes: tuple[str, ...] = ("smile", "eyeglasses", "bangs", "beard", "age", "blond_hair")
    """Attributes that Fig. 7 and Tables III and IV take the mean of."""
    samples: int = 200
    """Images per attribute, which do not have it before."""
    svm_samples: int = 10_000
    """Labelled samples that the boundaries are fitted to; three tenths of them validate."""
    mapped_images: int = 40
    """Images for StyleSpace's gradient maps."""
    seed: int = 7
    """Of all samples."""
    output: FilePath = FilePath("benchmarks/output/style_intervention")
    """Folder for report.json, report.md and the sheets."""


def stagings(generator: StyleGAN2Generator) -> dict[str, StagedStyleGAN2]:
    """The method and its variants by name."""
    return {
        reports.OURS: StagedStyleGAN2(generator),
        reports.JOINT: StagedStyleGAN2(generator, joint=True),
        reports.IN_W: StagedStyleGAN2(generator, "w"),
        reports.IN_W_PLUS: StagedStyleGAN2(generator, "w_plus"),
    }


def _config(synthesis: StagedStyleGAN2) -> InterventionConfig:
    return style_intervention.JOINT if synthesis.joint or synthesis.space == "w" else InterventionConfig()


def posed(synthesis: StagedStyleGAN2, bounds: Mapping[str, Boundary], samples: Samples) -> Problem:
    """The problems of Style Intervention in the space of the stages."""
    normal = jnp.asarray(bounds[synthesis.space].direction.vector)
    return worlds.batches(_pose, (synthesis, baselines.z_step(bounds), normal), samples.z, samples.mask)


def _pose(shared: Any, z: jax.Array, mask: jax.Array) -> Problem:
    synthesis, step, normal = shared
    split = functools.partial(split_styles, config=synthesis.generator.config)
    before, after = (baselines.codes_of(synthesis.generator, code)[synthesis.space] for code in (z, z + step))
    latent, edited, along = (split(code) if synthesis.space == "s" else code for code in (before, after, normal))
    return style_intervention.pose(synthesis, latent, edited, along, mask)


@jax.jit
@jax.vmap
def shortened(problem: Problem) -> Problem:
    """The problem with s_n as long as s_z reaches along it, where Algorithm 1 has it as long as s_z."""
    along, square = (
        sum(jnp.vdot(part, normal) for part, normal in zip(parts, problem.normal, strict=True))
        for parts in (problem.displacement, problem.normal)
    )
    return problem._replace(normal=tuple(jnp.maximum(along, 0) / square * part for part in problem.normal))


def intervened(synthesis: StagedStyleGAN2, problems: Problem, config: InterventionConfig) -> tuple[Path, float]:
    """What Style Intervention does to the images, and the mean of its steps."""
    parts: list[Any] = []
    for start in range(0, len(problems.image), worlds.BATCH):
        part = jax.tree.map(lambda leaf, start=start: jnp.asarray(leaf[start : start + worlds.BATCH]), problems)
        state = style_intervention.run_batch(synthesis, part, config=config, smallest=_SMALLEST)
        change = jax.vmap(style_intervention.merged)(part, state.coefficients)
        parts.append((*(_latents(synthesis, codes) for codes in (part.codes, change)), state.steps))
    start, displacement, steps = (np.concatenate(leaves) for leaves in zip(*parts, strict=True))
    return Path(synthesis.space, start, displacement), float(steps.sum(axis=1).mean())


def _latents(synthesis: StagedStyleGAN2, codes: Any) -> np.ndarray:
    """Codes of the stages for a batch, as one array of the space."""
    rows = np.concatenate([np.asarray(code).reshape(len(code), -1) for code in codes], axis=1)
    return rows.reshape(len(rows), synthesis.generator.config.num_ws, -1) if synthesis.space == "w_plus" else rows


def summary(outcome: Outcome, index: int, **extra: Any) -> dict[str, Any]:
    """Means over the images."""
    others = np.delete(np.abs(outcome.change), index, axis=1)
    return {
        "mse": float(outcome.outside.mean()),
        "ssim": float(outcome.ssim.mean()),
        "id": float(outcome.identity.mean()),
        "ssim_outside": float(outcome.ssim_outside.mean()),
        "id_outside": float(outcome.identity_outside.mean()),
        "change": float(outcome.change[:, index].mean()),
        "others": float(others.mean()),
        **extra,
    }


def attribute_report(
    world: World, attribute: str, compared: Mapping[str, Path], samples: Samples, problems: Problem, output: FilePath
) -> dict[str, Any]:
    """The method at strength 1, what it is compared with at the same change of the attribute, and its ablations.

    Writes the sheet: a row per method.
    """
    index = avatars.ATTRIBUTES.index(attribute)
    ours, steps = intervened(StagedStyleGAN2(world.generator), problems, InterventionConfig())
    outcomes = {reports.OURS: measured(world, samples, ours)}
    report = {reports.OURS: summary(outcomes[reports.OURS], index, strength=1.0, steps=steps)}
    for name, path in compared.items():
        if name.startswith(reports.OURS):
            report[f"{name}, strength 1"] = summary(measured(world, samples, path), index, strength=1.0)
        strength = strength_for(world, samples, path, attribute=index, goal=report[reports.OURS]["change"])
        outcomes[name] = measured(world, samples, path, strength)
        report[name] = summary(outcomes[name], index, strength=strength)
    if attribute in _ABLATED:
        for name, config in _ABLATIONS.items():
            path, steps = intervened(StagedStyleGAN2(world.generator), problems, config)
            outcomes[name] = measured(world, samples, path)
            report[name] = summary(outcomes[name], index, strength=1.0, steps=steps)
    rows = {"original": np.asarray(images.to_uint8(jnp.asarray(samples.image)))}
    rows |= {name: outcome.picture for name, outcome in outcomes.items()}
    tiles = (tile for row in rows.values() for tile in row[:_TILES])
    columns = [f"sample {number}" for number in range(_TILES)]
    save_sheet(output / f"{attribute}.jpg", tiles, rows=list(rows), columns=columns)
    return report


def beside_s(
    world: World, attribute: str, tested: Mapping[str, Path], plain: Path, samples: Samples
) -> dict[str, list[dict[str, Any]]]:
    """Each path at strength 1, and interpolation in S at the same change of the attribute."""
    index, report = avatars.ATTRIBUTES.index(attribute), {}
    for name, path in tested.items():
        ours = summary(measured(world, samples, path), index, strength=1.0)
        strength = strength_for(world, samples, plain, attribute=index, goal=ours["change"])
        report[name] = [ours, summary(measured(world, samples, plain, strength), index, strength=strength)]
    return report


def figure_7(world: World, samples: Samples, paths: Mapping[Any, Path]) -> dict[str, list[float]]:
    """Mean squared change outside the region against the strength, for each space."""
    return {
        space: [float(measured(world, samples, path, strength).outside.mean()) for strength in _FIGURE_7]
        for space, path in paths.items()
    }


def table_2(every: Sequence[Boundary], labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Accuracy of the boundaries in S on both sets, their zeros, and the share of the more frequent label."""
    return {
        bound.direction.name: {
            "majority": float(max(positive.mean(), 1 - positive.mean())),
            "train": bound.train_accuracy,
            "validate": float(bound.direction.accuracy or 0),
            "sparsity": float(np.mean(np.asarray(bound.direction.vector) == 0)),
        }
        for bound, positive in zip(every, labels.T, strict=True)
    }


def table_6(world: World, bounds: Mapping[str, Boundary], samples: Samples) -> dict[str, dict[str, float]]:
    """Seconds for an image alone and in a batch, and peak memory of the former by XLA's analysis."""
    report = {}
    batch: Samples = jax.tree.map(lambda leaf: leaf[: worlds.BATCH], samples)
    for name, synthesis in stagings(world.generator).items():
        problems = jax.tree.map(jnp.asarray, posed(synthesis, bounds, batch))
        alone = functools.partial(style_intervention.run, config=_config(synthesis))
        single = [jax.tree.map(lambda leaf, i=i: leaf[i], problems) for i in range(_TILES)]
        report[name] = _cost(alone, [(synthesis, problem) for problem in single])
        report[name]["batched"] = _seconds_batched(synthesis, problems, _SMALLEST)
        if name == reports.OURS:
            report[name]["never_shrunk"] = _seconds_batched(synthesis, problems, 2 * worlds.BATCH)
    flat = [jnp.asarray(code) for code in baselines.interpolation(world, bounds, batch)["s"].start[:_TILES]]
    report["StyleSpace: edit"] = _cost(_edit_channel, [(world.generator, code) for code in flat])
    report["StyleSpace: channel analysis"] = _cost(baselines.channel_maps, [(world.generator, code) for code in flat])
    return report


def _seconds_batched(synthesis: StagedStyleGAN2, problems: Problem, smallest: int) -> float:
    """Seconds per image of a batch that shrinks to `smallest`, compiled for other images of it before."""
    seconds = []
    for turn in range(4):  # the first compiles
        part = jax.tree.map(lambda leaf, turn=turn: jnp.roll(leaf, turn, axis=0)[: worlds.BATCH], problems)
        began = time.perf_counter()
        state = style_intervention.run_batch(synthesis, part, config=_config(synthesis), smallest=smallest)
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[1:])) / len(part.image)


def _edit_channel(generator: StyleGAN2Generator, code: jax.Array) -> jax.Array:
    return generator.synthesize(styles_of(generator, code.at[0].add(1), space="s"), noise="const")


def _cost(function: Any, calls: Sequence[Any]) -> dict[str, float]:
    compiled, stages = measure.compile_in_stages(function, *calls[0])

    def call(turn: int) -> None:
        jax.block_until_ready(compiled(*calls[turn]))

    times = measure.in_turns({"call": call}, len(calls))
    return {"seconds": times["call"]["median"], "peak_bytes": stages["peak_bytes"], "compile": stages["compile"]}


def main(options: Options) -> None:
    """Measures, writes and prints."""
    if unknown := set(options.attributes) - set(avatars.ATTRIBUTES) or not options.attributes:
        raise SystemExit(
            f"error: --attributes: {unknown}; of {', '.join(avatars.ATTRIBUTES)}, one or more would be right"
        )
    options.output.mkdir(parents=True, exist_ok=True)
    world = worlds.load_world()
    codes, labels = worlds.labelled_codes(world, count=options.svm_samples, seed=options.seed)
    every = worlds.boundaries(codes, labels, seed=options.seed)
    activity = baselines.active_channels(world, count=options.mapped_images, seed=options.seed + 2)
    print("boundaries and channels: done", flush=True)
    report: dict[str, Any] = {
        "environment": measure.environment(),
        "samples": options.samples,
        "deviations": baselines.DEVIATIONS,
        "strengths_of_figure_7": _FIGURE_7,
        "table_2": table_2(every["s"], labels[0]),
        "attributes": {},
    }
    variants = stagings(world.generator)
    ours = variants.pop(reports.OURS)
    for attribute in dict.fromkeys((*options.attributes, *_ABLATED)):
        index = avatars.ATTRIBUTES.index(attribute)
        bounds: dict[str, Boundary] = {space: found[index] for space, found in every.items()}
        samples = samples_of(world, attribute, count=options.samples, seed=options.seed + 1)
        plain = baselines.interpolation(world, bounds, samples)
        compared, extra = {"Z": plain["z"]}, {}
        problems = posed(ours, bounds, samples)
        if attribute in options.attributes:
            compared |= {"W": plain["w"], "W+": plain["w_plus"], "S": plain["s"]}
            extra["figure_7"] = figure_7(world, samples, compared)
            compared["InterFaceGAN"], extra["condition"] = baselines.interfacegan(
                world, every["z"], samples, plain["z"], attribute
            )
            compared["StyleSpace"], extra["channel"] = baselines.stylespace(
                world, codes["s"], labels[0], activity, samples, plain["s"].start, attribute
            )
            for name, synthesis in variants.items():
                compared[name], _ = intervened(synthesis, posed(synthesis, bounds, samples), _config(synthesis))
            shorter, _ = intervened(ours, shortened(problems), _config(ours))
            tested = {reports.JOINT: compared[reports.JOINT], reports.SHORTER: shorter}
            extra["tested"] = beside_s(world, attribute, tested, plain["s"], samples)
        methods = attribute_report(world, attribute, compared, samples, problems, options.output)
        report["attributes"][attribute] = {"methods": methods, **extra}
        if "table_6" not in report:
            report["table_6"] = table_6(world, bounds, samples)
        (options.output / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(f"{attribute}: done", flush=True)
    text = reports.as_markdown(report, options.attributes, _ABLATED)
    (options.output / "report.md").write_text(text, encoding="utf-8")
    print(text)
