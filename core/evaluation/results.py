"""What a finished run says in figures: calibration.json, predictions.csv and metrics.json."""

from typing import Any

import numpy as np
import pandas as pd

from core.data.splits import HELD_OUT, class_weights
from core.diagnoses import CODES
from core.evaluation.comparison import Answers, beside
from core.evaluation.trust import IMAGE_ALONE, Strangeness, Trust
from core.runs.run import CALIBRATION, METRICS, PREDICTIONS, Run

FITTED_TO_LOGITS = ("temperature", "offsets", "prediction_sets", "operating_points")


def training_weights(run: Run, splits: pd.DataFrame) -> np.ndarray:
    """How far the run's training lifts each diagnosis above how common it is, as weights of its images.

    Class weights do so whole. Logit adjustment by tau does what their tau-th power would: their logarithm is that of
    one over the diagnosis's share, but for a constant. What was lifted is taken out again where logits become
    probabilities, however it was done; see `core.evaluation.calibration`.

    The logits of an ensemble are lifted as its members' are in the mean.

    Returns:
        (7,) float32, over 0; all 1 where every diagnosis stays as common as it is.
    """
    members = run.members()
    if members:
        return np.exp(np.mean([np.log(training_weights(member, splits)) for member in members], axis=0))
    config = run.config()
    power = 1.0 if config.class_weights else config.logit_adjustment
    if not power:
        return np.ones(len(CODES), np.float32)
    return class_weights(splits.loc[splits["split"] == "train", "dx"]) ** np.float32(power)


def write_results(
    run: Run,
    splits: pd.DataFrame,
    logits: np.ndarray,
    strangeness: Strangeness,
    heatmap_scale: float,
    heatmaps: int,
    of_patients: np.ndarray | None = None,
) -> None:
    """Fit what is fitted on the calibration split, and write every figure.

    Args:
        run: whose files they are.
        splits: image_id, lesion_id, dx, split.
        logits: (n, 7) of the images, in the order of `splits`.
        strangeness: in the order of `splits`.
        heatmap_scale: what is shown in full colour.
        heatmaps: of how many calibration images that is.
        of_patients: (n, 7) what age, sex and site add to the logits; what the images say alone is then written beside
            it. None where nothing is added.
    """
    config, alone = run.config(), logits
    logits = alone if of_patients is None else alone + of_patients
    labels = splits["dx"].map(CODES.index).to_numpy()
    lesions = splits["lesion_id"].to_numpy()
    part = splits["split"].to_numpy()
    held = part == "calibration"
    scores = strangeness.scores
    known = Strangeness(scores[held], strangeness.changed)
    trust = Trust.fit(config, logits[held], labels[held], training_weights(run, splits), known)
    fitted_on = {"split": "calibration", "n": int(held.sum()), "heatmaps": heatmaps}
    figures = {
        name: trust.figures(labels[rows], logits[rows], lesions[rows], scores[rows], config.seed)
        for name in HELD_OUT
        for rows in [part == name]
    }
    fitted = {**trust.to_dict(), "heatmap_scale": heatmap_scale, "fitted_on": fitted_on}
    if of_patients is not None:
        of_images = Trust.fit(config, alone[held], labels[held], training_weights(run, splits))
        fitted[IMAGE_ALONE] = {name: of_images.to_dict()[name] for name in FITTED_TO_LOGITS}
        probabilities_alone = of_images.calibration.probabilities(alone)
        together = trust.calibration.probabilities(logits)
        for name in HELD_OUT:
            rows = part == name
            before, after = (
                Answers(p[rows], x[rows].argmax(axis=1)) for p, x in ((probabilities_alone, alone), (together, logits))
            )
            own = of_images.figures(labels[rows], alone[rows], lesions[rows], None, config.seed)
            figures[name][IMAGE_ALONE] = beside(labels[rows], before, after, lesions[rows], config.seed) | {
                "operating_points": own["operating_points"]
            }
    fitted["refusal"]["changed_scores"] = strangeness.changed.round(6).tolist()  # for an ensemble that it may join
    run.write_json(CALIBRATION, fitted)
    probabilities = trust.calibration.probabilities(logits)
    run.write_csv(PREDICTIONS, prediction_table(splits, part, logits, probabilities, scores))
    run.write_json(METRICS, figures)


def prediction_table(
    images: pd.DataFrame,
    split: Any,
    logits: np.ndarray,
    probabilities: np.ndarray,
    ood_scores: np.ndarray | float = np.nan,
) -> pd.DataFrame:
    """The rows of `predictions.csv`.

    Args:
        images: image_id, dx.
        split: the part that each image is in, or one for all.
        logits: (n, 7).
        probabilities: (n, 7), calibrated.
        ood_scores: (n,) how strange each image is to the run; NaN where that is not known.

    Returns:
        image_id, split, dx, predicted (the largest logit), logit_<code>, p_<code>, ood_score.
    """
    predicted = np.array(CODES)[logits.argmax(axis=1)]
    table = images[["image_id"]].assign(split=split, dx=images["dx"], predicted=predicted)
    for prefix, figures in (("logit", logits), ("p", probabilities)):
        table = table.assign(**{f"{prefix}_{code}": figures[:, index] for index, code in enumerate(CODES)})
    return table.assign(ood_score=ood_scores)
