"""What a run says of one image: probabilities, heatmaps, prediction set, operating points, and refusal."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.data.quality import PROBLEMS, Quality
from core.diagnoses import CODES, DIAGNOSES, Diagnosis, notices
from core.evaluation.patient import Patient
from core.explain.overlay import overlay

STRANGE = "not_dermatoscopy"  # the reason for a refusal that does not lie in the image's quality
REASONS = {
    STRANGE: "This does not look like the dermatoscopic images that the model knows.",
    **PROBLEMS,
}


@dataclass(frozen=True)
class PredictionSet:
    """The diagnoses that cannot be ruled out.

    Attributes:
        codes: in the order of `CODES`; none where nothing that the run knows fits.
        level: the share of images of each diagnosis whose set holds the truth, 0 to 1.
        unpromised: diagnoses with so few calibration cases that the level is no promise for them.
    """

    codes: tuple[str, ...]
    level: float
    unpromised: tuple[str, ...]


@dataclass(frozen=True)
class OperatingPoint:
    """Where an image lies beside a threshold.

    Attributes:
        name: "melanoma" or "malignant".
        positives: the diagnoses that are looked for.
        probability: of all of them together, calibrated.
        threshold: an image is flagged from this probability on.
        target_sensitivity: what the threshold was chosen for, on the calibration split.
        sensitivity, specificity: what it came to on the test split; None where that was not measured.
    """

    name: str
    positives: tuple[str, ...]
    probability: float
    threshold: float
    target_sensitivity: float
    sensitivity: float | None
    specificity: float | None

    @property
    def flagged(self) -> bool:
        """Whether the image is above the threshold."""
        return self.probability >= self.threshold


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one run says of one image.

    Attributes:
        image: (H, W, 3) uint8 RGB, the whole original.
        logits: (7,) float32, in the order of `CODES`.
        probabilities: (7,) float64, calibrated, sum 1.
        heatmaps: (7, h, w) float32, at least 0: Grad-CAM of each diagnosis on the centre square, not scaled.
        heatmap_scale: the value that is shown in full colour, the same for all images of a run.
        quality: how well the image can be assessed at all.
        strangeness: the out-of-distribution score, higher is stranger; NaN for a run that has none.
        refusals: why the run should not be asked of this image: `STRANGE`, and severe problems of quality.
        prediction_set: what cannot be ruled out; None for a run that has no such sets.
        points: how the image lies beside the run's thresholds.
        heatmap_beats: the share of test images on which such a heatmap points at what the model uses better than a
            random map and the middle of the image do, 0 to 1; None where that was not measured.
        run_id: the run that answered.
        synthetic: whether that run learned from drawn images only.
        image_logits: (7,) float32, what the image says alone; None where age, sex and site were not asked for.
        patient: what is known of the person and went into the answer; None where the image alone answered.
        features: (k,) float32, means of the network's depths, the last activation's at the end; None where not kept.
    """

    image: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    heatmaps: np.ndarray
    heatmap_scale: float
    quality: Quality
    strangeness: float
    refusals: tuple[str, ...]
    prediction_set: PredictionSet | None
    points: tuple[OperatingPoint, ...]
    heatmap_beats: float | None
    run_id: str
    synthetic: bool
    features: np.ndarray | None = None
    image_logits: np.ndarray | None = None
    patient: Patient | None = None

    @property
    def patient_used(self) -> bool:
        """Whether age, sex or site went into the answer."""
        return self.patient is not None

    @property
    def code(self) -> str:
        """The answer: what the image speaks for most, as if all seven were equally common."""
        return CODES[int(np.argmax(self.logits))]

    @property
    def most_probable(self) -> str:
        """The diagnosis of the highest probability: common ones, nevi above all, come first."""
        return CODES[int(np.argmax(self.probabilities))]

    @property
    def refused(self) -> bool:
        """Whether no answer should be given unless somebody insists."""
        return bool(self.refusals)

    def ranked(self) -> list[tuple[Diagnosis, float]]:
        """The seven diagnoses with their probabilities, the most probable first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(DIAGNOSES[index], float(self.probabilities[index])) for index in order]

    def overlay(self, code: str | None = None, opacity: float = 0.5) -> np.ndarray:
        """The heatmap of a diagnosis (by default the answer) over the whole original.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        heatmap = self.heatmaps[CODES.index(code or self.code)]
        return overlay(self.image, heatmap, self.heatmap_scale, opacity)

    def to_dict(self, insist: bool = False) -> dict[str, Any]:
        """What an export holds: figures, provenance and the notice; no pixels.

        Args:
            insist: give the figures of a refused image too; otherwise they are None.
        """
        figures = self._figures()
        if self.refused and not insist:
            figures = dict.fromkeys(figures)
        return {
            **figures,
            "refused": self.refused,
            "reasons": {code: REASONS[code] for code in self.refusals},
            "quality": {code: REASONS[code] for code in self.quality.problems if code not in self.refusals},
            "patient_used": self.patient_used,
            "run": self.run_id,
            "synthetic": self.synthetic,
            "notice": " ".join(notices(self.synthetic)),
        }

    def _figures(self) -> dict[str, Any]:
        sets = self.prediction_set
        return {
            "diagnosis": self.code,
            "most_probable": self.most_probable,
            "probabilities": {code: float(p) for code, p in zip(CODES, self.probabilities, strict=True)},
            "logits": {code: float(x) for code, x in zip(CODES, self.logits, strict=True)},
            "prediction_set": sets and {"level": sets.level, "codes": list(sets.codes)},
            "operating_points": {
                point.name: {
                    "probability": point.probability,
                    "threshold": point.threshold,
                    "target_sensitivity": point.target_sensitivity,
                    "flagged": point.flagged,
                }
                for point in self.points
            },
        }
