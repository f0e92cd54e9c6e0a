"""A sweep draws the same trials again, trains what is missing, and never looks at test images."""

import dataclasses
import shutil

import pandas as pd
import pytest

from core.engines import chosen_engine
from core.errors import ConfigError
from core.models import many_runs, sweep
from core.models import spread as spreading
from core.models.sweep import Range, plan
from core.runs.run import Run
from core.runs.status import Status

pytestmark = pytest.mark.usefixtures("no_conversion")

OVER = [Range.parse("learning_rate=1e-4..1e-2:log"), Range.parse("epochs=1,2"), Range.parse("dropout=0..0.5")]


@pytest.fixture
def base(tiny_config):
    return dataclasses.replace(tiny_config, epochs=1)


@pytest.fixture
def trained(monkeypatch):
    """The ids of runs in the order in which they are trained, here in this process."""
    ids = []

    def train(run, settings):
        ids.append(run.id)
        return spreading._train(run)

    monkeypatch.setattr(spreading, "_as_process", train)
    return ids


def test_the_same_command_draws_the_same_trials_and_more_trials_add_to_them(base):
    few, many = plan(base, OVER, 3, 5), plan(base, OVER[::-1], 30, 5)
    assert [trial.config for trial in few] == [trial.config for trial in many[:3]]
    assert few[0].sweep == many[0].sweep
    assert plan(base, OVER, 3, 6)[0].config != few[0].config
    rates = [trial.config.learning_rate for trial in many]
    assert min(rates) >= 1e-4
    assert max(rates) <= 1e-2
    assert sum(rate < 1e-3 for rate in rates) in range(8, 23)  # half of a logarithmic range lies below its middle
    assert {trial.config.epochs for trial in many} == {1, 2}


@pytest.mark.parametrize(
    "spec", ["dropout", "dropout=", "dropout=a", "dropout=0.5..0.1", "dropout=0..0.5:log", "flips=0..1", "colours=1,2"]
)
def test_what_cannot_be_drawn_is_refused(spec):
    with pytest.raises(ConfigError, match="Received"):
        Range.parse(spec)


def test_each_folder_that_is_named_is_learned_from(tiny_data, runs_folder, tmp_path, monkeypatch):
    planned = []
    monkeypatch.setattr(sweep, "sweep", lambda trials, *how: planned.extend(trials) or sweep.table(trials))
    monkeypatch.chdir(tiny_data.parent)
    folders = ["--data-dir", tiny_data.name, "--data-dir", str(tiny_data)]
    sweep.main([*folders, "--trials", "1", "--recipe", "long", "--set", "backbone=efficientnet_lite0"])
    assert (planned[0].config.data_dir, planned[0].config.extra_data) == (str(tiny_data), str(tiny_data))


def test_trials_that_contradict_themselves_are_refused_before_any_run_is_made(tiny_data, runs_folder, capsys):
    asked = ["--data-dir", str(tiny_data), "--trials", "2", "--over", "class_weights=true"]
    assert sweep.main(asked) == 1
    assert "class_weights" in capsys.readouterr().err
    assert list(runs_folder.iterdir()) == []


def test_a_teacher_that_is_not_there_is_refused_before_any_run_is_made(tiny_data, runs_folder, capsys):
    for asked in (["--set", "teacher=nobody"], ["--over", "teacher=nobody,nobody-else"]):
        assert sweep.main(["--data-dir", str(tiny_data), "--trials", "2", *asked]) == 1
        assert "'nobody" in capsys.readouterr().err
        assert list(runs_folder.iterdir()) == []


def test_drawn_files_are_named_whole(base, tmp_path, monkeypatch):
    (tmp_path / "mine.pth").touch()
    monkeypatch.chdir(tmp_path)
    drawn = {trial.config.weights for trial in plan(base, [Range.parse("weights=mine.pth,none")], 20, 0)}
    assert drawn == {str(tmp_path / "mine.pth"), "none"}


def test_a_sweep_is_ordinary_runs_and_goes_on_where_it_was(base, runs_folder, trained):
    trials = plan(base, OVER, 2, 5, "mine")
    first = sweep.sweep(trials[:1])
    both = sweep.sweep(trials)
    assert trained == ["sweep-mine-001", "sweep-mine-002"]  # the first was not trained twice
    assert both["validation_balanced_accuracy"].is_monotonic_decreasing
    assert both.set_index("run").loc["sweep-mine-001"].equals(first.set_index("run").loc["sweep-mine-001"])
    pd.testing.assert_frame_equal(pd.read_csv(runs_folder / "sweep-mine.csv"), both)
    for row in both.itertuples():
        run = Run(runs_folder / row.run)
        assert run.metrics()["validation"]["balanced_accuracy"]["value"] == row.validation_balanced_accuracy
        assert run.config().learning_rate == row.learning_rate
        assert run.about()["name"] == f"Sweep mine, trial {row.trial}"
        assert f"dropout {row.dropout}" in run.about()["note"]
    with pytest.raises(ConfigError, match="--name"):
        plan(base, OVER, 1, 6, "mine")[0].run()


def test_the_trials_that_others_wait_for_go_first(base, runs_folder, monkeypatch):
    asked = []

    def spread(runs, *how):
        asked.append(([run.id for run in runs], how))
        return {}

    monkeypatch.setattr(many_runs, "spread", spread)
    sweep.sweep(plan(base, [Range.parse("dropout=0..0.5")], 3, 5, "a"), "head:6379", 1, 4)
    assert asked == [(["sweep-a-001"], ()), (["sweep-a-002", "sweep-a-003"], ("head:6379", 1, 4))]


def test_who_draws_what_changes_the_whole_network_is_told(base, runs_folder, monkeypatch, capsys):
    monkeypatch.setattr(many_runs, "spread", lambda runs, *how: {})
    whole = dataclasses.replace(base, train_from="block7", whole_epochs=2)
    sweep.sweep(plan(whole, [Range.parse("dropout=0.1,0.2")], 6, 5, "a"))
    assert "2 ways for 6 trials" in capsys.readouterr().out
    sweep.sweep(plan(whole, [Range.parse(text) for text in sweep.OVER], 6, 5, "b"))
    sweep.sweep(plan(base, [Range.parse("dropout=0.1,0.2")], 6, 5, "c"))
    assert "ways" not in capsys.readouterr().out


def test_trainings_at_once_share_the_cores(base, runs_folder, monkeypatch):
    found = []
    monkeypatch.setattr(spreading.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(spreading, "_as_process", lambda run, settings: found.append(settings) or "")
    runs = [Run.create(base, runs_folder / name) for name in "abc"]
    spreading.spread(runs, jobs=2)
    spreading.spread(runs[:1], jobs=2)
    assert found == [{"TF_NUM_INTRAOP_THREADS": "2"}] * 3 + [{}]


def test_whoever_is_queued_waits_for_trials_that_are_taken_up_again(base, runs_folder, monkeypatch):
    run = Run.create(base, runs_folder / "a")
    run.write_status(Status(state="stopped"))
    seen = []
    monkeypatch.setattr(spreading, "_as_process", lambda run, _: seen.append(run.status().state) or "")
    spreading.spread([run])
    assert seen == ["queued"]


def test_a_trial_that_is_deleted_before_its_turn_is_named(base, runs_folder):
    run = Run.create(base, runs_folder / "a")
    shutil.rmtree(run.folder)
    assert "deleted" in spreading._as_process(run, {})


def test_a_failed_trial_is_named_and_leaves_the_others_alone(base, runs_folder, monkeypatch, capsys):
    def fail(run, settings):
        return "no disk" if run.id.endswith("001") else ""

    monkeypatch.setattr(spreading, "_as_process", fail)
    assert sweep.sweep(plan(base, OVER, 2, 5, "x")).empty
    said = capsys.readouterr().out
    assert "sweep-x-001 did not finish: no disk" in said
    assert "sweep-x-002" not in said


def test_the_engine_that_is_asked_for_is_that_of_all_trainings(tiny_config, runs_folder, monkeypatch):
    monkeypatch.setenv("DERMLENS_ENGINE", "openvino")
    seen = []
    monkeypatch.setattr(spreading, "_as_process", lambda *_: seen.append(chosen_engine()) or "no disk")
    sweep.main(["--data-dir", tiny_config.data_dir, "--trials", "2", "--engine", "tensorflow"])
    assert seen == ["tensorflow"] * 2


def test_trials_without_a_trunk_wait_for_none(base):
    over = [sweep.Range.parse("learning_rate=1e-4..1e-2:log")]
    shared = sweep.plan(base, over, 3, 0)
    alone = sweep.plan(dataclasses.replace(base, train_from="all"), over, 3, 0)
    assert len({trial.trunk() for trial in shared}) == 1 and len({trial.trunk() for trial in alone}) == 3
