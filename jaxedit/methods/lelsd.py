"""LELSD: locally effective latent space directions (Pajouheshgar et al., 2021).

A direction u is good for a part if what it changes in the feature maps r of a generator lies inside the part's mask
(Eq. 2); K directions for one part should differ (Eq. 3):

    LS(u) = sum(mask |r - r_edit(u)|^2) / sum(|r - r_edit(u)|^2)           r_edit of latent + strength u
    J(u_1 ... u_K) = sum LS(u_k) + c R(u_1 ... u_K),       R = -1/2 ||Corr - I||_F

`PAPER` is this; `OFFICIAL` is what the released code (IVRL/LELSD) computes. What differs, and what is left open:

* Layers: the paper sums the scores of all layers, the code takes their mean by `layer_weights`. Both are the mean here:
  it stays in [0, 1], and a factor before LS is one of c, which the paper does not give. With the default of `PAPER`
  two directions repel each other as strongly as in the code.
* The regulariser of the code is the mean over the matrix of |Corr - I|, row by row of a latent that has rows (W+, S),
  then averaged. The paper's Corr is of whole latents; both are cosines, since directions shall be perpendicular.
* Masks are brought to the size of a layer by one antialiased step, in the code by a cascade through the larger layers.
* Strengths: uniform; one for each sample, in the code for each batch. The notebooks' range is used for both.
* Which of the directions a batch trains: in turns, in the code at random.
* The learning rate: halved after every quarter of the steps, in the code one step early (also before the last one).
  K directions take K times as many steps (section 4.1), and so does every quarter.
* Directions start as Gaussian noise of length 1, for latents with rows each row, and their length is free after that.
* What a latent has that no feature map reads, such as the style of a ToRGB layer, gets no gradient: it is 0 in the
  result (`found`), where the code saves the noise that it started from.

The algorithm sees a generator as `features(latent) -> (image, feature maps)` and the part as `segment(image) -> mask`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Int, Key

from jaxedit.nn.resize import resize_align_corners

_TINY = 1e-8

Features = Callable[[Any], tuple[Array, Sequence[Array]]]
Segment = Callable[[Array], Array]
Move = Callable[[Any, Any, Array], Any]


@dataclasses.dataclass(frozen=True)
class LelsdConfig:
    """Settings of the score and of the optimisation; see `PAPER` and `OFFICIAL`.

    Attributes:
        distance: Of feature maps at a pixel: mean square or absolute difference of the channels, or 1 - cosine.
        aggregation: Of the masks before and after the edit: a/2 + b/2, a + b - a b, or a b.
        resize: "direct", antialiased, or "cascade": with corners kept, from layer to layer.
        layer_weights: Of the layers' scores, scaled to the sum 1; None for equal ones.
        epsilon: Added to the denominator of a score. At 0 a layer that nothing changed has the score 0.
        background: Whether the direction shall change everything but the part.
        regularizer: "paper" or "official".
        regularizer_weight: c.
        directions: K.
        steps: For each direction.
        batch_size: Samples in a step.
        learning_rate: Of Adam, at first.
        halvings: Of the learning rate, after equal numbers of steps.
        halve_early: Whether each comes a step before that, and another before the last step.
        strengths: Least and largest.
        smallest_strength: Least absolute value.
        one_strength: Whether a batch has one strength, or each sample its own.
        order: Which direction a step trains: "alternating" or "random".
    """

    distance: Literal["l2", "l1", "cosine"] = "l2"
    aggregation: Literal["average", "union", "intersection"] = "average"
    resize: Literal["direct", "cascade"] = "direct"
    layer_weights: tuple[float, ...] | None = None
    epsilon: float = 0.0
    background: bool = False
    regularizer: Literal["paper", "official"] = "paper"
    regularizer_weight: float = 3.5
    directions: int = 1
    steps: int = 200
    batch_size: int = 4
    learning_rate: float = 1e-3
    halvings: int = 3
    halve_early: bool = False
    strengths: tuple[float, float] = (-1.0, 1.0)
    smallest_strength: float = 0.0
    one_strength: bool = False
    order: Literal["alternating", "random"] = "alternating"

    def __post_init__(self):
        for name, least in (("directions", 1), ("steps", 1), ("batch_size", 1), ("halvings", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it has to be at least {least}")
        low, high = self.strengths
        if not 0 <= self.smallest_strength < max(-low, high) or not low < high:
            raise ValueError(f"no strengths from {low} to {high} of at least {self.smallest_strength} either way")
        if self.layer_weights is not None and not sum(self.layer_weights) > 0:
            raise ValueError(f"layer_weights are {self.layer_weights}; their sum has to be positive")

    @property
    def total_steps(self) -> int:
        """Of all directions."""
        return self.steps * self.directions


PAPER = LelsdConfig()
OFFICIAL = LelsdConfig(
    resize="cascade",
    epsilon=1e-6,
    regularizer="official",
    regularizer_weight=5.0,
    halve_early=True,
    one_strength=True,
    order="random",
)
"""The released notebook for FFHQ."""


class Samples(NamedTuple):
    """A batch before the edit, as from `observe`.

    Attributes:
        latents: With the batch as first axis.
        features: Of each layer `[batch, height, width, channels]`.
        masks: `[batch, height, width]` in [0, 1]; with several parts `[batch, parts, height, width]`.
    """

    latents: Any
    features: tuple[Float[Array, "batch _ _ _"], ...]
    masks: Float[Array, "batch ..."]


class State(NamedTuple):
    """Between two steps.

    Attributes:
        directions: As the latents, with K as first axis.
        moments: Adam's.
        reached: As `directions`, bool: where a gradient has been other than 0.
        step: `[]` int32, steps done.
    """

    directions: Any
    moments: Any
    reached: Any
    step: Int[Array, ""]


class Info(NamedTuple):
    """Of a step, before its update.

    Attributes:
        score: `[]` float32, mean of the samples.
        layer_scores: `[layers]` float32, likewise.
        regularizer: `[]` float32, R without its weight.
        part: `[]` float32, share of the pixels in the masks before the edit: 0 if no sample shows the part.
        strengths: `[batch]` float32, of the edits.
        index: `[]` int32, which direction they were made with.
    """

    score: Float[Array, ""]
    layer_scores: Float[Array, " layers"]
    regularizer: Float[Array, ""]
    part: Float[Array, ""]
    strengths: Float[Array, " batch"]
    index: Int[Array, ""]


def layer_scores(
    features: Sequence[Float[ArrayLike, "_ _ _"]],
    edited_features: Sequence[Float[ArrayLike, "_ _ _"]],
    mask: Float[ArrayLike, "height width"],
    edited_mask: Float[ArrayLike, "height width"],
    *,
    config: LelsdConfig,
) -> Float[Array, " layers"]:
    """The localisation score of each layer: the share of what an edit changes that lies inside the part (Eq. 2).

    Args:
        features: Of the image, `[h, w, channels]` float32 each, from the first layer to the last.
        edited_features: Of the edited image, of the same shapes.
        mask: `[height, width]` float32 in [0, 1], the part in the image; of any size.
        edited_mask: The part in the edited image.
        config: Settings.

    Returns:
        `[layers]` float32, in [0, 1]. With `OFFICIAL` equal to the terms of `LELSD.fit`, negated.

    Raises:
        ValueError: Not the same shapes before and after the edit.
    """
    if (before := [jnp.shape(x) for x in features]) != (after := [jnp.shape(x) for x in edited_features]):
        raise ValueError(f"feature maps of shapes {before} become {after}")
    masks = _resized(
        _aggregated(jnp.asarray(mask), jnp.asarray(edited_mask), config), [size[:2] for size in before], config
    )
    scores = []
    for x, y, inside in zip(features, edited_features, masks, strict=True):
        change = _distance(jnp.asarray(x), jnp.asarray(y), config)
        whole = jnp.sum(change) + config.epsilon
        share = jnp.sum(change * (1 - inside if config.background else inside))
        scores.append(jnp.where(whole > 0, share / jnp.where(whole > 0, whole, 1), 0))
    return jnp.stack(scores)


def localization_score(
    features: Sequence[Float[ArrayLike, "_ _ _"]],
    edited_features: Sequence[Float[ArrayLike, "_ _ _"]],
    mask: Float[ArrayLike, "height width"],
    edited_mask: Float[ArrayLike, "height width"],
    *,
    config: LelsdConfig,
) -> Float[Array, ""]:
    """The localisation score of an edit: `layer_scores`, averaged by `layer_weights`.

    Args:
        features: See `layer_scores`.
        edited_features: See `layer_scores`.
        mask: See `layer_scores`.
        edited_mask: See `layer_scores`.
        config: Settings.

    Returns:
        `[]` float32, in [0, 1].

    Raises:
        ValueError: Not the same shapes before and after the edit, or not a weight for every layer.
    """
    return _weighted(layer_scores(features, edited_features, mask, edited_mask, config=config), config)


def direction_regularizer(directions: Any, *, config: LelsdConfig) -> Float[Array, ""]:
    """R of Eq. 3, which is to be as large as it can be: 0 for directions that are perpendicular, else less.

    Args:
        directions: `[k, *latent]` float32, such as `[k, 18, 512]`; for styles a tuple of `[k, width]`.
        config: Settings.

    Returns:
        `[]` float32. "paper": -1/2 ||Corr - I||_F of the whole latents. "official": minus `LELSD.correlation_loss`,
        the mean over the K x K entries of |Corr - I|, for latents with rows and for styles the mean over those.
    """
    parts = directions if isinstance(directions, tuple) else (jnp.asarray(directions),)
    if config.regularizer == "paper":
        flat = jnp.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
        square = jnp.sum(jnp.square(_correlations(flat)))
        return jnp.where(square > 0, -0.5 * jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    rows = [jnp.moveaxis(part.reshape(len(part), -1, part.shape[-1]), 1, 0) for part in parts]
    found = jnp.concatenate([jax.vmap(_correlations)(row) for row in rows])
    return -jnp.mean(jnp.abs(found))


def learning_rate(step: Int[ArrayLike, ""], *, config: LelsdConfig) -> Float[Array, ""]:
    """The learning rate of a step.

    Args:
        step: Its number, from 0.
        config: Settings.

    Returns:
        `[]` float32.
    """
    period = max(1, config.total_steps // (config.halvings + 1))
    halved = (jnp.asarray(step) + int(config.halve_early)) // period
    return jnp.float32(config.learning_rate) * jnp.exp2(-halved.astype(jnp.float32))


def init(key: Key[Array, ""], latent: Any, *, config: LelsdConfig) -> State:
    """Draws directions.

    Args:
        key: A typed key.
        latent: An array or a tuple of arrays, float32, of the shapes of a direction.
        config: Settings.

    Returns:
        The state before the first step.
    """
    leaves, structure = jax.tree.flatten(latent)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(key, (config.directions, *jnp.shape(x))) for key, x in zip(keys, leaves, strict=True)]
    directions = jax.tree.unflatten(structure, [x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in drawn])
    reached = jax.tree.map(lambda x: jnp.zeros(x.shape, bool), directions)
    return State(directions, optax.scale_by_adam().init(directions), reached, jnp.int32(0))


def observe(features: Features, segment: Segment, latents: Any) -> Samples:
    """Draws a batch as it is; all parts may share what is found.

    Args:
        features: `features(latent) -> (image, feature maps)` of one sample.
        segment: `segment(image) -> mask`, of one part or of several.
        latents: With the batch as first axis.

    Returns:
        The samples.
    """

    def one(latent: Any) -> tuple[tuple[Array, ...], Array]:
        image, maps = features(latent)
        return tuple(maps), segment(image).astype(jnp.float32)

    return jax.lax.stop_gradient(Samples(latents, *jax.vmap(one)(latents)))


def moved(latent: Any, direction: Any, strength: Float[Array, ""]) -> Any:
    """The latent after the edit: Eq. 1.

    Args:
        latent: An array or a tuple of arrays.
        direction: As the latent.
        strength: `[]`, alpha.

    Returns:
        latent + strength * direction.
    """
    return jax.tree.map(lambda x, u: x + strength * u, latent, direction)


def step(
    key: Key[Array, ""],
    features: Features,
    segment: Segment,
    state: State,
    samples: Samples,
    *,
    config: LelsdConfig,
    move: Move = moved,
) -> tuple[State, Info]:
    """One step of Adam on the directions of one part.

    Args:
        key: A typed key, the same in all steps: decides the strengths, and the direction if the order is random.
        features: `features(latent) -> (image, feature maps)` of one sample.
        segment: `segment(image) -> [height, width]` in [0, 1]; its gradient is not taken.
        state: From `init` or the step before.
        samples: From `observe`, with masks of this part.
        config: Settings.
        move: `move(latent, direction, strength)`: the edited latent.

    Returns:
        The next state, and what was found before the update. A gradient that is not finite is in the directions
        afterwards.
    """
    strengths, index = _drawn(state, key, len(samples.masks), config)

    def objective(directions: Any) -> tuple[Array, Info]:
        direction = jax.tree.map(lambda u: u[index], directions)
        scores = jax.vmap(
            lambda sample, strength: _scores(features, segment, direction, sample, strength, config, move)
        )
        of_layers = jnp.mean(scores(samples, strengths), axis=0)
        regularizer = direction_regularizer(directions, config=config)
        part = jnp.mean(samples.masks)
        info = Info(_weighted(of_layers, config), of_layers, regularizer, part, strengths, index)
        return -info.score - config.regularizer_weight * regularizer, info

    gradient, info = jax.grad(objective, has_aux=True)(state.directions)
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to the power of an integer
        updates, moments = optax.scale_by_adam().update(gradient, state.moments)
    rate = learning_rate(state.step, config=config)
    directions = jax.tree.map(lambda u, update: u - rate * update, state.directions, updates)
    reached = jax.tree.map(lambda before, slope: before | (slope != 0), state.reached, gradient)
    return State(directions, moments, reached, state.step + 1), info


def step_parts(
    keys: Key[Array, " parts"],
    features: Features,
    segment: Segment,
    states: State,
    samples: Samples,
    *,
    config: LelsdConfig,
    move: Move = moved,
    together: int | None = None,
) -> tuple[State, Info]:
    """`step` of several parts on the same samples, which are drawn once for all.

    Args:
        keys: One for each part, see `step`.
        features: See `step`.
        segment: `segment(image) -> [parts, height, width]`.
        states: With the parts as first axis.
        samples: From `observe`, with masks `[batch, parts, height, width]`.
        config: Settings.
        move: See `step`.
        together: How many parts are computed at a time, for memory's sake; None for all.

    Returns:
        The next states and what was found, with the parts as first axis: for each part as from `step`.
    """

    def one(given: tuple[State, Array, Array, Array]) -> tuple[State, Info]:
        state, key, masks, part = given
        own = samples._replace(masks=masks)
        return step(key, features, lambda image: segment(image)[part], state, own, config=config, move=move)

    given = (states, keys, jnp.moveaxis(samples.masks, 1, 0), jnp.arange(len(keys)))
    return jax.vmap(one)(given) if together is None else jax.lax.map(one, given, batch_size=together)


def run(
    key: Key[Array, ""],
    features: Features,
    segment: Segment,
    state: State,
    latents: Any,
    *,
    config: LelsdConfig,
    move: Move = moved,
) -> tuple[State, Info]:
    """All steps for one part.

    Args:
        key: See `step`.
        features: See `step`.
        segment: See `step`.
        state: From `init`.
        latents: With the steps and the batch as first two axes.
        config: Settings.
        move: See `step`.

    Returns:
        The state after the last step, whose `found` are the directions, and what was found in each step.
    """

    def body(state: State, batch: Any) -> tuple[State, Info]:
        samples = observe(features, segment, batch)
        return step(key, features, segment, state, samples, config=config, move=move)

    return jax.lax.scan(body, state, latents)


def found(state: State) -> Any:
    """The directions, 0 where nothing in them changes a feature map.

    Args:
        state: After the last step.

    Returns:
        As the latents, with K as first axis.
    """
    return jax.tree.map(lambda u, reached: jnp.where(reached, u, 0), state.directions, state.reached)


def _drawn(state: State, key: Array, count: int, config: LelsdConfig) -> tuple[Array, Array]:
    """The strengths of a batch, uniform where they may be, and which direction it trains."""
    of_strength, of_index = jax.random.split(jax.random.fold_in(key, state.step))
    low, high = config.strengths
    below = max(min(-config.smallest_strength, high) - low, 0.0)
    least = max(config.smallest_strength, low)
    place = jax.random.uniform(of_strength, (1,) if config.one_strength else (count,))
    place = place * (below + max(high - least, 0.0))
    strengths = jnp.where(place < below, low + place, least + place - below)
    index = state.step % config.directions
    if config.order == "random":
        index = jax.random.randint(of_index, (), 0, config.directions)
    return jnp.broadcast_to(strengths, (count,)), index


def _scores(
    features: Features,
    segment: Segment,
    direction: Any,
    sample: Samples,
    strength: Array,
    config: LelsdConfig,
    move: Move,
) -> Array:
    image, maps = features(move(sample.latents, direction, strength))
    mask = jax.lax.stop_gradient(segment(jax.lax.stop_gradient(image))).astype(jnp.float32)
    return layer_scores(sample.features, tuple(maps), sample.masks, mask, config=config)


def _weighted(scores: Array, config: LelsdConfig) -> Array:
    if config.layer_weights is None:
        return jnp.mean(scores)
    if len(config.layer_weights) != len(scores):
        raise ValueError(f"{len(config.layer_weights)} layer_weights for {len(scores)} layers")
    weights = jnp.array(config.layer_weights, jnp.float32)
    return jnp.sum(scores * (weights / jnp.sum(weights)))


def _aggregated(a: Array, b: Array, config: LelsdConfig) -> Array:
    both = a * b
    return {"average": 0.5 * (a + b), "union": a + b - both, "intersection": both}[config.aggregation]


def _resized(mask: Array, sizes: Sequence[tuple[int, ...]], config: LelsdConfig) -> list[Array]:
    """The mask in the size of each layer. The cascade goes from the last layer to the first, and begins anew where the
    mask's own size is met."""
    if config.resize == "direct":
        return [jax.image.resize(mask, size, "linear", antialias=True) for size in sizes]
    cascaded, resized = mask, []
    for height, width in reversed(sizes):
        if (height, width) == mask.shape:
            cascaded = mask
        elif (height, width) != cascaded.shape:
            cascaded = resize_align_corners(cascaded[..., None], height=height, width=width)[..., 0]
        resized.append(cascaded)
    return resized[::-1]


def _distance(x: Array, y: Array, config: LelsdConfig) -> Array:
    if config.distance == "l2":
        return jnp.mean(jnp.square(x - y), axis=-1)
    if config.distance == "l1":
        return jnp.mean(jnp.abs(x - y), axis=-1)
    squares = [jnp.sum(jnp.square(z), axis=-1, keepdims=True) for z in (x, y)]
    a, b = (z / jnp.sqrt(jnp.maximum(square, _TINY**2)) for z, square in zip((x, y), squares, strict=True))
    # 1 - cosine without its rounding, which would be all that is left where nothing changes.
    short = sum(jnp.where(square > _TINY**2, 0, 1 - square / _TINY**2) for square in squares)
    return 0.5 * (jnp.sum(jnp.square(a - b), axis=-1) + jnp.squeeze(short, -1))


def _correlations(directions: Array) -> Array:
    """Cosines of the directions `[k, width]`, less the identity."""
    lengths = jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(directions), axis=1), _TINY**2))
    unit = directions / lengths[:, None]
    cosines = jnp.einsum("iw,jw->ij", unit, unit, precision=jax.lax.Precision.HIGHEST)
    return jnp.where(jnp.eye(len(unit), dtype=bool), 0, cosines)
