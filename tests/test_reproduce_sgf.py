"""What the reproduction of SGF measures: curves of ways, GANSpace's choice, and claims."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.reproduce import sgf_attributes, sgf_report
from benchmarks.reproduce.sgf_attributes import Way, ganspace, interfacegan, measured
from jaxedit.directions.pca import PrincipalComponents


class Seen(NamedTuple):
    """Its W+ has three rows of two numbers."""

    generator: Any = ()


class Judges(NamedTuple):
    """Two attributes: the sum of the first numbers of all rows, and the second number of the last row."""

    seen: Seen

    def scores(self, rows: Any) -> tuple[Any, Any]:
        found = jnp.clip(jnp.stack([jnp.sum(rows[:, 0]) / 3, rows[2, 1]]), 0, 1)
        return found, 1 - found


JUDGES: Any = Judges(Seen())


@pytest.fixture(autouse=True)
def _three_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sgf_attributes, "seen_shape", lambda seen: (3, 2))


def test_curves_of_a_way():
    """Protects: the first attribute changes from the second strength on, the other at the last; both judges count."""
    start = np.zeros((4, 3, 2), np.float32)
    rows = np.zeros((4, 3, 3, 2), np.float32)
    rows[:, 1:, :, 0] = 0.8
    rows[:2, 2, 2, 1] = 1.0
    found = measured(JUDGES, start, Way(rows), 0, size=8)
    assert found.judged["accuracy"] == [0.0, 1.0, 1.0] and found.judged["disentanglement"] == [1.0, 1.0, 0.5]
    np.testing.assert_allclose(found.judged["score"], [1.0, 1.0])
    assert found.own["accuracy"] == found.judged["accuracy"]


def test_ganspace_takes_the_component_and_the_layers_that_entangle_least(monkeypatch: pytest.MonkeyPatch):
    """Protects: the component that goes with the attribute, not in the layers that change the other one."""
    monkeypatch.setattr(sgf_attributes, "_COMPONENTS", 1)
    vectors = np.array([[0.6, 0.8], [0.8, -0.6]], np.float32)
    components = PrincipalComponents(np.zeros(2, np.float32), vectors, np.ones(2, np.float32), np.ones(2, np.float32))
    random = np.random.default_rng(0)
    codes = random.normal(size=(200, 2)).astype(np.float32)
    given = (codes, codes @ vectors[0])
    start, present = np.zeros((3, 2), np.float32), np.zeros(3, bool)
    way = ganspace(JUDGES, components, given, (start, present), start, present, 0, size=8)
    assert way.note.startswith("component 0, layers ") and not way.note.endswith("2")
    assert np.all(way.rows[:, :, 2] == 0) and np.all(way.rows[:, -1, 0, 0] > 0)


def test_interfacegan_moves_away_from_where_a_sample_is():
    random = np.random.default_rng(0)
    codes = random.normal(size=(400, 2)).astype(np.float32)
    start, present = np.array([[-1, 0], [1, 0]], np.float32), np.array([False, True])
    moved = interfacegan(start, present, (codes, (codes[:, 0] > 0).astype(np.int64)), space="w")
    assert np.all(np.diff(moved[0, :, 0]) > 0) and np.all(np.diff(moved[1, :, 0]) < 0)


def report(**changes: float) -> dict[str, Any]:
    values = {"ours": 0.9, "reached": 1.0, "distance": 1.0, "last": 3.0, "other": 0.4, "after": 0.95} | changes

    def method(score: float) -> dict[str, Any]:
        curve = {"accuracy": [0.5, 1.0], "disentanglement": [1.0, 0.9], "score": [score, score]}
        return {"judged": curve, "own": curve, "note": ""}

    ours = method(values["ours"]) | {"reached": values["reached"], "steps": 5.0, "largest_ratio": 0.5}
    methods = {"SGF": ours, "InterFaceGAN": method(0.8), "GANSpace": method(0.7)}
    mapping = {"error": 0.2, "constant": 1.0, "other": values["other"], "condition_norm": 3.0, "ratio": 0.3}
    row = {"start": 5.0, "scope": 2.5, "within": 1.0, "length": 1.0}
    beyond = [row | {"factor": 1.0, "reached": values["distance"]}, row | {"factor": 3.0, "reached": values["last"]}]
    caption = {
        "sentence": "a man",
        "true_before": 0.5,
        "true_after": values["after"],
        "others_kept": 0.9,
        "cosine": 0.9,
    }
    solution = {"settings": {"order": 1}, "attribute": "smile", "reached": 1.0, "steps": 5.0, "score": [0.9, 0.9]}
    return {
        "world": "avatars",
        "plan": {"pairs": 9, "steps": 9, "width": 8, "samples": 3},
        "methods": {"w": {"smile": methods}},
        "mappings": {"w": mapping},
        "keypoints": {"beyond": beyond, "by_step": [5.0] * 31},
        "solutions": [solution | {"error": 0.1, "diverging": 0.0, "seconds": 1.0}],
        "captions": [caption],
        "encoder": "a bag of words",
        "sequence": [{"edit": "smile = 1", "reached": 1.0, "pose": 1.0, "smile": 1.0, "eyeglasses": 0.5}],
    }


@pytest.mark.parametrize(
    ("change", "index"),
    [
        *(({"ours": 0.75}, index) for index in range(4)),  # by both networks, held or not
        ({"reached": 0.8}, 4),
        ({"distance": 2.1}, 5),
        ({"last": 4.0}, 6),
        ({"other": 0.2}, 7),
        ({"after": 0.7}, 8),
    ],
)
def test_claims_turn_false_with_their_numbers(change: dict[str, float], index: int):
    assert all(holds for _, _, holds in sgf_report.claims(report()))
    assert not sgf_report.claims(report(**change))[index][2]


def test_the_report_has_all_tables():
    text = sgf_report.as_markdown(report())
    for heading in (
        "Claims",
        "in W (Table 1)",
        "Orders and solvers",
        "The mappings",
        "Keypoints",
        "Captions",
        "Fig. 6",
    ):
        assert heading in text
    assert "| SGF | 0.900 (0.900) | 0.900 (0.900) |" in text
