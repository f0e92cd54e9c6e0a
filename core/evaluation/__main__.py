"""Evaluate a finished run on another HAM10000-shaped folder: an external test set.

    python -m core.evaluation --run ID --data-dir DIR [--json]

Lesion, age, sex and site may be missing. The figures are stored in the run, under `evaluations/`.
"""

import argparse
import json
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.data.ham10000 import Dataset, load_dataset
from core.diagnoses import BY_CODE, CODES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.errors import DermLensError
from core.evaluation.metrics import evaluate
from core.predictor import BATCH, Predictor
from core.runs.files import without_nan
from core.runs.run import EVALUATIONS, METRICS, PREDICTIONS, Run, find_run, prediction_table


def evaluate_on(run: Run, folder: Path, skip_damaged: bool = False) -> dict[str, Any]:
    """Predict every image of a folder, compute the figures, and store both in the run.

    Args:
        run: a finished run. Nobody else may write it meanwhile.
        folder: HAM10000-shaped; only image_id and dx are needed.
        skip_damaged: leave out what cannot be read, instead of raising.

    Returns:
        The figures, in the form of one split of `metrics.json`.

    Raises:
        DatasetError: the folder cannot be used.
        RunError: the run cannot answer, or cannot be written.
    """
    with run.writing():  # from the start: an hour later is too late to learn that nothing can be stored
        dataset = load_dataset(folder, skip_damaged, need_lesions=False)
        predictor = Predictor.load(run)
        for problem, names in dataset.left_out.items():
            print(f"left out {len(names)} {problem}", file=sys.stderr)
        known = _known_images(run, dataset)
        if known:
            print(
                f"warning: {known:,} of {len(dataset.images):,} images are of a lesion that the run was trained on. "
                "What it scores on them says nothing of new patients.",
                file=sys.stderr,
            )
        logits, probabilities = _predict(predictor, dataset.images["path"].tolist())
        labels = dataset.images["dx"].map(CODES.index).to_numpy()
        figures = evaluate(labels, probabilities, dataset.images["lesion_id"].to_numpy(), run.config().seed)
        _store(run, dataset, figures, logits, probabilities, known)
    return figures


def _known_images(run: Run, dataset: Dataset) -> int:
    """How many images show a lesion, or bear the name of an image, that the run was trained on."""
    splits = run.splits()
    trained = splits[splits["split"] != "test"]
    images = dataset.images
    return int((images["image_id"].isin(trained["image_id"]) | images["lesion_id"].isin(trained["lesion_id"])).sum())


def _predict(predictor: Predictor, paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Logits and probabilities, both (n, 7); says on standard error how far it is."""
    logits, probabilities = [], []
    started = last = time.monotonic()
    for start in range(0, len(paths), BATCH):
        for prediction in predictor.predict_many(paths[start : start + BATCH]):
            logits.append(prediction.logits)
            probabilities.append(prediction.probabilities)
        if time.monotonic() - last > 10:
            last = time.monotonic()
            speed = len(logits) / (last - started)
            print(f"{len(logits):,} of {len(paths):,} images, {speed:.0f} images/s", file=sys.stderr, flush=True)
    return np.array(logits), np.array(probabilities)


def _store(
    run: Run, dataset: Dataset, figures: dict[str, Any], logits: np.ndarray, probabilities: np.ndarray, known: int
) -> None:
    """Write predictions.csv and metrics.json of this data set; the same data set takes the place of its last time."""
    fingerprint = dataset.fingerprint()
    name = f"{re.sub(r'[^A-Za-z0-9_-]+', '-', dataset.folder.name)}-{fingerprint[:8]}"
    folder = Path(EVALUATIONS) / name
    run.write_csv(folder / PREDICTIONS, prediction_table(dataset.images, "external", logits, probabilities))
    data = {
        "folder": str(dataset.folder),
        "fingerprint": fingerprint,
        "images": len(dataset.images),
        "known_to_the_run": known,
        "synthetic": dataset.synthetic,
        "left_out": dataset.left_out,
    }
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    run.write_json(folder / METRICS, {"data": data, "evaluated": moment, "metrics": figures})


def as_table(figures: dict[str, Any]) -> str:
    """The figures for people."""

    def interval(name: str) -> str:
        figure = figures[name]
        if np.isnan(figure["value"]):
            return "unknown: one diagnosis only"
        return f"{figure['value']:.3f} (95 % interval {figure['low']:.3f} to {figure['high']:.3f})"

    rows = pd.DataFrame.from_dict(figures["per_class"], orient="index")
    rows.index = [BY_CODE[code].name for code in rows.index]
    return "\n".join(
        [
            f"images             {figures['n']:,}",
            f"balanced accuracy  {interval('balanced_accuracy')}",
            f"macro AUC          {interval('macro_auc')}",
            f"accuracy           {interval('accuracy')}",
            f"always nevus       {figures['always_nevus_accuracy']:.3f} accuracy",
            "",
            rows.to_string(float_format="{:.3f}".format, na_rep="-"),
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m core.evaluation", description="Evaluate a finished run on another HAM10000-shaped folder."
    )
    parser.add_argument("--run", required=True, help="the run's id, or the path of its folder")
    parser.add_argument("--data-dir", required=True, type=Path, help="the folder of the external test set")
    parser.add_argument("--skip-damaged", action="store_true", help="leave out images that cannot be read")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        run = find_run(options.run)
        figures = evaluate_on(run, options.data_dir, options.skip_damaged)
    except DermLensError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(without_nan(figures), indent=2))
    else:
        print(as_table(figures))
        print("\n".join([*([SYNTHETIC_NOTICE] if run.synthetic else []), RESEARCH_NOTICE]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
