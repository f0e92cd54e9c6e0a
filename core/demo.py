"""Something to look at: unless there is a finished run, draw the synthetic set and train one.

python -m core.demo
"""

import subprocess
import sys

from core.places import PROJECT, runs_root
from core.runs.all_runs import list_runs, promote, served_run
from core.runs.run import CONFIG, Run

RUN = "demo"
RECIPE = ("--dataset", "synthetic", "--backbone", "efficientnet_lite0", "--views", "2", "--measured-heatmaps", "24")


def main() -> int:
    """Leave a finished run that is served; returns the exit code of the training."""
    served = served_run()
    if served is not None and served.usable:
        print(f"Run {served.id} is served.", flush=True)
        return 0
    finished = next((run for run in list_runs() if run.usable), None)
    if finished is not None:
        promote(finished)
        print(f"Run {finished.id} is served from now on.", flush=True)
        return 0
    folder = runs_root() / RUN
    begun = (folder / CONFIG).is_file()
    arguments = ("--resume", str(folder)) if begun else (*RECIPE, "--run-dir", str(folder))
    print("No finished run yet: drawing the synthetic data set and training on it (one to two minutes).", flush=True)
    code = subprocess.run([sys.executable, PROJECT / "train.py", *arguments], check=False).returncode
    if code == 0 and served_run() is None:
        promote(Run(folder))
    return code


if __name__ == "__main__":
    sys.exit(main())
