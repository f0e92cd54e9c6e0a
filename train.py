"""Train a classifier of skin lesions and write it into a run folder.

python train.py --dataset synthetic --backbone efficientnet_lite0
python train.py --data-dir ~/HAM10000
python train.py --data-dir ~/HAM10000 --recipe tutorial
python train.py --data-dir ~/HAM10000 --data-dir ~/ISIC2019 --data-dir data/cases/confirmed
python train.py --data-dir ~/HAM10000 --recipe long
python train.py --data-dir ~/HAM10000 --train-from block7 --views 8 --epochs 20
python train.py --data-dir ~/HAM10000 --ensemble 3
python train.py --join 20261124-101500-efficientnetb0-head-1f3a 20261124-103000-efficientnetb0-head-77c0
python train.py --data-dir ~/HAM10000 --ray auto
python train.py --resume 20261124-101500-efficientnetb0-head-1f3a
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any, get_type_hints

from core import engines
from core.config import TrainConfig, plain_type
from core.data.ham10000 import named_folders, settled
from core.diagnoses import RESEARCH_NOTICE, notices
from core.errors import DermLensError, command
from core.models.cluster import ADDRESS_HELP, use
from core.presets import DEFAULT_RECIPE, PRESETS, RECIPES, configured
from core.runs.all_runs import find_run
from core.runs.jobs import give_way, stop_on_signal, take_up
from core.runs.queue import wait_for_turn
from core.runs.run import Run

NO_SETTINGS = ("resume", "run_dir", "wait", "join", "ray", "engine")  # options that no run keeps
FOLDERS = ("data_dir", "extra_data")  # --data-dir names the first, and the further ones when it is given again
METAVARS = {str: "NAME", int: "N", float: "X"}


def build_parser() -> argparse.ArgumentParser:
    """One option for each field of TrainConfig, in its groups, and those that name the run; see `FOLDERS`."""
    parser = argparse.ArgumentParser(
        description="Train a classifier of skin lesions and write it into a run folder. " + RESEARCH_NOTICE,
        allow_abbrev=False,
        epilog="Data: --data-dir, else the variable DERMLENS_DATA, else Kaggle's copy of HAM10000.",
    )
    which = parser.add_argument_group("Run").add_mutually_exclusive_group()
    which.add_argument("--resume", metavar="ID", help="go on with a run that stopped, by its id or its folder")
    which.add_argument("--run-dir", metavar="FOLDER", help="the folder of this run; by default a new one in runs/")
    parser.add_argument(
        "--join", metavar="ID", nargs="+",
        help="train nothing: join these finished runs, of one split, into one that answers with their mean",
    )  # fmt: skip
    parser.add_argument(
        "--recipe", choices=RECIPES, default=argparse.SUPPRESS,
        help="settings to begin with: the tutorial's (a frozen network under a small head), DermLens's own (the upper "
        "blocks learn too), or a long one for a GPU (the whole network learns); every option below overrides them. "
        f"Default: {DEFAULT_RECIPE}.",
    )  # fmt: skip
    parser.add_argument("--wait", action="store_true", help="begin once no other training is under way in runs/")
    parser.add_argument("--ray", metavar="ADDRESS", help=ADDRESS_HELP)
    engines.add_option(parser)
    groups: dict[str, Any] = {}
    hints = get_type_hints(TrainConfig)
    for setting in dataclasses.fields(TrainConfig):
        name = setting.metadata["group"]
        if name not in groups:
            groups[name] = parser.add_argument_group(name)
        if setting.name != FOLDERS[1]:
            _add_option(groups[name], setting, plain_type(hints[setting.name]))
    return parser


def _add_option(group: Any, setting: dataclasses.Field, kind: type) -> None:
    bounds = setting.metadata
    text = bounds["reason"]
    if "low" in bounds:
        text += f" {bounds['low']:,} to {bounds['high']:,}."
    if setting.default is not None:
        text += f" Default: {default_of(setting)}."
    options: dict[str, Any] = {"help": text, "default": argparse.SUPPRESS, "dest": setting.name}
    if setting.name == FOLDERS[0]:
        more = " Given again, it names further folders, whose images are added, such as confirmed cases."
        options |= {"action": "append", "metavar": "FOLDER", "help": text + more}
    elif kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    else:
        metavar = None if "choices" in bounds else METAVARS[kind]
        options |= {"type": kind, "choices": bounds.get("choices"), "metavar": metavar}
    group.add_argument(f"--{setting.name.replace('_', '-')}", **options)


def default_of(setting: dataclasses.Field) -> str:
    """What holds without the option: by the default recipe, and by the others where they say otherwise."""
    by_recipe = {recipe: PRESETS[recipe].changes.get(setting.name, setting.default) for recipe in RECIPES}
    own = by_recipe.pop(DEFAULT_RECIPE)
    others = ", ".join(f"{value} with --recipe {recipe}" for recipe, value in by_recipe.items() if value != own)
    return f"{own} ({others})" if others else f"{own}"


def open_run(options: argparse.Namespace) -> Run:
    """The run to work on: a new one, or the one to go on with.

    Raises:
        DermLensError: a setting is refused, or there is no such run.
    """
    settings = {name: value for name, value in vars(options).items() if name not in NO_SETTINGS}
    resume, folder = options.resume, options.run_dir
    if FOLDERS[0] in settings and resume is None:
        settings |= named_folders(settings[FOLDERS[0]])
    if resume is None:
        config = settled(configured(settings.pop("recipe", DEFAULT_RECIPE), settings))
        if config.teacher:
            find_run(config.teacher)
        return Run.create(config, folder and Path(folder))
    if settings:
        raise DermLensError(
            f"A run goes on with its own settings. Received: --resume together with "
            f"{', '.join('--' + name.replace('_', '-') for name in settings)}. Leave them out, or start a new run."
        )
    run = find_run(resume)
    if run.usable:
        raise DermLensError(f"Only an unfinished run can go on. Received: run {run.id!r}, which is finished.")
    take_up(run)
    return run


def join_runs(options: argparse.Namespace) -> Run:
    """The new run that answers with the mean of finished ones.

    Raises:
        DermLensError: there is no such run, or they do not fit together.
    """
    others = sorted(set(vars(options)) - set(NO_SETTINGS))
    others += [name for name in ("resume", "wait", "ray") if getattr(options, name)]
    if others:
        raise DermLensError(
            f"Runs are joined as they are. Received: --join together with "
            f"{', '.join('--' + name.replace('_', '-') for name in others)}. Leave them out."
        )
    runs = [find_run(name) for name in options.join]
    from core.models.joining import join_finished

    return join_finished(runs, options.run_dir and Path(options.run_dir))


@command
def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 finished, 1 failed, 130 stopped."""
    options = build_parser().parse_args(arguments)
    engines.use(options.engine)
    if options.join:
        run = join_runs(options)
        stop_on_signal(run)
        print(f"Run {run.id} in {run.folder}\n{headline(run)}", flush=True)
        examine_afterwards(run)
        return 0
    use(options.ray)
    run = open_run(options)
    stop_on_signal(run)
    if options.wait:
        wait_for_turn(run)
    from core.models.training import train  # TensorFlow takes seconds to load: --help should not

    print(f"Run {run.id} in {run.folder}", flush=True)
    train(run)
    print(headline(run), flush=True)
    examine_afterwards(run)
    return 0


def examine_afterwards(run: Run) -> None:
    """Examine the finished run: it can be used meanwhile, and whatever happens here leaves it finished."""
    from core.evaluation.examination import examine

    print("The run is finished and can be used. It is examined now: images, labels, heatmaps.", flush=True)
    try:
        examine(run)
    except DermLensError as error:
        print(f"warning: not examined to the end: {error}", file=sys.stderr, flush=True)


def headline(run: Run) -> str:
    """What a person wants to know of a finished run."""
    test = run.metrics()["test"]
    balanced, melanoma = test["balanced_accuracy"], test["per_class"]["mel"]
    lines = [
        f"Finished in {run.manifest()['seconds']:.0f} s: run {run.id}",
        f"Test, {test['n']:,} images: balanced accuracy {_figure(balanced['value'])} "
        f"(95 % interval {_figure(balanced['low'])} to {_figure(balanced['high'])}), "
        f"macro AUC {_figure(test['macro_auc']['value'])}, "
        f"melanoma sensitivity {_figure(melanoma['sensitivity'])} (n = {melanoma['n']})",
        f"Accuracy {_figure(test['accuracy']['value'])}; always answering nevus scores "
        f"{_figure(test['always_nevus_accuracy'])}",
    ]
    return "\n".join([*lines, *notices(run.synthetic)])


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    give_way()
    sys.exit(main())
