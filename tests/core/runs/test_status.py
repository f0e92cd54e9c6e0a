"""A status tells the truth although the process that wrote it may be gone."""

import dataclasses
import os
import subprocess
import sys
import time

import psutil
import pytest

from core.runs.status import ACTIVE, STATES, Status, own_process


@pytest.fixture
def sleeper():
    """Another process that lives until the test ends."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def of(process: subprocess.Popen, state: str = "running") -> Status:
    return Status(state=state, pid=process.pid, pid_started=psutil.Process(process.pid).create_time())


@pytest.mark.parametrize("state", ACTIVE)
def test_a_process_that_lives_is_under_way(sleeper, state):
    status = of(sleeper, state)
    assert status.observed(stop_requested=False) is status
    assert status.observed(stop_requested=True) is status


def test_a_process_that_is_gone_is_lost(sleeper):
    status = dataclasses.replace(of(sleeper), epoch=3, phase="training")
    sleeper.kill()
    sleeper.wait()
    seen = status.observed(stop_requested=False)
    assert seen.state == "lost" and "resume" in seen.message
    assert (seen.epoch, seen.phase) == (3, "training")


def test_a_process_that_was_asked_to_stop_and_is_gone_has_stopped(sleeper):
    status = of(sleeper)
    sleeper.kill()
    sleeper.wait()
    assert status.observed(stop_requested=True).state == "stopped"


def test_a_zombie_is_gone(sleeper):
    """It still answers signal 0."""
    status = of(sleeper)
    sleeper.kill()
    limit = time.monotonic() + 10
    while psutil.Process(sleeper.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < limit:
        time.sleep(0.01)
    os.kill(sleeper.pid, 0)
    assert status.observed(stop_requested=False).state == "lost"


def test_a_pid_that_was_given_to_another_process_is_gone(sleeper):
    status = of(sleeper)
    earlier = dataclasses.replace(status, pid_started=status.pid_started - 3600)
    assert earlier.observed(stop_requested=False).state == "lost"


def test_without_a_process_nothing_is_under_way():
    assert Status(state="queued").observed(stop_requested=False).state == "lost"


@pytest.mark.parametrize("state", sorted(set(STATES) - set(ACTIVE)))
def test_what_has_ended_needs_no_process(state):
    assert Status(state=state, pid=2**22 + 1, pid_started=1.0).observed(stop_requested=False).state == state


def test_own_process():
    assert own_process()["pid"] == os.getpid()
    status = Status(**own_process())
    assert status.observed(stop_requested=False) is status


def test_a_status_survives_being_written():
    status = Status(state="failed", epoch=2, error="x", **own_process())
    assert Status.from_dict(dataclasses.asdict(status)) == status


def test_names_of_a_newer_version_are_left_out():
    assert Status.from_dict({"state": "finished", "mood": "good"}) == Status(state="finished")


@pytest.mark.parametrize(
    "values",
    [
        {"state": "dreaming"},
        {"state": None},
        {"state": []},
        {"pid": "12"},
        {"pid": -1},
        {"pid": 0},
        {"pid": True},
        {"pid": 1.5},
        {"pid_started": "yesterday"},
    ],
)
def test_what_cannot_be_a_status_is_refused(values):
    with pytest.raises(ValueError, match="process"):
        Status.from_dict(values)
