"""The image and its composition, as far as they can be judged without a Docker: what they name is there and works."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from core.places import PROJECT
from tests.dashboard.conftest import free_port

OURS = ("dashboard", "clinic")
NO_IMAGE = ("data", "runs", "cache", ".env", ".git", ".venv", "tests", "docs", "benchmarks", "shared")
WAIT = 90.0  # seconds for a page to come up


@pytest.fixture(scope="module")
def compose() -> dict:
    """compose.yaml."""
    return yaml.safe_load((PROJECT / "compose.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """The Dockerfile: each instruction and its words, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (PROJECT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


def copied(steps: list[tuple[str, str]]) -> list[str]:
    """What COPY takes from the project."""
    return [name for step, words in steps if step == "COPY" for name in words.split()[:-1]]


def after_python(command: list[str]) -> list[str]:
    assert command[0] == "python", command
    return command[1:]


def healthcheck(steps: list[tuple[str, str]]) -> list[str]:
    (words,) = (words for step, words in steps if step == "HEALTHCHECK")
    return json.loads(words.partition("CMD ")[2])


def test_the_image_is_pinned_and_its_user_is_not_root(steps):
    names = [name for name, _ in steps]
    (base,) = (words for name, words in steps if name == "FROM")
    assert re.fullmatch(r"python:3\.1[1-3]\.\d+-slim-\w+", base)
    assert names.count("USER") == 1 and dict(steps)["USER"] not in ("root", "0")
    assert f" {dict(steps)['USER']}" in " ".join(words for name, words in steps if name == "RUN")
    assert not [words for name, words in steps[names.index("USER") :] if name in ("RUN", "COPY", "ADD")]
    assert "ADD" not in names and "HEALTHCHECK" in names
    assert not any(re.search(r"https?://", words) for name, words in steps if name in ("RUN", "COPY"))


def test_the_image_holds_what_it_needs_and_nothing_of_people(steps):
    """.dockerignore lets in what COPY takes, and only that."""
    lines = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert allowed == set(copied(steps)) and all((PROJECT / name).exists() for name in allowed)
    assert not allowed & set(NO_IMAGE) and "**/__pycache__" in rules


def test_the_image_installs_what_is_pinned_with_the_driver_of_the_case_log(steps, tmp_path):
    """The first command of the Dockerfile's step, on the files that it is for."""
    (install,) = (words for name, words in steps if name == "RUN" and "pip install" in words)
    prepare, pip = (part.strip() for part in install.split("&&")[:2])
    done = subprocess.run(
        ["sh", "-ec", f'cp "$1"/requirements*.txt . && {prepare} && cat driver.txt', "sh", str(PROJECT)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.fullmatch(r"psycopg\[binary\]==[\w.]+\s*(#.*)?", done.stdout.strip())
    assert pip.endswith("-r requirements.txt -r driver.txt")


def test_the_image_has_the_libraries_that_opencv_loads(steps):
    """The manifest of a run names the version of opencv-python: the one without windows does not do here."""
    assert '"opencv-python"' in (PROJECT / "core" / "models" / "training.py").read_text()
    assert "opencv-python==" in (PROJECT / "requirements.txt").read_text()
    (system,) = (words for name, words in steps if name == "RUN" and "apt-get install" in words)
    assert {"libgl1", "libglib2.0-0", "--no-install-recommends"} <= set(system.split())


def test_each_service_looks_after_itself_and_may_do_little(compose):
    assert set(compose["services"]) == {*OURS, "cases"}
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"][0] == "CMD" and service["healthcheck"]["retries"], name
        assert service["restart"] == "unless-stopped"
        assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service), name
        assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
        assert service.get("user") not in ("root", "0", 0)
        assert not any("docker.sock" in volume for volume in service["volumes"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), "a proxy stands before them"
    assert compose["services"]["cases"]["user"] == "postgres" and "ports" not in compose["services"]["cases"]
    assert re.fullmatch(r"postgres:\d+\.\d+-\w+", compose["services"]["cases"]["image"])


def test_what_people_made_survives_a_restart(compose, steps):
    kept = {volume.split(":")[0] for service in compose["services"].values() for volume in service["volumes"]}
    assert kept == set(compose["volumes"]) == {"runs", "data", "cache", "cases"}
    mounted = {volume.split(":")[1] for name in OURS for volume in compose["services"][name]["volumes"]}
    assert mounted == set(json.loads(dict(steps)["VOLUME"]))
    work = dict(steps)["WORKDIR"]
    assert {f"{work}/{name}" for name in ("runs", "data", "cache")} == mounted, "where core/places.py puts them"
    (own,) = (words for name, words in steps if name == "RUN" and "useradd" in words)
    assert re.search(r"mkdir -p runs data cache", own) and re.search(r"chown \S+ runs data cache", own)


def test_passwords_are_asked_for_and_never_written_down(compose):
    for name in OURS:
        settings = compose["services"][name]["environment"]
        assert re.fullmatch(r"\$\{DERMLENS_LOGIN:\?.+\}", settings["DERMLENS_LOGIN"])
        assert re.search(r"//dermlens:\$\{POSTGRES_PASSWORD:\?[^}]+\}@cases/cases$", settings["DERMLENS_CASES"])
        assert compose["services"][name]["depends_on"]["cases"] == {"condition": "service_healthy"}
    database = compose["services"]["cases"]["environment"]
    assert (database["POSTGRES_USER"], database["POSTGRES_DB"]) == ("dermlens", "cases")
    assert database["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_variables_and_modules_that_are_named_exist(compose, steps):
    code = "\n".join(path.read_text() for room in ("core", "dashboard") for path in (PROJECT / room).rglob("*.py"))
    named = (PROJECT / "compose.yaml").read_text() + (PROJECT / "Dockerfile").read_text()
    variables = set(re.findall(r"DERMLENS_[A-Z]+", named))
    assert variables >= {"DERMLENS_LOGIN", "DERMLENS_CASES"}
    assert not [variable for variable in variables if variable not in code]
    commands = [compose["services"][name]["command"] for name in OURS] + [json.loads(dict(steps)["CMD"])]
    for command in commands:
        assert command[:2] == ["python", "-m"] and find_spec(command[2]), command
    checks = [compose["services"][name]["healthcheck"]["test"][1:] for name in OURS] + [healthcheck(steps)]
    for check in checks:
        assert after_python(check)[0] == "-c" and ast.parse(check[2])


@pytest.mark.parametrize(("name", "port"), [("dashboard", "8501"), ("clinic", "7860")])
def test_what_the_image_holds_starts_and_is_found_healthy(name, port, compose, steps, served_run, tmp_path):
    """The service's own command and check, in a folder with what COPY takes; with a login, as people serve it."""
    app = tmp_path / "app"
    app.mkdir()
    for source in copied(steps):
        copy = shutil.copytree if (PROJECT / source).is_dir() else shutil.copyfile
        copy(PROJECT / source, app / source)
    (app / "requirements-dev.txt").unlink()
    service, free = compose["services"][name], str(free_port())
    command = [word.replace(port, free).replace("0.0.0.0", "127.0.0.1") for word in after_python(service["command"])]
    check = [word.replace(port, free) for word in after_python(service["healthcheck"]["test"][1:])]
    kept = ("PATH", "DERMLENS_RUNS", "DERMLENS_CASES", "TF_CPP_MIN_LOG_LEVEL")
    environment = {key: os.environ[key] for key in kept} | {
        "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPATH": str(app), "DERMLENS_LOGIN": "anna:secret",
    }  # fmt: skip

    def healthy() -> bool:
        return not subprocess.run(
            [sys.executable, *check], env=environment, capture_output=True, check=False
        ).returncode

    assert not healthy()
    with (tmp_path / "printed.txt").open("wb") as printed:
        server = subprocess.Popen(
            [sys.executable, *command], cwd=app, env=environment, stdout=printed, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + WAIT
        while not healthy():
            assert server.poll() is None and time.monotonic() < deadline, Path(printed.name).read_text()
            time.sleep(0.5)
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_both_pages_of_the_image_are_looked_at(steps):
    code = healthcheck(steps)[2]
    assert dict(steps)["EXPOSE"].split() == ["8501", "7860"]
    assert all(f"127.0.0.1:{port}/" in code for port in dict(steps)["EXPOSE"].split())
