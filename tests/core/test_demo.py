"""The demo leaves a served run, and does not wait for its examination."""

import shutil

import pytest

from core import demo
from core.runs import jobs
from core.runs.all_runs import CURRENT, served_run
from core.runs.run import LOG, Run, Status


def test_a_finished_run_is_served_and_none_is_trained(tiny_run, runs_folder, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "start", lambda *_: pytest.fail("trained again"))
    shutil.copytree(tiny_run.folder, runs_folder / "old", ignore=shutil.ignore_patterns(CURRENT))
    assert demo.main() == 0
    assert served_run().id == "old"
    assert demo.main() == 0
    assert "is served" in capsys.readouterr().out


def test_it_returns_when_the_run_can_be_used_though_it_is_still_examined(tiny_run, runs_folder, monkeypatch, capfd):
    def start(config, folder):
        assert config == demo.RECIPE
        shutil.copytree(tiny_run.folder, folder)
        (folder / LOG).write_text("[training] epoch 1\n")
        run = Run(folder)
        run.write_status(Status(state="finished", phase="examination", message="Measuring heatmaps."))
        return run

    monkeypatch.setattr(jobs, "start", start)
    assert demo.main() == 0
    assert served_run().id == demo.RUN
    assert "[training] epoch 1" in capfd.readouterr().out


def test_a_training_that_fails_is_an_error(runs_folder, monkeypatch):
    def start(config, folder):
        run = Run.create(config, folder)
        run.write_status(Status(state="failed", error="The disk is full."))
        return run

    monkeypatch.setattr(jobs, "start", start)
    assert demo.main() == 1
    assert served_run() is None
