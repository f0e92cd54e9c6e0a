"""Subgroups: who is in which, what is few, and which gaps are real."""

import json

import numpy as np
import pandas as pd
import pytest

from core.diagnoses import CODES
from core.evaluation.metrics import evaluate
from core.evaluation.subgroups import gap_in_words, subgroup_figures
from core.runs.files import without_nan


def example(n: int = 600, seed: int = 0) -> pd.DataFrame:
    """Half melanomas, half nevi, answered right in 70 %, with nothing known of anybody."""
    dice = np.random.default_rng(seed)
    truth = np.where(dice.random(n) < 0.5, "mel", "nv")
    other = np.where(truth == "mel", "nv", "mel")
    table = pd.DataFrame({"dx": truth, "predicted": np.where(dice.random(n) < 0.7, truth, other)})
    return table.assign(sex="", age=np.nan, localization="", dx_type="", ita=np.nan)


def probabilities_of(table: pd.DataFrame, confidence: float = 0.7) -> np.ndarray:
    """That confidence in each answer, the rest on the other of the two."""
    said = table["predicted"].map(CODES.index).to_numpy()
    return confidence * np.eye(7)[said] + (1 - confidence) * np.eye(7)[1 - said]


def figures_of(table: pd.DataFrame, confidence: float = 0.7) -> dict:
    return subgroup_figures(table, probabilities_of(table, confidence), np.arange(len(table)))


def test_a_groups_figures_are_those_of_its_images_alone():
    table = example()
    table["sex"] = np.where(np.arange(600) < 250, "female", "male")
    group = figures_of(table)["groups"]["sex"]["female"]
    inside = table.iloc[:250]
    labels, answers = (inside[name].map(CODES.index).to_numpy() for name in ("dx", "predicted"))
    expected = evaluate(labels, probabilities_of(inside), np.arange(250), predicted=answers)
    assert group["n"] == group["n_lesions"] == 250 and group["diagnoses"] == 2 and not group["few"]
    assert group["balanced_accuracy"] == pytest.approx(expected["balanced_accuracy"])
    for name, value in expected["melanoma_sensitivity"].items():
        assert group["melanoma_sensitivity"][name] == pytest.approx(value)


@pytest.mark.parametrize(
    ("column", "value", "group"),
    [
        ("age", 0, "under 30"),
        ("age", 29.9, "under 30"),
        ("age", 30, "30 to 44"),
        ("age", 60, "60 to 74"),
        ("age", 75, "75 and over"),
        ("ita", 55.1, "very light"),
        ("ita", 55, "light"),
        ("ita", 41, "intermediate"),
        ("ita", 28, "tan"),
        ("ita", 10, "brown"),
        ("ita", -30, "dark"),
        ("ita", -80, "dark"),
        ("localization", "lower extremity", "lower extremity"),
        ("dx_type", "histo", "histo"),
    ],
)
def test_bands_end_where_the_papers_say(column, value, group):
    table = example(40)
    table[column] = value
    assert list(figures_of(table)["groups"][column]) == [group]


def test_what_is_unknown_is_in_no_group_and_missing_columns_are_no_error():
    table = example(50)
    table.loc[:9, "sex"], table.loc[10:19, "sex"] = "male", "unknown"
    figures = figures_of(table)
    assert list(figures["groups"]) == ["sex"] and list(figures["groups"]["sex"]) == ["male"]
    assert figures["groups"]["sex"]["male"]["n"] == 10
    bare = figures_of(table[["dx", "predicted"]])
    assert bare["groups"] == {} and bare["gaps"] == {} and bare["largest_gap"] is None


def test_a_planted_gap_is_named_and_clear():
    table = example(1200)
    site = np.where(np.arange(1200) % 2 == 0, "face", "back")
    wrong = (site == "face") & (np.arange(1200) % 3 != 0)
    table["localization"], table["sex"] = site, np.where(np.arange(1200) % 4 < 2, "female", "male")
    table.loc[wrong, "predicted"] = np.where(table.loc[wrong, "dx"] == "mel", "nv", "mel")
    figures = figures_of(table)
    largest = figures["largest_gap"]
    assert (largest["by"], largest["better"], largest["worse"], largest["clear"]) == (
        "localization",
        "back",
        "face",
        True,
    )
    assert largest["gap"]["value"] > 0.3 and largest["gap"]["low"] > 0.2
    assert not figures["gaps"]["sex"]["balanced_accuracy"]["clear"]
    assert "chance does not explain it" in gap_in_words(largest) and "back" in gap_in_words(largest)


def test_a_gap_by_chance_is_not_called_clear():
    """Ten sites, forty-five pairs: some pair always looks bad."""
    called_clear = 0
    for seed in range(8):
        table = example(600, seed).assign(localization=[f"site {number % 10}" for number in range(600)])
        largest = figures_of(table)["largest_gap"]
        assert largest["gap"]["value"] > 0.15 and largest["compared"] >= 10
        called_clear += largest["clear"]
    assert called_clear <= 1


def test_groups_are_compared_on_the_diagnoses_that_both_hold():
    """Follow-up knows nevi alone; against all that histology holds it would look far better than it is."""
    dice = np.random.default_rng(3)
    truth = np.array(["nv"] * 200 + ["nv"] * 200 + ["mel"] * 200)
    said = np.where(dice.random(600) < np.where(truth == "mel", 0.2, 0.8), truth, "bkl")
    table = pd.DataFrame({"dx": truth, "predicted": said, "dx_type": ["follow_up"] * 200 + ["histo"] * 400})
    figures = subgroup_figures(table, np.full((600, 7), 1 / 7), np.arange(600))
    groups = figures["groups"]["dx_type"]
    assert groups["follow_up"]["balanced_accuracy"]["value"] - groups["histo"]["balanced_accuracy"]["value"] > 0.2
    gap = figures["gaps"]["dx_type"]["balanced_accuracy"]
    assert gap["on"] == ["nv"] and gap["gap"]["value"] < 0.1 and not gap["clear"]
    assert (gap["n_better"], gap["n_worse"]) == (200, 200)
    assert "melanocytic nevus" in gap_in_words(gap)
    assert figures["largest_patient_gap"] is None  # how a diagnosis was confirmed is no property of a patient


def test_few_images_are_flagged_and_not_compared():
    table = example(119)
    table["sex"] = ["female"] * 19 + ["male"] * 100
    table["predicted"] = np.where(table["sex"] == "female", "df", table["predicted"])
    figures = figures_of(table.assign(predicted=table["predicted"].replace("df", "nv")))
    assert figures["groups"]["sex"]["female"]["few"] and not figures["groups"]["sex"]["male"]["few"]
    assert figures["groups"]["sex"]["female"]["melanoma_sensitivity"]["few"]
    assert figures["gaps"] == {}


def test_calibration_is_measured_in_each_group():
    table = example(800)
    table["sex"] = ["female", "male"] * 400
    right = table["sex"] == "female"
    table.loc[right, "predicted"] = table.loc[right, "dx"]
    groups = figures_of(table, confidence=0.99)["groups"]["sex"]
    assert groups["female"]["ece"]["value"] == pytest.approx(0.01, abs=1e-6)
    assert groups["male"]["ece"]["low"] > 0.15


def test_what_is_stored_is_json():
    table = example(60).assign(sex="male", ita=50.0)
    text = json.dumps(without_nan(figures_of(table)), allow_nan=False)
    assert "proxy" in json.loads(text)["proxy"]
