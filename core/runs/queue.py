"""Trainings one after another: a queued one is a process that waits for its turn, so that no page need be open."""

import dataclasses
import time

from core.errors import RunError, TrainingStopped
from core.places import runs_root
from core.runs.all_runs import list_runs
from core.runs.jobs import active_run, one_start_at_a_time, taken_out
from core.runs.run import Run
from core.runs.status import own_process

PAUSE = 1.0  # seconds between two looks


def wait_for_turn(run: Run) -> None:
    """Return once no training is under way that runs already or was queued earlier, and no run is being examined.

    The run is then "running", so that nobody else finds the machine free.

    Raises:
        TrainingStopped: it was asked to stop while it waited; its status says so.
        RunError: the run cannot be written.
    """
    status = dataclasses.replace(run.status(), state="queued", phase="waiting", error=None, **own_process())
    said = None
    while True:
        if taken_out(run, "Stopped while it waited."):
            raise TrainingStopped(f"Stopped while it waited. Go on with: python train.py --resume {run.called}")
        with one_start_at_a_time():
            first = _first_before(run)
            if first is None:
                run.write_status(dataclasses.replace(status, state="running", message="Starting."))
                return
        if first != said:
            said = first
            run.write_status(dataclasses.replace(status, message=f"Waiting for {first}."))
            print(f"[waiting] for {first}", flush=True)
        time.sleep(PAUSE)


def _first_before(run: Run) -> str | None:
    """The id of a run whose turn is before this one's; None when it is this one's."""
    for root in dict.fromkeys((runs_root(), run.folder.parent)):
        first = active_run(root)
        if first is not None and first.id != run.id:
            return first.id
        examined = next((other for other in list_runs(root) if other.id != run.id and _is_examined(other)), None)
        if examined is not None:
            return examined.id
    return None


def _is_examined(run: Run) -> bool:
    try:
        return run.status().examining
    except RunError:  # a damaged run does not stand in the way
        return False
