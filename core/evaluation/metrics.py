"""Labels and probabilities to figures with 95 % confidence intervals, from a bootstrap over lesions."""

from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, roc_auc_score

from core.diagnoses import CODES, MALIGNANT
from core.evaluation.bootstrap import (
    Figure,
    LesionBootstrap,
    area_interval,
    distance_interval,
    lesion_bootstrap,
    mean_of,
    percentile_interval,
    ratio,
    weighted_auc,
)

NEVUS = CODES.index("nv")
MELANOMA = CODES.index("mel")
_MALIGNANT = [CODES.index(code) for code in MALIGNANT]
BINS = 15  # of the calibration error, as in Guo et al., 2017


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    lesions: np.ndarray,
    seed: int = 0,
    predicted: np.ndarray | None = None,
) -> dict[str, Any]:
    """Every figure of one set of images. A figure that cannot be computed is NaN.

    Args:
        labels: (n,) indices into `CODES`.
        probabilities: (n, 7).
        lesions: (n,) lesion of each image.
        seed: of the bootstrap.
        predicted: (n,) the answers, indices into `CODES`; by default the most probable diagnoses.

    Returns:
        n, balanced_accuracy, accuracy, macro_auc and melanoma_sensitivity (each with value, low and high; the last
        with n, the melanomas), always_nevus_accuracy, per_class (code -> n, sensitivity, specificity, precision,
        f1, auc) and confusion (labels, counts; true diagnoses in rows).
    """
    answers = probabilities.argmax(axis=1) if predicted is None else np.asarray(predicted)
    counts = confusion_matrix(labels, answers, labels=range(len(CODES)))
    resamples = lesion_bootstrap(lesions, seed)
    found = sensitivities(labels, answers, lesions, seed)
    positives = [labels == index for index in range(len(CODES))]
    areas = [area(positive, probabilities[:, index], resamples) for index, positive in enumerate(positives)]
    return {
        "n": len(labels),
        "balanced_accuracy": mean_of(list(found.values())),
        "accuracy": resamples.share(answers == labels),
        "macro_auc": mean_of(areas),
        "melanoma_sensitivity": {"n": int(counts[MELANOMA].sum()), **found["mel"]},
        "always_nevus_accuracy": float(np.mean(labels == NEVUS)),
        "per_class": {code: _per_class(counts, index, areas[index]["value"]) for index, code in enumerate(CODES)},
        "confusion": {"labels": list(CODES), "counts": counts.tolist()},
    }


def area(positive: np.ndarray, scores: np.ndarray, resamples: LesionBootstrap) -> Figure:
    """The area under the ROC curve with its interval; positive (n,) bool, scores (n,)."""
    rarer = min(resamples.lesions_among(positive), resamples.lesions_among(~positive))
    return area_interval(_auc(positive, scores), weighted_auc(positive, scores, resamples.weights), rarer)


def resampled_macro_auc(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(resamples,) macro AUC, one against the rest, under each resample; weights (n, resamples)."""
    aucs = [weighted_auc(labels == index, probabilities[:, index], weights) for index in range(len(CODES))]
    return _mean(np.stack(aucs).T)


def epoch_figures(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """accuracy, auc (macro, one against the rest) and balanced_accuracy, without intervals.

    Args:
        labels: (n,) indices into `CODES`.
        logits: (n, 7); probabilities do as well, but calibration changes nothing here.
    """
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    counts = confusion_matrix(labels, logits.argmax(axis=1), labels=range(len(CODES)))
    aucs = [_auc(labels == index, probabilities[:, index]) for index in range(len(CODES))]
    return {
        "accuracy": float(np.trace(counts) / counts.sum()),
        "auc": float(_mean(np.array(aucs))),
        "balanced_accuracy": float(balanced_accuracy(counts)),
    }


def balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    """The mean sensitivity of the diagnoses that occur.

    Args:
        counts: (..., 7, 7) confusion counts, true diagnoses in rows.

    Returns:
        (...), 0 to 1.
    """
    totals = counts.sum(axis=-1)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return _mean(ratio(hits, totals))


def sensitivities(labels: np.ndarray, answers: np.ndarray, lesions: np.ndarray, seed: int = 0) -> dict[str, Figure]:
    """Code -> sensitivity with its interval, NaN for a diagnosis that does not occur; labels and answers (n,)."""
    truth = np.asarray(labels)[:, None] == np.arange(len(CODES))
    right = truth & (np.asarray(answers) == labels)[:, None]
    return dict(zip(CODES, lesion_bootstrap(lesions, seed).shares(right, truth), strict=True))


def rate(hits: np.ndarray, lesions: np.ndarray, seed: int = 0) -> Figure:
    """The share of images of which something holds, with its interval.

    Args:
        hits: (n,) bool.
        lesions: (n,) lesion of each image.
        seed: of the bootstrap.
    """
    return lesion_bootstrap(lesions, seed).share(np.asarray(hits, bool))


def sensitivity_at_specificity(
    positive: np.ndarray, scores: np.ndarray, specificity: float, weights: np.ndarray
) -> np.ndarray:
    """The best sensitivity of any threshold whose specificity is at least the given one.

    Args:
        positive: (n,) bool.
        scores: (n,); an image counts as positive where its score reaches the threshold.
        specificity: 0 to 1.
        weights: (n, resamples), how often each image was drawn.

    Returns:
        (resamples,), 0 to 1; NaN without positives or without negatives.
    """
    order = np.argsort(-scores, kind="stable")
    scores, drawn, ill = scores[order], weights[order].astype(float), np.asarray(positive, bool)[order][:, None]
    false_alarms, found = np.cumsum(drawn * ~ill, axis=0), np.cumsum(drawn * ill, axis=0)
    threshold = np.append(scores[1:] != scores[:-1], True)[:, None]  # no threshold parts images of one score
    allowed = threshold & (false_alarms <= (1 - specificity + 1e-12) * false_alarms[-1])  # 0.95 of 20 is 19
    with np.errstate(invalid="ignore"):
        best = np.where(allowed, found, 0).max(axis=0) / found[-1]
    return np.where(false_alarms[-1] > 0, best, np.nan)


# ---- calibration -------------------------------------------------------------------------------


def calibration_figures(
    labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray, seed: int = 0, bins: int = BINS
) -> dict[str, Any]:
    """How far the probabilities mean what they say.

    Args:
        labels: (n,) indices into `CODES`.
        probabilities: (n, 7).
        lesions: (n,) lesion of each image.
        seed: of the bootstrap.
        bins: of equal width.

    Returns:
        ece (of the most probable diagnosis; Guo et al., ICML 2017), melanoma_ece, malignant_ece, brier (0 to 2; Brier,
        1950) and nll (the mean negative log-likelihood), each with value, low and high; reliability,
        reliability_melanoma and reliability_malignant: for each bin that holds images low, high, n, confidence (the
        mean probability), accuracy (the share of which it held) and the interval accuracy_low to accuracy_high.
    """
    resamples = lesion_bootstrap(lesions, seed)
    figures: dict[str, Any] = {}
    for name, said, held in _statements(labels, probabilities):
        inside = bin_of(said, bins)
        figures[f"{name}ece"] = _calibration_error(said, held, inside, bins, resamples)
        figures["_".join(filter(None, ("reliability", name[:-1])))] = _reliability(said, held, inside, bins, resamples)
    brier = ((probabilities - np.eye(len(CODES))[labels]) ** 2).sum(axis=1)
    likelihood = probabilities[np.arange(len(labels)), labels].clip(np.finfo(float).eps)
    drawn, *sums = resamples.totals(np.stack([np.ones(len(labels)), brier, -np.log(likelihood)], axis=1))
    for name, value, total in (("brier", brier.mean(), sums[0]), ("nll", -np.log(likelihood).mean(), sums[1])):
        figures[name] = percentile_interval(float(value), total / drawn)
    return figures


def top_ece(labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray, seed: int = 0) -> Figure:
    """The `ece` of `calibration_figures` alone, with the same arguments."""
    _, said, held = _statements(labels, probabilities)[0]
    return _calibration_error(said, held, bin_of(said, BINS), BINS, lesion_bootstrap(lesions, seed))


def expected_calibration_error(said: np.ndarray, held: np.ndarray, bins: int = BINS) -> float:
    """The mean distance between a probability and how often it held, over bins of equal width.

    Args:
        said: (n,) probabilities.
        held: (n,) bool: whether what was said is so.
        bins: how many.
    """
    said, held = np.asarray(said, float), np.asarray(held, bool)
    return float(np.abs(np.bincount(bin_of(said, bins), said - held)).sum() / len(said))


def _statements(labels: np.ndarray, probabilities: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """What is said with a probability, and whether it is so: the answer, melanoma, malignant or premalignant."""
    said = probabilities_said(probabilities)
    return [
        ("", said[""], probabilities.argmax(axis=1) == labels),
        ("melanoma_", said["melanoma"], labels == MELANOMA),
        ("malignant_", said["malignant"], np.isin(labels, _MALIGNANT)),
    ]


def probabilities_said(probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """The probability of each statement that a reliability diagram judges.

    Args:
        probabilities: (n, 7).

    Returns:
        "" (the most probable diagnosis), "melanoma" and "malignant" (or premalignant) -> (n,).
    """
    return {
        "": probabilities.max(axis=1),
        "melanoma": probabilities[:, MELANOMA],
        "malignant": probabilities[:, _MALIGNANT].sum(axis=1).clip(max=1),
    }


def bin_of(said: np.ndarray, bins: int = BINS) -> np.ndarray:
    """(n,) the bin of each probability, of so many of equal width; one on an edge belongs to the lower bin."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], said)


def _calibration_error(
    said: np.ndarray, held: np.ndarray, inside: np.ndarray, bins: int, resamples: LesionBootstrap
) -> Figure:
    gaps = np.eye(bins)[inside] * (said - held)[:, None]
    drawn, *resampled = resamples.totals(np.concatenate([np.ones((len(said), 1)), gaps], axis=1))
    return distance_interval(gaps.mean(axis=0), np.array(resampled) / drawn)


def _reliability(
    said: np.ndarray, held: np.ndarray, inside: np.ndarray, bins: int, resamples: LesionBootstrap
) -> list[dict[str, float]]:
    within = np.eye(bins, dtype=bool)[inside]
    rows = []
    for number, share in enumerate(resamples.shares(within & held[:, None], within)):
        if within[:, number].any():
            row = {"low": number / bins, "high": (number + 1) / bins, "n": int(within[:, number].sum())}
            row |= {"confidence": float(said[within[:, number]].mean()), "accuracy": share["value"]}
            rows.append(row | {"accuracy_low": share["low"], "accuracy_high": share["high"]})
    return rows


# ---- pieces ------------------------------------------------------------------------------------


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean of the last axis over what is a number; NaN where nothing is."""
    there = ~np.isnan(values)
    total = np.where(there, values, 0.0).sum(axis=-1)
    return ratio(total, there.sum(axis=-1))


def _per_class(counts: np.ndarray, index: int, auc: float) -> dict[str, float]:
    hits = float(counts[index, index])
    missed = float(counts[index].sum()) - hits
    alarms = float(counts[:, index].sum()) - hits
    rest = float(counts.sum()) - hits - missed - alarms
    return {
        "n": int(counts[index].sum()),
        "sensitivity": _ratio(hits, hits + missed),
        "specificity": _ratio(rest, rest + alarms),
        "precision": _ratio(hits, hits + alarms),
        "f1": _ratio(2 * hits, 2 * hits + missed + alarms),
        "auc": auc,
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _auc(positive: np.ndarray, scores: np.ndarray) -> float:
    return float(roc_auc_score(positive, scores)) if positive.any() and not positive.all() else float("nan")
