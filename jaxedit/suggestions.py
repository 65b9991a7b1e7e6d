"""What somebody may have meant by a name that does not exist."""

from __future__ import annotations

import contextlib
import difflib
import shlex
from collections.abc import Iterable
from pathlib import Path

_CLOSE = 0.7
_BUILT_IN = "avatars"
_FOREIGN = (".pkl", ".pt", ".pth")


def choose(text: str, names: Iterable[str], *, kind: str) -> str:
    """The name that a text stands for, whatever its capitals, blanks and hyphens: "Black hair" is "black_hair".

    Args:
        text: What was written.
        names: What there is.
        kind: What they are, for the message.

    Returns:
        One of `names`.

    Raises:
        ValueError: The text is none of them; the line says which there are and which may have been meant.
    """
    names = list(names)
    for name in names:
        if _plain(name) == _plain(text):
            return name
    hint = f"perhaps you meant {close}; " if (close := closest(text, names)) else ""
    raise ValueError(f"there is no {kind} {text!r}; {hint}choose from {', '.join(names)}")


def closest(text: str, names: Iterable[str]) -> str | None:
    """The name that begins like a text or is spelled much like it.

    Args:
        text: What was written.
        names: What there is.

    Returns:
        One of `names`, or None if none is close.
    """
    plain = {_plain(name): name for name in names}
    wanted = _plain(text)
    longer = [name for name in plain if len(wanted) > 1 and name.startswith(wanted)]
    found = longer or difflib.get_close_matches(wanted, plain, n=1, cutoff=_CLOSE)
    return plain[found[0]] if found else None


def suggest_checkpoint(path: str | Path) -> str:
    """What to do about a path at which there is no checkpoint; the end of an error message.

    Args:
        path: What was given for a checkpoint directory.

    Returns:
        A phrase such as "perhaps you meant ckpt/ffhq".
    """
    path = Path(path)
    with contextlib.suppress(OSError):  # folders that can't be listed
        if _is_checkpoint(path.parent):
            return f"perhaps you meant {path.parent}"
        if path.is_dir():
            return _suggest_inside(path)
        for foreign in (path, *(Path(f"{path}{suffix}") for suffix in _FOREIGN)):
            if foreign.is_file():
                return f"convert it first: {_conversion(foreign, foreign.with_suffix(''))}"
        beside = {child.name: child for child in path.parent.glob("*") if _is_checkpoint(child)}
        if path.parent == Path():
            beside[_BUILT_IN] = Path(_BUILT_IN)
        if close := closest(path.name, beside):
            remark = ", the built-in generator" if str(beside[close]) == _BUILT_IN else ""
            return f"perhaps you meant {beside[close]}{remark}"
    return f"make one with `{_conversion(Path('SRC'), path)}`"


def _suggest_inside(folder: Path) -> str:
    """A training leaves a generator and a discriminator, of which the first is meant."""
    inside = sorted(child for child in folder.iterdir() if _is_checkpoint(child))
    meant = [child for child in inside if child.name == "generator"] or inside
    if len(meant) == 1:
        return f"perhaps you meant {meant[0]}"
    if meant:
        return f"choose one of those inside: {', '.join(child.name for child in meant[:5])}"
    return f"make one with `{_conversion(Path('SRC'), Path('DIR'))}`"


def _is_checkpoint(path: Path) -> bool:
    return (path / "config.json").is_file()


def _conversion(source: Path, destination: Path) -> str:
    return f"python -m weights_convert {shlex.quote(str(source))} {shlex.quote(str(destination))}"


def _plain(text: str) -> str:
    """Without what makes no difference: capitals, and whether blanks, hyphens or underscores divide."""
    return "_".join(text.lower().replace("-", " ").replace("_", " ").replace("+", " plus").split())
