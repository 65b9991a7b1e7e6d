"""What the reproduction of LELSD measures: edits at equal distances, and the first-order rivals."""

from typing import Any

import numpy as np
import pytest

from benchmarks.reproduce import first_order, lelsd_report
from benchmarks.reproduce.first_order import Slopes
from benchmarks.reproduce.localization import Curve, at_distance


def test_edits_are_compared_where_they_reach_the_distance():
    """Protects: interpolation at the first crossing, also before the first strength; NaN where it is not reached."""
    strengths = np.array([1.0, 2.0, 4.0, 8.0])
    distance = np.array([[0.01, 0.03, 0.09, 0.05], [0.0, 0.01, 0.01, 0.02]])[None]
    share = np.array([[0.9, 0.8, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5]])[None]
    curve = Curve(distance, share, 2 * share, share)
    found = at_distance(curve, strengths, 0.06)
    np.testing.assert_allclose(found["share"], [[0.5, np.nan]])
    np.testing.assert_allclose(found["score"], [[1.0, np.nan]])
    np.testing.assert_allclose(found["strength"], [[3.0, np.nan]])
    found = at_distance(curve, strengths, 0.005)
    np.testing.assert_allclose(found["share"], [[0.9, 0.5]])
    np.testing.assert_allclose(found["strength"], [[0.5, 1.5]])


def toy() -> Slopes:
    """Six numbers of W+ and four channels; block 0 is the part."""
    rows = np.zeros((1, 3, 1, 6))
    rows[0, 0, 0, :2] = 1.0, 2.0  # the part sees the second more than the first,
    rows[0, 1, 0, 1] = 3.0  # which the rest sees too
    rows[0, 2, 0, 2] = 0.5
    styles = np.zeros((1, 3, 1, 4))
    styles[0, :, 0] = [[1.0, 2.0, 0.1, 0.0], [0.2, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.05]]
    inside = np.array([[[1.0, 0.0, 0.0]]])
    return Slopes(inside, styles, rows)


def test_the_low_rank_rival_leaves_out_what_the_rest_sees(monkeypatch: pytest.MonkeyPatch):
    """Protects: LowRankGAN's projection: without it the second number would be best."""
    monkeypatch.setattr(first_order, "_KEPT", (1,))
    slopes = toy()
    (direction,) = first_order.low_rank_candidates(slopes, part=0, shape=(2, 3))
    vector = np.abs(np.asarray(direction.vector))
    np.testing.assert_allclose(vector, [[1, 0, 0], [0, 0, 0]], atol=1e-6)


def test_channels_are_ranked_by_where_they_act():
    """Protects: the share inside decides, among channels that act at all; a unit is a standard deviation."""
    slopes = toy()
    found = first_order.channel_candidates(slopes, np.array([2.0, 1.0, 1.0, 1.0], np.float32), part=0, count=2)
    assert [direction.name for direction in found] == ["channel 0", "channel 1"]
    np.testing.assert_allclose(found[0].vector, [2, 0, 0, 0])


def report() -> dict[str, Any]:
    row = {"share": [0.8, 0.01], "score": [0.3, 0.01], "released": [0.2, 0.01], "strength": [5.0, 1.0], "reached": 1.0}
    distances = (0.02, 0.05, 0.1, 0.15)
    weak = row | {"share": [0.5, 0.01]}
    methods = {lelsd_report.OURS: row, lelsd_report.CHANNEL: weak, lelsd_report.LOW_RANK: row | {"reached": 0.2}}
    part = {name: {str(d): one for d in distances} for name, one in methods.items()} | {"chosen": {}}
    twice = {"training": {}, "directions": 0.1, "effects": 0.2, "share": [0.9, 0.8]}
    return {
        "world": "avatars",
        "candidates": 4,
        "environment": {"processor": "a processor"},
        "plan": {"distances": distances, "samples": 3, "steps": 9},
        "training": {
            "seconds": 9.0,
            "settings": {"space": "s", "steps": 9, "learning_rate": 0.02, "strengths": [-20.0, 20.0]},
            "parts": {"mouth": {"score_at_first": 0.1, "score": 0.3}},
        },
        "parts": {"mouth": part},
        "sequence": {
            "strengths": {"mouth": 5.0},
            "order_matters": 0.0,
            "inside": {"mouth": 0.9},
            "kept": {},
            "consistency": {"mouth": 0.8},
        },
        "twice": {"part": "mouth", "weights": {"3.5": twice, "0.02": twice, "0.0": twice | {"directions": 0.6}}},
    }


def test_claims_are_judged_by_what_was_measured():
    """Protects: methods that don't reach a distance don't count, and each claim turns false with its numbers."""
    held = lelsd_report.claims(report())
    assert [holds for _, _, holds in held][:3] == [True, True, True] and held[-1][2]
    worse = report()
    for row in worse["parts"]["mouth"][lelsd_report.OURS].values():
        row["share"] = [0.4, 0.01]
    worse["twice"]["weights"]["0.02"] = {"directions": 0.5, "effects": 0.2, "share": [0.9, 0.9]}
    assert not any(lelsd_report.claims(worse)[index][2] for index in (0, 1, -1))
    text = lelsd_report.as_markdown(report())
    assert "| mouth | LELSD | **0.800 ± 0.010** |" in text and "|  | LowRankGAN | - |" in text
