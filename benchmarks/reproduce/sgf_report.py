"""The tables of the reproduction of SGF as markdown, and its claims as true or false."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from benchmarks.reproduce.tables import table

METHODS = ("GANSpace", "InterFaceGAN", "SGF")
SOLUTIONS: tuple[dict[str, Any], ...] = (
    {"order": 0},
    {"order": 1},
    {"order": 2},
    {"order": 4},
    {"order": 8},
    {"series": "solve"},
    {"solver": "midpoint"},
    {"series": "solve", "solver": "rk4"},
    {"threshold": 0.02},
)
_INTRODUCTION = """\
{pairs:,} pairs for each mapping (paper: 200,000), {steps:,} steps of 64 (paper: 500,000 of 8), truncation 0.8, width
{width}; N = 15 in W, 6 in Z; m = 1, lambda = 0.2, at most 30 steps, an attribute's probability within 0.1 of its
target. {samples} samples are edited away from where they are. A method's strengths: SGF 1 to 30 steps, of which samples
that are there take no more; InterFaceGAN, fitted to the same pairs, 0.25 to 8 deviations; GANSpace likewise, the best
component and layers by other samples. {judge}
"""
_JUDGES = {
    "avatars": "The judge is a network that no method has seen.",
    "faces": "The judge is, as in the paper, the network that SGF sees.",
}


def as_markdown(report: dict[str, Any]) -> str:
    """All tables, the claims first."""
    plan = report["plan"]
    text = _INTRODUCTION.format(
        **{name: plan[name] for name in ("pairs", "steps", "width", "samples")}, judge=_JUDGES[report["world"]]
    )
    lines = [f"# SGF on {report['world']}", "", text, "## Claims", ""]
    lines += table(["the paper says", "here", "holds"], [[a, b, "yes" if c else "no"] for a, b, c in claims(report)])
    for space, found in report["methods"].items():
        lines += ["", f"## Manipulation disentanglement score in {space.upper()} (Table 1)", ""]
        lines += [
            "Area under the curve from (0, 1) to the last point, in brackets with its height held up to accuracy 1."
        ]
        lines += ["", *_scores(found, "judged"), "", "By the network that SGF sees:", "", *_scores(found, "own")]
        lines += ["", *_paths(found)]
    lines += ["", "## Orders and solvers", "", *_solutions(report["solutions"])]
    lines += ["", "## The mappings", "", *_mappings(mappings_of(report)), "", "## Keypoints of others", ""]
    lines += _keypoints(report["keypoints"])
    if "sequence" in report:
        lines += ["", "## One edit after the other (Fig. 6)", "", *_sequence(report["sequence"])]
    if "captions" in report:
        lines += [
            "",
            "## Captions (Fig. 7)",
            "",
            f"Embedded by {report['encoder']}.",
            "",
            *_captions(report["captions"]),
        ]
    return "\n".join(lines)


def claims(report: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """The paper's statements, what was found, and whether they hold."""
    found = []
    seen = {"own": "by the network that SGF sees, as in the paper", "judged": "by the judge"}
    for (space, methods), kind, held in itertools.product(report["methods"].items(), seen, (False, True)):
        areas = {name: overall(methods, name, kind, held) for name in _methods(methods)}
        text = ", ".join(f"{name} {area:.3f}" for name, area in areas.items())
        best = max(areas, key=lambda name: areas[name]) == "SGF"
        end = ", its last height held" if held else ""
        found.append((f"its overall score is the highest, in {space.upper()}, {seen[kind]}{end}", text, best))
    reached = [one["SGF"]["reached"] for methods in report["methods"].values() for one in methods.values()]
    text = f"for {100 * min(reached):.0f} to {100 * max(reached):.0f} %"
    found.append(("edits of attributes reach the target (here: for 90 % within 30 steps)", text, min(reached) >= 0.9))
    first = report["keypoints"]["beyond"][0]
    text = (
        f"{first['reached']:.1f} % of the width, from {first['start']:.1f} %; {100 * first['within']:.0f} % within 2 %"
    )
    found.append(("keypoints in range are reached (here: to 2 % of the width)", text, first["reached"] <= 2))
    last = report["keypoints"]["beyond"][-1]
    text = f"{last['factor']:g} times as far: {last['reached']:.1f} %, the nearest of all pairs {last['scope']:.1f} %"
    found.append(("out of range it stops near the generator's scope", text, last["reached"] <= 1.5 * last["scope"]))
    mappings = mappings_of(report).values()
    text = f"norm to the condition {min(one['condition_norm'] for one in mappings):.2f} or more"
    alive = all(one["error"] < one["constant"] and one["other"] > 1.05 * one["error"] for one in mappings)
    found.append(("the mapping does not degenerate", text, alive))
    if "captions" in report:
        before, after = (
            float(np.mean([row[name] for row in report["captions"]])) for name in ("true_before", "true_after")
        )
        found.append(
            (
                "captions come true",
                f"what they say is true of {100 * before:.0f} %, then of {100 * after:.0f} %",
                after > 0.8,
            )
        )
    return found


def mappings_of(report: dict[str, Any]) -> dict[str, Any]:
    """What was measured of all mappings, by name."""
    others = {"attributes and keypoints": "joint", "captions": "captioned"}
    return report["mappings"] | {name: report[key] for name, key in others.items() if key in report}


def overall(methods: dict[str, Any], name: str, kind: str = "judged", held: bool = False) -> float:
    """The mean over attributes."""
    return float(np.mean([found[name][kind]["score"][held] for found in methods.values()]))


def _methods(found: dict[str, Any]) -> list[str]:
    return [name for name in METHODS if name in next(iter(found.values()))]


def _scores(found: dict[str, Any], kind: str) -> list[str]:
    rows = []
    for name in _methods(found):
        areas = [one[name][kind]["score"] for one in found.values()]
        areas.append([overall(found, name, kind), overall(found, name, kind, held=True)])
        rows.append([name, *(f"{area:.3f} ({held:.3f})" for area, held in areas)])
    return table(["", *found, "overall"], rows)


def _paths(found: dict[str, Any]) -> list[str]:
    rows = []
    for attribute, one in found.items():
        ours, note = one["SGF"], one.get("GANSpace", {}).get("note", "")
        accuracy = ", ".join(f"{name} {max(one[name]['judged']['accuracy']):.2f}" for name in _methods(found))
        rows.append(
            [
                attribute,
                f"{ours['reached']:.2f}",
                f"{ours['steps']:.1f}",
                f"{ours['largest_ratio']:.2f}",
                accuracy,
                note,
            ]
        )
    return table(["", "SGF reached", "steps", "largest v1 / v0", "highest accuracy", "GANSpace took"], rows)


def _solutions(rows: list[dict[str, Any]]) -> list[str]:
    names = ["setting", "reached", "steps", "score", "error of the first displacement", "growing series", "seconds"]
    cells = []
    for row in rows:
        text = ", ".join(f"{name} {value}" for name, value in row["settings"].items())
        growing = "-" if "diverging" not in row else f"{100 * row['diverging']:.0f} %"
        cells.append([text, f"{row['reached']:.2f}", f"{row['steps']:.1f}", f"{row['score'][0]:.3f}"])
        cells[-1] += [f"{row['error']:.2f}", growing, f"{row['seconds']:.1f}"]
    return [f"Of {rows[0]['attribute']}.", "", *table(names, cells)]


def _mappings(found: dict[str, Any]) -> list[str]:
    names = ["error", "constant", "other", "condition_norm", "ratio"]
    heads = ["", "error", "of the best constant", "with others' conditions", "norm to the condition", "v1 / v0"]
    return table(heads, [[name, *(f"{one[key]:.3f}" for key in names)] for name, one in found.items()])


def _keypoints(found: dict[str, Any]) -> list[str]:
    rows = [
        [f"{row['factor']:g}", f"{row['start']:.2f}", f"{row['reached']:.2f}", f"{row['scope']:.2f}"]
        + [f"{100 * row['within']:.0f} %", f"{row['length']:.2f}"]
        for row in found["beyond"]
    ]
    heads = ["target, times as far from the mean", "distance at first", "at the nearest", "of the nearest of all pairs"]
    lines = ["Mean distance of 68 points in percent of the image's width.", ""]
    lines += table([*heads, "within 2 %", "length of the latent, to that at first"], rows)
    steps = ", ".join(f"{found['by_step'][step]:.2f}" for step in (0, 1, 2, 3, 5, 8, 12, 20, 30))
    return [*lines, "", f"After 0, 1, 2, 3, 5, 8, 12, 20 and 30 steps: {steps}."]


def _sequence(rows: list[dict[str, Any]]) -> list[str]:
    cells = [
        [
            row["edit"],
            f"{row['reached']:.2f}",
            f"{row['pose']:.2f} %",
            f"{row['smile']:.2f}",
            f"{row['eyeglasses']:.2f}",
        ]
        for row in rows
    ]
    return table(["after", "reached", "from the pose asked for", "smile", "wear glasses"], cells)


def _captions(rows: list[dict[str, Any]]) -> list[str]:
    cells = [
        [row["sentence"], f"{row['true_before']:.2f}", f"{row['true_after']:.2f}"]
        + [f"{row['others_kept']:.2f}", f"{row['cosine']:.2f}"]
        for row in rows
    ]
    return table(["caption", "true before", "true after", "what it does not say is kept", "cosine reached"], cells)
