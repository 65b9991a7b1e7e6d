"""What is inside a file, as lines to print; nothing is converted and JAX is not imported."""

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from weights_convert import contents, files
from weights_convert.conversion import unknown
from weights_convert.errors import ConversionError, naming, printable
from weights_convert.tensors import Tensor
from weights_convert.values import named_tensors

SHOWN_TENSORS = 40


def info(path: str | os.PathLike[str]) -> list[str]:
    """What is inside a file.

    Raises:
        ConversionError: the file is damaged or unsafe; the message names it.
        OSError: the file cannot be opened.
    """
    with naming(path):
        container, content = files.read(path)
        found = contents.networks(content)
        if not found:
            tensors = dict(named_tensors(content))
            return [f"{os.fspath(path)}: {unknown(container, content)}", *_summary(tensors), *_listing(tensors)]
        formats = ", ".join(dict.fromkeys(network.format for network in found.values()))
        lines = [f"{os.fspath(path)}: {formats}, sha256 {files.sha256(path)}"]
        for name in found:
            lines += _network(found, name)
    return lines


def _network(found: dict[str, contents.Found], name: str) -> list[str]:
    try:
        with naming(f"{name}: cannot be converted"):
            network = contents.read(found, name)
    except ConversionError as error:
        return [str(error)]
    config = ", ".join(f"{key}={value}" for key, value in sorted(network.config.items()))
    return [f"{name}: {network.role}", f"  {config}", *_summary(network.tensors)]


def _summary(tensors: dict[str, Tensor]) -> list[str]:
    kinds = Counter(tensor.dtype for tensor in tensors.values())
    count = sum(tensor.size for tensor in tensors.values())
    return [f"  {len(tensors)} tensors, {count:,} numbers ({', '.join(f'{n} {kind}' for kind, n in kinds.items())})"]


def _listing(tensors: dict[str, Tensor]) -> Iterator[str]:
    for name, tensor in islice(tensors.items(), SHOWN_TENSORS):
        yield f"  {printable(name, 200)} {printable(str(tensor.shape), 200)} {tensor.dtype}"
    if len(tensors) > SHOWN_TENSORS:
        yield f"  and {len(tensors) - SHOWN_TENSORS} more"
