"""Cross-validation: every image is tested once, by a network that has seen none of its lesion.

    python -m core.models.folds --data-dir ~/HAM10000 --folds 5
    python -m core.models.folds --data-dir /shared/HAM10000 --folds 10 --ray auto

One test part holds few of the rare lesions, so that its figures jump with the split. All folds together hold each of
them once. Each fold is an ordinary run with its own calibration; its test images are those of no other fold.
"""

import argparse
import dataclasses
import hashlib
import json
import sys

import numpy as np
import pandas as pd

from core.config import TrainConfig
from core.diagnoses import CODES, PROBABILITY_COLUMNS, RESEARCH_NOTICE, notices
from core.errors import ConfigError, command
from core.evaluation.metrics import evaluate, sensitivity_at_specificity
from core.models.many_runs import add_options, base_config, prepared, train_sharing
from core.places import runs_root
from core.runs.files import write_csv
from core.runs.run import Run

SPECIFICITY = 0.9
FIGURES = {"balanced_accuracy": "balanced accuracy", "macro_auc": "macro AUC", "accuracy": "accuracy"}


def plan(base: TrainConfig, folds: int, name: str | None = None) -> list[Run]:
    """The runs of all folds, created where there are none.

    Args:
        base: all other settings.
        folds: how many, 2 to 20.
        name: of all of them; by default made of their settings.

    Raises:
        ConfigError: so many folds cannot be; or a folder holds a run with other settings.
    """
    each = [dataclasses.replace(base, folds=folds, fold=number) for number in range(1, folds + 1)]
    if not each:
        raise ConfigError(f"Lesions are cut into two folds or more. Received: {folds}.")
    name = name or hashlib.sha256(json.dumps(each[0].to_dict()).encode()).hexdigest()[:6]
    return [
        prepared(config, runs_root() / f"folds-{name}-{config.fold}", f"Fold {config.fold} of {folds}, {name}")
        for config in each
    ]


def tested(runs: list[Run]) -> pd.DataFrame:
    """What the finished folds said of their test images.

    Returns:
        The columns of `predictions.csv` without split, and fold and lesion_id.

    Raises:
        ConfigError: they learned from different images.
    """
    if len({run.manifest()["data"]["fingerprint"] for run in runs}) > 1:
        raise ConfigError(
            f"Folds are parts of one data set. Received: {', '.join(run.id for run in runs)}, whose images differ. "
            "Bring the images back and train those that differ again, or give another --name."
        )
    tables = []
    for run in runs:
        table = run.predictions().query("split == 'test'").drop(columns="split")
        lesions = run.splits().set_index("image_id")["lesion_id"]
        tables.append(table.assign(fold=run.config().fold, lesion_id=table["image_id"].map(lesions)))
    return pd.concat(tables, ignore_index=True)


def report(table: pd.DataFrame, seed: int) -> str:
    """The figures of all tested images together and of each fold, for people.

    Args:
        table: see `tested`.
        seed: of the intervals.
    """

    def figures(some: pd.DataFrame) -> dict:
        labels, answers = (some[name].map(CODES.index).to_numpy() for name in ("dx", "predicted"))
        return evaluate(labels, some[PROBABILITY_COLUMNS].to_numpy(), some["lesion_id"].to_numpy(), seed, answers)

    def melanomas(some: pd.DataFrame) -> float:
        once = np.ones((len(some), 1))
        ill = (some["dx"] == "mel").to_numpy()
        return float(sensitivity_at_specificity(ill, some["p_mel"].to_numpy(), SPECIFICITY, once)[0])

    together, folds = figures(table), [some for _, some in table.groupby("fold")]
    alone = [figures(some) for some in folds]
    lines = [f"{len(table):,} images, each tested by a network that has seen none of its lesion; {len(folds)} folds"]
    for name, title in FIGURES.items():
        all_of_them = together[name]
        each = " ".join(f"{one[name]['value']:.3f}" for one in alone)
        lines.append(
            f"{title:<42}{all_of_them['value']:.3f}  (95 % interval {all_of_them['low']:.3f} to "
            f"{all_of_them['high']:.3f}); by fold {each}"
        )
    each = " ".join(f"{melanomas(some):.3f}" for some in folds)
    title = f"melanoma sensitivity, specificity {SPECIFICITY}"
    lines.append(f"{title:<42}{melanomas(table):.3f}; by fold {each}")
    lines += [
        f"sensitivity to {code:<26}{one['sensitivity']:.3f}  (n = {one['n']:,})"
        for code, one in together["per_class"].items()
        if one["n"]
    ]
    return "\n".join(lines)


@command
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 all finished, 1 not all, 130 stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m core.models.folds",
        description=f"Test every image once, by lesion. {RESEARCH_NOTICE}",
        allow_abbrev=False,
    )
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="how many. Default: 5")
    add_options(parser)
    options = parser.parse_args(arguments)
    runs = plan(base_config(options), options.folds, options.name)
    failed = train_sharing(runs, runs[:1], options.ray, options.jobs, options.cores)
    finished = [run for run in runs if run.usable]
    if finished:
        table = tested(finished)
        write_csv(runs_root() / f"{runs[0].id.rsplit('-', 1)[0]}.csv", table)
        print(report(table, runs[0].config().seed), *notices(finished[0].synthetic), sep="\n")
    print(f"{len(finished)} of {len(runs)} folds finished.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
