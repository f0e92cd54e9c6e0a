"""What is published answers by itself, with the packages that it asks for, and says nothing of patients."""

import importlib.metadata
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import huggingface_hub
import pytest
import yaml
from packaging.requirements import Requirement

from core.data.ham10000 import index_dataset
from core.diagnoses import CODES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.engines import openvino_files
from core.errors import RunError
from core.evaluation.model_card import model_card
from core.places import PROJECT
from core.predictor import Predictor
from core.publish import main, write_model, write_space
from core.runs.run import CONFIG, EVALUATIONS, MANIFEST, METRICS, MODEL_CARD, SPLITS, STATUS, Run
from core.similar import RunImages
from tests.dashboard.conftest import free_port
from tests.dashboard.test_clinic_hostile import ask

PATIENTS = "/home/anna/patients"
CLINIC = "Klinik-Mueller"
REAL_API = huggingface_hub.HfApi
WAIT = 90.0  # seconds for a page to come up


@pytest.fixture(scope="module")
def converted(module_run) -> Run:
    """A run with all that a published one needs."""
    openvino_files(module_run)
    return module_run


@pytest.fixture(scope="module")
def space(converted, tmp_path_factory) -> Path:
    """A Space. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("space") / "published"
    write_space(converted, folder)
    return folder


@pytest.fixture(scope="module")
def image(tiny_data) -> Path:
    """One image of the run's own data."""
    return Path(index_dataset(tiny_data).images["path"].iloc[0])


@pytest.fixture(scope="module")
def started(space, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A copy of the Space, started from its own folder as the hub starts it: address, folder, and what it printed."""
    folder = shutil.copytree(space, tmp_path_factory.mktemp("hub") / "space")
    python = environment_of(folder / "requirements.txt", folder.parent / "environment")
    printed = folder.parent / "printed.txt"
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder.parent),
        "TMPDIR": str(folder.parent),
        "DERMLENS_CLINIC_PORT": str(port),
    }
    with printed.open("wb") as stream:
        server = subprocess.Popen(
            [python, "app.py"], cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + WAIT
        while True:
            assert server.poll() is None and time.monotonic() < deadline, printed.read_text()
            try:
                if httpx.get(address, timeout=2, trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.3)
        yield SimpleNamespace(address=address, folder=folder, printed=printed, python=python)
    finally:
        server.terminate()
        server.wait(timeout=30)


def environment_of(requirements: Path, folder: Path) -> Path:
    """The interpreter of an environment with what requirements lead to and nothing else, linked from this one."""
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in asked_for(requirements.read_text().splitlines()):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder / "bin" / "python"


def front_matter(readme: Path) -> dict:
    return yaml.safe_load(readme.read_text(encoding="utf-8").split("---\n")[1])


def unreal(run: Run, copied_to: Path, **changes: object) -> Run:
    """A copy of a run with another story."""
    copy = Run(shutil.copytree(run.folder, copied_to))
    manifest = copy.manifest()
    copy.write_json(MANIFEST, manifest | {"data": manifest["data"] | changes})
    return copy


def test_a_space_answers_from_its_own_folder_as_the_run_does(started, image, converted):
    with httpx.Client(timeout=120, trust_env=False) as client:
        kind, reply = ask(client, started.address, image, image.name)
    assert kind == "ok", reply + started.printed.read_text()
    answer = json.loads(reply.partition("data: ")[2].partition("\n")[0])[0]
    expected = Predictor(converted).predict(image)
    assert answer["run"] == converted.id and answer["diagnosis"] == expected.code
    for code, probability in zip(CODES, expected.probabilities, strict=True):
        assert answer["probabilities"][code] == pytest.approx(probability, abs=1e-4)
    assert "Traceback" not in started.printed.read_text()
    assert not (started.folder / "data").exists(), "nothing that people keep lies where it would be pushed"


def test_a_space_needs_no_tensorflow_and_no_package_that_it_does_not_ask_for(started, image):
    """Its environment holds its requirements alone: the report, the pictures and DICOM are read with them too."""
    (packages,) = started.folder.parent.glob("environment/lib/python*/site-packages")
    there = {path.name.lower() for path in packages.iterdir()}
    assert {"gradio", "openvino", "cv2"} <= there
    assert not there & {"tensorflow", "keras", "streamlit", "plotly", "kagglehub", "pytest", "ipython"}
    code = (
        "import sys, core.data.dicom; from core.predictor import served_predictor; "
        "from core.runs.all_runs import served_run; from dashboard.clinic.report import pdf_report; "
        "answer = served_predictor().predict(sys.argv[1]); sys.stdout.buffer.write(pdf_report(answer, served_run()))"
    )
    environment = {"PATH": os.environ["PATH"], "DERMLENS_RUNS": str(started.folder / "runs")}
    done = subprocess.run(
        [started.python, "-c", code, image], cwd=started.folder, env=environment, capture_output=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"%PDF")


def asked_for(lines: list[str]) -> set[str]:
    """Every distribution that requirements lead to, as far as this environment has them."""
    found: set[str] = set()
    seen = set()
    waiting = [Requirement(line) for line in lines]
    while waiting:
        requirement = waiting.pop()
        name = canonical(requirement.name).removesuffix("-headless")  # the same package, without windows
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                needs = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:  # of another system
                continue
            found.add(name)
            parsed = [Requirement(need) for need in needs]
            waiting += [need for need in parsed if need.marker is None or need.marker.evaluate({"extra": extra})]
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_space_asks_for_pinned_packages_without_those_that_train(space):
    lines = (space / "requirements.txt").read_text().splitlines()
    ours = (PROJECT / "requirements.txt").read_text().replace("opencv-python=", "opencv-python-headless=")
    assert lines and all(re.search(rf"^{re.escape(line)}(\s|$)", ours, re.MULTILINE) for line in lines)
    assert all("==" in line for line in lines)
    assert not {"tensorflow", "keras", "streamlit", "plotly"} & {canonical(Requirement(line).name) for line in lines}


def test_the_hub_reads_the_front_matter(space):
    front = front_matter(space / "README.md")
    assert front["sdk"] == "gradio" and front["sdk_version"] == importlib.metadata.version("gradio")
    assert (space / front["app_file"]).is_file() and isinstance(front["python_version"], str)
    assert front["license"] == "apache-2.0" and "synthetic-data" in front["tags"]
    assert len(front["short_description"]) <= 60
    text = (space / "README.md").read_text(encoding="utf-8")
    assert RESEARCH_NOTICE in text and SYNTHETIC_NOTICE in text
    card = re.search(r"\((runs/\S+)\)", text)
    assert card and (space / card[1]).is_file()


@pytest.mark.parametrize(("first_image", "licence"), [("ISIC_0024306", "cc-by-nc-4.0"), ("of_a_clinic_1", "other")])
def test_weights_go_out_under_the_licence_of_their_images(converted, tmp_path, first_image, licence):
    run = unreal(converted, tmp_path / "run", synthetic=False)
    splits = run.splits()
    splits.loc[0, "image_id"] = first_image
    if licence == "other":
        splits["image_id"] = [f"of_a_clinic_{number}" for number in range(len(splits))]
    run.write_csv(SPLITS, splits)
    (run.folder / MODEL_CARD).unlink(missing_ok=True)
    write_space(run, tmp_path / "space")
    write_model(run, tmp_path / "model")
    assert front_matter(tmp_path / "space" / "README.md")["license"] == licence
    assert front_matter(tmp_path / "model" / "README.md")["license"] == licence
    assert SYNTHETIC_NOTICE not in (tmp_path / "space" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("write", [write_space, write_model])
def test_nothing_of_patients_or_of_this_computer_goes_out(write, converted, tmp_path):
    run = unreal(converted, tmp_path / "run", folder=PATIENTS, extra_folders=[PATIENTS], left_out={"empty": ["left_1"]})
    settings = run.config().to_dict()
    run.write_json(CONFIG, settings | {"data_dir": PATIENTS, "extra_data": PATIENTS, "weights": f"{PATIENTS}/w.h5"})
    run.write_bytes("log.txt", PATIENTS.encode())
    evaluation = {"data": {}, "evaluated": "2026-11-28T00:00:00+00:00", "metrics": run.metrics()["test"]}
    run.write_json(f"{EVALUATIONS}/{CLINIC}-12345678/{METRICS}", evaluation)
    run.write_bytes(MODEL_CARD, model_card(run).encode())
    assert CLINIC in run.model_card()
    write(run, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert not names & {SPLITS, "features.npy", "predictions.csv", "images.csv", "log.txt", "about.json", "__pycache__"}
    secrets = [
        PATIENTS,
        CLINIC,
        str(run.folder.parent),
        "left_1",
        *run.splits()["image_id"],
        *run.splits()["lesion_id"],
    ]
    found = [path for path in sorted((tmp_path / "out").rglob("*")) if path.is_file()]
    of_the_run = [path for path in found if path.relative_to(tmp_path / "out").parts[0] not in ("core", "dashboard")]
    assert of_the_run
    for path in of_the_run:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path
    status = next(json.loads(path.read_text()) for path in found if path.name == STATUS)
    assert status["pid"] is None and status["state"] == "finished"


def test_a_space_shows_no_similar_images_and_no_examples(space, converted, image):
    run = Run(space / "runs" / converted.id)
    images = RunImages(run)
    features = Predictor(run).predict(image).features
    assert images.examples() == []
    assert images.most_alike(features).empty


def test_damaged_features_take_the_similar_images_and_nothing_else(served_run, image):
    features = Predictor(served_run).predict(image).features
    assert not RunImages(served_run).most_alike(features).empty
    (served_run.folder / "features.npy").write_bytes(b"half")
    images = RunImages(served_run)
    assert images.most_alike(features).empty and images.examples()
    with pytest.raises(RunError, match=r"features.npy must be whole"):
        served_run.features()


def test_the_example_of_a_model_repository_runs(converted, image, tmp_path):
    write_model(converted, tmp_path / "model")
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"README.md", "model.keras", "config.json", "calibration.json", "openvino", "example.py"} <= files
    done = subprocess.run(
        [sys.executable, "example.py", str(image)], cwd=tmp_path / "model", capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"speaks for {Predictor(converted).predict(image).code}" in done.stdout and RESEARCH_NOTICE in done.stdout


def test_what_cannot_be_published_is_refused_and_leaves_nothing(converted, tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    assert main(["space", "--run", str(converted.folder), "--out", str(taken)]) == 1
    assert "empty or not there yet. Received:" in capsys.readouterr().err
    unfinished = Run(shutil.copytree(converted.folder, tmp_path / "unfinished"))
    unfinished.write_json(STATUS, json.loads((unfinished.folder / STATUS).read_text()) | {"state": "failed"})
    assert main(["model", "--run", str(unfinished.folder), "--out", str(tmp_path / "out")]) == 1
    assert "Only a finished run can be published" in capsys.readouterr().err
    assert main(["space", "--run", "nobody", "--out", str(tmp_path / "out")]) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"taken", "unfinished"}
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]


def test_a_folder_that_breaks_off_is_not_there(converted, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.publish._copy_code", full)
    with pytest.raises(RunError, match="No space left"):
        write_space(converted, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_filled(converted, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert main(["model", "--run", str(converted.folder), "--out", str(tmp_path / "out")]) == 0
    assert "licence apache-2.0" in capsys.readouterr().out and (tmp_path / "out" / "example.py").is_file()


# ---- to the hub ----------------------------------------------------------------------------------


class Hub:
    """A hub that only writes down what it was asked."""

    calls: list = []
    broken = False

    def __init__(self, token: str) -> None:
        Hub.calls.append(("token", token))

    def create_repo(self, repo_id: str, **settings: object) -> str:
        Hub.calls.append(("create", repo_id, settings))
        return f"hub:{repo_id}"

    def upload_folder(self, **settings: object) -> None:
        if Hub.broken:
            raise ConnectionError("the hub is away")
        there = {path.name for path in Path(settings["folder_path"]).iterdir()}
        Hub.calls.append(("upload", there, settings))


@pytest.fixture
def hub(monkeypatch) -> type[Hub]:
    """A hub without a network, and somebody who is logged in there."""
    monkeypatch.setattr(Hub, "calls", [])
    monkeypatch.setattr(Hub, "broken", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "a-token")
    return Hub


@pytest.mark.parametrize(("kind", "sdk"), [("space", "gradio"), ("model", None)])
def test_push_creates_the_repository_and_sends_the_folder(kind, sdk, hub, converted, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([kind, "--run", str(converted.folder), "--out", str(out), "--push", "anna/skin"]) == 0
    token, create, upload = hub.calls
    assert token == ("token", "a-token")
    assert create == ("create", "anna/skin", {"repo_type": kind, "space_sdk": sdk, "exist_ok": True})
    assert upload[1] == {path.name for path in out.iterdir()} and "README.md" in upload[1]
    assert upload[2]["repo_id"] == "anna/skin" and upload[2]["repo_type"] == kind
    assert "a-token" not in capsys.readouterr().out
    for method, given in ((REAL_API.create_repo, create[2]), (REAL_API.upload_folder, upload[2])):
        assert set(given) <= set(inspect.signature(method).parameters), "the real one takes these arguments"


def test_a_hub_that_is_away_leaves_the_folder(hub, converted, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Hub, "broken", True)
    out = tmp_path / "out"
    assert main(["model", "--run", str(converted.folder), "--out", str(out), "--push", "anna/skin"]) == 1
    assert "Received: the hub is away" in capsys.readouterr().err and (out / "README.md").is_file()


def test_nobody_pushes_without_a_login_or_a_name(hub, converted, tmp_path, capsys, monkeypatch):
    """Asked before anything is written."""
    command = ["model", "--run", str(converted.folder), "--out", str(tmp_path / "out"), "--push"]
    for name in ("skin", "anna/", "a/b/c", "https://hub/anna"):
        assert main([*command, name]) == 1
        assert "OWNER/NAME" in capsys.readouterr().err
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert main([*command, "anna/skin"]) == 1
    error = capsys.readouterr().err
    assert "hf auth login" in error and "HF_TOKEN" in error
    assert not hub.calls and not (tmp_path / "out").exists()
