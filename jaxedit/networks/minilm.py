"""Sentences as vectors: BERT (Devlin et al., 2019), averaged over the words, as Sentence-BERT (Reimers and Gurevych,
2019) does it; all-MiniLM-L6-v2 by default."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxedit.networks.wordpiece import WordPieces, read_pieces
from jaxedit.nn.described import Described
from jaxedit.nn.pytrees import Params

_MOST_LAYERS, _SEGMENTS, _EPSILON = 64, 2, 1e-12


@dataclasses.dataclass(frozen=True)
class MiniLMConfig:
    """The architecture; all-MiniLM-L6-v2 by default.

    Attributes:
        dimensions: Of each word, and of the sentence.
        layers: Of attention.
        heads: Of attention; they divide `dimensions`.
        hidden: Hidden units after attention.
        pieces: Of words, in the vocabulary.
        positions: The most pieces that the network can tell the places of.
        length: The most pieces of a sentence that its authors use, with the two around it.
        vocabulary_bytes: Of the vocabulary as text, one piece in each line.
    """

    dimensions: int = 384
    layers: int = 6
    heads: int = 12
    hidden: int = 1536
    pieces: int = 30522
    positions: int = 512
    length: int = 256
    vocabulary_bytes: int = 231508

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if (value := getattr(self, field.name)) < 1:
                raise ValueError(f"{field.name} is {value}; it has to be positive")
        if self.dimensions % self.heads or self.layers > _MOST_LAYERS:
            raise ValueError(
                f"dimensions are {self.dimensions}, heads {self.heads}, layers {self.layers}; heads that divide the "
                f"dimensions and at most {_MOST_LAYERS} layers would be right"
            )
        if not 2 <= self.length <= self.positions:
            raise ValueError(f"length is {self.length}; it has to be from 2 to {self.positions}, the positions")


def _dense(features: int, name: str) -> nn.Dense:
    return nn.Dense(features, precision=lax.Precision.HIGHEST, name=name)


def _norm() -> nn.LayerNorm:
    return nn.LayerNorm(_EPSILON, use_fast_variance=False, name="LayerNorm")


class Embeddings(nn.Module):
    """What each piece is, and where it stands; all are of the first of BERT's two segments."""

    config: MiniLMConfig

    @nn.compact
    def __call__(self, tokens):
        width = self.config.dimensions
        x = nn.Embed(self.config.pieces, width, name="word_embeddings")(tokens)
        x += nn.Embed(self.config.positions, width, name="position_embeddings")(jnp.arange(len(tokens)))
        return _norm()(x + nn.Embed(_SEGMENTS, width, name="token_type_embeddings")(jnp.zeros_like(tokens)))


class SelfAttention(nn.Module):
    """Every piece looks at all pieces that are not filling."""

    config: MiniLMConfig

    @nn.compact
    def __call__(self, x, mask):
        heads, width = self.config.heads, self.config.dimensions // self.config.heads
        query, key, value = (
            _dense(self.config.dimensions, name)(x).reshape(-1, heads, width) for name in ("query", "key", "value")
        )
        scores = jnp.einsum("qhd,khd->hqk", query, key, precision=lax.Precision.HIGHEST) * width**-0.5
        weights = nn.softmax(jnp.where(mask[None, None], scores, jnp.finfo(x.dtype).min))
        return jnp.einsum("hqk,khd->qhd", weights, value, precision=lax.Precision.HIGHEST).reshape(x.shape)


class Output(nn.Module):
    """Back to the width of what it is added to."""

    @nn.compact
    def __call__(self, x, added_to):
        return _norm()(_dense(added_to.shape[-1], "dense")(x) + added_to)


class Block(nn.Module):
    """Attention, then hidden units."""

    config: MiniLMConfig

    @nn.compact
    def __call__(self, x, mask):
        x = Output(name="attention.output")(SelfAttention(self.config, name="attention.self")(x, mask), x)
        hidden = nn.gelu(_dense(self.config.hidden, "intermediate.dense")(x), approximate=False)
        return Output(name="output")(hidden, x)


class MiniLMNetwork(nn.Module):
    """Pieces of a sentence to a vector of length 1."""

    config: MiniLMConfig

    @nn.compact
    def __call__(self, tokens, mask):
        x = Embeddings(self.config, name="embeddings")(tokens)
        for index in range(self.config.layers):
            x = Block(self.config, name=f"encoder.layer.{index}")(x, mask)
        total = jnp.sum(jnp.where(mask[:, None], x, 0), axis=0)
        return total * lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(total)), 1e-12))


def init(key: Key[Array, ""], *, config: MiniLMConfig) -> Params:
    """Draws the parameters of an untrained network.

    Args:
        key: A typed key.
        config: The architecture.

    Returns:
        `{"params": ..., "vocabulary": {"utf8": [vocabulary_bytes]}}`, float32; below "params" the official names. The
        vocabulary is all zeros, and no tokenizer can be made of it.
    """
    tokens = jnp.zeros(2, jnp.int32)
    variables: Any = MiniLMNetwork(config).init(key, tokens, tokens == 0)
    return {**variables, "vocabulary": {"utf8": jnp.zeros(config.vocabulary_bytes)}}


def encode(
    params: Params,
    tokens: Int[Array | np.ndarray, " length"],
    mask: Bool[Array | np.ndarray, " length"],
    *,
    config: MiniLMConfig,
) -> Float[Array, " dimensions"]:
    """Describes what a sentence says.

    Args:
        params: As made by `init`.
        tokens: `[length]` int32, numbers of pieces, as from `networks.wordpiece.WordPieces.encode`.
        mask: `[length]` bool: which of them are not filling. How much filling there is changes nothing.
        config: The architecture.

    Returns:
        `[dimensions]` of length 1; the dot product of two is their cosine. Equal to `SentenceTransformer.encode`.

    Raises:
        ValueError: More pieces than the network has positions for.
    """
    if len(tokens) > config.positions:
        raise ValueError(f"{len(tokens)} pieces; at most {config.positions} have a position")
    encoded: Any = MiniLMNetwork(config).apply({"params": params["params"]}, tokens, mask)
    return encoded


@flax.struct.dataclass(repr=False)
class MiniLM(Described):
    """An encoder of sentences as a frozen pytree: `params` are leaves, `config` is static."""

    params: Params
    config: MiniLMConfig = flax.struct.field(pytree_node=False)

    def __call__(
        self, tokens: Int[Array | np.ndarray, " length"], mask: Bool[Array | np.ndarray, " length"]
    ) -> Float[Array, " dimensions"]:
        """See `encode`."""
        return encode(self.params, tokens, mask, config=self.config)

    def pieces(self) -> WordPieces:
        """The tokenizer, made from the vocabulary that came with the weights; not inside of `jit`."""
        return read_pieces(np.asarray(jax.device_get(self.params["vocabulary"]["utf8"])).astype(np.uint8).tobytes())
