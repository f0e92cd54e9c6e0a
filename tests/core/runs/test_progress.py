"""However a training goes or ends, its status file and its terminal say so."""

import os
import time

import pytest

from core.config import TrainConfig
from core.errors import DatasetError, TrainingStopped
from core.runs import progress as module
from core.runs.progress import Progress
from core.runs.run import STOP_REQUEST, Run


@pytest.fixture
def run(runs_folder) -> Run:
    return Run.create(TrainConfig())


def test_a_training_that_ends_well(run):
    progress = Progress(run, epochs=3)
    with progress.telling():
        progress.phase("data", "Reading.")
        status = run.status()
        assert (status.state, status.phase, status.message) == ("running", "data", "Reading.")
        assert (status.pid, status.epochs) == (os.getpid(), 3)
        assert abs(status.updated - time.time()) < 5
    status = run.status()
    assert (status.state, status.phase, status.error) == ("finished", "done", None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DatasetError("no images"), "no images"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_training_that_fails_says_why(run, error, said, capsys):
    with pytest.raises(type(error)), Progress(run, 1).telling():
        raise error
    status = run.status()
    assert (status.state, status.error) == ("failed", said)
    # what nobody had expected needs its trace in the log; what a user can mend does not
    assert ("Traceback" in capsys.readouterr().err) == (not isinstance(error, DatasetError))


def test_ended_at_once_it_is_stopped_without_a_trace(run, capsys):
    with pytest.raises(KeyboardInterrupt), Progress(run, 1).telling():
        raise KeyboardInterrupt
    assert run.status().state == "stopped"
    assert "Traceback" not in capsys.readouterr().err


def test_a_stop_request_is_noticed_and_used_up(run):
    progress = Progress(run, 1)
    progress.beat()
    (run.folder / STOP_REQUEST).touch()
    with pytest.raises(TrainingStopped, match=run.id), progress.telling():
        progress.beat()
    assert run.status().state == "stopped"
    assert not run.stop_requested()


def test_steps_tell_speed_and_time_left_and_stop(run, monkeypatch, capsys):
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    progress = Progress(run, 1)
    progress.phase("trunk", "View 1.")
    clock[0] += 10
    progress.step(300, 1100, already=100)  # the first hundred came from an earlier process
    status = run.status()
    assert status.images_per_second == 20 and status.seconds_left == 40
    assert status.message == "300 of 1,100 images, 20 images/s, 0:40 left"
    assert "[trunk] 300 of 1,100 images" in capsys.readouterr().out
    clock[0] += 1
    progress.step(320, 1100, already=100)  # too soon to be told again
    assert run.status().message == status.message
    progress.step(1100, 1100, already=100)  # but the end is told
    assert "1,100 of 1,100 images" in run.status().message
    (run.folder / STOP_REQUEST).touch()
    with pytest.raises(TrainingStopped):
        progress.step(1100, 1100)


def test_an_epoch_is_told(run, capsys):
    progress = Progress(run, epochs=20)
    progress.phase("training", "Training.")
    progress.epoch(3, 1234.5, 125.0, "loss 0.5")
    status = run.status()
    assert (status.epoch, status.epochs, status.seconds_left) == (3, 20, 125.0)
    assert "epoch 3 of at most 20: loss 0.5, 1,234 images/s, at most 2:05 left in this phase" in capsys.readouterr().out


def test_an_examination_leaves_the_run_finished_whatever_happens(run):
    def look(examination: Progress) -> None:
        with examination.examining():
            examination.phase("examination", "Looking at the images.")
            assert run.usable and run.status().examining
            raise DatasetError("the images are gone")

    with Progress(run, 3).telling():
        pass
    with pytest.raises(DatasetError):
        look(Progress(run, 3))
    status = run.status()
    assert run.usable and not status.examining
    assert status.error == "the images are gone"


def test_a_stopped_examination_says_how_to_go_on_with_it(run):
    def look(examination: Progress) -> None:
        with examination.examining():
            (run.folder / STOP_REQUEST).touch()
            examination.step(1, 2)

    with Progress(run, 3).telling():
        pass
    with pytest.raises(TrainingStopped, match="core.evaluation"):
        look(Progress(run, 3))
    assert run.usable and not run.stop_requested()
