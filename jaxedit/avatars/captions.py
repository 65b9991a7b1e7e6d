"""Sentences about avatars: made from their factors, and read again, so that edits by sentences can be judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jaxedit.avatars.caption_words import BOUND, FILLERS, NEGATIONS, PARTS, WORDS, words_of
from jaxedit.avatars.factors import Factors

_COLORS = ("black_hair", "brown_hair", "blond_hair", "red_hair", "grey_hair")
# Of what is said as one noun: wordings where it is there.
_THINGS = {
    "mouth_open": ("an open mouth",),
    "narrow_eyes": ("narrow eyes", "narrowed eyes"),
    "bangs": ("bangs", "a fringe"),
    "beard": ("a beard",),
    "eyeglasses": ("glasses", "eyeglasses", "spectacles"),
    "hat": ("a hat", "a cap"),
    "earrings": ("earrings",),
    "necklace": ("a necklace",),
    "lipstick": ("lipstick",),
}
# Attribute -> wordings where it is there, and where it is not; said before a noun.
_OF_PERSON = {
    "age": (("old", "elderly", "aged"), ("young", "youthful")),
    "smile": (("smiling", "happy", "cheerful"), ("serious", "unsmiling")),
}
_OF_HAIR = {
    "long_hair": (("long",), ("short",)),
    "curly_hair": (("curly", "wavy"), ("straight",)),
    "black_hair": (("black",), ()),
    "brown_hair": (("brown",), ()),
    "blond_hair": (("blond", "blonde", "fair"), ()),
    "red_hair": (("red", "ginger"), ()),
    "grey_hair": (("grey", "gray"), ()),
}
_PERSON = {"gender": (("man", "gentleman"), ("woman", "lady"))}
_BEGINNINGS = ("", "a portrait of ", "a photo of ", "the face of ")

CAPTIONED = ("gender", *_OF_PERSON, *_OF_HAIR, *_THINGS)
"""What captions say of an avatar; names that are in `factors.ATTRIBUTES` mean the same."""
_ALWAYS = ("gender", "age", "long_hair")  # also told where they are not there
_FACTORS = {name: name for name in ("gender", *_OF_PERSON, *_THINGS)} | {
    "long_hair": "hair_length",
    "curly_hair": "hair_curl",
    "red_hair": "hair_red",
    "grey_hair": "hair_grey",
}

Chooser = Callable[[Sequence[str]], str]


def facts(factors: Factors) -> dict[str, bool]:
    """What is true of an avatar.

    Args:
        factors: Of one avatar.

    Returns:
        For each name of `CAPTIONED` whether it is there; hair has exactly one colour.
    """
    found = {name: bool(getattr(factors, factor) > 0.5) for name, factor in _FACTORS.items()}
    natural = "black_hair" if factors.hair_lightness < 0.25 else "brown_hair"
    natural = "blond_hair" if factors.hair_lightness > 0.75 else natural
    color = "grey_hair" if found["grey_hair"] else "red_hair" if found["red_hair"] else natural
    return {name: name == color if name in _COLORS else found[name] for name in CAPTIONED}


def caption(factors: Factors) -> str:
    """Says everything that there is on an avatar, always in the same words.

    Args:
        factors: Of one avatar.

    Returns:
        A sentence such as "a young smiling woman with long curly red hair, bangs and glasses", of words that
        `mentioned` knows.
    """
    stated = {name: there for name, there in facts(factors).items() if there or name in _ALWAYS}
    return _sentence(stated, lambda wordings: wordings[0])


def varied_caption(factors: Factors, *, random: np.random.Generator) -> str:
    """Says some of what is true of an avatar, in changing words and order.

    Args:
        factors: Of one avatar.
        random: Is drawn from.

    Returns:
        As from `caption`, of about half of what that would say, and a little of what there is not ("without a hat").
    """
    known = facts(factors)
    sayable = [name for name, there in known.items() if there or name not in _COLORS]
    told = [name for name in sayable if random.random() < (0.5 if known[name] or name in _ALWAYS else 0.125)]
    names = random.permutation(told or ["gender"]).tolist()

    def choose(wordings: Sequence[str]) -> str:
        return wordings[int(random.integers(len(wordings)))]

    return choose(_BEGINNINGS) + _sentence({name: known[name] for name in names}, choose)


def mentioned(sentence: str) -> dict[str, bool]:
    """Reads what a sentence asks for, by the words of captions and their synonyms.

    Colour, length and curls count where they are said of hair (or of a beard, which has its colour), "open" of a mouth,
    "narrow" of eyes: "a red hat" asks for a hat. "no", "not" and "without" turn what follows into its opposite, up to
    the next "and", "but", "with" or mark of punctuation. Words that are not known take what is said of them: "red lips"
    asks for nothing.

    Args:
        sentence: Any text.

    Returns:
        Names of `CAPTIONED` -> whether they are to be there. Of two that contradict each other the last one counts.
    """
    found: dict[str, bool] = {}
    waiting: dict[str, bool] = {}  # qualities, for what they are said of
    said_of, negated = "", False
    for word in [*words_of(sentence), "."]:
        sense = WORDS.get(word)
        ends = word in ("with", "but") or not word.isalnum()
        is_quality = sense is not None and sense.concept not in CAPTIONED
        is_noun = not (ends or is_quality or word in NEGATIONS | FILLERS)  # or as good as one
        if sense:
            (waiting if is_quality else found)[sense.concept] = sense.positive != negated
        if is_noun:
            said_of = sense.concept if sense and word not in PARTS else word
        if is_noun or ends or word in NEGATIONS:  # "red hair", "her hair is red"
            pairs = {(concept, said_of): there for concept, there in waiting.items()}
            found |= {BOUND[pair]: there for pair, there in pairs.items() if pair in BOUND}
        if is_noun:
            waiting.clear()
        negated = word in NEGATIONS or (negated and not ends and word != "and")
    return found


def _sentence(stated: Mapping[str, bool], choose: Chooser) -> str:
    """The facts in their order, as far as grammar allows it."""

    def words(table: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> list[str]:
        return [choose(table[name][0 if there else 1]) for name, there in stated.items() if name in table]

    person = " ".join([*words(_OF_PERSON), *(words(_PERSON) or ["person"])])
    hair = " ".join([*words(_OF_HAIR), "hair"])
    there, absent = list[str](), list[str]()
    for name in stated:
        if name in _THINGS:
            (there if stated[name] else absent).append(choose(_THINGS[name]))
        elif name in _OF_HAIR and hair not in there:
            there.append(hair)
    *others, last = there or [""]
    listed = f"{', '.join(others)} and {last}" if others else last
    sentence = f"{'an' if person[0] in 'aeiou' else 'a'} {person}"
    sentence += f" with {listed}" if listed else ""
    return sentence + (f" without {' or '.join(absent)}" if absent else "")
