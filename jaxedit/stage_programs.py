"""A batch through staged synthesis as a chain of compiled programs, one per stage: from whichever stage it begins, the
others are compiled already.

These functions equal those of `jaxedit.staged` under `vmap`, called from the host; a program of the whole network for
each stage to begin from would take minutes to compile at 1024 px. Every program exists once for each size of a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxedit.staged import Codes, Prepared, StagedSynthesis

Images = Float[Array, "batch height width channels"]


def start(synthesis: StagedSynthesis, *, count: int) -> Any:
    """The states before the first stage.

    Args:
        synthesis: The generator in stages.
        count: Of samples.

    Returns:
        Its state `count` times.
    """
    return _start(synthesis, count=count)


def advance(synthesis: StagedSynthesis, states: Any, codes: Codes, *, index: int) -> Any:
    """The states after a stage.

    Args:
        synthesis: The generator in stages.
        states: Before stage `index`.
        codes: One per stage, each with the batch as first axis.
        index: The stage.

    Returns:
        The states; after the last stage they are the images.
    """
    return _stage(synthesis, states, codes[index], index=index)[0]


def prepare(synthesis: StagedSynthesis, states: Any, codes: Codes, *, index: int) -> Prepared:
    """`jaxedit.staged.prepare` of a batch.

    Args:
        synthesis: The generator in stages.
        states: Before stage `index`.
        codes: One per stage, each with the batch as first axis.
        index: The stage.

    Returns:
        What `render` takes.
    """
    if not synthesis.only_adds(index):
        return Prepared(states, None)
    images = _finished(synthesis, states, codes, index)
    return Prepared(states, images - _term(synthesis, states, codes[index], index=index)[0])


def render(
    synthesis: StagedSynthesis, prepared: Prepared, codes: Codes, *, index: int
) -> tuple[Images, Callable[[Images], Array]]:
    """`jaxedit.staged.render` of a batch, and its derivative.

    Args:
        synthesis: The generator in stages.
        prepared: From `prepare` for the same stage.
        codes: One per stage, each with the batch as first axis.
        index: The stage.

    Returns:
        The images, and a function from the gradient of a loss to them to that to the codes of stage `index`. It may be
        called once: what it reads is let go on the way.
    """
    if prepared.rest is not None:
        terms, pullback = _term(synthesis, prepared.state, codes[index], index=index)
        return prepared.rest + terms, lambda gradient: _pull(pullback, gradient)[0]
    states, pullbacks = prepared.state, []
    for following in range(index, len(codes)):
        states, pullback = _stage(synthesis, states, codes[following], index=following)
        pullbacks.append(pullback)

    def pull(gradient: Images) -> Array:
        slopes = (gradient, gradient)
        while pullbacks:
            slopes = _pull(pullbacks.pop(), slopes[0])
        return slopes[1]

    return states, pull


def synthesize(synthesis: StagedSynthesis, codes: Codes) -> Images:
    """`jaxedit.staged.synthesize` of a batch.

    Args:
        synthesis: The generator in stages.
        codes: One per stage, each with the batch as first axis.

    Returns:
        The images.
    """
    return _finished(synthesis, start(synthesis, count=len(codes[0])), codes, 0)


def _finished(synthesis: StagedSynthesis, states: Any, codes: Codes, index: int) -> Images:
    """The images, from the states before a stage; nothing is kept for a derivative."""
    for following in range(index, len(codes)):
        states = advance(synthesis, states, codes, index=following)
    return states


@functools.partial(jax.jit, static_argnames="count")
def _start(synthesis, *, count):
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), synthesis.start())


@functools.partial(jax.jit, static_argnames="index")
def _stage(synthesis, states, codes, *, index):
    """The next states, and the pullback to states and codes."""
    return jax.vjp(jax.vmap(functools.partial(synthesis.stage, index=index)), states, codes)


@functools.partial(jax.jit, static_argnames="index")
def _term(synthesis, states, codes, *, index):
    """The terms, and the pullback to the codes."""
    term = jax.vmap(functools.partial(synthesis.term, index=index))
    return jax.vjp(functools.partial(term, states), codes)


@jax.jit
def _pull(pullback, gradient):
    return pullback(gradient)
