"""The tables of the reproduction of Style Intervention as markdown, and its claims as true or false."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_OURS, _JOINT = "Style Intervention", "Style Intervention, joint"
_TABLE_4 = ("Z", "W", "W+", "S", "InterFaceGAN", "StyleSpace", _OURS, _JOINT)
_TABLE_3 = ("Style Intervention in W", "Style Intervention in W+", _OURS)
_FIGURE_9 = ("Z", _OURS, "without L_pix", "without L_attr", "without L_norm")
_COLUMNS = ("mse", "ssim", "id", "change", "others")


def as_markdown(report: dict[str, Any], attributes: Sequence[str], ablated: Sequence[str]) -> str:
    """All tables, the claims, and what the columns mean."""
    found = report["attributes"]
    lines = [
        "# Style Intervention on avatars",
        "",
        f"{report['samples']} generated images for each attribute that do not have it, moved {report['step']:g} "
        "standard deviations along the Z normal; edits in other spaces go as far as that step takes the code there. "
        "Changes are judged by a classifier that no method sees. MSE: mean squared change outside the attribute's "
        "region (dilated), images in [-1, 1]. ID: cosine of identity embeddings. Change: of the attribute's "
        "probability; others: mean absolute change of the other eleven.",
        "",
        "## Claims",
        "",
        "| the paper says | here | holds |",
        "|---|---|---|",
        *(
            f"| {text} | {numbers} | {'yes' if holds else 'no'} |"
            for text, numbers, holds in claims(report, attributes, ablated)
        ),
        "",
        "## Table II: boundaries in S",
        "",
        "| attribute | train | validate | zeros |",
        "|---|---|---|---|",
    ]
    for name, row in report["table_2"].items():
        lines.append(
            f"| {name} | {100 * row['train']:.2f} | {100 * row['validate']:.2f} | {100 * row['sparsity']:.2f} |"
        )
    lines += ["", "## Figure 7: MSE outside the region against the step", ""]
    lines += _table(["space", *(f"{step:.2f}" for step in report["steps_of_figure_7"])], _figure_7(found, attributes))
    lines += ["", "## Table III: the method in other spaces", "", *_methods(found, attributes, _TABLE_3)]
    lines += ["", "## Table IV, mean of the attributes", "", *_methods(found, attributes, _TABLE_4)]
    for attribute in attributes:
        lines += ["", f"## Table IV: {attribute}", "", *_methods(found, [attribute], _TABLE_4)]
    lines += ["", f"## Figure 9: loss terms ({', '.join(ablated)})", "", *_methods(found, ablated, _FIGURE_9)]
    lines += ["", "## Table VI: time", "", "Seconds per image in batches of 50, compilation apart.", ""]
    timed = [name for name in (*_TABLE_3, _JOINT) if "seconds_per_image" in found[attributes[0]]["methods"][name]]
    rows = [[name, *(_mean(found, attributes, name, key) for key in ("seconds_per_image", "steps"))] for name in timed]
    lines += _table(["method", "seconds", "steps"], [[name, f"{s:.3f}", f"{n:.1f}"] for name, s, n in rows])
    rows_of = ", ".join(found[attributes[0]]["rows"])
    lines += ["", f"Sheets: one per attribute; rows: {rows_of}."]
    return "\n".join(lines) + "\n"


def claims(report: dict[str, Any], attributes: Sequence[str], ablated: Sequence[str]) -> list[tuple[str, str, bool]]:
    """What the paper claims, the numbers here, and whether they agree."""
    found = report["attributes"]

    def mean(name: str, key: str, among: Sequence[str] = attributes) -> float:
        return _mean(found, among, name, key)

    accuracy = np.mean([row["validate"] for row in report["table_2"].values()])
    zeros = min(row["sparsity"] for row in report["table_2"].values())
    last = {row[0]: float(row[-1]) for row in _figure_7(found, attributes)}
    table_3 = {key: [mean(name, key) for name in _TABLE_3] for key in ("mse", "ssim", "id")}
    others = [name for name in _TABLE_4 if name not in (_OURS, _JOINT)]
    best = {"mse": min(mean(n, "mse") for n in others), "ssim": max(mean(n, "ssim") for n in others)}
    best["id"] = max(mean(n, "id") for n in others)
    ours = {key: mean(_OURS, key) for key in _COLUMNS}
    ablation = {name: {key: mean(name, key, ablated) for key in _COLUMNS} for name in _FIGURE_9}
    return [
        (
            "All attributes are almost linearly separable in S with 93 % zeros or more (Table II)",
            f"validation {100 * accuracy:.1f} % on average, zeros at least {100 * zeros:.1f} %",
            bool(accuracy > 0.85 and zeros >= 0.93),
        ),
        (
            "Interpolation in S changes least outside the region, in Z most (Fig. 7)",
            ", ".join(f"{space} {value:.4f}" for space, value in last.items()),
            last["S"] == min(last.values()) and last["Z"] == max(last.values()),
        ),
        (
            "The method works better in S than in W+ and W (Table III)",
            "; ".join(f"{key} {' / '.join(f'{v:.3f}' for v in values)}" for key, values in table_3.items()),
            table_3["mse"][2] == min(table_3["mse"])
            and all(table_3[key][2] == max(table_3[key]) for key in ("ssim", "id")),
        ),
        (
            "It changes less outside than interpolation, InterFaceGAN and StyleSpace (Table IV, MSE)",
            f"{ours['mse']:.4f}, best other {best['mse']:.4f}",
            ours["mse"] <= best["mse"],
        ),
        (
            "It keeps more structure than they do (Table IV, SSIM)",
            f"{ours['ssim']:.3f}, best other {best['ssim']:.3f}",
            ours["ssim"] >= best["ssim"],
        ),
        (
            "It keeps identity better than they do (Table IV, ID)",
            f"{ours['id']:.3f}, best other {best['id']:.3f}",
            ours["id"] >= best["id"],
        ),
        (
            "Without L_pix changes are entangled (Fig. 9)",
            f"MSE {ablation['without L_pix']['mse']:.4f}, with it {ablation[_OURS]['mse']:.4f}",
            ablation["without L_pix"]["mse"] > 1.5 * ablation[_OURS]["mse"],
        ),
        (
            "Without L_attr the attribute changes less (Fig. 9)",
            f"change {ablation['without L_attr']['change']:.3f}, with it {ablation[_OURS]['change']:.3f}",
            ablation["without L_attr"]["change"] < ablation[_OURS]["change"],
        ),
        (
            "Without L_norm results are less natural (Fig. 9)",
            f"ID {ablation['without L_norm']['id']:.4f}, with it {ablation[_OURS]['id']:.4f}",
            ablation["without L_norm"]["id"] < ablation[_OURS]["id"] - 1e-3,
        ),
    ]


def _mean(found: dict[str, Any], attributes: Sequence[str], name: str, key: str) -> float:
    return float(np.mean([found[attribute]["methods"][name][key] for attribute in attributes]))


def _figure_7(found: dict[str, Any], attributes: Sequence[str]) -> list[list[str]]:
    curves = {space: [found[a]["figure_7"][space] for a in attributes] for space in found[attributes[0]]["figure_7"]}
    return [[space, *(f"{value:.4f}" for value in np.mean(rows, axis=0))] for space, rows in curves.items()]


def _methods(found: dict[str, Any], attributes: Sequence[str], names: Sequence[str]) -> list[str]:
    formats = {"mse": ".4f", "ssim": ".3f", "id": ".3f", "change": "+.3f", "others": ".3f"}
    rows = [[name, *(format(_mean(found, attributes, name, key), formats[key]) for key in _COLUMNS)] for name in names]
    return _table(["method", "MSE", "SSIM", "ID", "change", "others"], rows)


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heading, ["---"] * len(heading), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
