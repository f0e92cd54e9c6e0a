"""What a command that trains many runs takes, and the run folders that it prepares.

Each is an ordinary run: the same command goes on where it was stopped.
"""

import argparse
import re
from pathlib import Path
from typing import Any, get_type_hints

from core import engines
from core.config import TrainConfig, plain_type
from core.data.ham10000 import named_folders, settled
from core.errors import ConfigError
from core.models.cluster import ADDRESS_HELP, use
from core.models.spread import CORES, spread
from core.presets import DEFAULT_RECIPE, RECIPES, configured
from core.runs.all_runs import find_run
from core.runs.run import ABOUT, CONFIG, Run


def add_options(parser: argparse.ArgumentParser) -> None:
    """The settings of all runs, and what trains them."""
    parser.add_argument(
        "--data-dir", metavar="FOLDER", action="append",
        help="the data set; again for each further folder. Without it: as train.py finds it",
    )  # fmt: skip
    parser.add_argument("--recipe", choices=RECIPES, default=DEFAULT_RECIPE, help="the settings to begin with")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of all runs")
    parser.add_argument("--name", help="of all of them together. Default: made of their settings")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at a time on this machine")
    parser.add_argument("--ray", metavar="ADDRESS", help=ADDRESS_HELP)
    parser.add_argument(
        "--cores", type=int, default=CORES, metavar="N", help=f"of the cluster for each training. Default: {CORES}"
    )
    engines.add_option(parser)


def base_config(options: argparse.Namespace) -> TrainConfig:
    """The settings that all runs have, of `add_options`; cluster and engine, if any, are noted for this process.

    Raises:
        ConfigError: a setting is refused.
        DatasetError: a folder that is named is no data set.
    """
    if min(options.jobs, options.cores) < 1:
        raise ConfigError(f"--jobs and --cores are at least 1. Received: {options.jobs} and {options.cores}.")
    if options.name and not re.fullmatch(r"\w[\w.-]*", options.name):
        raise ConfigError(f"--name takes letters, digits, '_', '-' and '.'. Received: {options.name!r}. Correct it.")
    engines.use(options.engine)
    use(options.ray)
    settings = dict(_setting(text) for text in options.set)
    if options.data_dir:
        settings |= named_folders(options.data_dir)
    return settled(configured(options.recipe, settings))


def prepared(config: TrainConfig, folder: Path, name: str, note: str = "") -> Run:
    """The run in a folder, created where there is none.

    Args:
        config: its settings.
        folder: of this run.
        name, note: what people read of it.

    Raises:
        ConfigError: the folder holds a run with other settings.
        RunNotFoundError: there is no such teacher.
    """
    if not (folder / CONFIG).is_file():
        if config.teacher:
            find_run(config.teacher)  # one that is not there is said before anything is trained
        Run.create(config, folder).write_json(ABOUT, {"name": name, "note": note})
    run = Run(folder)
    if run.config() != config:
        raise ConfigError(
            f"A run goes on with its own settings. Received: others than those of {run.id!r}. Give another --name, or "
            "another DERMLENS_RUNS."
        )
    return run


def train_sharing(
    runs: list[Run], first: list[Run], address: str | None = None, jobs: int = 1, cores: int = CORES
) -> dict[str, str]:
    """Train what is not trained yet, and before all others those whose trunk outputs the others read.

    Args:
        runs: all of them.
        first: some of them; trained here, with their trunk outputs on the cluster where there is one.
        address, jobs, cores: see `spread`.

    Returns:
        Id -> reason of each run that did not finish; printed too.
    """
    failed = spread(first)
    failed |= spread([run for run in runs if run not in first], address, jobs, cores)
    for name, reason in failed.items():
        print(f"{name} did not finish: {reason}", flush=True)
    return failed


def type_of(name: str) -> type:
    """What the values of a setting are.

    Raises:
        ConfigError: there is no such setting.
    """
    hints = get_type_hints(TrainConfig)
    if name not in hints:
        raise ConfigError(f"A setting must be one of {sorted(hints)}. Received: {name!r}.")
    return plain_type(hints[name])


def value_of(kind: type, text: str) -> Any:
    """A value that was written on a command line.

    Raises:
        ValueError: it is of another type.
    """
    if kind is bool and text.lower() not in ("true", "false"):
        raise ValueError(text)
    if kind is bool:
        return text.lower() == "true"
    return kind(text)


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, value_of(type_of(name), value)
    except ValueError:
        raise ConfigError(
            f"--set takes NAME=VALUE, of a value that the setting can have. Received: {text!r}."
        ) from None
