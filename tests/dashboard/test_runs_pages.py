"""Runs beside each other: named, noted, deleted, compared, served and taken back."""

import shutil

import pytest
from streamlit.testing.v1 import AppTest

from core.evaluation import promotion
from core.places import PROJECT
from core.runs.all_runs import list_runs, promote, promotions
from core.runs.all_runs import served_run as served_now
from core.runs.run import CONFIG, PREDICTIONS, Run
from dashboard import loaders, picked
from tests.dashboard.conftest import texts

pytestmark = pytest.mark.usefixtures("one_model")


@pytest.fixture(autouse=True)
def selections(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DERMLENS_SELECTIONS", str(tmp_path / "selections"))


@pytest.fixture
def always_nevus(served_run, runs_folder) -> Run:
    """A second run on the same images, which calls everything a nevus; the served one is made always right."""
    run = Run(shutil.copytree(served_run.folder, runs_folder / "always-nevus"))
    table = run.predictions()
    run.write_csv(PREDICTIONS, table.assign(predicted="nv"))
    served_run.write_csv(PREDICTIONS, table.assign(predicted=table["dx"]))
    config = run.config().to_dict() | {"learning_rate": 0.01}
    run.write_json(CONFIG, config)
    return run


def open_page(name: str, run: Run) -> AppTest:
    app = AppTest.from_file(str(PROJECT / "dashboard" / "app.py"), default_timeout=60)
    app.query_params["run"] = run.id
    return app.run().switch_page(f"views/{name}.py").run()


def details_of(run: Run) -> AppTest:
    """The panel below the table of runs; a row of that table cannot be chosen in such a test."""

    def panel(run_id: str) -> None:
        from dashboard import loaders
        from dashboard.run_details import about

        about(next(card for card in loaders.run_cards() if card.run.id == run_id))

    return AppTest.from_function(panel, args=(run.id,), default_timeout=60).run()


def the_dialog(run_id: str) -> None:
    """As it is while it is open: such a test has no fragments, which keep it so."""
    from dashboard import loaders
    from dashboard.run_details import delete

    card = next((card for card in loaders.run_cards() if card.run.id == run_id), None)
    if card:
        delete(card)


def test_an_address_opens_the_run_that_it_names(served_run, always_nevus):
    app = open_page("overview", always_nevus)
    assert always_nevus.id in texts(app)


def test_a_run_gets_a_name_and_a_note(always_nevus):
    panel = details_of(always_nevus)
    panel.text_input(key=f"name_{always_nevus.id}").set_value("Baseline")
    panel.text_area(key=f"note_{always_nevus.id}").set_value("For the talk")
    panel.button(key="about_save").click().run()
    assert not panel.exception
    card = next(card for card in loaders.run_cards() if card.run.id == always_nevus.id)
    assert (card.name, card.note) == ("Baseline", "For the talk")


def test_a_run_is_deleted_only_after_it_was_asked(served_run, always_nevus):
    panel = details_of(always_nevus)
    panel.button(key="about_delete").click().run()
    assert "cannot be undone" in texts(panel)
    assert always_nevus.id in [run.id for run in list_runs()]
    dialog = AppTest.from_function(the_dialog, args=(always_nevus.id,), default_timeout=60).run()
    dialog.button(key="delete_for_good").click().run()
    assert [run.id for run in list_runs()] == [served_run.id]
    kept = details_of(served_run)
    assert "about_delete" not in [button.key for button in kept.button]


def test_a_run_that_is_served_since_it_was_asked_is_not_deleted(served_run, always_nevus):
    dialog = AppTest.from_function(the_dialog, args=(always_nevus.id,), default_timeout=60).run()
    promote(always_nevus)
    dialog.button(key="delete_for_good").click().run()
    assert "Serve another run first" in dialog.error[0].value
    assert always_nevus.usable and served_now().id == always_nevus.id


def test_two_runs_are_compared(served_run, always_nevus):
    app = open_page("training", served_run)
    app.multiselect(key=f"training_runs_{served_run.id}").set_value([served_run.id, always_nevus.id]).run()
    assert not app.exception
    table = always_nevus.predictions()
    broken = table[(table["split"] == "test") & (table["dx"] != "nv")]
    assert f"repairs **0** and breaks **{len(broken)}**" in texts(app)
    settings = next(frame.value for frame in app.dataframe if "Setting" in frame.value)
    assert settings["Setting"].tolist() == ["learning rate"]
    app.button(key="see_broken").click().run()
    token = app.query_params["picked"]
    pick = picked.find(token[0] if isinstance(token, list) else token)
    assert pick is not None and set(pick.image_ids) == set(broken["image_id"])


def test_a_worse_run_is_served_for_a_reason_and_taken_back_with_a_click(served_run, always_nevus):
    app = open_page("retrain", always_nevus)
    assert "chance does not explain it" in texts(app)
    assert app.button(key="retrain_promote").disabled
    app.text_input(key=f"promote_reason_{always_nevus.id}").set_value("to see what happens").run()
    app.button(key="retrain_promote").click().run()
    assert served_now().id == always_nevus.id
    assert promotions()[0]["reason"] == "to see what happens"
    app.button(key="rollback_1").click().run()
    assert served_now().id == served_run.id
    assert not promotion.judge(served_run).objections
