"""Labels and probabilities to figures with 95 % confidence intervals.

Intervals come from a bootstrap over lesions: images of one lesion are drawn together, since they are not
independent of each other.
"""

from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, roc_auc_score

from core.diagnoses import CODES

RESAMPLES = 1000
NEVUS = CODES.index("nv")


def evaluate(labels: np.ndarray, probabilities: np.ndarray, lesions: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Every figure of one set of images. A figure that cannot be computed is NaN.

    Args:
        labels: (n,) indices into `CODES`.
        probabilities: (n, 7).
        lesions: (n,) lesion of each image.
        seed: of the bootstrap.

    Returns:
        n, balanced_accuracy, accuracy and macro_auc (each with value, low and high), always_nevus_accuracy,
        per_class (code -> n, sensitivity, specificity, precision, f1, auc) and confusion (labels, counts; true
        diagnoses in rows).
    """
    counts = confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(len(CODES)))
    weights = _lesion_weights(lesions, seed)
    aucs = [_auc(labels == index, probabilities[:, index]) for index in range(len(CODES))]
    resampled_aucs = np.stack(
        [_weighted_auc(labels == index, probabilities[:, index], weights) for index in range(len(CODES))]
    )
    resampled_counts = _weighted_counts(labels, probabilities.argmax(axis=1), weights)
    return {
        "n": len(labels),
        "balanced_accuracy": _with_interval(balanced_accuracy(counts), balanced_accuracy(resampled_counts)),
        "accuracy": _with_interval(_accuracy(counts), _accuracy(resampled_counts)),
        "macro_auc": _with_interval(_mean(np.array(aucs)), _mean(resampled_aucs.T)),
        "always_nevus_accuracy": float(np.mean(labels == NEVUS)),
        "per_class": {code: _per_class(counts, index, aucs[index]) for index, code in enumerate(CODES)},
        "confusion": {"labels": list(CODES), "counts": counts.tolist()},
    }


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
        "accuracy": float(_accuracy(counts)),
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
    return _mean(np.divide(hits, totals, out=np.full(totals.shape, np.nan), where=totals > 0))


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean of the last axis over what is a number; NaN where nothing is."""
    there = ~np.isnan(values)
    total = np.where(there, values, 0.0).sum(axis=-1)
    count = there.sum(axis=-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _with_interval(value: np.ndarray, resampled: np.ndarray) -> dict[str, float]:
    known = resampled[~np.isnan(resampled)]
    low, high = np.percentile(known, (2.5, 97.5)) if known.size else (np.nan, np.nan)
    return {"value": float(value), "low": float(low), "high": float(high)}


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


def _lesion_weights(lesions: np.ndarray, seed: int) -> np.ndarray:
    """(n, RESAMPLES): how often each image was drawn when lesions are drawn with replacement."""
    names, lesion_of = np.unique(np.asarray(lesions, dtype=str), return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    return draws.T.astype(np.float32)[lesion_of]


def _weighted_counts(labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(RESAMPLES, 7, 7) confusion counts of each resample."""
    cells = np.zeros((len(labels), len(CODES) ** 2), np.float32)
    cells[np.arange(len(labels)), labels * len(CODES) + predicted] = 1.0
    return (weights.T @ cells).reshape(-1, len(CODES), len(CODES)).astype(float)


def _weighted_auc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(RESAMPLES,): the chance that a positive scores over a negative, ties counted half."""
    order = np.argsort(scores, kind="stable")
    positive, scores, weights = positive[order], scores[order], weights[order]
    starts = np.flatnonzero(np.r_[True, np.diff(scores) > 0])  # each run of equal scores
    wins_there = np.logical_or.reduceat(positive, starts)
    starts = starts[wins_there | np.r_[True, wins_there[:-1]]]  # neighbours without a positive become one run
    positives = np.add.reduceat(weights * positive[:, None], starts, axis=0, dtype=float)
    negatives = np.add.reduceat(weights, starts, axis=0, dtype=float) - positives
    below = np.cumsum(negatives, axis=0) - negatives
    wins = (positives * (below + negatives / 2)).sum(axis=0)
    pairs = positives.sum(axis=0) * negatives.sum(axis=0)
    return np.divide(wins, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
