"""`jaxedit edit`."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxedit import checkpoints
from jaxedit.cli.codes import MAX_PICTURES, chosen_codes, chosen_seeds, latents_digest
from jaxedit.cli.drawing import Picture, Sheet, draw
from jaxedit.cli.given_directions import given_direction, with_spaces
from jaxedit.cli.options import Edit
from jaxedit.digests import digest
from jaxedit.generators.base import Generator, space_named
from jaxedit.messages import warn
from jaxedit.spaces import Direction, resolve_layers

_ODD_STRENGTH = 1000


def run(command: Edit) -> None:
    """Draws every code at every strength."""
    seeds = chosen_seeds(command)
    _check_strengths(command)
    generator = checkpoints.load(command.checkpoint)
    command = with_spaces(command, generator)
    directions = _directions(command, generator)
    codes = chosen_codes(command, seeds, generator, directions)
    if len(codes.names) * len(command.strengths) > MAX_PICTURES:
        raise ValueError(f"more than {MAX_PICTURES} pictures; divide them between several runs")
    pictures = [
        Picture(f"{name}_{strength:+g}.png", position, strength)
        for position, name in enumerate(codes.names)
        for strength in command.strengths
    ]
    weights = command.weights or (1.0,) * len(directions)
    settings = {
        "directions": [digest(np.asarray(d.vector), d.space, d.layers, d.unit) for d in directions],
        "weights": list(weights),
        "latents": latents_digest(command.latents),
    }
    draw(
        command,
        generator,
        codes,
        pictures,
        sheet=Sheet(rows=codes.names, columns=[f"{strength:+g}" for strength in command.strengths]),
        settings=settings,
        edits=tuple(zip(directions, weights, strict=True)),
    )


def _directions(command: Edit, generator: Generator) -> list[Direction]:
    """Reads directions, checks that they fit the generator, and limits them to layers."""
    directions = [given_direction(path, command, generator) for path in command.direction]
    if command.layers is None:
        return directions
    spaces = [space_named(generator, direction.space) for direction in directions]
    if len({tuple(layer.name for layer in space.layers) for space in spaces}) > 1:
        raise ValueError("--layers means rows of W+ for some of these directions and style layers for others")
    pairs = zip(directions, spaces, strict=True)
    return [dataclasses.replace(one, layers=resolve_layers(command.layers, space=space)) for one, space in pairs]


def _check_strengths(command: Edit) -> None:
    strengths, weights = command.strengths, command.weights
    if not command.direction:
        raise ValueError("give at least one --direction")
    if not strengths or not np.isfinite((*strengths, *weights)).all():
        raise ValueError("--strengths and --weights take finite numbers")
    if max(map(abs, strengths)) > _ODD_STRENGTH:
        warn(f"--strengths: {max(strengths, key=abs):g} is far beyond what directions are made for, a few units")
    names = [f"{strength:+g}" for strength in strengths]
    if len(set(names)) < len(names):
        raise ValueError("--strengths: two values are the same (six digits count)")
    if weights and len(weights) != len(command.direction):
        raise ValueError(f"--weights: {len(weights)} values for {len(command.direction)} directions")
