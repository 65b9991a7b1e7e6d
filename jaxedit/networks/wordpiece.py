"""WordPiece: sentences as numbers of pieces of words, as BERT's uncased tokenizer makes them."""

from __future__ import annotations

import dataclasses
import functools
import unicodedata

import numpy as np

from jaxedit.messages import printable

_PAD, _UNKNOWN, _START, _END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
_LONGEST_WORD = 100
# Ideographs are words of their own.
_IDEOGRAPHS = (
    range(0x3400, 0x4DC0),
    range(0x4E00, 0xA000),
    range(0xF900, 0xFB00),
    range(0x20000, 0x2A6E0),
    range(0x2A700, 0x2CEB0),
    range(0x2F800, 0x2FA20),
)


@dataclasses.dataclass(frozen=True)
class WordPieces:
    """A tokenizer.

    Attributes:
        pieces: The vocabulary in the order of its numbers. Pieces that go on with a word begin with "##".
    """

    pieces: tuple[str, ...]

    def __post_init__(self):
        if missing := [piece for piece in (_PAD, _UNKNOWN, _START, _END) if piece not in self.numbers]:
            raise ValueError(f"the vocabulary has no {' and no '.join(missing)}")
        if len(self.numbers) < len(self.pieces):
            raise ValueError(f"{len(self.pieces) - len(self.numbers)} pieces of the vocabulary are there twice")

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """Piece -> its number."""
        return {piece: number for number, piece in enumerate(self.pieces)}

    def split(self, sentence: str) -> list[str]:
        """A sentence as pieces: capitals and accents are dropped, and so are control characters; what looks like a
        piece with a meaning of its own, such as "[SEP]", is text."""
        return [piece for word in _words(sentence) for piece in self._pieces_of(word)]

    def encode(self, sentence: str, *, length: int) -> tuple[np.ndarray, np.ndarray]:
        """A sentence as the input of a network.

        Args:
            sentence: Any text; what does not fit is cut off.
            length: Of the result, with "[CLS]" before and "[SEP]" after the sentence.

        Returns:
            `[length]` int32 numbers, filled up with that of "[PAD]", and `[length]` bool, which are not filling.

        Raises:
            ValueError: No place for the two pieces.
        """
        if length < 2:
            raise ValueError(f"length is {length}; it has to be 2 or more")
        pieces = [_START, *self.split(sentence)[: length - 2], _END]
        mask = np.arange(length) < len(pieces)
        pieces += [_PAD] * (length - len(pieces))
        return np.array([self.numbers[piece] for piece in pieces], np.int32), mask

    def _pieces_of(self, word: str) -> list[str]:
        """The longest pieces from the left; a word that can't be made of pieces is unknown as a whole."""
        found, rest = [], word
        while rest and len(word) <= _LONGEST_WORD:
            begun = (("##" if found else "") + rest[:end] for end in range(len(rest), 0, -1))
            piece = next((piece for piece in begun if piece in self.numbers), None)
            if piece is None:
                return [_UNKNOWN]
            rest = rest[len(piece) - 2 * bool(found) :]
            found.append(piece)
        return found or [_UNKNOWN]


def read_pieces(data: bytes) -> WordPieces:
    """A tokenizer from the bytes of a `vocab.txt`, which has one piece in each line.

    Args:
        data: UTF-8.

    Returns:
        The tokenizer.

    Raises:
        ValueError: No text, or no vocabulary.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"the vocabulary is no text in UTF-8: {printable(error, 100)}") from None
    return WordPieces(tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")))


def _words(sentence: str) -> list[str]:
    """Lower-case words without accents; marks of punctuation are words of their own."""
    kept = (" " if char in "\t\n\r" else char for char in sentence if char in "\t\n\r" or not _is_dropped(char))
    spaced = "".join(f" {char} " if any(ord(char) in block for block in _IDEOGRAPHS) else char for char in kept)
    letters = (char.lower() for char in unicodedata.normalize("NFD", spaced) if unicodedata.category(char) != "Mn")
    return "".join(f" {char} " if _is_punctuation(char) else char for char in letters).split()


def _is_dropped(char: str) -> bool:
    return char == "\ufffd" or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co")


def _is_punctuation(char: str) -> bool:
    plain = char.isascii() and char.isprintable() and not char.isalnum() and char != " "
    return plain or unicodedata.category(char).startswith("P")
