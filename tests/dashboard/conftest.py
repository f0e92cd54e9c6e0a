"""The clinician's page, served by a process of its own as people serve it."""

import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.places import PROJECT
from core.predictor import Predictor
from core.runs.all_runs import promote
from core.runs.run import CALIBRATION, Run
from dashboard import models


@dataclass(frozen=True)
class Clinic:
    """The page under test.

    Attributes:
        address: where it answers.
        run: the run that it serves, alone in a folder of runs of its own.
        predictor: answers as the command line does.
    """

    address: str
    run: Run
    predictor: Predictor

    def refuse_above(self, strangeness: float) -> None:
        """Let the run refuse images whose out-of-distribution score is higher; the page follows without a restart."""
        calibration = self.run.calibration()
        refusal = calibration["refusal"] | {"threshold": strangeness}
        self.run.write_json(CALIBRATION, calibration | {"refusal": refusal})


def opened(view: str, section: str) -> AppTest:
    """A page of the dashboard, at one of its sections; it must not raise."""
    app = AppTest.from_file(str(PROJECT / "dashboard" / "app.py"), default_timeout=60)
    app.session_state[f"{view}_section"] = section
    app.run()
    app.switch_page(f"views/{view}.py").run()
    assert not app.exception
    return app


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def when_it_answers() -> Callable[[str, subprocess.Popen, Path], str]:
    """Wait until the dashboard at an address answers, and give that address; fail with its log if it ends before."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def wait(address: str, server: subprocess.Popen, log: Path) -> str:
        for _ in range(300):
            assert server.poll() is None, log.read_text()
            try:
                with direct.open(f"{address}/_stcore/health", timeout=2):
                    return address
            except OSError:
                time.sleep(0.2)
        raise AssertionError(log.read_text())

    return wait


@pytest.fixture(scope="module")
def loaded(module_run: Run) -> Predictor:
    """The tiny run's model, loaded once: every copy of the run has the same."""
    return Predictor(module_run)


def texts(app: AppTest) -> str:
    """All words on a page."""
    groups = (app.markdown, app.caption, app.info, app.success, app.warning, app.error, app.subheader)
    return "\n".join(str(element.value) for group in groups for element in group)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """For pages on figures: no thread loads a model that nobody asks."""
    monkeypatch.setattr(models, "warm_up", lambda run: None)


@pytest.fixture
def one_model(monkeypatch: pytest.MonkeyPatch, loaded: Predictor) -> None:
    """No test loads a model again, and no thread that does so outlives its test."""
    monkeypatch.setattr(models, "warm_up", lambda run: None)
    monkeypatch.setattr(models, "_predictor", lambda folder, stamp: loaded)


@pytest.fixture(scope="session")
def clinic(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """The page, served for all tests; one that takes the run away puts it back."""
    root = tmp_path_factory.mktemp("clinic")
    shutil.copytree(tiny_run.folder, root / tiny_run.id)
    run = Run(root / tiny_run.id)
    promote(run)
    (root / "temporary").mkdir()
    environment = {**os.environ, "DERMLENS_RUNS": str(root), "TMPDIR": str(root / "temporary")}
    with (root / "printed.txt").open("wb") as printed:
        server = subprocess.Popen(
            [sys.executable, "-m", "dashboard.clinic", "--port", str(free_port())],
            cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=printed, text=True,
        )  # fmt: skip
        try:
            address = _address(server, root / "printed.txt")
            clinic = Clinic(address, run, Predictor(run))
            clinic.refuse_above(1e9)  # what a run of 70 drawn images takes for strange is not what is tested here
            yield dataclasses.replace(clinic, predictor=Predictor(run))
        finally:
            server.terminate()
            server.communicate(timeout=30)
    assert server.returncode == 0, (root / "printed.txt").read_text()[-2000:]
    assert not list((root / "temporary").glob("dermlens-*")), "no image outlives the page"


def _address(server: subprocess.Popen, printed: Path) -> str:
    for line in server.stdout:
        if "http" in line:
            return line.split()[-1].rstrip("/")
    pytest.fail(f"The page did not start: {printed.read_text()[-2000:]}")
