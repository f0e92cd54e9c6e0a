"""Every page on every kind of run: it shows what is there, says what is not, and never throws."""

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox

from core.config import TrainConfig
from core.diagnoses import CODES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.errors import RunBusyError
from core.places import PROJECT
from core.presets import PRESETS
from core.runs import jobs
from core.runs import run as contract
from core.runs.all_runs import served_run as served_run_now
from core.runs.run import Run, Status
from dashboard import models, published_section
from dashboard.charts import name_of
from tests.dashboard.conftest import texts

APP = str(PROJECT / "dashboard" / "app.py")
PAGES = ("overview", "dataset", "training", "evaluation", "gallery", "explain", "retrain")


pytestmark = pytest.mark.usefixtures("one_model")


def open_page(name: str) -> AppTest:
    """The dashboard, on one of its pages."""
    app = AppTest.from_file(APP, default_timeout=60).run()
    return app if name == "overview" else app.switch_page(f"views/{name}.py").run()


def picker(app: AppTest) -> Selectbox:
    """The sidebar's choice of a run."""
    return app.sidebar.selectbox[0]


def unfinished(served: Run, state: str) -> Run:
    """The only run of the folder, as it would be found in that state."""
    if state == "newer schema":
        served.write_json(contract.MANIFEST, served.manifest() | {"schema_version": 99})
        return served
    for name in (contract.METRICS, contract.PREDICTIONS, contract.CALIBRATION, contract.MODEL):
        (served.folder / name).unlink()
    rows = (served.folder / contract.HISTORY).read_text().splitlines()
    (served.folder / contract.HISTORY).write_text("\n".join([*rows[:2], rows[2][:9]]))  # the last line is cut off
    if state == "queued":
        for name in (contract.MANIFEST, contract.HISTORY, contract.SPLITS):
            (served.folder / name).unlink()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    pid = ended.pid if state == "lost" else os.getpid()
    written = "running" if state == "lost" else state
    error = "The disk is full." if state == "failed" else None
    served.write_status(Status(state=written, phase="training", epoch=1, epochs=3, pid=pid, error=error))
    return served


def every_page() -> Iterator[tuple[str, AppTest]]:
    """Each page in turn, as one visitor walks through them."""
    app = AppTest.from_file(APP, default_timeout=60).run()
    for page in PAGES:
        yield page, app.switch_page(f"views/{page}.py").run()


def test_without_any_run_each_page_says_how_to_make_one(runs_folder: Path) -> None:
    for page, app in every_page():
        assert not app.exception, page
        assert RESEARCH_NOTICE in texts(app), page
        if page == "retrain":
            assert app.button(key="retrain_start")
        else:
            assert "make demo" in [code.value for code in app.code], page


def test_each_page_shows_a_finished_run(served_run: Run) -> None:
    for page, app in every_page():
        assert not app.exception and not app.error, page
        assert app.title[0].value, page
        assert RESEARCH_NOTICE in texts(app), page
        assert SYNTHETIC_NOTICE in texts(app), page


@pytest.mark.parametrize("state", ["queued", "running", "failed", "stopped", "lost", "newer schema"])
def test_each_page_speaks_of_a_run_without_results(state: str, served_run: Run) -> None:
    unfinished(served_run, state)
    for page, app in every_page():
        assert not app.exception, page
        if state == "newer schema" and page not in ("training", "retrain"):
            assert "schema version" in app.error[0].value, page
        elif page in ("evaluation", "gallery", "explain"):
            assert f"**{state}**" in texts(app), page


def test_each_page_says_that_a_data_folder_is_gone(served_run: Run, tmp_path: Path) -> None:
    manifest = served_run.manifest()
    manifest["data"]["folder"] = str(tmp_path / "gone")
    served_run.write_json(contract.MANIFEST, manifest)
    for page, app in every_page():
        assert not app.exception, page
        if page in ("dataset", "gallery", "explain"):
            assert "not there any more" in texts(app), page


@pytest.mark.parametrize("name", [contract.CONFIG, contract.MANIFEST, contract.STATUS, contract.METRICS])
def test_a_damaged_file_is_a_sentence(name: str, served_run: Run) -> None:
    (served_run.folder / name).write_text("{ not JSON")
    said = ""
    for page, app in every_page():
        assert not app.exception, page
        said += texts(app)
    assert f"{name} must hold JSON. Received: {served_run.folder / name}" in said or name == contract.CONFIG


def test_a_damaged_table_is_a_sentence(served_run: Run) -> None:
    (served_run.folder / contract.PREDICTIONS).write_text('image_id,split\n"a,test\n')
    for page, app in every_page():
        assert not app.exception, page
        assert page != "gallery" or "predictions.csv must hold a table" in texts(app)


def test_the_headline_stands_beside_what_always_nevus_scores(served_run: Run) -> None:
    app = open_page("overview")
    test = served_run.metrics()["test"]
    values = {metric.label: metric.value for metric in app.metric}
    assert values["Balanced accuracy"] == f"{100 * test['balanced_accuracy']['value']:.1f} %"
    assert values["Accuracy"] == f"{100 * test['accuracy']['value']:.1f} %"
    assert f"would score {100 * test['always_nevus_accuracy']:.1f} %" in texts(app)


@pytest.mark.parametrize("section", ["Diagnoses", "Patients", "Lesions", "Images", "Leakage and gaps"])
def test_each_section_of_the_data_set(section: str, served_run: Run) -> None:
    app = open_page("dataset")
    app.segmented_control(key="dataset_section").set_value(section).run()
    assert not app.exception and not app.error


def test_the_gallery_shows_as_many_cards_as_the_matrix_counts(served_run: Run) -> None:
    counts = served_run.metrics()["test"]["confusion"]
    row, column = next((r, c) for r in range(7) for c in range(7) if r != c and counts["counts"][r][c])
    app = open_page("gallery")
    app.selectbox(key="truth").set_value(name_of(counts["labels"][row]))
    app.selectbox(key="said").set_value(name_of(counts["labels"][column]))
    app.run()
    cards = [button for button in app.button if (button.key or "").startswith("open_")]
    assert len(cards) == counts["counts"][row][column]


def test_the_gallery_turns_its_pages(served_run: Run) -> None:
    app = open_page("gallery")
    app.segmented_control(key="part").set_value("train")
    app.segmented_control(key="answers").set_value("All").run()
    total = int((served_run.predictions()["split"] == "train").sum())
    assert f"**{total} images**, 1 to 12 shown" in texts(app)
    app.session_state["page"] = 2
    assert "13 to 24 shown" in texts(app.run())
    app.segmented_control(key="answers").set_value("Right").run()
    assert app.session_state["page"] == 1


def test_explain_finds_an_image_by_its_id(served_run: Run) -> None:
    splits = served_run.splits()
    app = open_page("explain")
    app.text_input(key="explain_image").set_value(splits["image_id"].iloc[0].lower()).run()
    assert not app.exception
    assert "The answer is" in texts(app)
    app.text_input(key="explain_image").set_value("no such image").run()
    assert "No image of this data set is called 'no such image'." in texts(app)


def test_explain_takes_another_image_where_another_run_learned_from_other_data(
    served_run: Run, runs_folder: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(served_run.manifest()["data"]["folder"], tmp_path / "data")
    for path in (data / "images").iterdir():
        path.rename(path.with_name(path.name.replace("SYN_", "OTHER_")))
    table = data / "HAM10000_metadata.csv"
    table.write_text(table.read_text().replace("SYN_", "OTHER_"))
    other = Run(shutil.copytree(served_run.folder, runs_folder / "elsewhere"))
    manifest = other.manifest()
    other.write_json(contract.MANIFEST, manifest | {"data": manifest["data"] | {"folder": str(data)}})
    app = open_page("explain")
    picker(app).set_value("elsewhere").run()
    assert not app.exception
    assert app.text_input(key="explain_image").value.startswith("OTHER_")
    assert "The answer is" in texts(app)


def test_a_link_to_a_run_that_is_gone_says_so(served_run: Run) -> None:
    app = AppTest.from_file(APP, default_timeout=60)
    app.query_params["run"] = "deleted-since"
    app.run()
    assert "There is no run deleted-since here any more." in [warning.value for warning in app.sidebar.warning][0]
    app.run()
    assert not app.sidebar.warning


def test_the_form_has_a_field_for_every_setting(served_run: Run) -> None:
    app = open_page("retrain")
    fields = [*app.selectbox, *app.toggle, *app.number_input, *app.text_input]
    prefix = f"retrain_{served_run.id}_same_"
    shown = {field.key.removeprefix(prefix) for field in fields if (field.key or "").startswith(prefix)}
    assert shown == {setting.name for setting in dataclasses.fields(TrainConfig)}


def test_the_form_starts_what_was_entered(served_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[TrainConfig] = []

    def start(config: TrainConfig, wait: bool) -> Run:
        started.append(config)
        return served_run

    monkeypatch.setattr(jobs, "start", start)
    app = open_page("retrain")
    app.number_input(key=f"retrain_{served_run.id}_same_epochs").set_value(9)
    app.selectbox(key=f"retrain_{served_run.id}_same_train_from").set_value("top")
    app.button(key="retrain_start").click().run()
    assert not app.exception
    assert started == [dataclasses.replace(served_run.config(), epochs=9, train_from="top")]


def test_a_busy_machine_is_said(served_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(config: TrainConfig, wait: bool) -> Run:
        raise RunBusyError("One training runs at a time.")

    monkeypatch.setattr(jobs, "start", start)
    app = open_page("retrain")
    app.button(key="retrain_start").click().run()
    assert not app.exception
    assert "One training runs at a time." in texts(app)


def test_a_stopped_run_can_go_on(served_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished(served_run, "stopped")
    resumed: list[str] = []
    monkeypatch.setattr(jobs, "resume", lambda run, wait: resumed.append(run.id))
    app = open_page("retrain")
    app.button(key="retrain_resume").click().run()
    assert resumed == [served_run.id]


def test_a_running_one_can_be_stopped(served_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished(served_run, "running")
    stopped: list[str] = []
    monkeypatch.setattr(jobs, "stop", lambda run: stopped.append(run.id))
    app = open_page("retrain")
    assert "Left in this phase" in texts(app)
    app.button(key="retrain_stop").click().run()
    assert stopped == [served_run.id]


def test_another_run_can_be_served(served_run: Run) -> None:
    other = served_run.folder.with_name("another")
    shutil.copytree(served_run.folder, other)
    app = open_page("retrain")
    picker(app).set_value("another").run()
    app.button(key="retrain_promote").click().run()
    assert not app.exception
    assert served_run_now().id == "another"
    assert "**is served**" in texts(app)


def test_the_label_of_a_run_follows_its_state(served_run: Run) -> None:
    """The picker once went on saying "queued" for a run that had long been finished."""
    status = served_run.status()
    served_run.write_status(Status(state="running", pid=os.getpid()))
    app = open_page("overview")
    served_run.write_status(status)
    app.run()
    assert "running" not in picker(app).options[0]
    assert picker(app).value == served_run.id


def test_streamlit_does_not_clear_keras_while_a_model_loads() -> None:
    """After each page Streamlit cleared Keras's session: 0.35 s a page, and the ruin of a model being loaded."""
    from streamlit.runtime.scriptrunner import script_runner

    assert script_runner._clean_problem_modules.__module__ == models.__name__
    source = Path(script_runner.__file__).read_text()
    assert "_log_if_error(_clean_problem_modules)" in source  # else the name has changed, and nothing is replaced


@pytest.mark.parametrize(
    ("known", "says"), [(0, "never learned from"), (3, "the figures are too good"), (None, "does not say whether")]
)
def test_an_external_evaluation_says_what_the_run_knew(served_run: Run, known: int | None, says: str) -> None:
    data = {"folder": "elsewhere", "images": 90, "known_to_the_run": known}
    name = f"{contract.EVALUATIONS}/elsewhere-1/{contract.METRICS}"
    served_run.write_json(name, {"data": data, "metrics": served_run.metrics()["test"]})
    app = open_page("evaluation")
    parts = next(group for group in app.get("button_group") if group.label == "Images")
    parts.set_value("external: elsewhere-1").run()
    assert not app.exception
    assert says in texts(app)


# ---- presets and the queue -----------------------------------------------------------------------


def test_a_preset_fills_the_form(served_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[TrainConfig] = []
    monkeypatch.setattr(jobs, "start", lambda config, wait: started.append(config) or served_run)
    app = open_page("retrain")
    app.radio(key="retrain_preset").set_value("blocks").run()
    app.button(key="retrain_start").click().run()
    assert not app.exception
    assert started == [PRESETS["blocks"].apply(served_run.config())]


def test_each_preset_says_what_it_costs_here(served_run: Run) -> None:
    """The tiny run is what this machine has measured."""
    app = open_page("retrain")
    captions = app.radio(key="retrain_preset").captions
    assert len(captions) == len(PRESETS)
    assert all("At most about" in caption and " here" in caption for caption in captions)
    assert "estimated from other trainings" in captions[list(PRESETS).index("all")]
    assert f"for {served_run.config().epochs} epochs" in texts(app)


def test_what_is_started_beside_another_training_waits_for_it(
    served_run: Run, runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = Run.create(TrainConfig(), runs_folder / "under-way")
    under_way.write_status(Status(state="running", phase="training", pid=os.getpid()))
    waits = Run.create(TrainConfig(seed=9), runs_folder / "waits")
    waits.write_status(Status(state="queued", phase="waiting", message="Waiting for under-way.", pid=os.getpid()))
    asked: list[bool] = []
    stopped: list[str] = []
    monkeypatch.setattr(jobs, "start", lambda config, wait: asked.append(wait) or served_run)
    monkeypatch.setattr(jobs, "stop", lambda run: stopped.append(run.id))
    app = open_page("retrain")
    assert "Under way: under-way" in texts(app) and "**Queued (1)**" in texts(app)
    assert app.button(key="retrain_start").label == "Add to the queue"
    app.button(key="retrain_start").click().run()
    assert asked == [True]
    app.button(key="unqueue_waits").click().run()
    assert not app.exception and stopped == ["waits"]


# ---- external evaluations ------------------------------------------------------------------------


def test_the_images_of_an_external_evaluation_open_in_the_gallery(served_run: Run, tiny_data: Path) -> None:
    """Each cell of its matrix leads to as many images, with what is known of them and their heatmaps."""
    from core.evaluation.__main__ import evaluate_on

    evaluate_on(served_run, tiny_data)
    name, content = next(iter(served_run.evaluations().items()))
    counts = content["metrics"]["confusion"]["counts"]
    truth, said = next((t, s) for t in range(7) for s in range(7) if counts[t][s])
    app = AppTest.from_file(APP, default_timeout=60).run().switch_page("views/gallery.py")
    address = {"part": f"external: {name}", "answers": "All"}
    address |= {"truth": name_of(CODES[truth]), "said": name_of(CODES[said])}
    for key, value in address.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    count = counts[truth][said]
    assert any(text.value.startswith(f"**{count} image") for text in app.markdown)
    cards = [button.key for button in app.button if (button.key or "").startswith("open_SYN")]
    assert len(cards) == min(count, 12)
    app.button(key=cards[0]).click().run()
    assert not app.exception and app.title[0].value == "Explain"
    assert app.selectbox(key="explain_of").value == f"external: {name}"
    assert app.text_input(key="explain_image").value == cards[0].removeprefix("open_")


# ---- published figures ---------------------------------------------------------------------------


def test_published_figures_name_the_split_of_each() -> None:
    figures = {"n": 1501, "balanced_accuracy": {"value": 0.546}, "always_nevus_accuracy": 0.67}
    table = published_section.as_table(figures)
    assert table.loc[0, "Balanced accuracy"] == "54.6 %" and table.loc[1, "Balanced accuracy"] == "14.3 %"
    assert table["Split"].str.len().min() > 5
    linked = table["Source"].str.startswith("[open](https://")
    assert linked[table["Split"].str.startswith("by lesion")][1:].all()
    assert table.loc[table["Split"].str.startswith("by image"), "Balanced accuracy"].tolist() == ["–"]


def test_published_figures_are_for_runs_on_the_same_images(served_run: Run) -> None:
    assert "published networks" not in texts(open_page("evaluation")), "drawn images"
    manifest, splits = served_run.manifest(), served_run.splits()
    served_run.write_json(contract.MANIFEST, manifest | {"data": manifest["data"] | {"synthetic": False}})
    assert "published networks" not in texts(open_page("evaluation")), "another clinic's"
    served_run.write_csv(
        contract.SPLITS, splits.assign(image_id=[f"ISIC_{24306 + row:07}" for row in range(len(splits))])
    )
    assert "published networks" in texts(open_page("evaluation"))
