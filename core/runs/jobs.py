"""Start, stop and go on with a training as a process of its own, so that it survives the page that started it."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import psutil

from core.config import TrainConfig
from core.errors import RunBusyError, RunError
from core.places import PROJECT, runs_root
from core.runs.run import ACTIVE, LOG, STOP_REQUEST, Run, list_runs

RESUMABLE = ("failed", "stopped", "lost")


def active_run(root: Path | None = None) -> Run | None:
    """The run that is queued or running now, or None."""
    return next((run for run in list_runs(root) if run.status().state in ACTIVE), None)


def start(config: TrainConfig) -> Run:
    """Create a run and train it in a process of its own.

    Raises:
        RunBusyError: a training is under way.
    """
    with _one_start_at_a_time():
        run = Run.create(config)
        _spawn(run)
    return run


def resume(run: Run) -> None:
    """Go on with a failed, stopped or lost run from its last whole epoch.

    Raises:
        RunBusyError: a training is under way.
        RunError: the run is finished.
    """
    state = run.status().state
    if state not in RESUMABLE:
        raise RunError(f"Only a {', '.join(RESUMABLE)} run can go on. Received: run {run.id!r}, {state}.")
    with _one_start_at_a_time():
        _spawn(run)


def stop(run: Run) -> None:
    """Ask a run to stop: its trainer ends its step, keeps what it has and says "stopped"."""
    status = run.status()
    if status.state not in ACTIVE:
        return
    (run.folder / STOP_REQUEST).touch()
    if status.pid is not None:
        with suppress(ProcessLookupError):  # it ended in between; its status says how
            os.kill(status.pid, signal.SIGTERM)


@contextmanager
def _one_start_at_a_time() -> Iterator[None]:
    """Held while a job starts, so that two tabs cannot both find the machine free."""
    runs_root().mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(runs_root() / ".starting", timeout=10):
        busy = active_run()
        if busy is not None:
            raise RunBusyError(f"One training runs at a time. Run {busy.id!r} is under way: wait for it, or stop it.")
        yield


def _spawn(run: Run) -> None:
    (run.folder / STOP_REQUEST).unlink(missing_ok=True)
    with (run.folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-u", str(PROJECT / "train.py"), "--resume", str(run.folder)],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # says who the process is before that process can say it itself: until then the job would not be seen
    started = psutil.Process(process.pid).create_time()
    status = dataclasses.replace(
        run.status(), state="queued", phase="waiting", message="Starting.", error=None,
        pid=process.pid, pid_started=started,
    )  # fmt: skip
    run.write_status(status)
