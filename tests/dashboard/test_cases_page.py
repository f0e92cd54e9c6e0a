"""The page Cases: what was kept is seen, corrected, compared, deleted and handed over to training."""

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.cases.log import Case, CaseLog, NewCase
from core.data.ham10000 import load_dataset
from core.diagnoses import CODES, RESEARCH_NOTICE
from core.errors import CaseLogError
from core.places import PROJECT
from dashboard import case_sections, findings
from tests.dashboard.conftest import opened, texts

pytestmark = pytest.mark.usefixtures("no_model")

APP = str(PROJECT / "dashboard" / "app.py")


@pytest.fixture
def log(runs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CaseLog:
    """An empty log, and no run."""
    monkeypatch.setenv("DERMLENS_CASES", f"sqlite:///{tmp_path / 'log' / 'cases.sqlite'}")
    return CaseLog()


def keep(
    log: CaseLog, said: str = "mel", run: str = "one", synthetic: bool = False, refused: bool = False, **more
) -> Case:
    image = np.random.default_rng(len(log.cases())).integers(0, 256, (60, 80, 3), np.uint8)
    probabilities = {code: 0.7 if code == said else 0.05 for code in CODES}
    prediction = {
        "diagnosis": said,
        "probabilities": probabilities,
        "run": run,
        "synthetic": synthetic,
        "refused": refused,
    }
    return log.add(NewCase(image=image, prediction=prediction, model_sha256="ab" * 32, **more))  # fmt: skip


def page(section: str = case_sections.LIST) -> AppTest:
    return opened("cases", section)


def fields(app: AppTest, case: Case) -> dict[str, str]:
    """Name of each field of the form -> its key."""
    keys = [one.key for one in (*app.selectbox, *app.text_area) if one.key and one.key.startswith(f"cases_{case.id}")]
    return {name: key for key in keys for name in ("reader_diagnosis", "histology", "comment") if key.endswith(name)}


def save(app: AppTest) -> AppTest:
    next(button for button in app.button if button.label == "Save").click().run()
    assert not app.exception
    return app


def test_an_empty_log_says_what_to_do_and_is_not_made_by_looking(log, tmp_path):
    text = texts(page())
    assert "No case was kept yet" in text and "Keep this case" in text
    assert "kept only when somebody asked for it" in text and log.address in text and RESEARCH_NOTICE in text
    assert not (tmp_path / "log").exists()


def test_the_newest_case_is_shown_with_what_was_said_of_it(log):
    keep(log)
    case = keep(
        log, "bcc", age=61, sex="female", site="back", lesion="left calf", own_impression="nv", comment="itches"
    )
    app = page()
    text = texts(app)
    assert "2** of 2 cases" in text and case.id in text
    assert "Model's answer: **Basal cell carcinoma**" in text and "before it: **Melanocytic nevus**" in text
    assert "61 years, female, back" in text and "left calf" in text
    assert app.text_area(key=fields(app, case)["comment"]).value == "itches"
    assert len(app.get("plotly_chart")) == 1 and len(app.get("image")) == 1


def test_cases_are_filtered_by_what_they_are_taken_for(log):
    confirmed = keep(log, "mel", reader_diagnosis="mel", run="two")
    log.update(confirmed.id, histology="nv")
    opened = keep(log, "nv")
    app = page()
    assert app.selectbox(key="cases_chosen").value == opened.id
    app.selectbox(key="cases_code").set_value("nv").run()
    assert "2** of 2" in texts(app)
    app.selectbox(key="cases_code").set_value("mel").run()
    assert "No case passes" in texts(app)
    app.selectbox(key="cases_code").set_value(None).run()
    app.selectbox(key="cases_state").set_value(case_sections.CONFIRMED).run()
    assert app.selectbox(key="cases_chosen").value == confirmed.id
    app.selectbox(key="cases_state").set_value(case_sections.OPEN).run()
    assert app.selectbox(key="cases_chosen").value == opened.id
    app.selectbox(key="cases_state").set_value(None).run()
    app.selectbox(key="cases_run").set_value("two").run()
    assert "1** of 2" in texts(app) and not app.exception


def test_histology_is_entered_later_and_corrected(log):
    case = keep(log, reader_diagnosis="bkl", comment="first")
    app = page()
    app.selectbox(key=fields(app, case)["histology"]).set_value("mel")
    save(app)
    found = log.get(case.id)
    assert (found.histology, found.reader_diagnosis, found.comment) == ("mel", "bkl", "first")
    assert "Histology entered" in texts(app)
    app.selectbox(key=fields(app, case)["histology"]).set_value("nv")
    app.text_area(key=fields(app, case)["comment"]).set_value("revised by a second pathologist")
    save(app)
    assert (log.get(case.id).histology, log.get(case.id).comment) == ("nv", "revised by a second pathologist")


def test_what_somebody_else_entered_meanwhile_is_not_overwritten(log):
    case = keep(log)
    app = page()
    log.update(case.id, histology="df")  # in another browser
    app.text_area(key=fields(app, case)["comment"]).set_value("mine")
    save(app)
    assert log.get(case.id).histology == "df"
    assert "Somebody else has changed this case" in app.warning[0].value
    assert app.selectbox(key=fields(app, case)["histology"]).value == "df"
    assert app.text_area(key=fields(app, case)["comment"]).value == "mine", "what was typed is not lost"
    save(app)
    assert (log.get(case.id).histology, log.get(case.id).comment) == ("df", "mine")
    assert not [said for said in app.warning if "Somebody else" in said.value]


def the_dialog(key: str) -> None:
    from core.cases.log import CaseLog
    from dashboard.case_sections import delete

    log = CaseLog()
    if any(case.id == key for case in log.cases()):
        delete(log, log.get(key))


def test_a_case_is_deleted_only_after_it_was_asked(log):
    case, other = keep(log), keep(log)
    app = page()
    app.selectbox(key="cases_chosen").set_value(case.id).run()
    app.button(key="cases_delete").click().run()
    assert "cannot be undone" in texts(app) and len(log.cases()) == 2
    dialog = AppTest.from_function(the_dialog, args=(case.id,), default_timeout=60).run()
    dialog.button(key="cases_delete_for_good").click().run()
    assert not dialog.exception
    assert [one.id for one in log.cases()] == [other.id]
    with pytest.raises(CaseLogError):
        log.image(case.id)


def test_cases_of_a_model_of_drawn_images_are_marked(log):
    keep(log, synthetic=True)
    app = page()
    assert "model of drawn images" in texts(app)
    assert app.dataframe[0].value["Drawn"].tolist() == ["model of drawn images"]


def test_a_refused_case_is_marked(log):
    keep(log, refused=True)
    assert "refused" in texts(page())


def test_what_is_taken_away_holds_no_image_and_says_what_it_is_for(log):
    keep(log, comment="itches")
    text = findings.as_csv(log.table(), log.table()["synthetic"]).decode()
    assert RESEARCH_NOTICE in text and "itches" in text and "PNG" not in text


def tiles(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_the_agreement_has_intervals_and_counts(log):
    for said, before, after, truth in [
        ("mel", "nv", "mel", "mel"),
        ("nv", "nv", "nv", "nv"),
        ("nv", "mel", "nv", "mel"),
        ("bcc", "bkl", "bkl", "bcc"),
    ]:
        log.update(keep(log, said, own_impression=before, reader_diagnosis=after).id, histology=truth)
    keep(log, "nv", reader_diagnosis="nv")
    app = page(case_sections.AGREEMENT)
    found = tiles(app)
    assert (found["Model"], found["Model, all"]) == ("75.0 %", "80.0 %")
    assert (found["Reader before"], found["Reader after"]) == ("50.0 %", "50.0 %")
    assert (found["Changed the mind"], found["Towards the truth"], found["Away from it"]) == (
        "50.0 %",
        "50.0 %",
        "50.0 %",
    )
    text = texts(app)
    assert "4 cases of 4 lesions" in text and "kappa 0.64" in text and "95 % interval" in text
    assert "Fewer than 20 cases" in text


def test_without_histology_the_agreement_says_what_is_missing(log):
    keep(log)
    app = page(case_sections.AGREEMENT)
    assert "Nothing can be compared yet" in texts(app) and tiles(app)["Model"] == "–"


def test_confirmed_cases_are_handed_over_with_the_command_to_train(log, tmp_path):
    log.update(keep(log).id, histology="nv")
    app = page(case_sections.HAND_OVER)
    assert app.text_input(key="cases_folder").value == str(tmp_path / "log" / "confirmed")
    app.text_input(key="cases_folder").set_value(str(tmp_path / "a folder")).run()
    app.button(key="cases_hand_over").click().run()
    assert "1 image of 1 lesion" in texts(app) and "Extra folders" in texts(app)
    assert f"--data-dir '{tmp_path / 'a folder'}'" in app.code[0].value
    assert load_dataset(tmp_path / "a folder").images["dx"].tolist() == ["nv"]


def test_a_folder_with_something_else_is_refused_in_a_sentence(log, tmp_path):
    log.update(keep(log).id, histology="nv")
    (tmp_path / "thesis.docx").touch()
    app = page(case_sections.HAND_OVER)
    app.text_input(key="cases_folder").set_value(str(tmp_path)).run()
    app.button(key="cases_hand_over").click().run()
    assert "folder of their own" in app.error[0].value and not app.exception


def test_drawn_cases_are_handed_over_only_when_that_is_said(log, tmp_path):
    log.update(keep(log, synthetic=True).id, histology="nv")
    app = page(case_sections.HAND_OVER)
    app.button(key="cases_hand_over").click().run()
    assert "no folder" in app.warning[0].value and not (tmp_path / "log" / "confirmed").exists()
    app.toggle(key="cases_drawn").set_value(True).run()
    app.button(key="cases_hand_over").click().run()
    assert len(load_dataset(tmp_path / "log" / "confirmed").images) == 1


def test_the_command_names_the_data_of_the_chosen_run(module_run, tmp_path):
    assert "--data-dir FOLDER" in case_sections.command(tmp_path / "x", None)
    text = case_sections.command(tmp_path / "x", module_run)
    own = module_run.manifest()["data"]["folder"]
    assert text == f"python train.py --data-dir {own} --data-dir {tmp_path / 'x'}"


def test_a_database_that_cannot_be_reached_is_one_sentence(runs_folder, monkeypatch):
    monkeypatch.setenv("DERMLENS_CASES", "postgresql+psycopg://somebody:secret@127.0.0.1:1/cases")
    app = page()
    assert "127.0.0.1" in app.error[0].value and "secret" not in texts(app)


def test_the_form_of_a_training_has_the_field(served_run):
    app = AppTest.from_file(APP, default_timeout=60).run()
    app.switch_page("views/retrain.py").run()
    assert "Extra folders" in [one.label for one in app.text_input]
