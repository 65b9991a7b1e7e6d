"""SGF towards keypoints and captions (Fig. 6, 7 and 8), one edit after the other, and out of the generator's range."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from benchmarks.reproduce import sgf_attributes
from benchmarks.reproduce.sgf_attributes import goals_of
from benchmarks.reproduce.world import batches
from jaxedit import avatars, sgf
from jaxedit.cli.surrogates import Seen, condition_of, picture_of
from jaxedit.conditions import Target
from jaxedit.sentences import SentenceEncoder

SENTENCES = (
    "a smiling woman",
    "an old man with glasses",
    "a young woman with blond hair",
    "a man with a beard",
    "a woman with bangs and glasses",
    "an old woman with grey hair",
    "a smiling man with black hair",
    "a young man without glasses",
)
_PRECISE = sgf.SgfConfig(threshold=0.02)  # goes on where the tolerance of a kind is reached
# No picture's vector comes as near a sentence's as would end a path: it ends where its way is gone, 1 / lambda steps.
_AS_FAR_AS_PLANNED = sgf.SgfConfig(threshold=0.02, max_steps=5)


def conditions(seen: Seen, latents: np.ndarray, *, space: str, size: int) -> np.ndarray:
    """Of the pictures of latents."""
    return batches(size, condition_of, seen, latents, space=space)


def towards(
    seen: Seen, latents: np.ndarray, goals: Target, *, space: str, config: sgf.SgfConfig = _PRECISE
) -> tuple[np.ndarray, sgf.Info]:
    """The closest latents on the paths, and what happened."""
    info = sgf_attributes.moved(seen, latents, goals, space=space, config=config)
    return np.asarray(jax.vmap(sgf.closest)(info)), info


def apart(seen: Seen, c: Any, wanted: np.ndarray) -> np.ndarray:
    """Mean distance of keypoints in percent of the image's width, along the last axis of conditions."""
    found = c[..., seen.conditions.places["keypoints"]].reshape(*c.shape[:-1], -1, 2)
    return 50 * np.linalg.norm(found - wanted, axis=-1).mean(axis=-1)


def keypoints(seen: Seen, latents: np.ndarray, pairs: Any, *, space: str, size: int) -> dict[str, Any]:
    """Towards the keypoints of other samples, and beyond: the target moves away from the mean of all."""
    place = seen.conditions.places["keypoints"]
    before = conditions(seen, latents, space=space, size=size)
    own = before[:, place].reshape(len(before), -1, 2)
    mean = pairs[:, place].mean(axis=0).reshape(-1, 2)
    found: dict[str, Any] = {"beyond": []}
    for factor in (1.0, 1.5, 2.0, 3.0):
        wanted = mean + factor * (np.roll(own, 1, axis=0) - mean)
        goals = goals_of(seen, before, keypoints=list(wanted))
        latent, info = towards(seen, latents, goals, space=space)
        errors = np.stack([apart(seen, path, goal) for path, goal in zip(info.path, wanted, strict=True)])
        least = np.minimum.accumulate(errors, axis=1)
        nearest = np.array([apart(seen, pairs, goal).min() for goal in wanted])
        row = {"factor": factor, "start": float(errors[:, 0].mean()), "reached": float(least[:, -1].mean())}
        row |= {"scope": float(nearest.mean()), "within": float((least[:, -1] <= 2).mean())}
        row["length"] = float(np.linalg.norm(latent, axis=1).mean() / np.linalg.norm(latents, axis=1).mean())
        found["beyond"].append(row)
        if factor == 1:
            found["by_step"] = least.mean(axis=0).tolist()
            found["latents"] = latent
    return found


def captions(
    seen: Seen, latents: np.ndarray, encoder: SentenceEncoder, judge: Any, *, space: str, size: int
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Towards sentences, judged by a network of attributes that SGF has not seen; and the latents of each sentence."""
    before = conditions(seen, latents, space=space, size=size)
    first = batches(size, _judged, (seen, judge), latents, space=space) > 0
    rows, found = [], []
    for sentence in SENTENCES:
        goals = goals_of(seen, before, caption=[encoder.embed(sentence)] * len(latents))
        moved, info = towards(seen, latents, goals, space=space, config=_AS_FAR_AS_PLANNED)
        after = batches(size, _judged, (seen, judge), moved, space=space) > 0
        asked = {
            name: there for name, there in avatars.captions.mentioned(sentence).items() if name in avatars.ATTRIBUTES
        }
        places = [avatars.ATTRIBUTES.index(name) for name in asked]
        others = [place for place in range(len(avatars.ATTRIBUTES)) if place not in places]
        wanted = np.array(list(asked.values()))
        cosines = 1 - np.square(np.nanmin(info.distances, axis=1) * 3) / 2
        rows.append(
            {
                "sentence": sentence,
                "true_before": float((first[:, places] == wanted).mean()),
                "true_after": float((after[:, places] == wanted).mean()),
                "others_kept": float((after[:, others] == first[:, others]).mean()),
                "cosine": float(cosines.mean()),
            }
        )
        found.append(moved)
    return rows, np.stack(found)


def _judged(shared: tuple[Seen, Any], latent: jax.Array, *, space: str) -> jax.Array:
    seen, judge = shared
    return judge(picture_of(seen, latent, space=space))


def sequence(seen: Seen, latents: np.ndarray, *, space: str, size: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The pose of another sample, then attributes, then another pose; whether each still holds at the end."""
    start = conditions(seen, latents, space=space, size=size)
    place = seen.conditions.places["keypoints"]
    poses = [np.roll(start[:, place].reshape(len(start), -1, 2), shift, axis=0) for shift in (1, 2)]
    edits: list[tuple[str, dict[str, Any]]] = [
        ("keypoints of another", {"keypoints": poses[0]}),
        ("smile = 1", {"attributes": [{"smile": 1.0}] * len(latents)}),
        ("eyeglasses = 1", {"attributes": [{"eyeglasses": 1.0}] * len(latents)}),
        ("keypoints of a third", {"keypoints": poses[1]}),
    ]
    stages, rows, current = [latents], list[dict[str, Any]](), latents
    for name, kinds in edits:
        before = conditions(seen, current, space=space, size=size)
        current, info = towards(seen, current, goals_of(seen, before, **kinds), space=space, config=sgf.SgfConfig())
        after = conditions(seen, current, space=space, size=size)
        smile, glasses = (after[:, seen.conditions.names.index(name)] > 0.5 for name in ("smile", "eyeglasses"))
        row = {"edit": name, "reached": float((np.nanmin(info.distances, axis=1) < 0.1).mean())}
        row |= {"pose": float(apart(seen, after, poses[name.endswith("third")]).mean())}
        rows.append(row | {"smile": float(smile.mean()), "eyeglasses": float(glasses.mean())})
        stages.append(current)
    return rows, np.stack(stages, axis=1)


def drawn(seen: Seen, latents: np.ndarray, *, space: str, size: int) -> np.ndarray:
    """uint8 pictures of latents `[n, dim]`."""
    return batches(size, _drawn, seen, latents, space=space)


def _drawn(seen: Seen, latent: jax.Array, *, space: str) -> jax.Array:
    from jaxedit import images

    return images.to_uint8(picture_of(seen, latent, space=space))
