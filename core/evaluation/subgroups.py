"""The same figures for groups of patients and images, and how far apart the groups are."""

from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from core.diagnoses import BY_CODE, CODES, FEW
from core.evaluation.bootstrap import Figure, difference, mean_of
from core.evaluation.groups import NAMES, members
from core.evaluation.metrics import sensitivities, top_ece

SHARED = 10  # images of a diagnosis that two groups need to be compared on it
ECE_IMAGES = 100  # below that, calibration error is mostly chance
PROXY = (
    "Skin tone is a proxy: the individual typology angle (ITA) of the skin around the lesion in the picture. It "
    "depends on light, camera and tan, and says nothing of a person's origin."
)
MEASURES = {
    "balanced_accuracy": "Balanced accuracy",
    "melanoma_sensitivity": "Melanoma sensitivity",
    "ece": "Calibration error",
}


def subgroup_figures(
    table: pd.DataFrame, probabilities: np.ndarray, lesions: np.ndarray, seed: int = 0
) -> dict[str, Any]:
    """Figures of each group, and the largest gaps between two groups of one kind.

    Balanced accuracy depends on which diagnoses a group holds, so two groups are compared on the diagnoses of which
    both have `SHARED` images, `FEW` in all, and only on those. With many pairs, some gap is large by chance: `clear`
    says that this one is not, at 5 % over all pairs of its measure (Bonferroni).

    Args:
        table: n rows: dx, predicted (codes), and any of sex, age (years), localization, dx_type, ita (degrees); what is
            unknown is empty or NaN.
        probabilities: (n, 7).
        lesions: (n,) lesion of each image.
        seed: of the bootstrap.

    Returns:
        n, few (`FEW`) and proxy (a sentence on skin tone);
        groups: column -> group -> n, n_lesions, few (whether n is below `FEW`), diagnoses (how many occur),
        balanced_accuracy, melanoma_sensitivity (with n, the melanomas, and few) and ece, each with value, low, high;
        gaps: column -> measure -> by (column), measure, better and worse (groups), n_better and n_worse (images
        compared), gap (value, low, high; 0 to 1), on (codes compared; of balanced accuracy alone), compared (pairs of
        this measure) and clear; without the measures that no two groups have enough images for;
        largest_gap and largest_patient_gap: the largest clear one of them, else the largest, of all and without the way
        of confirmation, which is no property of a patient; None without any.
    """
    labels = table["dx"].map(CODES.index).to_numpy()
    answers = table["predicted"].map(CODES.index).to_numpy()
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    pairs: list[dict[str, Any]] = []
    for by, rows_of in members(table).items():
        compared = []
        for group, rows in rows_of.items():
            found = sensitivities(labels[rows], answers[rows], lesions[rows], seed)
            counts = dict(zip(CODES, np.bincount(labels[rows], minlength=len(CODES)).tolist(), strict=True))
            figures = {
                "n": len(rows),
                "n_lesions": len(np.unique(lesions[rows])),
                "few": len(rows) < FEW,
                "diagnoses": sum(n > 0 for n in counts.values()),
                "balanced_accuracy": mean_of(list(found.values())),
                "melanoma_sensitivity": {"n": counts["mel"], "few": counts["mel"] < FEW, **found["mel"]},
                "ece": top_ece(labels[rows], probabilities[rows], lesions[rows], seed),
            }
            groups.setdefault(by, {})[group] = figures
            compared.append(_Group(by, group, figures, found, counts))
        for one, other in combinations([group for group in compared if not group.figures["few"]], 2):
            pairs += _pairs(one, other)
    gaps = _largest_of_each(pairs)
    return {
        "n": len(table),
        "few": FEW,
        "proxy": PROXY,
        "groups": groups,
        "gaps": gaps,
        "largest_gap": _largest([gap for of_by in gaps.values() for gap in of_by.values()]),
        "largest_patient_gap": _largest(
            [gap for by, of_by in gaps.items() for gap in of_by.values() if by != "dx_type"]
        ),
    }


def gap_in_words(gap: dict[str, Any]) -> str:
    """A gap as a sentence for people; figures in per cent points."""
    points, low, high = (round(100 * gap["gap"][name]) for name in ("value", "low", "high"))
    names = [BY_CODE[code].name[0].lower() + BY_CODE[code].name[1:] for code in gap.get("on", ())]
    on = f", compared on {', '.join(names)}" if names else ""
    verdict = (
        "chance does not explain it"
        if gap["clear"]
        else f"among {gap['compared']} pairs of groups, chance alone could make one this large"
    )
    return (
        f"{MEASURES[gap['measure']]} by {NAMES[gap['by']]}: {points} point{'' if points == 1 else 's'} "
        f"(95 % interval {low} to {high}) better for {gap['better'].replace('_', ' ')} "
        f"({gap['n_better']:,} images) than for {gap['worse'].replace('_', ' ')} ({gap['n_worse']:,}){on}; {verdict}."
    )


@dataclass(frozen=True, eq=False)
class _Group:
    """What two groups are compared by: the figures of one, its sensitivities and images of each diagnosis."""

    by: str
    name: str
    figures: dict[str, Any]
    sensitivities: dict[str, Figure]
    counts: dict[str, int]


def _pairs(one: _Group, other: _Group) -> list[dict[str, Any]]:
    """Two groups by each measure for which both have enough images."""
    pairs = []
    on = [code for code in CODES if min(one.counts[code], other.counts[code]) >= SHARED]
    n = [sum(group.counts[code] for code in on) for group in (one, other)]
    if min(n) >= FEW:
        figures = [mean_of([group.sensitivities[code] for code in on]) for group in (one, other)]
        pairs.append(_pair("balanced_accuracy", one, other, figures, n) | {"on": on})
    found = [group.figures["melanoma_sensitivity"] for group in (one, other)]
    if not any(figure["few"] for figure in found):
        pairs.append(_pair("melanoma_sensitivity", one, other, found, [figure["n"] for figure in found]))
    n = [one.figures["n"], other.figures["n"]]
    if min(n) >= ECE_IMAGES:
        pairs.append(_pair("ece", one, other, [one.figures["ece"], other.figures["ece"]], n))
    return pairs


def _pair(measure: str, one: _Group, other: _Group, figures: list[Figure], n: list[int]) -> dict[str, Any]:
    high, low = (0, 1) if figures[0]["value"] >= figures[1]["value"] else (1, 0)
    better, worse = (low, high) if measure == "ece" else (high, low)
    names = (one.name, other.name)
    return {
        "by": one.by,
        "measure": measure,
        "better": names[better],
        "worse": names[worse],
        "n_better": n[better],
        "n_worse": n[worse],
        "gap": difference(figures[high], figures[low]),
    }


def _largest_of_each(pairs: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Column -> measure -> the largest gap."""
    gaps: dict[str, dict[str, dict[str, Any]]] = {}
    for measure in MEASURES:
        some = [pair for pair in pairs if pair["measure"] == measure]
        for pair in some:
            gap = pair["gap"]
            # half-widths of one 95 % interval to those of all pairs together
            beyond = NormalDist().inv_cdf(1 - 0.025 / len(some)) / NormalDist().inv_cdf(0.975)
            pair |= {"compared": len(some), "clear": bool(gap["value"] > beyond * (gap["value"] - gap["low"]))}
        for by in dict.fromkeys(pair["by"] for pair in some):
            largest = _largest([pair for pair in some if pair["by"] == by])
            if largest is not None:
                gaps.setdefault(by, {})[measure] = largest
    return gaps


def _largest(pairs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The largest gap that chance does not explain, else the largest."""
    return max(pairs, key=lambda pair: (pair["clear"], pair["gap"]["value"]), default=None)
