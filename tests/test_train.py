"""The command line of training: what it offers, what it refuses, what it says."""

import dataclasses
import os
import shutil
import subprocess
import sys

import pytest

import train
from core.backbones import BACKBONES
from core.config import TrainConfig
from core.data.ham10000 import extra_folders
from core.places import PROJECT
from core.presets import PRESETS


def test_help_names_every_setting_with_its_reason(capsys):
    with pytest.raises(SystemExit) as ended:
        train.main(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for setting in dataclasses.fields(TrainConfig):
        if setting.name == "extra_data":  # of --data-dir, given again
            continue
        assert f"--{setting.name.replace('_', '-')}" in text
        assert " ".join(setting.metadata["reason"].split())[:40] in text


def test_help_does_not_wait_for_tensorflow():
    code = "import sys, train; train.build_parser().format_help(); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--train-from", "block9"], "train_from must be one of head"),
        (["--views", "0"], "views must lie between 1 and 32"),
        (["--dropout", "nan"], "dropout must lie between"),
        (["--resume", "nothing-like-it"], "A run is named by its id"),
        (["--resume", "x", "--epochs", "3"], "--epochs"),
        (["--resume", "x", "--recipe", "tutorial"], "--recipe"),
        (["--class-weights"], "--logit-adjustment 0"),
        (["--head-depths"], "--train-from head"),
        (["--teacher", "nothing-like-it"], "A run is named by its id"),
        (["--join", "a", "b", "--wait", "--ray", "auto"], "--wait, --ray"),
        (["--data-dir", "/nowhere/at/all"], "--data-dir must name a folder"),
        (["--data-dir", ".", "--data-dir", f"a{os.pathsep}b"], "Name a link to it"),
        (["--resume", "x", "--data-dir", "a", "--data-dir", "b"], "--data-dir"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(runs_folder, capsys, arguments, says):
    assert train.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert says in error
    assert "Traceback" not in error


def test_a_folder_named_from_elsewhere_is_found_by_whoever_goes_on(tiny_data, runs_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_data.parent)
    options = train.build_parser().parse_args(["--data-dir", tiny_data.name, "--data-dir", f"./{tiny_data.name}"])
    with monkeypatch.context() as patch:
        patch.setattr("os.path.exists", lambda path: True)  # a folder called imagenet too
        config = train.open_run(options).config()
    monkeypatch.chdir(tmp_path)
    assert (config.data_dir, config.extra_data) == (str(tiny_data), str(tiny_data))
    assert (config.weights, config.teacher) == ("imagenet", None), "names stay names"


def asked(*arguments: str) -> TrainConfig:
    """What the command line asks of a training on drawn images."""
    options = vars(train.build_parser().parse_args(["--dataset", "synthetic", *arguments]))
    settings = {name: value for name, value in options.items() if name not in train.NO_SETTINGS}
    return train.configured(settings.pop("recipe", train.DEFAULT_RECIPE), settings)


def test_the_tutorials_recipe_is_the_defaults_of_a_training():
    assert asked("--recipe", "tutorial") == TrainConfig(dataset="synthetic")
    own = asked("--recipe", "tutorial", "--backbone", "efficientnet_lite0", "--epochs", "3")
    assert own == TrainConfig(dataset="synthetic", backbone="efficientnet_lite0", epochs=3)


def test_without_a_recipe_it_is_dermlenss_own():
    own = asked("--backbone", "efficientnet_lite0")
    assert own == PRESETS["dermlens"].apply(TrainConfig(dataset="synthetic", backbone="efficientnet_lite0"))
    assert own == asked("--recipe", "dermlens", "--backbone", "efficientnet_lite0")
    assert asked().backbone == TrainConfig().backbone


def test_what_is_asked_for_overrides_the_recipe():
    own = asked("--epochs", "4", "--train-from", "head", "--no-turns", "--rotation", "15", "--seed", "9")
    changed = {"epochs": 4, "train_from": "head", "turns": False, "rotation": 15.0, "seed": 9}
    assert own == dataclasses.replace(asked(), **changed)
    assert asked("--class-weights", "--logit-adjustment", "0").class_weights


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_network_has_a_cut_for_the_recipe(backbone):
    assert asked("--backbone", backbone).train_from in BACKBONES[backbone].blocks
    assert asked("--backbone", backbone, "--recipe", "tutorial").train_from == "head"


def test_a_folder_that_holds_something_else_is_not_written_into(tmp_path, capsys):
    (tmp_path / "thesis.docx").write_text("years of work")
    assert train.main(["--run-dir", str(tmp_path)]) == 1
    assert "empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_finished_run_is_not_trained_again(tiny_run, capsys):
    assert train.main(["--resume", str(tiny_run.folder)]) == 1
    assert "finished" in capsys.readouterr().err


def test_the_headline_has_the_interval_the_rival_and_the_notice(tiny_run):
    text = train.headline(tiny_run)
    test = tiny_run.metrics()["test"]
    assert f"{test['balanced_accuracy']['value']:.3f}" in text
    assert f"{test['balanced_accuracy']['low']:.3f}" in text
    assert f"always answering nevus scores {test['always_nevus_accuracy']:.3f}" in text
    assert tiny_run.id in text
    assert "synthetic" in text
    assert "research and education" in text


def test_several_folders_are_one_data_set_and_others_that_are_added(tiny_data, tmp_path, runs_folder):
    more = [shutil.copytree(tiny_data, tmp_path / name) for name in ("a", "b")]
    folders = [part for folder in (tiny_data, *more) for part in ("--data-dir", str(folder))]
    config = train.open_run(train.build_parser().parse_args(folders)).config()
    assert config.data_dir == str(tiny_data) and extra_folders(config) == more
    alone = train.open_run(train.build_parser().parse_args(folders[:2])).config()
    assert (alone.data_dir, alone.extra_data) == (str(tiny_data), None)
    (tmp_path / "empty").mkdir()
    assert train.main([*folders, "--data-dir", str(tmp_path / "empty")]) == 1
    assert len(list(runs_folder.iterdir())) == 2


def test_a_typing_error_leaves_no_run_behind(runs_folder, tmp_path, capsys):
    assert train.main(["--data-dir", str(tmp_path)]) == 1  # a folder, but no table in it
    assert "HAM10000_metadata.csv" in capsys.readouterr().err
    assert list(runs_folder.iterdir()) == []
