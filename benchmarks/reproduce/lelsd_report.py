"""The tables of the reproduction of LELSD as markdown, and its claims as true or false."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reproduce.tables import table

OURS, CHANNEL, LOW_RANK = "LELSD", "StyleSpace", "LowRankGAN"
METHODS = (OURS, CHANNEL, LOW_RANK)
_ENOUGH = 0.7  # share of the change inside a part
_MOST = 0.5  # of the edits have to reach a distance to count
WEIGHTS, CHOSEN = (3.5, 0.35, 0.02, 0.0), 0.02  # of R in Eq. 3; which is the pair that is judged and drawn
_DISTINCT = 0.2  # correlation of two directions
_INTRODUCTION = """\
{samples} samples (truncation 0.7), edited by each direction at growing strengths of both signs. **Methods are compared
at equal LPIPS distance d from the original** (AlexNet at 256 px; between two strengths interpolated). Share inside: of
the squared change of the pixels, in the part before or after the edit, grown by 5 % of the image. Score: the
localisation score of the feature maps (Eq. 2), which is optimised. Released: the metric of the released code, 0.5 at
most. Reached: edits that get so far from the original; a method counts where half of them do. The numbers behind ± are
half of the 95 % confidence interval of the mean.

LELSD: {space}, {steps} steps of 4 samples for each direction, learning rate {rate:g}, strengths up to {reach:g} (paper:
200, 0.001, not said; code: 1). StyleSpace: of the {candidates} channels whose gradients lie most in the part the best
at d = {second:g} on other samples. LowRankGAN: what changes the part most without the first 4, 16 or 64 dimensions that
change the rest, likewise the best; one direction for all samples. {masks}
"""
_MASKS = {
    "avatars": "Parts by the built-in parser, which is right about 86 % (IoU), in training and here.",
    "faces": "Parts as landmarks outline them, in training and here.",
}


def as_markdown(report: dict[str, Any]) -> str:
    """All tables, the claims first."""
    plan, training = report["plan"], report["training"]
    settings = training["settings"]
    introduction = _INTRODUCTION.format(
        samples=plan["samples"],
        space={"s": "S", "w_plus": "W+", "w": "W"}[settings["space"]],
        steps=settings["steps"],
        rate=settings["learning_rate"],
        reach=settings["strengths"][1],
        candidates=report["candidates"],
        second=plan["distances"][1],
        masks=_MASKS[report["world"]],
    )
    lines = [f"# LELSD on {report['world']}", "", introduction, "## Claims", ""]
    lines += table(["the paper says", "here", "holds"], [[a, b, "yes" if c else "no"] for a, b, c in claims(report)])
    lines += ["", "## Share of the change inside the part (Fig. 4)", "", *_table(report, "share"), ""]
    lines += ["## Localisation score (Eq. 2)", "", *_table(report, "score"), ""]
    lines += ["## The released code's metric", "", *_table(report, "released"), ""]
    lines += ["## Strengths and edits that reach the distance", "", *_reached(report), ""]
    lines += ["## One edit after the other (Fig. 5)", "", *_sequence(report["sequence"]), ""]
    if "twice" in report:
        lines += ["## Two directions for one part (Fig. 3)", "", *_twice(report["twice"]), ""]
    if "seconds" in training:
        count, processor = len(training["parts"]), report["environment"]["processor"]
        lines += [f"Time: {training['seconds']:.0f} s for {count} directions at once on {processor}.", ""]
    sheets = "`PART.jpg` (two samples, rows: methods, columns: distances), `sequence.jpg`, `twice.jpg`"
    return "\n".join([*lines, f"Sheets: {sheets}.", ""])


def share(report: dict[str, Any], part: str, method: str, distance: float, key: str = "share") -> float:
    """A mean, NaN where too few edits reach the distance."""
    row = report["parts"][part][method][str(distance)]
    return row[key][0] if row[key] and row["reached"] >= _MOST else float("nan")


def claims(report: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """What the paper says, what was measured, whether it holds."""
    distances, parts = report["plan"]["distances"], list(report["parts"])
    small, large = distances[:2], distances[-2:]
    local = {d: [part for part in parts if share(report, part, OURS, d) >= _ENOUGH] for d in small}
    won = []
    for part in parts:
        ours = [share(report, part, OURS, d) for d in large]
        rivals = [np.nanmax([share(report, part, name, d) for name in METHODS[1:]] + [0.0]) for d in large]
        won += [part] * bool(np.all(np.asarray(ours) > rivals))
    first = {part: scores["score_at_first"] for part, scores in report["training"]["parts"].items()}
    last = {part: scores["score"] for part, scores in report["training"]["parts"].items()}
    better = [part for part in parts if last[part] > first[part]]
    sequence = report["sequence"]
    kept, alike = (np.mean([*sequence[key].values()] or [1.0]) for key in ("kept", "consistency"))
    found = [
        (
            f"edits stay inside the part (here: {_ENOUGH:.0%} of the squared change)",
            "; ".join(f"d = {d:g}: {', '.join(local[d]) or 'none'}" for d in small),
            len(local[small[0]]) >= min(6, len(parts)),
        ),
        (
            f"at larger distances (d = {large[0]:g} and {large[1]:g}) it is more local than first-order methods",
            f"than both for {len(won)} of {len(parts)} parts: {', '.join(won) or 'none'}",
            len(won) > len(parts) / 2,
        ),
        ("the optimisation raises the score", f"for {len(better)} of {len(parts)} parts", len(better) == len(parts)),
        (
            "edits can be made one after the other, in any order, without undoing each other",
            f"turned round: {sequence['order_matters']:.1e} at most; {kept:.0%} of a change kept",
            sequence["order_matters"] < 1e-3 and kept > 0.9,
        ),
        ("an edit means the same for all samples", f"cosine of its effects to their mean {alike:.2f}", alike > 0.7),
    ]
    if "twice" in report:
        pair, alone = (report["twice"]["weights"][str(weight)] for weight in (CHOSEN, 0.0))
        found.append(
            (
                "two directions for one part are perpendicular, mean different things and stay in it",
                f"cosine {pair['directions']:+.2f} (without R {alone['directions']:+.2f}), correlation of the effects"
                f" {pair['effects']:.2f} ({alone['effects']:.2f}), inside {min(pair['share']):.2f} at least"
                f" ({min(alone['share']):.2f})",
                abs(pair["directions"]) < _DISTINCT and pair["effects"] < 0.5 and min(pair["share"]) >= _ENOUGH,
            )
        )
    return found


def _table(report: dict[str, Any], key: str) -> list[str]:
    distances = report["plan"]["distances"]
    rows = []
    for part, methods in report["parts"].items():
        best = {d: np.nanmax([share(report, part, name, d, key) for name in METHODS] + [0.0]) for d in distances}
        for name in METHODS:
            cells = []
            for d in distances:
                row = methods[name][str(d)]
                value = share(report, part, name, d, key)
                text = "-" if np.isnan(value) else f"{value:.3f} ± {row[key][1]:.3f}"
                cells.append(f"**{text}**" if value == best[d] else text)
            rows.append([part if name == OURS else "", name, *cells])
    return table(["part", "method", *(f"d = {d:g}" for d in distances)], rows)


def _reached(report: dict[str, Any]) -> list[str]:
    distances = report["plan"]["distances"]
    rows = []
    for part, methods in report["parts"].items():
        for name in METHODS:
            found = [methods[name][str(d)] for d in distances]
            cells = [f"{row['strength'][0]:.0f} ({row['reached']:.0%})" if row["strength"] else "-" for row in found]
            detail = f"{name}, {methods['chosen'][name]}" if name in methods["chosen"] else name
            rows.append([part if name == OURS else "", detail, *cells])
    return table(["part", "method", *(f"d = {d:g}" for d in distances)], rows)


def _sequence(found: dict[str, Any]) -> list[str]:
    rows = []
    for part, strength in found["strengths"].items():
        kept = f"{found['kept'][part]:.2f}" if part in found["kept"] else ""
        rows.append(
            [part, f"{strength:.1f}", f"{found['inside'][part]:.2f}", kept, f"{found['consistency'][part]:.2f}"]
        )
    return table(["edit", "strength", "share inside", "kept by later edits", "consistency over samples"], rows)


def _twice(found: dict[str, Any]) -> list[str]:
    rows = []
    for weight, row in found["weights"].items():
        shares = " and ".join(f"{value:.2f}" for value in row["share"])
        rows.append([found["part"], weight, f"{row['directions']:+.3f}", f"{row['effects']:.3f}", shares])
    heading = ["part", "weight c of R", "cosine of the directions", "correlation of the effects", "shares inside"]
    remark = (
        f"A weight of {WEIGHTS[0]:g} is as strong as in the released code. R is an absolute value, whose gradient does"
        " not become smaller near its optimum, and Adam takes steps of equal length: with this learning rate the"
        " directions that it keeps apart end less local than without it, whatever its weight."
    )
    return [*table(heading, rows), "", remark]
