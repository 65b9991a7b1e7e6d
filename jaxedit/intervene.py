"""`jaxedit intervene`: Style Intervention for pictures of seeds or latents."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import jaxedit
from jaxedit import batch, checkpoints, images, metrics, regions
from jaxedit.atomic import replacing
from jaxedit.codes import file_codes, parse_seeds, seed_codes
from jaxedit.directions import files
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.methods import style_intervention
from jaxedit.methods.style_intervention import InterventionConfig, Problem
from jaxedit.networks.bisenet import FaceParser
from jaxedit.options import Intervene
from jaxedit.records import check_record, digest, existing, file_digest
from jaxedit.spaces import Direction, edited_styles, split_styles
from jaxedit.staged import StagedStyleGAN2


class Edit(NamedTuple):
    """What is edited how: the displacement's direction, the normal in S, the strength, and the name in file names."""

    direction: Direction
    normal: Direction
    strength: float
    name: str


class Region(NamedTuple):
    """Where the image may change: parsing classes of a parser's map, or masks from files; and the dilation."""

    parser: FaceParser | None
    classes: tuple[str, ...]
    masks: Path | None
    dilation: int | None


def run(command: Intervene, read_arrays: files.Reader) -> None:
    """Edits the pictures, writes them and what was measured.

    Args:
        command: The options.
        read_arrays: Reads the files of latents and directions.

    Raises:
        ValueError: Something that the user gave is wrong; one line.
        OSError: A file cannot be read or written.
    """
    if (command.seeds is None) == (command.latents is None):
        raise ValueError("give either --seeds or --latents")
    seeds = None if command.seeds is None else parse_seeds(command.seeds)
    config = _config(command)
    generator = checkpoints.load(command.checkpoint)
    edit, region = _edit(command, generator, read_arrays), _region(command)
    if command.latents is not None:
        codes = file_codes(command.latents, generator, read_arrays)
    else:
        codes = seed_codes(seeds or (), generator)
    names = [f"{name}_{edit.name}{edit.strength:+g}.png" for name in codes.names]
    present = existing(command, names)
    todo = [index for index, name in enumerate(names) if command.existing != "skip" or name not in present]
    settings = _settings(command, generator, edit, region)
    record = check_record(command, settings, names, present)
    masks = {index: _read_mask(region, codes.names[index], generator) for index in todo} if region.masks else {}

    synthesis = StagedStyleGAN2(
        generator,
        joint=command.mode == "joint",
        noise=command.noise_mode,
        compute_dtype=jnp.dtype(command.compute_dtype),
    )
    pose = functools.partial(_pose, truncation_psi=command.truncation_psi, truncation_cutoff=command.truncation_cutoff)
    compiled = jax.jit(jax.vmap(functools.partial(pose, region=region, edit=edit), in_axes=(None, 0, 0)))
    size = batch.choose_batch_size(len(todo), command.batch_size, devices=jax.local_devices()[:1])
    command.output.mkdir(parents=True, exist_ok=True)
    report = _kept_report(command.output / record, len(names) - len(todo))
    tiles: list[np.ndarray] = []
    with tqdm(total=len(todo), unit="picture", disable=None) as progress:
        for part in _parts(todo, size):
            latents = np.stack([codes.latent(index) for index in part])
            given = np.stack([masks[index] for index in part]) if masks else np.zeros((size, 1, 1), bool)
            problems = compiled(synthesis, latents, given)
            state = style_intervention.run_batch(synthesis, problems, config=config, smallest=_smallest(size))
            drawn = jax.tree.map(np.asarray, _draw(synthesis, problems, state.coefficients))
            for row, index in enumerate(dict.fromkeys(part)):
                report[names[index]] = {
                    "outside_mse": float(drawn["outside_intervened"][row]),
                    "outside_mse_plain": float(drawn["outside_plain"][row]),
                    "steps": np.asarray(state.steps[row]).tolist(),
                }
            if part[0] == todo[0]:
                # Whatever stops the run from here on, every picture in the directory is of the recorded settings.
                for index in todo:
                    (command.output / names[index]).unlink(missing_ok=True)
            _write_record(command.output / record, settings, report)
            for row, index in enumerate(dict.fromkeys(part)):
                images.save_png(command.output / names[index], drawn["intervened"][row])
                tiles += [drawn[kind][row] for kind in ("original", "plain", "intervened")] if command.grid else []
                progress.update()
    if tiles:
        images.save_png(command.output / "grid.png", images.image_grid(tiles, columns=3, rows=len(tiles) // 3))
    plain, now = (np.mean([row[key] for row in report.values()]) for key in ("outside_mse_plain", "outside_mse"))
    print(f"mean squared change outside the region: {plain:.5f} for the plain edit, {now:.5f} now")
    kept = len(names) - len(todo)
    print(f"{command.output}: {len(todo)} pictures written" + (f", {kept} kept" if kept else ""))


def _config(command: Intervene) -> InterventionConfig:
    numbers = (command.strength, command.attribute_weight, command.learning_rate, command.truncation_psi)
    if not np.isfinite(numbers).all() or not command.strength:
        raise ValueError("--strength takes a number other than 0; --attribute-weight and --learning-rate finite ones")
    if command.max_steps < 1:
        raise ValueError(f"--max-steps is {command.max_steps}; 1 or more would be right")
    if command.noise_mode == "random" or command.label is not None:
        raise ValueError("intervene takes --noise-mode const or none, and unconditional networks")
    return InterventionConfig(
        attribute_weight=command.attribute_weight, learning_rate=command.learning_rate, max_steps=command.max_steps
    )


def _edit(command: Intervene, generator: StyleGAN2Generator, read_arrays: files.Reader) -> Edit:
    if generator.config.c_dim:
        raise ValueError("intervene takes unconditional networks")
    if command.attribute is not None:
        from jaxedit.avatars.directions import load_directions
        from jaxedit.avatars.factors import ATTRIBUTES

        if str(command.checkpoint) != checkpoints.BUILT_IN or command.direction or command.normal:
            raise ValueError("--attribute is for the built-in generator; give --direction and --normal for others")
        if command.attribute not in ATTRIBUTES:
            raise ValueError(f"--attribute {command.attribute}: there are {', '.join(ATTRIBUTES)}")
        index = ATTRIBUTES.index(command.attribute)
        direction = load_directions(space="z" if command.latents is None else "w")[index]
        return Edit(direction, load_directions(space="s")[index], command.strength, command.attribute)
    if command.direction is None or command.normal is None:
        raise ValueError("give --attribute (built-in generator), or --direction and --normal")
    direction, normal = (
        files.load_direction(path, generator=generator, read=read_arrays)
        for path in (command.direction, command.normal)
    )
    if normal.space != "s":
        raise ValueError(f"{command.normal}: a direction in {normal.space}; --normal takes one in s")
    if direction.space == "z" and command.latents is not None:
        raise ValueError("a Z direction cannot edit --latents: it acts before the mapping network; use --seeds")
    return Edit(direction, normal, command.strength, command.direction.stem)


def _region(command: Intervene) -> Region:
    if command.dilation is not None and command.dilation < 1:
        raise ValueError(f"--dilation is {command.dilation}; 1 leaves the region as it is")
    if command.mask is not None:
        if command.region or command.parser:
            raise ValueError("give either --mask or --region")
        return Region(None, (), command.mask, command.dilation or 1)
    name = command.region or command.attribute
    if name is None:
        raise ValueError("give --region, or --mask")
    classes = regions.classes_of(name)
    from jaxedit.avatars.models import load_parser, read_network

    if command.parser is None and str(command.checkpoint) != checkpoints.BUILT_IN:
        raise ValueError("--region needs a --parser for this generator; or give --mask")
    parser = load_parser() if command.parser is None else read_network(command.parser)
    if not isinstance(parser, FaceParser):
        raise ValueError(f"{command.parser}: a network of another kind than a face parser")
    return Region(parser, classes, None, command.dilation)


def _read_mask(region: Region, name: str, generator: StyleGAN2Generator) -> np.ndarray:
    assert region.masks is not None
    path = region.masks / f"{name}.png" if region.masks.is_dir() else region.masks
    pixels = images.read_png(path)
    side = generator.config.resolution
    if pixels.shape[:2] != (side, side):
        raise ValueError(f"{path}: {pixels.shape[1]} x {pixels.shape[0]} pixels; the images have {side} x {side}")
    return pixels.mean(axis=-1) > 127 if pixels.ndim == 3 else pixels > 127


def _pose(
    synthesis: StagedStyleGAN2,
    latent: jax.Array,
    given: jax.Array,
    *,
    edit: Edit,
    region: Region,
    truncation_psi: float,
    truncation_cutoff: int | None,
) -> Problem:
    generator = synthesis.generator
    truncation = {"truncation_psi": truncation_psi, "truncation_cutoff": truncation_cutoff}
    styles = edited_styles(generator, latent, **truncation)
    edited = edited_styles(generator, latent, [(edit.direction, edit.strength)], **truncation)
    normal = split_styles(math.copysign(1.0, edit.strength) * jnp.asarray(edit.normal.vector), config=generator.config)
    mask = given
    if region.parser is not None:
        image = generator.synthesize(styles, noise=synthesis.noise, compute_dtype=synthesis.compute_dtype)
        mask = _parsed(region.parser, region.classes, image)
    return style_intervention.pose(synthesis, styles, edited, normal, regions.dilate(mask, size=region.dilation))


def _parsed(parser: FaceParser, classes: Sequence[str], image: jax.Array) -> jax.Array:
    """The mask of parsing classes; the parser sees the image in the size that it was trained for."""
    side = parser.config.resolution
    seen = image if image.shape[0] == side else jax.image.resize(image, (side, side, 3), "linear")
    mask = regions.mask_of(jnp.argmax(parser.segment(seen), axis=-1), classes)
    return mask if seen is image else jax.image.resize(mask, image.shape[:2], "nearest")


@jax.jit
def _draw(synthesis: StagedStyleGAN2, problems: Problem, coefficients: Any) -> dict[str, jax.Array]:
    """Originals, plain edits and interventions as 8-bit images, and what the latter two changed outside."""

    def one(problem: Problem, lambdas: Any) -> dict[str, jax.Array]:
        plain = jax.tree.map(jnp.zeros_like, lambdas)
        drawn = {"original": problem.image}
        for kind, chosen in (("plain", plain), ("intervened", lambdas)):
            codes = style_intervention.edited_codes(problem, chosen)
            drawn[kind] = synthesis.render(synthesis.prepare(synthesis.start(), codes, 0), codes, 0)
        outside = {
            f"outside_{kind}": metrics.masked_mse(problem.image, drawn[kind], problem.outside > 0)
            for kind in ("plain", "intervened")
        }
        return {kind: images.to_uint8(image) for kind, image in drawn.items()} | outside

    return jax.vmap(one)(problems, coefficients)


def _settings(command: Intervene, generator: StyleGAN2Generator, edit: Edit, region: Region) -> dict[str, Any]:
    mask = region.masks
    return {
        "checkpoint": generator.fingerprint or str(command.checkpoint.resolve()),
        "directions": [digest(np.asarray(d.vector), d.space, d.layers, d.unit) for d in (edit.direction, edit.normal)],
        "strength": edit.strength,
        "region": list(region.classes),
        "mask": None if mask is None else str(mask.resolve()) if mask.is_dir() else file_digest(mask),
        "dilation": command.dilation,
        "parser": None if command.parser is None else file_digest(command.parser),
        "latents": None if command.latents is None else file_digest(command.latents),
        **{
            name: getattr(command, name)
            for name in (
                *("mode", "attribute_weight", "learning_rate", "max_steps"),
                *("truncation_psi", "truncation_cutoff", "noise_mode", "compute_dtype"),
            )
        },
    }


def _parts(todo: Sequence[int], size: int) -> Iterator[list[int]]:
    """Batches of the same size, the last one filled up with copies."""
    for start in range(0, len(todo), size):
        part = list(todo[start : start + size])
        yield part + part[-1:] * (size - len(part))


def _smallest(size: int) -> int:
    """Batches shrink to a quarter: smaller ones save less time than their compilation takes."""
    return 1 << (max(size // 4, 1).bit_length() - 1)


def _kept_report(path: Path, kept: int) -> dict[str, Any]:
    return json.loads(path.read_text()).get("pictures", {}) if kept and path.exists() else {}


def _write_record(path: Path, settings: dict[str, Any], report: dict[str, Any]) -> None:
    content = {"jaxedit": jaxedit.__version__, **settings, "pictures": report}
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
