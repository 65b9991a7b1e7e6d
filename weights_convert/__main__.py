"""Converts an official StyleGAN2 checkpoint, or shows what is in a file.

python -m weights_convert ffhq.pkl ckpt/ffhq
python -m weights_convert ffhq.pkl --info
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn

from weights_convert import conversion, files
from weights_convert.errors import ConversionError, printable
from weights_convert.tensors import Tensor
from weights_convert.values import named_tensors

SHOWN_TENSORS = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 1 after one line on stderr that begins with "error: "."""
    try:
        options = _parse(arguments)
    except ValueError as error:
        return _fail(f"{error}; see --help")
    try:
        if options.info:
            lines = info(options.source)
        else:
            lines = conversion.convert(options.source, options.destination, network=options.network)
        print("\n".join(lines))
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = error.filename if error.filename is not None else options.source
        return _fail(f"{os.fspath(place)}: {error.strerror}" if error.strerror else str(error))
    except ValueError as error:
        return _fail(str(error))


def _fail(message: str) -> int:
    print(f"error: {printable(message, 5000)}", file=sys.stderr)
    return 1


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m weights_convert", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "source", help="NVIDIA TensorFlow or PyTorch .pkl, or rosinality .pt; recognised by its content"
    )
    parser.add_argument("destination", nargs="?", help="directory to write; must not exist")
    parser.add_argument(
        "--network", choices=("G_ema", "G", "D"), default="G_ema", help="G_ema (default) is the one to use"
    )
    parser.add_argument("--info", action="store_true", help="show what is inside and convert nothing")
    options = parser.parse_args(arguments)
    if options.info == (options.destination is not None):
        parser.error("give either a destination or --info")
    return options


def info(path: str) -> list[str]:
    """What is inside a file, as lines to print; nothing is converted and JAX is not imported.

    Raises:
        ConversionError: the file is damaged or unsafe; the message names it.
        OSError: the file cannot be opened.
    """
    with conversion.naming(path):
        container, content = files.read(path)
        found = conversion.recognise(content)
        if found is None:
            tensors = dict(named_tensors(content))
            return [f"{path}: {container} file, no StyleGAN2 checkpoint", *_summary(tensors), *_listing(tensors)]
        checkpoint = conversion.Checkpoint(Path(path), *found)
    lines = [f"{path}: {checkpoint.format}, sha256 {files.sha256(path)}"]
    for name in checkpoint.sources:
        try:
            with conversion.naming(f"{name}: cannot be converted"):
                network = checkpoint.network(name)
        except ConversionError as error:
            lines.append(str(error))
            continue
        config = ", ".join(f"{key}={value}" for key, value in sorted(network.config.items()))
        lines += [f"{name}: {network.role}", f"  {config}", *_summary(network.tensors)]
    return [*lines, conversion.LICENCE]


def _summary(tensors: dict[str, Tensor]) -> list[str]:
    kinds = Counter(tensor.dtype for tensor in tensors.values())
    count = sum(tensor.size for tensor in tensors.values())
    return [f"  {len(tensors)} tensors, {count:,} numbers ({', '.join(f'{n} {kind}' for kind, n in kinds.items())})"]


def _listing(tensors: dict[str, Tensor]) -> Iterator[str]:
    for name, tensor in islice(tensors.items(), SHOWN_TENSORS):
        yield f"  {printable(name, 200)} {printable(str(tensor.shape), 200)} {tensor.dtype}"
    if len(tensors) > SHOWN_TENSORS:
        yield f"  and {len(tensors) - SHOWN_TENSORS} more"


if __name__ == "__main__":
    sys.exit(main())
