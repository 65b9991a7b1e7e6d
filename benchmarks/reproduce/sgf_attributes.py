"""Table 1 of SGF: manipulation disentanglement of single attributes, beside InterFaceGAN and GANSpace."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.reproduce.world import batches
from jaxedit import metrics, sgf
from jaxedit.cli.surrogates import Seen, condition_of, field_of
from jaxedit.conditions import Target
from jaxedit.directions.pca import PrincipalComponents
from jaxedit.directions.svm import fit_boundary
from jaxedit.generators.base import space_index
from jaxedit.spaces import edited

STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30)
_DEVIATIONS = np.array((0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8), np.float32)
_COMPONENTS = 3  # of GANSpace, those that an attribute goes with most ...
TRIED = 16  # ... and the samples that choose among them and their layers


class Judges(NamedTuple):
    """What a study looks with: what SGF sees, and a network that it does not see, or None."""

    seen: Seen
    judge: Any

    def scores(self, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Probabilities of attributes in the picture of a W+ code, by the judge and as SGF sees them."""
        image = self.seen.generator.render(edited(self.seen.generator, rows, start="w_plus"))
        own = self.seen.conditions(image)[self.seen.conditions.places["attributes"]]
        return own if self.judge is None else jax.nn.sigmoid(self.judge(image)), own


class Way(NamedTuple):
    """Edits of samples at growing strengths.

    Attributes:
        rows: `[samples, strengths, num_ws, w_dim]`.
        note: What it was made with.
    """

    rows: np.ndarray
    note: str = ""


class Measured(NamedTuple):
    """Curves of a way by the judge and by what SGF sees, and their areas without and with the last point held."""

    judged: dict[str, list[float]]
    own: dict[str, list[float]]
    note: str


def flipped(seen: Seen, conditions: np.ndarray, attribute: str) -> Target:
    """For each sample the other value of an attribute, all else held."""
    index = seen.conditions.places["attributes"].start + seen.conditions.names.index(attribute)
    return goals_of(seen, conditions, attributes=[{attribute: float(c[index] < 0.5)} for c in conditions])


def goals_of(seen: Seen, before: np.ndarray, **kinds: Sequence[Any]) -> Target:
    """A target for each sample, from a sequence for each kind."""
    rows = [
        seen.conditions.target(jnp.asarray(c), **{kind: values[row] for kind, values in kinds.items()})
        for row, c in enumerate(before)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def rows_of(seen: Seen, latents: np.ndarray, *, space: str, size: int) -> np.ndarray:
    """W+ codes of latents, whatever axes come before the last."""
    flat = latents.reshape(-1, latents.shape[-1])
    return batches(size, _rows, seen, flat, space=space).reshape(*latents.shape[:-1], *seen_shape(seen))


def seen_shape(seen: Seen) -> tuple[int, ...]:
    """Of a W+ code."""
    return seen.generator.spaces[space_index(seen.generator, "w_plus")].shape


def _rows(seen: Seen, latent: jax.Array, *, space: str) -> jax.Array:
    generator, condition = seen.generator, seen.condition
    for index in range(space_index(generator, space), space_index(generator, "w_plus")):
        latent = generator.advance(generator.spaces[index].name, latent, **({} if index else condition))
    return latent


@functools.cache
def looking(space: str) -> Any:
    """One function for all runs in a space, for which programs are compiled once."""
    return functools.partial(condition_of, space=space)


def moved(seen: Seen, latents: np.ndarray, goals: Target, *, space: str, config: sgf.SgfConfig) -> sgf.Info:
    """What happens on the way of each latent."""
    _, info = sgf.run_batch(
        field_of, looking(space), seen, jnp.asarray(latents), goals.condition, config=config, weights=goals.weights
    )
    return jax.tree.map(np.asarray, info)


def path_of_sgf(
    seen: Seen, latents: np.ndarray, goals: Target, *, space: str, config: sgf.SgfConfig
) -> tuple[np.ndarray, sgf.Info]:
    """The latents after the steps of `STEPS`, and what happened on the way."""
    info = moved(seen, latents, goals, space=space, config=config)
    return np.asarray(info.latents)[:, [step for step in STEPS if step <= config.max_steps]], info


def interfacegan(
    latents: np.ndarray, present: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], *, space: str
) -> np.ndarray:
    """Along the normal of a boundary that is fitted to the pairs of SGF's training, away from where a sample is."""
    bound = fit_boundary(jax.random.key(0), *pairs, name="boundary", space=space).direction
    return _along(latents, bound.unit * np.asarray(bound.vector), present)


def _along(latents: np.ndarray, step: np.ndarray, present: np.ndarray) -> np.ndarray:
    signs = np.where(present, -1, 1).astype(np.float32)
    return latents[:, None] + signs[:, None, None] * _DEVIATIONS[None, :, None] * step


def ganspace(
    judges: Judges,
    components: PrincipalComponents,
    pairs: tuple[np.ndarray, np.ndarray],
    tried: tuple[np.ndarray, np.ndarray],
    latents: np.ndarray,
    present: np.ndarray,
    index: int,
    *,
    size: int,
) -> Way:
    """Along the principal component and in the layers that do best on other samples.

    The authors look at pictures and name a component and layers for each attribute; here the three components whose
    coordinate goes with the attribute most are tried in all layers and in each third of them.
    """
    coordinates = (pairs[0] - components.mean) @ components.components.T
    known = [np.corrcoef(column, pairs[1])[0, 1] for column in coordinates.T]
    best = np.argsort(np.abs(known))[::-1][:_COMPONENTS]
    num_ws = seen_shape(judges.seen)[0]
    thirds = [range(num_ws), *(range(part * num_ws // 3, (part + 1) * num_ws // 3) for part in range(3))]

    def way(latents: np.ndarray, present: np.ndarray, component: int, layers: range) -> np.ndarray:
        step = np.sign(known[component]) * components.deviations[component] * components.components[component]
        moved = _along(latents, step.astype(np.float32), present)
        chosen = np.isin(np.arange(num_ws), layers)[None, None, :, None]
        return np.where(chosen, moved[:, :, None], latents[:, None, None])

    def area(choice: tuple[int, range]) -> float:
        found = measured(judges, tried[0], Way(way(*tried, *choice)), index, size=size)
        return found.judged["score"][0]

    component, layers = max([(component, layers) for component in best.tolist() for layers in thirds], key=area)
    note = f"component {component}, layers {layers[0]}-{layers[-1]}"
    return Way(way(latents, present, component, layers), note)


def measured(judges: Judges, start: np.ndarray, way: Way, index: int, *, size: int) -> Measured:
    """The curves of a way. `start` are the latents in W of the samples, or their W+ codes."""
    shape = seen_shape(judges.seen)
    before = np.broadcast_to(start if start.ndim == 3 else start[:, None], (len(start), *shape))
    found = batches(size, _scores, judges, np.concatenate([before[:, None], way.rows], axis=1).reshape(-1, *shape))
    curves = []
    for scores in found:
        scores = scores.reshape(len(start), -1, scores.shape[-1])
        curve = metrics.disentanglement_curve(scores[:, 0], jnp.moveaxis(jnp.asarray(scores[:, 1:]), 1, 0), index)
        areas = [metrics.disentanglement_score(curve, start=True, hold=hold).item() for hold in (False, True)]
        points = {name: np.asarray(values).tolist() for name, values in curve._asdict().items()}
        curves.append({**points, "score": areas})
    judged, own = curves
    return Measured(judged, own, way.note)


def _scores(judges: Judges, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    return judges.scores(rows)
