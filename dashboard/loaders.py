"""What the pages read of runs and of their images, cached.

What networks say is in `dashboard.models`, what the gallery alone reads in `dashboard.gallery_table`.

Each cached function is keyed on paths and the time of their last change, and holds a bounded number of
entries. What a cached resource gives is shared by all sessions: look at it, never change it.
"""

import os
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from core.config import TrainConfig
from core.data.columns import MAPPING
from core.data.dataset import Dataset
from core.data.decisions import Decisions
from core.data.ham10000 import index_dataset
from core.data.images import as_jpeg, at_most, read_image
from core.data.masks import find_masks, whole_mask
from core.errors import DermLensError
from core.runs import run as contract
from core.runs.all_runs import list_runs, served_or_none
from core.runs.estimate import Estimate, Measured, measured
from core.runs.estimate import estimate as estimate_training
from core.runs.files import read_csv, read_json
from core.runs.run import Run
from dashboard import imports
from dashboard.selection import evaluation_of

if TYPE_CHECKING:  # what needs SciPy or TensorFlow is loaded when it is asked for: the first page waits for neither
    from core.evaluation.promotion import Judgement

THUMBNAIL_SIDE = 360
MEASURED_RUNS = 20  # the newest finished ones tell how fast this machine is

_FILES = {
    "about": contract.ABOUT,
    "config": contract.CONFIG,
    "manifest": contract.MANIFEST,
    "metrics": contract.METRICS,
    "model_card": contract.MODEL_CARD,
    "history": contract.HISTORY,
    "image_map": contract.IMAGE_MAP,
    "mean_images": contract.MEAN_IMAGES,
    "images": contract.IMAGES,
    "near_duplicates": contract.NEAR_DUPLICATES,
    "suspicious_labels": contract.SUSPICIOUS_LABELS,
    "splits": contract.SPLITS,
    "predictions": contract.PREDICTIONS,
    "calibration": contract.CALIBRATION,
    "subgroups": contract.SUBGROUPS,
    "heatmaps": contract.HEATMAPS,
}


@dataclass(frozen=True)
class RunCard:
    """What a list of runs says of one run; a figure that is not there yet is None."""

    run: Run
    state: str
    name: str
    created: datetime
    balanced_accuracy: float | None
    served: bool
    note: str = ""

    @property
    def finished(self) -> bool:
        """Whether the run has figures to show."""
        return self.state == "finished"

    @property
    def label(self) -> str:
        """One line for a list: the figure first, so that runs can be compared."""
        figure = f"{self.balanced_accuracy:.1%}" if self.balanced_accuracy is not None else self.state
        return f"{figure}{' ★' if self.served else ''} · {self.created:%d %b %H:%M} · {self.name}"


# ---- runs --------------------------------------------------------------------------------------


def run_cards() -> list[RunCard]:
    """All runs, the finished ones first, each group from the newest to the oldest."""
    served = served_id()
    cards = [_card(run, served) for run in list_runs()]
    return sorted(cards, key=lambda card: not card.finished)


def served_id() -> str | None:
    """The run that is served now."""
    run = served_or_none()
    return run.id if run else None


def _card(run: Run, served: str | None) -> RunCard:
    created = datetime.fromtimestamp((run.folder / contract.CONFIG).stat().st_mtime)
    name, state, figure, about = run.id, "unreadable", None, {}
    try:
        settings = config(run)
        about = _read(run, "about")
        name = about.get("name") or f"{settings.backbone} · {settings.train_from}"
        state = run.status().state
        manifest(run)
        figure = metrics(run).get("test", {}).get("balanced_accuracy", {}).get("value")
    except DermLensError:
        state = "unreadable"
    return RunCard(run, state, name, created, figure, run.id == served, about.get("note", ""))


def config(run: Run) -> TrainConfig:
    """See `Run.config`."""
    return _read(run, "config")


def manifest(run: Run) -> dict[str, Any]:
    """See `Run.manifest`."""
    return _read(run, "manifest")


def metrics(run: Run) -> dict[str, Any]:
    """See `Run.metrics`."""
    return _read(run, "metrics")


def model_card(run: Run) -> str:
    """See `Run.model_card`."""
    return _read(run, "model_card")


def about(run: Run) -> dict[str, str]:
    """See `Run.about`."""
    return _read(run, "about")


def judgement(run: Run) -> "Judgement":
    """See `core.evaluation.promotion.judge`; computed once for a pair of runs, not at every click.

    Raises:
        RunError: the files of one of them cannot be read.
    """
    served = served_or_none()
    runs = (run, served) if served else (run,)
    files = (contract.PREDICTIONS, contract.SPLITS, contract.STATUS)
    return _judgement(tuple((str(one.folder), *(last_change(one.folder / name) for name in files)) for one in runs))


@st.cache_resource(max_entries=8, show_spinner=False)
def _judgement(runs: tuple[tuple[str | int, ...], ...]) -> "Judgement":
    imports.load_all()
    from core.evaluation.promotion import judge

    return judge(Run(str(runs[0][0])))


def estimate(config: TrainConfig, run: Run) -> Estimate | None:
    """How long a training on the images of a run takes on this machine; see `core.runs.estimate`."""
    folders = (card.run.folder for card in run_cards() if card.finished)
    runs = tuple((str(folder), last_change(folder / contract.MANIFEST)) for folder in islice(folders, MEASURED_RUNS))
    try:
        return estimate_training(config, manifest(run), _measured(runs))
    except DermLensError:
        return None


@st.cache_resource(max_entries=4, show_spinner=False)
def _measured(runs: tuple[tuple[str, int], ...]) -> list[Measured]:
    return measured([Run(folder) for folder, _ in runs])


def image_map(run: Run) -> pd.DataFrame:
    """See `Run.image_map`."""
    return _read(run, "image_map")


def mean_images(run: Run) -> bytes:
    """See `Run.mean_images`."""
    return _read(run, "mean_images")


def images(run: Run) -> pd.DataFrame:
    """See `Run.images`."""
    return _read(run, "images")


def near_duplicates(run: Run) -> pd.DataFrame:
    """See `Run.near_duplicates`."""
    return _read(run, "near_duplicates")


def suspicious_labels(run: Run) -> pd.DataFrame:
    """See `Run.suspicious_labels`."""
    return _read(run, "suspicious_labels")


def has(run: Run, what: str) -> bool:
    """Whether the file behind one of the functions above is there."""
    return (run.folder / _FILES[what]).is_file()


def history(run: Run) -> pd.DataFrame:
    """See `Run.history`: of an ensemble it lies with the members."""
    stamps = [last_change(each.folder / _FILES["history"]) for each in (run, *run.members())]
    return _read_cached(str(run.folder), "history", max(stamps))


def decisions(run: Run) -> Decisions | None:
    """What was decided about the data set of a run; None before it is read.

    Further folders change, as with each handed-over case: decisions are kept with the first one, for all its trainings.
    """
    data = manifest(run).get("data", {})
    fingerprint = data.get("fingerprint_alone") or data.get("fingerprint")
    return Decisions(fingerprint) if fingerprint else None


def splits(run: Run) -> pd.DataFrame:
    """See `Run.splits`."""
    return _read(run, "splits")


def predictions(run: Run) -> pd.DataFrame:
    """See `Run.predictions`."""
    return _read(run, "predictions")


def calibration(run: Run) -> dict[str, Any]:
    """See `Run.calibration`."""
    return _read(run, "calibration")


def subgroups(run: Run) -> dict[str, Any]:
    """See `Run.subgroups`."""
    return _read(run, "subgroups")


def evaluations(run: Run) -> dict[str, dict[str, Any]]:
    """See `Run.evaluations`: pages ask for the names at every click, and the files hold every figure."""
    files = sorted((run.folder / contract.EVALUATIONS).glob(f"*/{contract.METRICS}"))
    return _evaluations(str(run.folder), tuple((path.parent.name, last_change(path)) for path in files))


@st.cache_resource(max_entries=16, show_spinner=False)
def _evaluations(folder: str, stamps: tuple[tuple[str, int], ...]) -> dict[str, dict[str, Any]]:
    return Run(folder).evaluations()


def external_predictions(run: Run, name: str) -> pd.DataFrame:
    """The answers of an external evaluation, as `Run.predictions`; empty without them."""
    path = run.folder / contract.EVALUATIONS / name / contract.PREDICTIONS
    return _external_table(str(path), last_change(path))


@st.cache_data(max_entries=16, show_spinner=False)
def _external_table(path: str, stamp: int) -> pd.DataFrame:
    return read_csv(Path(path), ("image_id", "split", "dx", "predicted"), contract.TEXT)


def external_images(run: Run, name: str) -> pd.DataFrame:
    """Quality and skin tone of the images of an external evaluation, as `Run.images`; empty without them."""
    path = run.folder / contract.EVALUATIONS / name / contract.IMAGES
    return _external_table(str(path), last_change(path))


def external_subgroups(run: Run, name: str) -> dict[str, Any]:
    """The subgroups of an external evaluation, as `Run.subgroups`; empty without them."""
    return read_json(run.folder / contract.EVALUATIONS / name / contract.SUBGROUPS)


def measured_heatmaps(run: Run) -> dict[str, Any]:
    """See `Run.heatmaps`."""
    return _read(run, "heatmaps")


def _read(run: Run, what: str) -> Any:
    return _read_cached(str(run.folder), what, last_change(run.folder / _FILES[what]))


@st.cache_data(max_entries=256, show_spinner=False)
def _read_cached(folder: str, what: str, stamp: int) -> Any:
    return getattr(Run(folder), what)()


def last_change(path: Path) -> int:
    """When a file was last changed, in nanoseconds; 0 while there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


# ---- images ------------------------------------------------------------------------------------


def dataset_of(run: Run) -> Dataset | None:
    """The data set that a run learned from; see `dataset_of_part`."""
    return dataset_of_part(run, "")


def dataset_of_part(run: Run, part: str) -> Dataset | None:
    """The data set that an external evaluation looked at, and the run's own for every other part.

    None when its folder is not there any more; a further folder that is not there any more is left out.

    Raises:
        DatasetError: a folder is there, but is no data set.
    """
    folders = _folders(run, part)
    return _dataset(folders, _listed(folders)) if folders else None


def dataset_change(run: Run, part: str) -> int:
    """When what `dataset_of_part` reads last changed, in nanoseconds; 0 while its folder is not there."""
    return _listed(_folders(run, part))


def _folders(run: Run, part: str) -> tuple[str, ...]:
    name = evaluation_of(part)
    data = (evaluations(run).get(name, {}) if name else manifest(run)).get("data", {})
    first, extra = data.get("folder"), () if name else data.get("extra_folders", ())
    if not first or not os.path.isdir(first):
        return ()
    return (first, *filter(os.path.isdir, extra))


def _listed(folders: tuple[str, ...]) -> int:
    lists = (path for one in map(Path, folders) for path in (one, one / MAPPING, *one.glob("*.csv")))
    return max(map(last_change, lists), default=0)


@st.cache_resource(max_entries=4, show_spinner="Listing the images…")
def _dataset(folders: tuple[str, ...], stamp: int) -> Dataset:
    first, *extra = map(Path, folders)
    return index_dataset(first, extra)


def image_paths(dataset: Dataset | None) -> dict[str, str]:
    """image_id -> path of each image of a data set."""
    if dataset is None:
        return {}
    return dict(zip(dataset.images["image_id"], dataset.images["path"], strict=True))


def thumbnail(path: str) -> bytes | None:
    """An image as a small JPEG; None when it cannot be read."""
    try:
        return _thumbnail(path, last_change(Path(path)))
    except DermLensError:
        return None


@st.cache_data(max_entries=2000, show_spinner=False)
def _thumbnail(path: str, stamp: int) -> bytes:
    return as_jpeg(at_most(read_image(path), THUMBNAIL_SIDE))


def mask_of(dataset: Dataset | None, image_id: str) -> np.ndarray | None:
    """The lesion's mask on the whole image, (h, w) bool; None where there is none that can be read."""
    folders = (dataset.folder, *dataset.extra) if dataset else ()
    path = _masks(tuple(map(str, folders)), tuple(map(last_change, folders))).get(image_id)
    try:
        return whole_mask(path) if path else None
    except DermLensError:
        return None


@st.cache_data(max_entries=4, show_spinner=False)
def _masks(folders: tuple[str, ...], stamps: tuple[int, ...]) -> dict[str, str]:
    return find_masks(*map(Path, folders))
