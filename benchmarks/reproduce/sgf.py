"""SGF: Table 1, Fig. 6, 7 and 8, and what its mapping and its series are worth."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from benchmarks.pictures import save_sheet
from benchmarks.reproduce import sgf_attributes, sgf_report, sgf_targets
from benchmarks.reproduce.sgf_attributes import Judges, Way, flipped, measured, path_of_sgf, rows_of
from benchmarks.reproduce.world import batches
from jaxedit import avatars, checkpoints, sentences, sgf
from jaxedit.cli import manipulate, train_surrogate
from jaxedit.cli.options import Manipulate, TrainSurrogate
from jaxedit.cli.surrogates import field_of, latent_of
from jaxedit.directions.pca import principal_components

_ENTANGLED = ("gender", "beard", "age", "grey_hair")
_SHOWN = 3
_COMPONENTS = 40
_CLOSE = sgf.SgfConfig().threshold


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured in a world."""

    attributes: tuple[str, ...]
    spaces: tuple[str, ...]
    pairs: int
    steps: int
    width: int
    samples: int
    batch: int


AVATARS = Plan((*_ENTANGLED, "smile", "bangs", "black_hair", "eyeglasses"), ("w", "z"), 20_000, 10_000, 128, 100, 64)
FACES = Plan(("gender", "age", "smile"), ("w",), 4000, 6000, 512, 16, 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """SGF (Li et al., 2021)."""

    world: Literal["avatars", "faces"] = "avatars"
    """The built-in generator, or one of real faces with face-api's networks."""
    checkpoint: Path = Path("ckpt/faces")
    """For faces: the generator ..."""
    faces: Path = Path("ckpt/face_api")
    """... and the folder of face-api's networks."""
    sentences: Path | None = None
    """Encoder of captions for avatars, all-MiniLM-L6-v2. Default: a bag of words."""
    surrogates: Path = Path("benchmarks/output/surrogates")
    """Folder for the trainings of `jaxedit train-surrogate`, which go on where they were stopped."""
    samples: int | None = None
    """Edited pictures of each attribute. Default: 100; of faces 16."""
    seed: int = 7
    """Of the samples."""
    output: Path = Path("benchmarks/output/sgf")
    """Folder for report.json, report.md and the sheets."""


def main(options: Options) -> None:
    """Trains what is not trained yet, measures, writes and prints."""
    plan = AVATARS if options.world == "avatars" else FACES
    plan = dataclasses.replace(plan, samples=options.samples or plan.samples)
    options.output.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"environment": measure.environment(), "world": options.world}
    report |= {"plan": dataclasses.asdict(plan), "mappings": {}, "methods": {}}
    judge = avatars.load_judge() if options.world == "avatars" else None
    for space in plan.spaces:
        seen, known = surrogate(options, plan, space if options.world == "avatars" else "joint", space=space)
        report["mappings"][space] = known["measured"]
        study = functools.partial(_attributes, options, plan, Judges(seen, judge), space)
        found = _kept(options.output / f"attributes_{space}.json", study)
        report["methods"][space] = found["methods"]
        report |= {name: found[name] for name in found if name != "methods"}
    for study in (_keypoints, _sequence, _captions):
        if options.world == "avatars" or study is _keypoints:
            report |= _kept(options.output / f"{study.__name__[1:]}.json", functools.partial(study, options, plan))
    (options.output / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    text = sgf_report.as_markdown(report)
    (options.output / "report.md").write_text(text + "\n")
    print(text)


def _kept(path: Path, study: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a study found, from its file if an earlier run has finished it."""
    if not path.exists():
        found = study()
        path.write_text(json.dumps(found, indent=1) + "\n")
    return json.loads(path.read_text())


def surrogate(options: Options, plan: Plan, name: str, *, space: str) -> tuple[Any, dict[str, Any]]:
    """A trained mapping with all that it needs, from `--surrogates` or trained into it."""
    folder, given = options.surrogates / options.world / name, {}
    given["condition"] = {"joint": ("attributes", "keypoints"), "captions": ("captions",), "keypoints": ("keypoints",)}
    given["condition"] = given["condition"].get(name, ("attributes",))
    if options.world == "faces":
        given["faces"] = options.faces
    checkpoint = Path(checkpoints.BUILT_IN) if options.world == "avatars" else options.checkpoint
    command = TrainSurrogate(
        checkpoint=checkpoint,
        output=folder,
        space=space,
        samples=plan.pairs,
        width=plan.width,
        steps=plan.steps,
        batch_size=64,
        learning_rate=1e-3,
        sentences=options.sentences,
        **given,
    )
    if not (folder / "surrogate").exists():
        began = time.perf_counter()
        train_surrogate.run(command)
        print(f"{folder}: {time.perf_counter() - began:.0f} s")
    edit = Manipulate(
        checkpoint=checkpoint,
        surrogate=folder,
        output=options.output,
        faces=given.get("faces"),
        sentences=options.sentences,
    )
    return manipulate.read(edit, checkpoints.load(checkpoint))


def pairs_of(options: Options, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Latents and conditions of a training."""
    files = [np.load(path) for path in sorted((options.surrogates / options.world / name / "pairs").glob("pairs*.npz"))]
    return np.concatenate([file["z"] for file in files]), np.concatenate([file["c"] for file in files])


def latents(seen: Any, *, space: str, count: int, seed: int, size: int) -> np.ndarray:
    """Of random samples."""
    z = np.asarray(jax.random.normal(jax.random.key(seed), (count, seen.generator.config.z_dim)))
    return batches(size, latent_of, seen, z, space=space)


def _attributes(options: Options, plan: Plan, judges: Judges, space: str) -> dict[str, Any]:
    """Table 1 in one space; in the first also orders, solvers and pictures."""
    methods, report = {}, {}
    seen, size = judges.seen, plan.batch
    z, c = pairs_of(options, space if options.world == "avatars" else "joint")
    known = c[:, seen.conditions.places["attributes"]]
    start, tried = (
        latents(seen, space=space, count=count, seed=options.seed + turn, size=size)
        for turn, count in enumerate((plan.samples, sgf_attributes.TRIED))
    )
    before, before_tried = (sgf_targets.conditions(seen, one, space=space, size=size) for one in (start, tried))
    rows = rows_of(seen, start, space=space, size=size)
    components = principal_components(np.array_split(z, 4), count=_COMPONENTS)
    sheet: dict[str, np.ndarray] = {}
    for attribute in plan.attributes:
        index = seen.conditions.names.index(attribute)
        present, present_tried = before[:, index] > 0.5, before_tried[:, index] > 0.5
        ways, found = {}, {}
        path, ours = _by_sgf(seen, start, flipped(seen, before, attribute), space=space)
        ways["SGF"] = Way(rows_of(seen, path, space=space, size=size))
        labels = (z, (known[:, index] > 0.5).astype(np.int64))
        linear = sgf_attributes.interfacegan(start, present, labels, space=space)
        ways["InterFaceGAN"] = Way(rows_of(seen, linear, space=space, size=size))
        if space == "w":
            given = (z, known[:, index]), (tried, present_tried), start, present, index
            ways["GANSpace"] = sgf_attributes.ganspace(judges, components, *given, size=size)
        for name, way in ways.items():
            found[name] = measured(judges, rows, way, index, size=size)._asdict()
            shown = np.stack([rows[:_SHOWN], way.rows[:_SHOWN, _best(found[name])]], axis=1)
            sheet[f"{attribute}: {name}"] = shown.reshape(-1, *rows.shape[1:])
        found["SGF"] |= ours
        methods[attribute] = found
        areas = [f"{name} {one['judged']['score'][0]:.3f}" for name, one in found.items()]
        print(f"{space} {attribute}: {', '.join(areas)}", flush=True)
    if space == plan.spaces[0]:
        report["solutions"] = _solutions(plan, judges, start, before, rows, space=space)
        tiles = sgf_targets.drawn(seen, np.concatenate(list(sheet.values())), space="w_plus", size=size)
        columns = [name for sample in range(_SHOWN) for name in (f"sample {sample}", "edited")]
        save_sheet(options.output / "attributes.jpg", tiles, rows=list(sheet), columns=columns)
    return {"methods": methods, **report}


def _best(found: dict[str, Any]) -> int:
    """The strength whose accuracy and disentanglement have the highest harmonic mean (section 4.5)."""
    x, y = (np.array(found["judged"][name]) for name in ("accuracy", "disentanglement"))
    return int(np.argmax(x * y / np.maximum(x + y, 1e-9)))


def _by_sgf(
    seen: Any, start: np.ndarray, goals: Any, *, space: str, **settings: Any
) -> tuple[np.ndarray, dict[str, Any]]:
    """The path, and how it went."""
    began = time.perf_counter()
    path, info = path_of_sgf(seen, start, goals, space=space, config=sgf.SgfConfig(**settings))
    reached = np.nanmin(info.distances, axis=1) < _CLOSE
    numbers = {"reached": float(reached.mean()), "steps": float(info.steps.mean())}
    numbers["seconds"] = time.perf_counter() - began
    if info.ratios.shape[2]:
        numbers["largest_ratio"] = float(np.nanmax(info.ratios[:, :, -1]))
        numbers["diverging"] = float(np.asarray(jax.vmap(sgf.diverging)(info)).mean())
    return path, numbers


def _solutions(
    plan: Plan, judges: Judges, start: np.ndarray, before: np.ndarray, rows: np.ndarray, *, space: str
) -> list[dict[str, Any]]:
    """Orders of the series, the exact solution and better solvers, for one attribute."""
    seen, attribute = judges.seen, plan.attributes[0]
    index, goals = seen.conditions.names.index(attribute), flipped(seen, before, attribute)
    change = jnp.asarray(goals.condition - before) * 0.2
    exact = _displacements(seen, start, before, change, None)
    found = []
    for settings in sgf_report.SOLUTIONS:
        path, numbers = _by_sgf(seen, start, goals, space=space, **settings)
        way = Way(rows_of(seen, path, space=space, size=plan.batch))
        area = measured(judges, rows, way, index, size=plan.batch).judged["score"]
        order = None if settings.get("series") == "solve" else settings.get("order", 1)
        first = _displacements(seen, start, before, change, order)
        error = np.linalg.norm(first - exact, axis=1) / np.linalg.norm(exact, axis=1)
        found.append(
            {"settings": settings, "attribute": attribute, "score": area, "error": float(error.mean())} | numbers
        )
    return found


@functools.partial(jax.jit, static_argnames="order")
def _displacements(seen: Any, z: Any, c: Any, change: Any, order: int | None) -> jax.Array:
    """Of the first step; exact without an order."""
    f = functools.partial(field_of, seen)
    if order is None:
        return jax.vmap(functools.partial(sgf.exact_displacement, f))(z, c, change)
    return jax.vmap(functools.partial(sgf.displacement, f, order=order))(z, c, change)[0]


def _keypoints(options: Options, plan: Plan) -> dict[str, Any]:
    """Towards the keypoints of others, with a sheet."""
    seen, known, start = _joint(options, plan)
    space, size = plan.spaces[0], plan.batch
    found = sgf_targets.keypoints(seen, start, pairs_of(options, "joint")[1], space=space, size=size)
    pictures = np.stack([start, np.roll(start, 1, axis=0), found.pop("latents")], axis=1)[: 2 * _SHOWN]
    tiles = sgf_targets.drawn(seen, pictures.reshape(-1, start.shape[-1]), space=space, size=size)
    columns = ["original", "keypoints of", "edited"]
    save_sheet(options.output / "keypoints.jpg", tiles, rows=_samples(len(pictures)), columns=columns)
    return {"keypoints": found, "joint": known["measured"]}


def _sequence(options: Options, plan: Plan) -> dict[str, Any]:
    """One edit after the other, with a sheet."""
    seen, _, start = _joint(options, plan)
    space, size = plan.spaces[0], plan.batch
    rows, stages = sgf_targets.sequence(seen, start, space=space, size=size)
    stages = stages[: 2 * _SHOWN]
    tiles = sgf_targets.drawn(seen, stages.reshape(-1, start.shape[-1]), space=space, size=size)
    columns = ["original", *(row["edit"] for row in rows)]
    save_sheet(options.output / "sequence.jpg", tiles, rows=_samples(len(stages)), columns=columns)
    return {"sequence": rows}


def _captions(options: Options, plan: Plan) -> dict[str, Any]:
    """Towards sentences, with a sheet."""
    space, size = plan.spaces[0], plan.batch
    seen, known = surrogate(options, plan, "captions", space=space)
    encoder = sentences.load(options.sentences)
    start = latents(seen, space=space, count=min(32, plan.samples), seed=options.seed + 3, size=size)
    rows, moved = sgf_targets.captions(seen, start, encoder, avatars.load_judge(), space=space, size=size)
    shown = np.concatenate([start[None], moved])[:, : 2 * _SHOWN]
    tiles = sgf_targets.drawn(seen, shown.reshape(-1, start.shape[-1]), space=space, size=size)
    names = ["original", *sgf_targets.SENTENCES]
    save_sheet(options.output / "captions.jpg", tiles, rows=names, columns=_samples(shown.shape[1]))
    return {"captions": rows, "encoder": encoder.name, "captioned": known["measured"]}


def _joint(options: Options, plan: Plan) -> tuple[Any, dict[str, Any], np.ndarray]:
    """The mapping of attributes and keypoints, and samples."""
    space = plan.spaces[0]
    seen, known = surrogate(options, plan, "joint", space=space)
    count = min(64, plan.samples)
    return seen, known, latents(seen, space=space, count=count, seed=options.seed + 2, size=plan.batch)


def _samples(count: int) -> list[str]:
    return [f"sample {number}" for number in range(count)]
