"""The network that says where the parts of a command's pictures are."""

from __future__ import annotations

from typing import Any

from jaxedit import checkpoints, faces
from jaxedit.cli.options import FindDirection, Intervene
from jaxedit.digests import file_digest
from jaxedit.networks.feature_parser import FeatureParser
from jaxedit.segmenters import Parser, Segmenter


def given_segmenter(command: Intervene | FindDirection) -> Segmenter:
    """Reads the parser or the networks of landmarks that a command was given, or the built-in generator's parser.

    Args:
        command: Its checkpoint, parser and faces.

    Raises:
        ValueError: None for this generator, or both, or a network of another kind; one line.
        OSError: A file can't be read.
    """
    if command.faces is not None:
        if command.parser:
            raise ValueError("give either --parser or --faces")
        return faces.load(command.faces)
    if command.parser is None and str(command.checkpoint) != checkpoints.BUILT_IN:
        asked, instead = ("--region", "; or give --mask") if isinstance(command, Intervene) else ("--part", "")
        raise ValueError(f"{asked} needs a --parser or --faces for this generator{instead}")
    from jaxedit.avatars.models import load_parser

    parser = load_parser() if command.parser is None else checkpoints.load_network(command.parser)
    if not isinstance(parser, Parser | FeatureParser):
        raise ValueError(f"{command.parser}: a network of another kind than a parser of faces or scenes")
    if isinstance(command, Intervene) and isinstance(parser, FeatureParser):
        raise ValueError(f"{command.parser}: parses feature maps; `intervene` takes parsers of images")
    return parser


def segmenter_settings(command: Intervene) -> dict[str, Any]:
    """Which weights they are, for the record of a run."""
    parser, folder = command.parser, command.faces
    if parser is not None:
        parser = checkpoints.read_description(parser).sha256 if parser.is_dir() else file_digest(parser)
    return {
        "parser": parser,
        "faces": folder and {name: checkpoints.read_description(folder / name).sha256 for name in faces.FAMILIES},
    }
