"""An ensemble against the mean of its members, on its test images.

    python benchmarks/ensemble.py RUN [RUN ...]

Each figure of the ensemble, of each member, and what the ensemble wins over the members' mean, with its paired 95 %
interval: all are asked of the same resamples of lesions. Of several ensembles, the mean of what they win too; its
interval takes their test parts for different images.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from core.diagnoses import CODES, PROBABILITY_COLUMNS  # noqa: E402
from core.evaluation.bootstrap import Z, lesion_bootstrap, ratio  # noqa: E402
from core.evaluation.metrics import MELANOMA, resampled_macro_auc, sensitivity_at_specificity  # noqa: E402
from core.runs.all_runs import find_run  # noqa: E402
from core.runs.run import Run  # noqa: E402


def resampled(run: Run) -> dict[str, np.ndarray]:
    """Figures of a run's test images: of all of them first, then under each resample."""
    table = run.predictions().query("split == 'test'").merge(run.splits()[["image_id", "lesion_id"]], on="image_id")
    labels = table["dx"].map(CODES.index).to_numpy()
    probabilities = table[PROBABILITY_COLUMNS].to_numpy()
    right = (table["predicted"] == table["dx"]).to_numpy()
    drawn = lesion_bootstrap(table["lesion_id"].to_numpy()).weights
    weights = np.column_stack([np.ones(len(table), drawn.dtype), drawn])
    found = [ratio((weights * (right & (labels == code))[:, None]).sum(0), weights[labels == code].sum(0))
             for code in np.unique(labels)]  # fmt: skip
    melanoma = (labels == MELANOMA, probabilities[:, MELANOMA])
    return {
        "balanced accuracy": np.nanmean(found, axis=0),
        "macro AUC": resampled_macro_auc(labels, probabilities, weights),
        "melanoma sensitivity at specificity 0.90": sensitivity_at_specificity(*melanoma, 0.90, weights),
    }


def main() -> None:
    """Print the table of each ensemble, and of several what they win on average."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    gains: dict[str, list[np.ndarray]] = {}
    for run in map(find_run, parser.parse_args().runs):
        members = [resampled(member) for member in run.members()]
        if not members:
            sys.exit(f"error: An ensemble is needed. Received: run {run.id!r}, one network.")
        rows = []
        for name, of_all in resampled(run).items():
            each = np.array([member[name] for member in members])
            gains.setdefault(name, []).append(of_all - each.mean(axis=0))
            rows.append({
                "figure": name,
                "ensemble": f"{of_all[0]:.3f}",
                "members": " ".join(f"{value:.3f}" for value in each[:, 0]),
                "won over their mean": in_words(gains[name][-1]),
            })  # fmt: skip
        print(f"{run.called}\n{pd.DataFrame(rows).to_string(index=False)}\n")
    if len(next(iter(gains.values()))) > 1:
        for name, won in gains.items():
            print(f"{name}: won on average {in_words(np.mean(won, axis=0))}")


def in_words(won: np.ndarray) -> str:
    """A difference, and its interval by the resamples that follow it."""
    spread = Z * np.nanstd(won[1:])
    return f"{won[0]:+.3f} ({won[0] - spread:+.3f} to {won[0] + spread:+.3f})"


if __name__ == "__main__":
    main()
