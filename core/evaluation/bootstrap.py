"""Intervals from a bootstrap over lesions: images of one lesion are drawn together, since they are not independent.

A resample is a column of weights, how often each image was drawn, so that a statistic is computed under all of
them at once (Field and Welsh, "Bootstrapping clustered data", JRSS B 69(3), 2007). The resamples give the spread; the
2.5th and 97.5th percentile alone cover too little: 80 to 94 % in place of 95 % where a diagnosis has few cases. So a
share gets Wilson's interval at the number of independent images that has the same spread (Korn and Graubard, Survey
Methodology 24(2), 1998), and so does an area under a ROC curve; a mean of these gets the sum of their distances (Zou
and Donner, Statistics in Medicine 27(10), 2008), an average precision a normal interval on the logit scale, and a
calibration error an inverted test.
"""

from functools import lru_cache
from statistics import NormalDist

import numpy as np

RESAMPLES = 1000
SPREAD_RESAMPLES = 400  # for areas under curves, which take time and of which the spread alone is needed
Z = NormalDist().inv_cdf(0.975)  # 95 % intervals
# An area near 1 spreads less than a share of so many lesions does, but a handful of them cannot tell how much less:
# with 6 to 30 lesions and areas of 0.85 to 0.99, this bound covers the truth in 94 to 99 % of simulated data sets.
MOST_OF_AN_AREA = 5  # times as certain as a share of its rarer lesions, at most

EDGE = 0.005  # a resample beyond it, all of whose few cases are told apart, does not stretch a logit without bound

Figure = dict[str, float]  # value, low, high; NaN where it cannot be known


class LesionBootstrap:
    """Resamples of one set of images.

    Args:
        lesions: (n,) lesion of each image.
        seed: same seed and lesions, same resamples, in whatever order the images come.
        resamples: how many.

    """

    def __init__(self, lesions: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> None:
        names, self._lesion_of = np.unique(np.asarray(lesions, dtype=str), return_inverse=True)
        drawn = np.random.default_rng(seed).integers(0, len(names), (resamples, len(names)), dtype=np.int32)
        drawn += np.arange(resamples, dtype=np.int32)[:, None] * len(names)
        counts = np.bincount(drawn.ravel(), minlength=resamples * len(names)).reshape(resamples, len(names))
        self._counts = np.ascontiguousarray(counts.T.astype(np.float32))  # of each lesion

    @property
    def weights(self) -> np.ndarray:
        """(n, at most `SPREAD_RESAMPLES`) float32: how often each image was drawn."""
        return self._counts[:, :SPREAD_RESAMPLES][self._lesion_of]

    def totals(self, columns: np.ndarray) -> np.ndarray:
        """The sum of each column under each resample.

        Args:
            columns: (n, k).

        Returns:
            (k, resamples).
        """
        lesions = len(self._counts)
        of_lesion = [np.bincount(self._lesion_of, column, lesions) for column in np.asarray(columns, float).T]
        return (np.array(of_lesion, np.float32).reshape(-1, lesions) @ self._counts).astype(float)

    def shares(self, hits: np.ndarray, among: np.ndarray) -> list[Figure]:
        """For each column, the share of hits among some of the images, with its interval.

        Args:
            hits: (n, k) bool.
            among: (n, k) bool: which images count.
        """
        hits, among = np.asarray(hits, bool) & among, np.asarray(among, bool)
        both = self.totals(np.concatenate([hits, among], axis=1))
        resampled = ratio(both[: hits.shape[1]], both[hits.shape[1] :])
        return [
            _share(int(hit.sum()), int(there.sum()), self.lesions_among(there), spread)
            for hit, there, spread in zip(hits.T, among.T, resampled, strict=True)
        ]

    def lesions_among(self, among: np.ndarray) -> int:
        """How many lesions some images, (n,) bool, are of."""
        return len(np.unique(self._lesion_of[np.asarray(among, bool)]))

    def share(self, hits: np.ndarray, among: np.ndarray | None = None) -> Figure:
        """As `shares`, of one column (n,); among all images by default."""
        everywhere = np.ones(len(hits), bool)
        return self.shares(np.asarray(hits)[:, None], (everywhere if among is None else np.asarray(among))[:, None])[0]


@lru_cache(maxsize=2)
def _bootstrap(lesions: tuple[str, ...], seed: int) -> LesionBootstrap:
    return LesionBootstrap(np.array(lesions), seed)


def lesion_bootstrap(lesions: np.ndarray, seed: int = 0) -> LesionBootstrap:
    """The resamples of these images; the last ones are kept, since many figures are asked of the same images."""
    return _bootstrap(tuple(np.asarray(lesions, dtype=str).tolist()), seed)


def mean_of(figures: list[Figure]) -> Figure:
    """The mean of independent figures with its interval; those that are unknown are left out."""
    known = [figure for figure in figures if not np.isnan(figure["value"])]
    if not known:
        return {"value": np.nan, "low": np.nan, "high": np.nan}
    value, low, high = (np.array([figure[name] for figure in known]) for name in ("value", "low", "high"))
    middle = value.mean()
    return {
        "value": float(middle),
        "low": float(middle - np.sqrt(((value - low) ** 2).sum()) / len(known)),
        "high": float(middle + np.sqrt(((high - value) ** 2).sum()) / len(known)),
    }


def difference(one: Figure, other: Figure) -> Figure:
    """`one` less `other`, of different images."""
    value = one["value"] - other["value"]
    return {
        "value": value,
        "low": value - float(np.hypot(one["value"] - one["low"], other["high"] - other["value"])),
        "high": value + float(np.hypot(one["high"] - one["value"], other["value"] - other["low"])),
    }


def percentile_interval(value: float, resampled: np.ndarray) -> Figure:
    """For a mean over images, such as the log-likelihood.

    Args:
        value: of the data themselves.
        resampled: (resamples,); NaN is left out.
    """
    known = resampled[~np.isnan(resampled)]
    low, high = np.percentile(known, (2.5, 97.5)) if known.size and not np.isnan(value) else (np.nan, np.nan)
    return {"value": float(value), "low": float(low), "high": float(high)}


def distance_interval(gaps: np.ndarray, resampled: np.ndarray) -> Figure:
    """For a sum of distances from 0, such as a calibration error, to which chance alone adds.

    The distances that stay possible are those under which a sum as large as this one is not unusual: the gaps, scaled
    by a factor, with the noise that the resamples show. Were the gaps all chance, the interval reaches 0.

    Args:
        gaps: (k,) whose absolute values are summed.
        resampled: (k, resamples).
    """
    value = float(np.abs(gaps).sum())
    noise = resampled - gaps[:, None]
    factors = np.linspace(0, 1.6, 33)
    sums = np.stack([np.abs(factor * gaps[:, None] + noise).sum(axis=0) for factor in factors])
    low, high = np.percentile(sums, (2.5, 97.5), axis=1)
    possible = factors[(low <= value) & (value <= high)] * value
    return {
        "value": value,
        "low": float(min(possible.min(initial=value), value)),
        "high": float(max(possible.max(initial=value), value)),
    }


def logit_interval(value: float, resampled: np.ndarray) -> Figure:
    """For an average precision and a predictive value: normal on the logit scale, which ends at 0 and 1.

    Args:
        value: 0 to 1.
        resampled: (resamples,) 0 to 1; NaN is left out.
    """
    known = resampled[~np.isnan(resampled)]
    if not known.size or np.isnan(value):
        return {"value": float(value), "low": np.nan, "high": np.nan}
    if value in (0.0, 1.0):  # no logit
        return {"value": float(value), "low": float(min(value, *known)), "high": float(max(value, *known))}
    known = known.clip(EDGE, 1 - EDGE)
    spread = np.std(np.log(known) - np.log1p(-known))
    middle = np.log(value / (1 - value))
    low, high = 1 / (1 + np.exp(-(middle - Z * spread))), 1 / (1 + np.exp(-(middle + Z * spread)))
    return {"value": float(value), "low": float(min(low, value)), "high": float(max(high, value))}


def area_interval(value: float, resampled: np.ndarray, lesions: int) -> Figure:
    """For an area under a ROC curve: Wilson's at the number of lesions of which a share would spread as much.

    Args:
        value: 0 to 1.
        resampled: (resamples,) 0 to 1; NaN is left out.
        lesions: the positive ones, or the negative ones if those are fewer.
    """
    known = resampled[~np.isnan(resampled)]
    if not known.size or np.isnan(value):
        return {"value": float(value), "low": np.nan, "high": np.nan}
    return _wilson(value, known, lesions, MOST_OF_AN_AREA * lesions)


def weighted_auc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The chance that a positive scores over a negative, ties counted half, under each resample.

    Args:
        positive: (n,) bool.
        scores: (n,).
        weights: (n, resamples).

    Returns:
        (resamples,); NaN where there is no pair.
    """
    order = np.argsort(scores, kind="stable")
    positive, scores, weights = positive[order], scores[order], weights[order]
    starts = np.flatnonzero(np.r_[True, np.diff(scores) > 0])  # each run of equal scores
    wins_there = np.logical_or.reduceat(positive, starts)
    starts = starts[wins_there | np.r_[True, wins_there[:-1]]]  # neighbours without a positive become one run
    positives = np.add.reduceat(weights * positive[:, None], starts, axis=0, dtype=float)
    negatives = np.add.reduceat(weights, starts, axis=0, dtype=float) - positives
    below = np.cumsum(negatives, axis=0) - negatives
    wins = (positives * (below + negatives / 2)).sum(axis=0)
    return ratio(wins, positives.sum(axis=0) * negatives.sum(axis=0))


def weighted_precision(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The average precision (scikit-learn's) under each resample; arguments as of `weighted_auc`."""
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    positive, scores, weights = positive[order], scores[order], weights[order]
    ends = np.flatnonzero(np.r_[np.diff(scores) != 0, True])  # each run of equal scores
    with_positives = np.logical_or.reduceat(positive, np.r_[0, ends[:-1] + 1])
    called = np.cumsum(weights, axis=0)[ends[with_positives]]
    found = np.cumsum(weights[positive], axis=0)[np.cumsum(positive)[ends[with_positives]] - 1]
    steps = np.diff(found, axis=0, prepend=0)
    return ratio((steps * ratio(found, called)).sum(axis=0), found[-1] if len(found) else np.zeros(weights.shape[1]))


def _share(hits: int, n: int, lesions: int, resampled: np.ndarray) -> Figure:
    """Wilson's interval at the number of independent images whose share would spread as much."""
    if n == 0:
        return {"value": np.nan, "low": np.nan, "high": np.nan}
    return _wilson(hits / n, resampled, lesions, n)


def _wilson(value: float, resampled: np.ndarray, lesions: int, most: int) -> Figure:
    """Wilson's interval of a share of so many independent images, at most, that it would spread as the resamples do."""
    effective = float(lesions)  # what is all right, or all wrong, does not spread: each lesion counts once
    if 0 < value < 1 and lesions > 1:
        spread = float(np.nanvar(resampled)) * lesions / (lesions - 1)
        effective = min(max(value * (1 - value) / spread, 1.0), float(most)) if spread > 0 else float(most)
    below = 1 + Z**2 / effective
    middle = (value + Z**2 / (2 * effective)) / below
    half = Z * np.sqrt(value * (1 - value) / effective + Z**2 / (4 * effective**2)) / below
    low, high = min(middle - half, value), max(middle + half, value)
    return {"value": value, "low": float(max(0.0, low)), "high": float(min(1.0, high))}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Element by element; NaN where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
