"""The evaluation page on trust: each section on new, old and external results, and what its controls do."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.config import TrainConfig
from core.diagnoses import CODES
from core.evaluation.operating import POINTS, score
from core.evaluation.subgroups import subgroup_figures
from core.evaluation.trust import Strangeness, Trust
from core.places import PROJECT
from core.runs import run as contract
from core.runs.run import Run
from core.runs.status import Status
from dashboard import picked, trust_sections, widgets
from dashboard.answers import Answers
from tests.dashboard.conftest import texts

pytestmark = pytest.mark.usefixtures("no_model")

APP = str(PROJECT / "dashboard" / "app.py")
SECTIONS = ("Probabilities", "Prediction sets", "Operating points", "Subgroups", "Refusal")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run without a model: answers on 700 images, and every figure of them."""
    run = Run.create(TrainConfig(dataset="synthetic"), tmp_path_factory.mktemp("made") / "trusted")
    run.write_status(Status(state="finished"))
    dice = np.random.default_rng(0)
    splits = pd.DataFrame({"image_id": [f"IMG_{number:04}" for number in range(700)]})
    splits["lesion_id"] = [f"LES_{number // 2:04}" for number in range(700)]
    lesion_dx = np.array(CODES)[dice.choice(7, 350, p=[0.2, 0.45, 0.1, 0.1, 0.1, 0.02, 0.03])]
    splits["dx"] = lesion_dx.repeat(2)
    splits["split"] = np.array(["calibration", "test"]).repeat(350)
    labels = splits["dx"].map(CODES.index).to_numpy()
    logits = dice.normal(size=(700, 7)) + 2 * np.eye(7)[labels]
    strange = dice.gamma(5, 1, 700)
    held = (splits["split"] == "calibration").to_numpy()
    trust = Trust.fit(run.config(), logits[held], labels[held], np.ones(7), Strangeness(strange[held], np.empty(0)))
    lesions, seed = splits["lesion_id"].to_numpy(), run.config().seed
    figures = {
        part: trust.figures(labels[rows], logits[rows], lesions[rows], strange[rows], seed)
        for part in ("calibration", "test")
        for rows in [(splits["split"] == part).to_numpy()]
    }
    probabilities = trust.calibration.probabilities(logits)
    table = splits[["image_id", "split", "dx"]].assign(predicted=np.array(CODES)[logits.argmax(axis=1)])
    table[[f"logit_{code}" for code in CODES]] = logits
    table[[f"p_{code}" for code in CODES]] = probabilities
    people = table[~held].assign(sex=["female", "male"] * 175, age=50, ita=dice.normal(45, 12, 350))
    run.write_csv(contract.SPLITS, splits)
    run.write_csv(contract.PREDICTIONS, table.assign(ood_score=strange))
    run.write_json(contract.METRICS, figures)
    run.write_json(contract.CALIBRATION, {**trust.to_dict(), "heatmap_scale": 1.0, "fitted_on": {"n": 350}})
    run.write_json(contract.SUBGROUPS, subgroup_figures(people, probabilities[~held], lesions[~held], seed))
    run.write_json(contract.MANIFEST, {"schema_version": contract.SCHEMA_VERSION, "data": {"folder": "gone"}})
    return run


@pytest.fixture
def trusted(made: Run, runs_folder: Path) -> Run:
    """A copy of that run, alone in a folder of runs."""
    shutil.copytree(made.folder, runs_folder / made.id)
    return Run(runs_folder / made.id)


def open_section(name: str, part: str | None = None) -> AppTest:
    """The evaluation page on one of its sections."""
    app = AppTest.from_file(APP, default_timeout=60).run().switch_page("views/evaluation.py").run()
    if part:
        next(group for group in app.get("button_group") if group.label == "Images").set_value(part).run()
    return app.segmented_control(key="evaluation_section").set_value(name).run()


def values(app: AppTest) -> dict[str, str]:
    """What the tiles show."""
    return {metric.label: metric.value for metric in app.metric}


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_of_each_part(section: str, trusted: Run) -> None:
    for part in ("test", "calibration"):
        app = open_section(section, part)
        assert not app.exception and not app.error, part
        assert app.subheader or "test images alone" in texts(app)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_run_of_an_older_dermlens_says_how_to_make_what_it_lacks(section: str, trusted: Run) -> None:
    figures = trusted.metrics()
    for part in figures.values():
        for name in ("calibration", "prediction_sets", "operating_points", "refusal", "melanoma_sensitivity"):
            del part[name]
    trusted.write_json(contract.METRICS, figures)
    trusted.write_json(contract.CALIBRATION, {"temperature": 1.2, "heatmap_scale": 1.0})
    (trusted.folder / contract.SUBGROUPS).unlink()
    app = open_section(section)
    assert not app.exception and not app.error
    assert [code.value for code in app.code] == [f"python -m core.evaluation --run {trusted.id}"]
    assert "Balanced accuracy" in values(app)


def test_calibration_shows_before_and_after(trusted: Run) -> None:
    after = trusted.metrics()["test"]["calibration"]["after"]
    app = open_section("Probabilities")
    assert values(app)["Calibration error"] == f"{100 * after['ece']['value']:.1f} %"
    assert values(app)["Brier score"] == f"{after['brier']['value']:.3f}"
    before = trusted.metrics()["test"]["calibration"]["before"]
    assert f"before calibration {100 * before['ece']['value']:.1f} %" in texts(app)
    for statement in ("melanoma", "malignant"):
        app.segmented_control(key="evaluation_statement").set_value(statement).run()
        assert not app.exception


def test_prediction_sets_follow_their_level(trusted: Run) -> None:
    stored = trusted.metrics()["test"]["prediction_sets"]
    app = open_section("Prediction sets")
    assert values(app)["Sets that hold the truth"] == f"{100 * stored['coverage']['value']:.1f} %"
    assert values(app)["Diagnoses in a set"] == f"{stored['mean_size']:.1f}"
    assert "No promise for Dermatofibroma" in texts(app)
    app.slider(key="evaluation_level").set_value(60).run()
    assert not app.exception
    assert float(values(app)["Diagnoses in a set"]) < stored["mean_size"]


def test_operating_points_are_those_that_were_stored(trusted: Run) -> None:
    app = open_section("Operating points")
    for name in POINTS:
        app.segmented_control(key="evaluation_point").set_value(name).run()
        stored = trusted.metrics()["test"]["operating_points"][name]
        for label, key in (
            ("Sensitivity", "sensitivity"),
            ("Specificity", "specificity"),
            ("PPV", "ppv"),
            ("NPV", "npv"),
        ):
            assert values(app)[label] == f"{100 * stored[key]['value']:.1f} %", name
            assert f"{100 * stored[key]['low']:.1f} to {100 * stored[key]['high']:.1f} %" in texts(app)
        assert "Choose another threshold" in texts(app)


def test_another_threshold_shows_the_images_that_change_sides(trusted: Run) -> None:
    point = trusted.calibration()["operating_points"]["melanoma"]
    table = trusted.predictions()
    table = table[table["split"] == "test"]
    scores = score(table[[f"p_{code}" for code in CODES]].to_numpy(), point["positives"])
    expected = ((scores >= point["threshold"]) != (scores >= 0.6)).sum()
    missed = table[(table["dx"] == "mel") & (scores >= point["threshold"]) & (scores < 0.6)]
    app = open_section("Operating points")
    app.segmented_control(key="evaluation_way").set_value("By hand").run()
    app.slider(key="evaluation_threshold_melanoma").set_value(60.0).run()
    assert not app.exception
    assert f"{expected:,} images change sides" in texts(app)
    picker = next(group for group in app.get("button_group") if group.label == "Images that change sides")
    assert picker.options[0] == f"{len(missed)} melanomas newly missed"
    shown = {button.key.removeprefix("sides_missed_") for button in app.button if "sides_" in (button.key or "")}
    assert shown - {"gallery"} and shown - {"gallery"} <= set(missed["image_id"])
    app.button(key="sides_missed_gallery").click().run()
    token = app.query_params["picked"]
    pick = picked.find(token if isinstance(token, str) else token[0])
    assert pick is not None and sorted(pick.image_ids) == sorted(missed["image_id"])


def test_every_dot_of_the_reliability_diagrams_has_its_images(trusted: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(widgets, "show_pick", lambda pick, part: opened.append(pick))
    answers = Answers.of_part(trusted, "test")
    for statement in trust_sections.STATEMENTS:
        name = "_".join(filter(None, ("reliability", statement)))
        for row in trusted.metrics()["test"]["calibration"]["after"][name]:
            trust_sections.open_bin(answers, statement, (row["n"], row["low"], row["high"]))
            assert len(opened.pop().image_ids) == row["n"]


def test_a_higher_sensitivity_is_bought_with_specificity(trusted: Run) -> None:
    app = open_section("Operating points")
    app.segmented_control(key="evaluation_way").set_value("For another sensitivity").run()
    before = values(app)
    app.slider(key="evaluation_target_melanoma").set_value(98).run()
    after = values(app)
    assert float(after["Sensitivity"][:-2]) > float(before["Sensitivity"][:-2])
    assert float(after["Specificity"][:-2]) < float(before["Specificity"][:-2])


def test_the_prevalence_changes_predictive_values_alone(trusted: Run) -> None:
    app = open_section("Operating points")
    before = values(app)
    app.number_input(key="evaluation_prevalence_melanoma").set_value(1.0).run()
    after = values(app)
    assert not app.exception
    assert after["Sensitivity"] == before["Sensitivity"] and after["Specificity"] == before["Specificity"]
    assert float(after["PPV"][:-2]) < float(before["PPV"][:-2]) / 2
    assert "10 are melanomas" in texts(app)  # of 1,000
    assert "Where 1.0 % of lesions are melanomas" in texts(app)  # a probability means less there


def test_a_probability_is_moved_from_where_it_was_fitted_not_from_the_images_shown(trusted: Run) -> None:
    calibration = trusted.calibration()
    calibration["operating_points"]["melanoma"] |= {"n_positive": 35, "threshold": 0.1}  # of 350
    trusted.write_json(contract.CALIBRATION, calibration)
    app = open_section("Operating points")
    app.number_input(key="evaluation_prevalence_melanoma").set_value(50.0).run()
    assert "what it calls 10.0 % means 50.0 %" in texts(app)


def test_subgroups_name_the_largest_gap_and_call_skin_tone_a_proxy(trusted: Run) -> None:
    app = open_section("Subgroups")
    assert "The largest gap." in texts(app)
    assert "proxy" not in texts(app)
    next(group for group in app.get("button_group") if group.label == "Groups by").set_value("ita").run()
    assert not app.exception
    assert "proxy" in texts(app)
    app.segmented_control(key="evaluation_measure").set_value("ece").run()
    assert not app.exception


def test_refusal_shows_the_strangest_images(trusted: Run) -> None:
    table = trusted.predictions()
    table = table[table["split"] == "test"].sort_values("ood_score", ascending=False)
    app = open_section("Refusal")
    keys = [button.key for button in app.button if (button.key or "").startswith("refused_")]
    assert keys[0] == f"refused_{table['image_id'].iloc[0]}"


@pytest.mark.parametrize("section", SECTIONS)
def test_a_published_copy_which_holds_no_predictions_opens(section: str, trusted: Run) -> None:
    for name in (contract.PREDICTIONS, contract.SPLITS):
        (trusted.folder / name).unlink()
    app = open_section(section)
    assert not app.exception


@pytest.mark.parametrize("section", SECTIONS)
def test_an_external_evaluation_has_the_same_sections(section: str, trusted: Run, tmp_path: Path) -> None:
    place = f"{contract.EVALUATIONS}/elsewhere-1"
    table = trusted.predictions()
    data = {"folder": str(tmp_path / "gone"), "images": 350, "known_to_the_run": 0}
    trusted.write_json(f"{place}/{contract.METRICS}", {"data": data, "metrics": trusted.metrics()["test"]})
    trusted.write_csv(f"{place}/{contract.PREDICTIONS}", table[table["split"] == "test"].assign(split="external"))
    trusted.write_json(f"{place}/{contract.SUBGROUPS}", trusted.subgroups())
    app = open_section(section, "external: elsewhere-1")
    assert not app.exception and not app.error and not app.code
    trusted.write_json(f"{place}/{contract.METRICS}", {"data": data, "metrics": {"n": 350}})  # an older one
    for name in (contract.PREDICTIONS, contract.SUBGROUPS):
        (trusted.folder / place / name).unlink()
    app = open_section(section, "external: elsewhere-1")
    assert not app.exception and not app.error
    assert f'--data-dir "{tmp_path / "gone"}"' in app.code[0].value
