"""Operating points: one question with two answers, a threshold, and what it would have meant."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from core.diagnoses import CODES, MALIGNANT
from core.evaluation.bootstrap import (
    Figure,
    LesionBootstrap,
    lesion_bootstrap,
    logit_interval,
    ratio,
    weighted_precision,
)
from core.evaluation.metrics import area

POINTS = {"melanoma": ("mel",), "malignant": MALIGNANT}


def score(probabilities: np.ndarray, positives: Sequence[str]) -> np.ndarray:
    """The probability of any of some diagnoses.

    Args:
        probabilities: (n, 7).
        positives: codes.

    Returns:
        (n,), 0 to 1.
    """
    return np.asarray(probabilities)[:, [CODES.index(code) for code in positives]].sum(axis=1)


def is_positive(labels: np.ndarray, positives: Sequence[str]) -> np.ndarray:
    """(n,) bool: whether the truth (n,), indices into `CODES`, is one of some diagnoses."""
    return np.isin(labels, [CODES.index(code) for code in positives])


def choose_threshold(positive: np.ndarray, scores: np.ndarray, target: float) -> float:
    """The highest threshold that promises a sensitivity.

    Of n positives, one more is drawn like them: it reaches the k-th highest score with a chance of k / (n + 1), so
    k is rounded up from target * (n + 1).

    Args:
        positive: (n,) bool, of the calibration split.
        scores: (n,).
        target: sensitivity, over 0 and at most 1.

    Returns:
        Halfway from the k-th highest positive score to the next lower one of any image, so that the last digit of a
        score does not decide. NaN without positives.
    """
    positive, scores = np.asarray(positive, bool), np.asarray(scores, float)
    found = np.sort(scores[positive])[::-1]
    if not found.size:
        return float("nan")
    reached = found[min(int(np.ceil(target * (found.size + 1) - 1e-9)), found.size) - 1]
    below = scores[scores < reached].max(initial=0.0 if reached > 0 else reached)
    return float((reached + below) / 2)


def point_figures(
    labels: np.ndarray,
    probabilities: np.ndarray,
    lesions: np.ndarray,
    positives: Sequence[str],
    threshold: float,
    seed: int = 0,
) -> dict[str, Any]:
    """What a threshold means: whoever reaches it is called positive.

    Args:
        labels: (n,) indices into `CODES`.
        probabilities: (n, 7).
        lesions: (n,) lesion of each image.
        positives: codes of the diagnoses that are looked for.
        threshold: of `score`.
        seed: of the bootstrap.

    Returns:
        positives, threshold, n, n_positive, prevalence, and with value, low and high: sensitivity, specificity, ppv,
        npv, auc and average_precision.
    """
    positive = is_positive(labels, positives)
    scores = score(probabilities, positives)
    figures = threshold_figures(positive, scores, lesions, threshold, seed)
    figures |= ranking_figures(positive, scores, lesions, seed)
    return {"positives": list(positives), "threshold": threshold, **figures}


def threshold_figures(
    positive: np.ndarray,
    scores: np.ndarray,
    lesions: np.ndarray,
    threshold: float,
    seed: int = 0,
    prevalence: float | None = None,
) -> dict[str, Any]:
    """The part of `point_figures` that depends on the threshold; positive (n,) bool, scores (n,)."""
    called = np.asarray(scores) >= threshold
    among = np.stack([positive, ~positive, called, ~called], axis=1)
    right = np.stack([called, ~called, positive, ~positive], axis=1)
    resamples = lesion_bootstrap(lesions, seed)
    figures = dict(zip(("sensitivity", "specificity", "ppv", "npv"), resamples.shares(right, among), strict=True))
    if prevalence is not None:
        figures |= _predictive_values(among, right, resamples, prevalence)
    return {
        "n": len(positive),
        "n_positive": int(positive.sum()),
        "prevalence": float(np.mean(positive)) if prevalence is None and len(positive) else prevalence,
        **figures,
    }


def ranking_figures(positive: np.ndarray, scores: np.ndarray, lesions: np.ndarray, seed: int = 0) -> dict[str, Figure]:
    """The part of `point_figures` that no threshold changes: auc and average_precision."""
    resamples = lesion_bootstrap(lesions, seed)
    auc = area(positive, scores, resamples)
    precision = float(average_precision_score(positive, scores)) if positive.any() else float("nan")
    if auc["value"] == precision == 1:  # all are told apart under every resample: nothing spreads
        return {"auc": auc, "average_precision": dict(auc)}
    resampled = weighted_precision(positive, scores, resamples.weights)
    return {"auc": auc, "average_precision": logit_interval(precision, resampled)}


def predictive_values(sensitivity: Any, specificity: Any, prevalence: Any) -> tuple[Any, Any]:
    """PPV and NPV by Bayes' theorem; arguments and results are numbers or arrays, 0 to 1, NaN where undefined."""
    sensitivity, specificity = np.asarray(sensitivity, float), np.asarray(specificity, float)
    found, alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    cleared, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    with np.errstate(invalid="ignore"):
        return found / (found + alarms), cleared / (cleared + missed)


def at_prevalence(probability: Any, here: float, there: float) -> np.ndarray:
    """What a probability that is right at one prevalence means at another (Saerens et al., Neural Computation 2002).

    Args:
        probability: number or array, 0 to 1.
        here: the prevalence where it was calibrated, 0 to 1.
        there: the other one.
    """
    probability = np.asarray(probability, float)
    if here == there or not 0 < here < 1:
        return probability
    ill, well = probability * there / here, (1 - probability) * (1 - there) / (1 - here)
    return ill / (ill + well)


def curves(
    positive: np.ndarray, scores: np.ndarray, prevalence: float | None = None, calibrated_at: float | None = None
) -> pd.DataFrame:
    """What every threshold would have meant.

    Args:
        positive: (n,) bool.
        scores: (n,) probabilities, so that the decision curve means something (Vickers and Elkin, "Decision Curve
            Analysis", Medical Decision Making 2006).
        prevalence: where predictive values and net benefit are to hold; by default that of these images, at which
            the scores are then taken as they are.
        calibrated_at: the prevalence at which the scores are right; by default that of these images.

    Returns:
        One row for each threshold, rising, from 0 to above the highest score: threshold, sensitivity, specificity, ppv,
        npv, called (how many images reach it), probability (what a score of that threshold means at the prevalence),
        net_benefit and net_benefit_all (that of calling every image positive; calling none has 0): true positives for
        each image, less false ones at the odds of the probability.
    """
    positive, scores = np.asarray(positive, bool), np.asarray(scores, float)
    thresholds = np.unique(np.r_[0.0, scores])
    thresholds = np.r_[thresholds, np.nextafter(thresholds[-1], np.inf)]
    found = positive.sum() - np.searchsorted(np.sort(scores[positive]), thresholds)
    alarms = (~positive).sum() - np.searchsorted(np.sort(scores[~positive]), thresholds)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, false_alarms = found / positive.sum(), alarms / (~positive).sum()
        share = positive.mean() if prevalence is None else prevalence
        ppv, npv = predictive_values(sensitivity, 1 - false_alarms, share)
        here = positive.mean() if calibrated_at is None or prevalence is None else calibrated_at
        meant = at_prevalence(thresholds, here, share)
        odds = np.where(meant < 1, meant / (1 - meant), np.nan)
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "sensitivity": sensitivity,
            "specificity": 1 - false_alarms,
            "ppv": ppv,
            "npv": npv,
            "called": found + alarms,
            "probability": meant,
            "net_benefit": sensitivity * share - false_alarms * (1 - share) * odds,
            "net_benefit_all": share - (1 - share) * odds,
        }
    )


def _predictive_values(
    among: np.ndarray, right: np.ndarray, resamples: LesionBootstrap, prevalence: float
) -> dict[str, Figure]:
    """ppv and npv at a prevalence; half an image is added to each cell, so that none is empty (Haldane)."""
    hits = (right & among)[:, :2]
    sensitivity, specificity = ratio(hits.sum(axis=0), among[:, :2].sum(axis=0))
    value = predictive_values(sensitivity, specificity, prevalence)
    both = resamples.totals(np.concatenate([hits, among[:, :2]], axis=1))
    sensitivity, specificity = (both[:2] + 0.5) / (both[2:] + 1)
    resampled = predictive_values(sensitivity, specificity, prevalence)
    return {name: logit_interval(float(v), r) for name, v, r in zip(("ppv", "npv"), value, resampled, strict=True)}
