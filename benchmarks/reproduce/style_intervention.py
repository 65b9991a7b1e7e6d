"""Style Intervention: Tables II, III, IV and VI, Figures 7 and 9."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from benchmarks.pictures import save_sheet
from benchmarks.reproduce import avatar_world, baselines, face_world
from benchmarks.reproduce import style_intervention_report as reports
from benchmarks.reproduce import world as worlds
from benchmarks.reproduce.edits import (
    Outcome,
    Path,
    Samples,
    changed,
    measured,
    samples_of,
    strength_for,
    styles_of,
    thumbnail,
)
from benchmarks.reproduce.tables import half_interval
from benchmarks.reproduce.world import Plan, World
from jaxedit import families, metrics
from jaxedit.directions.files import save_direction
from jaxedit.directions.svm import Boundary
from jaxedit.generators.stylegan2 import split_styles
from jaxedit.generators.stylegan2_staged import StagedStyleGAN2
from jaxedit.methods import style_intervention
from jaxedit.methods.style_intervention import InterventionConfig, Problem

_FIGURE_7 = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # strengths
_ABLATIONS = {
    "without L_pix": InterventionConfig(pixel_loss="none"),
    "without L_attr": InterventionConfig(attribute_weight=0.0),
    "without L_norm": InterventionConfig(norm_weight=0.0),
}
_TILES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Style Intervention (Liu et al., 2022)."""

    world: Literal["avatars", "faces"] = "avatars"
    """The built-in generator, or one of real faces with the networks that judge them."""
    checkpoint: FilePath = FilePath("ckpt/faces")
    """For faces: the generator ..."""
    faces: FilePath = FilePath("ckpt/face_api")
    """... and the folder of face-api's networks."""
    attributes: tuple[str, ...] = ()
    """Attributes that Fig. 7 and Tables III and IV take the mean of. Default: smile, eyeglasses, bangs, beard, age and
    blond_hair; of faces gender, age and smile."""
    samples: int | None = None
    """Images per attribute, which do not have it before. Default: 200; of faces 16."""
    svm_samples: int | None = None
    """Labelled samples that the boundaries are fitted to; three tenths of them validate. Default: 10,000; of faces
    2,000."""
    seed: int = 7
    """Of all samples."""
    output: FilePath = FilePath("benchmarks/output/style_intervention")
    """Folder for report.json, report.md, the sheets, and the directions in W."""


def stagings(generator: Any) -> dict[str, StagedStyleGAN2]:
    """The method and its variants by name."""
    return {
        reports.OURS: families.staged(generator),
        reports.JOINT: families.staged(generator, joint=True),
        reports.IN_W: families.staged(generator, space="w"),
        reports.IN_W_PLUS: families.staged(generator, space="w_plus"),
    }


def _config(synthesis: StagedStyleGAN2) -> InterventionConfig:
    return style_intervention.JOINT if synthesis.joint or synthesis.space == "w" else InterventionConfig()


def posed(world: World, synthesis: StagedStyleGAN2, bounds: Mapping[str, Boundary], samples: Samples) -> Problem:
    """The problems of Style Intervention in the space of the stages."""
    normal = jnp.asarray(bounds[synthesis.space].direction.vector)
    return worlds.batches(world.batch, _pose, (synthesis, baselines.z_step(bounds), normal), samples.z, samples.mask)


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


def intervened(
    synthesis: StagedStyleGAN2, problems: Problem, config: InterventionConfig, *, batch: int, smallest: int
) -> tuple[Path, float]:
    """What Style Intervention does to the images, and the mean of its steps."""
    parts: list[Any] = []
    for start in range(0, len(problems.image), batch):
        part = jax.tree.map(lambda leaf, start=start: jnp.asarray(leaf[start : start + batch]), problems)
        state = style_intervention.run_batch(synthesis, part, config=config, smallest=smallest)
        change = jax.vmap(style_intervention.merged)(part, state.coefficients)
        parts.append((*(_latents(synthesis, codes) for codes in (part.codes, change)), state.steps))
    start, displacement, steps = (np.concatenate(leaves) for leaves in zip(*parts, strict=True))
    return Path(synthesis.space, start, displacement), float(steps.sum(axis=1).mean())


def _latents(synthesis: StagedStyleGAN2, codes: Any) -> np.ndarray:
    """Codes of the stages for a batch, as one array of the space."""
    rows = np.concatenate([np.asarray(code).reshape(len(code), -1) for code in codes], axis=1)
    return rows.reshape(len(rows), synthesis.generator.config.num_ws, -1) if synthesis.space == "w_plus" else rows


def summary(outcome: Outcome, index: int, ours: Outcome | None = None, **extra: Any) -> dict[str, Any]:
    """Means over the images, half of their 95 % intervals, and those of the differences of the method to this one."""
    others = np.delete(np.abs(outcome.change), index, axis=1)
    found = {"mse": outcome.outside, "ssim": outcome.ssim, "id": outcome.identity}
    found |= {"ssim_outside": outcome.ssim_outside, "id_outside": outcome.identity_outside}
    means = {name: float(values.mean()) for name, values in found.items()}
    pairs = {"mse": ours.outside, "ssim": ours.ssim, "id": ours.identity} if ours else {}
    return {
        **means,
        "change": float(outcome.change[:, index].mean()),
        "others": float(others.mean()),
        "half": {name: half_interval(found[name]) for name in ("mse", "ssim", "id")},
        "to_ours": {
            name: [float((values - found[name]).mean()), half_interval(values - found[name])]
            for name, values in pairs.items()
        },
        **extra,
    }


def attribute_report(
    world: World,
    attribute: str,
    compared: Mapping[str, Path],
    ours: tuple[Path, float],
    ablated: Mapping[str, tuple[Path, float]],
    samples: Samples,
    output: FilePath,
) -> dict[str, Any]:
    """The method at strength 1, what it is compared with at the same change of the attribute, and its ablations.

    Writes the sheet: a row per method.
    """
    index = world.attributes.index(attribute)
    own = measured(world, samples, ours[0])
    outcomes = {reports.OURS: own}
    report = {reports.OURS: summary(own, index, strength=1.0, steps=ours[1])}
    for name, path in compared.items():
        if name.startswith(reports.OURS):
            report[f"{name}, strength 1"] = summary(measured(world, samples, path), index, own, strength=1.0)
        strength = strength_for(world, samples, path, attribute=index, goal=report[reports.OURS]["change"])
        outcomes[name] = measured(world, samples, path, strength)
        report[name] = summary(outcomes[name], index, own, strength=strength)
    for name, (path, steps) in ablated.items():
        outcomes[name] = measured(world, samples, path)
        report[name] = summary(outcomes[name], index, own, strength=1.0, steps=steps)
    rows = {"original": np.asarray(jax.jit(jax.vmap(thumbnail))(samples.image[:_TILES]))}
    rows |= {name: outcome.picture for name, outcome in outcomes.items()}
    tiles = (tile for row in rows.values() for tile in row[:_TILES])
    columns = [f"sample {number}" for number in range(len(rows["original"]))]
    save_sheet(output / f"{attribute}.jpg", tiles, rows=list(rows), columns=columns)
    return report


def beside_s(
    world: World, attribute: str, tested: Mapping[str, Path], plain: Path, samples: Samples
) -> dict[str, list[dict[str, Any]]]:
    """Each path at strength 1, and interpolation in S at the same change of the attribute."""
    index, report = world.attributes.index(attribute), {}
    for name, path in tested.items():
        ours = summary(measured(world, samples, path), index, strength=1.0)
        strength = strength_for(world, samples, plain, attribute=index, goal=ours["change"])
        report[name] = [ours, summary(measured(world, samples, plain, strength), index, strength=strength)]
    return report


def figure_7(world: World, samples: Samples, paths: Mapping[Any, Path]) -> dict[str, list[float]]:
    """Mean squared change outside the region against the strength, for each space."""
    return {
        space: [float(changed(world, samples, path, strength)[1].mean()) for strength in _FIGURE_7]
        for space, path in paths.items()
    }


def table_2(world: World, fitted: Fitted) -> dict[str, dict[str, float]]:
    """Accuracy of the boundaries in S on both sets, their zeros, and the share of the more frequent label."""
    report = {}
    for name, bound in fitted.boundaries["s"].items():
        positive = float(fitted.labels[0][:, world.attributes.index(name)].mean())
        report[name] = {
            "majority": max(positive, 1 - positive),
            "train": bound.train_accuracy,
            "validate": float(bound.direction.accuracy or 0),
            "sparsity": float(np.mean(np.asarray(bound.direction.vector) == 0)),
        }
    return report


def table_6(world: World, plan: Plan, bounds: Mapping[str, Boundary], samples: Samples) -> dict[str, dict[str, float]]:
    """Seconds for an image alone and in a batch, and peak memory of the former by XLA's analysis."""
    report = {}
    batch: Samples = jax.tree.map(lambda leaf: leaf[: world.batch], samples)
    for name, synthesis in stagings(world.generator).items():
        problems = jax.tree.map(jnp.asarray, posed(world, synthesis, bounds, batch))
        alone = functools.partial(style_intervention.run, config=_config(synthesis))
        single = [jax.tree.map(lambda leaf, i=i: leaf[i], problems) for i in range(_TILES)]
        report[name] = _cost(alone, [(synthesis, problem) for problem in single])
        report[name]["batched"] = _seconds_batched(synthesis, problems, plan.smallest)
        if name == reports.OURS:
            report[name]["never_shrunk"] = _seconds_batched(synthesis, problems, 2 * world.batch)
    flat = [jnp.asarray(code) for code in baselines.interpolation(world, bounds, batch)["s"].start[:_TILES]]
    report["StyleSpace: edit"] = _cost(_edit_channel, [(world.generator, code) for code in flat])
    report["StyleSpace: channel analysis"] = _cost(baselines.channel_maps, [(world.generator, code) for code in flat])
    return report


def _seconds_batched(synthesis: StagedStyleGAN2, problems: Problem, smallest: int) -> float:
    """Seconds per image of a batch that shrinks to `smallest`, compiled for other images of it before."""
    seconds = []
    for turn in range(4):  # the first compiles
        part = jax.tree.map(lambda leaf, turn=turn: jnp.roll(leaf, turn, axis=0), problems)
        began = time.perf_counter()
        state = style_intervention.run_batch(synthesis, part, config=_config(synthesis), smallest=smallest)
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[1:])) / len(part.image)


def _edit_channel(generator: Any, code: jax.Array) -> jax.Array:
    return generator.synthesize(styles_of(generator, code.at[0].add(1), space="s"), noise="const")


def _cost(function: Any, calls: Sequence[Any]) -> dict[str, float]:
    compiled, stages = measure.compile_in_stages(function, *calls[0])

    def call(turn: int) -> None:
        jax.block_until_ready(compiled(*calls[turn]))

    times = measure.in_turns({"call": call}, len(calls))
    return {"seconds": times["call"]["median"], "peak_bytes": stages["peak_bytes"], "compile": stages["compile"]}


def yardstick(world: World, samples: Samples) -> float:
    """The mean identity score of two different samples."""
    found = jnp.asarray(worlds.batches(world.batch, _embedded, world, samples.image))
    pairs = jax.vmap(metrics.identity_score)(found, jnp.roll(found, 1, axis=0))
    return float(pairs.mean())


def _embedded(world: World, image: jax.Array) -> jax.Array:
    return world.embed(image)


class Fitted(NamedTuple):
    """What all attributes share: boundaries by space, what they were fitted to, and channels' regions if known."""

    boundaries: dict[str, dict[str, Boundary]]
    codes: dict[str, np.ndarray]
    labels: np.ndarray
    activity: np.ndarray | None

    def of(self, attribute: str) -> dict[str, Boundary]:
        """The boundaries of one attribute by space."""
        return {space: found[attribute] for space, found in self.boundaries.items()}


def fit(world: World, plan: Plan, seed: int) -> Fitted:
    """Labels samples and fits the boundaries."""
    codes, labels = worlds.labelled_codes(world, count=plan.svm_samples, seed=seed)
    bounds, activity = worlds.boundaries(world, codes, labels, {*plan.attributes, *plan.bounded}, seed=seed), None
    if isinstance(world, avatar_world.AvatarWorld):
        activity = baselines.active_channels(world, count=plan.mapped_images, seed=seed + 2)
    return Fitted(bounds, codes, labels, activity)


def studied(
    world: World, plan: Plan, attribute: str, samples: Samples, fitted: Fitted, output: FilePath
) -> dict[str, Any]:
    """All that the report says of one attribute; of one that is only ablated, Fig. 9."""
    bounds = fitted.of(attribute)
    plain = baselines.interpolation(world, bounds, samples)
    compared, extra = {"Z": plain["z"]}, {}
    variants = stagings(world.generator)
    run = functools.partial(intervened, batch=plan.together, smallest=plan.smallest)
    problems = posed(world, variants[reports.OURS], bounds, samples)
    ours = run(variants[reports.OURS], problems, InterventionConfig())
    if attribute in plan.attributes:
        compared |= {"W": plain["w"], "W+": plain["w_plus"], "S": plain["s"]}
        extra["figure_7"] = figure_7(world, samples, compared)
        compared["InterFaceGAN"], extra["condition"] = baselines.interfacegan(
            world, fitted.boundaries["z"], samples, plain["z"], attribute
        )
        compared["StyleSpace"], extra["channel"] = baselines.stylespace(
            world, fitted.codes["s"], fitted.labels[0], fitted.activity, samples, plain["s"].start, attribute
        )
        for name in (name for name in variants if name in plan.variants):
            synthesis = variants[name]
            compared[name], _ = run(synthesis, posed(world, synthesis, bounds, samples), _config(synthesis))
        tested = {reports.JOINT: compared[reports.JOINT]}
        if reports.SHORTER in plan.variants:
            tested[reports.SHORTER], _ = run(variants[reports.OURS], shortened(problems), InterventionConfig())
        extra["tested"] = beside_s(world, attribute, tested, plain["s"], samples)
    ablations = _ABLATIONS if attribute in plan.ablated else {}
    ablated = {name: run(variants[reports.OURS], problems, config) for name, config in ablations.items()}
    methods = attribute_report(world, attribute, compared, ours, ablated, samples, output)
    return {"methods": methods, **extra}


def main(options: Options) -> None:
    """Measures, writes and prints."""
    if options.world == "faces":
        world, plan = face_world.load(options.checkpoint, options.faces), face_world.PLAN
    else:
        world, plan = avatar_world.load(), avatar_world.PLAN
    given = {field: getattr(options, field) for field in ("attributes", "samples", "svm_samples")}
    plan = plan._replace(**{field: value for field, value in given.items() if value})
    if unknown := set(plan.attributes) - set(world.attributes):
        raise SystemExit(
            f"error: --attributes: {unknown}; of {', '.join(world.attributes)}, one or more would be right"
        )
    (options.output / "directions").mkdir(parents=True, exist_ok=True)
    fitted = fit(world, plan, options.seed)
    for name, bound in fitted.boundaries["w"].items():
        save_direction(options.output / "directions" / f"{name}.safetensors", bound.direction)
    print("boundaries and channels: done", flush=True)
    report: dict[str, Any] = {
        "environment": measure.environment(),
        "world": options.world,
        "samples": plan.samples,
        "others": len(world.attributes) - 1,
        "deviations": baselines.DEVIATIONS,
        "strengths_of_figure_7": _FIGURE_7,
        "table_2": table_2(world, fitted),
        "attributes": {},
    }
    for attribute in dict.fromkeys((*plan.attributes, *plan.ablated)):
        samples = samples_of(world, attribute, count=plan.samples, seed=options.seed + 1)
        if "strangers" not in report:
            report["strangers"] = yardstick(world, samples)
        report["attributes"][attribute] = studied(world, plan, attribute, samples, fitted, options.output)
        if plan.costs and "table_6" not in report:
            report["table_6"] = table_6(world, plan, fitted.of(attribute), samples)
        (options.output / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(f"{attribute}: done", flush=True)
    text = reports.as_markdown(report, plan.attributes, plan.ablated)
    (options.output / "report.md").write_text(text, encoding="utf-8")
    print(text)
