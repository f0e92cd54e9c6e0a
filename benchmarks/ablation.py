"""Each part of DermLens's own recipe off, or one more on: what the validation images say, over several seeds.

    python benchmarks/ablation.py DATA_DIR [--seeds 7 8 9] [--only views4 nomixup]

Each variant is an ordinary run in `DERMLENS_RUNS`, trained where it is not there yet, so that the same command goes on
where it was stopped. A seed draws the split, the first weights and the order: a variant is compared with the recipe
seed by seed. Of the test images nothing is looked at.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from core.diagnoses import CODES, LOGIT_COLUMNS  # noqa: E402
from core.evaluation.metrics import epoch_figures  # noqa: E402
from core.models.many_runs import prepared, train_sharing  # noqa: E402
from core.places import runs_root  # noqa: E402
from core.presets import configured  # noqa: E402
from core.runs.run import Run  # noqa: E402

WARPS = {"rotation": 15.0, "zoom": 0.15, "shift": 0.05}
VARIANTS: dict[str, dict[str, Any]] = {
    "recipe": {},
    "testviews1": {"test_views": 1},
    "testviews8": {"test_views": 8},
    "views4": {"views": 4},
    "views1": {"views": 1},
    "tutorialviews": {"turns": False, "rotation": 20.0, "shift": 0.2, "zoom": 0.2, "flips": True},
    "warps": WARPS,
    "colour": {"colour": 0.5},
    "nomixup": {"mixup": 0.0},
    "imagenet_norm": {"adapt_norm": 0.0},
    "no_whole_epochs": {"whole_epochs": 0},
    "sums": {"cutmix": 0.0},
    "sums0.2": {"mixup": 0.2, "cutmix": 0.0},
    "smoothing": {"label_smoothing": 0.1},
    "classweights": {"class_weights": True, "logit_adjustment": 0.0},
    "noaverage": {"average_last": 0},
    "adam": {"optimizer": "adam"},
    "plateau": {"schedule": "plateau", "warm_up": 0.0},
    "block5": {"train_from": "block5"},
    "hidden128": {"hidden_units": 128},
    "epochs10": {"epochs": 10},
    "rate3e-4": {"learning_rate": 0.0003},
    "rate1e-3": {"learning_rate": 0.001},
}
FIGURES = {"balanced_accuracy": "balanced accuracy", "auc": "macro AUC", "log_loss": "balanced log loss"}


def of_variant(variant: str, seed: int, settings: dict[str, Any]) -> Run:
    """The run of a variant, new where there is none."""
    config = configured("dermlens", settings | VARIANTS[variant] | {"seed": seed, "measured_heatmaps": 0})
    return prepared(config, runs_root() / f"ablation-{variant}-{seed}", f"Ablation: {variant}, seed {seed}")


def figures(run: Run) -> dict[str, float]:
    """Of the validation images; the log loss is the mean over the diagnoses, so that nevi do not drown the rest."""
    table = run.predictions().query("split == 'validation'")
    logits = table[LOGIT_COLUMNS].to_numpy()
    labels = table["dx"].map(CODES.index).to_numpy()
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels]
    per_class = [losses[labels == code].mean() for code in np.unique(labels)]
    return epoch_figures(labels, logits) | {"log_loss": float(np.mean(per_class))}


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", metavar="DATA_DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--only", nargs="+", choices=sorted(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    options = parser.parse_args()
    settings = {"data_dir": os.path.abspath(options.data_dir), "backbone": options.backbone}
    variants = ["recipe", *(name for name in options.only if name != "recipe")]
    found = []
    for seed in options.seeds:  # a seed's variants share trunk outputs, as far as they may
        runs = {name: of_variant(name, seed, settings) for name in variants}
        train_sharing(list(runs.values()), [runs["recipe"]], jobs=options.jobs)
        found += [{"variant": name, "seed": seed} | figures(run) for name, run in runs.items() if run.usable]
    finished = {row["variant"] for row in found}
    if "recipe" not in finished:
        sys.exit("Variants are compared with the recipe, of which no training finished; see above. Begin again.")
    table = pd.DataFrame(found).set_index(["variant", "seed"])
    for figure, title in FIGURES.items():
        print(f"\n{title}, validation; by seed {', '.join(map(str, options.seeds))}; mean difference +- standard error")
        by_seed = table[figure].unstack()
        for name in (name for name in variants if name in finished):
            values, gained = by_seed.loc[name], (by_seed.loc[name] - by_seed.loc["recipe"]).dropna()
            error = gained.std() / np.sqrt(len(gained)) if len(gained) > 1 else float("nan")
            each = " ".join(f"{value:.3f}" for value in values)
            print(f"{name:<16}{values.mean():.3f}  {each}  {gained.mean():+.3f} +- {error:.3f}")


if __name__ == "__main__":
    main()
