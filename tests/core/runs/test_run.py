"""A run is a folder: what is promised of reading, writing, listing, serving and deleting one."""

import dataclasses
import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from core.config import TrainConfig
from core.errors import RunBusyError, RunError, RunNotFoundError, RunSchemaError
from core.runs import run as contract
from core.runs.all_runs import find_run, list_runs, promote
from core.runs.jobs import active_run
from core.runs.run import Run

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


def test_a_folder_that_holds_files_is_refused(make, tmp_path):
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


def test_what_a_kill_has_left_of_an_earlier_attempt_is_no_run(tmp_path):
    """Sweeps, folds and ensembles name their folders themselves: the same command has to go on."""
    folder = tmp_path / "sweep-a-001"
    Run.create(TrainConfig(), folder)
    (folder / "config.json").rename(folder / ".config.json.1.2.tmp")
    assert Run.create(TrainConfig(seed=3), folder).config().seed == 3


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


def test_a_configuration_that_was_deleted_is_not_taken_for_the_defaults(make, tmp_path):
    run = make(tmp_path, "a")
    (run.folder / "config.json").unlink()
    with pytest.raises(RunNotFoundError):
        run.config()


def test_settings_that_are_unknown(make, tmp_path):
    run = make(tmp_path, "a")
    run.write_json("config.json", {"epochs": 3, "warp": 9})
    with pytest.raises(RunError, match="warp"):
        run.config()
    run.write_json("manifest.json", {"schema_version": 2})
    with pytest.raises(RunSchemaError, match="version 1.*version 2"):
        run.config()


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_another_schema_version_is_a_named_error(make, tmp_path, version):
    run = make(tmp_path, "a")
    run.write_json("manifest.json", {"schema_version": version})
    with pytest.raises(RunSchemaError, match=f"Received: run 'a' of version {version!r}"):
        run.manifest()


def test_history_is_read_while_it_is_written(make, tmp_path):
    run = make(tmp_path, "a")
    rows = [dict.fromkeys(contract.HISTORY_COLUMNS, number / 2) | {"phase": "training"} for number in range(3)]
    run.write_csv("history.csv", pd.DataFrame(rows))
    whole = run.history()
    assert len(whole) == 3 and whole["loss"].tolist() == [0, 0.5, 1]
    text = (run.folder / "history.csv").read_text()
    (run.folder / "history.csv").write_text(text[:-9])
    assert run.history().equals(whole.head(2))


def test_the_end_of_the_log(make, tmp_path):
    run = make(tmp_path, "a")
    (run.folder / "log.txt").write_bytes(b"\xff damaged\n" + b"".join(b"line %d\n" % n for n in range(5000)))
    assert run.log(3) == "line 4997\nline 4998\nline 4999"
    assert len(run.log().splitlines()) == 200


@pytest.mark.parametrize("junk", ["", "{", "[]", '{"state": "dreaming"}', '{"state": "running", "pid": "x"}'])
def test_a_broken_status_is_a_run_error_and_makes_nothing_usable(make, tmp_path, junk):
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


def test_evaluations_are_read_by_name(make, tmp_path):
    run = make(tmp_path, "a")
    for name in ("b", "a"):
        run.write_json(f"evaluations/{name}/metrics.json", {"metrics": {"n": 3}})
    (run.folder / "evaluations" / "half").mkdir()
    assert list(run.evaluations().items()) == [("a", {"metrics": {"n": 3}}), ("b", {"metrics": {"n": 3}})]


# ---- one writer --------------------------------------------------------------------------------


def test_a_run_has_one_writer(make, tmp_path):
    run = make(tmp_path, "a")
    with run.writing(), pytest.raises(RunBusyError, match="'a'"), Run(run.folder).writing():
        pass
    with run.writing():
        pass


def test_the_lock_falls_with_its_process(make, tmp_path):
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


def test_a_deleted_run_does_not_come_back_to_be_written(make, tmp_path):
    run = make(tmp_path, "a")
    run.delete()
    with pytest.raises(RunNotFoundError), run.writing():
        pass
    assert not run.folder.exists()


def test_deleting(make, tmp_path):
    run = make(tmp_path, "a")
    (run.folder / "model.keras").write_bytes(b"x")
    run.delete()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("state", contract.ACTIVE)
def test_a_run_under_way_is_not_deleted(make, tmp_path, state):
    """Not even between its start and the moment in which its process takes the lock."""
    run = make(tmp_path, "a")
    run.write_status(dataclasses.replace(Run.create(TrainConfig(), tmp_path / "b").status(), state=state))
    with pytest.raises(RunBusyError, match=state):
        run.delete()
    assert run.config().epochs == 3


def test_a_damaged_run_can_be_deleted(make, tmp_path):
    run = make(tmp_path, "a")
    (run.folder / "status.json").write_text("")
    run.delete()
    assert not run.folder.exists()
