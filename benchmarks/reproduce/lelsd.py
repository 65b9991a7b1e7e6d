"""LELSD: Fig. 3, 4 and 5, and what section 4 says of distinct directions, sequential edits and time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from benchmarks import measure
from benchmarks.pictures import save_sheet
from benchmarks.reproduce import first_order, lelsd_report, sequences
from benchmarks.reproduce.lelsd_report import CHANNEL, LOW_RANK, OURS
from benchmarks.reproduce.localization import PSI, Curve, Judges, at_distance, curve, pictures, starts
from benchmarks.reproduce.tables import half_interval
from benchmarks.reproduce.world import batches
from jaxedit import avatars, checkpoints, faces, lelsd
from jaxedit.cli import find_direction
from jaxedit.cli.options import FindDirection
from jaxedit.directions.files import load_direction, save_direction
from jaxedit.generators.base import Generator
from jaxedit.spaces import Direction, edited, joined

STRENGTHS = 3.0 * 2.0 ** (0.75 * np.arange(8))  # of directions of length 1, or of channels in deviations
_CANDIDATES = 4  # channels of which the best is taken


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured in a world."""

    parts: tuple[str, ...]
    twice: str
    distances: tuple[float, ...]
    samples: int
    chosen_on: int
    slopes_at: int
    side: int
    batch: int
    steps: int


AVATARS = Plan(
    parts=("mouth", "eyes", "brows", "hair", "skin", "cloth", "background", "nose"),
    twice="hair",
    distances=(0.02, 0.05, 0.1, 0.15),
    samples=32,
    chosen_on=8,
    slopes_at=8,
    side=16,
    batch=8,
    steps=400,
)
FACES = Plan(
    parts=("mouth", "eyes", "brows", "nose"),
    twice="",
    distances=(0.02, 0.05, 0.1, 0.15),
    samples=6,
    chosen_on=2,
    slopes_at=1,
    side=8,
    batch=1,
    steps=100,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """LELSD (Pajouheshgar et al., 2021)."""

    lpips: Path
    """LPIPS with AlexNet, converted: the distance that edits are compared at."""
    world: Literal["avatars", "faces"] = "avatars"
    """The built-in generator with its parser, or one of real faces with landmarks."""
    checkpoint: Path = Path("ckpt/faces")
    """For faces: the generator ..."""
    faces: Path = Path("ckpt/face_api")
    """... and the folder of face-api's networks."""
    parts: tuple[str, ...] = ()
    """Default: mouth, eyes, brows, hair, skin, cloth, background and nose; of faces the first three and nose."""
    samples: int | None = None
    """Edited pictures. Default: 32; of faces 6."""
    space: str = "s"
    """Space of LELSD's directions."""
    steps: int | None = None
    """Of the optimisation of each direction. Default: 400; of faces 100."""
    learning_rate: float = 0.02
    """Of Adam."""
    reach: float = 20.0
    """Largest strength of the optimisation."""
    directions: Path | None = None
    """Folder that `jaxedit find-direction` wrote for these parts, in place of optimising them here."""
    seed: int = 7
    """Of the samples."""
    output: Path = Path("benchmarks/output/lelsd")
    """Folder for report.json, report.md, the sheets and the directions."""


def main(options: Options) -> None:
    """Measures, writes and prints."""
    plan, judges = _given(options)
    (options.output / "directions").mkdir(parents=True, exist_ok=True)
    z = np.asarray(jax.random.normal(jax.random.key(options.seed), (plan.samples, judges.generator.config.z_dim)))
    other = np.asarray(jax.random.normal(jax.random.key(options.seed + 1), (plan.chosen_on, z.shape[1])))
    report: dict[str, Any] = {"environment": measure.environment(), "world": options.world}
    report["plan"] = dataclasses.asdict(plan)
    report["candidates"] = _CANDIDATES
    found, report["training"] = _given_or_found(options, plan, judges)
    ours = {part: _unit(direction) for part, direction in zip(plan.parts, found, strict=True)}
    latents = starts(judges, z, batch=plan.batch)
    chosen_on = starts(judges, other, batch=plan.batch)
    rivals = _rivals(judges, plan, chosen_on)
    report["parts"], curves = {}, {}
    for part in plan.parts:
        methods = {OURS: ours[part]} | rivals[part]
        curves[part] = {
            name: curve(judges, latents, direction, part=part, parts=plan.parts, strengths=STRENGTHS, batch=plan.batch)
            for name, direction in methods.items()
        }
        report["parts"][part] = _summaries(plan, curves[part])
        report["parts"][part]["chosen"] = {name: direction.name for name, direction in rivals[part].items()}
        _draw_figure_4(options, plan, judges, part, latents, methods, curves[part])
        print(f"{part}: done", flush=True)
    levels = {part: _level(curves[part][OURS], plan.distances[1]) for part in plan.parts}
    order = plan.parts[:4]
    report["sequence"] = sequences.measured(
        judges, latents, [ours[part] for part in order], [levels[part] for part in order], parts=order, batch=plan.batch
    )
    sequences.draw(options.output / "sequence.jpg", report["sequence"].pop("pictures"), order)
    if plan.twice:
        report["twice"] = _twice(options, plan, judges, latents)
    (options.output / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = lelsd_report.as_markdown(report)
    (options.output / "report.md").write_text(text, encoding="utf-8")
    print(text)


def _given(options: Options) -> tuple[Plan, Judges]:
    plan = AVATARS if options.world == "avatars" else FACES
    asked = {"parts": options.parts, "samples": options.samples, "steps": options.steps}
    plan = dataclasses.replace(plan, **{name: value for name, value in asked.items() if value})
    perceptual = checkpoints.load_network(options.lpips)
    if options.world == "avatars":
        return plan, Judges(avatars.load_generator(), avatars.load_parser(), perceptual, avatars.load_judge())
    networks = faces.load(options.faces)
    return plan, Judges(checkpoints.load(options.checkpoint), networks, perceptual, networks)


def _unit(direction: Direction) -> Direction:
    vector = np.asarray(direction.vector)
    return dataclasses.replace(direction, vector=vector / np.linalg.norm(vector), unit=1.0)


def _given_or_found(options: Options, plan: Plan, judges: Judges) -> tuple[list[Direction], dict[str, Any]]:
    if options.directions is None:
        return _optimised(options, plan, judges, plan.parts, 1)
    files = [options.directions / f"{part.replace('+', '_')}.safetensors" for part in plan.parts]
    training = json.loads((options.directions / "directions.json").read_text(encoding="utf-8"))
    return [load_direction(path, generator=judges.generator) for path in files], training


def _optimised(
    options: Options, plan: Plan, judges: Judges, parts: tuple[str, ...], count: int, weight: float = 0.0
) -> tuple[list[Direction], dict[str, Any]]:
    """LELSD's directions, `count` for each part, as `jaxedit find-direction` finds them; scores and seconds."""
    command = FindDirection(
        checkpoint=Path("avatars") if options.world == "avatars" else options.checkpoint,
        part=parts,
        output=options.output,
        space=options.space,
        truncation_psi=PSI,
    )
    reach = (-options.reach, options.reach)
    config = dataclasses.replace(
        lelsd.PAPER,
        directions=count,
        steps=plan.steps,
        learning_rate=options.learning_rate,
        strengths=reach,
        regularizer_weight=weight,
    )
    directions, report = find_direction.found(command, judges.generator, judges.segmenter, config)
    for direction in directions:
        save_direction(options.output / "directions" / f"{direction.name}.safetensors", direction)
    return directions, report


def _rivals(judges: Judges, plan: Plan, latents: np.ndarray) -> dict[str, dict[str, Direction]]:
    """For each part the best of StyleSpace's channels and of LowRankGAN's directions, chosen on other samples.

    The best has the largest share inside the part at the second distance, among those that reach it on most samples.
    """
    found = first_order.slopes(judges, latents[: plan.slopes_at], parts=plan.parts, side=plan.side)
    deviation = batches(plan.batch, _styles, judges.generator, latents).std(axis=0)

    def worth(direction: Direction, part: str) -> float:
        measured = curve(
            judges, latents, direction, part=part, parts=plan.parts, strengths=STRENGTHS[::2], batch=plan.batch
        )
        share = at_distance(measured, STRENGTHS[::2], plan.distances[1])["share"]
        return float(np.nanmean(share)) if np.isfinite(share).mean() > 0.5 else -1.0

    rivals = {}
    for index, part in enumerate(plan.parts):
        channels = first_order.channel_candidates(found, deviation, part=index, count=_CANDIDATES)
        low_rank = first_order.low_rank_candidates(found, part=index, shape=latents.shape[1:])
        rivals[part] = {
            name: max(candidates, key=lambda direction: worth(direction, part))
            for name, candidates in ((CHANNEL, channels), (LOW_RANK, map(_unit, low_rank)))
        }
        print(f"{part}: {', '.join(direction.name for direction in rivals[part].values())}", flush=True)
    return rivals


def _styles(generator: Generator, latent: jax.Array) -> jax.Array:
    return joined(edited(generator, latent, start="w_plus"))


def _summaries(plan: Plan, curves: Mapping[str, Curve]) -> dict[str, Any]:
    """Of each method at each distance: mean and half interval of what was measured, and how many edits reached it."""
    report: dict[str, Any] = {}
    for name, measured in curves.items():
        report[name] = {}
        for distance in plan.distances:
            found = at_distance(measured, STRENGTHS, distance)
            reached = np.isfinite(found["share"])
            row: dict[str, Any] = {"reached": float(reached.mean())}
            for key, values in found.items():
                kept = values[reached]
                row[key] = [float(kept.mean()), half_interval(kept)] if reached.sum() > 1 else None
            report[name][str(distance)] = row
    return report


def _level(measured: Curve, distance: float) -> float:
    """The median strength that reaches a distance, or the largest."""
    found = at_distance(measured, STRENGTHS, distance)["strength"]
    return float(np.nanmedian(found)) if np.isfinite(found).any() else float(STRENGTHS[-1])


def _draw_figure_4(
    options: Options,
    plan: Plan,
    judges: Judges,
    part: str,
    latents: np.ndarray,
    methods: Mapping[str, Direction],
    curves: Mapping[str, Curve],
) -> None:
    """Two samples, each as every method edits it at every distance, positive strengths."""
    tiles, rows = [], []
    for number in range(2):
        for name, direction in methods.items():
            found = [at_distance(curves[name], STRENGTHS, distance)["strength"] for distance in plan.distances]
            strengths = np.asarray([0.0, *(np.nan_to_num(one[number, 0], nan=STRENGTHS[-1]) for one in found)])
            many = np.broadcast_to(latents[number], (len(strengths), *latents[number].shape))
            tiles += list(pictures(judges.generator, many, direction, strengths, batch=plan.batch))
            rows.append(f"{number}: {name}")
    columns = ["original", *(f"d = {distance:g}" for distance in plan.distances)]
    save_sheet(options.output / f"{part}.jpg", tiles, rows=rows, columns=columns)


def _twice(options: Options, plan: Plan, judges: Judges, latents: np.ndarray) -> dict[str, Any]:
    """Fig. 3: two directions for one part, with the regulariser at several weights."""
    report: dict[str, Any] = {"part": plan.twice, "weights": {}}
    for weight in lelsd_report.WEIGHTS:
        pair, training = _optimised(options, plan, judges, (plan.twice,), 2, weight)
        pair = [_unit(direction) for direction in pair]
        curves = [
            curve(judges, latents, one, part=plan.twice, parts=plan.parts, strengths=STRENGTHS, batch=plan.batch)
            for one in pair
        ]
        strengths = [_level(found, plan.distances[2]) for found in curves]
        report["weights"][str(weight)] = {
            "training": training,
            "directions": float(np.vdot(pair[0].vector, pair[1].vector)),
            "effects": sequences.likeness(judges, latents, pair, strengths, batch=plan.batch),
            "share": [float(np.nanmean(at_distance(found, STRENGTHS, plan.distances[2])["share"])) for found in curves],
        }
        if weight == lelsd_report.CHOSEN:
            sequences.draw_palette(options.output / "twice.jpg", judges, latents, pair, strengths, batch=plan.batch)
    return report
