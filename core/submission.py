"""The submission file of the ISIC 2018 challenge, task 3, for any folder of images; no labels are needed.

    python -m core.submission --run ID --images FOLDER --out FILE.csv [--scores {balanced,calibrated}] [--skip-damaged]

One row an image: its file's name without suffix, then a score from 0 to 1 for each of the seven diagnoses, in the
challenge's order. Codella et al., "Skin Lesion Analysis Toward Melanoma Detection 2018", arXiv:1902.03368, 2019.

The challenge ranks by balanced accuracy of the largest score of a row, as if all seven diagnoses were equally common.
So `balanced` scores are the default. Calibrated probabilities know how common each diagnosis is and rightly favour
nevi: they mean what they say, and rank lower.
"""

import argparse
import filecmp
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.data.columns import read_people
from core.data.ham10000 import EXAMPLES
from core.data.images import SUFFIXES
from core.data.inspection import inspect_images
from core.data.masks import SUFFIX as MASK
from core.data.splits import class_weights
from core.data.walking import walk
from core.diagnoses import CODES, notices
from core.errors import DatasetError, RunError, command
from core.evaluation.calibration import calibrated
from core.evaluation.patient import NOBODY, Patient, patients_of
from core.evaluation.results import training_weights
from core.predictor import Predictor
from core.runs.all_runs import find_run
from core.runs.files import write_csv
from core.runs.run import Run

COLUMNS = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")  # the challenge's order and names
SCORES = ("balanced", "calibrated")


@dataclass(frozen=True, eq=False)
class Submission:
    """What is handed in, and what a person should know of it.

    Attributes:
        table: image, then `COLUMNS`: 0 to 1, each row sums to 1; in order of name.
        refused: names of images that the run would give no diagnosis, and why; they have a row, for the challenge
            wants one for each.
        left_out: names of images that could not be read and have no row.
    """

    table: pd.DataFrame
    refused: list[str]
    left_out: list[str]


def submission(run: Run, folder: Path, scores: str = "balanced", skip_damaged: bool = False) -> Submission:
    """Score every image anywhere below a folder.

    Args:
        run: a finished run.
        folder: of images; masks and hidden files are passed over.
        scores: "balanced", as if all diagnoses were equally common, or "calibrated", as common as in the run's data.
        skip_damaged: leave out images that cannot be read, instead of raising.

    Raises:
        DatasetError: no image is there, two share a name, or some cannot be read.
        RunError: the run cannot answer.
    """
    if scores not in SCORES:
        raise DatasetError(f"scores must be one of {', '.join(SCORES)}. Received: {scores!r}.")
    paths, left_out = _sound(_named_images(folder), folder, skip_damaged)
    predictor = Predictor.load(run)
    names = list(paths)
    patients = _patients(folder, names) if predictor.term else None
    logits, probabilities, refused = _predict(predictor, paths, patients)
    values = probabilities if scores == "calibrated" else balanced_scores(run, logits)
    table = pd.DataFrame(values[:, [CODES.index(name.lower()) for name in COLUMNS]], columns=list(COLUMNS))
    table.insert(0, "image", names)
    return Submission(table, refused, left_out)


def balanced_scores(run: Run, logits: np.ndarray) -> np.ndarray:
    """Logits to what an image speaks for if all seven diagnoses were equally common.

    Class weights or logit adjustment in training make logits that already say so, as far as they go; for the rest,
    how common each diagnosis was in training is taken out.

    Args:
        run: that answered.
        logits: (n, 7).

    Returns:
        (n, 7) float64, each row sums to 1.
    """
    splits = run.splits()
    if splits.empty:
        raise RunError(
            f"Balanced scores need to know how common each diagnosis was in training. Received: run {run.id!r}, a "
            "published copy, which does not tell. Take the run itself, or --scores calibrated."
        )
    whole = class_weights(splits.loc[splits["split"] == "train", "dx"])
    offsets = np.log(training_weights(run, splits).astype(np.float64) / whole)
    return calibrated(logits, float(run.calibration()["temperature"]), offsets)


def _named_images(folder: Path) -> dict[str, str]:
    """Name without suffix -> path, in order of name. The same file twice, as in Kaggle's folders, is one image."""
    if not folder.is_dir():
        raise DatasetError(f"--images must name a folder. Received: {str(folder)!r}, which is none. Correct it.")
    found: dict[str, str] = {}
    clashes = []
    for parent, names in walk(folder):
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in SUFFIXES or name.endswith(MASK):
                continue
            path = os.path.join(parent, name)
            first = found.setdefault(stem, path)
            with suppress(OSError):  # what cannot be opened is named when it is read
                if first != path and not filecmp.cmp(first, path, shallow=False):
                    clashes.append(stem)
    if clashes:
        raise DatasetError(
            f"Each image has a name of its own: its row is named by it. Received: {folder} with {len(clashes)} names "
            f"of two different images: {_some(clashes)}. Rename them."
        )
    unreadable = [name for name in found if not name.isprintable()]  # also what Python makes of other bytes
    if unreadable:
        raise DatasetError(
            f"The name of an image is text in UTF-8. Received: {_some([repr(name) for name in unreadable])}. Rename it."
        )
    if not found:
        raise DatasetError(
            f"A folder of images holds at least one file named {', '.join(SUFFIXES)}. Received: {str(folder)!r}, "
            "which holds none. Name another one."
        )
    return dict(sorted(found.items()))


def _sound(paths: dict[str, str], folder: Path, skip_damaged: bool) -> tuple[dict[str, str], list[str]]:
    """The images that can be read, and the names of the others. Asked before the first is scored."""
    inspected = inspect_images(list(paths.values()))
    problems = dict(zip(paths, inspected["problem"], strict=True))
    damaged = [f"{name} ({problem})" for name, problem in problems.items() if problem]
    sound = {name: path for name, path in paths.items() if not problems[name]}
    if damaged and not (skip_damaged and sound):
        way_on = "Mend them, or leave them out: --skip-damaged." if sound else "Name another folder."
        raise DatasetError(
            f"Every image must be whole. Received: {folder} with {len(damaged)} of {len(paths)} that cannot be read: "
            f"{_some(damaged)}. {way_on}"
        )
    return sound, [name for name in paths if problems[name]]


def _patients(folder: Path, names: list[str]) -> list[Patient]:
    """What the folder's table, where it has one, says of the person in each image."""
    rows = read_people(folder).set_index("image_id").reindex(names)
    found = patients_of(rows.fillna({"sex": "", "localization": ""}))
    known = sum(patient != NOBODY for patient in found)
    print(f"age, sex or site of {known:,} of {len(names):,} images are in the folder's table", file=sys.stderr)
    return found


def _predict(
    predictor: Predictor, paths: dict[str, str], patients: list[Patient] | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Logits and probabilities, both (n, 7), and what the run refuses, with its reasons."""
    answers: list[tuple[np.ndarray, np.ndarray]] = []
    refused = []
    for name, answer in zip(paths, predictor.predict_telling(list(paths.values()), patients), strict=True):
        answers.append((answer.logits, answer.probabilities))
        if answer.refused:
            refused.append(f"{name} ({', '.join(answer.refusals)})")
    logits, probabilities = (np.array(values) for values in zip(*answers, strict=True))
    return logits, probabilities, refused


def _some(names: list[str]) -> str:
    return ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")


def _check_target(out: Path) -> None:
    """An hour later is too late to learn that the file cannot be written."""
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise RunError(f"--out must name a file that can be written. Received: {str(out)!r}. Name another one.")


@command
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m core.submission", description="Write the ISIC 2018 task 3 submission file of a folder."
    )
    parser.add_argument("--run", required=True, help="the run's id, or the path of its folder")
    parser.add_argument("--images", required=True, type=Path, help="the folder; images may lie anywhere below it")
    parser.add_argument("--out", required=True, type=Path, help="the CSV file that is written, whole or not at all")
    parser.add_argument(
        "--scores",
        choices=SCORES,
        default=SCORES[0],
        help="balanced (default): as if all diagnoses were equally common, which is what the challenge ranks by; "
        "calibrated: the probabilities that DermLens shows",
    )
    parser.add_argument("--skip-damaged", action="store_true", help="leave out images that cannot be read")
    options = parser.parse_args(arguments)
    _check_target(options.out)
    run = find_run(options.run)
    made = submission(run, options.images, options.scores, options.skip_damaged)
    write_csv(options.out, made.table)
    if made.left_out:
        print(f"left out {len(made.left_out)} damaged: {', '.join(made.left_out)}", file=sys.stderr)
    if made.refused:
        print(
            f"warning: {len(made.refused)} of {len(made.table)} images would be refused, and have a row only because "
            f"the challenge wants one for each: {', '.join(made.refused)}",
            file=sys.stderr,
        )
    print(f"{len(made.table):,} images, {options.scores} scores: {options.out}")
    print("\n".join(notices(run.synthetic)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
