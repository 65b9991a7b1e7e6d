"""The tables of the reproduction of Style Intervention as markdown, and its claims as true or false."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.reproduce.tables import table

OURS, JOINT, SHORTER = "Style Intervention", "Style Intervention, joint", "Style Intervention, shorter s_n"
IN_W, IN_W_PLUS = "Style Intervention in W", "Style Intervention in W+"
_BASELINES = ("Z", "W", "W+", "S", "InterFaceGAN", "StyleSpace")
_TABLE_3 = (IN_W, IN_W_PLUS, OURS)
_AS_THEY_ARE = tuple(f"{name}, strength 1" for name in (IN_W, IN_W_PLUS, JOINT))
_TABLE_4 = (*_BASELINES, OURS, JOINT)
_FIGURE_9 = (OURS, "without L_pix", "without L_attr", "without L_norm")
_COLUMNS = {
    "strength": ".2f",
    "mse": ".4f",
    "ssim": ".3f",
    "id": ".3f",
    "ssim_outside": ".3f",
    "id_outside": ".3f",
    "change": "+.3f",
    "others": ".3f",
}
_HEADINGS = ("method", "strength", "MSE", "SSIM", "ID", "SSIM outside", "ID outside", "change", "others")
_REACHED = 0.95  # of the change that is asked for
_NOTICED = 0.002  # less is no difference of ID
_PAPER = {
    "Z": ((0.121, 0.51, 75.78), (0.053, 0.61, 86.60), (0.078, 0.59, 83.81), (0.095, 0.61, 92.83)),
    "W": ((0.064, 0.60, 79.17), (0.044, 0.64, 80.89), (0.042, 0.64, 90.65), (0.072, 0.59, 84.06)),
    "W+": ((0.062, 0.61, 79.82), (0.040, 0.64, 85.10), (0.039, 0.66, 92.78), (0.064, 0.65, 89.64)),
    "InterFaceGAN": ((0.142, 0.55, 77.83), (0.046, 0.63, 89.73), (0.046, 0.64, 93.67), (0.053, 0.62, 93.05)),
    "StyleSpace": ((0.059, 0.60, 80.44), (0.010, 0.72, 96.36), (0.012, 0.66, 92.37), (0.025, 0.62, 90.25)),
    OURS: ((0.053, 0.61, 80.47), (0.015, 0.66, 89.37), (0.008, 0.72, 94.99), (0.022, 0.71, 95.21)),
}  # Table IV: MSE, SSIM, ID
_PAPERS_ATTRIBUTES = ("gender", "age", "eyeglasses", "smile")
_INTRODUCTION = """\
{samples} generated images for each attribute that do not have it. Strength 1 is a step of {deviations:g} standard
deviations along the normal in Z, in other spaces as far as that step takes the code there, and for StyleSpace one
standard deviation of the channel. **Methods are compared at equal measured change**: Style Intervention has strength 1,
the strength of every other is searched for which the mean change of the attribute is the same; a dagger marks those
that reach less at all doublings from 0.25 to 8 (StyleSpace: 64). Variants of Style Intervention are optimised at
strength 1 and what they found is scaled. Changes are judged {judging};
these also choose the condition of InterFaceGAN and, among ten, the channel of StyleSpace, which on faces may act in any
region.

MSE: mean squared change outside the attribute's region (dilated), images in [-1, 1]. SSIM: of the whole image. ID:
cosine of identity embeddings; of two different samples it is {strangers:.3f} on average. SSIM and ID outside: of the
edit whose region is as before. Change: of the attribute's probability; others: mean absolute change of the other
{others}. The numbers behind ± are half of the 95 % confidence interval of the mean over the images.
"""
_JUDGING = {
    "avatars": "by a classifier that labels nothing the directions are fitted to",
    "faces": "by the networks that labelled what the directions are fitted to (age by its place among random samples)",
}

_EXPLANATION = """\
For how many attributes it is at least as good as interpolation in S, the strongest rival, at the same change of the
attribute (each row has its own). Of these reasons for losing those below were tested:

* Algorithm 1 goes from layer to layer, and early ones decide before later ones can help. *All layers at once* has the
  same loss over all coefficients.
* Its line 2 makes s_n as long as s_z, which can be much more than the attribute takes. *Shorter s_n* is only as long as
  s_z reaches along it, so the attribute changes less.
* The loss asks nothing of the region itself, which SSIM and ID see too. *Outside the region only* compares edits whose
  region is as before.
* Codes of S and W+ can leave the faces of training, those of W hardly. *In W* and *in W+* compare the method there with
  interpolation in the same space.
"""


def as_markdown(report: dict[str, Any], attributes: Sequence[str], ablated: Sequence[str]) -> str:
    """All tables that were measured, the claims, and what the columns mean."""
    found = report["attributes"]
    introduction = _INTRODUCTION.format(judging=_JUDGING[report["world"]], **report)
    lines = [f"# Style Intervention on {report['world']}", "", introduction, "## Claims", ""]
    rows = [[text, numbers, "yes" if holds else "no"] for text, numbers, holds in claims(report, attributes, ablated)]
    lines += [*table(["the paper says", "here", "holds"], rows), "", "## Does it keep the identity better?", ""]
    lines += _identity(found, attributes)
    lines += ["", "## Where it is not the best, and why", "", _EXPLANATION, *_tested(found, attributes), ""]
    lines += _boundaries_and_curves(report, attributes)
    if _measured(found, attributes, _TABLE_3):
        lines += ["## Table III: the method in other spaces", ""]
        lines += [*_methods(found, attributes, (*_TABLE_3, *_AS_THEY_ARE)), ""]
    lines += ["## Table IV: mean of the attributes", "", *_methods(found, attributes, _TABLE_4)]
    for attribute in attributes:
        lines += ["", f"## Table IV: {attribute}", "", *_methods(found, [attribute], _TABLE_4)]
    lines += ["", "## Table IV beside the paper's", "", *_beside_paper(found, attributes)]
    if ablated:
        lines += ["", f"## Figure 9: loss terms ({', '.join(ablated)})", "", *_methods(found, ablated, _FIGURE_9)]
    if "table_6" in report:
        lines += _cost(report)
    lines += ["", "## Sheets", ""]
    for attribute, row in found.items():
        drawn = (name for name in row["methods"] if "strength 1" not in name)
        lines += [f"* `{attribute}.jpg`, rows: original, {', '.join(drawn)}"]
    return "\n".join(lines) + "\n"


def _boundaries_and_curves(report: dict[str, Any], attributes: Sequence[str]) -> list[str]:
    """Table II and Figure 7."""
    rows = [
        [name, *(f"{100 * row[key]:.2f}" for key in ("train", "validate", "majority", "sparsity"))]
        for name, row in report["table_2"].items()
    ]
    heading = ["attribute", "train %", "validate %", "more frequent label %", "zeros %"]
    lines = ["## Table II: boundaries in S", "", *table(heading, rows), ""]
    curves = _figure_7(report["attributes"], attributes)
    rows = [[space, *(f"{value:.4f}" for value in values)] for space, values in curves.items()]
    heading = ["space", *(f"{strength:g}" for strength in report["strengths_of_figure_7"])]
    return [*lines, "## Figure 7: MSE outside the region against the strength", "", *table(heading, rows), ""]


def _identity(found: dict[str, Any], attributes: Sequence[str]) -> list[str]:
    """By how much the identity score of the method is higher than that of each other at the same change, in pairs."""
    rows = []
    for name in (*_BASELINES, JOINT):
        row = [name]
        for attribute in attributes:
            methods = found[attribute]["methods"]
            mean, half = methods[name]["to_ours"]["id"]
            row.append(f"{mean:+.4f} ± {half:.4f}" + ("" if _reached(methods, name) else " †"))
        rows.append(row)
    return [f"ID of {OURS} less that of", "", *table(["", *attributes], rows)]


def _beside_paper(found: dict[str, Any], attributes: Sequence[str]) -> list[str]:
    """The paper's numbers: other images, an unknown scale of MSE, and as ID the confidence of a service in %."""
    rows = []
    for attribute in (name for name in attributes if name in _PAPERS_ATTRIBUTES):
        for name, printed in _PAPER.items():
            mse, ssim, identity = printed[_PAPERS_ATTRIBUTES.index(attribute)]
            here = found[attribute]["methods"][name]
            row = [attribute, name, f"{mse:.3f}", f"{here['mse']:.3f}", f"{ssim:.2f}", f"{here['ssim']:.2f}"]
            rows.append([*row, f"{identity:.2f}", f"{100 * here['id']:.2f}"])
    return table(["attribute", "method", "MSE, paper", "here", "SSIM, paper", "here", "ID, paper", "here"], rows)


def _cost(report: dict[str, Any]) -> list[str]:
    environment, costs = report["environment"], report["table_6"]
    lines = ["", "## Table VI: cost", "", f"{environment['processor']}, {environment['cores']} cores, 64 px.", ""]
    rows = [
        [name, f"{row['seconds']:.3f}", f"{row['batched']:.3f}" if "batched" in row else "", _mebibytes(row)]
        for name, row in costs.items()
    ]
    lines += table(["method", "seconds, one image", "seconds per image, batch of 48", "peak MiB, one image"], rows)
    never = costs[OURS]["never_shrunk"]
    return [*lines, "", f"{OURS} takes {never:.3f} seconds per image when batches are not shrunk to those that go on."]


def _measured(found: dict[str, Any], attributes: Sequence[str], names: Sequence[str]) -> bool:
    return all(name in found[attribute]["methods"] for attribute in attributes for name in names)


def claims(report: dict[str, Any], attributes: Sequence[str], ablated: Sequence[str]) -> list[tuple[str, str, bool]]:
    """What the paper claims, the numbers here, and whether they agree."""
    found = report["attributes"]
    accuracy = 100 * np.mean([row["validate"] for row in report["table_2"].values()])
    majority = 100 * np.mean([row["majority"] for row in report["table_2"].values()])
    zeros = 100 * min(row["sparsity"] for row in report["table_2"].values())
    curves = _figure_7(found, attributes)
    last = {space: values[-1] for space, values in curves.items()}
    listed = [
        (
            "attributes are almost linearly separable in S with 93 % zeros or more (Table II)",
            f"validation {accuracy:.1f} % on average (more frequent label: {majority:.1f} %), zeros {zeros:.1f} %",
            bool(accuracy >= 90 and zeros >= 93),  # the zeros were asked for
        ),
        (
            "interpolation in S changes least outside the region, in Z most (Fig. 7)",
            ", ".join(f"{space} {value:.4f}" for space, value in last.items()),
            last["S"] == min(last.values()) and last["Z"] == max(last.values()),
        ),
    ]
    for text, rivals in (
        ("the method works better in S than in W and W+ (Table III, {})", _TABLE_3[:2]),
        ("it is better than interpolation, InterFaceGAN and StyleSpace (Table IV, {})", _BASELINES),
    ):
        if _measured(found, attributes, rivals):
            listed += [
                (text.format(key.upper()), *_best(found, attributes, key, rivals)) for key in ("mse", "ssim", "id")
            ]
    return listed + (_ablations(found, ablated) if ablated else [])


def _ablations(found: dict[str, Any], ablated: Sequence[str]) -> list[tuple[str, str, bool]]:
    ablation = {name: {key: _mean(found, ablated, name, key) for key in _COLUMNS} for name in _FIGURE_9}
    whole, no_pixel, no_attribute, no_norm = (ablation[name] for name in _FIGURE_9)
    return [
        (
            "without L_pix changes are entangled (Fig. 9)",
            f"MSE {no_pixel['mse']:.4f}, with it {whole['mse']:.4f}",
            no_pixel["mse"] > whole["mse"],
        ),
        (
            "without L_attr the attribute changes less (Fig. 9)",
            f"change {no_attribute['change']:.3f}, with it {whole['change']:.3f}",
            no_attribute["change"] < whole["change"],
        ),
        (
            "without L_norm results are less natural (Fig. 9)",
            f"ID {no_norm['id']:.4f}, with it {whole['id']:.4f}",
            no_norm["id"] < whole["id"] - _NOTICED,
        ),
    ]


def _tested(found: dict[str, Any], attributes: Sequence[str]) -> list[str]:
    """The table of what was tested as a reason for losing."""
    chosen = {name: found[name] for name in attributes}
    published = {name: (row["methods"][OURS], row["methods"]["S"]) for name, row in chosen.items()}
    everything = [("as published", published, ""), ("outside the region only", published, "_outside")]
    for text, name in (("all layers at once", JOINT), ("shorter s_n", SHORTER)):
        if all(name in row["tested"] for row in chosen.values()):
            everything.append((text, {key: row["tested"][name] for key, row in chosen.items()}, ""))
    for text, name, plain in (("in W", IN_W, "W"), ("in W+", IN_W_PLUS, "W+")):
        if _measured(found, attributes, (name,)):
            pairs = {key: (row["methods"][name], row["methods"][plain]) for key, row in chosen.items()}
            everything.append((text, pairs, ""))
    rows = []
    for text, pairs, where in everything:
        keys = {"mse": -1, f"ssim{where}": 1, f"id{where}": 1}
        rows.append([text, f"{np.mean([pairs[name][0]['change'] for name in attributes]):.3f}"])
        for key, sign in keys.items():
            lost = [name for name in attributes if sign * pairs[name][0][key] < sign * pairs[name][1][key]]
            rows[-1].append(", not ".join([f"{len(attributes) - len(lost)} of {len(attributes)}", *lost]))
    return table(["Style Intervention", "change", "MSE", "SSIM", "ID"], rows)


def _best(found: dict[str, Any], attributes: Sequence[str], key: str, rivals: Sequence[str]) -> tuple[str, bool]:
    """For how many attributes the method is as good as all rivals that reach its change, and whether for most."""
    sign = -1 if key == "mse" else 1
    won, lost, weak = 0, {}, {}
    for attribute in attributes:
        methods = found[attribute]["methods"]
        able = [name for name in rivals if _reached(methods, name)]
        weak |= {f"{name} for {attribute}": None for name in rivals if name not in able}
        best = max(able, key=lambda name: sign * methods[name][key], default=None)
        if best and sign * methods[best][key] > sign * methods[OURS][key]:
            lost[attribute] = best
        won += best is not None and attribute not in lost
    text = f"for {won} of {len(attributes)} attributes"
    if lost:
        text += f"; not {', '.join(f'{attribute} ({best} is)' for attribute, best in lost.items())}"
    if weak:
        text += f"; not counted, as they change too little: {', '.join(weak)}"
    return text, won > len(attributes) / 2


def _reached(methods: dict[str, Any], name: str) -> bool:
    return methods[name]["change"] >= _REACHED * methods[OURS]["change"]


def _mean(found: dict[str, Any], attributes: Sequence[str], name: str, key: str) -> float:
    return float(np.mean([found[attribute]["methods"][name][key] for attribute in attributes]))


def _figure_7(found: dict[str, Any], attributes: Sequence[str]) -> dict[str, np.ndarray]:
    return {
        space: np.mean([found[attribute]["figure_7"][space] for attribute in attributes], axis=0)
        for space in found[attributes[0]]["figure_7"]
    }


def _methods(found: dict[str, Any], attributes: Sequence[str], names: Sequence[str]) -> list[str]:
    rows = []
    for name in names:
        able = (
            "out L_" in name
            or "strength 1" in name
            or all(_reached(found[attribute]["methods"], name) for attribute in attributes)
        )
        numbers = [format(_mean(found, attributes, name, key), form) for key, form in _COLUMNS.items()]
        for place, key in ((1, "mse"), (2, "ssim"), (3, "id")):
            halves = [found[attribute]["methods"][name]["half"][key] for attribute in attributes]
            numbers[place] += f" ± {np.sqrt(np.square(halves).sum()) / len(halves):{_COLUMNS[key]}}"
        rows.append([name if able else f"{name} †", *numbers])
    return table(_HEADINGS, rows)


def _mebibytes(row: dict[str, float]) -> str:
    return f"{row['peak_bytes'] / 2**20:.0f}"
