"""Labels of latents, from arrays, CSV files and other text: which number belongs to which latent.

A `.csv` file is read as CSV, separated by commas, or by semicolons or tabs if its first line has any. In other text the
last field of a line is the label and all before it the name, which may have blanks. A first line whose label is neither
a number nor a word for one is a header. Without names the labels are in the natural order of the latents.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from jaxedit.arrays import read_arrays
from jaxedit.cli.latents import StoredLatents
from jaxedit.messages import listing, printable, warn

_MAX_BYTES = 1 << 28
_WORDS = (("0", "1"), ("-1", "1"), ("no", "yes"), ("false", "true"))
_RIGHT = "0 and 1, -1 and 1, no and yes, or false and true"


class Label(NamedTuple):
    """A label as it stands in a file; the name is empty where there is none."""

    name: str
    value: str
    place: str

    @property
    def file(self) -> str:
        """The last part of a name that is a path."""
        return PurePosixPath(self.name).name

    @property
    def stem(self) -> str:
        """That without the ending of a file."""
        return PurePosixPath(self.name).stem


def read_labels(
    path: Path, latents: Sequence[StoredLatents], counts: Sequence[int], *, scores: bool, attribute: str | None
) -> np.ndarray:
    """Reads a label for every latent.

    Args:
        path: A `.npy` file with one label per latent, or text.
        latents: The files or keys of the latents.
        counts: How many latents each of them holds; those of one file share its named label.
        scores: The labels are numbers of any scale; otherwise they are read as 0 or 1.
        attribute: The column of a table with a header.

    Returns:
        `[sum of counts]` float64.

    Raises:
        ValueError: Anything that leaves a doubt; one line that names the file, and the line in it.
        OSError: It can't be read.
    """
    labels = _of_array(path, sum(counts)) if path.suffix == ".npy" else _of_text(path, attribute)
    values = (_numbers if scores else _classes)(path, labels)
    if labels and labels[0].name:
        return np.repeat(values[_matched(path, labels, values, latents)], counts)
    if len(values) != sum(counts):
        raise ValueError(f"{path}: {len(values)} labels for {sum(counts)} latents")
    return values


def _of_array(path: Path, count: int) -> list[Label]:
    stored = read_arrays(path)[""]
    if stored.dtype.kind not in "fiub":
        raise ValueError(f"{path}: labels are numbers, not {stored.dtype}")
    if math.prod(stored.shape) != count:
        raise ValueError(f"{path}: {math.prod(stored.shape)} labels for {count} latents")
    numbers = np.asarray(stored).reshape(-1).astype(np.float64).tolist()
    return [Label("", repr(number), f"row {row}") for row, number in enumerate(numbers)]


def _of_text(path: Path, attribute: str | None) -> list[Label]:
    text = _text(path)
    rows = list(_csv_rows(path, text) if path.suffix.lower() == ".csv" else _text_rows(text, attribute is not None))
    if not rows:
        raise ValueError(f"{path}: holds no labels")
    if attribute is not None:
        return _column(path, rows, attribute)
    labels = []
    for line, fields in rows:
        if len(fields) > 2:
            right = "NUMBER or NAME,NUMBER is right, and --attribute chooses a column of a table"
            raise ValueError(f"{path}, line {line}: {len(fields)} fields; {right}")
        if len(fields) != len(rows[-1][1]):
            raise ValueError(
                f"{path}, line {line}: {len(fields)} field(s), line {rows[-1][0]} has {len(rows[-1][1])}; every line "
                "is NUMBER, or every one NAME NUMBER; a table of attributes needs --attribute"
            )
        labels.append(Label(fields[0] if len(fields) == 2 else "", fields[-1], f"line {line}"))
    if len(labels) > 1 and not _is_value(labels[0].value):
        return labels[1:]
    return labels


def _text(path: Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path}: more than {_MAX_BYTES >> 20} MiB, so not a file of labels")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not readable as labels (no text in UTF-8)") from error


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    first = re.sub(r'"[^"]*"', "", text.lstrip().partition("\n")[0])
    delimiter = next((mark for mark in ";\t" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if fields := [field.strip() for field in row] if any(field.strip() for field in row) else []:
                yield reader.line_num, fields
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: no CSV ({error})") from error


def _text_rows(text: str, table: bool) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        fields = [field for field in re.split(r"[\s,;]+", line) if field]
        if len(fields) > 1 and not table:
            fields = [line[: line.rindex(fields[-1])].strip(" \t,;"), fields[-1]]
        if fields:
            yield number, fields


def _column(path: Path, rows: list[tuple[int, list[str]]], attribute: str) -> list[Label]:
    """One column of a table whose first one has the names: a CSV file, or CelebA's `list_attr_celeba.txt`."""
    if len(rows[0][1]) == 1 and rows[0][1][0].isdecimal():  # CelebA's first line is the number of images
        rows = rows[1:]
    line, header = rows[0] if rows else (0, [])
    if attribute not in header:
        raise ValueError(f"{path}, line {line}: no attribute {attribute!r}; there are {listing(header, 50)}")
    column = header.index(attribute) - len(header)  # from the end: CelebA's header has none for the names
    labels = []
    for line, fields in rows[1:]:
        if len(fields) != len(rows[1][1]) or not len(header) <= len(fields) <= len(header) + 1:
            raise ValueError(f"{path}, line {line}: {len(fields)} fields; the header has {len(header)}")
        if -column == len(fields):
            raise ValueError(f"{path}: {attribute!r} is the column of the names")
        labels.append(Label(fields[0], fields[column], f"line {line}"))
    return labels


def _is_value(text: str) -> bool:
    try:
        float(text)
        return True
    except ValueError:
        return any(text.lower() in pair for pair in _WORDS)


def _numbers(path: Path, labels: Sequence[Label]) -> np.ndarray:
    numbers = []
    for label in labels:
        try:
            numbers.append(float(label.value))
        except ValueError:
            numbers.append(math.nan)
        if not math.isfinite(numbers[-1]):
            raise ValueError(f"{path}, {label.place}: {_shown(label.value)} is no finite number")
    return np.array(numbers)


def _classes(path: Path, labels: Sequence[Label]) -> np.ndarray:
    """0 or 1 for each, in the words of one pair."""
    words, pairs = [_word(label.value) for label in labels], list(_WORDS)
    for label, word in zip(labels, words, strict=True):
        fitting = [pair for pair in pairs if word in pair]
        if not fitting:
            known = any(word in pair for pair in _WORDS)
            wrong = f"does not go with {_shown(labels[0].value)}" if known else "is no label"
            right = f"{_RIGHT} are read, and any scores for --fraction"
            raise ValueError(f"{path}, {label.place}: {_shown(label.value)} {wrong}; {right}")
        pairs = fitting
    return np.array([word == pairs[0][1] for word in words], np.float64)


def _word(value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        return value.lower()
    return str(int(number)) if number in (-1, 0, 1) else value


def _shown(value: str) -> str:
    return repr(printable(value, 40))


def _matched(path: Path, labels: Sequence[Label], values: np.ndarray, latents: Sequence[StoredLatents]) -> list[int]:
    """Which label each of the latents has: by full name, then by the name without ending; any doubt is refused."""
    ways: list[tuple[Callable[[Label], str], Callable[[StoredLatents], str]]] = [
        (lambda label: label.name, lambda latent: latent.name),
        (lambda label: label.file, lambda latent: latent.name),
        (lambda label: label.file, lambda latent: latent.stem),
        (lambda label: label.stem, lambda latent: latent.stem),
    ]
    chosen: dict[int, int] = {}
    free = list(range(len(labels)))
    for label_key, latent_key in ways:
        found, wanted = defaultdict(list), defaultdict(list)
        for index in free:
            found[label_key(labels[index])].append(index)
        for index, latent in enumerate(latents):
            if index not in chosen:
                wanted[latent_key(latent)].append(index)
        for key in [key for key in wanted if key in found]:
            same, of = found[key], wanted[key]
            if other := next((index for index in same if values[index] != values[same[0]]), None):
                places = f"{labels[same[0]].place} and {labels[other].place}"
                raise ValueError(f"{path}, {places}: different labels for {_shown(latents[of[0]].name)}")
            if len(of) > 1:
                names = " and ".join(_shown(latents[index].name) for index in of[:2])
                raise ValueError(f"{path}, {labels[same[0]].place}: {_shown(labels[same[0]].name)} may be {names}")
            chosen[of[0]] = same[0]
        free = [index for index in free if label_key(labels[index]) not in wanted]
    unused = listing([labels[index].name for index in free])
    if missing := [latent.name for index, latent in enumerate(latents) if index not in chosen]:
        rest = f"; no latents have the names {unused}" if free else ""
        raise ValueError(f"{path}: no label for {len(missing)} of {len(latents)} latents: {listing(missing)}{rest}")
    if free:
        warn(f"{path}: {len(free)} label(s) that name no latent are left out: {unused}")
    return [chosen[index] for index in range(len(latents))]
