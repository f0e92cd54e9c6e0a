"""The one door to a model: an image goes in, a Prediction comes out.

    python -m core.predictor IMAGE... [--run ID] [--json]

The command line, the dashboard, the clinician's page and its API all call `Predictor`, so that they
cannot disagree.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from core.data.images import ImageSource, model_input, read_image
from core.data.quality import SEVERE, assess_quality
from core.diagnoses import CODES, notices
from core.engines import add_option, answering_ensemble, use
from core.errors import ImageError, RunError, command
from core.evaluation.conformal import FEWEST, prediction_sets
from core.evaluation.operating import score
from core.evaluation.outliers import read_outliers
from core.evaluation.patient import NOBODY, Patient, PatientTerm
from core.evaluation.trust import Trust, points_of_images_alone
from core.explain.explainer import BATCH, Explainer
from core.prediction import REASONS, STRANGE, OperatingPoint, Prediction, PredictionSet
from core.runs.all_runs import find_run, named_or_served
from core.runs.run import CALIBRATION, MODEL, OUTLIERS, Run

TELLING = 10.0  # seconds between two lines on how far it is


@dataclass(frozen=True)
class _Judge:
    """What was fitted to logits of one kind, and what its thresholds reached on the test images."""

    trust: Trust
    measured: dict[str, Any]

    def prediction_set(self, probabilities: np.ndarray) -> PredictionSet | None:
        """What cannot be ruled out; None for a run of an older DermLens."""
        scores, level = self.trust.scores, self.trust.level
        if scores is None or level is None:
            return None
        members = prediction_sets(probabilities[None], scores, level)[0]
        return PredictionSet(
            tuple(code for code, member in zip(CODES, members, strict=True) if member),
            level,
            tuple(code for code in CODES if len(scores.get(code, ())) < FEWEST),
        )

    def points(self, probabilities: np.ndarray) -> tuple[OperatingPoint, ...]:
        """On which side of each threshold the image lies."""
        return tuple(self._point(name, point, probabilities) for name, point in (self.trust.points or {}).items())

    def _point(self, name: str, point: dict[str, Any], probabilities: np.ndarray) -> OperatingPoint:
        measured = self.measured.get(name, {})
        return OperatingPoint(
            name,
            tuple(point["positives"]),
            float(score(probabilities[None], tuple(point["positives"]))[0]),
            point["threshold"],
            point["target_sensitivity"],
            (measured.get("sensitivity") or {}).get("value"),
            (measured.get("specificity") or {}).get("value"),
        )


class Predictor:
    """A finished run, ready to answer. One compiled pass returns the logits and all seven heatmaps.

    Safe to call from several threads at once.

    Args:
        run: a finished run.
        engine: one of `core.engines.ENGINES`; by default what `chosen_engine` says, and TensorFlow where a network
            cannot be converted.
    """

    def __init__(self, run: Run, engine: str | None = None) -> None:
        if not run.usable:
            raise RunError(f"Only a finished run can answer. Received: run {run.id!r}, {run.status().state}.")
        try:
            self._read(run.manifest(), run.calibration())
            self.term = PatientTerm.from_dict(run.patient())
        except KeyError as error:
            raise RunError(
                f"A finished run says in its manifest and calibration what its model needs. "
                f"Received: run {run.id!r}, which lacks {error}. Train the run again."
            ) from error
        self.run = run
        self.synthetic = run.synthetic
        self.outliers = [read_outliers(network.folder / OUTLIERS) for network in run.members() or [run]]
        test = run.metrics().get("test", {})
        self._of_people = _Judge(self.trust, test.get("operating_points", {}))
        self._of_images = _Judge(Trust.of_images_alone(run.calibration()), points_of_images_alone(test))
        self._network = answering_ensemble(run, engine)

    def _read(self, manifest: dict[str, Any], calibration: dict[str, Any]) -> None:
        if tuple(manifest["classes"]) != CODES:
            raise RunError(
                f"The model's classes must be {list(CODES)}, in this order. "
                f"Received: {manifest['classes']}. Train the run again."
            )
        self.size = int(manifest["image_size"])
        _ = manifest["backbone"], manifest["gradcam_layer"]
        self.trust = Trust.from_dict(calibration)
        self.heatmap_scale = float(calibration["heatmap_scale"])

    @classmethod
    def load(cls, run: Run | str) -> "Predictor":
        """Load a run by its id, its path, or itself.

        Raises:
            RunNotFoundError: there is no such run.
            RunError: it is not finished, or its files do not fit.
        """
        return cls(run if isinstance(run, Run) else find_run(run))

    @cached_property
    def explainer(self) -> Explainer:
        """Heatmaps of every kind and depth of this run's network."""
        return Explainer(self._network)

    def predict(self, image: ImageSource, patient: Patient | None = None) -> Prediction:
        """What the run says of one image.

        Args:
            image: a path, the bytes of a file, or an array; see `core.data.images.read_image`.
            patient: what is known of the person; a run that sees the image alone has no use for it.

        Raises:
            ImageError: it cannot be read as an image.
        """
        return self.predict_many([image], [patient])[0]

    def predict_many(
        self, images: Iterable[ImageSource], patients: Sequence[Patient | None] | None = None
    ) -> list[Prediction]:
        """What the run says of each image, in their order, with what is known of each person; see `predict`."""
        return list(self.predict_each(list(images), patients))

    def predict_each(
        self, images: Sequence[ImageSource], patients: Sequence[Patient | None] | None = None
    ) -> Iterator[Prediction]:
        """As `predict_many`, of more images than fit in memory: a batch of them is held at a time."""
        people = [patient or NOBODY for patient in patients or [None] * len(images)]
        if len(people) != len(images):
            raise ValueError(f"Each image has one patient, or None. Received: {len(images)} and {len(people)}.")
        for start in range(0, len(images), BATCH):
            batch = slice(start, start + BATCH)
            yield from self._predict_batch([read_image(image) for image in images[batch]], people[batch])

    def predict_telling(
        self, images: Sequence[ImageSource], patients: Sequence[Patient | None] | None = None
    ) -> Iterator[Prediction]:
        """As `predict_each`; standard error is told how far it is."""
        started = last = time.monotonic()
        for done, answer in enumerate(self.predict_each(images, patients), 1):
            yield answer
            if time.monotonic() - last > TELLING or done == len(images):
                last = time.monotonic()
                speed = done / max(last - started, 1e-9)
                print(f"{done:,} of {len(images):,} images, {speed:.0f} images/s", file=sys.stderr, flush=True)

    def unheard(self, patient: Patient) -> list[str]:
        """What is said of a person and changes no answer of this run: some of "age", "sex" and "site"."""
        heard = NOBODY if self.term is None else self.term.understood(patient)
        return [name for name in ("age", "sex", "site") if getattr(patient, name) and getattr(heard, name) is None]

    def trust_in(self, patients: Sequence[Patient]) -> Trust:
        """What judges a folder of images: another one where nothing is known of any of these people."""
        of_people = any(self._judge_of(person) is self._of_people for person in patients)
        return (self._of_people if of_people else self._of_images).trust

    def _judge_of(self, person: Patient) -> "_Judge":
        unknown = self.term is not None and self.term.understood(person) == NOBODY
        return self._of_images if unknown else self._of_people

    def _predict_batch(self, originals: Sequence[np.ndarray], people: Sequence[Patient]) -> list[Prediction]:
        pixels = np.stack([model_input(original, self.size) for original in originals])
        alone, maps, features = self._network.answer(pixels)
        logits = alone if self.term is None else alone + self.term.added(people)
        judges = [self._judge_of(person) for person in people]
        strangeness = self._strangeness(features)
        beats = self.run.gradcam_beats()  # asked anew each time: it is measured after the run is finished
        answers = [
            self._prediction(original, judges[n], logits[n], maps[n], features[n], strangeness[n], beats)
            for n, original in enumerate(originals)
        ]
        if self.term is None:
            return answers
        return [
            replace(answer, image_logits=said, patient=None if patient == NOBODY else patient)
            for answer, said, patient in zip(answers, alone, map(self.term.understood, people), strict=True)
        ]

    def _strangeness(self, features: np.ndarray) -> np.ndarray:
        """(n,): the mean of the networks' scores, each of its own features; NaN where one has none."""
        scores, start = [], 0
        for outliers in self.outliers:
            if outliers is None:
                return np.full(len(features), np.nan)
            end = start + len(outliers.mean)
            scores.append(outliers.score(features[:, start:end]))
            start = end
        return np.mean(scores, axis=0)

    def _prediction(
        self,
        original: np.ndarray,
        judge: _Judge,
        logits: np.ndarray,
        maps: np.ndarray,
        features: np.ndarray,
        strangeness: float,
        heatmap_beats: float | None,
    ) -> Prediction:
        quality, probabilities = assess_quality(original), judge.trust.calibration.probabilities(logits[None])[0]
        strange = self.trust.strangest is not None and strangeness > self.trust.strangest
        return Prediction(
            image=original,
            logits=logits,
            probabilities=probabilities,
            heatmaps=maps,
            heatmap_scale=self.heatmap_scale,
            quality=quality,
            strangeness=float(strangeness),
            refusals=(*((STRANGE,) if strange else ()), *(code for code in quality.problems if code in SEVERE)),
            prediction_set=judge.prediction_set(probabilities),
            points=judge.points(probabilities),
            heatmap_beats=heatmap_beats,
            run_id=self.run.id,
            synthetic=self.synthetic,
            features=features,
        )


_served: tuple[tuple[str, int], Predictor] | None = None
_loading = threading.Lock()


def served_predictor() -> Predictor:
    """The predictor of the run that is served now: follows a promotion without a restart.

    Raises:
        RunNotFoundError: no run is served.
        RunError: the served run cannot answer.
    """
    global _served
    run = named_or_served(None)
    changed = [path.stat().st_mtime_ns for path in (run.folder / MODEL, run.folder / CALIBRATION) if path.exists()]
    key = (str(run.folder), max(changed, default=0))
    with _loading:  # two first visitors load the model once
        if _served is None or _served[0] != key:
            _served = (key, Predictor(run))
        return _served[1]


def _table(answers: dict[str, Prediction], insist: bool) -> str:
    width = max(len("image"), *(len(path) for path in answers))
    lines = [f"{'image':<{width}}  {'diagnosis':<9}  " + "  ".join(f"{code:>6}" for code in CODES)]
    for path, prediction in answers.items():
        if prediction.refused and not insist:
            lines.append(f"{path:<{width}}  {'refused':<9}  {' '.join(REASONS[code] for code in prediction.refusals)}")
        else:
            shares = "  ".join(f"{p:6.1%}" for p in prediction.probabilities)
            lines.append(f"{path:<{width}}  {prediction.code:<9}  {shares}")
    return "\n".join(lines)


@command
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 1 when any of the images could not be read."""
    parser = argparse.ArgumentParser(prog="python -m core.predictor", description="Predict images with a finished run.")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG, PNG, BMP, TIFF, WebP or DICOM files")
    parser.add_argument("--run", help="a run's id or folder; by default the one that is served")
    parser.add_argument("--json", action="store_true", help="print JSON: one object for each image")
    parser.add_argument("--show-anyway", action="store_true", help="give the figures of refused images too")
    parser.add_argument("--age", type=float, help="of the person, in years, for a run trained with --patient")
    parser.add_argument("--sex", help="of the person: female or male")
    parser.add_argument("--site", help="where on the body, in HAM10000's words, such as back or 'lower extremity'")
    add_option(parser)
    options = parser.parse_args(arguments)
    use(options.engine)
    patient = Patient(options.age, options.sex, options.site)
    predictor = Predictor.load(options.run) if options.run else served_predictor()
    unheard = [f"--{name}" for name in predictor.unheard(patient)]
    if unheard:
        print(f"warning: this run takes no notice of {', '.join(unheard)} as given.", file=sys.stderr)
    answers: dict[str, Prediction] = {}
    for path in options.images:
        try:
            answers[path] = predictor.predict(path, patient)
        except ImageError as error:
            print(f"error: {path}: {error}", file=sys.stderr)
    if options.json:
        rows = [{"image": path, **answer.to_dict(options.show_anyway)} for path, answer in answers.items()]
        print(json.dumps(rows, indent=2))
    elif answers:
        print(_table(answers, options.show_anyway))
        print("\n".join(notices(predictor.synthetic)))
    return 0 if len(answers) == len(set(options.images)) else 1


if __name__ == "__main__":
    sys.exit(main())
