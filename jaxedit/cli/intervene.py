"""`jaxedit intervene`: Style Intervention for pictures of seeds or latents."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import (
    batch,
    checkpoints,
    families,
    images,
    metrics,
    progress,
    regions,
    segmenters,
    sheets,
    stage_programs,
)
from jaxedit.claims import claiming
from jaxedit.cli.codes import ChosenLatents, chosen_codes, chosen_seeds, latents_digest
from jaxedit.cli.given_directions import given_direction, with_spaces
from jaxedit.cli.given_segmenter import given_segmenter, segmenter_settings
from jaxedit.cli.masks import mask_files, masks_digest, read_mask
from jaxedit.cli.options import Intervene
from jaxedit.cli.records import (
    begin_pictures,
    check_latent_options,
    check_record,
    condition_of,
    drawing_settings,
    existing,
)
from jaxedit.digests import digest
from jaxedit.directions.tables import split_row
from jaxedit.generators.base import Generator, space_named
from jaxedit.generators.stylegan2_staged import StagedStyleGAN2
from jaxedit.log import Log, read_rows
from jaxedit.messages import listing, warn
from jaxedit.methods import style_intervention
from jaxedit.methods.style_intervention import InterventionConfig, Problem
from jaxedit.segmenters import Segmenter
from jaxedit.spaces import Direction, displacement, edited
from jaxedit.suggestions import choose

_MAX_GRID = 256
_MEASUREMENTS = "intervene.jsonl"
_MEASURED = ("outside_mse", "outside_mse_plain", "steps")


class LocalEdit(NamedTuple):
    """What is edited how and where: the direction of the displacement, the normal in S, the strength, the name in file
    names, and the region that may change (none for masks)."""

    direction: Direction
    normal: Direction
    strength: float
    name: str
    region: str

    def picture(self, code: str) -> str:
        """File name of a code's picture."""
        return f"{code}_{self.name}{self.strength:+g}.png"


class Region(NamedTuple):
    """What says where the image may change: a parser or landmarks, or masks from files; and the dilation."""

    parser: Segmenter | None
    masks: Path | None
    dilation: int | None


def run(command: Intervene) -> None:
    """Edits the pictures, writes them and what was measured.

    Args:
        command: The options.

    Raises:
        ValueError: Something that the user gave is wrong, or pictures are not finite; one line.
        OSError: A file cannot be read or written.
    """
    seeds = chosen_seeds(command)
    config = _config(command)
    generator = checkpoints.load(command.checkpoint)
    command = with_spaces(command, generator)
    edits, region = _edits(command, generator), _region(command)
    check_latent_options(command, generator, conditioned=command.latents is None)
    codes = chosen_codes(command, seeds, generator, [edit.direction for edit in edits])
    names = [edit.picture(code) for code in codes.names for edit in edits]
    if command.grid and len(names) > _MAX_GRID:
        raise ValueError(f"--grid: {len(names)} pictures are too many for a sheet (at most {_MAX_GRID})")
    settings = _settings(command, generator, edits, region, config)
    with claiming(command.output):
        present = existing(command, names)
        todo = [name for name in names if command.existing != "skip" or name not in present]
        record = check_record(command, settings, names, present, config=config)
        waiting, side = codes.names if todo else (), generator.config.resolution
        masks = mask_files(region.masks, waiting, side=side) if region.masks else {}
        drawn = _drawn(command, generator, edits, region, config, codes, set(todo), masks)
        stay, tiles, lost = present - set(todo), {}, []
        with contextlib.ExitStack() as stack:
            log, first = None, "compiling and optimising the first pictures"
            writer = stack.enter_context(batch.PngWriter(threads=1))  # in order, as the measurements are
            for name, picture in stack.enter_context(progress.bar(drawn, total=len(todo), unit="picture", first=first)):
                if log is None:
                    begin_pictures(command.output, record, settings, todo)
                    log = stack.enter_context(
                        Log(command.output / _MEASUREMENTS, lambda row: row.get("picture") in stay)
                    )
                if not picture["finite"]:
                    lost.append(name)
                    warn(f"{command.output / name}: not written, its values are not finite numbers")
                    continue
                log.write({"picture": name} | {key: picture[key].tolist() for key in _MEASURED})
                writer.write(command.output / name, picture["intervened"])
                tiles[name] = picture if command.grid else {}
        if command.grid and tiles:
            _save_grid(command.output, codes.names, edits, tiles)
    _report(command.output, names, written=len(tiles), kept=len(names) - len(todo))
    if lost:
        raise ValueError(f"{command.output}: {len(lost)} of {len(todo)} pictures are not finite ({listing(lost)})")


def _save_grid(
    output: Path, codes: Sequence[str], edits: Sequence[LocalEdit], tiles: dict[str, dict[str, Any]]
) -> None:
    """Original, then the plain edit and the intervention of each edit; grey where nothing was drawn in this run."""
    cells, columns = [], ["original"]
    for edit in edits:
        columns += [f"{edit.name} {edit.strength:+g}, plain", f"{edit.name} {edit.strength:+g}, intervened"]
    for code in codes:
        row = [tiles.get(edit.picture(code), {}) for edit in edits]
        cells.append(next((drawn["original"] for drawn in row if drawn), None))
        cells += [drawn.get(kind) for drawn in row for kind in ("plain", "intervened")]
    images.save_png(output / "grid.png", sheets.labelled_sheet(cells, rows=codes, columns=columns))


def _report(output: Path, names: Sequence[str], *, written: int, kept: int) -> None:
    wanted = set(names)
    rows = [row for row in read_rows(output / _MEASUREMENTS) if row.get("picture") in wanted]
    if rows:
        plain, now = (np.mean([row[key] for row in rows]) for key in ("outside_mse_plain", "outside_mse"))
        print(f"mean squared change outside the region: {plain:.5f} for the plain edit, {now:.5f} now")
    print(f"{output}: {written} pictures written" + (f", {kept} kept" if kept else ""))


def _drawn(
    command: Intervene,
    generator: Generator,
    edits: Sequence[LocalEdit],
    region: Region,
    config: InterventionConfig,
    codes: ChosenLatents,
    todo: set[str],
    masks: dict[str, Path],
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The name of each picture, and what `_drawings` gives for it and its steps: one edit after the other."""
    for edit in edits:
        wanted = {index for index, code in enumerate(codes.names) if edit.picture(code) in todo}
        for part, drawn in _edited(command, generator, edit, region, config, codes, wanted, masks):
            for row, index in enumerate(part):
                if index in wanted:
                    yield edit.picture(codes.names[index]), {kind: values[row] for kind, values in drawn.items()}


def _edited(
    command: Intervene,
    generator: Generator,
    edit: LocalEdit,
    region: Region,
    config: InterventionConfig,
    codes: ChosenLatents,
    wanted: Set[int],
    masks: dict[str, Path],
) -> Iterator[tuple[range, dict[str, np.ndarray]]]:
    """The batches with something wanted: the pictures' numbers, and for each what `_drawings` gives and its steps.

    Batches are cut from all pictures, whichever are wanted: how one shrinks depends on all of its pictures, and its
    size decides the last bit of each.
    """
    split = batch.divided()
    shared = batch.replicated(split)
    synthesis = families.staged(
        jax.device_put(generator, shared),
        joint=command.mode == "joint",
        noise=command.noise_mode,
        compute_dtype=jnp.dtype(command.compute_dtype),
    )
    region = region._replace(parser=jax.device_put(region.parser, shared))
    size = batch.choose_batch_size(len(codes.names), command.batch_size)
    read = functools.lru_cache(maxsize=1)(read_mask)
    for start in range(0, len(codes.names), size):
        part = range(start, min(start + size, len(codes.names)))
        if wanted.isdisjoint(part):
            continue
        filled = [*part] + [part[-1]] * (size - len(part))
        latents = np.stack([codes.latent(index) for index in filled])
        given = [read(masks[codes.names[index]]) if masks else np.zeros((1, 1), bool) for index in filled]
        latents, given = jax.device_put((latents, np.stack(given)), split)
        problems = _posed(command, synthesis, edit, region, latents, given, codes.space)
        smallest = _smallest(size, split.mesh.size)
        state = style_intervention.run_batch(synthesis, problems, config=config, smallest=smallest)
        drawn = jax.tree.map(np.asarray, _drawings(synthesis, problems, state.coefficients))
        yield part, drawn | {"steps": np.asarray(state.steps)}


def _config(command: Intervene) -> InterventionConfig:
    if not all(math.isfinite(strength) and strength for strength in command.strengths):
        raise ValueError("--strengths takes numbers other than 0")
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


def _edits(command: Intervene, generator: Generator) -> list[LocalEdit]:
    """Every attribute, or the direction, at every strength."""
    if families.FAMILIES[families.family_of(generator.config)].staged is None:
        raise ValueError(f"{command.checkpoint}: intervene takes generators with stages of styles, such as StyleGAN2")
    if "c" in generator.conditions and generator.config.c_dim:
        raise ValueError("intervene takes unconditional networks")
    if not command.attribute:
        directions = [_of_files(command, generator)]
    elif str(command.checkpoint) != checkpoints.BUILT_IN or command.direction or command.normal:
        raise ValueError("--attribute is for the built-in generator; give --direction and --normal for others")
    else:
        from jaxedit import avatars

        names = [choose(name, avatars.ATTRIBUTES, kind="attribute") for name in command.attribute]
        space = "z" if command.latents is None else "w"
        pair = [(avatars.load_direction(name, space=space), avatars.load_direction(name, space="s")) for name in names]
        directions = list(zip(names, pair, strict=True))
    edits = [
        LocalEdit(direction, normal, strength, name, _region_of(command, name))
        for name, (direction, normal) in directions
        for strength in command.strengths
    ]
    if len({edit.picture("") for edit in edits}) < len(edits):
        raise ValueError("--attribute or --strengths: two are the same (six digits of a strength count)")
    return edits


def _of_files(command: Intervene, generator: Generator) -> tuple[str, tuple[Direction, Direction]]:
    if command.direction is None or command.normal is None:
        raise ValueError("give --attribute (built-in generator), or --direction and --normal")
    direction = given_direction(command.direction, command, generator)
    normal = given_direction(command.normal, dataclasses.replace(command, space=None), generator)
    if normal.space != "s":
        raise ValueError(f"{command.normal}: a direction in {normal.space}; --normal takes one in s")
    file, row = split_row(command.direction)
    return (file.stem if row is None else f"{file.stem}_{row}"), (direction, normal)


def _region_of(command: Intervene, name: str) -> str:
    """What may change by a parser's map or landmarks: --region, or the region of the attribute; nothing for masks."""
    if command.mask is not None:
        return ""
    region = command.region or (name if command.attribute else "")
    if not region:
        raise ValueError("give --region, or --mask")
    return region


def _region(command: Intervene) -> Region:
    if command.dilation is not None and command.dilation < 1:
        raise ValueError(f"--dilation is {command.dilation}; 1 leaves the region as it is")
    if command.mask is not None:
        if command.region or command.parser or command.faces:
            raise ValueError("give either --mask or --region")
        return Region(None, command.mask, command.dilation or 1)
    return Region(given_segmenter(command), None, command.dilation)


def _posed(
    command: Intervene,
    synthesis: StagedStyleGAN2,
    edit: LocalEdit,
    region: Region,
    latents: jax.Array,
    given: jax.Array,
    start: str,
) -> Problem:
    """The problems of a batch of latents in the space `start`; `given` are its masks, if there are any."""
    directions = [_anonymous(direction) for direction in (edit.direction, edit.normal)]
    way = {"start": start, "condition": tuple(condition_of(command).items())}
    styles = _styles(synthesis.generator, latents, *directions, edit.strength, **way)
    originals = stage_programs.synthesize(synthesis, jax.vmap(synthesis.codes)(styles[0]))
    options = {"where": edit.region, "dilation": region.dilation}
    return _pose(synthesis, region.parser, styles, originals, given, **options)


def _anonymous(direction: Direction) -> Direction:
    """The direction without what would make it a program of its own."""
    return Direction("", direction.space, direction.unit * direction.vector, direction.layers)


@functools.partial(jax.jit, static_argnames=("start", "condition"))
def _styles(generator, latents, direction, normal, strength, *, start, condition):
    """Styles, edited styles, and the normal in the direction of the edit, of a batch."""

    def one(latent: jax.Array) -> tuple[Any, Any, Any]:
        before, after = (
            edited(generator, latent, edits, start=start, **dict(condition)) for edits in ((), [(direction, strength)])
        )
        along = displacement(normal, space=space_named(generator, normal.space))
        along = tuple(jnp.sign(strength) * part for part in along)
        return before, after, along

    return jax.vmap(one)(latents)


@functools.partial(jax.jit, static_argnames=("where", "dilation"))
def _pose(synthesis, parser, styles, originals, given, *, where, dilation):
    def one(styles: Any, image: jax.Array, mask: jax.Array) -> Problem:
        before, after, normal = styles
        if parser is not None:
            (mask,) = segmenters.part_masks(parser, image, parts=(where,))
        dilated = regions.dilate(mask, size=dilation)
        return style_intervention.pose(synthesis, before, after, normal, dilated, image=image)

    return jax.vmap(one)(styles, originals, given)


def _drawings(synthesis: StagedStyleGAN2, problems: Problem, coefficients: Any) -> dict[str, jax.Array]:
    """Originals, plain edits and interventions as 8-bit images, and what the latter two changed outside."""
    lambdas = {"plain": jax.tree.map(jnp.zeros_like, coefficients), "intervened": coefficients}
    return _measured(
        problems,
        {
            kind: stage_programs.synthesize(synthesis, style_intervention.edited_codes(problems, chosen))
            for kind, chosen in lambdas.items()
        },
    )


@jax.jit
@jax.vmap
def _measured(problem: Problem, drawn: dict[str, jax.Array]) -> dict[str, jax.Array]:
    outside = {
        name: metrics.masked_mse(problem.image, drawn[kind], problem.outside > 0)
        for name, kind in (("outside_mse", "intervened"), ("outside_mse_plain", "plain"))
    }
    finite = jnp.isfinite(drawn["intervened"]).all()
    pictures = {kind: images.to_uint8(image) for kind, image in (drawn | {"original": problem.image}).items()}
    return pictures | outside | {"finite": finite}


def _settings(
    command: Intervene,
    generator: Generator,
    edits: Sequence[LocalEdit],
    region: Region,
    config: InterventionConfig,
) -> dict[str, Any]:
    parser = region.parser
    classes = {edit.name: [] if parser is None else list(segmenters.classes_of(parser, edit.region)) for edit in edits}
    return {
        "directions": {
            edit.name: [digest(np.asarray(d.vector), d.space, d.layers, d.unit) for d in (edit.direction, edit.normal)]
            for edit in edits
        },
        "region": classes,
        "mask": None if region.masks is None else masks_digest(region.masks),
        **segmenter_settings(command),
        "latents": latents_digest(command.latents),
        "mode": command.mode,
        "dilation": command.dilation,
        **dataclasses.asdict(config),
        **drawing_settings(command, generator),
    }


def _smallest(size: int, devices: int) -> int:
    """Batches shrink to a quarter: smaller ones save less time than their compilation takes."""
    return devices << (max(size // devices // 4, 1).bit_length() - 1)
