"""A training is a process of its own: one at a time, stopped and gone on with, and it outlives who started it."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import psutil
import pytest

import train
from core.config import TrainConfig
from core.errors import RunBusyError, RunError
from core.models.spread import spread
from core.places import PROJECT
from core.runs import jobs
from core.runs.all_runs import list_runs, served_run
from core.runs.run import STOP_REQUEST, Run, Status

# a train.py that trains nothing; it is called as the real one is: --resume FOLDER
TRAINER = f"""
import os, signal, sys, time
sys.path.insert(0, {str(PROJECT)!r})
from core.runs.progress import Progress
from core.runs.queue import wait_for_turn
from core.runs.run import Run
assert sys.argv[1] == "--resume"
run = Run(sys.argv[2])
signal.signal(signal.SIGTERM, lambda *_: (run.folder / "stop").touch())
print("in", os.getcwd(), flush=True)
if "--wait" in sys.argv:
    wait_for_turn(run)
with run.writing():
    progress = Progress(run, 3)
    with progress.telling():
        progress.phase("training", "Training.")
        for _ in range({{steps}}):
            progress.stop_if_asked()
            time.sleep(0.02)
"""
LONG, SHORT = 3000, 0


@pytest.fixture
def trainer(tmp_path, monkeypatch, runs_folder):
    """Put another program in the place of train.py; whatever it started is ended after the test."""

    def install(text: str = TRAINER.format(steps=LONG)) -> Path:
        path = tmp_path / "trainer.py"
        path.write_text(text)
        monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-u", str(path)))
        return path

    yield install
    for run in list_runs():
        end(run)


def end(run: Run) -> None:
    try:
        pid = run.status().pid
    except RunError:
        return
    if pid not in (None, os.getpid()):
        try:
            if str(run.folder) in psutil.Process(pid).cmdline():
                os.kill(pid, signal.SIGKILL)
        except psutil.NoSuchProcess:
            pass


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.02)


def state(run: Run) -> str:
    return run.status().state


def started(config: TrainConfig | None = None) -> Run:
    """A run whose process is past its first lines."""
    run = jobs.start(config or TrainConfig())
    wait_for(lambda: state(run) == "running")
    return run


# ---- start, stop, go on ------------------------------------------------------------------------


def test_start_stop_and_go_on(trainer):
    trainer()
    run = jobs.start(TrainConfig(epochs=3))
    status = run.status()
    assert status.state in ("queued", "running") and status.pid not in (None, os.getpid())
    active = jobs.active_run()
    assert active is not None and active.id == run.id
    wait_for(lambda: state(run) == "running")
    assert run.status().pid == status.pid
    assert f"in {PROJECT}" in run.log()

    jobs.stop(run)
    wait_for(lambda: state(run) == "stopped")
    assert jobs.active_run() is None and not run.stop_requested()

    jobs.resume(run)
    assert state(run) in ("queued", "running")
    wait_for(lambda: state(run) == "running")
    assert run.status().pid != status.pid
    wait_for(lambda: run.log().count(f"in {PROJECT}\n") == 2)  # the log goes on, too


def test_a_second_start_is_refused_and_names_the_first(trainer):
    trainer()
    run = started()
    with pytest.raises(RunBusyError, match=run.id):
        jobs.start(TrainConfig())
    other = Run.create(TrainConfig(), run.folder.parent / "other")
    other.write_status(Status(state="failed"))
    with pytest.raises(RunBusyError, match=run.id):
        jobs.resume(other)
    assert len(list_runs()) == 2  # the refused start left no folder


def test_two_threads_start_at_once(trainer):
    """Two tabs of the dashboard."""
    trainer()
    outcomes: list[object] = []
    gate = threading.Barrier(4)

    def begin() -> None:
        gate.wait()
        try:
            outcomes.append(jobs.start(TrainConfig()))
        except BaseException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Run", *["RunBusyError"] * 3]
    assert len(list_runs()) == 1


def test_two_processes_start_at_once(trainer, tmp_path):
    path = trainer()
    code = (
        "import pathlib, sys, time\nfrom core.config import TrainConfig\nfrom core.errors import RunBusyError\n"
        "from core.runs import jobs\n"
        f"jobs.COMMAND = (sys.executable, {str(path)!r})\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "while not pathlib.Path(sys.argv[2]).exists():\n    time.sleep(0.001)\n"
        "try:\n    print(jobs.start(TrainConfig()).id)\nexcept RunBusyError:\n    print('busy')"
    )
    gate = tmp_path / "gate"
    ready = [tmp_path / f"ready {number}" for number in range(2)]
    starters = [
        subprocess.Popen([sys.executable, "-c", code, str(mark), str(gate)], stdout=subprocess.PIPE, text=True)
        for mark in ready
    ]
    wait_for(lambda: all(mark.exists() for mark in ready))
    gate.touch()
    answers = [starter.communicate(timeout=30)[0].strip() for starter in starters]
    (only,) = list_runs()
    assert sorted(answers) == sorted(["busy", only.id])


def test_it_outlives_who_started_it(trainer):
    """Closing the browser, or the dashboard itself, does not end a training; nor does Ctrl-C in the terminal."""
    path = trainer()
    code = (
        "import os, signal, sys\nfrom core.config import TrainConfig\nfrom core.runs import jobs\n"
        f"jobs.COMMAND = (sys.executable, {str(path)!r})\n"
        "jobs.start(TrainConfig())\n"
        "os.killpg(0, signal.SIGINT)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    starter = subprocess.run([sys.executable, "-c", code], start_new_session=True, capture_output=True)
    assert starter.returncode != 0
    (run,) = list_runs()
    wait_for(lambda: state(run) == "running")
    time.sleep(0.2)
    assert state(run) == "running"
    jobs.stop(run)
    wait_for(lambda: state(run) == "stopped")


def test_a_killed_training_is_lost_and_can_go_on(trainer):
    trainer()
    run = started()
    os.kill(run.status().pid, signal.SIGKILL)
    wait_for(lambda: state(run) == "lost")
    assert jobs.active_run() is None
    jobs.resume(run)
    wait_for(lambda: state(run) == "running")


def test_no_zombie_is_left(trainer):
    trainer(TRAINER.format(steps=SHORT))
    run = jobs.start(TrainConfig())
    pid = run.status().pid
    wait_for(lambda: state(run) == "finished")
    wait_for(lambda: not psutil.pid_exists(pid))


def test_a_finished_run_does_not_go_on(trainer):
    trainer(TRAINER.format(steps=SHORT))
    run = jobs.start(TrainConfig())
    wait_for(lambda: state(run) == "finished")
    with pytest.raises(RunError, match=f"'{run.id}', finished"):
        jobs.resume(run)
    jobs.stop(run)
    assert state(run) == "finished" and not run.stop_requested()
    jobs.start(TrainConfig())  # and does not stand in the way


def test_a_run_under_way_does_not_go_on_twice(trainer):
    trainer()
    run = started()
    with pytest.raises(RunError, match="running"):
        jobs.resume(run)


# ---- stopping at a bad moment ------------------------------------------------------------------


def test_a_process_that_is_stopped_before_it_can_say_so(trainer):
    """In its first second it has no signal handler yet."""
    trainer("import time\ntime.sleep(60)")
    run = jobs.start(TrainConfig())
    jobs.stop(run)
    wait_for(lambda: state(run) == "stopped")
    assert jobs.active_run() is None
    trainer()
    jobs.resume(run)
    wait_for(lambda: state(run) == "running")  # the old request does not stop it again


def test_stopping_what_has_just_ended(trainer, monkeypatch):
    trainer()
    run = started()

    def gone(pid, number):
        raise ProcessLookupError

    with monkeypatch.context() as patch:
        patch.setattr("os.kill", gone)
        jobs.stop(run)
    wait_for(lambda: state(run) == "stopped")


def test_stopping_another_users_training(trainer, monkeypatch):
    trainer()
    run = started()

    def denied(pid, number):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr("os.kill", denied)
        with pytest.raises(RunError, match="Operation not permitted"):
            jobs.stop(run)


# ---- what can go wrong -------------------------------------------------------------------------


def test_a_training_that_crashes_at_once(trainer):
    trainer("raise SystemExit('the disk has burnt')")
    run = jobs.start(TrainConfig())
    wait_for(lambda: state(run) == "lost")
    assert "the disk has burnt" in run.log()
    assert jobs.active_run() is None


def test_a_training_that_ends_before_its_starter_has_written_who_it_is(trainer, monkeypatch):
    """On a busy machine the child may say how it ended first: that must not be written over."""
    trainer(TRAINER.format(steps=SHORT))
    real = psutil.Process

    class Slow:
        def __init__(self, pid: int) -> None:
            wait_for(lambda: list_runs()[0].status().state == "finished")
            self.create_time = real(pid).create_time

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "psutil", type("psutil", (), {"Process": Slow}))
        run = jobs.start(TrainConfig())
    assert state(run) == "finished"


def test_no_process_can_be_started(trainer, monkeypatch):
    monkeypatch.setattr(jobs, "COMMAND", ("/nowhere/python",))
    with pytest.raises(RunError, match="No such file"):
        jobs.start(TrainConfig())
    (run,) = list_runs()
    assert state(run) == "failed" and "No such file" in str(run.status().error)
    assert jobs.active_run() is None
    trainer(TRAINER.format(steps=SHORT))
    jobs.resume(run)
    wait_for(lambda: state(run) == "finished")
    assert run.status().error is None


def test_a_start_that_hangs_does_not_hang_the_others(runs_folder, monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE", 0.1)
    with filelock.FileLock(runs_folder / ".starting"), pytest.raises(RunBusyError, match="Try again"):
        jobs.start(TrainConfig())
    assert list_runs() == []


def test_a_folder_of_runs_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("DERMLENS_RUNS", str(tmp_path / "file"))
    with pytest.raises(RunError, match="DERMLENS_RUNS"):
        jobs.start(TrainConfig())


def test_a_damaged_run_does_not_stand_in_the_way(trainer, runs_folder):
    trainer()
    broken = Run.create(TrainConfig(), runs_folder / "broken")
    (broken.folder / "status.json").write_text("")
    run = started()
    active = jobs.active_run()
    assert active is not None and active.id == run.id


def test_the_dashboard_that_only_made_a_run_is_not_killed_by_stopping_it(runs_folder):
    run = Run.create(TrainConfig())
    assert run.status().pid == os.getpid()
    jobs.stop(run)
    assert run.stop_requested()


def test_a_trial_that_waits_is_taken_out_and_those_before_it_go_on(runs_folder):
    """Its status is of the process that trains the trials before it."""
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        run = Run.create(TrainConfig())
        started_at = psutil.Process(waiting.pid).create_time()
        run.write_status(dataclasses.replace(run.status(), pid=waiting.pid, pid_started=started_at))
        jobs.stop(run)
        assert run.stop_requested() and waiting.poll() is None
        assert spread([run]) == {run.id: "Stopped before it began."}
        assert state(run) == "stopped" and not run.stop_requested()
    finally:
        waiting.kill()
        waiting.wait()


def test_a_run_that_is_trained_is_not_taken_up_and_keeps_its_request_to_stop(trainer):
    trainer()
    run = started()
    (run.folder / STOP_REQUEST).touch()
    before = run.status().pid
    assert train.main(["--resume", run.id, "--wait"]) == 1
    wait_for(lambda: state(run) == "stopped")
    assert run.status().pid == before


def test_figures_of_the_last_time_are_gone_when_it_goes_on(trainer, runs_folder):
    trainer("import time\ntime.sleep(60)")
    run = Run.create(TrainConfig())
    old = dataclasses.replace(run.status(), state="failed", error="disk full", images_per_second=9.0, seconds_left=5.0)
    run.write_status(old)
    jobs.resume(run)
    status = run.status()
    assert (status.error, status.images_per_second, status.seconds_left) == (None, None, None)


# ---- the real thing ----------------------------------------------------------------------------


def test_a_real_training_from_start_to_served(tiny_data, runs_folder):
    config = TrainConfig(data_dir=str(tiny_data), backbone="efficientnet_lite0", views=1, epochs=2, measured_heatmaps=0)
    run = jobs.start(config)
    try:
        wait_for(lambda: state(run) not in ("queued", "running"), seconds=180)
        assert state(run) == "finished", run.log()
        assert len(run.history()) == 2 and run.metrics()["test"]["n"] > 0
        wait_for(lambda: served_run() is not None)  # the lock falls first, then the first run is served
        assert served_run().id == run.id
        assert run.id in run.log()
        wait_for(lambda: run.model_card(), seconds=120)
        wait_for(lambda: not run.status().examining)
        assert state(run) == "finished"
    finally:
        end(run)


def test_only_a_finished_run_is_examined_and_only_once_at_a_time(runs_folder):
    run = Run.create(TrainConfig())
    with pytest.raises(RunError, match="finished"):
        jobs.examine(run)
    run.write_status(dataclasses.replace(run.status(), state="finished", phase="examination"))  # by this process
    with pytest.raises(RunBusyError):
        jobs.examine(run)


def test_an_examination_is_a_process_of_its_own(served_run):
    jobs.examine(served_run)
    try:
        assert served_run.usable and served_run.status().pid not in (None, os.getpid())
        wait_for(lambda: not served_run.status().examining, seconds=180)
        assert served_run.model_card(), served_run.log()
    finally:
        end(served_run)


# ---- the queue -----------------------------------------------------------------------------------


def test_queued_trainings_take_their_turns(trainer):
    """One at a time, in the order in which they were queued, whoever is stopped in between."""
    trainer()
    first = started()
    second, third = (jobs.start(TrainConfig(seed=seed), wait=True) for seed in (1, 2))
    wait_for(lambda: "Waiting for" in second.status().message and "Waiting for" in third.status().message)
    assert [run.id for run in jobs.active_runs()] == [first.id, second.id, third.id]
    with pytest.raises(RunBusyError):
        jobs.start(TrainConfig())
    jobs.stop(first)
    wait_for(lambda: state(second) == "running")
    assert (state(first), state(third)) == ("stopped", "queued")
    jobs.stop(second)
    wait_for(lambda: state(third) == "running")


def test_whoever_goes_on_after_the_others_does(trainer):
    trainer()
    old = started()
    jobs.stop(old)
    wait_for(lambda: state(old) == "stopped")
    running = started()
    queued_first = jobs.start(TrainConfig(seed=1), wait=True)
    wait_for(lambda: "Waiting for" in queued_first.status().message)
    time.sleep(1.1)  # of a process's start whole seconds are certain
    jobs.resume(old, wait=True)
    wait_for(lambda: "Waiting for" in old.status().message)
    assert [run.id for run in jobs.active_runs()] == [running.id, queued_first.id, old.id]


def test_a_queued_training_can_be_taken_out(trainer):
    trainer()
    first = started()
    second = jobs.start(TrainConfig(), wait=True)
    wait_for(lambda: "Waiting for" in second.status().message)
    jobs.stop(second)
    wait_for(lambda: state(second) == "stopped")
    assert state(first) == "running"


def test_what_waits_goes_on_when_who_is_before_it_is_killed(trainer):
    trainer()
    first = started()
    second = jobs.start(TrainConfig(), wait=True)
    wait_for(lambda: "Waiting for" in second.status().message)
    os.kill(first.status().pid, signal.SIGKILL)
    wait_for(lambda: state(second) == "running")
    assert state(first) == "lost"


def test_nobody_begins_while_a_run_is_examined(trainer, make, runs_folder):
    """Both would take twice as long, and the speed that is measured would be wrong."""
    trainer()
    examined = make(runs_folder, "examined")
    who = {"pid": os.getpid(), "pid_started": psutil.Process().create_time()}
    examined.write_status(Status(state="finished", phase="examination", **who))
    waiting = jobs.start(TrainConfig(), wait=True)
    wait_for(lambda: examined.id in waiting.status().message)
    examined.write_status(Status(state="finished", phase="done"))
    wait_for(lambda: state(waiting) == "running")
