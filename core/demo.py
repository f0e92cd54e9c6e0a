"""Something to look at: unless there is a finished run, draw the synthetic set and train one.

python -m core.demo
"""

import argparse
import sys
import time

from core.config import TrainConfig
from core.errors import command
from core.places import runs_root
from core.runs import jobs
from core.runs.all_runs import list_runs, promote, served_run
from core.runs.run import ACTIVE, CONFIG, LOG, Run

RUN = "demo"
RECIPE = TrainConfig(dataset="synthetic", backbone="efficientnet_lite0", views=2, measured_heatmaps=24)


@command
def main() -> int:
    """Leave a finished run that is served; it is examined in a process that goes on. Returns an exit code."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    served = served_run()
    if served is not None and served.usable:
        print(f"Run {served.id} is served.", flush=True)
        return 0
    finished = next((run for run in list_runs() if run.usable), None)
    if finished is not None:
        promote(finished)
        print(f"Run {finished.id} is served from now on.", flush=True)
        return 0
    return train()


def train() -> int:
    """Train the demo's run, or go on with it, until it can be used."""
    print("No finished run yet: drawing the synthetic data set and training on it (one to two minutes).", flush=True)
    folder = runs_root() / RUN
    if (folder / CONFIG).is_file():
        run, seen = Run(folder), len(log_of(Run(folder)))
        jobs.resume(run)
    else:
        run, seen = jobs.start(RECIPE, folder), 0
    try:
        state = "queued"
        while state in ACTIVE:
            time.sleep(0.5)
            state = run.status().state
            log = log_of(run)
            sys.stdout.buffer.write(log[seen:])
            sys.stdout.flush()
            seen = len(log)
    except KeyboardInterrupt:
        jobs.stop(run)
        print("\nThe training stops after its present step. `make demo` goes on with it.", flush=True)
        return 130
    if not run.usable:
        return 1
    if served_run() is None:
        promote(run)
    return 0


def log_of(run: Run) -> bytes:
    """What the run's process has printed."""
    path = run.folder / LOG
    return path.read_bytes() if path.is_file() else b""


if __name__ == "__main__":
    sys.exit(main())
