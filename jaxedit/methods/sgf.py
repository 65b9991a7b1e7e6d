"""SGF: manipulation towards a condition along a surrogate gradient field (Li et al., 2021).

An auxiliary mapping with F(z, C(G(z))) = z says how z has to move for its condition to move (Eq. 6, 7):

    dz/dt = H(z) = (I - dF/dz)^-1 dF/dc (c_1 - c_0)

Algorithm 1 takes Euler steps along it and the first terms of the Neumann series for the inverse. What the paper leaves
open, and what differs in other code, is decided here:

* The condition's change per step is lambda (c_1 - c_0) of the start, fixed once; so the path may take more than
  1 / lambda steps, and overshoot: `closest` finds the latent on it that came nearest.
* "Close" is a Euclidean distance below `threshold`, of all numbers or by `weights`: those of attributes that shall
  change are 1, of others, which are merely held, 0. It is looked at after each step as in the algorithm: a latent that
  is at its target from the start takes one step of length 0.
* n is 30. The threshold of 0.1 is for one attribute's probability.
* Spectral normalisation of dense layers bounds no Jacobian of F, since AdaIN divides by a deviation, and F reproduces
  what conditions do not tell, so that eigenvalues are near 1: the ratios of the series' terms are returned, and
  `diverging` says whether the last ones grew. `series="solve"` inverts exactly, for comparison.
* A step whose latent or condition is not finite is not taken, and ends the path: `steps` and NaN distances say so.

The algorithm sees a generator and a classifier as `condition(z) -> c`, and F as any `f(z, c) -> z`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jaxedit.compaction import loop_compacted
from jaxedit.networks.auxiliary_mapping import AuxiliaryConfig, auxiliary
from jaxedit.networks.auxiliary_mapping import init as init_auxiliary

__all__ = [
    "AuxiliaryConfig",
    "Info",
    "SgfConfig",
    "State",
    "Step",
    "auxiliary",
    "closest",
    "displacement",
    "distance",
    "diverging",
    "exact_displacement",
    "init",
    "init_auxiliary",
    "run",
    "run_batch",
    "step",
]

Mapping = Callable[[Array, Array], Array]
Condition = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class SgfConfig:
    """Settings of the manipulation; the paper's by default.

    Attributes:
        order: m, terms of the series after the first.
        step: lambda, the part of the way that a step is meant to go.
        max_steps: n; not in the paper.
        threshold: Distance to the target that is close enough; not in the paper.
        solver: Of the differential equation: "euler" (Algorithm 1), "midpoint" or "rk4", which look at two and four
            conditions in a step.
        series: "neumann", or "solve" for the exact inverse.
    """

    order: int = 1
    step: float = 0.2
    max_steps: int = 30
    threshold: float = 0.1
    solver: Literal["euler", "midpoint", "rk4"] = "euler"
    series: Literal["neumann", "solve"] = "neumann"

    def __post_init__(self):
        if self.order < 0 or self.max_steps < 1:
            raise ValueError(f"order {self.order}, {self.max_steps} steps: at least 0 and 1 would be right")


class Step(NamedTuple):
    """What a step came to.

    Attributes:
        distance: `[]`, of the condition after it from the target; NaN if it was not taken.
        ratios: `[order]`, of the length of each term of the series to the one before; NaN if it was not taken.
    """

    distance: Float[Array, ""]
    ratios: Float[Array, " order"]


class Info(NamedTuple):
    """What happened on the way; after the last step, rows repeat or are NaN as said.

    Attributes:
        latents: `[max_steps + 1, *latent]`, z before the first step and after each; then the last one.
        path: `[max_steps + 1, *condition]`, their conditions; then the last one.
        distances: `[max_steps + 1]` of the path from the target, see `Step`; then NaN.
        ratios: `[max_steps, order]`, see `Step`; then NaN.
        steps: `[]` int32, steps taken.
    """

    latents: Float[Array, "points *latent"]  # noqa: F821
    path: Float[Array, "points *condition"]  # noqa: F821
    distances: Float[Array, " points"]
    ratios: Float[Array, "steps order"]
    steps: Int[Array, ""]


class State(NamedTuple):
    """Between two steps.

    Attributes:
        latent: z.
        condition: c, of z.
        change: `[*condition]`, what a step is meant to add to c.
        active: `[]` bool, whether the path goes on.
        steps: `[]` int32, steps done.
    """

    latent: Float[Array, "*latent"]  # noqa: F821
    condition: Float[Array, "*condition"]  # noqa: F821
    change: Float[Array, "*condition"]  # noqa: F821
    active: Bool[Array, ""]
    steps: Int[Array, ""]


def distance(
    c: Float[Array, "*condition"],  # noqa: F821
    target: Float[Array, "*condition"],  # noqa: F821
    *,
    weights: Float[ArrayLike, "*condition"] | None = None,  # noqa: F821
) -> Float[Array, ""]:
    """The Euclidean distance of two conditions.

    Args:
        c: One.
        target: The other.
        weights: Of the squares; None for 1.

    Returns:
        `[]`.
    """
    squares = jnp.square(c - target)
    return jnp.sqrt(jnp.sum(squares if weights is None else squares * jnp.asarray(weights, squares.dtype)))


def displacement(
    f: Mapping,
    z: Float[Array, "*latent"],  # noqa: F821
    c: Float[Array, "*condition"],  # noqa: F821
    dc: Float[Array, "*condition"],  # noqa: F821
    *,
    order: int,
) -> tuple[Float[Array, "*latent"], Float[Array, " terms"]]:  # noqa: F821
    """The displacement of z for a change of its condition, by the Neumann series (the inner loop of Algorithm 1).

    Args:
        f: F, `f(z, c) -> z`.
        z: The latent, of any shape.
        c: Its condition, of any shape.
        dc: The change wanted.
        order: m.

    Returns:
        The sum of v_0 = dF/dc dc and v_j = dF/dz v_(j-1) up to v_m; and `[order + 1]`, the Euclidean lengths of the
        terms. F is linearised once.
    """
    _, push = jax.linearize(f, z, c)
    total = term = push(jnp.zeros_like(z), dc)
    lengths = [_length(term)]
    for _ in range(order):
        term = push(term, jnp.zeros_like(c))
        total = total + term
        lengths.append(_length(term))
    return total, jnp.stack(lengths)


def exact_displacement(
    f: Mapping,
    z: Float[Array, "*latent"],  # noqa: F821
    c: Float[Array, "*condition"],  # noqa: F821
    dc: Float[Array, "*condition"],  # noqa: F821
) -> Float[Array, "*latent"]:  # noqa: F821
    """The displacement of z for a change of its condition, by solving (I - dF/dz) v = dF/dc dc (Eq. 6).

    Args:
        f: See `displacement`.
        z: See `displacement`.
        c: See `displacement`.
        dc: See `displacement`.

    Returns:
        v; not finite where the matrix is singular. The Jacobian of F is computed, a column for each number of z.
    """
    _, push = jax.linearize(f, z, c)
    columns = jax.vmap(lambda v: jnp.ravel(push(v.reshape(z.shape), jnp.zeros_like(c))))(jnp.eye(z.size, dtype=z.dtype))
    first = jnp.ravel(push(jnp.zeros_like(z), dc))
    return jnp.linalg.solve(jnp.eye(z.size, dtype=z.dtype) - columns.T, first).reshape(z.shape)


def init(
    condition: Condition,
    z: Float[Array, "*latent"],  # noqa: F821
    target: Float[Array, "*condition"],  # noqa: F821
    *,
    config: SgfConfig,
) -> State:
    """The state before the first step.

    Args:
        condition: `condition(z) -> c`, such as C(G(z)).
        z: The latent.
        target: c_1.
        config: Settings.

    Returns:
        The state.

    Raises:
        ValueError: A target of another shape than conditions.
    """
    c = condition(z)
    if jnp.shape(target) != c.shape:
        raise ValueError(f"a target of shape {jnp.shape(target)} for conditions of shape {c.shape}")
    change = config.step * (target - c)
    return State(z, c, change, jnp.all(jnp.isfinite(change)), jnp.int32(0))


def step(
    f: Mapping,
    condition: Condition,
    state: State,
    target: Float[Array, "*condition"],  # noqa: F821
    *,
    config: SgfConfig,
    weights: Float[ArrayLike, "*condition"] | None = None,  # noqa: F821
) -> tuple[State, Step]:
    """One step of the solver, or nothing if the path has ended.

    Args:
        f: F, `f(z, c) -> z`.
        condition: See `init`.
        state: From `init` or the step before.
        target: See `init`.
        config: Settings.
        weights: `[*condition]` float32, of the squares in the distance; None for 1.

    Returns:
        The next state, and what the step came to.
    """
    # No lax.cond: under vmap it computes both sides anyway, and convolutions inside of it are slow on the CPU.
    move, terms = _STAGES[config.solver](functools.partial(_field, f, state.change, config), condition, state)
    z = state.latent + move
    c = condition(z)
    taken = state.active & jnp.all(jnp.isfinite(z)) & jnp.all(jnp.isfinite(c))
    apart, steps = distance(c, target, weights=weights), state.steps + 1
    ratios = jnp.where(terms[:-1] > 0, terms[1:] / jnp.where(terms[:-1] > 0, terms[:-1], 1), 0)
    active = (apart >= config.threshold) & (steps < config.max_steps)
    moved = State(z, c, state.change, active, steps), Step(apart, ratios)
    stayed = state._replace(active=jnp.array(False)), _none(state, config)
    return jax.tree.map(lambda one, other: jnp.where(taken, one, other), moved, stayed)


def run(
    f: Mapping,
    condition: Condition,
    z: Float[Array, "*latent"],  # noqa: F821
    target: Float[Array, "*condition"],  # noqa: F821
    *,
    config: SgfConfig = SgfConfig(),
    weights: Float[ArrayLike, "*condition"] | None = None,  # noqa: F821
) -> tuple[Float[Array, "*latent"], Info]:  # noqa: F821
    """Algorithm 1: moves a latent until its condition is close to the target.

    A scan of `max_steps`, of which those after the end change nothing: a batch that is divided among devices needs no
    word between them. `run_batch` leaves out what has ended.

    Args:
        f: See `step`.
        condition: See `init`.
        z: The latent.
        target: c_1; for attributes, c_0 but for those that shall change.
        config: Settings.
        weights: See `step`.

    Returns:
        The latent after the last step, and what happened on the way.

    Raises:
        ValueError: A target of another shape than conditions.
    """

    def body(carry: tuple[State, Info], _: None) -> tuple[tuple[State, Info], None]:
        state, found = step(f, condition, carry[0], target, config=config, weights=weights)
        return (state, _recorded(carry[1], state, found)), None

    first = init(condition, z, target, config=config)
    (state, info), _ = lax.scan(body, (first, _began(first, target, config, weights)), length=config.max_steps)
    return state.latent, info


def run_batch(
    f: Callable[..., Array],
    condition: Callable[..., Array],
    shared: Any,
    z: Float[Array, "batch *latent"],  # noqa: F821
    target: Float[Array, "batch *condition"],  # noqa: F821
    *,
    config: SgfConfig = SgfConfig(),
    weights: Float[ArrayLike, "batch *condition"] | None = None,  # noqa: F821
    smallest: int = 1,
) -> tuple[Float[Array, "batch *latent"], Info]:  # noqa: F821
    """Algorithm 1 for a batch, in the time that each latent needs.

    A loop on the host: latents whose path has ended are taken out of the batch (see `jaxedit.compaction`), where `vmap`
    of `run` would step all of them as often as the slowest. The results are those of `run`.

    Args:
        f: `f(shared, z, c) -> z`.
        condition: `condition(shared, z) -> c`; both are compiled once for each of these objects, so not lambdas that
            are made anew for each call.
        shared: A pytree of what both read, such as networks.
        z: The latents.
        target: A target for each.
        config: Settings.
        weights: See `step`.
        smallest: Size of the smallest batch; where the batch is divided among devices, a multiple of their number.

    Returns:
        As from `run`, with the batch as first axis.

    Raises:
        ValueError: Targets of another shape than conditions.
    """
    options = {"condition": condition, "config": config}
    kept = target, jnp.ones_like(target) if weights is None else jnp.asarray(weights)
    state, info = loop_compacted(
        lambda kept, moving: _step_batch(shared, moving, *kept, f=f, **options),
        lambda moving: moving[0].active,
        kept,
        _init_batch(shared, z, *kept, **options),
        smallest=smallest,
    )
    return state.latent, info


def closest(info: Info) -> Float[Array, "*latent"]:  # noqa: F821
    """The latent of the path whose condition came nearest to the target.

    Args:
        info: From `run`.

    Returns:
        z.
    """
    return info.latents[jnp.nanargmin(info.distances)]


def diverging(info: Info) -> Bool[Array, ""]:
    """Whether in some step the last term of the series was at least as long as the one before.

    Such a sum says nothing of the inverse. A series may converge all the same (the spectral radius decides, not the
    norm): a larger `order` tells.

    Args:
        info: From `run`.

    Returns:
        `[]` bool; false for order 0, which has nothing to compare.
    """
    return jnp.any(info.ratios[:, -1:] >= 1)


def _none(state: State, config: SgfConfig) -> Step:
    """Of a step that was not taken."""
    return Step(jnp.full((), jnp.nan, state.condition.dtype), jnp.full(config.order, jnp.nan, state.latent.dtype))


def _began(state: State, target: Array, config: SgfConfig, weights: Any) -> Info:
    """The record before the first step."""
    apart, ratios = distance(state.condition, target, weights=weights), _none(state, config).ratios
    points = config.max_steps + 1
    return Info(
        latents=jnp.broadcast_to(state.latent, (points, *state.latent.shape)),
        path=jnp.broadcast_to(state.condition, (points, *state.condition.shape)),
        distances=jnp.full(points, jnp.nan, apart.dtype).at[0].set(apart),
        ratios=jnp.broadcast_to(ratios, (config.max_steps, *ratios.shape)),
        steps=state.steps,
    )


def _recorded(info: Info, state: State, found: Step) -> Info:
    """The record after a step, taken or not."""

    def placed(rows: Array, row: Array) -> Array:
        later = jnp.arange(len(rows)) >= state.steps
        return jnp.where(later.reshape(-1, *[1] * row.ndim), row[None], rows)

    taken = state.steps > info.steps
    return Info(
        latents=placed(info.latents, state.latent),
        path=placed(info.path, state.condition),
        distances=jnp.where(taken, info.distances.at[state.steps].set(found.distance), info.distances),
        ratios=jnp.where(taken, info.ratios.at[state.steps - 1].set(found.ratios), info.ratios),
        steps=state.steps,
    )


def _field(f: Mapping, change: Array, config: SgfConfig, z: Array, c: Array) -> tuple[Array, Array]:
    """The displacement of a step at a point, and the lengths of the series' terms."""
    v, terms = displacement(f, z, c, change, order=config.order)
    return (exact_displacement(f, z, c, change) if config.series == "solve" else v), terms


def _euler(field: Callable[..., Any], condition: Condition, state: State) -> tuple[Array, Array]:
    return field(state.latent, state.condition)


def _midpoint(field: Callable[..., Any], condition: Condition, state: State) -> tuple[Array, Array]:
    first, terms = field(state.latent, state.condition)
    middle = state.latent + 0.5 * first
    return field(middle, condition(middle))[0], terms


def _rk4(field: Callable[..., Any], condition: Condition, state: State) -> tuple[Array, Array]:
    first, terms = field(state.latent, state.condition)

    def at(move: Array) -> Array:
        z = state.latent + move
        return field(z, condition(z))[0]

    second = at(0.5 * first)
    third = at(0.5 * second)
    return (first + 2 * second + 2 * third + at(third)) / 6, terms


_STAGES = {"euler": _euler, "midpoint": _midpoint, "rk4": _rk4}


def _length(x: Array) -> Array:
    return jnp.linalg.norm(jnp.ravel(x))


@functools.partial(jax.jit, static_argnames=("condition", "config"))
def _init_batch(
    shared: Any, z: Array, target: Array, weights: Array, *, condition: Callable[..., Array], config: SgfConfig
) -> tuple[State, Info]:
    def one(z: Array, target: Array, weights: Array) -> tuple[State, Info]:
        state = init(functools.partial(condition, shared), z, target, config=config)
        return state, _began(state, target, config, weights)

    return jax.vmap(one)(z, target, weights)


@functools.partial(jax.jit, static_argnames=("f", "condition", "config"))
def _step_batch(
    shared: Any,
    moving: tuple[State, Info],
    target: Array,
    weights: Array,
    *,
    f: Callable[..., Array],
    condition: Callable[..., Array],
    config: SgfConfig,
) -> tuple[State, Info]:
    bound = functools.partial(f, shared), functools.partial(condition, shared)

    def one(moving: tuple[State, Info], target: Array, weights: Array) -> tuple[State, Info]:
        state, found = step(*bound, moving[0], target, config=config, weights=weights)
        return state, _recorded(moving[1], state, found)

    return jax.vmap(one)(moving, target, weights)
