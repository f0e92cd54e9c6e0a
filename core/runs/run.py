"""A run is a folder. This module knows every file name in it, and writes each one atomically."""

import dataclasses
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd
import psutil

from core.config import TrainConfig
from core.diagnoses import CODES
from core.errors import RunBusyError, RunError, RunNotFoundError, RunSchemaError
from core.places import runs_root

SCHEMA_VERSION = 1

CONFIG = "config.json"
MANIFEST = "manifest.json"
STATUS = "status.json"
SPLITS = "splits.csv"
HISTORY = "history.csv"
PREDICTIONS = "predictions.csv"
METRICS = "metrics.json"
CALIBRATION = "calibration.json"
MODEL = "model.keras"
LOG = "log.txt"
CHECKPOINT = "checkpoint.npz"  # only while a training is unfinished
STOP_REQUEST = "stop"  # only from the request until the trainer has seen it
LOCK = ".lock"
EVALUATIONS = "evaluations"  # one folder for each external data set

CURRENT = "current.json"  # beside the runs: which one is served

HISTORY_COLUMNS = (
    "phase", "epoch", "loss", "accuracy", "auc", "balanced_accuracy",
    "val_loss", "val_accuracy", "val_auc", "val_balanced_accuracy", "learning_rate", "seconds",
)  # fmt: skip

ACTIVE = ("queued", "running")
STATES = (*ACTIVE, "finished", "failed", "stopped", "lost")


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    Attributes:
        state: one of `STATES`. "lost" is never written: it is what a reader finds when the process is gone.
        phase: "waiting", "data", "trunk", "training", "evaluation" or "done".
        epoch, epochs: whole epochs done, and at most to do.
        images_per_second: speed of the present phase, or None.
        seconds_left: estimate to the end of the present phase, or None.
        message: one line for people.
        error: why the run failed, or None.
        pid, pid_started: the writing process and the time it started at, in seconds since 1970.
        updated: when this was written, in seconds since 1970.
    """

    state: str = "queued"
    phase: str = "waiting"
    epoch: int = 0
    epochs: int = 0
    images_per_second: float | None = None
    seconds_left: float | None = None
    message: str = ""
    error: str | None = None
    pid: int | None = None
    pid_started: float | None = None
    updated: float = 0.0


class Run:
    """One run folder: reads everything, writes everything whole or not at all.

    Args:
        folder: an existing run folder.

    Raises:
        RunNotFoundError: the folder is no run (it has no `config.json`).
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).resolve()
        if not (self.folder / CONFIG).is_file():
            raise RunNotFoundError(f"A run folder holds a {CONFIG}. Received: {str(folder)!r}, which has none.")

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @classmethod
    def create(cls, config: TrainConfig, folder: Path | str | None = None) -> "Run":
        """A new run folder that holds its configuration and the status "queued".

        Args:
            config: what the run is to do.
            folder: where; by default a new folder named by the time and the network, under `runs_root()`.

        Raises:
            RunError: the folder already holds files.
        """
        if folder is None:
            moment = datetime.now().strftime("%Y%m%d-%H%M%S")
            name = f"{moment}-{config.backbone}-{config.train_from}-{secrets.token_hex(2)}"
            folder = runs_root() / name
        folder = Path(folder)
        if folder.is_dir() and any(folder.iterdir()):
            raise RunError(
                f"A new run needs an empty folder. Received: {str(folder)!r}, which holds files. "
                f"Name another folder, or go on with this run through --resume {folder}."
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG, config.to_dict())
        run = cls(folder)
        run.write_status(Status())
        return run

    # ---- reading -------------------------------------------------------------------------------

    def config(self) -> TrainConfig:
        """The configuration, exactly as asked."""
        return TrainConfig.from_dict(self._read_json(CONFIG))

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
        """Where the run stands; a run whose process is gone is "lost"."""
        values = self._read_json(STATUS)
        names = {item.name for item in dataclasses.fields(Status)}
        status = Status(**{name: value for name, value in values.items() if name in names})
        if status.state in ACTIVE and status.pid is not None and not _is_alive(status):
            return dataclasses.replace(
                status, state="lost", message="Its process is gone. Go on from its last whole epoch with 'resume'."
            )
        return status

    @property
    def usable(self) -> bool:
        """Whether the run is finished, and so can be shown and served."""
        return self.status().state == "finished"

    @property
    def synthetic(self) -> bool:
        """Whether the run learned from drawn images."""
        return bool(self.manifest().get("data", {}).get("synthetic", False))

    def splits(self) -> pd.DataFrame:
        """image_id, lesion_id, dx, split; empty while there is none."""
        return self._read_csv(SPLITS, ("image_id", "lesion_id", "dx", "split"))

    def history(self) -> pd.DataFrame:
        """One row an epoch, columns `HISTORY_COLUMNS`; empty while there is none."""
        return self._read_csv(HISTORY, HISTORY_COLUMNS)

    def predictions(self) -> pd.DataFrame:
        """One row an image: image_id, split, dx, predicted, logit_<code>, p_<code>, ood_score."""
        return self._read_csv(PREDICTIONS, ("image_id", "split", "dx", "predicted"))

    def metrics(self) -> dict[str, Any]:
        """Figures for "validation", "calibration" and "test"; empty while there are none."""
        return self._read_json(METRICS)

    def calibration(self) -> dict[str, Any]:
        """temperature, heatmap_scale and what they were fitted on; empty while there is none."""
        return self._read_json(CALIBRATION)

    def evaluations(self) -> dict[str, dict[str, Any]]:
        """Name of each external evaluation -> {"data", "metrics"}, in order of name."""
        folders = sorted((self.folder / EVALUATIONS).glob(f"*/{METRICS}"))
        return {path.parent.name: _load_json(path) for path in folders}

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
        text = table.to_csv(index=False, lineterminator="\n")
        write_bytes(self.folder / name, text.encode())

    def write_status(self, status: Status) -> None:
        """Write the status with the present time."""
        moment = datetime.now(UTC).timestamp()
        write_json(self.folder / STATUS, dataclasses.asdict(dataclasses.replace(status, updated=moment)))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run as its one writer. The lock falls with the process, however it ends.

        Raises:
            RunBusyError: another process holds it.
        """
        lock = filelock.FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunBusyError(
                f"A run has one writer. Received: run {self.id!r}, which another process is writing now. "
                "Wait for it, or stop it first."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def delete(self) -> None:
        """Remove the folder; a run under way is refused."""
        with self.writing():
            shutil.rmtree(self.folder)

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        return _load_json(path) if path.is_file() else {}

    def _read_csv(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
        """The rows that are whole: a last line that is still being written is left out."""
        path = self.folder / name
        text = path.read_text() if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if not whole:
            return pd.DataFrame(columns=list(columns))
        text_columns = {"image_id": str, "lesion_id": str, "dx": str}
        return pd.read_csv(io.StringIO(whole), dtype=text_columns, keep_default_na=True)


# ---- all runs ----------------------------------------------------------------------------------


def list_runs(root: Path | None = None) -> list[Run]:
    """Every run below the root, the newest first."""
    root = root or runs_root()
    folders = [path.parent for path in root.glob(f"*/{CONFIG}")]
    return [Run(folder) for folder in sorted(folders, key=lambda path: (path / CONFIG).stat().st_mtime, reverse=True)]


def find_run(name: str | Path) -> Run:
    """The run of that id below `runs_root()`, or the one at that path.

    Raises:
        RunNotFoundError: there is neither.
    """
    for folder in (runs_root() / name, Path(name)):
        if (folder / CONFIG).is_file():
            return Run(folder)
    known = [run.id for run in list_runs()][:5]
    raise RunNotFoundError(
        f"A run is named by its id below {runs_root()} or by its folder's path. Received: {str(name)!r}. "
        f"Runs here: {', '.join(known) or 'none yet; train one with train.py'}."
    )


def served_run(root: Path | None = None) -> Run | None:
    """The run that `current.json` names, if it is still there."""
    root = root or runs_root()
    path = root / CURRENT
    if not path.is_file():
        return None
    folder = root / str(_load_json(path).get("run", ""))
    return Run(folder) if (folder / CONFIG).is_file() else None


def promote(run: Run) -> None:
    """Serve this run from now on: both interfaces follow without a restart.

    Raises:
        RunError: the run is not finished.
    """
    if not run.usable:
        raise RunError(f"Only a finished run can be served. Received: run {run.id!r}, {run.status().state}.")
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    # a path relative to the root where it can be, so that the folder of all runs can be moved
    write_json(run.folder.parent / CURRENT, {"run": run.id, "promoted": moment})


# ---- files -------------------------------------------------------------------------------------


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: under a temporary name, then renamed.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(
            f"{path.name} must be written to {path.parent}. Received: {error.strerror or error}. "
            "Free some disk, or check who may write there; what was written before is kept."
        ) from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all; figures that are not numbers become null."""
    write_bytes(path, (json.dumps(without_nan(content), indent=2, ensure_ascii=False) + "\n").encode())


def prediction_table(images: pd.DataFrame, split: Any, logits: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """The rows of `predictions.csv`.

    Args:
        images: image_id, dx.
        split: the part that each image is in, or one for all.
        logits: (n, 7).
        probabilities: (n, 7), calibrated.

    Returns:
        image_id, split, dx, predicted, logit_<code>, p_<code>, ood_score (empty: no run is fitted for it yet).
    """
    predicted = np.array(CODES)[logits.argmax(axis=1)]
    table = images[["image_id"]].assign(split=split, dx=images["dx"], predicted=predicted)
    for prefix, figures in (("logit", logits), ("p", probabilities)):
        table = table.assign(**{f"{prefix}_{code}": figures[:, index] for index, code in enumerate(CODES)})
    return table.assign(ood_score=np.nan)


def without_nan(value: Any) -> Any:
    """JSON has no word for "not a number": null takes its place."""
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value


def _load_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path.name} must hold JSON. Received: {path}, which cannot be read ({error}). "
            "Delete the run, or bring the file back from a copy."
        ) from error
    if not isinstance(content, dict):
        raise RunError(f"{path.name} must hold one JSON object. Received: {type(content).__name__} in {path}.")
    return content


def _is_alive(status: Status) -> bool:
    """Whether the process that wrote the status still runs: a pid can be given to another one."""
    try:
        process = psutil.Process(status.pid)
        same = status.pid_started is None or abs(process.create_time() - status.pid_started) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
