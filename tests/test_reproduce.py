"""The reproduction of Style Intervention compares what it says, and its latency benchmark measures one algorithm."""

from typing import Any

import numpy as np
import pytest
from untrained import untrained

from benchmarks import latency_style_intervention
from benchmarks.reproduce import edits, published_directions
from benchmarks.reproduce import style_intervention_report as reports
from benchmarks.reproduce.edits import Path, strength_for
from benchmarks.reproduce.tables import half_interval
from jaxedit import faces
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator

WORLD: Any = None
SAMPLES: Any = None


@pytest.mark.parametrize("goal", [0.05, 0.4, 0.89])
@pytest.mark.parametrize("slope", [0.3, 1.0, 9.0])
def test_the_strength_reaches_the_wanted_change(goal: float, slope: float, monkeypatch: pytest.MonkeyPatch):
    """Protects: equal measured change, with a curve that saturates, and few measurements."""
    tried = []

    def changed(world: Any, samples: Any, path: Path, strength: float) -> tuple[np.ndarray, np.ndarray]:
        tried.append(strength)
        return np.tile([0.0, np.tanh(slope * strength)], (4, 1)), np.zeros(4)

    monkeypatch.setattr(edits, "changed", changed)
    path = Path("z", np.zeros((4, 2)), np.zeros((4, 2)))
    found = strength_for(WORLD, SAMPLES, path, attribute=1, goal=goal)
    assert abs(np.tanh(slope * found) - goal) < 0.01 and len(tried) <= 12
    assert strength_for(WORLD, SAMPLES, path._replace(most=0.5), attribute=1, goal=0.9999) == 0.5
    with pytest.raises(ValueError, match="the wanted change is"):
        strength_for(WORLD, SAMPLES, path, attribute=1, goal=-0.1)


def made_report(mse: dict[str, float], change: dict[str, float]) -> dict[str, Any]:
    """A report of two attributes and one loss ablation in which methods differ in these numbers only."""
    names = (*reports._TABLE_4, *reports._TABLE_3, *reports._AS_THEY_ARE, *reports._FIGURE_9)
    row = dict.fromkeys(reports._COLUMNS, 0.9) | {"strength": 1.0}
    row |= {"half": {"mse": 0.003, "ssim": 0.01, "id": 0.02}, "to_ours": {"id": [0.012, 0.004]}}
    methods = {name: row | {"mse": mse.get(name, 0.02), "change": change.get(name, 0.5)} for name in names}
    tested = {reports.JOINT: [row | {"mse": 0.01}, row], reports.SHORTER: [row | {"id": 0.8}, row]}
    attribute = {
        "methods": methods,
        "tested": tested,
        "figure_7": {space: [0.1, value] for space, value in (("Z", 0.4), ("S", 0.2))},
    }
    cost = {"seconds": 1.0, "peak_bytes": 2**20, "batched": 0.5, "never_shrunk": 0.7}
    table_2 = {"age": {"train": 0.95, "validate": 0.92, "majority": 0.6, "sparsity": 0.94}}
    return {
        "world": "faces",
        "samples": 4,
        "others": 6,
        "strangers": 0.8,
        "deviations": 2.5,
        "strengths_of_figure_7": (0.5, 1.0),
        "environment": {"processor": "it", "cores": 2},
        "table_2": table_2,
        "table_6": {reports.OURS: cost},
        "attributes": {"age": attribute, "smile": attribute},
    }


def test_claims_are_decided_by_those_that_reach_the_change():
    """Protects: a rival that changes the attribute too little is named, not compared; a better one decides."""
    weak = {"StyleSpace": 0.1}
    for mse, expected in (({"StyleSpace": 0.001}, True), ({"S": 0.001}, False)):
        report = made_report({reports.OURS: 0.01} | mse, weak)
        claims = {text: (numbers, holds) for text, numbers, holds in reports.claims(report, ["age", "smile"], ["age"])}
        numbers, holds = claims["it is better than interpolation, InterFaceGAN and StyleSpace (Table IV, MSE)"]
        assert holds == expected and "StyleSpace for age" in numbers and ("age (S is)" in numbers) != expected
    text = reports.as_markdown(report, ["age", "smile"], ["age"])
    assert "| StyleSpace † | 1.00 |" in text and "| S | 1.00 | 0.0010 ± 0.0021 |" in text and "0.700 seconds" in text
    assert "| StyleSpace | +0.0120 ± 0.0040 † | +0.0120 ± 0.0040 † |" in text
    assert "| smile | W | 0.072 | 0.020 | 0.59 | 0.90 | 84.06 | 90.00 |" in text
    assert "| as published | 0.500 | 0 of 2, not age, not smile | 2 of 2 | 2 of 2 |" in text
    assert "| all layers at once | 0.900 | 2 of 2 | 2 of 2 | 2 of 2 |" in text
    assert "| shorter s_n | 0.900 | 2 of 2 | 2 of 2 | 0 of 2, not age, not smile |" in text


def test_a_world_with_fewer_methods_is_reported():
    """Protects: what was not measured is left out, of the tables and of the claims."""
    report = made_report({reports.OURS: 0.01}, {})
    del report["table_6"]
    for attribute in report["attributes"].values():
        attribute["tested"].pop(reports.SHORTER, None)
        for name in (reports.IN_W, reports.IN_W_PLUS):
            attribute["methods"].pop(name, None)
    text = reports.as_markdown(report, ["age", "smile"], [])
    assert not [
        part for part in ("Table III", "Figure 9", "Fig. 9", "Table VI", "shorter", "in W") if f"{part}:" in text
    ]
    assert "| it is better than interpolation" in text and "| all layers at once | 0.900" in text


@pytest.mark.parametrize("samples", [2, 50])
def test_the_interval_holds_the_mean(samples: int):
    """Protects: half of the 95 % interval, checked by drawing again and again."""
    drawn = np.random.default_rng(0).normal(3.0, 2.0, (4000, samples))
    held = [abs(row.mean() - 3.0) < half_interval(row) for row in drawn]
    assert np.mean(held) == pytest.approx(0.94 if samples > 2 else 0.70, abs=0.02)


def test_published_files_are_judged_by_what_they_name():
    """Protects: the sign of a file that takes away, and that a change inside its interval is none."""
    change = {name: [0.0, 0.1] for name in (*faces.ATTRIBUTES, "mse")}
    rows = [
        {"file": "boundary_Young", "strength": 2.0, "change": change | {"age": [-3.0, 0.5]}},
        {"file": "smile", "strength": -1.0, "change": change | {"smile": [0.5, 0.2]}},
        {"file": "boundary_Male", "strength": 1.0, "change": change | {"gender": [0.3, 0.4]}},
        {"file": "boundary_Bangs", "strength": 1.0, "change": change},
    ]
    report = {"samples": 9, "truncation_psi": 0.7, "spread": dict.fromkeys(faces.ATTRIBUTES, 2.0), "rows": rows}
    verdicts = {row[0]: row[1:] for row in published_directions._verdicts(report)}
    assert verdicts["boundary_Young"][0] == "-age" and verdicts["boundary_Young"][3:] == ("-1.50", "yes")
    assert verdicts["smile"][-1] == "the other way" and verdicts["boundary_Male"][-1] == "no" and len(verdicts) == 3
    assert "| boundary_Young | +2 |" in published_directions.as_markdown(report)


@pytest.mark.slow
def test_steps_on_kept_activations_equal_those_of_the_whole_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Protects: both contenders take the same step of every layer, and all modes and batches are measured."""
    monkeypatch.setattr(latency_style_intervention, "_MAP", 4)
    config = StyleGAN2Config(resolution=8, z_dim=8, w_dim=8, channel_base=64, channel_max=8, mapping_layers=1)
    generator = StyleGAN2Generator(untrained(config), config)
    *steps, means, layered, joint, analysis = latency_style_intervention.benchmark(generator, (1,), 1, {})
    assert [row["layer"] for row in steps] == list(range(5))
    assert means["whole network"]["gradient_error"] < 1e-3
    assert (layered["mode"], layered["steps"], joint["mode"], joint["steps"]) == ("layer-wise", 10, "joint", 10)
    assert analysis["operations"] > 1e5
    assert "whole network" in capsys.readouterr().out
