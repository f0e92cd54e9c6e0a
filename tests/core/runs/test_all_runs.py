"""All runs: listed, found, and one of them served."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from core.config import TrainConfig
from core.errors import RunError, RunNotFoundError
from core.runs import run as contract
from core.runs.all_runs import find_run, list_runs, promote, served_run
from core.runs.jobs import active_run
from core.runs.queue import _first_before
from core.runs.run import Run
from core.runs.status import Status, own_process


def test_the_newest_run_comes_first(make, runs_folder):
    for name, changed in (("b", 200), ("a", 300), ("c", 100), ("d", 200)):
        make(runs_folder, name, changed=changed)
    assert [run.id for run in list_runs()] == ["a", "d", "b", "c"]
    assert [run.id for run in list_runs(runs_folder / "elsewhere")] == []


def test_one_broken_run_does_not_hide_the_others(make, runs_folder):
    """Every page lists the runs: one damaged folder took all of them down."""
    for name in ("config", "status", "empty status", "no status"):
        make(runs_folder, name)
    (runs_folder / "config" / "config.json").write_text("{")
    (runs_folder / "status" / "status.json").write_text('{"state": 5}')
    (runs_folder / "empty status" / "status.json").write_text("")
    (runs_folder / "no status" / "status.json").unlink()
    (runs_folder / "half").mkdir()
    (runs_folder / "file").write_text("x")
    (runs_folder / "folder" / "config.json").mkdir(parents=True)
    (runs_folder / "dangling").mkdir()
    (runs_folder / "dangling" / "config.json").symlink_to("nowhere")
    good = make(runs_folder, "good")
    names = {"config", "status", "empty status", "no status", "good"}
    assert {run.id for run in list_runs()} == names
    assert active_run() is None
    good.write_status(Run.create(TrainConfig(), runs_folder / "queued").status())
    assert active_run() is not None


def test_a_run_that_is_deleted_while_runs_are_listed(make, runs_folder, monkeypatch):
    make(runs_folder, "stays"), make(runs_folder, "goes")
    real = Path.glob

    def glob(self, pattern, **options):
        found = list(real(self, pattern, **options))
        shutil.rmtree(runs_folder / "goes", ignore_errors=True)
        return iter(found)

    monkeypatch.setattr(Path, "glob", glob)
    assert [run.id for run in list_runs()] == ["stays"]


def test_a_run_is_found_by_id_and_by_path(make, runs_folder, tmp_path, monkeypatch):
    inside, outside = make(runs_folder, "inside"), make(tmp_path / "other", "outside")
    assert find_run("inside").folder == inside.folder
    assert find_run(str(inside.folder)).folder == inside.folder
    assert find_run(outside.folder).folder == outside.folder
    monkeypatch.chdir(tmp_path)
    assert find_run("other/outside").folder == outside.folder
    for wrong in ("gone", "", ".", "..", "a\0b"):
        with pytest.raises(RunNotFoundError, match="Runs here: inside"):
            find_run(wrong)


def test_without_any_run_the_way_to_one_is_named(runs_folder):
    with pytest.raises(RunNotFoundError, match=r"train\.py"):
        find_run("x")


# ---- serving -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(set(contract.STATES) - {"finished"}))
def test_only_a_finished_run_is_promoted(make, runs_folder, state):
    run = make(runs_folder, "a")
    run.write_status(dataclasses.replace(Run.create(TrainConfig(), runs_folder / "b").status(), state=state))
    with pytest.raises(RunError, match=f"'a', {state}"):
        promote(run)
    assert served_run() is None


def test_the_served_run_follows_a_promotion(make, runs_folder):
    first, second = make(runs_folder, "first"), make(runs_folder, "second")
    assert served_run() is None
    for run in (first, second, first):
        promote(run)
        served = served_run()
        assert served is not None and served.id == run.id
    first.delete()
    assert served_run() is None
    promote(second)
    assert served_run() is not None


def test_the_folder_of_all_runs_can_be_moved(make, runs_folder, tmp_path):
    promote(make(runs_folder, "a"))
    moved = tmp_path / "moved"
    runs_folder.rename(moved)
    served = served_run(moved)
    assert served is not None and served.folder == moved / "a"


@pytest.mark.parametrize("name", ["../outside", "{outside}", "", ".", "..", "a/../../outside", 5, None, ["a"]])
def test_nothing_outside_the_folder_of_runs_is_served(make, runs_folder, name):
    make(runs_folder, "a")
    outside = make(runs_folder.parent, "outside")
    (runs_folder / "config.json").write_text("{}")  # the root itself is no run either
    text = name.format(outside=outside.folder) if isinstance(name, str) else name
    (runs_folder / "current.json").write_text(json.dumps({"run": text}))
    assert served_run() is None


def test_a_damaged_current_json_says_how_to_mend_it(make, runs_folder):
    run = make(runs_folder, "a")
    (runs_folder / "current.json").write_text("{")
    with pytest.raises(RunError, match=r"current\.json must hold JSON.*Promote a run again\."):
        served_run()
    promote(run)
    assert served_run() is not None


def test_a_run_that_lies_elsewhere_is_served_through_its_link(make, runs_folder, tmp_path):
    make(tmp_path / "large-disk", "run-7")
    (runs_folder / "linked").symlink_to(tmp_path / "large-disk" / "run-7")
    run = find_run("linked")
    assert run.id == "linked"
    promote(run)
    served = served_run()
    assert served is not None and served.id == "linked"
    assert not (tmp_path / "large-disk" / "current.json").exists()


def test_a_command_line_is_told_the_folder_where_the_id_is_not_found(make, runs_folder, tmp_path):
    assert make(runs_folder, "here").called == "here"
    assert make(tmp_path / "other", "there").called == str(tmp_path / "other" / "there")


def test_a_run_elsewhere_waits_for_the_one_under_way_in_runs(make, runs_folder, tmp_path):
    busy, elsewhere = make(runs_folder, "busy"), make(tmp_path / "other", "elsewhere")
    busy.write_status(Status(state="running", **own_process()))
    assert _first_before(elsewhere) == "busy"
    busy.write_status(Status(state="finished"))
    assert _first_before(elsewhere) is None
