"""The one door to a model: an image goes in, a Prediction comes out.

    python -m core.predictor IMAGE... [--run ID] [--json]

The command line, the dashboard, the clinician's page and its API all call `Predictor`, so that they
cannot disagree.
"""

import argparse
import json
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.data.images import ImageSource, model_input, read_image
from core.diagnoses import CODES, DIAGNOSES, RESEARCH_NOTICE, SYNTHETIC_NOTICE, Diagnosis
from core.errors import DermLensError, ImageError, RunError, RunNotFoundError
from core.evaluation.calibration import calibrated
from core.explain.overlay import overlay
from core.runs.run import MODEL, Run, find_run, served_run

BATCH = 32


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one run says of one image.

    Attributes:
        image: (H, W, 3) uint8 RGB, the whole original.
        logits: (7,) float32, in the order of `CODES`.
        probabilities: (7,) float64, calibrated, sum 1.
        heatmaps: (7, h, w) float32, at least 0: Grad-CAM of each diagnosis on the centre square, not scaled.
        heatmap_scale: the value that is shown in full colour, the same for all images of a run.
        run_id: the run that answered.
        synthetic: whether that run learned from drawn images only.
    """

    image: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    heatmaps: np.ndarray
    heatmap_scale: float
    run_id: str
    synthetic: bool

    @property
    def code(self) -> str:
        """The most probable diagnosis."""
        return CODES[int(np.argmax(self.probabilities))]

    def ranked(self) -> list[tuple[Diagnosis, float]]:
        """The seven diagnoses with their probabilities, the most probable first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(DIAGNOSES[index], float(self.probabilities[index])) for index in order]

    def overlay(self, code: str | None = None, opacity: float = 0.5) -> np.ndarray:
        """The heatmap of a diagnosis (by default the most probable) over the whole original.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        heatmap = self.heatmaps[CODES.index(code or self.code)]
        return overlay(self.image, heatmap, self.heatmap_scale, opacity)

    def to_dict(self) -> dict[str, Any]:
        """What an export holds: figures, provenance and the notice; no pixels."""
        return {
            "diagnosis": self.code,
            "probabilities": {code: float(p) for code, p in zip(CODES, self.probabilities, strict=True)},
            "logits": {code: float(x) for code, x in zip(CODES, self.logits, strict=True)},
            "run": self.run_id,
            "synthetic": self.synthetic,
            "notice": f"{SYNTHETIC_NOTICE} {RESEARCH_NOTICE}" if self.synthetic else RESEARCH_NOTICE,
        }


class Predictor:
    """A finished run, ready to answer. One compiled pass returns the logits and all seven heatmaps.

    Safe to call from several threads at once.
    """

    def __init__(self, run: Run) -> None:
        from core.models.classifier import load_model, logits_and_heatmaps

        if not run.usable:
            raise RunError(f"Only a finished run can answer. Received: run {run.id!r}, {run.status().state}.")
        try:
            self._read(run.manifest(), run.calibration())
        except KeyError as error:
            raise RunError(
                f"A finished run says in its manifest and calibration what its model needs. "
                f"Received: run {run.id!r}, which lacks {error}. Train the run again."
            ) from error
        self.run = run
        self.synthetic = run.synthetic
        self._pass = logits_and_heatmaps(load_model(run.folder / MODEL), self._gradcam_layer)

    def _read(self, manifest: dict[str, Any], calibration: dict[str, Any]) -> None:
        if tuple(manifest["classes"]) != CODES:
            raise RunError(
                f"The model's classes must be {list(CODES)}, in this order. "
                f"Received: {manifest['classes']}. Train the run again."
            )
        self.size = int(manifest["image_size"])
        self.temperature = float(calibration["temperature"])
        self.heatmap_scale = float(calibration["heatmap_scale"])
        self._gradcam_layer = str(manifest["gradcam_layer"])

    @classmethod
    def load(cls, run: Run | str) -> "Predictor":
        """Load a run by its id, its path, or itself.

        Raises:
            RunNotFoundError: there is no such run.
            RunError: it is not finished, or its files do not fit.
        """
        return cls(run if isinstance(run, Run) else find_run(run))

    def predict(self, image: ImageSource) -> Prediction:
        """What the run says of one image.

        Args:
            image: a path, the bytes of a file, or an array; see `core.data.images.read_image`.

        Raises:
            ImageError: it cannot be read as an image.
        """
        return self.predict_many([image])[0]

    def predict_many(self, images: Iterable[ImageSource]) -> list[Prediction]:
        """What the run says of each image, in their order; see `predict`."""
        originals = [read_image(image) for image in images]
        answers: list[Prediction] = []
        for start in range(0, len(originals), BATCH):
            answers += self._predict_batch(originals[start : start + BATCH])
        return answers

    def _predict_batch(self, originals: Sequence[np.ndarray]) -> list[Prediction]:
        pixels = np.stack([model_input(original, self.size) for original in originals])
        logits, maps = (np.asarray(output) for output in self._pass(pixels))
        probabilities = calibrated(logits, self.temperature)
        return [
            Prediction(
                image=original,
                logits=logits[index],
                probabilities=probabilities[index],
                heatmaps=maps[index],
                heatmap_scale=self.heatmap_scale,
                run_id=self.run.id,
                synthetic=self.synthetic,
            )
            for index, original in enumerate(originals)
        ]


_served: tuple[tuple[str, int], Predictor] | None = None
_loading = threading.Lock()


def served_predictor() -> Predictor:
    """The predictor of the run that is served now: follows a promotion without a restart.

    Raises:
        RunNotFoundError: no run is served.
        RunError: the served run cannot answer.
    """
    global _served
    run = served_run()
    if run is None:
        raise RunNotFoundError(
            "A run must be served before anything can be predicted. Received: none. Train one first."
        )
    key = (str(run.folder), (run.folder / MODEL).stat().st_mtime_ns if (run.folder / MODEL).exists() else 0)
    with _loading:  # two first visitors load the model once
        if _served is None or _served[0] != key:
            _served = (key, Predictor(run))
        return _served[1]


def _table(answers: dict[str, Prediction]) -> str:
    width = max(len("image"), *(len(path) for path in answers))
    lines = [f"{'image':<{width}}  {'diagnosis':<9}  " + "  ".join(f"{code:>6}" for code in CODES)]
    for path, prediction in answers.items():
        shares = "  ".join(f"{p:6.1%}" for p in prediction.probabilities)
        lines.append(f"{path:<{width}}  {prediction.code:<9}  {shares}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 1 when any of the images could not be read."""
    parser = argparse.ArgumentParser(prog="python -m core.predictor", description="Predict images with a finished run.")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG, PNG, BMP, TIFF or WebP files")
    parser.add_argument("--run", help="a run's id or folder; by default the one that is served")
    parser.add_argument("--json", action="store_true", help="print JSON: one object for each image")
    options = parser.parse_args(arguments)
    try:
        predictor = Predictor.load(options.run) if options.run else served_predictor()
    except DermLensError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    answers: dict[str, Prediction] = {}
    for path in options.images:
        try:
            answers[path] = predictor.predict(path)
        except ImageError as error:
            print(f"error: {path}: {error}", file=sys.stderr)
    if options.json:
        print(json.dumps([{"image": path, **answer.to_dict()} for path, answer in answers.items()], indent=2))
    elif answers:
        print(_table(answers))
        if predictor.synthetic:
            print(SYNTHETIC_NOTICE)
        print(RESEARCH_NOTICE)
    return 0 if len(answers) == len(set(options.images)) else 1


if __name__ == "__main__":
    sys.exit(main())
