"""Opening a checkpoint, looking at it, and converting one of its networks."""

import contextlib
import dataclasses
import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from weights_convert import files, nvidia_tensorflow, nvidia_torch, rosinality
from weights_convert.errors import ConversionError, listing
from weights_convert.fill import fill
from weights_convert.names import discriminator_rows, generator_rows
from weights_convert.options import Network

FORMATS = {
    "NVIDIA TensorFlow pickle": nvidia_tensorflow,
    "NVIDIA PyTorch pickle": nvidia_torch,
    "rosinality PyTorch checkpoint": rosinality,
}
LICENCE = (
    "Converted weights keep the licence of the file they come from. NVIDIA's StyleGAN2 weights, in any format, are"
    " under the NVIDIA Source Code License: non-commercial use only."
)
NetworkName = Literal["G_ema", "G", "D"]
AVERAGE_SAMPLES = 4096


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened file: its format, and the networks in it that have not been looked at yet."""

    path: Path
    format: str
    sources: dict[str, Any]

    def network(self, name: str) -> Network:
        """One network of the file: its configuration and tensors."""
        if name not in self.sources:
            raise ConversionError(f"the file has no network {name}, it has {', '.join(self.sources)}")
        return FORMATS[self.format].network(name, self.sources[name])


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Finds out the format of a file from its content.

    Raises:
        ConversionError: the file is no StyleGAN2 checkpoint of a known format, or unsafe or damaged.
        OSError: the file cannot be opened.
    """
    container, content = files.read(path)
    found = recognise(content)
    if found is None:
        what = (
            f"a {type(content).__name__}"
            if type(content) is not dict
            else f"a dict of {listing(list(map(str, content)))}"
        )
        raise ConversionError(f"no StyleGAN2 checkpoint of a known format: a {container} file that holds {what}")
    return Checkpoint(Path(path), *found)


def recognise(content: Any) -> tuple[str, dict[str, Any]] | None:
    """The format of a file's content and its networks by name; None when it is no StyleGAN2 checkpoint."""
    for name, module in FORMATS.items():
        sources = module.find(content)
        if sources is not None:
            return name, sources
    return None


def convert(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], *, network: NetworkName = "G_ema"
) -> list[str]:
    """Converts one network of an official checkpoint into a directory that `jaxedit.load` reads.

    Args:
        source: A NVIDIA TensorFlow or PyTorch `.pkl`, or a rosinality `.pt`; recognised by content.
        destination: The directory to write; it must not exist. It appears whole or not at all.
        network: "G_ema" (the generator to use), "G" (the last training state) or "D".

    Returns:
        What was read and written, as lines to print.

    Raises:
        ConversionError: the file is damaged, unsafe or unsupported; the message names it.
        FileExistsError: the destination exists.
        OSError: the source cannot be read or the destination not written.
    """
    if os.path.lexists(destination):
        raise FileExistsError(f"{os.fspath(destination)} exists already")
    with naming(source):
        checkpoint = open_checkpoint(source)
        found = checkpoint.network(network)
        config, arrays, notes = _build(found)
        digest = files.sha256(source)
    from jaxedit import __version__, checkpoints

    metadata = {
        "source": checkpoint.path.name,
        "sha256": digest,
        "format": checkpoint.format,
        "network": network,
        "licence": LICENCE,
        "jaxedit_version": __version__,
        "notes": notes,
    }
    checkpoints.save(Path(destination), network=found.role, params=_nest(arrays), config=config, metadata=metadata)
    count = sum(array.size for array in arrays.values())
    size = f"{config.resolution}x{config.resolution}"
    return [
        f"{checkpoint.path}: {checkpoint.format}, sha256 {digest}",
        f"{network}: {found.role} {size}, {len(found.tensors)} tensors, {count:,} parameters",
        *notes,
        LICENCE,
        f"wrote {os.fspath(destination)}",
    ]


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the name of the file before the message of any error about its content."""
    try:
        yield
    except ConversionError as error:
        raise ConversionError(f"{os.fspath(path)}: {error}") from error
    except (IndexError, RecursionError, OverflowError) as error:
        raise ConversionError(f"{os.fspath(path)}: malformed content ({type(error).__name__})") from error
    except MemoryError as error:
        raise ConversionError(f"{os.fspath(path)}: not enough memory to read it") from error


def _build(network: Network) -> tuple[Any, dict[str, np.ndarray], list[str]]:
    """The configuration, the filled arrays by leaf, and remarks for the user."""
    from jaxedit import checkpoints
    from jaxedit.generators.stylegan2 import StyleGAN2Config
    from jaxedit.generators.stylegan2_discriminator import DiscriminatorConfig

    if network.role == "generator":
        config: Any = StyleGAN2Config(**network.config)
        rows = list(generator_rows(config))
    else:
        config = DiscriminatorConfig(**network.config)
        rows = list(discriminator_rows(config))
    target = _flatten(checkpoints.abstract_params(network.role, config))
    shapes = {leaf: tuple(value.shape) for leaf, value in target.items()}
    if network.format != "rosinality" or network.role != "generator" or "latent_avg" in network.tensors:
        return config, fill(network, rows, shapes), []
    average = shapes.pop("mapping/w_avg")
    arrays = fill(network, [row for row in rows if row.leaf != "mapping/w_avg"], shapes)
    arrays["mapping/w_avg"] = _average_w(arrays, config).reshape(average)
    note = f"note: the file has no latent_avg; the mean of {AVERAGE_SAMPLES} mapped samples (seed 0) takes its place"
    return config, arrays, [note]


def _average_w(arrays: dict[str, np.ndarray], config: Any) -> np.ndarray:
    """The mean of w over seeded samples, which is what rosinality's own scripts use when generating."""
    x = np.random.RandomState(0).randn(AVERAGE_SAMPLES, config.z_dim).astype(np.float32)
    x /= np.sqrt(np.mean(np.square(x), axis=1, keepdims=True) + 1e-8)
    gain = config.mapping_lr_multiplier
    for i in range(config.mapping_layers):
        kernel, bias = arrays[f"mapping/fc{i}/kernel"], arrays[f"mapping/fc{i}/bias"]
        x = x @ (kernel * np.float32(gain / math.sqrt(kernel.shape[0]))) + bias * np.float32(gain)
        x = np.where(x > 0, x, np.float32(0.2) * x) * np.float32(math.sqrt(2))
    return x.mean(axis=0)


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not hasattr(tree, "items"):
        return {prefix[:-1]: tree}
    return {leaf: value for key, child in tree.items() for leaf, value in _flatten(child, f"{prefix}{key}/").items()}


def _nest(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for leaf, array in arrays.items():
        *groups, name = leaf.split("/")
        functools.reduce(lambda node, group: node.setdefault(group, {}), groups, tree)[name] = array
    return tree
