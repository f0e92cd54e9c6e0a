"""A run is a folder: what is promised of reading, writing, listing, serving and deleting one."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.config import TrainConfig
from core.diagnoses import CODES
from core.errors import RunBusyError, RunError, RunNotFoundError, RunSchemaError
from core.runs import run as contract
from core.runs.jobs import active_run
from core.runs.run import Run, Status, find_run, list_runs, prediction_table, promote, served_run


def make(root: Path, name: str, state: str = "finished", changed: int | None = None) -> Run:
    run = Run.create(TrainConfig(epochs=3), root / name)
    run.write_status(Status(state=state))
    if changed is not None:
        os.utime(run.folder / contract.CONFIG, (changed, changed))
    return run


# ---- creating ----------------------------------------------------------------------------------


def test_a_new_run_is_queued_and_knows_what_it_was_asked(runs_folder):
    config = TrainConfig(backbone="efficientnet_lite0", train_from="block6", epochs=3)
    run = Run.create(config)
    assert run.folder.parent == runs_folder
    assert "efficientnet_lite0-block6" in run.id
    assert run.config() == config
    status = run.status()
    assert status.state == "queued" and status.pid == os.getpid()
    assert not run.usable and not run.synthetic
    assert json.loads((run.folder / "config.json").read_text()) == config.to_dict()


def test_two_runs_of_one_second_have_two_folders(runs_folder):
    assert len({Run.create(TrainConfig()).id for _ in range(5)}) == 5


def test_what_is_not_there_yet_is_empty(runs_folder):
    run = Run.create(TrainConfig())
    assert run.manifest() == run.metrics() == run.calibration() == run.evaluations() == {}
    assert run.log() == ""
    assert tuple(run.history().columns) == contract.HISTORY_COLUMNS
    for table in (run.splits(), run.history(), run.predictions()):
        assert table.empty


def test_a_folder_that_holds_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="empty folder") as caught:
        Run.create(TrainConfig(), tmp_path)
    assert "--resume" not in str(caught.value)  # there is nothing to go on with
    with pytest.raises(RunError, match="empty folder"):
        Run.create(TrainConfig(), tmp_path / "notes.txt")
    make(tmp_path, "old")
    with pytest.raises(RunError, match="--resume"):
        Run.create(TrainConfig(), tmp_path / "old")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_full_disk_is_a_run_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space left"):
        Run.create(TrainConfig(), tmp_path / "run")
    assert list_runs(tmp_path) == []


def test_a_run_whose_creator_died_is_not_queued_for_ever(runs_folder):
    """It blocked every later start: "one training runs at a time"."""
    code = "from core.runs.run import Run\nfrom core.config import TrainConfig\nprint(Run.create(TrainConfig()).id)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert find_run(answer.stdout.strip()).status().state == "lost"
    assert active_run() is None


# ---- reading -----------------------------------------------------------------------------------


def test_a_folder_without_configuration_is_no_run(tmp_path):
    with pytest.raises(RunNotFoundError, match=r"config\.json"):
        Run(tmp_path)


def test_a_configuration_that_was_deleted_is_not_taken_for_the_defaults(tmp_path):
    run = make(tmp_path, "a")
    (run.folder / "config.json").unlink()
    with pytest.raises(RunNotFoundError):
        run.config()


def test_settings_that_are_unknown(tmp_path):
    run = make(tmp_path, "a")
    run.write_json("config.json", {"epochs": 3, "warp": 9})
    with pytest.raises(RunError, match="warp"):
        run.config()
    run.write_json("manifest.json", {"schema_version": 2})
    with pytest.raises(RunSchemaError, match="version 1.*version 2"):
        run.config()


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_another_schema_version_is_a_named_error(tmp_path, version):
    run = make(tmp_path, "a")
    run.write_json("manifest.json", {"schema_version": version})
    with pytest.raises(RunSchemaError, match=f"Received: run 'a' of version {version!r}"):
        run.manifest()


def test_history_is_read_while_it_is_written(tmp_path):
    run = make(tmp_path, "a")
    rows = [dict.fromkeys(contract.HISTORY_COLUMNS, number / 2) | {"phase": "training"} for number in range(3)]
    run.write_csv("history.csv", pd.DataFrame(rows))
    whole = run.history()
    assert len(whole) == 3 and whole["loss"].tolist() == [0, 0.5, 1]
    text = (run.folder / "history.csv").read_text()
    (run.folder / "history.csv").write_text(text[:-9])
    assert run.history().equals(whole.head(2))


def test_predictions_survive_being_written(tmp_path):
    run = make(tmp_path, "a")
    images = pd.DataFrame({"image_id": ["007", "NA"], "dx": ["nv", "mel"], "path": ["x", "y"]})
    logits = np.arange(14, dtype=np.float32).reshape(2, 7) / 3
    shares = np.full((2, 7), 1 / 7)
    run.write_csv("predictions.csv", prediction_table(images, ["train", "test"], logits, shares))
    table = run.predictions()
    figures = [f"{kind}_{code}" for kind in ("logit", "p") for code in CODES]
    assert list(table.columns) == ["image_id", "split", "dx", "predicted", *figures, "ood_score"]
    assert table["image_id"].tolist() == ["007", "NA"]
    assert table["predicted"].tolist() == [CODES[6]] * 2
    assert (table[[f"logit_{code}" for code in CODES]].to_numpy(np.float32) == logits).all()
    assert (table[[f"p_{code}" for code in CODES]].to_numpy() == shares).all()


def test_the_end_of_the_log(tmp_path):
    run = make(tmp_path, "a")
    (run.folder / "log.txt").write_bytes(b"\xff damaged\n" + b"".join(b"line %d\n" % n for n in range(5000)))
    assert run.log(3) == "line 4997\nline 4998\nline 4999"
    assert len(run.log().splitlines()) == 200


@pytest.mark.parametrize("junk", ["", "{", "[]", '{"state": "dreaming"}', '{"state": "running", "pid": "x"}'])
def test_a_broken_status_is_a_run_error_and_makes_nothing_usable(tmp_path, junk):
    run = make(tmp_path, "a")
    (run.folder / "status.json").write_text(junk)
    with pytest.raises(RunError, match=r"status\.json must hold"):
        run.status()
    assert not run.usable
    with pytest.raises(RunError):
        promote(run)


def test_a_configuration_alone_is_a_run_to_go_on_with(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text("{}\n")
    assert Run(tmp_path / "a").status().state == "lost"


def test_evaluations_are_read_by_name(tmp_path):
    run = make(tmp_path, "a")
    for name in ("b", "a"):
        run.write_json(f"evaluations/{name}/metrics.json", {"metrics": {"n": 3}})
    (run.folder / "evaluations" / "half").mkdir()
    assert list(run.evaluations().items()) == [("a", {"metrics": {"n": 3}}), ("b", {"metrics": {"n": 3}})]


# ---- one writer --------------------------------------------------------------------------------


def test_a_run_has_one_writer(tmp_path):
    run = make(tmp_path, "a")
    with run.writing(), pytest.raises(RunBusyError, match="'a'"), Run(run.folder).writing():
        pass
    with run.writing():
        pass


def test_the_lock_falls_with_its_process(tmp_path):
    run = make(tmp_path, "a")
    code = (
        "import os, sys\nfrom core.runs.run import Run\n"
        "with Run(sys.argv[1]).writing():\n    print('held', flush=True)\n    sys.stdin.read()\n    os._exit(9)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(run.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(RunBusyError), run.writing():
        pass
    with pytest.raises(RunBusyError):
        run.delete()
    holder.kill()
    holder.communicate()
    with run.writing():
        pass


def test_a_deleted_run_does_not_come_back_to_be_written(tmp_path):
    run = make(tmp_path, "a")
    run.delete()
    with pytest.raises(RunNotFoundError), run.writing():
        pass
    assert not run.folder.exists()


def test_deleting(tmp_path):
    run = make(tmp_path, "a")
    (run.folder / "model.keras").write_bytes(b"x")
    run.delete()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("state", contract.ACTIVE)
def test_a_run_under_way_is_not_deleted(tmp_path, state):
    """Not even between its start and the moment in which its process takes the lock."""
    run = make(tmp_path, "a")
    run.write_status(dataclasses.replace(Run.create(TrainConfig(), tmp_path / "b").status(), state=state))
    with pytest.raises(RunBusyError, match=state):
        run.delete()
    assert run.config().epochs == 3


def test_a_damaged_run_can_be_deleted(tmp_path):
    run = make(tmp_path, "a")
    (run.folder / "status.json").write_text("")
    run.delete()
    assert not run.folder.exists()


# ---- all runs ----------------------------------------------------------------------------------


def test_the_newest_run_comes_first(runs_folder):
    for name, changed in (("b", 200), ("a", 300), ("c", 100), ("d", 200)):
        make(runs_folder, name, changed=changed)
    assert [run.id for run in list_runs()] == ["a", "d", "b", "c"]
    assert [run.id for run in list_runs(runs_folder / "elsewhere")] == []


def test_one_broken_run_does_not_hide_the_others(runs_folder):
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


def test_a_run_that_is_deleted_while_runs_are_listed(runs_folder, monkeypatch):
    make(runs_folder, "stays"), make(runs_folder, "goes")
    real = Path.glob

    def glob(self, pattern, **options):
        found = list(real(self, pattern, **options))
        shutil.rmtree(runs_folder / "goes", ignore_errors=True)
        return iter(found)

    monkeypatch.setattr(Path, "glob", glob)
    assert [run.id for run in list_runs()] == ["stays"]


def test_a_run_is_found_by_id_and_by_path(runs_folder, tmp_path, monkeypatch):
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
def test_only_a_finished_run_is_promoted(runs_folder, state):
    run = make(runs_folder, "a")
    run.write_status(dataclasses.replace(Run.create(TrainConfig(), runs_folder / "b").status(), state=state))
    with pytest.raises(RunError, match=f"'a', {state}"):
        promote(run)
    assert served_run() is None


def test_the_served_run_follows_a_promotion(runs_folder):
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


def test_the_folder_of_all_runs_can_be_moved(runs_folder, tmp_path):
    promote(make(runs_folder, "a"))
    moved = tmp_path / "moved"
    runs_folder.rename(moved)
    served = served_run(moved)
    assert served is not None and served.folder == moved / "a"


@pytest.mark.parametrize("name", ["../outside", "{outside}", "", ".", "..", "a/../../outside", 5, None, ["a"]])
def test_nothing_outside_the_folder_of_runs_is_served(runs_folder, name):
    make(runs_folder, "a")
    outside = make(runs_folder.parent, "outside")
    (runs_folder / "config.json").write_text("{}")  # the root itself is no run either
    text = name.format(outside=outside.folder) if isinstance(name, str) else name
    (runs_folder / "current.json").write_text(json.dumps({"run": text}))
    assert served_run() is None


def test_a_damaged_current_json_says_how_to_mend_it(runs_folder):
    run = make(runs_folder, "a")
    (runs_folder / "current.json").write_text("{")
    with pytest.raises(RunError, match=r"current\.json must hold JSON.*Promote a run again\."):
        served_run()
    promote(run)
    assert served_run() is not None
