"""Imports point one way, and every option, page and file of the contract is documented."""

import ast
import dataclasses
from pathlib import Path

import pytest

from core.config import TrainConfig
from core.places import PROJECT
from core.runs import all_runs
from core.runs import run as run_module

INTERFACES = {"streamlit", "gradio", "plotly"}
NETWORKS = {"tensorflow", "keras"}

# what may import what: a module's room -> rooms of core that it must not reach
FORBIDDEN = {
    "core/diagnoses.py": ("core.",),
    "core/errors.py": ("core.",),
    "core/places.py": ("core.",),
    "core/backbones.py": ("core.",),
    "core/explain": ("core.models", "core.runs", "core.predictor", "core.evaluation"),
    "core/data": ("core.models", "core.runs", "core.predictor", "core.evaluation", "core.explain"),
    "core/runs": ("core.models", "core.predictor", "core.evaluation", "core.explain"),
    **dict.fromkeys(
        (
            f"core/evaluation/{name}.py"
            for name in (
                "metrics",
                "bootstrap",
                "calibration",
                "conformal",
                "operating",
                "subgroups",
                "outliers",
                "suspicion",
            )
        ),
        ("core.models", "core.runs", "core.predictor", "core.data", "core.explain"),
    ),
    "core/models": ("core.predictor",),
    "dashboard": ("core.models",),
}


def python_files(*rooms: str) -> list[Path]:
    return [path for room in rooms for path in sorted((PROJECT / room).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_core_knows_no_user_interface():
    for path in [*python_files("core"), PROJECT / "train.py"]:
        assert not {name.split(".")[0] for name in imported(path)} & (INTERFACES | {"dashboard"}), path


def test_the_dashboard_knows_no_network_library():
    files = python_files("dashboard")
    assert files
    for path in files:
        assert not {name.split(".")[0] for name in imported(path)} & NETWORKS, path


@pytest.mark.parametrize(("room", "forbidden"), FORBIDDEN.items())
def test_arrows_point_one_way(room, forbidden):
    place = PROJECT / room
    files = [place] if place.suffix else python_files(room)
    assert files
    for path in files:
        wrong = {name for name in imported(path) for prefix in forbidden if name.startswith(prefix)}
        assert not wrong, path


def test_the_readme_names_every_setting():
    readme = (PROJECT / "README.md").read_text()
    for setting in dataclasses.fields(TrainConfig):
        if setting.name == "extra_data":  # of --data-dir, given again
            continue
        assert f"--{setting.name.replace('_', '-')}" in readme


def test_contributing_names_every_file_of_a_run_and_every_room():
    text = (PROJECT / "CONTRIBUTING.md").read_text()
    contract = vars(run_module) | vars(all_runs)
    names = {value for name, value in contract.items() if name.isupper() and isinstance(value, str)}
    assert {"config.json", "model.keras", "checkpoint.npz"} <= names
    for name in sorted(names):
        assert f"`{name}`" in text, name
    for path in python_files("core", "dashboard"):
        if path.name not in ("__init__.py", "__main__.py"):
            assert path.name in text, path


def test_nothing_of_the_workshop_is_left_in_the_project():
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        assert "ISIC_0" not in (PROJECT / name).read_text()
