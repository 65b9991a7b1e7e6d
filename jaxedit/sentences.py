"""Encoders of sentences, which make one vector of each: a language model, or a bag of words where there is none."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax
import numpy as np

from jaxedit.bag_of_words import BagOfWords
from jaxedit.checkpoints import CheckpointError, load_network
from jaxedit.networks.minilm import MiniLM, encode
from jaxedit.networks.wordpiece import WordPieces

_SHORTEST = 16
_encoded = jax.jit(encode, static_argnames="config")


@runtime_checkable
class SentenceEncoder(Protocol):
    """Makes a vector of a sentence; from the host, not inside of `jit`."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        ...

    def embed(self, sentence: str) -> np.ndarray:
        """`[dimensions]` float32 of length 1; the dot product of two says how alike the sentences are."""
        ...


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """A `SentenceEncoder` that knows language.

    Attributes:
        network: The encoder.
        pieces: Its tokenizer.
    """

    network: MiniLM
    pieces: WordPieces

    @property
    def name(self) -> str:
        """Its size."""
        config = self.network.config
        return f"a language model of {config.layers} layers, {config.dimensions} numbers a sentence"

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return self.network.config.dimensions

    def embed(self, sentence: str) -> np.ndarray:
        """See `SentenceEncoder`; what is longer than `network.config.length` pieces is cut off. Programs are compiled
        for 16, 32, 64, ... pieces."""
        longest = self.network.config.length
        needed = max(_SHORTEST, len(self.pieces.split(sentence)) + 2)
        tokens, mask = self.pieces.encode(sentence, length=min(1 << (needed - 1).bit_length(), longest))
        return np.asarray(_encoded(self.network.params, tokens, mask, config=self.network.config))


def load(path: str | Path | None) -> SentenceEncoder:
    """Reads an encoder.

    Args:
        path: A checkpoint directory of family "minilm"; None for the bag of words, which needs no file.

    Returns:
        The encoder.

    Raises:
        FileNotFoundError: There is no checkpoint at `path`.
        CheckpointError: It is damaged, its vocabulary is none, or it is no encoder of sentences.
    """
    if path is None:
        return BagOfWords()
    network = load_network(path)
    if not isinstance(network, MiniLM):
        raise CheckpointError(f"{path}: {type(network).__name__} does not encode sentences, MiniLM would")
    try:
        pieces = network.pieces()
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if len(pieces.pieces) != network.config.pieces:
        found = f"{len(pieces.pieces)} pieces, and the network {network.config.pieces}"
        raise CheckpointError(f"{path}: the vocabulary has {found}")
    return LanguageModel(network, pieces)
