"""How far a run's probabilities, prediction sets and thresholds hold on lesions that they were not fitted on.

    python benchmarks/trust.py RUN_FOLDER [--resplits 20] [--target 0.9] [--level 0.9]

Reads logits from predictions.csv. Calibration and test are pooled and split anew by lesion, each diagnosis in the same
shares as before; temperature, offsets, prediction sets and thresholds are fitted on the one side and measured on the
other. Beside it, on the same predictions: how often the 95 % intervals of 500 drawn data sets cover the truth.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from core.diagnoses import CODES, LOGIT_COLUMNS  # noqa: E402
from core.evaluation.bootstrap import LesionBootstrap, mean_of  # noqa: E402
from core.evaluation.calibration import fit_calibration  # noqa: E402
from core.evaluation.conformal import FEWEST, calibration_scores, prediction_sets  # noqa: E402
from core.evaluation.metrics import area, expected_calibration_error  # noqa: E402
from core.evaluation.operating import POINTS, choose_threshold, is_positive, score  # noqa: E402
from core.evaluation.results import training_weights  # noqa: E402
from core.runs.run import Run  # noqa: E402


def resplit(labels: np.ndarray, lesions: np.ndarray, share: float, dice: np.random.Generator) -> np.ndarray:
    """(n,) bool: which images go to calibration; lesions stay whole, diagnoses keep their shares."""
    names, first, lesion_of = np.unique(lesions, return_index=True, return_inverse=True)
    chosen = np.zeros(len(names), bool)
    for label in np.unique(labels):
        of_label = dice.permutation(np.flatnonzero(labels[first] == label))
        chosen[of_label[: round(share * len(of_label))]] = True
    return chosen[lesion_of]


def resplits(run: Run, times: int, target: float, level: float) -> None:
    """Fit and measure on each re-split, and print the means beside their bars."""
    splits, predictions = run.splits(), run.predictions()
    predictions = predictions.merge(splits[["image_id", "lesion_id"]], on="image_id")
    weights = training_weights(run, splits)
    pooled = predictions[predictions["split"].isin(["calibration", "test"])]
    logits = pooled[LOGIT_COLUMNS].to_numpy()
    labels, lesions = pooled["dx"].map(CODES.index).to_numpy(), pooled["lesion_id"].to_numpy()
    share = float((pooled["split"] == "calibration").mean())
    rows: dict[str, list[float]] = {"ECE": [], "ECE with the temperature alone": [], "ECE as trained": []}
    sizes: dict[str, list[int]] = {code: [] for code in CODES}
    set_sizes = []
    for seed in range(times):
        held = resplit(labels, lesions, share, np.random.default_rng(seed))
        calibration = fit_calibration(logits[held], labels[held], weights)
        alone = fit_calibration(logits[held], labels[held], np.ones(len(CODES)))
        fitted, tested = (calibration.probabilities(logits[some]) for some in (held, ~held))
        truth = labels[~held]
        for name, said in (
            ("ECE", tested),
            ("ECE with the temperature alone", alone.probabilities(logits[~held])),
            ("ECE as trained", np.exp(logits[~held]) / np.exp(logits[~held]).sum(axis=1, keepdims=True)),
        ):
            rows[name].append(expected_calibration_error(said.max(axis=1), said.argmax(axis=1) == truth))
        members = prediction_sets(tested, calibration_scores(labels[held], fitted), level)
        set_sizes.append(members.sum(axis=1).mean())
        for index, code in enumerate(CODES):
            sizes[code].append(int((labels[held] == index).sum()))
            rows.setdefault(f"covered: {code}", []).append(members[truth == index, index].mean())
        for name, positives in POINTS.items():
            threshold = choose_threshold(is_positive(labels[held], positives), score(fitted, positives), target)
            called, positive = score(tested, positives) >= threshold, is_positive(truth, positives)
            rows.setdefault(f"sensitivity: {name}", []).append(called[positive].mean())
            rows.setdefault(f"specificity: {name}", []).append(1 - called[~positive].mean())
    print(f"{run.id}: {times} re-splits of {len(labels):,} images, {share:.0%} of them for calibration")
    print(f"{'':34s} {'mean':>6s} {'sd':>6s}  bar")
    for name, values in rows.items():
        mean, bar, met = float(np.mean(values)), "", True
        if name == "ECE":
            bar, met = "at most 0.04", mean <= 0.04
        elif name.startswith("covered"):
            n = min(sizes[name.removeprefix("covered: ")])
            bar, met = f"{level:.2f} +- 0.03", abs(mean - level) <= 0.03
            if n < FEWEST:
                bar, met = f"none: {n} calibration images", True
        elif name.startswith("sensitivity"):
            bar, met = f"{target:.2f} +- 0.04", abs(mean - target) <= 0.04
        print(f"{name:34s} {mean:6.3f} {np.std(values):6.3f}  {bar}{'' if met else '  NOT MET'}")
    print(f"{'diagnoses in a set':34s} {np.mean(set_sizes):6.2f}")


def drawn(
    lesions_of: tuple[int, ...], sensitivities: tuple[float, ...], dice: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One data set of one to four images a lesion, which resemble each other: labels, hits, lesions and scores."""
    labels = np.repeat(np.arange(len(lesions_of)), lesions_of)
    sizes = dice.integers(1, 5, len(labels))
    expected = np.array(sensitivities)[labels]
    chance, level = dice.beta(expected, 1 - expected), dice.normal(size=len(labels))  # half of the variance is shared
    lesion = np.repeat(np.arange(len(labels)), sizes)
    hits = dice.random(len(lesion)) < chance[lesion]
    scores = (level[lesion] + dice.normal(size=len(lesion))) / np.sqrt(2) + 1.8 * (labels[lesion] == 0)
    return labels[lesion], hits, lesion, scores


def coverage(times: int) -> None:
    """How often intervals hold the truth, for test sets of the size of real ones and smaller."""
    from scipy.stats import norm

    print(f"\nhow often 95 % intervals cover the truth, {times} drawn data sets (bar: 0.93 to 0.97)")
    print(f"{'lesions of each diagnosis':38s} balanced accuracy  sensitivity  smallest class  AUC   percentiles alone")
    sensitivities = (0.6, 0.8, 0.65, 0.5, 0.6, 0.4, 0.8)
    for lesions_of in ((74, 160, 40, 27, 87, 9, 12), (30, 60, 20, 15, 25, 8, 8), (150, 300, 80, 60, 150, 30, 30)):
        dice = np.random.default_rng(1)
        held: dict[str, list[bool]] = {name: [] for name in ("ba", "sensitivity", "smallest", "auc", "percentile")}
        for seed in range(times):
            labels, hits, lesions, scores = drawn(lesions_of, sensitivities, dice)
            resamples = LesionBootstrap(lesions, seed)
            truth = labels[:, None] == np.arange(7)
            shares = resamples.shares(truth & hits[:, None], truth)
            positive = labels == 0
            totals = resamples.totals(np.concatenate([truth & hits[:, None], truth], axis=1))
            with np.errstate(invalid="ignore"):
                plain = np.percentile(np.nanmean(totals[:7] / totals[7:], axis=0), (2.5, 97.5))
            for name, figure, expected in (
                ("ba", mean_of(shares), np.mean(sensitivities)),
                ("sensitivity", shares[0], sensitivities[0]),
                ("smallest", shares[5], sensitivities[5]),
                ("auc", area(positive, scores, resamples), norm.cdf(1.8 / 2**0.5)),
                ("percentile", {"low": plain[0], "high": plain[1]}, np.mean(sensitivities)),
            ):
                held[name].append(bool(figure["low"] <= expected <= figure["high"]))
        means = [np.mean(values) for values in held.values()]
        print(f"{lesions_of!s:38s} {means[0]:17.3f} {means[1]:12.3f} {means[2]:15.3f} {means[3]:5.3f} {means[4]:19.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--resplits", type=int, default=20)
    parser.add_argument("--target", type=float, default=0.9, help="sensitivity that is asked for")
    parser.add_argument("--level", type=float, default=0.9, help="of the prediction sets")
    parser.add_argument("--data-sets", type=int, default=500, help="drawn to test the intervals; 0 for none")
    options = parser.parse_args()
    started = time.perf_counter()
    resplits(Run(options.run), options.resplits, options.target, options.level)
    if options.data_sets:
        coverage(options.data_sets)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
