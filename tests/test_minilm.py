"""The encoder of sentences against float64, its tokenizer, the bag of words, and what both are read from."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from oracles import f64
from untrained import untrained

from jaxedit import checkpoints, cli, sentences
from jaxedit.bag_of_words import BagOfWords
from jaxedit.networks import minilm
from jaxedit.networks.minilm import MiniLM, MiniLMConfig
from jaxedit.networks.wordpiece import WordPieces, read_pieces

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *"a b c é , . ! ( ) - 日 # man wo ##man ##s red hair ##ed cafe i \u2028".split(" "),
]
VOCABULARY = "\n".join([*PIECES, ""]).encode()
CONFIG = MiniLMConfig(12, 2, 3, 20, len(PIECES), positions=40, length=30, vocabulary_bytes=len(VOCABULARY))


def network() -> MiniLM:
    """With weights of which all act, and attention that is neither flat nor all on one piece."""
    params: Any = jax.tree.map(
        lambda leaf: np.random.default_rng(leaf.size).standard_normal(leaf.shape).astype(np.float32) * 0.7,
        untrained(CONFIG),
    )
    params["vocabulary"]["utf8"] = np.frombuffer(VOCABULARY, np.uint8).astype(np.float32)
    return MiniLM(params, CONFIG)


# The network.


def reference(params: Any, tokens: list[int]) -> np.ndarray:
    """BERT as published, of pieces without filling: names as in official files."""
    values = {".".join(path[1:]): f64(leaf) for path, leaf in flatten_dict(params).items()}

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        return x @ values[f"{name}.kernel"] + values[f"{name}.bias"]

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * values[f"{name}.LayerNorm.scale"] + values[f"{name}.LayerNorm.bias"]

    tables = {name: values[f"embeddings.{name}_embeddings.embedding"] for name in ("word", "position", "token_type")}
    x = norm("embeddings", tables["word"][tokens] + tables["position"][: len(tokens)] + tables["token_type"][0])
    for index in range(CONFIG.layers):
        layer, heads = f"encoder.layer.{index}", []
        parts = (np.split(dense(f"{layer}.attention.self.{part}", x), 3, axis=1) for part in ("query", "key", "value"))
        for query, key, value in zip(*parts, strict=True):
            weights = np.exp(query @ key.T / math.sqrt(4))
            heads.append(weights / weights.sum(-1, keepdims=True) @ value)
        x = norm(f"{layer}.attention.output", dense(f"{layer}.attention.output.dense", np.concatenate(heads, 1)) + x)
        hidden = dense(f"{layer}.intermediate.dense", x)
        hidden *= 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        x = norm(f"{layer}.output", dense(f"{layer}.output.dense", hidden) + x)
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("filling", [0, 1, 20])
@pytest.mark.parametrize("sentence", ["", "a man, a woman!", "red hair red hair red hair cafe"])
def test_sentences_are_encoded_as_published(sentence: str, filling: int):
    """Protects: every connection of the network, and that filling changes nothing."""
    encoder = network()
    needed = len(encoder.pieces().split(sentence)) + 2
    tokens, mask = encoder.pieces().encode(sentence, length=needed + filling)
    assert mask.sum() == needed
    found = jax.jit(lambda network, *given: network(*given))(encoder, tokens, mask)
    np.testing.assert_allclose(found, reference(encoder.params, tokens[mask].tolist()), rtol=0, atol=1e-6)


def test_what_stands_in_the_filling_does_not_matter():
    """Protects: pieces behind the mask are never seen, not even by rounding."""
    encoder, mask = network(), jnp.arange(9) < 4
    tokens = jnp.array([2, 5, 6, 3, 0, 0, 0, 0, 0], jnp.int32)
    np.testing.assert_array_equal(encoder(tokens, mask), encoder(jnp.where(mask, tokens, 11), mask))


def test_more_pieces_than_positions_are_refused():
    """Protects: one line instead of places that are all taken for the last."""
    with pytest.raises(ValueError, match="41 pieces; at most 40"):
        jax.eval_shape(network(), jnp.zeros(41, jnp.int32), jnp.zeros(41, bool))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"heads": 5}, "heads that divide"),
        ({"layers": 65}, "at most 64"),
        ({"hidden": 0}, "hidden is 0"),
        ({"length": 600}, "from 2 to 512"),
    ],
)
def test_impossible_architectures_are_refused(values: dict[str, int], message: str):
    """Protects: one line that says what is wrong, whatever a file claims."""
    with pytest.raises(ValueError, match=message):
        MiniLMConfig(**values)


# The tokenizer.


@pytest.mark.parametrize(
    ("sentence", "pieces"),
    [
        ("", []),
        (" \t\n\r\u00a0\u2003", []),
        ("A Man", ["a", "man"]),
        ("women's", ["[UNK]", "[UNK]", "[UNK]"]),
        ("Womans haired", ["wo", "##man", "##s", "hair", "##ed"]),
        ("CAFÉ cafe\u0301 Cafè", ["cafe", "cafe", "cafe"]),
        ("a-b,c!", ["a", "-", "b", ",", "c", "!"]),
        ("a«b»c", ["a", "[UNK]", "b", "[UNK]", "c"]),
        ("\u0130", ["i"]),
        ("日日a", ["日", "日", "a"]),
        ("m\x00a\u200bn\ufffd\ud800", ["man"]),
        ("a\u2028b", ["a", "b"]),
        ("##s #", ["#", "#", "[UNK]", "#"]),
        ("[SEP]", ["[UNK]", "[UNK]", "[UNK]"]),
        ("mana", ["[UNK]"]),
        ("a" * 101, ["[UNK]"]),
    ],
)
def test_sentences_are_split_as_by_bert(sentence: str, pieces: list[str]):
    """Protects: capitals, accents, punctuation, ideographs, control characters, unknown and long words."""
    assert read_pieces(VOCABULARY).split(sentence) == pieces


def test_words_of_a_hundred_letters_are_split():
    """Protects: the limit of a word, in time that does not explode."""
    pieces = WordPieces(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##a"))
    assert pieces.split("a" * 100) == ["a"] + ["##a"] * 99
    assert pieces.split("a" * 5000 + " a" * 5000) == ["[UNK]"] + ["a"] * 5000


def test_sentences_are_filled_up_and_cut_off():
    """Protects: the two pieces around a sentence, also where it does not fit."""
    pieces = read_pieces(VOCABULARY)
    tokens, mask = pieces.encode("a b", length=6)
    assert tokens.tolist() == [2, 4, 5, 3, 0, 0] and mask.tolist() == [True] * 4 + [False] * 2
    assert tokens.dtype == np.int32
    tokens, mask = pieces.encode("a b c " * 1000, length=5)
    assert tokens.tolist() == [2, 4, 5, 6, 3] and mask.all()
    with pytest.raises(ValueError, match="2 or more"):
        pieces.encode("a", length=1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe", "no text in UTF-8"),
        (b"a\nb\n", r"no \[PAD\] and no \[UNK\] and no \[CLS\]"),
        (VOCABULARY + b"a\n", "1 pieces of the vocabulary are there twice"),
        (b"", r"no \[PAD\]"),
    ],
)
def test_what_is_no_vocabulary_is_refused(data: bytes, message: str):
    """Protects: one line, before a sentence is split wrongly."""
    with pytest.raises(ValueError, match=message):
        read_pieces(data)


def test_lines_end_in_any_way():
    """Protects: files of Windows, and pieces that Python takes for ends of lines."""
    assert read_pieces(VOCABULARY.replace(b"\n", b"\r\n")) == read_pieces(VOCABULARY)
    assert read_pieces(VOCABULARY).pieces[-1] == "\u2028"


# Encoders.


@pytest.mark.slow
def test_both_encoders_make_vectors_of_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: one seam, from a checkpoint and without one, and that each says what it is."""
    encoder = network()
    checkpoints.save(tmp_path / "minilm", params=encoder.params, config=CONFIG, metadata={})
    assert cli.main(["info", str(tmp_path / "minilm")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("network (minilm), ") and "px" not in out
    bag, model = sentences.load(None), sentences.load(tmp_path / "minilm")
    assert "bag of words" in bag.name and "language model of 2 layers" in model.name
    for one in (bag, model):
        vector = one.embed("a man with red hair")
        assert vector.shape == (one.dimensions,) and vector.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vector), 1, rtol=1e-6)
    for sentence in ("", "a man", "a man " * 9, "a man " * 900):
        tokens, mask = encoder.pieces().encode(sentence, length=CONFIG.length)
        expected = minilm.encode(encoder.params, tokens, mask, config=CONFIG)
        np.testing.assert_allclose(model.embed(sentence), expected, rtol=0, atol=1e-6)


def test_what_encodes_no_sentences_is_refused(tmp_path: Path):
    """Protects: one line for an untrained encoder, another vocabulary, and another network."""
    encoder: Any = network()
    fewer = VOCABULARY.replace(b"##ed", b"    ").replace(b"cafe\n", b"     ")
    for name, text in (("zeros", bytes(len(VOCABULARY))), ("fewer", fewer)):
        encoder.params["vocabulary"]["utf8"] = np.frombuffer(text, np.uint8).astype(np.float32)
        checkpoints.save(tmp_path / name, params=encoder.params, config=CONFIG, metadata={})
        with pytest.raises(checkpoints.CheckpointError, match=f"{name}: the vocabulary has"):
            sentences.load(tmp_path / name)
    embedding = Path(checkpoints.__file__).parent / "avatars" / "weights" / "embedding.safetensors"
    with pytest.raises(checkpoints.CheckpointError, match="IdentityEmbedding does not encode sentences"):
        sentences.load(embedding)
    with pytest.raises(FileNotFoundError, match="no checkpoint here"):
        sentences.load(tmp_path / "nothing")


def test_a_bag_of_words_adds_up_words():
    """Protects: synonyms, opposites and negation; order counts for nothing else."""
    embed = BagOfWords().embed
    equal = [
        ("A man with spectacles.", "glasses, gentleman"),
        ("red hair and a hat", "a red hat, and hair"),
        ("a young woman", "not old, not a man"),
        ("a red-haired lady", "her hair is ginger: female"),
    ]
    for one, other in equal:
        np.testing.assert_array_equal(embed(one), embed(other))
    np.testing.assert_array_equal(embed("an old man"), -embed("a woman who isn't old"))
    assert embed("a man with a hat") @ embed("a man with a beard") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("a man with magenta hair, on Mars", "unknown words: magenta, mars; this is a bag of words.*: man, male"),
        ("", "'' says nothing"),
        ("a person with hair", "says nothing"),
        ("old and not old", "a thing and its opposite"),
        ("\x1b[31m", "unknown words: 31m"),
    ],
)
def test_a_bag_of_words_refuses_what_it_does_not_know(sentence: str, message: str):
    """Protects: no vector of words that were passed over in silence."""
    with pytest.raises(ValueError, match=message) as caught:
        BagOfWords().embed(sentence)
    assert str(caught.value).isprintable()
