"""Start, stop and go on with a training as a process of its own, so that it survives the page that started it."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import psutil

from core.config import TrainConfig
from core.data.ham10000 import settled
from core.errors import RunBusyError, RunError
from core.places import PROJECT, places, runs_root
from core.runs.all_runs import list_runs
from core.runs.run import ACTIVE, LOG, STOP_REQUEST, Run
from core.runs.status import Status

RESUMABLE = ("failed", "stopped", "lost")
COMMAND = (sys.executable, "-u", str(PROJECT / "train.py"))
NICE = 10  # of 19: about a tenth of the processor where somebody else wants all of it
PATIENCE = 10.0  # seconds to wait for another start that is under way


def active_runs(root: Path | None = None) -> list[Run]:
    """The run that is under way, then those that are queued, by when their processes began to wait. A run that cannot
    be read is neither."""
    found = []
    for run in reversed(list_runs(root)):
        with suppress(RunError):
            status = run.status()
            if status.state in ACTIVE:
                found.append((status.state == "queued", status.pid_started or 0.0, run))
    return [run for *_, run in sorted(found, key=lambda entry: entry[:2])]


def active_run(root: Path | None = None) -> Run | None:
    """The first of `active_runs`, or None."""
    return next(iter(active_runs(root)), None)


def start(config: TrainConfig, folder: Path | None = None, wait: bool = False) -> Run:
    """Create a run and train it in a process of its own.

    Args:
        config: what is asked for.
        folder: see `Run.create`.
        wait: whether it queues behind the trainings under way, see `core.runs.queue`, instead of being refused.

    Raises:
        DatasetError: the folder that is named is no data set.
        RunBusyError: a training is under way, and it was not to wait.
        RunError: the folder of runs cannot be written, or no process can be started.
    """
    config = settled(config)
    with one_start_at_a_time():
        if not wait:
            _refuse_when_busy()
        run = Run.create(config, folder)
        _spawn(run, wait)
    return run


def resume(run: Run, wait: bool = False) -> None:
    """Go on with a failed, stopped or lost run from its last whole epoch; `wait` as of `start`.

    Raises:
        RunBusyError: a training is under way, and it was not to wait.
        RunError: the run is finished, or no process can be started.
    """
    state = run.status().state
    if state not in RESUMABLE:
        raise RunError(f"Only a {', '.join(RESUMABLE)} run can go on. Received: run {run.id!r}, {state}.")
    with one_start_at_a_time():
        if not wait:
            _refuse_when_busy()
        _spawn(run, wait)


def finished(run: Run) -> Status:
    """The status of a run that can be examined.

    Raises:
        RunError: it is not finished; an examination would call it so, and it could not be resumed.
    """
    status = run.status()
    if status.state != "finished":
        raise RunError(f"Only a finished run can be examined. Received: run {run.id!r}, {status.state}. Resume it.")
    return status


def examine(run: Run) -> None:
    """Make what a finished run has not got yet, in a process of its own; see `core.evaluation.examination`.

    Raises:
        RunBusyError: it is being examined already.
        RunError: the run is not finished, or no process can be started.
    """
    status = finished(run)
    if status.examining:
        raise RunBusyError(f"A run is examined once at a time. Received: run {run.id!r}, under way. Wait for it.")
    who = _process(run, (sys.executable, "-u", "-m", "core.evaluation", "--run", str(run.folder)))
    if run.status().updated == status.updated:
        message = "Starting the examination."
        run.write_status(dataclasses.replace(status, phase="examination", message=message, error=None, **who))


def stop(run: Run) -> None:
    """Ask a run to stop: its trainer ends its step, keeps what it has and says "stopped".

    A run that is not under way is left as it is.

    Raises:
        RunError: the process is another user's.
    """
    status = run.status()
    if status.state not in ACTIVE:
        return
    try:
        (run.folder / STOP_REQUEST).touch()
        if status.pid not in (None, os.getpid()) and _is_its_own(run, status):
            os.kill(status.pid, signal.SIGTERM)
    except (ProcessLookupError, psutil.NoSuchProcess):
        pass  # it ended in between; its status says how
    except OSError as error:
        raise RunError(
            f"Only who started a run can stop it. Received: run {run.id!r}, process {status.pid} "
            f"({error.strerror or error}). Ask its owner."
        ) from error


def _is_its_own(run: Run, status: Status) -> bool:
    """Whether the process of a run trains this run: that of a queued one may be training others, such as a sweep's."""
    return status.state == "running" or str(run.folder) in psutil.Process(status.pid).cmdline()


def stop_on_signal(run: Run) -> None:
    """The first Ctrl-C or termination asks this process's run to stop after its step; the second ends it at once."""

    def ask(number: int, _frame: object) -> None:
        (run.folder / STOP_REQUEST).touch()
        print("Stopping after this step. Once more to end at once.", flush=True)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)


def take_up(run: Run) -> None:
    """Before a run is trained by this process: a request to stop an earlier one is no longer of interest.

    Raises:
        RunBusyError: another process trains it.
    """
    status = run.status()
    if status.state == "running" and status.pid != os.getpid():
        raise RunBusyError(
            f"A run is trained by one process at a time. Received: run {run.id!r}, under way in process {status.pid}. "
            "Wait for it, or stop it."
        )
    if status.state not in ACTIVE:
        (run.folder / STOP_REQUEST).unlink(missing_ok=True)


def taken_out(run: Run, message: str) -> bool:
    """Whether somebody has stopped a run before its turn came; its status then says so, with this message."""
    if not run.stop_requested():
        return False
    (run.folder / STOP_REQUEST).unlink(missing_ok=True)
    run.write_status(dataclasses.replace(run.status(), state="stopped", message=message))
    return True


def give_way() -> None:
    """Let pages and whatever else people wait for go first; on an idle machine this costs nothing.

    To be called by a process that trains, before it has threads.
    """
    with suppress(AttributeError, OSError):  # Windows has no such thing
        os.nice(NICE)


@contextmanager
def one_start_at_a_time() -> Iterator[None]:
    """Held while a job starts, so that two of them cannot both find the machine free.

    Raises:
        RunBusyError: another start hangs.
        RunError: the folder of runs cannot be written.
    """
    root = runs_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(root / ".starting", timeout=PATIENCE)
        lock.acquire()
    except filelock.Timeout:
        raise RunBusyError(
            "One training starts at a time. Received: another start, which is still under way. Try again in a moment."
        ) from None
    except OSError as error:
        raise RunError(
            f"Runs are kept in {root}. Received: {error.strerror or error}. "
            "Check who may write there, or name another folder with DERMLENS_RUNS."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _refuse_when_busy() -> None:
    busy = active_run()
    if busy is not None:
        raise RunBusyError(
            f"One training runs at a time. Received: run {busy.id!r} is under way. Wait for it, or stop it."
        )


def _spawn(run: Run, wait: bool) -> None:
    """Start the process that trains a run, and say in its status who that is."""
    (run.folder / STOP_REQUEST).unlink(missing_ok=True)
    before = run.status()
    try:
        who = _process(run, (*COMMAND, "--resume", str(run.folder), *(["--wait"] if wait else [])))
    except RunError as error:
        run.write_status(dataclasses.replace(before, state="failed", message="Failed.", error=str(error)))
        raise
    # says who the process is before that process can say it itself: until then the job would not be seen
    if run.status().updated == before.updated:
        status = dataclasses.replace(
            before, state="queued", phase="waiting", message="Starting.", error=None,
            images_per_second=None, seconds_left=None, **who,
        )  # fmt: skip
        run.write_status(status)


def _process(run: Run, command: tuple[str, ...]) -> dict[str, Any]:
    """Start a process that outlives this one and prints into the run's log: its `pid` and `pid_started`."""
    try:
        with (run.folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=os.environ | places(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise RunError(
            f"A job is a process of its own. Received: run {run.id!r}: no process could be started: "
            f"{error.strerror or error}. Free memory or disk, then try again."
        ) from error
    started = psutil.Process(process.pid).create_time()  # a child that has ended already still answers: a zombie
    threading.Thread(target=process.wait, daemon=True).start()  # so that it does not stay one
    return {"pid": process.pid, "pid_started": started}
