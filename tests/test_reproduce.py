"""The reproduction of Style Intervention compares what it says, and its latency benchmark measures one algorithm."""

from typing import Any

import numpy as np
import pytest
from untrained import untrained

from benchmarks import latency_style_intervention
from benchmarks.reproduce import edits
from benchmarks.reproduce import style_intervention_report as reports
from benchmarks.reproduce.edits import Path, strength_for
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator

WORLD: Any = None
SAMPLES: Any = None


@pytest.mark.parametrize("goal", [0.05, 0.4, 0.89])
@pytest.mark.parametrize("slope", [0.3, 1.0, 9.0])
def test_the_strength_reaches_the_wanted_change(goal: float, slope: float, monkeypatch: pytest.MonkeyPatch):
    """Protects: equal measured change, with a curve that saturates, and few measurements."""
    tried = []

    def measured(world: Any, samples: Any, path: Path, strength: float) -> Any:
        tried.append(strength)
        change = np.tile([0.0, np.tanh(slope * strength)], (4, 1))
        none = change[:, 0]
        return edits.Outcome(none, none, none, none, none, change, change)

    monkeypatch.setattr(edits, "measured", measured)
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
        "samples": 4,
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
    assert "| StyleSpace † | 1.00 |" in text and "| S | 1.00 | 0.0010 |" in text and "0.700 seconds" in text
    assert "| as published | 0.500 | 0 of 2, not age, not smile | 2 of 2 | 2 of 2 |" in text
    assert "| all layers at once | 0.900 | 2 of 2 | 2 of 2 | 2 of 2 |" in text
    assert "| shorter s_n | 0.900 | 2 of 2 | 2 of 2 | 0 of 2, not age, not smile |" in text


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
