"""The explain page: methods side by side, tested only when asked for, measured in words; refusal comes first."""

import dataclasses
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.explain.methods import DEFAULT_METHOD, METHODS
from core.places import PROJECT
from core.prediction import REASONS, STRANGE
from core.runs import run as contract
from core.runs.run import Run
from dashboard import explain_charts, models
from tests.dashboard.conftest import texts

APP = str(PROJECT / "dashboard" / "app.py")
FRACTIONS = np.array([0.0, 0.5, 1.0])


def figure(value: float | None, n: int = 200) -> dict:
    spread = 0.05 if value is not None else 0
    return {"value": value, "low": (value or 0) - spread, "high": (value or 0) + spread, "n": n}


def measured(masks: int = 200) -> dict:
    """heatmaps.json, made up."""
    curves = dict.fromkeys(("deletion", "insertion", "both"), figure(0.9))
    method = {name: figure(0.5) for name in ("deletion", "insertion", "pointing", "energy")}
    method |= {"beats": dict.fromkeys(("random", "gaussian", "both"), curves), "scale": 1.0}
    methods = {name: dict(method) for name in METHODS}
    methods["hirescam"]["equal_to"] = "gradcam"
    shuffled = {"gradcam": figure(None, 0), DEFAULT_METHOD: figure(0.07, 16)}
    return {
        "n": 200, "lesions": 190, "masks": masks, "default": DEFAULT_METHOD, "methods": methods,
        "lesion": {"area": figure(0.35), "centre": figure(0.94)}, "answer_survives_blur": figure(0.3),
        "randomised": {"head": shuffled, "top": shuffled},
    }  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_model")


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image is refused."""
    answer = models.answer
    monkeypatch.setattr(
        models, "answer", lambda run, source: dataclasses.replace(answer(run, source), refusals=(STRANGE,))
    )


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No image is refused, and each is blurred in a way that one is warned of."""
    answer = models.answer

    def kind(run: Run, source: str | bytes):
        prediction = answer(run, source)
        problem = next(code for code in REASONS if code != STRANGE)
        quality = dataclasses.replace(prediction.quality, problems=(problem,))
        return dataclasses.replace(prediction, refusals=(), quality=quality)

    monkeypatch.setattr(models, "answer", kind)


def open_page(run: Run) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=180).run().switch_page("views/explain.py").run()
    return app.text_input(key="explain_image").set_value(run.splits()["image_id"].iloc[0]).run()


def test_a_refused_image_gets_no_diagnosis_until_somebody_insists(served_run: Run, refused: None) -> None:
    app = open_page(served_run)
    assert not app.exception
    assert REASONS[STRANGE] in app.error[0].value
    assert "The answer is" not in texts(app) and "Methods side by side" not in texts(app)
    next(button for button in app.button if button.label == "Show anyway").click().run()
    assert not app.exception
    assert "The answer is" in texts(app)
    assert REASONS[STRANGE] in app.error[0].value, "the reason stays"
    app.text_input(key="explain_image").set_value(served_run.splits()["image_id"].iloc[1]).run()
    assert "The answer is" not in texts(app), "insisting is for one image"


def test_what_is_wrong_with_an_image_is_said_beside_its_answer(served_run: Run, accepted: None) -> None:
    app = open_page(served_run)
    assert "The answer is" in texts(app)
    problem = next(code for code in REASONS if code != STRANGE)
    assert REASONS[problem] in [warning.value for warning in app.warning]


def test_nothing_is_blurred_before_it_is_asked_for(
    served_run: Run, accepted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[tuple[str, str]]] = []
    curves = models.curves

    def counted(run: Run, source: str, code: str, asked: list[tuple[str, str]]):
        calls.append(asked)
        return curves(run, source, code, asked)

    monkeypatch.setattr(models, "curves", counted)
    app = open_page(served_run)
    assert not calls
    assert any("Hottest point in the lesion" in frame.value.columns for frame in app.dataframe)
    app.toggle(key="explain_test").set_value(True).run()
    assert not app.exception
    assert calls == [[("gradcam", ""), (DEFAULT_METHOD, "")]]
    table = next(frame.value for frame in app.dataframe if "Left under deletion" in frame.value.columns)
    assert set(explain_charts.CONTROLS.values()) < set(table["Heatmap"])


def test_methods_are_shown_at_the_chosen_cut_point(
    served_run: Run, accepted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def remembered(run: Run, source: str, method: str, code: str, layer: str) -> np.ndarray:
        asked.append((method, layer))
        return np.eye(7, dtype=np.float32)

    monkeypatch.setattr(models, "explanation", remembered)
    app = open_page(served_run)
    asked.clear()
    app.pills(key="explain_methods").set_value(["layercam", "occlusion"])
    app.multiselect(key="explain_layers").set_value(["block5"]).run()
    assert not app.exception
    assert asked == [("layercam", "block5"), ("occlusion", "")]


def test_the_runs_figures_are_words_and_a_table(served_run: Run, accepted: None) -> None:
    served_run.write_json(contract.HEATMAPS, measured())
    app = open_page(served_run)
    assert not app.exception
    assert "on **90 %** of 200 test images (95 % interval 85 to 95 %)" in texts(app)
    tables = [frame.value for frame in app.dataframe if "Better in deletion" in frame.value.columns]
    assert len(tables[0]) == len(METHODS) - 1  # equal maps once


def test_a_run_without_figures_says_how_to_get_them(served_run: Run, accepted: None) -> None:
    Path(served_run.folder / contract.HEATMAPS).unlink(missing_ok=True)
    assert f"python -m core.evaluation --run {served_run.id}" in texts(open_page(served_run))


def test_figures_without_masks_have_no_columns_on_the_lesion() -> None:
    assert "Heat in the lesion" in explain_charts.measured_table(measured()).columns
    assert "Heat in the lesion" not in explain_charts.measured_table(measured(masks=0)).columns


def test_what_could_not_be_measured_is_a_dash() -> None:
    table = explain_charts.measured_table(measured()).set_index("Heatmap")
    assert table.loc["Grad-CAM", "Likeness after shuffling"] == "–"
    assert table.loc["Integrated gradients (the default)", "Likeness after shuffling"] == "0.07"


def test_a_table_of_one_image_has_only_what_is_known() -> None:
    curve = {"gradcam": np.array([1.0, 0.5, 0.0]), "random": np.array([1.0, 1.0, 1.0])}
    table = explain_charts.image_table(FRACTIONS, curve, curve, {"gradcam": (True, 0.4)}).set_index("Heatmap")
    assert table.loc["Grad-CAM", "Left under deletion"] == "50 %"
    assert table.loc["Grad-CAM", "Heat in the lesion"] == "40 %"
    assert table.loc["A random map", "Heat in the lesion"] == "–"
    assert explain_charts.image_table(None, {}, {}, {}).empty


def test_each_curve_is_told_apart_without_its_colour() -> None:
    curves = dict.fromkeys((*METHODS, *explain_charts.CONTROLS), FRACTIONS)
    drawn = explain_charts.curve_chart(FRACTIONS, curves, "of the image").data
    assert len({(line.marker.symbol, line.line.dash, line.mode) for line in drawn}) == len(curves)


def test_the_grid_has_a_picture_for_each_method_diagnosis_depth_and_run(
    served_run: Run, accepted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Run(shutil.copytree(served_run.folder, served_run.folder.with_name("other")))
    asked: list[tuple[str, str, str, str]] = []

    def remembered(run: Run, source: str, method: str, code: str, layer: str) -> np.ndarray:
        asked.append((run.id, method, code, layer))
        return np.eye(7, dtype=np.float32)

    monkeypatch.setattr(models, "explanation", remembered)
    app = open_page(served_run)
    app.pills(key="explain_methods").set_value(["gradcam", "layercam"])
    codes = next(field for field in app.multiselect if field.label == "Diagnoses")
    codes.set_value(["mel", "nv"])
    app.multiselect(key="explain_layers").set_value(["block5", "block6"])
    asked.clear()
    app.selectbox(key="explain_beside").set_value(other.id).run()
    assert not app.exception
    wanted = product((served_run.id, other.id), ("gradcam", "layercam"), ("mel", "nv"), ("block5", "block6"))
    assert sorted(asked) == sorted(wanted)
    assert f"run {other.id}, which answers" in texts(app)


def test_too_many_pictures_are_not_drawn(served_run: Run, accepted: None) -> None:
    app = open_page(served_run)
    app.pills(key="explain_methods").set_value(list(METHODS))
    layers = app.multiselect(key="explain_layers")
    layers.set_value([layer for layer in layers.options if layer != "each method's own"]).run()
    codes = next(field for field in app.multiselect if field.label == "Diagnoses")
    codes.set_value(["mel", "nv", "bcc"]).run()
    assert not app.exception
    assert "At most 48 pictures at once" in texts(app)
