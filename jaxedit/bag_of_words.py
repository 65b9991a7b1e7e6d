"""Sentences about avatars as a bag of words, where no language model is at hand."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxedit.avatars.caption_words import CONCEPTS, FILLERS, NEGATIONS, PARTS, WORDS, words_of
from jaxedit.messages import listing, printable


@dataclasses.dataclass(frozen=True)
class BagOfWords:
    """A `sentences.SentenceEncoder` that is a bag of words: it adds up the words of captions of avatars, and knows
    neither grammar nor any other word. "Red hair and a hat" and "a red hat, and hair" are the same to it.
    """

    @property
    def name(self) -> str:
        """That it is no more than a bag of words."""
        return f"a bag of words, which knows {len(WORDS)} words about avatars and no grammar"

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return len(CONCEPTS)

    def embed(self, sentence: str) -> np.ndarray:
        """Adds up what the words stand for: opposites such as "old" and "young" point opposite ways, and so does a word
        after "no", "not" or "without".

        Args:
            sentence: Of known words.

        Returns:
            `[dimensions]` float32 of length 1.

        Raises:
            ValueError: Words that are not known, or none that stands for anything.
        """
        words = [word for word in words_of(sentence) if word.isalnum()]
        if unknown := [word for word in words if word not in WORDS.keys() | PARTS | NEGATIONS | FILLERS]:
            raise ValueError(f"unknown words: {listing(unknown)}; this is {self.name}: {', '.join(WORDS)}")
        total, sign = np.zeros(len(CONCEPTS), np.float32), 1.0
        for word in words:
            if word in NEGATIONS:
                sign = -1.0
            elif word in WORDS:
                concept, positive = WORDS[word]
                total[CONCEPTS.index(concept)] += sign if positive else -sign
                sign = 1.0
        if not total.any():
            raise ValueError(f"{printable(repr(sentence))} says nothing of an avatar, or a thing and its opposite")
        return total / np.linalg.norm(total)
