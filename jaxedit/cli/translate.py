"""`jaxedit translate`: photos in other domains, or like references, by L2M-GAN."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxedit import batch, checkpoints, images, l2m_gan
from jaxedit.cli.drawing import Sheet, write_pictures
from jaxedit.cli.options import Translate
from jaxedit.datasets import check_images
from jaxedit.datasets.batches import decode
from jaxedit.datasets.sources import image_files
from jaxedit.digests import file_digest
from jaxedit.messages import listing
from jaxedit.networks.fan import FAN
from jaxedit.networks.l2m_generator import L2MGenerator
from jaxedit.networks.l2m_style_encoder import L2MStyleEncoder
from jaxedit.suggestions import choose

_KINDS = {"generator": L2MGenerator, "style_encoder": L2MStyleEncoder, "fan": FAN}


class Model(NamedTuple):
    """The networks; no FAN where a generator has no high-pass skips. A pytree."""

    generator: L2MGenerator
    style_encoder: L2MStyleEncoder
    fan: FAN | None


class Edits(NamedTuple):
    """What every photo becomes; a pytree with an axis of edits, of domains at strengths, or of references.

    Attributes:
        domains: `[k]` int32, of the targets or references.
        strengths: `[k]` float32, or None for references.
        references: Their styles, `[k, style_dim]` float32, or None.
    """

    domains: np.ndarray
    strengths: np.ndarray | None
    references: np.ndarray | None


class _Photo(NamedTuple):
    name: str
    path: Path
    domain: int | None


def run(command: Translate) -> None:
    """Translates photos to files.

    Args:
        command: The options.

    Raises:
        ValueError: Options that do not fit, damaged photos, or pictures that are not finite; one line.
        OSError: Something cannot be read or written.
    """
    model, domains = read(command.model)
    photos = _photos(command.photos, domains, command.source)
    names, edits, known = _edits(command, model, domains)
    size, count = model.generator.config.resolution, len(names)
    sources = [_source(photo, domains, needed=edits.references is None) for photo in photos]
    together = batch.choose_batch_size(len(photos), command.batch_size)

    def read_photo(row: int) -> np.ndarray:
        return decode(str(photos[row].path), size=size)

    def compute(todo: Sequence[int]) -> Iterator[batch.Drawn]:
        wanted, rows = set(todo), sorted({index // count for index in todo})
        samples = ((read_photo(row), sources[row]) for row in rows)
        found = batch.map_samples(_translated, (model, edits), samples, batch_size=together)
        for row, drawn in zip(rows, found, strict=True):
            for column in range(count):
                if row * count + column in wanted:
                    yield batch.Drawn(drawn.image[column], drawn.finite[column])

    networks = [name for name, network in model._asdict().items() if network is not None]
    settings = {name: checkpoints.read_description(command.model / name).sha256 for name in networks}
    settings |= {"photos": str(command.photos.resolve()), "source": command.source, "references": known}
    files = [f"{photo.name}_{name}.png" for photo in photos for name in names]
    sheet = Sheet([photo.name for photo in photos], ["original", *names], original=read_photo)
    write_pictures(command, files, compute, sheet=sheet, settings=settings)


def read(folder: Path) -> tuple[Model, tuple[str, ...]]:
    """Reads a model.

    Args:
        folder: Of its networks.

    Returns:
        The networks, and the names of the domains: numbers, where nothing says more.

    Raises:
        ValueError: A network is of another kind, or they do not fit each other; one line.
        OSError: A file cannot be read.
    """
    found: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        if name == "fan" and not found["generator"].config.w_hpf:
            continue
        if name == "fan" and not (folder / name).exists():
            raise FileNotFoundError(f"{folder / name}: missing; this generator needs the masks of a converted FAN")
        found[name] = checkpoints.load_network(folder / name)
        if not isinstance(found[name], kind):
            raise ValueError(f"{folder / name}: a network of another kind; {kind.__name__} would be right")
    generator, encoder = found["generator"].config, found["style_encoder"].config
    for name in ("resolution", "style_dim"):
        one, other = getattr(generator, name), getattr(encoder, name)
        if one != other:
            raise ValueError(f"{folder}: generator and style encoder differ in {name}, {one} and {other}")
    names = checkpoints.read_description(folder / "style_encoder").metadata.get("domains")
    names = [str(number) for number in range(encoder.domains)] if names is None else names
    fits = isinstance(names, list) and len(names) == encoder.domains
    if not fits or not all(isinstance(name, str) and re.fullmatch(r"\w[\w+ .-]*", name) for name in names):
        raise ValueError(f"{folder / 'style_encoder'}: {encoder.domains} domains, which have no proper names")
    return Model(found["generator"], found["style_encoder"], found.get("fan")), tuple(names)


def _edits(command: Translate, model: Model, domains: Sequence[str]) -> tuple[list[str], Edits, dict[str, Any]]:
    """The edits with their names, and what stands for references in the record."""
    targets = [choose(name, domains, kind="domain") for name in command.to]
    if command.reference is None:
        return _to_domains(command, model, domains, targets)
    if len(targets) > 1 or command.strengths != (1.0,):
        raise ValueError("--reference goes with one domain of --to at most, that of the references, and no --strengths")
    references = _photos(command.reference, domains, *targets)
    numbers = [_source(photo, domains, option="--to") for photo in references]
    size, together = model.generator.config.resolution, batch.choose_batch_size(len(references), command.batch_size)
    samples = ((decode(str(photo.path), size=size), number) for photo, number in zip(references, numbers, strict=True))
    styles = batch.collected(batch.map_samples(_encoded, model.style_encoder, samples, batch_size=together))
    known = {
        photo.name: [file_digest(photo.path), int(number)] for photo, number in zip(references, numbers, strict=True)
    }
    return [f"{photo.name}+1" for photo in references], Edits(np.array(numbers, np.int32), None, styles), known


def _to_domains(
    command: Translate, model: Model, domains: Sequence[str], targets: list[str]
) -> tuple[list[str], Edits, dict[str, Any]]:
    if not targets:
        raise ValueError(f"nothing to do: give --to ({', '.join(domains)}) or --reference")
    if not model.style_encoder.config.transform_layers:
        raise ValueError(f"{command.model}: a style encoder of StarGAN v2, which takes --reference")
    if not command.strengths or not all(map(math.isfinite, command.strengths)):
        raise ValueError("--strengths takes finite numbers")
    pairs = [(target, strength) for target in targets for strength in command.strengths]
    names = [f"{target}{strength:+g}" for target, strength in pairs]
    if len(set(names)) < len(names):
        raise ValueError("--to or --strengths: two are the same (six digits of a strength count)")
    numbers, strengths = [domains.index(target) for target, _ in pairs], [strength for _, strength in pairs]
    edits = Edits(np.array(numbers, np.int32), np.array(strengths, np.float32), None)
    return names, edits, {}


def _photos(path: Path, domains: Sequence[str], domain: str | None = None) -> list[_Photo]:
    """A picture, or those of a folder, with names for files, and the domain that is given or the folder's."""
    if path.is_dir():
        check_images(path)
        files = [Path(file) for file in image_files(path)]
    else:
        images.check_picture(path)
        files = [path]
    given = None if domain is None else choose(domain, domains, kind="domain")
    found = []
    for file in files:
        below = file.relative_to(path if path.is_dir() else path.parent)
        folders = [name for name in (*below.parts[:-1], path.name) if name in domains]
        name = given or next(iter(folders), None)
        number = None if name is None else list(domains).index(name)
        found.append(_Photo("_".join(below.with_suffix("").parts), file, number))
    names = [photo.name for photo in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path}: several pictures would be called alike ({listing(twice)})")
    return found


def _source(photo: _Photo, domains: Sequence[str], *, needed: bool = True, option: str = "--source") -> np.int32:
    if photo.domain is None and needed:
        choice = ", ".join(domains)
        raise ValueError(f"{photo.path}: of which domain? Give {option} ({choice}), or a folder with that name")
    return np.int32(photo.domain or 0)


def _encoded(encoder: L2MStyleEncoder, sample: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The style of a picture of a domain."""
    return encoder(images.from_uint8(sample[0]), sample[1])


def _translated(shared: tuple[Model, Edits], sample: tuple[jax.Array, jax.Array]) -> batch.Drawn:
    """All edits of a photo, one after the other, so that memory does not grow with them."""
    model, edits = shared
    photo, source = images.from_uint8(sample[0]), sample[1]
    masks = None if model.fan is None else model.fan.masks(photo)

    def draw(style: jax.Array) -> batch.Drawn:
        return batch.drawn(model.generator(photo, style, masks))

    return jax.lax.map(draw, _styles(model, edits, photo, source))


def _styles(model: Model, edits: Edits, photo: jax.Array, source: jax.Array) -> Any:
    encoder = model.style_encoder
    if edits.references is None:
        s = encoder(photo, source)
        to = functools.partial(l2m_gan.edited_style, encoder.params, s)
        return jax.vmap(lambda domain, strength: to(domain, strength=strength))(edits.domains, edits.strengths)

    if not encoder.config.transform_layers:
        return edits.references

    def like(s: Any, domain: Any) -> jax.Array:
        return l2m_gan.reference_style(encoder.params, encoder(photo, domain), s)

    return jax.vmap(like)(edits.references, edits.domains)
