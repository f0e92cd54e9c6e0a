"""Folds test every image once, by an ordinary run that has not seen its lesion."""

import dataclasses
import shutil

import pandas as pd
import pytest

from core.errors import ConfigError
from core.models import folds
from core.models import spread as spreading
from core.runs.run import MANIFEST, Run

pytestmark = pytest.mark.usefixtures("no_conversion")


def test_every_image_is_tested_once(tiny_config, tiny_data, runs_folder, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(spreading, "_as_process", lambda run, _: trained.append(run.id) or spreading._train(run))
    command = ["--data-dir", str(tiny_data), "--folds", "2", "--recipe", "tutorial", "--name", "mine"]
    settings = {"backbone": "efficientnet_lite0", "views": 1, "epochs": 1, "measured_heatmaps": 0}
    command += [f"--set={name}={value}" for name, value in settings.items()]
    assert folds.main(command) == 0
    said = capsys.readouterr().out
    assert "70 images, each tested by a network that has seen none of its lesion; 2 folds" in said
    assert "not a medical device" in said
    table = pd.read_csv(runs_folder / "folds-mine.csv")
    assert table["image_id"].is_unique and len(table) == 70
    for number in (1, 2):
        run = Run(runs_folder / f"folds-mine-{number}")
        own = run.predictions().query("split == 'test'").set_index("image_id")["p_mel"]
        said_here = table[table["fold"] == number].set_index("image_id")["p_mel"]
        pd.testing.assert_series_equal(said_here.sort_index(), own.sort_index())
        assert run.about()["name"] == f"Fold {number} of 2, mine"
    assert folds.main(command) == 0
    assert trained == ["folds-mine-1", "folds-mine-2"]  # none of them twice
    again = capsys.readouterr().out
    assert again.startswith("70 images, each") and said.endswith(again)


def test_a_fold_that_failed_is_missed(tiny_config, runs_folder, monkeypatch, capsys):
    monkeypatch.setattr(spreading, "_as_process", lambda run, _: "no disk")
    assert folds.main(["--data-dir", tiny_config.data_dir, "--folds", "2"]) == 1
    said = capsys.readouterr().out
    assert said.count("did not finish: no disk") == 2
    assert "0 of 2 folds finished" in said


@pytest.mark.parametrize("count", [-1, 0, 1, 21])
def test_so_many_folds_cannot_be(tiny_config, runs_folder, count):
    with pytest.raises(ConfigError, match="Received"):
        folds.plan(tiny_config, count)
    assert list(runs_folder.iterdir()) == []


def test_a_fold_is_one_of_the_folds(tiny_config):
    with pytest.raises(ConfigError, match="--folds 0"):
        dataclasses.replace(tiny_config, folds=3, fold=4)
    with pytest.raises(ConfigError, match="--folds 0"):
        dataclasses.replace(tiny_config, fold=2)


def test_folds_of_two_data_sets_are_not_taken_together(tiny_run, tmp_path):
    one, other = (Run(shutil.copytree(tiny_run.folder, tmp_path / name)) for name in ("one", "other"))
    manifest = other.manifest()
    other.write_json(MANIFEST, manifest | {"data": manifest["data"] | {"fingerprint": "of other images"}})
    with pytest.raises(ConfigError, match="one, other, whose images differ"):
        folds.tested([one, other])


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "two words", "-x"])
def test_a_name_that_is_no_name_of_a_folder_is_refused(tiny_data, runs_folder, name, capsys):
    command = ["--data-dir", str(tiny_data), "--folds", "2", f"--name={name}"]
    assert folds.main(command) == 1
    assert "--name takes letters" in capsys.readouterr().err
    assert not list(runs_folder.iterdir()) and not (runs_folder.parent / "elsewhere-1").exists()
