"""Fits a network that tells the embedding of a caption from an avatar: it closes SGF's loop for captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxedit.avatars.captions import varied_caption
from jaxedit.avatars.factors import Factors, sample_factors
from jaxedit.avatars.renderer import render
from jaxedit.networks import embedding
from jaxedit.networks.embedding import EmbeddingConfig, EmbeddingNetwork
from jaxedit.nn.normalized import train_on_batch
from jaxedit.nn.pytrees import Params
from jaxedit.sentences import SentenceEncoder
from jaxedit.training import supervised
from jaxedit.training.degradation import degrade

_BATCH, _SIZE = 64, 64
_CAPTIONED = 20_000  # avatars with a caption
_WIDTHS = (24, 48, 96, 128)


class Captioned(NamedTuple):
    """Avatars by the keys of their factors, raw, and the embeddings of their captions `[avatars, dimensions]`."""

    keys: Array
    embeddings: Array

    def draw(self, key: Key[Array, ""]) -> tuple[Array, Array]:
        """Pictures of random ones, with defects, and their embeddings."""
        to_choose, to_degrade = jax.random.split(key)
        rows = jax.random.randint(to_choose, (_BATCH,), 0, len(self.keys))
        factors = jax.vmap(_factors)(self.keys[rows])
        pictures = jax.lax.optimization_barrier(jax.vmap(lambda one: render(one, size=_SIZE).image)(factors))
        return jax.vmap(degrade)(jax.random.split(to_degrade, _BATCH), pictures), self.embeddings[rows]


def fit_captioner(
    key: Key[Array, ""], encoder: SentenceEncoder, *, images: int, directory: Path
) -> tuple[Params, EmbeddingConfig]:
    """Fits the network to avatars and varied captions of them; the same call goes on where it was stopped.

    Args:
        key: A typed key.
        encoder: Of the captions.
        images: Avatars to see.
        directory: See `supervised.fit`.

    Returns:
        The parameters, and the architecture: an identity embedding's, whose cosine with the caption's is learned.

    Raises:
        ValueError: Fewer images than a batch; or see `supervised.fit`.
        OSError: See `supervised.fit`.
    """
    if images < _BATCH:
        raise ValueError(f"--captioner-images {images}; at least {_BATCH} would be right")
    config = EmbeddingConfig(_SIZE, _WIDTHS, dimensions=encoder.dimensions, numbers=1)
    weights_key, captions_key, batches_key = jax.random.split(key, 3)
    captioned = _captioned(captions_key, encoder)
    network = EmbeddingNetwork(config, train=True)

    def loss(params: Params, batch: tuple[Array, Array]) -> Any:
        (found, _), statistics = train_on_batch(network, params, batch[0])
        cosine = jnp.mean(jnp.sum(found * batch[1], axis=-1))
        return 1 - cosine, (statistics, {"cosine": cosine})

    params = supervised.fit(
        batches_key,
        jax.jit(lambda key: embedding.init(key, config=config))(weights_key),
        draw=jax.tree_util.Partial(Captioned.draw, captioned),
        loss=loss,
        config=supervised.FitConfig(images // _BATCH, 3e-3),
        directory=directory,
    )
    return params, config


def _captioned(key: Array, encoder: SentenceEncoder) -> Captioned:
    keys = jax.random.key_data(jax.random.split(key, _CAPTIONED))
    factors = jax.tree.map(np.asarray, jax.jit(jax.vmap(_factors))(keys))
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    each = (Factors(*row) for row in zip(*factors, strict=True))
    sentences = [varied_caption(one, random=random) for one in each]
    known = {sentence: encoder.embed(sentence) for sentence in dict.fromkeys(sentences)}
    return Captioned(keys, jnp.asarray(np.stack([known[sentence] for sentence in sentences])))


def _factors(raw_key: Array) -> Factors:
    return sample_factors(jax.random.wrap_key_data(raw_key))
