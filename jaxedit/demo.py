"""`jaxedit demo`: edits samples of the built-in generator along its own directions, and draws an annotated sheet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxedit import checkpoints, images
from jaxedit.atomic import replacing
from jaxedit.avatars.directions import load_directions
from jaxedit.avatars.models import load_classifier
from jaxedit.directions.files import save_direction
from jaxedit.generators.base import sample_z
from jaxedit.spaces import edited_styles

SEEDS = (0, 1, 2, 3, 4, 5)
_STRENGTH = 2.5
_TRUNCATION = 0.7
_TILE, _MARGIN, _LINE = 128, 72, 28


def run(output: Path, *, existing: Literal["error", "overwrite"]) -> None:
    """Edits a handful of samples: every attribute is added where it is absent and taken away where it is there.

    Args:
        output: Directory, made if needed. It gets `grid.png`, every picture on its own, and the directions as files for
            `jaxedit edit avatars --direction ...`.
        existing: What to do if it holds a `grid.png` already.

    Raises:
        FileExistsError: It does, and `existing` is "error".
        OSError: It can't be written.
    """
    if (output / "grid.png").exists() and existing == "error":
        raise FileExistsError(f"{output / 'grid.png'} exists already; choose another --output or --existing overwrite")
    generator, classifier, directions = checkpoints.load("avatars"), load_classifier(), load_directions()

    @jax.jit
    def draw(z: jax.Array, strengths: jax.Array) -> jax.Array:
        edits = list(zip(directions, strengths, strict=True))
        styles = edited_styles(generator, z, edits, truncation_psi=_TRUNCATION)
        return generator.synthesize(styles, noise="const")

    z = jnp.stack([sample_z(seed, generator.config.z_dim) for seed in SEEDS])
    count = len(directions)
    originals = jax.vmap(draw)(z, jnp.zeros((len(SEEDS), count)))
    logits = jax.jit(jax.vmap(classifier.classify))(originals)
    strengths = _STRENGTH * jnp.where(logits > 0, -1.0, 1.0)
    edited = [jax.vmap(draw)(z, strengths * jnp.eye(count)[index][None]) for index in range(count)]
    pictures = np.asarray(images.to_uint8(jnp.stack([originals, *edited], axis=1)))

    (output / "directions").mkdir(parents=True, exist_ok=True)
    for direction in directions:
        save_direction(output / "directions" / f"{direction.name}.safetensors", direction)
    signs = np.where(np.asarray(logits) > 0, "-", "+")
    for seed, row, sign in zip(SEEDS, pictures, signs, strict=True):
        names = ["", *(f"_{mark}{direction.name}" for mark, direction in zip(sign, directions, strict=True))]
        for name, picture in zip(names, row, strict=True):
            images.save_png(output / f"seed{seed:04d}{name}.png", picture)
    headings = ["original", *(direction.name.replace("_", " ") for direction in directions)]
    sheet = _annotated(pictures, [f"seed {seed}" for seed in SEEDS], headings, signs)
    with replacing(output / "grid.png") as partial:
        sheet.save(partial, format="png")
    print(f"{output / 'grid.png'}: {len(SEEDS)} samples, each attribute switched; the directions are beside it")


def _annotated(pictures: np.ndarray, rows: Sequence[str], columns: Sequence[str], signs: np.ndarray) -> Image.Image:
    """A sheet with the seeds on the left, the attributes above, and "+" or "-" in the corner of each edit."""
    size = (_MARGIN + len(columns) * _TILE, _LINE + len(rows) * _TILE)
    sheet = Image.new("RGB", size, "white")
    brush, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=17)
    for column, heading in enumerate(columns):
        brush.text((_MARGIN + (column + 0.5) * _TILE, _LINE // 2), heading, fill="black", font=font, anchor="mm")
    for row, label in enumerate(rows):
        brush.text((8, _LINE + (row + 0.5) * _TILE), label, fill="black", font=font, anchor="lm")
        for column in range(len(columns)):
            corner = (_MARGIN + column * _TILE, _LINE + row * _TILE)
            tile = Image.fromarray(pictures[row, column]).resize((_TILE, _TILE), Image.Resampling.BICUBIC)
            sheet.paste(tile, corner)
            if column:
                mark = str(signs[row, column - 1])
                brush.text((corner[0] + 5, corner[1] + 2), mark, "white", font, stroke_width=2, stroke_fill="black")
    return sheet
