"""Captions of avatars: what they say is true, and is read from them again."""

from typing import Any

import jax
import numpy as np
import pytest

from jaxedit import avatars
from jaxedit.avatars.caption_words import BOUND, CONCEPTS
from jaxedit.avatars.captions import CAPTIONED, caption, facts, mentioned, varied_caption
from jaxedit.bag_of_words import BagOfWords

COUNT = 200


@pytest.fixture(scope="module")
def factors() -> avatars.Factors:
    """Of many avatars, on the host."""
    draw = jax.jit(jax.vmap(avatars.sample_factors))
    return jax.device_get(draw(jax.random.split(jax.random.key(0), COUNT)))


def of(factors: avatars.Factors, index: int) -> avatars.Factors:
    return jax.tree.map(lambda leaf: leaf[index], factors)


def test_facts_are_the_attributes(factors: avatars.Factors):
    """Protects: one truth for attributes, and one colour of hair."""
    expected = np.asarray(jax.vmap(avatars.attributes)(factors))
    for index in range(COUNT):
        known = facts(of(factors, index))
        assert [known[name] for name in avatars.ATTRIBUTES] == expected[index].tolist()
        assert sum(known[f"{color}_hair"] for color in ("black", "brown", "blond", "red", "grey")) == 1


def test_captions_say_all_that_there_is(factors: avatars.Factors):
    """Protects: sentences are read back to the very facts that they were made of, and bags of words take them."""
    for index in range(COUNT):
        known, sentence = facts(of(factors, index)), caption(of(factors, index))
        said = {name: there for name, there in known.items() if there or name in ("gender", "age", "long_hair")}
        assert mentioned(sentence) == said, sentence
        BagOfWords().embed(sentence)


@pytest.mark.slow
def test_varied_captions_are_true(factors: avatars.Factors):
    """Protects: what training learns from: true, of all attributes and their opposites, of many words and orders."""
    random, said, seen = np.random.default_rng(0), set[tuple[str, bool]](), set[str]()
    for index in range(COUNT):
        known = facts(of(factors, index))
        for _ in range(6):
            sentence = varied_caption(of(factors, index), random=random)
            read = mentioned(sentence)
            assert read and read.items() <= known.items(), sentence
            said |= set(read.items())
            seen.add(sentence)
            BagOfWords().embed(sentence)
    absent = {(name, False) for name in CAPTIONED if not name.endswith("_hair") or name in ("long_hair", "curly_hair")}
    assert said == {(name, True) for name in CAPTIONED} | absent
    assert len(seen) > 0.8 * 6 * COUNT


def test_captions_depend_on_factors_and_random_numbers_alone(factors: avatars.Factors):
    """Protects: the same captions for the same seed, from arrays of NumPy and JAX."""
    host = of(factors, 3)
    device: Any = jax.tree.map(jax.numpy.asarray, host)
    assert caption(host) == caption(device)
    first, again = (
        [varied_caption(one, random=random) for _ in range(5)]
        for one, random in ((host, np.random.default_rng(1)), (device, np.random.default_rng(1)))
    )
    assert first == again


def test_a_caption_reads_well():
    """Protects: articles, lists and the order of words."""
    zero = jax.tree.map(np.zeros_like, avatars.sample_factors(jax.random.key(0)))
    assert caption(zero) == "a young woman with short black hair"
    old = zero._replace(age=np.float32(1), gender=np.float32(1), hair_grey=np.float32(0.9), beard=np.float32(0.6))
    assert caption(old) == "an old man with short grey hair and a beard"
    smiling = zero._replace(
        **{name: np.float32(1) for name in ("smile", "hair_red", "hair_length", "hat", "eyeglasses")}
    )
    assert caption(smiling) == "a young smiling woman with long red hair, glasses and a hat"


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("", {}),
        ("a person in a red dress", {}),
        ("a smiling woman with red hair and glasses", "-gender smile red_hair eyeglasses"),
        ("An old man with a grey beard and a hat.", "age gender beard grey_hair hat"),
        ("a red hat and black, curly hair", "hat black_hair curly_hair"),
        ("her hair is long and red, her mouth wide open", "long_hair red_hair mouth_open"),
        ("red-haired lady, no glasses or hat, but earrings", "red_hair -gender -eyeglasses -hat earrings"),
        ("without glasses and a hat", "-eyeglasses hat"),
        ("not smiling, isn't old, doesn\u2019t wear a necklace", "-smile -age -necklace"),
        ("her mouth is closed, hair is not curly", "-mouth_open -curly_hair"),
        ("long hair and a red dress", "long_hair"),
        ("a short man with long hair", "gender long_hair"),
        ("red lips, fair skin and black hair", "black_hair"),
        ("a blonde woman in black", "-gender blond_hair"),
        ("an old man, no: a young man", "gender -age"),
        ("BLONDE; narrow eyes!", "narrow_eyes"),
    ],
)
def test_sentences_are_read(sentence: str, expected: Any):
    """Protects: which words belong together, and how far a "no" reaches."""
    wanted = {name.removeprefix("-"): not name.startswith("-") for name in expected.split()} if expected else {}
    assert mentioned(sentence) == wanted


def test_all_words_lead_somewhere():
    """Protects: the vocabulary: every concept is an attribute or said of a part, and every attribute can be said."""
    qualities = {concept for concept, _ in BOUND}
    assert set(CONCEPTS) - qualities <= set(CAPTIONED)
    assert set(BOUND.values()) | (set(CONCEPTS) - qualities) == set(CAPTIONED)
