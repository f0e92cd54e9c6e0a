"""Two runs on the same images: what one repairs and breaks, and whether its figures are better beyond chance."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from core.diagnoses import CODES
from core.evaluation.bootstrap import Figure, Z, lesion_bootstrap, ratio
from core.evaluation.metrics import MELANOMA, evaluate, resampled_macro_auc

MEASURES = {"balanced_accuracy": "Balanced accuracy", "melanoma_sensitivity": "Melanoma sensitivity"}


@dataclass(frozen=True, eq=False)
class Comparison:
    """What changes from one run to another, on images that neither learned from.

    Attributes:
        table: image_id, dx, before and after (what the runs said), of each image.
        repaired, broken: (n,) bool: wrong before and right after, and the other way.
        p_value: of McNemar's exact test (McNemar, Psychometrika 12, 1947) on the numbers of these two, over one image
            of each lesion: images of one lesion are not independent.
        differences: measure of `MEASURES` -> after less before, with its 95 % interval over lesions, from both runs'
            answers on the same resamples. NaN where the images hold none of the diagnosis.
    """

    table: pd.DataFrame
    repaired: np.ndarray
    broken: np.ndarray
    p_value: float
    differences: dict[str, Figure]


def compare(before: pd.DataFrame, after: pd.DataFrame, seed: int = 0) -> Comparison:
    """Compare two runs' answers to the same images.

    Args:
        before, after: image_id, lesion_id, dx, predicted; images of only one of them are left out.
        seed: of the resamples.
    """
    answers = after[["image_id", "predicted"]].rename(columns={"predicted": "after"})
    table = before.rename(columns={"predicted": "before"}).merge(answers, on="image_id").reset_index(drop=True)
    rights = [(table[name] == table["dx"]).to_numpy() for name in ("before", "after")]
    repaired, broken = ~rights[0] & rights[1], rights[0] & ~rights[1]
    single = ~table["lesion_id"].duplicated().to_numpy()
    changed = int((single & repaired).sum()), int((single & broken).sum())
    return Comparison(
        table[["image_id", "dx", "before", "after"]],
        repaired,
        broken,
        float(binomtest(changed[0], sum(changed)).pvalue) if sum(changed) else 1.0,
        _differences(table, rights, seed),
    )


@dataclass(frozen=True, eq=False)
class Answers:
    """What is said of n images.

    Attributes:
        probabilities: (n, 7), calibrated.
        predicted: (n,) indices into `CODES`.
    """

    probabilities: np.ndarray
    predicted: np.ndarray


def beside(labels: np.ndarray, before: Answers, after: Answers, lesions: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """The figures before, and what was won since, on the same images.

    Args:
        labels: (n,) indices into `CODES`.
        before, after: what was said of the images.
        lesions: (n,) lesion of each image.
        seed: of the resamples.

    Returns:
        balanced_accuracy, macro_auc and melanoma_sensitivity before; difference: the same, after less before. Each
        with value, low and high.
    """
    figures = evaluate(labels, before.probabilities, lesions, seed, before.predicted)
    table = pd.DataFrame({"dx": np.array(CODES)[labels], "lesion_id": lesions})
    differences = _differences(table, [each.predicted == labels for each in (before, after)], seed)
    weights = np.column_stack([np.ones(len(labels)), lesion_bootstrap(lesions, seed).weights])
    old, new = (resampled_macro_auc(labels, each.probabilities, weights) for each in (before, after))
    differences["macro_auc"] = _figure(new[0] - old[0], new[1:] - old[1:])
    return {name: figures[name] for name in differences} | {"difference": differences}


def _differences(table: pd.DataFrame, rights: list[np.ndarray], seed: int) -> dict[str, Figure]:
    labels = table["dx"].map(CODES.index).to_numpy(int)
    present = np.unique(labels)
    found = {name: {"value": np.nan, "low": np.nan, "high": np.nan} for name in MEASURES}
    if not len(present):
        return found
    of_class = np.eye(len(CODES))[labels][:, present]
    columns = np.concatenate([of_class, *(of_class * right[:, None] for right in rights)], axis=1)
    drawn = lesion_bootstrap(table["lesion_id"].to_numpy(), seed).totals(columns).reshape(3, len(present), -1)
    totals = columns.sum(axis=0).reshape(3, len(present))
    gains = (totals[2] - totals[1]) / totals[0]
    resampled = ratio(drawn[2] - drawn[1], drawn[0])
    found["balanced_accuracy"] = _figure(gains.mean(), np.nanmean(resampled, axis=0))
    for place in np.flatnonzero(present == MELANOMA):
        found["melanoma_sensitivity"] = _figure(gains[place], resampled[place])
    return found


def _figure(value: float, resampled: np.ndarray) -> Figure:
    """A normal interval with the spread of the resamples."""
    spread = float(Z * np.nanstd(resampled))
    return {"value": float(value), "low": float(value) - spread, "high": float(value) + spread}
