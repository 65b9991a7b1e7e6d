"""The words that captions of avatars are made of and read by: what each stands for."""

from __future__ import annotations

import re
from typing import NamedTuple


class Sense(NamedTuple):
    """What a word stands for: a concept, or its opposite."""

    concept: str
    positive: bool = True


# Concept -> words for it, and for its opposite.
_WORDS: dict[str, tuple[str, str]] = {
    "gender": ("man male gentleman guy boy masculine", "woman female lady girl feminine"),
    "age": ("old older elderly aged senior", "young younger youthful"),
    "smile": ("smiling smile smiles happy cheerful grinning", "serious unsmiling"),
    "eyeglasses": ("glasses eyeglasses spectacles", ""),
    "bangs": ("bangs fringe", ""),
    "beard": ("beard bearded", "shaven"),
    "hat": ("hat cap", ""),
    "earrings": ("earrings earring", ""),
    "necklace": ("necklace", ""),
    "lipstick": ("lipstick", ""),
    "black": ("black", ""),
    "brown": ("brown", ""),
    "blond": ("blond blonde fair golden", ""),
    "red": ("red ginger auburn", ""),
    "grey": ("grey gray white", ""),
    "long": ("long", "short"),
    "curly": ("curly curled wavy", "straight"),
    "open": ("open", "closed"),
    "narrow": ("narrow narrowed", ""),
}

WORDS = {
    word: Sense(concept, positive)
    for concept, both in _WORDS.items()
    for positive, words in zip((True, False), both, strict=True)
    for word in words.split()
}
"""Word -> what it stands for."""

CONCEPTS = tuple(_WORDS)
"""What words stand for: attributes of a face, or qualities of one of its parts."""

BOUND = {
    **{
        (color, part): f"{color}_hair"
        for color in ("black", "brown", "blond", "red", "grey")
        for part in ("hair", "beard")
    },
    ("blond", "gender"): "blond_hair",  # "a blonde woman"
    ("long", "hair"): "long_hair",
    ("curly", "hair"): "curly_hair",
    ("open", "mouth"): "mouth_open",
    ("narrow", "eyes"): "narrow_eyes",
}
"""Concept and the part that it is said of -> attribute. A beard has the colour of the hair."""

PARTS = {"hair", "beard", "mouth", "eyes"}
"""What qualities are said of."""

_ADJECTIVES = {"haired": "hair", "eyed": "eyes", "mouthed": "mouth"}

NEGATIONS = {"no", "not", "without", "nor", "never", "neither"}
"""Words that turn what follows into its opposite."""

FILLERS = set(
    "a an the of and or with is are has have having her his their its it she he they this that who whose in on to but "
    "wearing wears portrait picture photo photograph image face person someone somebody very wide clean".split()
)
"""Words between the others that say nothing."""


def words_of(sentence: str) -> list[str]:
    """A sentence as lower-case words and marks of punctuation; "red-haired" is "red hair", "isn't" is "is not".

    Args:
        sentence: Any text.

    Returns:
        The words in their order.
    """
    plain = sentence.lower().replace("\u2019", "'").replace("n't", " not")
    found: list[str] = re.findall(r"[^\W_]+|[.,;:!?]", plain)
    return [_ADJECTIVES.get(word, word) for word in found]
