"""Prediction sets: as many diagnoses as are needed for the truth to be among them, for each diagnosis at a level.

Class-conditional (Mondrian) conformal prediction: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random
World", 2005, 4.5. Of all images of a diagnosis, a share of at least the level has it in its set, in the mean over
calibrations, if the images to come are drawn like those of the calibration split.
"""

from typing import Any

import numpy as np
from crepes import ConformalClassifier

from core.diagnoses import CODES
from core.evaluation.bootstrap import lesion_bootstrap

FEWEST = 20  # calibration images without which nothing is promised for a diagnosis

Scores = dict[str, list[float]]  # code -> sorted nonconformity of its calibration images


def calibration_scores(labels: np.ndarray, probabilities: np.ndarray) -> Scores:
    """What the sets are made from: 1 less the probability of the truth.

    Args:
        labels: (n,) indices into `CODES`, of the calibration split.
        probabilities: (n, 7).
    """
    return {code: np.sort(1 - probabilities[labels == index, index]).tolist() for index, code in enumerate(CODES)}


def prediction_sets(probabilities: np.ndarray, scores: Scores, level: float) -> np.ndarray:
    """The diagnoses that cannot be ruled out.

    P-values are not smoothed, so that the same image has the same set each time. A diagnosis of which calibration saw
    too few images is in every set.

    Args:
        probabilities: (n, 7).
        scores: of `calibration_scores`.
        level: 0 to 1.

    Returns:
        (n, 7) bool.
    """
    members = np.ones(np.shape(probabilities), bool)
    for index, code in enumerate(CODES):
        if scores.get(code):
            judge = ConformalClassifier().fit(np.array(scores[code]))
            p_values = judge.predict_p(1 - probabilities[:, index], smoothing=False)
            members[:, index] = p_values > 1 - level + 1e-12
    return members


def set_figures(
    labels: np.ndarray,
    probabilities: np.ndarray,
    lesions: np.ndarray,
    scores: Scores,
    level: float,
    seed: int = 0,
) -> dict[str, Any]:
    """How often the truth is in the set, and how large the sets are.

    Args:
        labels: (n,) indices into `CODES`.
        probabilities: (n, 7).
        lesions: (n,) lesion of each image.
        scores: of `calibration_scores`.
        level: 0 to 1.
        seed: of the bootstrap.

    Returns:
        level, coverage (value, low, high), mean_size, sizes (how many sets have 0 to 7 members) and per_class: code ->
        n, n_calibration, promised (whether calibration saw `FEWEST` images), coverage and mean_size.
    """
    members = prediction_sets(probabilities, scores, level)
    size = members.sum(axis=1)
    held = members[np.arange(len(labels)), labels]
    truth = labels[:, None] == np.arange(len(CODES))
    resamples = lesion_bootstrap(lesions, seed)
    covered = resamples.shares(truth & held[:, None], truth)
    return {
        "level": level,
        "coverage": resamples.share(held),
        "mean_size": float(size.mean()) if len(size) else float("nan"),
        "sizes": np.bincount(size, minlength=len(CODES) + 1).tolist(),
        "per_class": {
            code: {
                "n": int(truth[:, index].sum()),
                "n_calibration": len(scores.get(code, ())),
                "promised": len(scores.get(code, ())) >= FEWEST,
                "coverage": covered[index],
                "mean_size": float(size[truth[:, index]].mean()) if truth[:, index].any() else float("nan"),
            }
            for index, code in enumerate(CODES)
        },
    }
