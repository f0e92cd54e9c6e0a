"""What a run fits on its calibration split, and the figures that say how far it holds elsewhere.

One place for training, for evaluations of other folders and for the predictor, so that a number means the
same wherever it is read. It is kept as `calibration.json`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.config import TrainConfig
from core.diagnoses import CODES
from core.evaluation.calibration import Calibration, calibrated, fit_calibration
from core.evaluation.conformal import calibration_scores, set_figures
from core.evaluation.metrics import calibration_figures, evaluate, rate
from core.evaluation.operating import POINTS, choose_threshold, is_positive, point_figures, score
from core.evaluation.outliers import threshold

Figures = dict[str, Any]
IMAGE_ALONE = "image_alone"  # in calibration and figures: what holds where nothing is known of the person


@dataclass(frozen=True, eq=False)
class Strangeness:
    """Out-of-distribution scores; higher is stranger.

    Attributes:
        scores: (n,) of images.
        changed: (m,) of calibration images as another camera would have taken them; only for the fit.
    """

    scores: np.ndarray
    changed: np.ndarray


@dataclass(frozen=True, eq=False)
class Trust:
    """How logits become probabilities, prediction sets, warnings and refusals. What an older run lacks is None.

    Attributes:
        calibration: temperature and offsets.
        level: share of each diagnosis whose prediction set is to hold the truth.
        scores: code -> nonconformity of its calibration images; see `core.evaluation.conformal`.
        points: name of an operating point -> positives (codes), target_sensitivity, threshold, n_positive.
        strangest: images with a higher out-of-distribution score are refused.
        false_refusals: at most this share of the calibration images is refused.
    """

    calibration: Calibration
    level: float | None = None
    scores: dict[str, list[float]] | None = None
    points: dict[str, Figures] | None = None
    strangest: float | None = None
    false_refusals: float | None = None

    @classmethod
    def fit(
        cls,
        config: TrainConfig,
        logits: np.ndarray,
        labels: np.ndarray,
        class_weights: np.ndarray,
        strangeness: Strangeness | None = None,
    ) -> "Trust":
        """Fit everything on the calibration split.

        Args:
            config: the levels that are asked for.
            logits: (n, 7).
            labels: (n,) indices into `CODES`.
            class_weights: (7,) of the training, or what its logit adjustment amounts to; see
                `core.evaluation.results.training_weights`.
            strangeness: of the same images, or None where the run has no such score.
        """
        calibration = fit_calibration(logits, labels, class_weights)
        probabilities = calibration.probabilities(logits)
        points = {}
        for name, positives in POINTS.items():
            positive = is_positive(labels, positives)
            points[name] = {
                "positives": list(positives),
                "target_sensitivity": config.target_sensitivity,
                "threshold": choose_threshold(positive, score(probabilities, positives), config.target_sensitivity),
                "n_positive": int(positive.sum()),
            }
        return cls(
            calibration,
            config.set_level,
            calibration_scores(labels, probabilities),
            points,
            None if strangeness is None else threshold(strangeness.scores, config.false_refusals, strangeness.changed),
            None if strangeness is None else config.false_refusals,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Trust":
        """What `to_dict` gave; an older run has the temperature alone.

        Raises:
            KeyError: there is no temperature.
        """
        offsets = values.get("offsets", {})
        sets, refusal = values.get("prediction_sets", {}), values.get("refusal", {})
        points = values.get("operating_points")  # without a threshold where calibration has no such lesion
        return cls(
            Calibration(float(values["temperature"]), np.array([offsets.get(code, 0.0) for code in CODES])),
            sets.get("level"),
            sets.get("scores"),
            points and {name: point for name, point in points.items() if point["threshold"] is not None},
            refusal.get("threshold"),
            refusal.get("false_refusals"),
        )

    @classmethod
    def of_images_alone(cls, values: dict[str, Any]) -> "Trust":
        """As `from_dict`, for images of whose person nothing is known: another one where a run hears of age, sex and
        site, the same one where it does not."""
        return cls.from_dict(values | values.get(IMAGE_ALONE, {}))

    def to_dict(self) -> dict[str, Any]:
        """For `calibration.json`."""
        return {
            "temperature": self.calibration.temperature,
            "offsets": dict(zip(CODES, self.calibration.offsets.tolist(), strict=True)),
            "prediction_sets": {"level": self.level, "scores": self.scores},
            "operating_points": self.points,
            "refusal": {"threshold": self.strangest, "false_refusals": self.false_refusals},
        }

    def figures(
        self,
        labels: np.ndarray,
        logits: np.ndarray,
        lesions: np.ndarray,
        ood_scores: np.ndarray | None = None,
        seed: int = 0,
    ) -> Figures:
        """Every figure of one set of images, with intervals; see `metrics.json` in CONTRIBUTING.

        Args:
            labels: (n,) indices into `CODES`.
            logits: (n, 7).
            lesions: (n,) lesion of each image.
            ood_scores: (n,), or None where the run has no such score.
            seed: of the bootstrap.
        """
        probabilities = self.calibration.probabilities(logits)
        figures = evaluate(labels, probabilities, lesions, seed, predicted=logits.argmax(axis=1))
        figures["calibration"] = {
            "before": calibration_figures(labels, calibrated(logits), lesions, seed),
            "after": calibration_figures(labels, probabilities, lesions, seed),
        }
        if self.scores is not None and self.level is not None:
            figures["prediction_sets"] = set_figures(labels, probabilities, lesions, self.scores, self.level, seed)
        if self.points is not None:
            figures["operating_points"] = {
                name: {
                    **point,
                    **point_figures(labels, probabilities, lesions, point["positives"], point["threshold"], seed),
                }
                for name, point in self.points.items()
                if np.isfinite(point["threshold"])  # calibration had such a lesion
            }
        if self.strangest is not None and ood_scores is not None:
            figures["refusal"] = {
                "n": len(labels),
                "refused": rate(ood_scores > self.strangest, lesions, seed),
            }
        return figures


def points_of_images_alone(figures: Figures) -> Figures:
    """What the thresholds of `Trust.of_images_alone` reached, of one part's figures in `metrics.json`."""
    return figures.get(IMAGE_ALONE, {}).get("operating_points") or figures.get("operating_points", {})
