"""Style Intervention on avatars: Tables II, III, IV and VI, Figures 7 and 9."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from benchmarks.reproduce import world as worlds
from benchmarks.reproduce.world import Outcome, World
from jaxedit import avatars, images, regions
from jaxedit.directions import channels
from jaxedit.directions.svm import Boundary, condition
from jaxedit.methods import style_intervention
from jaxedit.methods.style_intervention import InterventionConfig, Problem
from jaxedit.spaces import Space, split_styles
from jaxedit.staged import StagedStyleGAN2

_STEP = 2.5  # standard deviations in Z
_FIGURE_7 = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # of that step
_ABLATED = ("beard", "age", "gender")  # those of Fig. 9
_ENTANGLED = 0.1  # change of another attribute's probability that InterFaceGAN conditions on
_EXAMPLES = 30  # positive examples for StyleSpace, as in its section 5
_LOCAL = 0.5  # share of the images in which a channel has to act most in the attribute's region
_MULTIPLES = (2.0, 4.0, 8.0, 16.0, 32.0)  # of a channel's standard deviation
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
    output: Path = Path("benchmarks/results/style_intervention")
    """Folder for report.json, report.md and the sheets."""


class Edits(NamedTuple):
    """Latents of the images to edit and where they may change: `[samples, ...]` each."""

    z: np.ndarray
    image: np.ndarray
    mask: np.ndarray


def edits_of(world: World, attribute: str, options: Options) -> Edits:
    """The images of one attribute."""
    index = avatars.ATTRIBUTES.index(attribute)
    z = worlds.without(world, index, count=options.samples, seed=options.seed + 1)
    generator = world.generator

    def drawn(z: jax.Array) -> Any:
        image = generator.synthesize(generator.styles(generator.map(z)), noise="const")
        return image, worlds.mask_for(world, image, attribute)

    return Edits(z, *worlds.batches(drawn, z))


def interpolated(world: World, bounds: dict[Space, Boundary], z: jax.Array, step: float) -> dict[str, Any]:
    """Styles of one image moved along the normal of each space, as far as the step in Z takes it there (Fig. 7)."""
    generator = world.generator
    normal = {space: jnp.asarray(bound.direction.vector) for space, bound in bounds.items()}
    moved = z + step * bounds["z"].direction.unit * normal["z"]
    w, w_moved = generator.map(z), generator.map(moved)
    rows, rows_moved = (jnp.tile(x, (generator.config.num_ws, 1)) for x in (w, w_moved))
    styles, styles_moved = generator.styles(w), generator.styles(w_moved)
    along = jax.tree.map(jnp.subtract, styles_moved, styles)
    s_normal = split_styles(worlds.length(along) * normal["s"], config=generator.config)
    return {
        "Z": styles_moved,
        "W": generator.styles(w + jnp.linalg.norm(w_moved - w) * normal["w"]),
        "W+": generator.styles(rows + worlds.length(rows_moved - rows) * normal["w_plus"]),
        "S": jax.tree.map(jnp.add, styles, s_normal),
    }


def measured(world: World, edits: Edits, styles: Any) -> tuple[Outcome, np.ndarray]:
    """Outcomes and 8-bit images of edited styles, one row each."""

    def one(image: jax.Array, mask: jax.Array, styles: Any) -> Any:
        edited = world.generator.synthesize(styles, noise="const")
        return worlds.outcome(world, image, edited, mask), images.to_uint8(edited)

    return worlds.batches(one, edits.image, edits.mask, styles)


def figure_7(world: World, bounds: dict[Space, Boundary], edits: Edits) -> dict[str, list[float]]:
    """Mean squared change outside the region against the step, for each space."""
    found: dict[str, list[float]] = {}
    for fraction in _FIGURE_7:
        styles = worlds.batches(functools.partial(interpolated, world, bounds, step=fraction * _STEP), edits.z)
        for space, moved in styles.items():
            found.setdefault(space, []).append(float(measured(world, edits, moved)[0].outside.mean()))
    return found


def interfacegan(
    world: World, every: Sequence[Boundary], index: int, edits: Edits, plain: Outcome
) -> tuple[Any, list[str]]:
    """Styles after the step along the normal in Z without the attributes that the plain edit changes too."""
    changes = np.abs(plain.change).mean(axis=0)
    others = [i for i in range(len(every)) if i != index and changes[i] > _ENTANGLED]
    direction = condition(every[index].direction, [every[i].direction for i in others])
    generator = world.generator

    def moved(z: jax.Array) -> Any:
        return generator.styles(generator.map(z + _STEP * direction.unit * jnp.asarray(direction.vector)))

    return worlds.batches(moved, edits.z), [avatars.ATTRIBUTES[i] for i in others]


def active_channels(world: World, options: Options) -> np.ndarray:
    """`[channels, regions]`: the share of random images in which a channel acts most in a region of StyleSpace's."""
    generator = world.generator
    draw = lambda flat: generator.synthesize(split_styles(flat, config=generator.config))  # noqa: E731

    @jax.jit
    def overlaps(key: jax.Array) -> jax.Array:
        styles = generator.styles(generator.map(jax.random.normal(key, (generator.config.z_dim,))))
        parsing = jnp.argmax(world.parser.segment(generator.synthesize(styles)), axis=-1)
        maps = channels.gradient_maps(draw, jnp.concatenate(styles), size=16)
        return channels.region_overlaps(maps, parsing, regions.STYLESPACE_REGIONS)

    keys = jax.random.split(jax.random.key(options.seed + 2), options.mapped_images)
    return np.asarray(channels.activity(jnp.stack([overlaps(key) for key in keys])))


def stylespace(
    world: World, codes: np.ndarray, labels: np.ndarray, activity: np.ndarray, attribute: str, edits: Edits, goal: float
) -> tuple[Any, dict[str, Any]]:
    """Styles with the best local channel moved as far as the mean change of the attribute needs to reach a goal."""
    index = avatars.ATTRIBUTES.index(attribute)
    deviation = codes.std(axis=0)
    ranking = channels.rank_channels(codes[labels[:, index]][:_EXAMPLES], codes.mean(axis=0), deviation)
    wanted = set(regions.classes_of(attribute))
    inside = activity[:, [bool(wanted & set(region)) for region in regions.STYLESPACE_REGIONS]].sum(axis=1)
    local = [int(channel) for channel in np.asarray(ranking.order) if inside[channel] >= _LOCAL]
    direction = channels.channel_direction(ranking.difference, deviation, channel=local[0])
    vector = split_styles(direction.unit * jnp.asarray(direction.vector), config=world.generator.config)

    def moved(multiple: float) -> Any:
        def one(z: jax.Array) -> Any:
            styles = world.generator.styles(world.generator.map(z))
            return jax.tree.map(lambda s, v: s + multiple * v, styles, vector)

        return worlds.batches(one, edits.z)

    reached: list[float] = []
    for multiple in _MULTIPLES:
        styles = moved(multiple)
        reached.append(float(measured(world, edits, styles)[0].change[:, index].mean()))
        if reached[-1] >= goal:
            break
    best = int(np.argmax(reached))
    return moved(_MULTIPLES[best]), {"channel": local[0], "deviations": _MULTIPLES[best]}


def posed(world: World, synthesis: StagedStyleGAN2, bounds: dict[Space, Boundary], edits: Edits) -> Problem:
    """The problems of Style Intervention in the space of the stages."""
    generator, space = world.generator, synthesis.space
    unit = bounds["z"].direction.unit * jnp.asarray(bounds["z"].direction.vector)
    vector = jnp.asarray(bounds[space].direction.vector)
    normal = split_styles(vector, config=generator.config) if space == "s" else vector

    def code(z: jax.Array) -> Any:
        w = generator.map(z)
        if space == "w":
            return w
        return generator.styles(w) if space == "s" else jnp.tile(w, (generator.config.num_ws, 1))

    def one(z: jax.Array, mask: jax.Array) -> Problem:
        return style_intervention.pose(synthesis, code(z), code(z + _STEP * unit), normal, mask)

    return worlds.batches(one, edits.z, edits.mask)


def intervened(
    world: World, synthesis: StagedStyleGAN2, problems: Problem, config: InterventionConfig
) -> tuple[Any, dict[str, Any]]:
    """Styles after Style Intervention; steps per image, mean coefficient, and seconds per image (compilation apart)."""
    count = len(problems.image)
    parts: list[Any] = []
    seconds = 0.0
    for start in range(0, count, worlds.BATCH):
        part = jax.tree.map(lambda leaf, start=start: jnp.asarray(leaf[start : start + worlds.BATCH]), problems)
        for _ in range(1 if start else 2):  # the first batch twice: its first run compiles
            began = time.perf_counter()
            state = style_intervention.run_batch(synthesis, part, config=config, smallest=16)
            jax.block_until_ready(state)
            elapsed = time.perf_counter() - began
        seconds += elapsed
        parts.append((state.coefficients, state.steps))
    coefficients, steps = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def styles(problem: Problem, coefficients: Any) -> Any:
        return tuple(synthesis.styles(style_intervention.edited_codes(problem, coefficients)))

    info = {
        "seconds_per_image": seconds / count,
        "steps": steps.sum(axis=1).mean(),
        "coefficient": np.concatenate([c.reshape(count, -1) for c in coefficients], axis=1).mean(),
    }
    return worlds.batches(styles, problems, coefficients), {key: float(value) for key, value in info.items()}


def summary(outcome: Outcome, index: int, extra: dict[str, Any]) -> dict[str, Any]:
    """Means over the images."""
    others = np.delete(np.abs(outcome.change), index, axis=1)
    return {
        "mse": float(outcome.outside.mean()),
        "ssim": float(outcome.ssim.mean()),
        "id": float(outcome.identity.mean()),
        "change": float(outcome.change[:, index].mean()),
        "others": float(others.mean()),
        **extra,
    }


def attribute_report(
    world: World,
    attribute: str,
    codes: dict[Space, np.ndarray],
    labels: np.ndarray,
    every: dict[Space, list[Boundary]],
    activity: np.ndarray,
    options: Options,
) -> dict[str, Any]:
    """All methods on one attribute, and its sheet: a row per method."""
    index = avatars.ATTRIBUTES.index(attribute)
    bounds: dict[Space, Boundary] = {space: found[index] for space, found in every.items()}
    edits = edits_of(world, attribute, options)
    report: dict[str, Any] = {"methods": {}}
    rows = [np.asarray(images.to_uint8(jnp.asarray(edits.image[:_TILES])))]

    def add(name: str, styles: Any, **extra: Any) -> Outcome:
        outcome, pictures = measured(world, edits, styles)
        report["methods"][name] = summary(outcome, index, extra)
        rows.append(pictures[:_TILES])
        return outcome

    compared = attribute in options.attributes
    if compared:
        report["figure_7"] = figure_7(world, bounds, edits)
    moved = worlds.batches(functools.partial(interpolated, world, bounds, step=_STEP), edits.z)
    plain = add("Z", moved["Z"])
    layered, joint = StagedStyleGAN2(world.generator), StagedStyleGAN2(world.generator, joint=True)
    problems = posed(world, layered, bounds, edits)
    styles, extra = intervened(world, layered, problems, InterventionConfig())
    ours = add("Style Intervention", styles, **extra)
    if compared:
        styles, extra = intervened(world, joint, posed(world, joint, bounds, edits), InterventionConfig())
        add("Style Intervention, joint", styles, **extra)
        for space in ("W", "W+", "S"):
            add(space, moved[space])
        styles, others = interfacegan(world, every["z"], index, edits, plain)
        add("InterFaceGAN", styles, conditions=others)
        goal = float(ours.change[:, index].mean())
        styles, extra = stylespace(world, codes["s"], labels[0], activity, attribute, edits, goal)
        add("StyleSpace", styles, **extra)
        for space, name in (("w", "W"), ("w_plus", "W+")):
            staged = StagedStyleGAN2(world.generator, space)  # pyright: ignore[reportArgumentType]
            styles, extra = intervened(world, staged, posed(world, staged, bounds, edits), InterventionConfig())
            add(f"Style Intervention in {name}", styles, **extra)
    if attribute in _ABLATED:
        for name, change in (
            ("without L_pix", {"pixel_loss": "none"}),
            ("without L_attr", {"attribute_weight": 0.0}),
            ("without L_norm", {"norm_weight": 0.0}),
        ):
            styles, extra = intervened(world, layered, problems, dataclasses.replace(InterventionConfig(), **change))
            add(name, styles, **extra)
    report["rows"] = ["original", *report["methods"]]
    sheet = [tile for row in rows for tile in row]
    images.save_png(options.output / f"{attribute}.png", images.image_grid(sheet, columns=_TILES, rows=len(rows)))
    return report


def table_2(every: Sequence[Boundary]) -> dict[str, dict[str, float]]:
    """Accuracy of the boundaries in S on both sets, and their zeros."""
    return {
        bound.direction.name: {
            "train": bound.train_accuracy,
            "validate": float(bound.direction.accuracy or 0),
            "sparsity": float(np.mean(np.asarray(bound.direction.vector) == 0)),
        }
        for bound in every
    }


def main(options: Options) -> None:
    """Measures, writes and prints."""
    from benchmarks.reproduce import style_intervention_report as reports

    options.output.mkdir(parents=True, exist_ok=True)
    world = worlds.load_world()
    codes, labels = worlds.labelled_codes(world, count=options.svm_samples, seed=options.seed)
    every = worlds.boundaries(codes, labels, seed=options.seed)
    activity = active_channels(world, options)
    report: dict[str, Any] = {"environment": measure.environment(), "samples": options.samples, "step": _STEP}
    report["steps_of_figure_7"] = [_STEP * fraction for fraction in _FIGURE_7]
    report["table_2"] = table_2(every["s"])
    report["attributes"] = {}
    for attribute in dict.fromkeys((*options.attributes, *_ABLATED)):
        report["attributes"][attribute] = attribute_report(world, attribute, codes, labels, every, activity, options)
        (options.output / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(f"{attribute}: done", flush=True)
    text = reports.as_markdown(report, options.attributes, _ABLATED)
    (options.output / "report.md").write_text(text, encoding="utf-8")
    print(text)
