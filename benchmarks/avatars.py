"""How good the built-in generator is: `python -m benchmarks.avatars` writes numbers, a table and picture sheets.

Everything is measured in features of the package's two classifiers, so the distances compare with each other only, not
with those of other papers. The generator is trained with features of the first; no training sees the second, the judge.
Beside each stand the floor (two sets of renders) and the ceiling (an untrained generator).
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.svm import LinearSVC

from benchmarks import measure
from benchmarks.pictures import save_sheet
from benchmarks.reproduce.avatar_world import AvatarWorld
from benchmarks.reproduce.world import batches_of_keys
from jaxedit import avatars, checkpoints, images, metrics, stylegan2
from jaxedit.avatars import models
from jaxedit.avatars.latents import factors_from_z
from jaxedit.avatars.training import evaluation
from jaxedit.cli.arguments import parse_or_exit
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.memory import keep_freed_memory

_TRAIN, _HELD_OUT, _FLOOR, _GENERATED = 1, 2, 3, 4  # seeds: none is the seed of a training
_BATCH = AvatarWorld.batch
_TILES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the generator of avatars."""

    generator: str = checkpoints.BUILT_IN
    """A checkpoint directory; by default the generator in the package."""
    before: Path | None = None
    """Another generator, to be drawn beside this one."""
    samples: int = 5000
    """Renders and generated samples in each set."""
    neighbours: int = 20_000
    """Renders among which the nearest neighbours of generated samples are looked for."""
    svm_samples: int = 6000
    """Generated samples for the linear separability; a quarter of them validates."""
    generator_only: bool = False
    """Leave out the classifiers, the parser, the keypoint and the identity network, which held-out renders measure."""
    output: Path = Path("benchmarks/output/avatars")
    """Folder for report.json, report.md and the sheets."""


def rendered(key: jax.Array) -> jax.Array:
    """The image of a random avatar, of the generator's size."""
    return avatars.render(avatars.sample_factors(key), size=64).image


def generated(generator: StyleGAN2Generator, key: jax.Array, truncation_psi: Any = 1.0) -> jax.Array:
    """A random image of a generator."""
    w = generator.map(jax.random.normal(key, (generator.config.z_dim,)), truncation_psi=truncation_psi)
    return generator.synthesize(generator.styles(w), noise="const")


def image_features(shared: Any, key: jax.Array, *, truncation_psi: float) -> dict[str, jax.Array]:
    """Features of a random image of a generator, or of a render where there is none, by network."""
    networks, generator = shared
    image = rendered(key) if generator is None else generated(generator, key, truncation_psi)
    return {name: network.pooled_features(image) for name, network in networks.items()}


def distances(
    generator: StyleGAN2Generator, networks: dict[str, Any], count: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Frechet distance, precision and recall to held-out renders, and the features of the generated set; by network."""
    untrained = StyleGAN2Generator(
        jax.jit(functools.partial(stylegan2.init, config=generator.config))(jax.random.key(0)), generator.config
    )
    sources = {
        "generated": (generator, _GENERATED, 1.0),
        "generated, psi 0.7": (generator, _GENERATED, 0.7),
        "floor: other renders": (None, _FLOOR, 1.0),
        "ceiling: untrained": (untrained, _GENERATED, 1.0),
    }

    def features(source: StyleGAN2Generator | None, seed: int, psi: float) -> dict[str, np.ndarray]:
        return batches_of_keys(
            _BATCH, image_features, (networks, source), jax.random.key(seed), count, truncation_psi=psi
        )

    real, kept = features(None, _HELD_OUT, 1.0), {}
    report: dict[str, Any] = {network: {} for network in networks}
    for name, source in sources.items():
        found = features(*source)
        for network in networks:
            precision, recall = jax.jit(metrics.precision_recall)(real[network], found[network])
            frechet = metrics.frechet_distance(real[network], found[network])
            report[network][name] = {"frechet": frechet, "precision": float(precision), "recall": float(recall)}
        kept = found if name == "generated" else kept
    return report, kept


def agreement(generator: StyleGAN2Generator, classifier: Any, judge: Any, count: int) -> dict[str, float]:
    """How often two independently trained classifiers say the same of generated images, for each attribute."""
    shares = batches_of_keys(_BATCH, _same, (generator, classifier, judge), jax.random.key(_GENERATED), count).mean(
        axis=0
    )
    return {name: float(share) for name, share in zip(avatars.ATTRIBUTES, shares, strict=True)}


def _same(shared: Any, key: jax.Array) -> jax.Array:
    generator, classifier, judge = shared
    image = generated(generator, key)
    return (classifier(image) > 0) == (judge(image) > 0)


def separability(generator: StyleGAN2Generator, classifier: Any, count: int) -> dict[str, dict[str, float]]:
    """Validation accuracy of a linear support vector machine for each attribute in Z, W and S."""
    codes, labels = batches_of_keys(_BATCH, _labelled, (generator, classifier), jax.random.key(_GENERATED), count)
    split = count * 3 // 4
    report: dict[str, dict[str, float]] = {}
    for space, code in codes.items():
        code = (code - code[:split].mean(axis=0)) / (code[:split].std(axis=0) + 1e-6)
        report[space] = {}
        for name, label in zip(avatars.ATTRIBUTES, labels.T, strict=True):
            machine = LinearSVC(C=0.001, dual="auto").fit(code[:split], label[:split])
            report[space][name] = float(machine.score(code[split:], label[split:]))
    return report


def _labelled(shared: Any, key: jax.Array) -> Any:
    generator, classifier = shared
    z = jax.random.normal(key, (generator.config.z_dim,))
    w = generator.map(z)
    styles = generator.styles(w)
    labels = classifier(generator.synthesize(styles, noise="const")) > 0
    return {"z": z, "w": w, "s": stylegan2.join_styles(styles)}, labels


def draw_sheets(generator: StyleGAN2Generator, classifier: Any, features: np.ndarray, options: Options) -> None:
    """Renders, samples, truncation, interpolation, and nearest renders beside generated samples."""
    count, numbers = _TILES * _TILES, [f"sample {number}" for number in range(_TILES)]
    single = {"rows": [""], "columns": [f"sample {number}" for number in range(count)]}
    keys = jax.random.split(jax.random.key(_HELD_OUT), count)
    pictures = images.to_uint8(jax.jit(jax.vmap(rendered))(keys))
    save_sheet(options.output / "renders.jpg", pictures, **single)
    sample = jax.jit(jax.vmap(_picture, (None, 0, None)))
    keys = jax.random.split(jax.random.key(_GENERATED), options.samples)
    for psi in (1.0, 0.7):
        save_sheet(options.output / f"generated_psi_{psi}.jpg", sample(generator, keys[:count], psi), **single)
    draw_beside(generator, options)
    levels = jnp.linspace(0.0, 1.0, _TILES)
    truncated = jax.vmap(sample, (None, None, 0), 1)(generator, keys[:_TILES], levels)
    tiles = truncated.reshape(count, *truncated.shape[2:])
    save_sheet(options.output / "truncation.jpg", tiles, rows=numbers, columns=[f"psi {psi:.2f}" for psi in levels])
    between = jax.jit(jax.vmap(jax.vmap(_between, (None, None, None, 0)), (None, 0, 0, None)))
    steps = between(generator, keys[:_TILES], keys[_TILES : 2 * _TILES], levels)
    tiles, columns = steps.reshape(count, *steps.shape[2:]), [f"{level:.0%}" for level in levels]
    save_sheet(options.output / "interpolation.jpg", tiles, rows=numbers, columns=columns)
    pictures, known = batches_of_keys(_BATCH, _described, classifier, jax.random.key(_TRAIN), options.neighbours)
    nearest = np.asarray(metrics.nearest_neighbors(features[:_TILES], known, k=_TILES - 1).indices)
    rows = zip(sample(generator, keys[:_TILES], 1.0), nearest, strict=True)
    tiles, columns = (
        [tile for own, row in rows for tile in (own, *pictures[row])],
        [str(k) for k in range(1, _TILES)],
    )
    save_sheet(options.output / "neighbours.jpg", tiles, rows=numbers, columns=["generated", *columns])


def _picture(generator: StyleGAN2Generator, key: jax.Array, truncation_psi: Any) -> jax.Array:
    return images.to_uint8(generated(generator, key, truncation_psi))


def _between(generator: StyleGAN2Generator, first: jax.Array, second: jax.Array, weight: jax.Array) -> jax.Array:
    """A picture on the way in W from one sample to another."""
    ends = [generator.map(jax.random.normal(key, (generator.config.z_dim,))) for key in (first, second)]
    styles = generator.styles(ends[0] + weight * (ends[1] - ends[0]))
    return images.to_uint8(generator.synthesize(styles, noise="const"))


def _described(classifier: Any, key: jax.Array) -> Any:
    image = rendered(key)
    return images.to_uint8(image), classifier.pooled_features(image)


def draw_beside(generator: StyleGAN2Generator, options: Options) -> None:
    """The renders that latents stand for, and what the generators make of them."""
    keys = jax.random.split(jax.random.key(_GENERATED), 2 * _TILES)

    def wanted(key: jax.Array) -> jax.Array:
        z = jax.random.normal(key, (generator.config.z_dim,))
        return images.to_uint8(avatars.render(factors_from_z(z), size=64).image)

    rows, tiles = ["render"], [jax.jit(jax.vmap(wanted))(keys)]
    sample = jax.jit(jax.vmap(_picture, (None, 0, None)))
    named = {"": generator, **({"before, ": checkpoints.load(options.before)} if options.before else {})}
    for name, other in named.items():
        for psi in (1.0, 0.7):
            rows.append(f"{name}psi {psi}")
            tiles.append(sample(other, keys, psi))
    columns = [f"sample {number}" for number in range(2 * _TILES)]
    save_sheet(options.output / "beside_renders.jpg", np.concatenate(tiles), rows=rows, columns=columns)


def as_markdown(report: dict[str, Any]) -> str:
    """The report's numbers as tables."""
    numbers = ("Frechet", "precision", "recall")
    columns = [f"{number}, {network}" for network in report["distances"] for number in numbers]
    lines = ["# The built-in generator", "", f"| to held-out renders | {' | '.join(columns)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name in report["distances"]["classifier"]:
        rows = [report["distances"][network][name] for network in report["distances"]]
        lines.append(
            f"| {name} | " + " | ".join(f"{row[number.lower()]:.3f}" for row in rows for number in numbers) + " |"
        )
    lines += ["", "| attribute | classifiers agree | SVM in Z | in W | in S |", "|---|---|---|---|---|"]
    columns = [report["agreement"], *(report["separability"][space] for space in "zws")]
    for name in (*avatars.ATTRIBUTES, "mean"):
        values = [np.mean(list(c.values())) if name == "mean" else c[name] for c in columns]
        lines.append(f"| {name} | " + " | ".join(f"{100 * value:.1f} %" for value in values) + " |")
    if "networks" in report:
        found = report["networks"]
        lines += ["", "| on held-out renders | |", "|---|---|"]
        for name in ("classifier", "judge"):
            lines.append(f"| {name}: mean accuracy | {100 * found[name]['accuracy']['mean']:.1f} % |")
        lines.append(f"| parser: mean IoU of 19 classes | {found['parser']['iou']['mean']:.3f} |")
        lines.append(f"| keypoints: mean error | {found['keypoints']['percent_of_width']:.2f} % of the width |")
        lines.append(f"| identity: first among 100 | {100 * found['embedding']['rank_1']:.1f} % |")
    return "\n".join(lines) + "\n"


def main(options: Options) -> None:
    """Measures, draws, writes and prints."""
    generator, classifier, judge = checkpoints.load(options.generator), models.load_classifier(), models.load_judge()
    options.output.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"environment": measure.environment(), "samples": options.samples}
    networks = {"classifier": classifier, "judge": judge}
    report["distances"], features = distances(generator, networks, options.samples)
    report["agreement"] = agreement(generator, classifier, judge, options.samples)
    report["separability"] = separability(generator, classifier, options.svm_samples)
    if not options.generator_only:
        report["networks"] = evaluation.evaluate(images=2000)
    draw_sheets(generator, classifier, features["classifier"], options)
    (options.output / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (options.output / "report.md").write_text(as_markdown(report), encoding="utf-8")
    print(as_markdown(report))


if __name__ == "__main__":
    keep_freed_memory()
    main(parse_or_exit(Options, program="python -m benchmarks.avatars"))
