"""Style Intervention (Liu et al., 2022): spatially disentangled edits in the style space.

A displacement of Z is rich but changes the whole image; the sparse normal of a boundary in S is local but poor. The
intervention coefficients Lambda, one in [0, 1] per channel, mix them (Eq. 5) such that the image stays as it was
outside a mask:

    s_m(Lambda) = (1 - Lambda) s_z + Lambda s_n                                         (displacements of s)
    L = L_pix + attribute_weight L_attr + norm_weight L_norm                            (Eq. 8)

What the paper leaves open is decided here:

* Line 8 of Algorithm 1 adds the gradient; the loss is to be minimised (section III-C) by Adam (IV-A), so it descends.
* A layer is one style layer: N is 26 at 1024 px. Every layer starts with a fresh Adam.
* L_pix is the *mean* square over pixels and channels of the masked difference of images in [-1, 1]. Its size, 0.01 or
  so, is that of the weighted L_attr; beside the norm over a million pixels that Eq. 6 prints (`pixel_loss="norm"`) the
  weights 1e-2 and 1e-6 and the threshold of 1e-3 would do nothing. Beside its root, L_attr loses: edits of the same
  attribute change were weaker and no more local.
* The learning rate is 1, as wide as the range of Lambda: the first step decides for one of both displacements, and the
  following ones correct it. With 0.1 the threshold ends a layer after one step, its coefficients hardly moved.
* The clamp at the start of each step is one after each update, which also leaves the result in [0, 1].
* A layer ends when the loss differs by less than `tolerance` from that of the step before, and that step is not taken.
* The norm and the cosine have gradient 0 where they have none.
* The mask is that of the input image only, as in the paper: hair that grows beyond its dilated mask is held back.

The algorithm sees a generator only through `jaxedit.staged.StagedSynthesis`, whose stages are its layers.
The stages of W+ rows or W give the variants of Table III, and one joint stage optimises all coefficients at once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jaxedit import stage_programs
from jaxedit.compaction import loop_compacted
from jaxedit.staged import Codes, Prepared, StagedSynthesis, prepare, render, synthesize

_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class InterventionConfig:
    """Settings of the optimisation.

    Attributes:
        attribute_weight: Of L_attr (paper: 1e-2).
        norm_weight: Of L_norm (paper: 1e-6).
        learning_rate: Of Adam; not in the paper.
        max_steps: At most so many per layer, t_m; not in the paper.
        tolerance: Change of the loss between two steps that ends a layer (paper: 1e-3).
        pixel_loss: "mean_square", "norm" (Eq. 6 as printed), or "none" to leave it out.
    """

    attribute_weight: float = 1e-2
    norm_weight: float = 1e-6
    learning_rate: float = 1.0
    max_steps: int = 20
    tolerance: float = 1e-3
    pixel_loss: Literal["mean_square", "norm", "none"] = "mean_square"


JOINT = InterventionConfig(learning_rate=0.3, tolerance=1e-4)
"""For one joint stage: all coefficients at once overshoot in larger steps, and the loss changes less in each."""


class Problem(NamedTuple):
    """One image to edit; made by `pose`.

    Attributes:
        codes: Codes of the image, one per layer.
        displacement: s_z, as the codes.
        normal: s_n, as the codes, of the length of s_z (line 2 of Algorithm 1).
        outside: `[height, width]` float32, 1 where nothing should change.
        image: `[height, width, channels]` float32, the image unedited.
    """

    codes: Codes
    displacement: Codes
    normal: Codes
    outside: Float[Array, "height width"]
    image: Float[Array, "height width channels"]


class State(NamedTuple):
    """Between two steps.

    Attributes:
        coefficients: Lambda, as the codes, in [0, 1].
        moments: Adam's, for the coefficients of the current layer.
        loss: `[]` float32 of the last step; infinite at the start of a layer, and NaN if that step had a loss or a
            gradient that is not finite: then it was not taken, and the layer has ended.
        active: `[]` bool, whether the current layer goes on.
        steps: `[layers]` int32, updates done in each.
    """

    coefficients: Codes
    moments: Any
    loss: Float[Array, ""]
    active: Bool[Array, ""]
    steps: Int[Array, " layers"]


class Losses(NamedTuple):
    """Terms of the loss before a step, `[]` float32 each and without weights.

    Attributes:
        total: Eq. 8.
        pixel: Eq. 6.
        attribute: Eq. 7, -1 to 1.
        norm: Length of Lambda.
    """

    total: Float[Array, ""]
    pixel: Float[Array, ""]
    attribute: Float[Array, ""]
    norm: Float[Array, ""]


def pose(
    synthesis: StagedSynthesis,
    latent: Any,
    edited: Any,
    normal: Any,
    mask: Bool[ArrayLike, "height width"],
    *,
    image: Float[Array, "height width channels"] | None = None,
) -> Problem:
    """Sets a problem up (lines 1 and 2 of Algorithm 1).

    Args:
        synthesis: The generator in stages.
        latent: Of the image, in the space of the stages: styles, a W+ or a W code.
        edited: The same after the edit that should become local, such as the styles of `f(z')`.
        normal: Direction of the attribute in the space of the stages, of any length.
        mask: True where the image may change; of the image's size.
        image: The image of `latent`, where it is there already; None renders it.

    Returns:
        The problem.

    Raises:
        ValueError: A mask of another size than the image.
    """
    codes = synthesis.codes(latent)
    displacement = tuple(after - code for after, code in zip(synthesis.codes(edited), codes, strict=True))
    directed = synthesis.codes(normal)
    scale = jnp.sqrt(_dot(displacement, displacement) / jnp.maximum(_dot(directed, directed), _TINY))
    image = synthesize(synthesis, codes) if image is None else image
    mask = jnp.asarray(mask)
    if mask.shape != image.shape[:2]:
        raise ValueError(f"a mask of shape {mask.shape} for an image of {image.shape[0]} x {image.shape[1]} pixels")
    outside = 1 - mask.astype(image.dtype)
    return Problem(codes, displacement, tuple(scale * part for part in directed), outside, image)


def merged(problem: Problem, coefficients: Codes) -> Codes:
    """Mixes both displacements: Eq. 5.

    Args:
        problem: As from `pose`.
        coefficients: Lambda, as the codes.

    Returns:
        The merged displacement, as the codes.
    """
    parts = zip(coefficients, problem.displacement, problem.normal, strict=True)
    return tuple((1 - c) * z + c * n for c, z, n in parts)


def edited_codes(problem: Problem, coefficients: Codes) -> Codes:
    """Adds the merged displacement to the codes.

    Args:
        problem: As from `pose`.
        coefficients: Lambda, as the codes.

    Returns:
        The codes of the edited image.
    """
    return tuple(code + part for code, part in zip(problem.codes, merged(problem, coefficients), strict=True))


def init(problem: Problem, *, config: InterventionConfig) -> State:
    """The state at the start of the first layer, all coefficients 0.

    Args:
        problem: As from `pose`.
        config: Settings.

    Returns:
        The state.
    """
    zeros = tuple(jnp.zeros_like(code) for code in problem.codes)
    return _fresh(zeros, jnp.zeros(len(zeros), jnp.int32), layer=0, config=config)


def next_layer(state: State, *, layer: int, config: InterventionConfig) -> State:
    """Goes on to the next layer; the coefficients of this one are frozen from now on.

    Args:
        state: At the end of `layer`.
        layer: The current one, not the last.
        config: Settings.

    Returns:
        The state at the start of the next layer.
    """
    return _fresh(state.coefficients, state.steps, layer=layer + 1, config=config)


def step(
    synthesis: StagedSynthesis,
    problem: Problem,
    prepared: Prepared,
    state: State,
    *,
    layer: int,
    config: InterventionConfig,
) -> tuple[State, Losses]:
    """One step of Adam on the coefficients of the current layer, or nothing if it has ended.

    Args:
        synthesis: The generator in stages.
        problem: As from `pose`.
        prepared: From `jaxedit.staged.prepare` for this layer, with the edited codes at its start.
        state: Of this layer.
        layer: The current one.
        config: Settings.

    Returns:
        The next state, and the losses before the step.
    """

    codes = edited_codes(problem, state.coefficients)
    image, pull = jax.vjp(
        lambda code: render(synthesis, prepared, _with(codes, layer, code), index=layer), codes[layer]
    )
    losses, slopes = _judged(problem, state.coefficients, image, config=config)
    gradient = _gradient(problem, slopes, pull(slopes.image)[0], layer)
    moved = _moved(_current(state, layer), gradient, losses.total, config=config)
    return _following(state, moved, layer), losses


def step_batch(
    synthesis: StagedSynthesis,
    problems: Problem,
    prepared: Prepared,
    states: State,
    *,
    layer: int,
    config: InterventionConfig,
) -> tuple[State, Losses]:
    """`step` of a batch, called from the host: by programs of the stages (`jaxedit.stage_programs`).

    Args:
        synthesis: As for `step`.
        problems: As for `step`, with the batch as first axis.
        prepared: From `jaxedit.stage_programs.prepare`.
        states: As for `step`, with the batch as first axis.
        layer: The current one.
        config: Settings.

    Returns:
        The next states, and the losses before the step.
    """
    codes = _codes_of_batch(problems, states.coefficients)
    images, pull = stage_programs.render(synthesis, prepared, codes, index=layer)
    losses, slopes = _judged_of_batch(problems, states.coefficients, images, config=config)
    gradients = _gradient(problems, slopes, pull(slopes.image), layer)
    moved = _moved_of_batch(_current(states, layer), gradients, losses.total, config=config)
    return _following(states, moved, layer), losses


def run(synthesis: StagedSynthesis, problem: Problem, *, config: InterventionConfig = InterventionConfig()) -> State:
    """Algorithm 1 for one image.

    Args:
        synthesis: The generator in stages; its kind of stages decides between the paper's layer-wise algorithm and the
            joint optimisation.
        problem: As from `pose`.
        config: Settings.

    Returns:
        The state after the last layer: `edited_codes(problem, state.coefficients)` are the codes of the result.
    """
    state, before = init(problem, config=config), synthesis.start()
    for layer in range(len(problem.codes)):
        if layer:
            before = synthesis.stage(before, edited_codes(problem, state.coefficients)[layer - 1], index=layer - 1)
            state = next_layer(state, layer=layer - 1, config=config)
        prepared = prepare(synthesis, before, edited_codes(problem, state.coefficients), index=layer)
        body = functools.partial(_body, synthesis, problem, prepared, layer=layer, config=config)
        state = jax.lax.while_loop(lambda state: state.active, body, state)
    return state


def run_batch(
    synthesis: StagedSynthesis,
    problems: Problem,
    *,
    config: InterventionConfig = InterventionConfig(),
    smallest: int = 1,
) -> State:
    """Algorithm 1 for a batch of images, in the time that each of them needs.

    A loop on the host over `step_batch`: images whose layer has ended are taken out of the batch (see
    `jaxedit.compaction`), where `vmap` of `run` would step all of them as often as the slowest. Two programs are
    compiled for each stage and size of the batch, where `run` has one of the whole network for each layer. The results
    are those of `run` up to rounding.

    Args:
        synthesis: As for `run`.
        problems: As from `vmap` of `pose`.
        config: Settings.
        smallest: Size of the smallest batch; a larger one compiles less. Where the batch is divided among devices, a
            multiple of their number.

    Returns:
        The states after the last layer, with the batch as first axis.
    """
    state, before = _init_of_batch(problems, config=config), stage_programs.start(synthesis, count=len(problems.image))
    for layer in range(len(problems.codes)):
        codes = _codes_of_batch(problems, state.coefficients)
        if layer:
            before = stage_programs.advance(synthesis, before, codes, index=layer - 1)
            state = _next_layer_of_batch(state, layer=layer - 1, config=config)
        prepared = stage_programs.prepare(synthesis, before, codes, index=layer)
        step = functools.partial(_step_of_batch, synthesis, layer=layer, config=config)
        state = loop_compacted(step, lambda state: state.active, (problems, prepared), state, smallest=smallest)
    return state


def _body(*arguments: Any, **options: Any) -> State:
    return step(*arguments, **options)[0]


def _step_of_batch(synthesis: StagedSynthesis, kept: tuple[Problem, Prepared], states: State, **options: Any) -> State:
    return step_batch(synthesis, *kept, states, **options)[0]


def _of_batch(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of one sample as a program for a batch."""

    @functools.partial(jax.jit, static_argnames=("layer", "config"))
    def mapped(*arguments, **options):
        return jax.vmap(functools.partial(function, **options))(*arguments)

    return mapped


class _Slopes(NamedTuple):
    """The gradient of the loss to the coefficients, by the terms that read no image, and to the image."""

    coefficients: Codes
    image: Float[Array, "height width channels"]


def _judged(
    problem: Problem, coefficients: Codes, image: Array, *, config: InterventionConfig
) -> tuple[Losses, _Slopes]:
    def objective(coefficients: Codes, image: Array) -> tuple[Array, Losses]:
        losses = _losses(problem, coefficients, merged(problem, coefficients), image, config)
        return losses.total, losses

    slopes, losses = jax.grad(objective, argnums=(0, 1), has_aux=True)(coefficients, image)
    return losses, _Slopes(*slopes)


class _Current(NamedTuple):
    """What a step changes: of `State`, the part of the current layer. Layers of the same width share its programs."""

    coefficients: Array
    moments: Any
    loss: Array
    active: Array
    steps: Array


def _current(state: State, layer: int) -> _Current:
    return _Current(state.coefficients[layer], state.moments, state.loss, state.active, state.steps[..., layer])


def _following(state: State, moved: _Current, layer: int) -> State:
    return State(
        _with(state.coefficients, layer, moved.coefficients),
        moved.moments,
        moved.loss,
        moved.active,
        state.steps.at[..., layer].set(moved.steps),
    )


def _gradient(problem: Problem, slopes: _Slopes, pulled: Array, layer: int) -> Array:
    """The gradient to the coefficients of the layer, from that to its codes."""
    return slopes.coefficients[layer] + (problem.normal[layer] - problem.displacement[layer]) * pulled


def _moved(current: _Current, gradient: Array, loss: Array, *, config: InterventionConfig) -> _Current:
    finite = jnp.isfinite(loss) & jnp.isfinite(gradient).all()
    moves = current.active & finite & (jnp.abs(loss - current.loss) >= config.tolerance)
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to the power of an integer
        updates, moments = _adam(config).update(gradient, current.moments)
    proposed: Any = optax.apply_updates(current.coefficients, updates)
    keep = lambda new, old: jnp.where(moves, new, old)  # noqa: E731
    steps = current.steps + moves.astype(jnp.int32)
    return _Current(
        coefficients=keep(jnp.clip(proposed, 0, 1), current.coefficients),
        moments=jax.tree.map(keep, moments, current.moments),
        loss=jnp.where(finite, keep(loss, current.loss), jnp.nan),
        active=moves & (steps < config.max_steps),
        steps=steps,
    )


def _losses(problem: Problem, coefficients: Codes, change: Codes, image: Array, config: InterventionConfig) -> Losses:
    difference = problem.outside[..., None] * (image - problem.image)
    square = jnp.square(difference)
    pixel = {
        "mean_square": square.mean,
        "norm": lambda: _length(square.sum()),
        "none": lambda: jnp.zeros_like(square, shape=()),
    }[config.pixel_loss]()
    lengths = jnp.sqrt(jnp.maximum(_dot(problem.normal, problem.normal) * _dot(change, change), _TINY))
    attribute = -_dot(problem.normal, change) / lengths
    norm = _length(_dot(coefficients, coefficients))
    total = pixel + config.attribute_weight * attribute + config.norm_weight * norm
    return Losses(total, pixel, attribute, norm)


def _fresh(coefficients: Codes, steps: Array, *, layer: int, config: InterventionConfig) -> State:
    moments = _adam(config).init(coefficients[layer])
    infinite = jnp.array(jnp.inf, coefficients[layer].dtype)
    return State(coefficients, moments, infinite, jnp.array(True), steps)


def _adam(config: InterventionConfig) -> optax.GradientTransformation:
    return optax.adam(config.learning_rate)


def _dot(first: Codes, second: Codes) -> Array:
    products = (jnp.vdot(a, b, precision=jax.lax.Precision.HIGHEST) for a, b in zip(first, second, strict=True))
    return sum(products, start=jnp.zeros(()))


def _length(square: Array) -> Array:
    """Square root with gradient 0 at 0."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def _with(codes: Codes, layer: int, code: Array) -> Codes:
    return (*codes[:layer], code, *codes[layer + 1 :])


_init_of_batch, _codes_of_batch, _next_layer_of_batch = map(_of_batch, (init, edited_codes, next_layer))
_judged_of_batch, _moved_of_batch = map(_of_batch, (_judged, _moved))
