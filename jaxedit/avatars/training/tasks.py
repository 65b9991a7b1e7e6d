"""What each network of the avatars' world learns: its architecture, its examples and its loss."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from jaxedit.avatars.factors import Factors, attributes, sample_factors, with_identity
from jaxedit.avatars.renderer import render
from jaxedit.networks.attributes import AttributeNetwork, AttributesConfig
from jaxedit.networks.bisenet import BiSeNet, BiSeNetConfig
from jaxedit.networks.embedding import EmbeddingConfig, EmbeddingNetwork
from jaxedit.networks.keypoints import KeypointNetwork, KeypointsConfig
from jaxedit.nn.normalized import train_on_batch
from jaxedit.nn.pytrees import Params
from jaxedit.training import losses
from jaxedit.training.degradation import degrade

SIZE = 64
_TEMPERATURE = 0.1
_ESTIMATION = 3.0  # weight of the squared error of the identity's numbers
_AUXILIARY = 0.4  # weight of each of the parser's auxiliary losses

PARSER = BiSeNetConfig(
    resolution=SIZE,
    widths=(48, 64, 96),
    blocks=1,
    input_stride=2,
    context_width=48,
    fusion_width=64,
    head_width=48,
    auxiliary_width=32,
)
"""BiSeNet for 64 px: the taps are at 1/2, 1/4 and 1/8."""


class Example(NamedTuple):
    """One picture, or two of the same identity, and what is to be said about it.

    Attributes:
        image: `[64, 64, 3]` float32; for the embedding `[2, 64, 64, 3]`.
        truth: Attributes `[12]` bool, classes `[64, 64]` int32, keypoints `[68, 2]` or identity numbers `[20]`.
    """

    image: Float[Array, "*views 64 64 3"]
    truth: Any


class Task(NamedTuple):
    """One training.

    Attributes:
        config: The architecture.
        draw: Makes an `Example` from a key.
        loss: As in `jaxedit.training.supervised`, of a batch of examples.
    """

    config: Any
    draw: Callable[[Key[Array, ""]], Example]
    loss: Callable[[Params, Example], Any]


def _example(key: Key[Array, ""], truth: Callable[..., Any]) -> Example:
    factors_key, defects_key = jax.random.split(key)
    factors = sample_factors(factors_key)
    rendering = _drawn(factors)
    return Example(degrade(defects_key, rendering.image), truth(factors, rendering))


def _drawn(factors: Any) -> Any:
    """Behind a barrier, or XLA fuses the drawing into every tap of what filters it, and draws several times over."""
    return lax.optimization_barrier(render(factors, size=SIZE))


def _classifier(config: AttributesConfig) -> Task:
    def loss(params, batch):
        (logits, _), statistics = train_on_batch(AttributeNetwork(config, train=True), params, batch.image)
        accuracy = jnp.mean(((logits > 0) == batch.truth).astype(jnp.float32))
        return losses.attribute_loss(logits, batch.truth), (statistics, {"accuracy": accuracy})

    return Task(config, functools.partial(_example, truth=lambda factors, _: attributes(factors)), loss)


def _keypoints(config: KeypointsConfig) -> Task:
    def loss(params, batch):
        found, statistics = train_on_batch(KeypointNetwork(config, train=True), params, batch.image)
        distance = jnp.mean(jnp.linalg.norm(found - batch.truth, axis=-1))
        return losses.keypoint_loss(found, batch.truth), (statistics, {"percent_of_width": 50.0 * distance})

    return Task(config, functools.partial(_example, truth=lambda _, rendering: rendering.keypoints), loss)


def _parser(config: BiSeNetConfig) -> Task:
    def loss(params, batch):
        heads, statistics = train_on_batch(BiSeNet(config, train=True), params, batch.image)
        main, *auxiliary = (losses.parsing_loss(logits, batch.truth) for logits in heads)
        right = (jnp.argmax(heads[0], axis=-1) == batch.truth).astype(jnp.float32)
        return main + _AUXILIARY * sum(auxiliary), (statistics, {"main": main, "pixel_accuracy": jnp.mean(right)})

    return Task(config, functools.partial(_example, truth=lambda _, rendering: rendering.parsing), loss)


def _embedding(config: EmbeddingConfig) -> Task:
    def loss(params, batch):
        views = jnp.concatenate([batch.image[:, 0], batch.image[:, 1]])
        (vectors, numbers), statistics = train_on_batch(EmbeddingNetwork(config, train=True), params, views)
        first, second = jnp.split(vectors, 2)
        hit = (jnp.argmax(first @ second.T, axis=1) == jnp.arange(len(first))).astype(jnp.float32)
        value = losses.contrastive_loss(first, second, temperature=_TEMPERATURE)
        error = jnp.mean(jnp.square(numbers - jnp.tile(batch.truth, (2, 1))))
        return value + _ESTIMATION * error, (statistics, {"rank_1_in_batch": jnp.mean(hit), "squared_error": error})

    return Task(config, _two_views, loss)


def _two_views(key: Key[Array, ""]) -> Example:
    """The same identity twice, all else drawn anew."""
    identity_key, *keys = jax.random.split(key, 5)
    identity = sample_factors(identity_key)
    images = [
        degrade(defects, _drawn(with_identity(sample_factors(others), identity)).image)
        for others, defects in (keys[:2], keys[2:])
    ]
    return Example(jnp.stack(images), _identity_numbers(identity))


def _identity_numbers(factors: Factors) -> Float[Array, " 20"]:
    """All that `with_identity` takes over, each of about variance 1."""
    skin_and_eyes = jnp.stack([factors.skin_tone - 0.5, 0.5 * factors.skin_warmth, factors.eye_color - 0.5])
    return jnp.concatenate([factors.identity, 3.0 * skin_and_eyes])


def make_task(name: str) -> Task:
    """The training of one of the packaged networks.

    Args:
        name: "classifier", "judge" (another classifier, of other widths), "parser", "keypoints" or "embedding".

    Returns:
        The task; its pictures are `[64, 64, 3]`.

    Raises:
        ValueError: No such network.
    """
    if name == "classifier":
        return _classifier(AttributesConfig())
    if name == "judge":
        return _classifier(AttributesConfig(widths=(20, 40, 72, 112)))
    if name == "parser":
        return _parser(PARSER)
    if name == "keypoints":
        return _keypoints(KeypointsConfig())
    if name == "embedding":
        return _embedding(EmbeddingConfig())
    raise ValueError(f"no network {name!r}; there are classifier, judge, parser, keypoints, embedding")
