"""Search over settings: trials with drawn settings, each an ordinary run, compared by their validation images.

    python -m core.models.sweep --data-dir ~/HAM10000 --trials 20
    python -m core.models.sweep --data-dir ~/HAM10000 --trials 20 --over learning_rate=1e-4..1e-2:log --over epochs=5,10
    python -m core.models.sweep --data-dir /shared/HAM10000 --trials 200 --ray auto

Random search (Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012). Trial k draws the
same settings whenever it is drawn: the same command goes on where it was stopped, and more trials add to those there
are. The first trial computes the trunk outputs; all others read them, as long as no setting changes them. Where the
whole network learns first (`whole_epochs`), most settings of training do: that is said before the first trial.
"""

import argparse
import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.backbones import ALL
from core.config import TrainConfig
from core.diagnoses import RESEARCH_NOTICE, notices
from core.errors import ConfigError, command
from core.models.many_runs import add_options, base_config, prepared, train_sharing, type_of, value_of
from core.models.spread import CORES
from core.places import runs_root
from core.runs.files import write_csv
from core.runs.run import Run

OVER = ("learning_rate=1e-4..1e-2:log", "epochs=8,16,24")  # no trunk output depends on them
ABOVE = (  # the trunk does not know of them, but for a whole network that learned first
    "hidden_units", "dropout", "patient", "ensemble", "repeat", "whole_epochs", "whole_learning_rate",
)  # fmt: skip
ROSY = (
    "The best of many trials was chosen by the very images that this figure is of: it is too rosy, the more so the "
    "more trials. What the chosen one is worth, its test images say, looked at once."
)


@dataclass(frozen=True)
class Range:
    """Values that a setting is drawn from: one of `choices`, or evenly between two numbers, or between their logs."""

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @classmethod
    def parse(cls, text: str) -> "Range":
        """`name=a,b,c`, `name=low..high` or `name=low..high:log`.

        Raises:
            ConfigError: it is none of these, or no setting has this name.
        """
        name, _, values = text.partition("=")
        kind = type_of(name)
        low, dots, rest = values.partition("..")
        high, _, scale = rest.partition(":")
        try:
            if not dots:
                return cls(name, tuple(value_of(kind, value) for value in values.split(",")))
            if kind not in (int, float) or scale not in ("", "log"):
                raise ValueError
            found = cls(name, low=float(low), high=float(high), log=scale == "log")
            if not found.low < found.high or (found.log and found.low <= 0):
                raise ValueError
        except ValueError:
            raise ConfigError(
                "--over takes NAME=A,B,C, NAME=LOW..HIGH or NAME=LOW..HIGH:log, of values that the setting can have. "
                f"Received: {text!r}."
            ) from None
        return found

    def draw(self, dice: np.random.Generator) -> Any:
        """One value."""
        if self.choices:
            return self.choices[dice.integers(len(self.choices))]
        share = dice.random()
        if self.log:
            value = float(self.low * (self.high / self.low) ** share)
        else:
            value = self.low + (self.high - self.low) * share
        return round(value) if type_of(self.name) is int else float(f"{value:.4g}")


@dataclass(frozen=True)
class Trial:
    """One drawn configuration, and the folder that its run has."""

    number: int
    config: TrainConfig
    drawn: dict[str, Any]
    sweep: str

    def run(self) -> Run:
        """Its run, created where there is none.

        Raises:
            ConfigError: the folder holds a run with other settings.
        """
        folder = runs_root() / f"sweep-{self.sweep}-{self.number:03d}"
        note = ", ".join(f"{name} {value}" for name, value in self.drawn.items())
        return prepared(self.config, folder, f"Sweep {self.sweep}, trial {self.number}", note)

    def trunk(self) -> tuple:
        """What its trunk outputs may depend on: those that have this in common share them; without a trunk, none do."""
        if self.config.train_from == ALL:
            return (self.number,)
        settings = dataclasses.fields(self.config)
        below = [item.name for item in settings if item.metadata["group"] in ("Data", "Network", "Augmentation")]
        first = json.dumps(self.config.learned_before_cut())
        return (first, *(getattr(self.config, name) for name in below if name not in ABOVE))


def plan(base: TrainConfig, over: list[Range], trials: int, seed: int, name: str | None = None) -> list[Trial]:
    """Draw trials.

    Args:
        base: all settings that are not drawn.
        over: what is drawn.
        trials: how many.
        seed: of the dice, not of the trainings.
        name: of the sweep; by default made of all these but the number of trials.

    Raises:
        ConfigError: drawn settings contradict each other or the rest.
    """
    over = sorted(over, key=lambda each: each.name)
    asked = json.dumps([base.to_dict(), [dataclasses.astuple(each) for each in over], seed], default=str)
    name = name or hashlib.sha256(asked.encode()).hexdigest()[:6]
    found = []
    for number in range(1, trials + 1):
        dice = np.random.default_rng([seed, number])
        drawn = {each.name: each.draw(dice) for each in over}
        found.append(Trial(number, dataclasses.replace(base, **drawn).anywhere(), drawn, name))
    return found


def sweep(trials: list[Trial], address: str | None = None, jobs: int = 1, cores: int = CORES) -> pd.DataFrame:
    """Train what is not trained yet; those first whose trunk outputs the others read.

    Args:
        trials: see `plan`.
        address, jobs, cores: see `spread`.

    Returns:
        See `table`; also written as `sweep-NAME.csv` beside the runs.
    """
    runs = [trial.run() for trial in trials]
    sharing: dict[tuple, list[Run]] = {}
    for trial, run in zip(trials, runs, strict=True):
        sharing.setdefault(trial.trunk(), []).append(run)
    ways = {json.dumps(trial.config.learned_before_cut()) for trial in trials}
    if len(ways) > 1:
        print(
            f"What is drawn changes how the whole network learns first: {len(ways)} ways for {len(trials)} trials, "
            "each with trunk outputs of its own. --set whole_epochs=0 leaves those epochs out.",
            flush=True,
        )
    train_sharing(runs, [some[0] for some in sharing.values() if len(some) > 1], address, jobs, cores)
    found = table(trials)
    write_csv(runs_root() / f"sweep-{trials[0].sweep}.csv", found)
    return found


def table(trials: list[Trial]) -> pd.DataFrame:
    """One row a finished trial, the best validation balanced accuracy first; nothing of the test images.

    Columns: trial, run, validation_balanced_accuracy with low and high (95 % interval), seconds, each drawn setting.
    """
    rows = []
    for trial in trials:
        run = trial.run()
        if run.usable:
            figure = run.metrics()["validation"]["balanced_accuracy"]
            named = {"trial": trial.number, "run": run.id, "validation_balanced_accuracy": figure["value"]}
            bounds = {"low": figure["low"], "high": figure["high"], "seconds": run.manifest().get("seconds")}
            rows.append(named | bounds | trial.drawn)
    columns = ["trial", "run", "validation_balanced_accuracy", "low", "high", "seconds", *trials[0].drawn]
    found = pd.DataFrame(rows, columns=columns)
    return found.sort_values("validation_balanced_accuracy", ascending=False, kind="stable").reset_index(drop=True)


@command
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 all finished, 1 not all, 130 stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m core.models.sweep",
        description=f"Train with drawn settings, and compare by validation images. {RESEARCH_NOTICE}",
        allow_abbrev=False,
    )
    parser.add_argument("--trials", type=int, required=True, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn. Default: 0")
    parser.add_argument(
        "--over", action="append", metavar="SPEC",
        help=f"a setting to draw: NAME=A,B,C, NAME=LOW..HIGH or NAME=LOW..HIGH:log. Default: {', '.join(OVER)}",
    )  # fmt: skip
    add_options(parser)
    options = parser.parse_args(arguments)
    if options.trials < 1 or options.seed < 0:
        raise ConfigError("--trials is at least 1, and --seed at least 0. Received: less.")
    base = base_config(options)
    trials = plan(
        base, [Range.parse(text) for text in options.over or OVER], options.trials, options.seed, options.name
    )
    found = sweep(trials, options.ray, options.jobs, options.cores)
    print(found.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    print(f"{len(found)} of {len(trials)} trials finished. {ROSY}")
    print(*notices(any(trial.run().synthetic for trial in trials)), sep="\n")
    return 0 if len(found) == len(trials) else 1


if __name__ == "__main__":
    sys.exit(main())
