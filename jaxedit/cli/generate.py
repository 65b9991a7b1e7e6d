"""`jaxedit generate`."""

from __future__ import annotations

from jaxedit import checkpoints
from jaxedit.cli import samples
from jaxedit.cli.codes import parse_seeds, seed_codes
from jaxedit.cli.drawing import Picture, Sheet, draw
from jaxedit.cli.options import Generate
from jaxedit.cli.records import class_condition, condition_of


def run(command: Generate) -> None:
    """Draws the pictures of seeds."""
    seeds = parse_seeds(*command.seeds)
    if command.scores and str(command.checkpoint) != checkpoints.BUILT_IN:
        raise ValueError("--scores: the built-in classifier knows the built-in generator's pictures only")
    generator = checkpoints.load(command.checkpoint)
    codes = seed_codes(seeds, generator)
    pictures = [Picture(f"{name}.png", position, 0.0) for position, name in enumerate(codes.names)]
    if command.save_latents and len(pictures) > samples.MAX_SAMPLES:
        raise ValueError(f"--save-latents: more than {samples.MAX_SAMPLES} pictures; divide them between several runs")
    sheet = Sheet(rows=[""], columns=codes.names)
    draw(command, generator, codes, pictures, sheet=sheet, settings={})
    if command.save_latents:
        of_class = class_condition(command, generator, True)
        samples.save_latents(command.output, codes, generator, of_class, **condition_of(command))
    if command.scores:
        samples.save_scores(command.output, codes.names)
