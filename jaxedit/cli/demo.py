"""`jaxedit demo`: edits samples of a generator, of the built-in one by Style Intervention, and draws a sheet."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import checkpoints, images, progress, regions, sheets
from jaxedit.avatars.directions import load_directions
from jaxedit.avatars.factors import ATTRIBUTES
from jaxedit.avatars.models import load_classifier, load_parser
from jaxedit.claims import claiming
from jaxedit.cli import demo_faces
from jaxedit.cli.options import Demo
from jaxedit.directions import ffhq
from jaxedit.directions.files import save_direction
from jaxedit.generators.base import sample_z
from jaxedit.generators.stylegan2 import StyleGAN2Generator, split_styles
from jaxedit.generators.stylegan2_staged import StagedStyleGAN2
from jaxedit.methods import style_intervention
from jaxedit.methods.style_intervention import Problem
from jaxedit.networks.attributes import AttributeClassifier
from jaxedit.networks.bisenet import FaceParser
from jaxedit.spaces import Direction, edited
from jaxedit.staged import Codes

SEEDS = (0, 1, 2, 3)
_STRENGTH = 2.5
_TRUNCATION = 0.7


def run(command: Demo) -> None:
    """Edits a handful of samples: every attribute is added where it is absent and taken away where it is there.

    Args:
        command: The options. The output directory gets `grid.png`, every picture on its own, and the directions as
            files for `jaxedit edit CHECKPOINT --direction ...`. For generators of faces see `jaxedit.cli.demo_faces`.

    Raises:
        FileExistsError: It holds a `grid.png` already, which is not to be overwritten.
        ValueError: The generator is not one that the package has directions for.
        OSError: It can't be written.
    """
    output = command.output
    if (output / "grid.png").exists() and command.existing == "error":
        raise FileExistsError(f"{output / 'grid.png'} exists already; choose another --output or --existing overwrite")
    with claiming(output):
        with progress.saying("compiling and editing, up to a minute"):
            if str(command.checkpoint) == checkpoints.BUILT_IN:
                (pictures, signs), names, directions = _edited(), ATTRIBUTES, load_directions()
                marks = np.where(signs > 0, "+", "-")
            else:
                directions = ffhq.load_directions()
                pictures, names, marks = demo_faces.edits(command, directions, SEEDS)
        _write(output, pictures, names, marks, directions)
    print(f"{output / 'grid.png'}: {len(SEEDS)} samples, each attribute changed; the directions are beside it")


def _edited() -> tuple[np.ndarray, np.ndarray]:
    """`[seeds, 1 + attributes, size, size, 3]` uint8, the originals first; and the signs of the edits."""
    generator = checkpoints.load("avatars")
    latents = jnp.stack([sample_z(seed, generator.config.z_dim) for seed in SEEDS])
    originals, signs = _looked_at(generator, load_classifier(), latents)
    intervened = _intervened(generator, latents, originals, signs)
    pictures = np.asarray(images.to_uint8(jnp.concatenate([originals[:, None], intervened], axis=1)))
    return pictures, np.asarray(signs)


def _of_each(function: Callable[..., Any], *, shared: int) -> Callable[..., Any]:
    """A function as a program for all samples; of its first arguments they share so many."""
    return jax.jit(lambda *given: jax.vmap(functools.partial(function, *given[:shared]))(*given[shared:]))


@functools.partial(_of_each, shared=2)
def _looked_at(generator: StyleGAN2Generator, classifier: AttributeClassifier, z: jax.Array) -> Any:
    """The image of a z, and the sign of the edit of each attribute."""
    image = generator.synthesize(edited(generator, z, truncation_psi=_TRUNCATION))
    return image, jnp.where(classifier(image) > 0, -1.0, 1.0)


def _write(
    output: Path, pictures: np.ndarray, names: Sequence[str], marks: np.ndarray, directions: Sequence[Direction]
) -> None:
    (output / "directions").mkdir(parents=True, exist_ok=True)
    for direction in directions:
        save_direction(output / "directions" / f"{direction.name}.safetensors", direction)
    for seed, row, sign in zip(SEEDS, pictures, marks, strict=True):
        ends = ["", *(f"_{mark}{name}" for mark, name in zip(sign, names, strict=True))]
        for end, picture in zip(ends, row, strict=True):
            images.save_png(output / f"seed{seed:04d}{end}.png", picture)
    headings = ["original", *(name.replace("_", " ") for name in names)]
    sheet = sheets.labelled_sheet(
        pictures.reshape(-1, *pictures.shape[2:]),
        rows=[f"seed {seed}" for seed in SEEDS],
        columns=headings,
        marks=[mark for row in marks for mark in ("", *row)],
    )
    images.save_png(output / "grid.png", sheet)


def _intervened(generator: StyleGAN2Generator, latents: jax.Array, originals: jax.Array, signs: jax.Array) -> jax.Array:
    """`[seeds, attributes, size, size, 3]`: every attribute changed by Style Intervention."""
    synthesis = StagedStyleGAN2(generator)
    vectors = [jnp.stack([d.unit * jnp.asarray(d.vector) for d in load_directions(space=s)]) for s in ("z", "s")]
    problems = _posed(synthesis, load_parser(), *vectors, latents, originals, signs)
    problems = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), problems)
    state = style_intervention.run_batch(synthesis, problems, smallest=len(problems.image))
    drawn = _drawn(synthesis, problems, state.coefficients)
    return drawn.reshape(len(latents), len(ATTRIBUTES), *drawn.shape[1:])


@functools.partial(_of_each, shared=4)
def _posed(
    synthesis: StagedStyleGAN2,
    parser: FaceParser,
    directions: jax.Array,
    normals: jax.Array,
    z: jax.Array,
    image: jax.Array,
    signs: jax.Array,
) -> Problem:
    """The problems of all attributes of an image."""
    generator, parsing = synthesis.generator, parser.parse(image)
    classes = [regions.classes_of(name) for name in ATTRIBUTES]
    masks = jnp.stack([regions.dilate(regions.mask_of(parsing, names)) for names in classes])

    def pose(mask: jax.Array, sign: jax.Array, direction: jax.Array, normal: jax.Array) -> Problem:
        styles, moved = (
            edited(generator, latent, truncation_psi=_TRUNCATION) for latent in (z, z + _STRENGTH * sign * direction)
        )
        normals = split_styles(sign * normal, config=generator.config)
        return style_intervention.pose(synthesis, styles, moved, normals, mask)

    return jax.vmap(pose)(masks, signs, directions, normals)


@functools.partial(_of_each, shared=1)
def _drawn(synthesis: StagedStyleGAN2, problem: Problem, coefficients: Codes) -> jax.Array:
    codes = style_intervention.edited_codes(problem, coefficients)
    return synthesis.generator.synthesize(synthesis.styles(codes))
