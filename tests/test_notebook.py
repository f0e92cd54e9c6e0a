"""The notebook runs from top to bottom, shows what it promises, and has no logic of its own."""

import ast
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from core.data.images import read_image
from core.diagnoses import DIAGNOSES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.places import PROJECT
from core.presets import configured

NOTEBOOK = PROJECT / "notebooks" / "dermlens_colab.ipynb"
PLOTLY, PICTURE, WORDS = "application/vnd.plotly.v1+json", "image/png", "text/markdown"
OWN = {"core", "dashboard", "train"}
SHOWING = {"IPython", "PIL", "numpy"}
LINES = 3  # of a function that only shows


def stored() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_of(name: str) -> str:
    return next(cell.source for cell in stored().cells if cell.id == name)


@pytest.fixture(scope="module")
def outputs(tiny_data, tmp_path_factory) -> dict[str, list[nbformat.NotebookNode]]:
    """What each cell gave, by its id, after a run of the whole notebook on tiny data."""
    notebook, place = stored(), tmp_path_factory.mktemp("notebook")
    position = next(n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    notebook.cells.insert(position + 1, nbformat.v4.new_code_cell("EPOCHS = 2", id="injected-parameters"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERMLENS_DATA", str(tiny_data))
        for name in ("DERMLENS_RUNS", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "KAGGLEHUB_CACHE"):
            patch.setenv(name, str(place / name.lower()))
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):  # who asks the network for anything is refused
            patch.setenv(name, "http://127.0.0.1:9")
        NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
        ).execute()
    assert [path.name for path in (place / "dermlens_runs").glob("*/model.keras")] == ["model.keras"]
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def shown(outputs: list[nbformat.NotebookNode], kind: str) -> list:
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def picture_of(content: str) -> np.ndarray:
    return read_image(base64.b64decode(content))


def printed(outputs: list[nbformat.NotebookNode]) -> str:
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_every_cell_runs(outputs):
    """An exception would have ended the run already; this also sees an error that a cell only shows."""
    assert set(outputs) > {"install", "train", "page"}
    assert not [output for cell in outputs.values() for output in cell if output.output_type == "error"]
    epochs = configured("dermlens", {}).whole_epochs + 2
    assert f"epoch {epochs} of at most {epochs}:" in printed(outputs["train"]), "of which two were put in"


@pytest.mark.parametrize(
    ("cell", "kind", "count"),
    [
        ("distribution", "bar", 1),
        ("curves", "scatter", 4),
        ("confusion", "heatmap", 1),
        ("reliability", "scatter", 2),
    ],
)
def test_the_charts_are_there_with_their_data_and_the_notice(outputs, cell, kind, count):
    figures = shown(outputs[cell], PLOTLY)
    assert len(figures) == count
    for figure in figures:
        assert kind in {trace["type"] for trace in figure["data"]}
        assert "Research and education only" in figure["layout"]["title"]["subtitle"]["text"]


def test_the_distribution_is_logarithmic_and_of_this_data_set(outputs):
    figure = shown(outputs["distribution"], PLOTLY)[0]
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert "70 images" in figure["layout"]["title"]["text"]


def test_every_diagnosis_has_its_row_of_samples(outputs):
    assert len(shown(outputs["samples"], PICTURE)) == len(DIAGNOSES)
    assert shown(outputs["samples"], WORDS) == [f"**{diagnosis.name}**" for diagnosis in DIAGNOSES]


def cases(outputs) -> dict[str, int]:
    """Name of each diagnosis -> its test images, as the table has them."""
    (table,) = shown(outputs["table"], WORDS)
    rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()[2:]]
    return {row[1].partition(" (`")[0]: int(row[2]) for row in rows}


def test_the_table_has_every_diagnosis_and_an_interval_where_there_are_cases(outputs):
    (table,) = shown(outputs["table"], WORDS)
    found = cases(outputs)
    assert list(found) == [diagnosis.name for diagnosis in DIAGNOSES]
    assert sum(found.values()) > 0
    for n, line in zip(found.values(), table.splitlines()[2:], strict=True):
        sensitivity = line.split("|")[3]
        assert re.fullmatch(r" [\d.]+ \([\d.]+ to [\d.]+\) " if n else " not known ", sensitivity), line


def test_heatmaps_of_truth_and_answer_stand_beside_a_test_image_of_each_diagnosis(outputs):
    pictures = [picture_of(content) for content in shown(outputs["gradcam"], PICTURE)]
    said = [re.match(r"\*\*Truth: (.+)\. Answer: (.+), [<>\d.]+%\.\*\*", words)
            for words in shown(outputs["gradcam"], WORDS)[:-1]]  # fmt: skip
    assert {match[1] for match in said} == {name for name, n in cases(outputs).items() if n}
    assert any(match[1] != match[2] for match in said)
    for picture, match in zip(pictures, said, strict=True):
        image, truth, answer = np.split(picture, 3, axis=1)
        assert (image != truth).any()
        assert (truth == answer).all() == (match[1] == match[2])


def test_the_notices_are_said(outputs):
    texts = [cell.source for cell in stored().cells if cell.cell_type == "markdown"]
    assert RESEARCH_NOTICE in texts[0] and RESEARCH_NOTICE in texts[-1]
    assert RESEARCH_NOTICE in shown(outputs["gradcam"], WORDS)[-1]
    assert SYNTHETIC_NOTICE in printed(outputs["headline"])


def test_no_page_is_opened_unless_somebody_asks(outputs):
    assert outputs["page"] == []
    assert "OPEN_PAGE = False" in code_of("settings")
    code = [cell for cell in stored().cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if "launch(" in cell.source] == ["page"]
    (asked,) = ast.parse(code_of("page")).body
    assert isinstance(asked, ast.If) and ast.unparse(asked.test) == "OPEN_PAGE" and not asked.orelse
    assert "Gradio's tunnel" in next(cell.source for cell in stored().cells if cell.id == "page-title")


def test_nothing_that_ran_is_committed():
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = json.loads(text)
    nbformat.validate(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, cell["id"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["metadata"]["accelerator"] == "GPU"
    assert text.count("REPOSITORY = ") == 1


def test_the_notebook_has_no_logic_of_its_own():
    """It asks TensorFlow for a GPU, and whatever else is computed, the project computes."""
    for cell in stored().cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        for node in ast.walk(tree):
            assert not isinstance(node, (ast.ClassDef, ast.AsyncFunctionDef, ast.Lambda)), cell.id
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < LINES, node.name
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            strangers = {name.split(".")[0] for name in names} - OWN - SHOWING - set(sys.stdlib_module_names)
            assert strangers <= ({"tensorflow"} if cell.id == "recipe" else set()), cell.id
        asked = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert {name for name in asked if name.startswith("tf.")} <= {"tf.config", "tf.config.list_physical_devices"}


def test_the_project_is_fetched_where_it_is_not(tmp_path):
    """On Colab the notebook is all that there is: the first cell brings the rest, once."""
    copy, machine = tmp_path / "copy", tmp_path / "machine"
    for folder in (copy, machine):
        folder.mkdir()
    (copy / "train.py").write_text("FETCHED = True\n")
    (copy / "requirements.txt").write_text("")
    git = [shutil.which("git"), "-C", str(copy), "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "a copy"]):
        subprocess.run([*git, *command], check=True)
    settings = code_of("settings").replace("https://example.org/dermlens.git", copy.as_uri())
    script = "\n".join([settings, code_of("install"), "import train; print(train.FETCHED, os.getcwd())"])
    only_these = {"PATH": os.environ["PATH"], "HOME": str(machine), "PYTHONSAFEPATH": "1"}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=machine, env=only_these, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["True", str(Path(machine / "DermLens").resolve())]
