"""The folder of a training: one process at a time writes to it, and nothing but the training that it was made for."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxedit.atomic import replacing
from jaxedit.claims import claiming
from jaxedit.messages import printable
from jaxedit.settings import with_defaults

_RECORD = "run.json"


@contextlib.contextmanager
def holding(output: Path, identity: dict[str, Any]) -> Iterator[None]:
    """Holds a folder, in which `run.json` says what is trained there.

    Args:
        output: Made if needed.
        identity: JSON values and dataclasses of them that have to be the same for a training to go on.

    Raises:
        BlockingIOError: Another process holds it.
        ValueError: It is of another training; nothing in it is touched.
        OSError: It can't be made, or not be written to.
    """
    path, wanted = output / _RECORD, json.loads(json.dumps(identity, default=dataclasses.asdict))
    with claiming(output):
        if path.exists():
            if differing := _differences(_read(path, identity), wanted):
                raise ValueError(f"{output}: holds another training ({differing[0]}); choose another directory")
        else:
            with replacing(path) as partial:
                partial.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        yield


def _read(path: Path, identity: dict[str, Any]) -> Any:
    try:
        found = json.loads(path.read_bytes())
        return {name: with_defaults(value, identity.get(name)) for name, value in dict(found).items()}
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged ({printable(error)}); choose another directory") from None


def _differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = dict.fromkeys((*found, *wanted))
        return [text for key in keys for text in _differences(found.get(key), wanted.get(key), f"{name}.{key}")]
    return [] if found == wanted else [f"{name[1:]} is {printable(found)} there, not {printable(wanted)}"]
