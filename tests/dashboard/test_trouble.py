"""The dashboard in trouble: browser, server and trainer are killed, the disk is full, several people press at once."""

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from core.config import TrainConfig
from core.diagnoses import CODES
from core.evaluation.metrics import evaluate
from core.places import PROJECT
from core.runs.all_runs import list_runs
from core.runs.run import HISTORY, METRICS, Run
from core.runs.status import Status

PATIENCE = 60  # seconds, of a machine that is busy with other things
EPOCHS = 3
START = ".st-key-retrain_start button"
ROOM = "room"  # beside the trainer: how many bytes a file may have, if the disk is nearly full

# Believe what is said of the disk. A real full one takes the rights of root, or the machine's own.
DISK = f"""
import errno, os, sys, time
from pathlib import Path
sys.path.insert(0, {str(PROJECT)!r})
synced = os.fsync

def fsync(file):
    room = here / "{ROOM}"
    if room.exists() and os.fstat(file).st_size > int(room.read_text()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    synced(file)

os.fsync = fsync
"""

# The dashboard as it is, but that it starts another program than train.py.
SERVER = f"""{DISK}
here = Path(sys.argv[1]).parent
from core.runs import jobs
from streamlit.web import cli
jobs.COMMAND = (sys.executable, "-u", sys.argv[1])
sys.argv = ["streamlit", "run", {str(PROJECT / "dashboard" / "app.py")!r}, "--server.port", sys.argv[2]]
sys.exit(cli.main())
"""

# train.py as it is, but that it waits after each epoch for leave to go on.
TRAINER = f"""{DISK}
here = Path(__file__).parent
import train
from core.runs.progress import Progress
told = Progress.epoch

def wait(progress, number):
    while not (here / f"leave {{number}}").exists():
        progress.beat()
        time.sleep(0.02)

def epoch(self, number, *more):
    told(self, number, *more)
    wait(self, number)

Progress.epoch = epoch
"""
REAL = f"{TRAINER}\nsys.exit(train.main())"
# It trains nothing, and writes and says what a training does, without the time that TensorFlow takes.
QUICK = f"""{TRAINER}
import types
import pandas as pd
from core.runs.run import HISTORY, HISTORY_COLUMNS

def quick(run):
    with run.writing():
        progress = Progress(run, {EPOCHS})
        with progress.telling():
            progress.phase("training", "Training.")
            wait(progress, 0)
            rows = run.history().to_dict("records")
            for number in range(len(rows) + 1, {EPOCHS + 1}):
                rows.append(dict.fromkeys(HISTORY_COLUMNS, 0.5) | {{"phase": "training", "epoch": number}})
                run.write_csv(HISTORY, pd.DataFrame(rows))
                progress.epoch(number, 100.0, 1.0, "")

sys.modules["core.models.training"] = types.SimpleNamespace(train=quick)
train.headline = train.examine_afterwards = lambda run: ""
sys.exit(train.main())
"""


class Dashboard:
    """A dashboard that can be killed and started again, its folder of runs, and the program that it trains with."""

    def __init__(self, root: Path, when_it_answers: Callable) -> None:
        self.when_it_answers = when_it_answers
        self.root, self.runs, self.trainer = root, root / "runs", root / "trainer.py"
        self.server: subprocess.Popen | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self.root / "log.txt"
        with log.open("ab") as output:
            self.server = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(self.trainer), str(self.port)],
                cwd=PROJECT, stdout=output, stderr=output,
                env={**os.environ, "DERMLENS_RUNS": str(self.runs), "DERMLENS_ENGINE": "tensorflow"},
            )  # fmt: skip
        self.when_it_answers(self.address, self.server, log)

    def kill(self) -> None:
        """End it as the system does when memory runs out: it cannot do anything about it."""
        if self.server is not None:
            self.server.kill()
            self.server.wait()
            self.server = None

    def begin(self, config: TrainConfig, trainer: str) -> Run:
        """A folder of runs that holds one finished run of these settings, and a trainer that waits after epoch 1."""
        for path in (*self.root.glob("leave *"), self.root / ROOM):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.runs, ignore_errors=True)
        self.trainer.write_text(trainer)
        self.let_go_on(0)
        if self.server is None:
            self.start()
        return finished(self.runs / "first", config)

    def let_go_on(self, *epochs: int) -> None:
        """The trainer need not wait after these epochs any more."""
        for number in epochs:
            (self.root / f"leave {number}").touch()

    def hold(self, epoch: int) -> None:
        """The trainer is to wait after this epoch again; 0: before the first one that it does."""
        (self.root / f"leave {epoch}").unlink()

    def leave_room(self, size: int | None) -> None:
        """Let no file be larger than so many bytes, as on a disk that is nearly full; None: it has room again."""
        (self.root / ROOM).unlink(missing_ok=True)
        if size is not None:
            whole = self.root / f"{ROOM}.new"
            whole.write_text(str(size))
            whole.rename(self.root / ROOM)

    def new_runs(self) -> list[Run]:
        """Those that were started from the page."""
        return [run for run in list_runs(self.runs) if run.id != "first"]

    def trainers(self) -> list[psutil.Process]:
        """Every process that trains, whatever the runs say of it."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if str(self.trainer) in command and "--resume" in command:
                found.append(process)
        return found


def finished(folder: Path, config: TrainConfig, right: float = 0.5) -> Run:
    """A finished run without a model, that is right on some share of its 140 test images."""
    dice = np.random.default_rng(0)
    labels = np.arange(140) % 7
    told = np.where(dice.random(140) < right, labels, (labels + 1) % 7)
    run = Run.create(config, folder)
    run.write_json(METRICS, {"test": evaluate(labels, np.eye(len(CODES))[told] * 0.9 + 0.01, labels)})
    run.write_status(Status(state="finished", phase="done"))
    return run


def wait_for(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, when_it_answers: Callable) -> Iterator[Dashboard]:
    made = Dashboard(tmp_path_factory.mktemp("trouble"), when_it_answers)
    yield made
    made.kill()


@pytest.fixture
def dashboard(server: Dashboard) -> Iterator[Dashboard]:
    """For one test: whatever it started is ended."""
    yield server
    for process in server.trainers():
        process.kill()


@pytest.fixture
def visit(browser: Browser, dashboard: Dashboard) -> Iterator[Callable[[str], Page]]:
    """Open an address as somebody new: a browser window with a session of its own."""
    contexts = []

    def open_new(path: str) -> Page:
        contexts.append(browser.new_context(viewport={"width": 1366, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(f"{dashboard.address}/{path}")
        return page

    expect.set_options(timeout=1000 * PATIENCE)
    yield open_new
    for context in contexts:
        context.close()
    expect.set_options(timeout=5000)  # Playwright's own


def words(page: Page) -> Locator:
    """What a person reads on the page."""
    return page.get_by_test_id("stMain")


def settle(page: Page) -> None:
    """Wait until the server has drawn everything, and nothing was thrown."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    assert page.get_by_test_id("stException").count() == 0


def press(page: Page, label: str) -> None:
    """A button of the page's own: while a script runs, Streamlit's header has a "Stop" too."""
    page.get_by_test_id("stMainBlockContainer").get_by_role("button", name=label).click()


def start_training(dashboard: Dashboard, page: Page) -> Run:
    """Press the button, and wait for the first epoch, as the page tells it."""
    press(page, "Start the training")
    expect(words(page)).to_contain_text(f"Training: epoch 2 of at most {EPOCHS}")
    (run,) = dashboard.new_runs()
    return run


def shows_run_under_way(page: Page, run: Run, epoch: int) -> None:
    expect(words(page)).to_contain_text(f"Under way: {run.id}")
    expect(words(page)).to_contain_text(f"Training: epoch {epoch} of at most {EPOCHS}")


def says_who_is_first(page: Page, run: Run) -> bool:
    """Whether the page says that its own training is refused, or waits, because of that run."""
    rule = f"One training runs at a time. Received: run '{run.id}' is under way. Wait for it, or stop it."
    shown = words(page).inner_text()
    return rule in shown or "Queued (1), each begins when those before it have ended" in shown


def the_one_that_runs(dashboard: Dashboard) -> Run:
    """The only training that is more than queued, and has been for a while."""
    wait_for(lambda: any(run.status().epoch == 1 for run in dashboard.new_runs()))
    (run,) = [run for run in dashboard.new_runs() if run.status().state != "queued"]
    assert run.status().state == "running"
    return run


def fingerprint(run: Run) -> dict[str, str]:
    """Every file of a run, and a hash of it."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.folder.iterdir()}


@pytest.fixture(scope="module")
def settings(tiny_data: Path) -> TrainConfig:
    """Of the run that the form starts from, and so of those that it starts."""
    return TrainConfig(
        data_dir=str(tiny_data), backbone="efficientnet_lite0", views=1, epochs=EPOCHS, measured_heatmaps=0
    )


@pytest.fixture(scope="module")
def any_settings() -> TrainConfig:
    """Where nothing is trained."""
    return TrainConfig(dataset="synthetic", epochs=EPOCHS)


def test_a_closed_browser_does_not_end_a_training(dashboard: Dashboard, visit, any_settings: TrainConfig) -> None:
    """Whoever closes the laptop would lose the night's training, or would not find it again."""
    dashboard.begin(any_settings, QUICK)
    page = visit("retrain")
    run = start_training(dashboard, page)
    before = run.status()
    page.context.close()
    dashboard.let_go_on(1)
    wait_for(lambda: run.status().epoch == 2)
    page = visit("retrain")
    shows_run_under_way(page, run, 3)
    assert run.status().pid == before.pid
    dashboard.let_go_on(2, 3)
    expect(words(page)).to_contain_text("This run is finished.")
    expect(page.get_by_test_id("stSidebar")).to_contain_text(run.id)


def test_a_killed_dashboard_does_not_end_a_training(dashboard: Dashboard, visit, any_settings: TrainConfig) -> None:
    """A dashboard that runs out of memory would take the training with it, or could not stop it any more."""
    dashboard.begin(any_settings, QUICK)
    run = start_training(dashboard, visit("retrain"))
    dashboard.kill()
    dashboard.let_go_on(1)
    wait_for(lambda: run.status().epoch == 2)
    dashboard.start()
    page = visit("retrain")
    shows_run_under_way(page, run, 3)
    press(page, "Stop")
    expect(words(page)).to_contain_text("This run was stopped. It has 2 whole epochs")


def test_a_killed_trainer_is_said_and_goes_on(dashboard: Dashboard, visit, any_settings: TrainConfig) -> None:
    """Hours of epochs would be lost, or trained a second time, or the page would wait for ever."""
    dashboard.begin(any_settings, QUICK)
    page = visit("retrain")
    run = start_training(dashboard, page)
    kept = (run.folder / HISTORY).read_text()
    os.kill(run.status().pid, signal.SIGKILL)
    expect(words(page)).to_contain_text("This run is lost")
    expect(words(page)).to_contain_text("It has 1 whole epoch, and can go on from there")

    first = run.status().pid
    dashboard.hold(0)  # killed a second time, before it has done any more
    press(page, "Go on with it")
    wait_for(lambda: run.status().state == "running" and run.status().pid != first)
    os.kill(run.status().pid, signal.SIGKILL)
    expect(words(page)).to_contain_text("This run is lost")
    killed_twice = words(page).inner_text()

    dashboard.let_go_on(0)
    press(page, "Go on with it")
    shows_run_under_way(page, run, 3)
    dashboard.let_go_on(2, 3)
    expect(words(page)).to_contain_text("This run is finished.")
    assert (run.folder / HISTORY).read_text().startswith(kept) and len(run.history()) == EPOCHS
    assert "It has 1 whole epoch, and can go on from there" in killed_twice


def test_a_full_disk_is_said_and_costs_nothing(dashboard: Dashboard, visit, settings: TrainConfig) -> None:
    """Somebody would look for a fault in the data, or start again from nothing, or find other runs damaged."""
    first = dashboard.begin(settings, REAL)
    whole = fingerprint(first)
    page = visit("retrain")
    run = start_training(dashboard, page)
    kept = (run.folder / HISTORY).read_text()
    dashboard.leave_room(2000)  # a status still fits, what an epoch leaves behind does not
    dashboard.let_go_on(1, 2, 3)
    said = page.get_by_test_id("stAlertContentError")
    expect(said).to_contain_text("checkpoint.npz must be written")
    expect(said).to_contain_text("No space left on device. Free some disk")
    expect(words(page)).to_contain_text("This run failed. It has 1 whole epoch, and can go on from there")
    assert fingerprint(first) == whole
    assert not list(dashboard.runs.glob("*/.*.tmp")), "what does not fit is not left half-written"
    dashboard.leave_room(None)
    press(page, "Go on with it")
    expect(words(page)).to_contain_text(re.compile("This run is (finished|served)"))
    assert (run.folder / HISTORY).read_text().startswith(kept) and len(run.history()) == EPOCHS
    assert run.metrics()["test"]["n"] > 0
    expect(said).to_have_count(0)


def test_a_disk_without_a_single_byte_is_said(dashboard: Dashboard, visit, any_settings: TrainConfig) -> None:
    """Where not even the status can be written, the page would speak of a killed process, and the disk stay full."""
    dashboard.begin(any_settings, QUICK)
    page = visit("retrain")
    run = start_training(dashboard, page)
    dashboard.leave_room(0)
    dashboard.let_go_on(1, 2, 3)
    expect(words(page)).to_contain_text("can go on from there")
    settle(page)
    ended = words(page).inner_text()
    for label in ("Go on with it", "Start the training"):
        press(page, label)
        refusal = page.get_by_test_id("stAlertContentError").nth(1)  # the first one is what the trainer printed
        expect(refusal).to_contain_text("No space left on device. Free some disk")
        settle(page)
        wait_for(lambda: not dashboard.trainers())
        page.reload()  # or the next button would seem to be answered by the sentence that stands there already
        expect(refusal).to_have_count(0)
        settle(page)
    assert [each.id for each in dashboard.new_runs()] == [run.id]
    dashboard.leave_room(None)
    press(page, "Go on with it")
    expect(words(page)).to_contain_text("This run is finished.")
    assert "No space left on device" in ended


def test_two_who_press_at_once_start_one_training(dashboard: Dashboard, visit, any_settings: TrainConfig) -> None:
    """Two trainings would fight for memory, or one of two people would take the other's run for the own one."""
    dashboard.begin(any_settings, QUICK)
    pages = [visit("retrain"), visit("retrain")]
    for page in pages:
        page.wait_for_selector(START)
        settle(page)
    moment = 1000 * (time.time() + 0.5)
    for page in pages:
        page.evaluate(
            f"moment => void setTimeout(() => document.querySelector('{START}').click(), moment - Date.now())", moment
        )
    run = the_one_that_runs(dashboard)
    wait_for(lambda: sum(says_who_is_first(page, run) for page in pages) == 1, seconds=10)
    second, first = sorted(pages, key=lambda page: not says_who_is_first(page, run))
    shows_run_under_way(first, run, 2)
    second.reload()
    shows_run_under_way(second, run, 2)
    assert the_one_that_runs(dashboard).id == run.id


def test_who_presses_too_late_is_told(dashboard: Dashboard, visit, any_settings: TrainConfig) -> None:
    """A page that was open since morning would show somebody else's run, as if it were the one just asked for."""
    dashboard.begin(any_settings, QUICK)
    late, page = visit("retrain"), visit("retrain")
    late.wait_for_selector(START)
    settle(late)
    run = start_training(dashboard, page)
    late.locator(START).click()
    shows_run_under_way(late, run, 2)
    assert the_one_that_runs(dashboard).id == run.id
    wait_for(lambda: says_who_is_first(late, run), seconds=10)


def test_nobody_sees_what_somebody_else_chose(dashboard: Dashboard, visit, any_settings: TrainConfig) -> None:
    """Three people with three runs would read each other's figures, and never know."""
    dashboard.begin(any_settings, QUICK)
    runs = [finished(dashboard.runs / f"of-{right:.0%}"[:-1], any_settings, right) for right in (0.3, 0.6, 0.9)]
    figures = [f"{100 * run.metrics()['test']['balanced_accuracy']['value']:.1f} %" for run in runs]
    assert len(set(figures)) == 3

    def sees(page: Page, who: int, title: str) -> None:
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
        expect(page.get_by_test_id("stSidebar")).to_contain_text(runs[who].id)
        expect(page.get_by_test_id("stMetricValue").first).to_have_text(figures[who])
        settle(page)
        expect(page).to_have_url(re.compile(f"run={runs[who].id}"))

    pages = [visit(f"evaluation?run={run.id}") for run in runs]  # none waits for another to be drawn
    for who, page in enumerate(pages):
        sees(page, who, "Evaluation")
    for page in pages:  # each goes on, with an address that names no run
        page.get_by_test_id("stSidebar").get_by_role("link", name="Overview").click()
    for who, page in enumerate(pages):
        sees(page, who, "Overview")
    pages[0].get_by_test_id("stSidebar").get_by_role("combobox").click()  # one chooses anew
    pages[0].get_by_role("option", name=re.compile(re.escape(figures[2].replace(" ", "")))).click()
    sees(pages[0], 2, "Overview")
    for page in pages[1:]:
        page.get_by_test_id("stSidebar").get_by_role("link", name="Evaluation").click()
    for who, page in enumerate(pages[1:], start=1):
        sees(page, who, "Evaluation")
