"""Evaluate a finished run on another HAM10000-shaped folder, an external test set, or examine the run itself.

    python -m core.evaluation --run ID --data-dir DIR [--json]
    python -m core.evaluation --run ID [--again]

Of another folder, lesion, age, sex and site may be missing; its figures are stored in the run, under
`evaluations/`. Without a folder, whatever the run itself has not got yet is made: see
`core.evaluation.examination`.
"""

import argparse
import json
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.data.dataset import Dataset
from core.data.ham10000 import load_dataset
from core.data.splits import EXCLUDED
from core.diagnoses import BY_CODE, CODES, notices
from core.engines import add_option, use
from core.errors import ConfigError, command
from core.evaluation.examination import examine
from core.evaluation.model_card import model_card
from core.evaluation.patient import Patient, patients_of
from core.evaluation.results import prediction_table
from core.evaluation.subgroups import subgroup_figures
from core.predictor import Predictor
from core.runs.all_runs import find_run
from core.runs.files import without_nan
from core.runs.jobs import give_way, stop_on_signal, take_up
from core.runs.run import EVALUATIONS, IMAGES, METRICS, MODEL_CARD, PREDICTIONS, SUBGROUPS, Run


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
        if known is None:
            print(
                "warning: a published copy does not say which images it learned from: what it scores on those says "
                "nothing of new patients.",
                file=sys.stderr,
            )
        elif known:
            print(
                f"warning: {known:,} of {len(dataset.images):,} images are of a lesion that the run was trained on. "
                "What it scores on them says nothing of new patients.",
                file=sys.stderr,
            )
        answers = _predict(predictor, dataset.images["path"].tolist(), patients_of(dataset.images))
        return _store(run, predictor, dataset, answers, known)


def _known_images(run: Run, dataset: Dataset) -> int | None:
    """How many images show a lesion, or bear the name of an image, that the run was trained on; None where it does not
    say what it was trained on, as a published copy."""
    splits = run.splits()
    if splits.empty:
        return None
    trained = splits[~splits["split"].isin(("test", EXCLUDED))]
    images = dataset.images
    return int((images["image_id"].isin(trained["image_id"]) | images["lesion_id"].isin(trained["lesion_id"])).sum())


@dataclass(frozen=True)
class _Answers:
    """What is kept of each prediction: logits (n, 7), strangeness (n,), and rows on the image's quality."""

    logits: np.ndarray
    strangeness: np.ndarray
    quality: pd.DataFrame


def _predict(predictor: Predictor, paths: list[str], patients: list[Patient]) -> _Answers:
    """Ask the run of every image."""
    logits, strangeness, quality = [], [], []
    for prediction in predictor.predict_telling(paths, patients):
        logits.append(prediction.logits)
        strangeness.append(prediction.strangeness)
        quality.append(prediction.quality.to_row())
    return _Answers(np.array(logits), np.array(strangeness), pd.DataFrame(quality))


def _store(run: Run, predictor: Predictor, dataset: Dataset, answers: _Answers, known: int | None) -> dict[str, Any]:
    """Compute the figures and write them with what is behind them; the same data set replaces its last time."""
    images, seed = dataset.images, run.config().seed
    trust = predictor.trust_in(patients_of(images))
    labels, lesions = images["dx"].map(CODES.index).to_numpy(), images["lesion_id"].to_numpy()
    figures = trust.figures(labels, answers.logits, lesions, answers.strangeness, seed)
    probabilities = trust.calibration.probabilities(answers.logits)
    predictions = prediction_table(images, "external", answers.logits, probabilities, answers.strangeness)
    quality = pd.concat([images[["image_id"]].reset_index(drop=True), answers.quality], axis=1)
    people = images.assign(predicted=predictions["predicted"].to_numpy(), ita=quality["ita"].to_numpy())

    fingerprint = dataset.fingerprint()
    name = f"{re.sub(r'[^A-Za-z0-9_-]+', '-', dataset.folder.name)}-{fingerprint[:8]}"
    folder = Path(EVALUATIONS) / name
    run.write_csv(folder / PREDICTIONS, predictions)
    run.write_csv(folder / IMAGES, quality)
    run.write_json(folder / SUBGROUPS, subgroup_figures(people, probabilities, lesions, seed))
    data = {
        "folder": str(dataset.folder),
        "fingerprint": fingerprint,
        "images": len(images),
        "known_to_the_run": known,
        "synthetic": dataset.synthetic,
        "left_out": dataset.left_out,
        "image_alone": trust is not predictor.trust,  # what `calibration.json` holds under this name has judged
    }
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    run.write_json(folder / METRICS, {"data": data, "evaluated": moment, "metrics": figures})
    # one that is published says what was measured elsewhere; a copy's own is whole, and could not be written anew
    if (run.folder / MODEL_CARD).is_file() and known is not None:
        run.write_bytes(MODEL_CARD, model_card(run).encode())
    return figures


def as_table(figures: dict[str, Any]) -> str:
    """The figures for people."""

    def interval(figure: dict[str, float]) -> str:
        if figure["value"] is None or np.isnan(figure["value"]):
            return "unknown: too few diagnoses"
        return f"{figure['value']:.3f} (95 % interval {figure['low']:.3f} to {figure['high']:.3f})"

    calibration = {name: (figures["calibration"][name]["ece"] or {}).get("value") for name in ("before", "after")}
    rows = pd.DataFrame.from_dict(figures["per_class"], orient="index")
    rows.index = [BY_CODE[code].name for code in rows.index]
    lines = [
        f"images             {figures['n']:,}",
        f"balanced accuracy  {interval(figures['balanced_accuracy'])}",
        f"macro AUC          {interval(figures['macro_auc'])}",
        f"accuracy           {interval(figures['accuracy'])}",
        f"always nevus       {figures['always_nevus_accuracy']:.3f} accuracy",
        f"calibration error  {calibration['before']:.3f} before, {calibration['after']:.3f} after calibration",
    ]
    if "prediction_sets" in figures:
        sets = figures["prediction_sets"]
        lines.append(
            f"prediction sets    hold the truth: {interval(sets['coverage'])}, mean size {sets['mean_size']:.1f}"
        )
    for name, point in figures.get("operating_points", {}).items():
        lines.append(f"{name:<18} sensitivity {interval(point['sensitivity'])}")
        lines.append(f"{'':<18} specificity {interval(point['specificity'])}")
    if "refusal" in figures:
        lines.append(f"refused            {interval(figures['refusal']['refused'])}")
    return "\n".join([*lines, "", rows.to_string(float_format="{:.3f}".format, na_rep="-")])


@command
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m core.evaluation",
        description="Evaluate a finished run on another HAM10000-shaped folder, or examine the run itself.",
    )
    parser.add_argument("--run", required=True, help="the run's id, or the path of its folder")
    parser.add_argument("--data-dir", type=Path, help="the folder of the external test set; without it, the run itself")
    parser.add_argument("--again", action="store_true", help="make everything anew, not only what is missing")
    parser.add_argument("--skip-damaged", action="store_true", help="leave out images that cannot be read")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_option(parser)
    options = parser.parse_args(arguments)
    use(options.engine)
    run = find_run(options.run)
    if options.again and options.data_dir:
        raise ConfigError("--again makes a run's own examination anew. Received: it with --data-dir. Leave it out.")
    if options.skip_damaged and not options.data_dir:
        raise ConfigError("A run's own images are those that it learned from. Received: --skip-damaged without "
                          "--data-dir. Leave it out.")  # fmt: skip
    if options.data_dir is None:
        take_up(run)
        stop_on_signal(run)
        with redirect_stdout(sys.stderr):  # what is told on the way is no part of the figures
            examine(run, options.again)
        figures = run.metrics()["test"]
    else:
        figures = evaluate_on(run, options.data_dir, options.skip_damaged)
    if options.json:
        print(json.dumps(without_nan(figures), indent=2))
    else:
        print(as_table(figures))
        print("\n".join(notices(run.synthetic)))
    return 0


if __name__ == "__main__":
    give_way()
    sys.exit(main())
