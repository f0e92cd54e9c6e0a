"""Train several prepared runs: one after another, a few at a time, or as tasks on a Ray cluster.

Trials of a sweep and members of an ensemble know nothing of each other, so that they can be trained anywhere. On a
cluster all machines must see the folders of runs, data and trunk outputs at the same place, on a shared file system.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from core.engines import THREADS
from core.errors import ClusterError, DermLensError, TrainingStopped
from core.models.cluster import ENVIRONMENT, connect
from core.places import PROJECT, places
from core.runs.jobs import give_way, stop_on_signal, take_up, taken_out
from core.runs.run import LOG, STOP_REQUEST, Run
from core.runs.status import Status, own_process

RETRIES = 5  # of a run whose worker or machine is lost: it goes on from its last whole epoch
CORES = 2  # of a cluster's machine, for one training
TAKEN_OUT = "Stopped before it began."
TICK = 1.0  # seconds between two looks


def spread(
    runs: Sequence[Run],
    address: str | None = None,
    jobs: int = 1,
    cores: int = CORES,
    wait: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Train runs that are not finished yet; an interrupted one goes on. They are not examined.

    Args:
        runs: prepared run folders, see `Run.create`.
        address: of a Ray cluster, see `core.models.cluster.connect`; None trains on this machine.
        jobs: how many at a time on this machine.
        cores: that each takes on the cluster; fewer where no machine has so many.
        wait: called every second while the cluster trains; may raise TrainingStopped.

    Returns:
        Id -> reason of each run that did not finish.

    Raises:
        ClusterError: there is no such cluster.
        TrainingStopped: somebody pressed Ctrl-C, or `wait` raised it: what the runs had is kept.
    """
    todo = [run for run in runs if not run.usable]
    if not todo:
        return {}
    for run in todo:
        take_up(run)
        # so that whoever is queued behind them waits
        run.write_status(Status(state="queued", epoch=run.status().epoch, **own_process()))
    reasons = _on_cluster(todo, address, cores, wait) if address else _here(todo, jobs)
    return {run.id: reason for run, reason in zip(todo, reasons, strict=True) if reason}


def _here(runs: list[Run], jobs: int) -> list[str]:
    at_once = min(jobs, len(runs))
    # a step on one core each, two at a time, takes less time than two steps on both cores
    threads = {THREADS: str(max(1, (os.cpu_count() or 1) // at_once))} if at_once > 1 else {}
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(_as_process, run, threads) for run in runs]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt as stop:
            _ask_to_stop(runs)
            raise _stopped(stop) from None


def _on_cluster(runs: list[Run], address: str, cores: int, wait: Callable[[], None]) -> list[str]:
    ray = connect(address)
    largest = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    cores = max(1, min(cores, int(largest)))  # who asks for more than there is waits for ever
    settings = {name: value for name, value in os.environ.items() if name.startswith("DERMLENS_")}
    settings |= places()
    settings |= {ENVIRONMENT: "", THREADS: str(cores), "TF_CPP_MIN_LOG_LEVEL": "3"}
    # max_calls: a process for each training, as on one machine; its memory is free again afterwards
    task = ray.remote(num_cpus=cores, max_retries=RETRIES, max_calls=1, runtime_env={"env_vars": settings})(_as_task)
    pending = [task.remote(str(run.folder)) for run in runs]
    try:
        while ray.wait(pending, num_returns=len(pending), timeout=TICK)[1]:
            wait()
    except (KeyboardInterrupt, TrainingStopped) as stop:
        _ask_to_stop(runs)
        ray.wait(pending, num_returns=len(pending))
        raise _stopped(stop) from None
    return [_outcome(ray, reference) for reference in pending]


def _stopped(why: BaseException) -> TrainingStopped:
    if isinstance(why, TrainingStopped):
        return why
    return TrainingStopped("Stopped on request. Give the same command to go on.")


def _outcome(ray, reference) -> str:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _ask_to_stop(runs: list[Run]) -> None:
    for run in runs:
        if not run.usable:
            (run.folder / STOP_REQUEST).touch()


def _as_process(run: Run, settings: dict[str, str]) -> str:
    """Train a run in a process of its own, which a Ctrl-C in the terminal does not reach; why it did not finish.

    Args:
        run: prepared.
        settings: environment variables that hold where the user has not set them.
    """
    if taken_out(run, TAKEN_OUT):
        return TAKEN_OUT
    if not run.folder.is_dir():
        return "deleted before its turn"
    with (run.folder / LOG).open("ab") as log:
        command = (sys.executable, "-u", "-m", "core.models.spread", str(run.folder))
        environment = settings | os.environ | places()
        subprocess.run(
            command, cwd=PROJECT, env=environment, stdout=log, stderr=log, start_new_session=True, check=False
        )
    status = run.status()
    return "" if run.usable else status.error or status.message or status.state


def _as_task(folder: str) -> str:
    """Train a run on a machine of the cluster; why it did not finish."""
    if not Path(folder).is_dir():
        raise ClusterError(
            f"Runs are trained where they lie. Received: {folder}, which this machine does not have. "
            "Put runs, data and cache on a file system that all machines share (DERMLENS_RUNS, DERMLENS_CACHE)."
        )
    run = Run(folder)
    if taken_out(run, TAKEN_OUT):
        return TAKEN_OUT
    with (run.folder / LOG).open("a") as log, redirect_stdout(log), redirect_stderr(log):
        return _train(run)


def _train(run: Run) -> str:
    if run.usable:  # finished by a worker that was lost before it could say so
        return ""
    from core.models.training import train  # TensorFlow takes seconds to load, and who only waits needs none

    try:
        train(run)
    except DermLensError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    give_way()
    run = Run(sys.argv[1])
    stop_on_signal(run)
    reason = _train(run)
    if reason:
        sys.exit(f"error: {reason}")
