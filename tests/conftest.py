"""Fixtures: folders of their own for every run of the tests, a tiny data set, a tiny run, a browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: several threads of each would only stand in the way
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

REAL_DATA = "DERMLENS_TEST_DATA"
NO_SKIPS = "DERMLENS_NO_SKIPS"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

LONGEST = ("test_trouble", "test_training", "test_ray_trunk", "test_joining")  # minutes each, or nearly

skipped: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that at the end no process has minutes to do that others could have shared."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped."""
    if report.skipped:
        skipped.append(f"{report.nodeid}: {report.longrepr[2] if isinstance(report.longrepr, tuple) else ''}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything is installed, a skipped test is a failed one."""
    if skipped and os.environ.get(NO_SKIPS):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped, and why."""
    for line in skipped:
        terminalreporter.write_line(f"SKIPPED {line}")
    if skipped and os.environ.get(NO_SKIPS):
        terminalreporter.write_line(f"{NO_SKIPS} is set: a skipped test is a failed one", red=True)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of one run of the tests share: what takes long is made once."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, shared_folder: Path) -> Iterator[None]:
    """Nothing that a test writes lands in the project, and no setting of the user's leaks in."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DERMLENS_RUNS", "DERMLENS_SYNTHETIC", "DERMLENS_DECISIONS", "DERMLENS_SELECTIONS"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        patch.setenv("DERMLENS_CACHE", str(shared_folder / "cache"))
        patch.setenv("DERMLENS_CASES", f"sqlite:///{tmp_path_factory.mktemp('cases') / 'cases.sqlite'}")
        for name in (
            "DERMLENS_DATA",
            "DERMLENS_RAY",
            "DERMLENS_ENGINE",
            "DERMLENS_HOST",
            "DERMLENS_DASHBOARD_PORT",
            "DERMLENS_CLINIC_PORT",
        ):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def no_conversion() -> Iterator[None]:
    """Trainings in here compute with TensorFlow alone: a conversion takes four seconds, and other tests look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERMLENS_ENGINE", "tensorflow")
        yield


@pytest.fixture
def runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of runs, for this test alone."""
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("DERMLENS_RUNS", str(folder))
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; tests that need it are skipped without it."""
    folder = os.environ.get(REAL_DATA)
    if not folder:
        pytest.skip(f"needs real images: set {REAL_DATA} to the folder that holds ham10000/")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_data(shared_folder: Path) -> Path:
    """A synthetic data set of 70 images. Read it, do not change it."""
    from core.data.synthetic import draw_dataset

    with FileLock(shared_folder / "data.lock"):
        folder = shared_folder / "tiny"
        return folder if folder.exists() else draw_dataset(folder, images=70)


@pytest.fixture(scope="session")
def tiny_config(tiny_data: Path):
    """The settings of `tiny_run`."""
    from core.config import TrainConfig

    return TrainConfig(data_dir=str(tiny_data), backbone="efficientnet_lite0", views=2, epochs=3, measured_heatmaps=4)


@pytest.fixture(scope="session")
def tiny_run(tiny_config, shared_folder: Path):
    """A finished, promoted run on the tiny data set. Read it, do not change it."""
    from core.models.training import train
    from core.places import runs_root
    from core.runs.all_runs import promote
    from core.runs.run import Run

    kept = shared_folder / "tiny-run"
    with FileLock(shared_folder / "run.lock"):
        if not kept.exists():
            with pytest.MonkeyPatch.context() as patch:  # with a cache that is empty, as its speed is measured
                patch.setenv("DERMLENS_CACHE", str(shared_folder / "tiny-cache"))
                patch.delenv("DERMLENS_ENGINE", raising=False)  # the same run, whoever asks for it first
                train(Run.create(tiny_config, kept))
    run = Run(shutil.copytree(kept, runs_root() / "tiny"))
    promote(run)
    return run


@pytest.fixture
def served_run(tiny_run, runs_folder: Path):
    """A copy of the tiny run, promoted in a folder of runs of its own."""
    return serve_copy(tiny_run, runs_folder)


def serve_copy(tiny_run, runs: Path):
    """A copy that refuses nothing: what a run of 70 drawn images takes for strange is no matter for tests."""
    from core.runs.all_runs import promote
    from core.runs.run import CALIBRATION, Run

    run = Run(shutil.copytree(tiny_run.folder, runs / tiny_run.id))
    calibration = run.calibration()
    run.write_json(CALIBRATION, calibration | {"refusal": calibration["refusal"] | {"threshold": 1e9}})
    promote(run)
    return run


@pytest.fixture(scope="module")
def module_run(tiny_run, tmp_path_factory: pytest.TempPathFactory):
    """As `served_run`, for all tests of a module: read it, do not change it."""
    return serve_copy(tiny_run, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def exported_run(tiny_run, shared_folder: Path) -> Path:
    """The tiny run exported for phones. Read the folder, do not change it."""
    from core.export import write_export

    kept = shared_folder / "exported"
    with FileLock(shared_folder / "exported.lock"):
        if not kept.exists():
            write_export(tiny_run, kept)
    return kept


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Headless Chromium; tests that need it are skipped where there is none."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip(f"needs a browser: install one of {', '.join(CHROMIUM)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_OPTIONS))
        yield chromium
        chromium.close()
