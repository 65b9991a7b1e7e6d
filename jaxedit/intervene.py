"""`jaxedit intervene`: Style Intervention for pictures of seeds or latents."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxedit import batch, checkpoints, images, metrics, regions
from jaxedit.arrays import Reader
from jaxedit.codes import Codes, chosen_codes, chosen_seeds, latents_digest
from jaxedit.digests import digest, file_digest
from jaxedit.directions import files
from jaxedit.directions.tables import split_row
from jaxedit.generators.stylegan2 import StyleGAN2Generator
from jaxedit.log import Log, read_rows
from jaxedit.messages import warn
from jaxedit.methods import style_intervention
from jaxedit.methods.style_intervention import InterventionConfig, Problem
from jaxedit.networks.bisenet import FaceParser
from jaxedit.options import Intervene
from jaxedit.records import (
    begin_pictures,
    check_latent_options,
    check_record,
    drawing_settings,
    existing,
)
from jaxedit.spaces import Direction, displacement, edited_styles
from jaxedit.staged import StagedStyleGAN2, synthesize

_MAX_GRID = 256
_MEASUREMENTS = "intervene.jsonl"
_MEASURED = ("outside_mse", "outside_mse_plain", "steps")


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


def run(command: Intervene, read_arrays: Reader) -> None:
    """Edits the pictures, writes them and what was measured.

    Args:
        command: The options.
        read_arrays: Reads the files of latents and directions.

    Raises:
        ValueError: Something that the user gave is wrong; one line.
        OSError: A file cannot be read or written.
    """
    seeds = chosen_seeds(command)
    config = _config(command)
    generator = checkpoints.load(command.checkpoint)
    edit, region = _edit(command, generator, read_arrays), _region(command)
    check_latent_options(command, generator, from_seeds=command.latents is None)
    codes = chosen_codes(command, seeds, generator, [edit.direction], read_arrays)
    names = [f"{name}_{edit.name}{edit.strength:+g}.png" for name in codes.names]
    present = existing(command, names)
    todo = [index for index, name in enumerate(names) if command.existing != "skip" or name not in present]
    if command.grid and len(todo) > _MAX_GRID:
        raise ValueError(f"--grid: {len(todo)} pictures are too many for a sheet (at most {_MAX_GRID})")
    masks = _mask_files(region, [codes.names[index] for index in todo], generator)
    settings = _settings(command, generator, edit, region, config)
    record = check_record(command, settings, names, present)
    command.output.mkdir(parents=True, exist_ok=True)
    stay = present - {names[index] for index in todo}
    tiles: list[np.ndarray] = []
    with contextlib.ExitStack() as stack:
        log = None
        for part, drawn in _edited(command, generator, edit, region, config, codes, todo, masks):
            if log is None:
                begin_pictures(command.output, record, settings, [names[index] for index in todo])
                log = stack.enter_context(Log(command.output / _MEASUREMENTS, lambda row: row.get("picture") in stay))
            for row, index in enumerate(part):
                images.save_png(command.output / names[index], drawn["intervened"][row])
                log.write({"picture": names[index]} | {key: drawn[key][row].tolist() for key in _MEASURED})
                tiles += [drawn[kind][row] for kind in ("original", "plain", "intervened")] if command.grid else []
    if tiles:
        images.save_png(command.output / "grid.png", images.image_grid(tiles, columns=3, rows=len(tiles) // 3))
    wanted = set(names)
    rows = [row for row in read_rows(command.output / _MEASUREMENTS) if row.get("picture") in wanted]
    if rows:
        plain, now = (np.mean([row[key] for row in rows]) for key in ("outside_mse_plain", "outside_mse"))
        print(f"mean squared change outside the region: {plain:.5f} for the plain edit, {now:.5f} now")
    kept = len(names) - len(todo)
    print(f"{command.output}: {len(todo)} pictures written" + (f", {kept} kept" if kept else ""))


def _edited(
    command: Intervene,
    generator: StyleGAN2Generator,
    edit: Edit,
    region: Region,
    config: InterventionConfig,
    codes: Codes,
    todo: Sequence[int],
    masks: dict[str, Path],
) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
    """Batches: the pictures' numbers, and for each what `_draw` gives and its steps."""
    synthesis = StagedStyleGAN2(
        generator,
        joint=command.mode == "joint",
        noise=command.noise_mode,  # pyright: ignore[reportArgumentType]
        compute_dtype=jnp.dtype(command.compute_dtype),
    )
    pose = functools.partial(
        _pose,
        edit=edit,
        classes=region.classes,
        dilation=region.dilation,
        truncation_psi=command.truncation_psi,
        truncation_cutoff=command.truncation_cutoff,
    )
    compiled = jax.jit(jax.vmap(pose, in_axes=(None, None, 0, 0)))
    size = batch.choose_batch_size(len(todo), command.batch_size, devices=jax.local_devices()[:1])
    read = functools.lru_cache(maxsize=1)(read_mask)
    with tqdm(total=len(todo), unit="picture", disable=None) as progress:
        for start in range(0, len(todo), size):
            part = list(todo[start : start + size])
            filled = part + part[-1:] * (size - len(part))
            latents = np.stack([codes.latent(index) for index in filled])
            given = [read(masks[codes.names[index]]) if masks else np.zeros((1, 1), bool) for index in filled]
            problems = compiled(synthesis, region.parser, latents, np.stack(given))
            state = style_intervention.run_batch(synthesis, problems, config=config, smallest=_smallest(size))
            drawn = jax.tree.map(np.asarray, _draw(synthesis, problems, state.coefficients))
            yield part, drawn | {"steps": np.asarray(state.steps)}
            progress.update(len(part))


def _config(command: Intervene) -> InterventionConfig:
    if not math.isfinite(command.strength) or not command.strength:
        raise ValueError("--strength takes a number other than 0")
    default = style_intervention.JOINT if command.mode == "joint" else InterventionConfig()
    learning_rate = default.learning_rate if command.learning_rate is None else command.learning_rate
    if not 0 <= command.attribute_weight < math.inf or not 0 < learning_rate < math.inf:
        raise ValueError("--attribute-weight takes a number from 0 on, --learning-rate one above 0")
    if command.max_steps < 1:
        raise ValueError(f"--max-steps is {command.max_steps}; 1 or more would be right")
    if command.noise_mode == "random" or command.label is not None:
        raise ValueError("intervene takes --noise-mode const or none, and unconditional networks")
    return dataclasses.replace(
        default,
        attribute_weight=command.attribute_weight,
        learning_rate=learning_rate,
        max_steps=command.max_steps,
    )


def _edit(command: Intervene, generator: StyleGAN2Generator, read_arrays: Reader) -> Edit:
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
    direction = files.load_direction(command.direction, generator=generator, space=command.space, read=read_arrays)
    normal = files.load_direction(command.normal, generator=generator, read=read_arrays)
    if normal.space != "s":
        raise ValueError(f"{command.normal}: a direction in {normal.space}; --normal takes one in s")
    file, row = split_row(command.direction)
    return Edit(direction, normal, command.strength, file.stem if row is None else f"{file.stem}_{row}")


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


def _mask_files(region: Region, names: Sequence[str], generator: StyleGAN2Generator) -> dict[str, Path]:
    """The mask of each picture, all of them there and of the right size; none for a parser."""
    if region.masks is None:
        return {}
    folder, side = region.masks.is_dir(), generator.config.resolution
    found = {name: region.masks / f"{name}.png" if folder else region.masks for name in names}
    same = {}  # masks that are all of one kind, with what that means
    for path in dict.fromkeys(found.values()):
        mask = read_mask(path)
        if mask.shape != (side, side):
            raise ValueError(f"{path}: {mask.shape[1]} x {mask.shape[0]} pixels; the images have {side} x {side}")
        if mask.all() or not mask.any():
            same[path] = "every pixel may change" if mask.any() else "no pixel may change, as none is white (255)"
    if same:
        path, meaning = next(iter(same.items()))
        others = f", and {len(same) - 1} more masks are like that" if len(same) > 1 else ""
        message = f"{path}: {meaning}{others}; a mask is white where the image may change and black elsewhere"
        if len(same) == len(set(found.values())):
            raise ValueError(message)
        warn(message)
    return found


def read_mask(path: Path) -> np.ndarray:
    """White pixels of a picture.

    Args:
        path: PNG, JPEG or WebP of 8 bits per channel or less.

    Returns:
        `[height, width]` bool, True where the picture is brighter than grey.

    Raises:
        ValueError: Not such a picture, or one whose shape is in its transparency.
        OSError: It can't be read.
    """
    picture = images.open_picture(path)
    if picture.mode.startswith(("I", "F")):
        raise ValueError(f"{path}: a mask has 8 bits or less per channel")
    if picture.has_transparency_data and np.asarray(picture.convert("RGBA"))[..., 3].min() < 255:
        raise ValueError(f"{path}: parts are transparent; a mask says in white and black where the image may change")
    return np.asarray(picture.convert("L")) > 127


def _pose(
    synthesis: StagedStyleGAN2,
    parser: FaceParser | None,
    latent: jax.Array,
    given: jax.Array,
    *,
    edit: Edit,
    classes: Sequence[str],
    dilation: int | None,
    truncation_psi: float,
    truncation_cutoff: int | None,
) -> Problem:
    generator = synthesis.generator
    truncation = {"truncation_psi": truncation_psi, "truncation_cutoff": truncation_cutoff}
    styles = edited_styles(generator, latent, **truncation)
    edited = edited_styles(generator, latent, [(edit.direction, edit.strength)], **truncation)
    sign = math.copysign(1.0, edit.strength)
    normal = tuple(sign * part for part in displacement(edit.normal, config=generator.config))
    mask = given
    if parser is not None:
        image = generator.synthesize(styles, noise=synthesis.noise, compute_dtype=synthesis.compute_dtype)
        mask = _parsed(parser, classes, image)
    return style_intervention.pose(synthesis, styles, edited, normal, regions.dilate(mask, size=dilation))


def _parsed(parser: FaceParser, classes: Sequence[str], image: jax.Array) -> jax.Array:
    """The mask of parsing classes; the parser sees the image in the size that it was trained for."""
    side = parser.config.resolution
    seen = image if image.shape[0] == side else jax.image.resize(image, (side, side, 3), "linear")
    mask = regions.mask_of(parser.parse(seen), classes)
    return mask if seen is image else jax.image.resize(mask, image.shape[:2], "nearest")


@jax.jit
def _draw(synthesis: StagedStyleGAN2, problems: Problem, coefficients: Any) -> dict[str, jax.Array]:
    """Originals, plain edits and interventions as 8-bit images, and what the latter two changed outside."""

    def one(problem: Problem, lambdas: Any) -> dict[str, jax.Array]:
        plain = jax.tree.map(jnp.zeros_like, lambdas)
        drawn = {"original": problem.image}
        for kind, chosen in (("plain", plain), ("intervened", lambdas)):
            codes = style_intervention.edited_codes(problem, chosen)
            drawn[kind] = synthesize(synthesis, codes)
        outside = {
            name: metrics.masked_mse(problem.image, drawn[kind], problem.outside > 0)
            for name, kind in (("outside_mse", "intervened"), ("outside_mse_plain", "plain"))
        }
        return {kind: images.to_uint8(image) for kind, image in drawn.items()} | outside

    return jax.vmap(one)(problems, coefficients)


def _settings(
    command: Intervene, generator: StyleGAN2Generator, edit: Edit, region: Region, config: InterventionConfig
) -> dict[str, Any]:
    return {
        "directions": [digest(np.asarray(d.vector), d.space, d.layers, d.unit) for d in (edit.direction, edit.normal)],
        "strength": edit.strength,
        "region": list(region.classes),
        "mask": None if region.masks is None else _masks_digest(region.masks),
        "parser": None if command.parser is None else file_digest(command.parser),
        "latents": latents_digest(command.latents),
        "mode": command.mode,
        "dilation": command.dilation,
        **dataclasses.asdict(config),
        **drawing_settings(command, generator),
    }


def _masks_digest(path: Path) -> str | dict[str, str]:
    if not path.is_dir():
        return file_digest(path)
    return {file.name: file_digest(file) for file in sorted(path.glob("*.png"))}


def _smallest(size: int) -> int:
    """Batches shrink to a quarter: smaller ones save less time than their compilation takes."""
    return 1 << (max(size // 4, 1).bit_length() - 1)
