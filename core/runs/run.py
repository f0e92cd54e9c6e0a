"""A run is a folder. This module knows every file name in it; `core.runs.files` writes each one atomically."""

import dataclasses
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd

from core.config import TrainConfig
from core.errors import ConfigError, RunBusyError, RunError, RunNotFoundError, RunSchemaError
from core.places import runs_root
from core.runs import files
from core.runs.files import read_bytes, read_csv, read_json, write_bytes, write_csv, write_json
from core.runs.history import of_ensemble
from core.runs.status import ACTIVE, STATES, Status, own_process

SCHEMA_VERSION = 1

CONFIG = "config.json"
MANIFEST = "manifest.json"
STATUS = "status.json"
SPLITS = "splits.csv"
HISTORY = "history.csv"
PREDICTIONS = "predictions.csv"
METRICS = "metrics.json"
CALIBRATION = "calibration.json"
PATIENT = "patient.json"  # only where age, sex and body site speak too
OUTLIERS = "outliers.npz"
FEATURES = "features.npy"
MODEL = "model.keras"
OPENVINO = "openvino"
MEMBERS = "members"  # only in an ensemble: a folder for each of its networks, a run of its own
# what the examination adds after the run is finished
IMAGES = "images.csv"
SUBGROUPS = "subgroups.json"
NEAR_DUPLICATES = "near_duplicates.csv"
SUSPICIOUS_LABELS = "suspicious_labels.csv"
IMAGE_MAP = "image_map.csv"
MEAN_IMAGES = "mean_images.png"
HEATMAPS = "heatmaps.json"
MODEL_CARD = "MODEL_CARD.md"
ABOUT = "about.json"  # only where somebody named the run or wrote a note
LOG = "log.txt"
CHECKPOINT = "checkpoint.npz"  # only while a training is unfinished
BEFORE_CUT = "before_cut.npz"  # as long: the network that the epochs before the cut came to
STOP_REQUEST = "stop"  # only from the request until the trainer has seen it
LOCK = ".lock"
EVALUATIONS = "evaluations"  # one folder for each external data set

HISTORY_COLUMNS = (
    "phase", "epoch", "loss", "accuracy", "auc", "balanced_accuracy",
    "val_loss", "val_accuracy", "val_auc", "val_balanced_accuracy", "learning_rate", "seconds",
)  # fmt: skip

TEXT = ("image_id", "other_id", "lesion_id", "dx", "split", "predicted", "suggested", "problems")  # columns of names


class Run:
    """One run folder: reads everything, writes everything whole or not at all.

    Args:
        folder: an existing run folder.

    Raises:
        RunNotFoundError: the folder is no run (it has no `config.json`).
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(os.path.abspath(folder))  # a link stays one: what is beside it is where the link is
        if not (self.folder / CONFIG).is_file():
            raise RunNotFoundError(f"A run folder holds a {CONFIG}. Received: {str(folder)!r}, which has none.")

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def called(self) -> str:
        """What a command line calls it: its id where that is found, else its folder."""
        return self.id if self.folder.parent == runs_root() else str(self.folder)

    @classmethod
    def create(cls, config: TrainConfig, folder: Path | str | None = None) -> "Run":
        """A new run folder that holds its configuration and the status "queued" of this process.

        Args:
            config: what the run is to do.
            folder: where; by default a new folder named by the time and the network, under `runs_root()`.

        Raises:
            RunError: the folder already holds files, or cannot be written.
        """
        if folder is None:
            moment = datetime.now().strftime("%Y%m%d-%H%M%S")
            name = f"{moment}-{config.backbone}-{config.train_from}-{secrets.token_hex(2)}"
            folder = runs_root() / name
        folder = Path(folder)
        # a status alone is what a full disk or a kill has left of an earlier attempt
        held = [path.name for path in folder.iterdir()] if folder.is_dir() else [folder.name] * folder.exists()
        if any(name != STATUS and not name.endswith(".tmp") for name in held):
            go_on = f", or go on with this run through --resume {folder}" if (folder / CONFIG).is_file() else ""
            raise RunError(
                f"A new run needs an empty folder. Received: {str(folder)!r}, which holds files or is one. "
                f"Name another folder{go_on}."
            )
        # of this process: should it die before it trains or hands over, the run does not stay queued for ever.
        # First the status: who finds a configuration finds a whole run.
        _write_status(folder, Status(**own_process()))
        write_json(folder / CONFIG, config.to_dict())
        return cls(folder)

    # ---- reading -------------------------------------------------------------------------------

    def config(self) -> TrainConfig:
        """The configuration, exactly as asked.

        Raises:
            RunNotFoundError: the run has been deleted.
            RunSchemaError: the run is of another schema version.
            RunError: the file cannot be read.
        """
        values = self._read_json(CONFIG)
        if not values:
            raise RunNotFoundError(f"A run folder holds a {CONFIG}. Received: {str(self.folder)!r}, which has none.")
        try:
            return TrainConfig.from_dict(values)
        except ConfigError as error:
            self.manifest()  # of another version, it may well have other settings
            raise RunError(
                f"{CONFIG} must hold known settings. Received: run {self.id!r}: {error} {files.MEND}"
            ) from error

    def manifest(self) -> dict[str, Any]:
        """What the run was made of; empty while the trainer has not begun.

        Raises:
            RunSchemaError: the run is of another schema version.
        """
        manifest = self._read_json(MANIFEST)
        version = manifest.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise RunSchemaError(
                f"This DermLens reads runs of schema version {SCHEMA_VERSION}. Received: run {self.id!r} of "
                f"version {version!r}. Read it with the DermLens that wrote it, or train it again."
            )
        return manifest

    def status(self) -> Status:
        """Where the run stands; a run whose process is gone is "lost", or "stopped" if that was asked for.

        Raises:
            RunError: the file cannot be read.
        """
        values = self._read_json(STATUS)
        try:
            # without a file, nobody ever began: that is a run to go on with, not one to wait for
            status = Status.from_dict(values) if values else Status()
        except ValueError as error:
            raise RunError(
                f"{STATUS} must hold a state of {', '.join(STATES)} and its process. Received: run {self.id!r}, "
                f"{error}. {files.MEND}"
            ) from None
        return status.observed(self.stop_requested())

    @property
    def usable(self) -> bool:
        """Whether the run is finished, and so can be shown and served."""
        try:
            return self.status().state == "finished"
        except RunError:
            return False

    @property
    def synthetic(self) -> bool:
        """Whether the run learned from drawn images."""
        return bool(self.manifest().get("data", {}).get("synthetic", False))

    def splits(self) -> pd.DataFrame:
        """image_id, lesion_id, dx, split; empty while there is none."""
        return read_csv(self.folder / SPLITS, ("image_id", "lesion_id", "dx", "split"), TEXT)

    def history(self) -> pd.DataFrame:
        """One row an epoch, columns `HISTORY_COLUMNS`; empty while there is none.

        Of an ensemble, the epochs of all its networks, see `core.runs.history.of_ensemble`.
        """
        each = [member.history() for member in self.members()]
        if any(len(one) for one in each):
            return of_ensemble(each)
        return read_csv(self.folder / HISTORY, HISTORY_COLUMNS, ())

    def predictions(self) -> pd.DataFrame:
        """One row an image: image_id, split, dx, predicted, logit_<code>, p_<code>, ood_score."""
        return read_csv(self.folder / PREDICTIONS, ("image_id", "split", "dx", "predicted"), TEXT)

    def metrics(self) -> dict[str, Any]:
        """Figures for "validation", "calibration" and "test"; empty while there are none."""
        return self._read_json(METRICS)

    def calibration(self) -> dict[str, Any]:
        """What was fitted on the calibration split, see `core.evaluation.trust`, and heatmap_scale; empty before."""
        return self._read_json(CALIBRATION)

    def patient(self) -> dict[str, Any]:
        """What age, sex and site add, see `core.evaluation.patient`; empty where the run sees the image alone."""
        return self._read_json(PATIENT)

    def images(self) -> pd.DataFrame:
        """One row an image: image_id, measures of quality, problems (codes parted by spaces), ita (degrees)."""
        return read_csv(self.folder / IMAGES, ("image_id", "problems", "ita"), TEXT).fillna({"problems": ""})

    def subgroups(self) -> dict[str, Any]:
        """Figures of the test split by sex, age, body site, way of confirmation and skin tone."""
        return self._read_json(SUBGROUPS)

    def near_duplicates(self) -> pd.DataFrame:
        """One row a pair of images: image_id, other_id, similarity (0 to 1)."""
        return read_csv(self.folder / NEAR_DUPLICATES, ("image_id", "other_id", "similarity"), TEXT)

    def suspicious_labels(self) -> pd.DataFrame:
        """One row an image, the most suspicious first: image_id, dx, suggested, suspicion (0 to 1)."""
        return read_csv(self.folder / SUSPICIOUS_LABELS, ("image_id", "dx", "suggested", "suspicion"), TEXT)

    def image_map(self) -> pd.DataFrame:
        """Where each image lies among those like it: image_id, x, y (-1 to 1)."""
        return read_csv(self.folder / IMAGE_MAP, ("image_id", "x", "y"), TEXT)

    def mean_images(self) -> bytes:
        """See `core.evaluation.mean_images`; empty before the examination.

        Raises:
            RunError: the file cannot be read.
        """
        return read_bytes(self.folder / MEAN_IMAGES)

    def heatmaps(self) -> dict[str, Any]:
        """How faithful each kind of heatmap is; empty while that is not measured."""
        return self._read_json(HEATMAPS)

    def gradcam_beats(self) -> float | None:
        """The share of measured images on which Grad-CAM points at what the network uses better than both a random map
        and the middle of the image; None while that is not measured."""
        beats = self.heatmaps().get("methods", {}).get("gradcam", {}).get("beats", {})
        return (beats.get("both", {}).get("both") or {}).get("value")

    def about(self) -> dict[str, str]:
        """The name and the note that people gave the run; each may be missing."""
        found = self._read_json(ABOUT)
        return {name: value for name in ("name", "note") if isinstance(value := found.get(name), str) and value}

    def model_card(self) -> str:
        """The model card in Markdown; empty while there is none."""
        path = self.folder / MODEL_CARD
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def features(self) -> np.ndarray:
        """What the network makes of each image, (n, k), in the order of splits.csv; (0, 0) while there is none.

        Raises:
            RunError: the file is damaged.
        """
        path = self.folder / FEATURES
        try:
            return np.load(path) if path.is_file() else np.zeros((0, 0), np.float16)
        except (OSError, ValueError) as error:
            raise RunError(
                f"{FEATURES} must be whole. Received: {path}, which is damaged ({error}). {files.MEND}"
            ) from error

    def evaluations(self) -> dict[str, dict[str, Any]]:
        """Name of each external evaluation -> {"data", "metrics"}, in order of name."""
        folders = sorted((self.folder / EVALUATIONS).glob(f"*/{METRICS}"))
        return {path.parent.name: read_json(path, "Evaluate again, or delete its folder.") for path in folders}

    def members(self) -> list["Run"]:
        """The runs that answer as one in this run, in their order; none where it has a network of its own."""
        folders = sorted((self.folder / MEMBERS).glob(f"*/{CONFIG}"), key=lambda path: int(path.parent.name))
        return [Run(path.parent) for path in folders]

    def log(self, last_lines: int = 200) -> str:
        """The end of what the process printed."""
        path = self.folder / LOG
        if not path.is_file():
            return ""
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 200 * last_lines))
            text = stream.read().decode("utf-8", errors="replace")
        return "\n".join(text.splitlines()[-last_lines:])

    def stop_requested(self) -> bool:
        """Whether somebody has asked this run to stop."""
        return (self.folder / STOP_REQUEST).exists()

    # ---- writing -------------------------------------------------------------------------------

    def write_json(self, name: str | Path, content: dict[str, Any]) -> None:
        """Write one of the JSON files above."""
        write_json(self.folder / name, content)

    def write_csv(self, name: str | Path, table: pd.DataFrame) -> None:
        """Write one of the CSV files above."""
        write_csv(self.folder / name, table)

    def write_bytes(self, name: str | Path, content: bytes) -> None:
        """Write one of the other files above."""
        write_bytes(self.folder / name, content)

    def write_status(self, status: Status) -> None:
        """Write the status with the present time."""
        _write_status(self.folder, status)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run as its one writer. The lock falls with the process, however it ends.

        Raises:
            RunBusyError: another process holds it.
            RunNotFoundError: the run has been deleted.
            RunError: the folder cannot be written.
        """
        if not (self.folder / CONFIG).is_file():
            raise RunNotFoundError(f"A run that is written has a {CONFIG}. Received: {str(self.folder)!r}, without.")
        lock = filelock.FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunBusyError(
                f"A run has one writer. Received: run {self.id!r}, which another process is writing now. "
                "Wait for it, or stop it first."
            ) from None
        except OSError as error:
            raise RunError(
                f"A run is written in its folder. Received: {self.folder} ({error.strerror or error}). "
                "Check who may write there."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def delete(self) -> None:
        """Remove the folder, damaged or not.

        Raises:
            RunBusyError: the run is under way.
            RunError: the folder cannot be removed.
        """
        try:
            state = self.status().state
        except RunError:
            state = "unreadable"
        if state in ACTIVE:
            raise RunBusyError(f"A run under way cannot be deleted. Received: run {self.id!r}, {state}. Stop it first.")
        with self.writing():
            try:
                shutil.rmtree(self.folder)
            except OSError as error:
                raise RunError(
                    f"A run is deleted with its folder. Received: {self.folder} ({error.strerror or error}). "
                    "Check who may write there."
                ) from error

    def _read_json(self, name: str) -> dict[str, Any]:
        return read_json(self.folder / name)


def _write_status(folder: Path, status: Status) -> None:
    moment = datetime.now(UTC).timestamp()
    write_json(folder / STATUS, dataclasses.asdict(dataclasses.replace(status, updated=moment)))
