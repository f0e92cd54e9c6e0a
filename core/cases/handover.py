"""Confirmed cases as a data set in HAM10000's form, for a training to add: `train.py --data-dir DIR --data-dir FOLDER`.

The folder is written anew each time: a case that was deleted from the log, or whose histology was corrected, is
deleted or corrected there by the next hand-over, and no sooner.
"""

import json
import os
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from core.cases.log import CaseLog
from core.data.columns import METADATA_NAMES
from core.diagnoses import CODES, RESEARCH_NOTICE
from core.errors import CaseLogError
from core.places import confirmed_cases_folder

MARKER = "dermlens-cases.json"  # tells a folder that may be written anew from one that holds something else
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
TWICE = "logged twice"  # the same pixels with the same histology: the newest case stands for all
CONTRARY = "same image, different histology"
DRAWN = "answered by a model of drawn images"


@dataclass(frozen=True)
class HandOver:
    """What was written.

    Attributes:
        folder: the data set.
        images: how many images; with none there is no folder.
        lesions: how many lesions these show.
        per_diagnosis: code -> images, of those that occur, in the order of `CODES`.
        left_out: reason -> how many confirmed cases were left out.
    """

    folder: Path
    images: int
    lesions: int
    per_diagnosis: dict[str, int]
    left_out: dict[str, int] = field(default_factory=dict)


def hand_over(log: CaseLog, folder: Path | None = None, drawn: bool = False) -> HandOver:
    """Write the cases with histology as a data set, whole or not at all.

    An image is `case_` with the first twelve digits of its case's id, a lesion `case_` with its name.

    Args:
        log: where the cases are.
        folder: of the data set; by default `core.places.confirmed_cases_folder()`. One of an earlier hand-over is
            replaced.
        drawn: with the cases that a model of drawn images answered: their images may be drawn too.

    Raises:
        CaseLogError: the folder holds something else or cannot be written, or the log cannot be read.
    """
    folder = Path(os.path.abspath(os.path.expanduser(folder or confirmed_cases_folder())))
    cases, left_out = _confirmed(log, drawn)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        _check_replaceable(folder)
        try:
            if len(cases):
                _write(log, cases, temporary)
            _put_in_place(temporary if len(cases) else None, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise CaseLogError(
            f"Confirmed cases must be written to {folder}. Received: {error.strerror or error}. Free some disk, or "
            "check who may write there; what was there before is kept."
        ) from error
    counts = cases["histology"].value_counts()
    per_diagnosis = {code: int(counts[code]) for code in CODES if code in counts}
    return HandOver(folder, len(cases), cases["lesion"].nunique(), per_diagnosis, left_out)


def _confirmed(log: CaseLog, drawn: bool) -> tuple[pd.DataFrame, dict[str, int]]:
    """The cases to write, and how many others there are: reason -> number."""
    table = log.table()
    table = table[table["histology"].notna()]
    left_out: dict[str, int] = {}

    def leave_out(reason: str, out: pd.Series) -> None:
        nonlocal table
        if out.any():
            left_out[reason] = int(out.sum())
            table = table[~out]

    if not drawn:
        leave_out(DRAWN, table["synthetic"])
    leave_out(CONTRARY, table.groupby("image_sha256")["histology"].transform("nunique") > 1)
    leave_out(TWICE, table.duplicated("image_sha256"))  # the newest comes first
    return table, left_out


def _check_replaceable(folder: Path) -> None:
    if folder.is_dir() and not (folder / MARKER).is_file() and any(folder.iterdir()) or folder.is_file():
        raise CaseLogError(
            f"Confirmed cases are written to a folder of their own. Received: {folder}, which holds something else. "
            "Name another folder, or an empty one."
        )


def _write(log: CaseLog, cases: pd.DataFrame, folder: Path) -> None:
    (folder / "images").mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)
    names = "case_" + cases["id"].str[:12]
    for key, name in zip(cases["id"], names, strict=True):
        (folder / "images" / f"{name}.png").write_bytes(log.image(key))
    rows = pd.DataFrame(
        {
            "lesion_id": "case_" + cases["lesion"].astype(str),
            "image_id": names,
            "dx": cases["histology"],
            "dx_type": "histo",
            "age": cases["age"],
            "sex": cases["sex"].fillna("unknown"),
            "localization": cases["site"].fillna("unknown"),
        },
        columns=list(COLUMNS),
    )
    rows.sort_values("image_id").to_csv(folder / METADATA_NAMES[0], index=False, lineterminator="\n")
    marker = {"cases": len(cases), "notice": RESEARCH_NOTICE}
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def _put_in_place(made: Path | None, folder: Path) -> None:
    """Swap the folder that was made for the earlier one; without one, only the earlier one goes."""
    former = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.former")
    had_one = folder.exists()
    if had_one:
        folder.replace(former)
    try:
        if made is not None:
            made.replace(folder)
    except OSError:
        if had_one:
            former.replace(folder)
        raise
    shutil.rmtree(former, ignore_errors=True)
