"""Two runs on the same images: what is repaired, and what chance could have done."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from core.diagnoses import CODES
from core.evaluation.comparison import compare


def answers(said: list[str], truth: list[str], lesions: list[str] | None = None) -> pd.DataFrame:
    names = [f"i{place}" for place in range(len(truth))]
    return pd.DataFrame({"image_id": names, "lesion_id": lesions or names, "dx": truth, "predicted": said})


def simulated(rng: np.random.Generator, n: int, right: float) -> tuple[list[str], list[str]]:
    truth = rng.choice(CODES, n)
    said = np.where(rng.random(n) < right, truth, "nv")
    return said.tolist(), truth.tolist()


def test_repaired_and_broken_images_are_named():
    truth = ["mel", "mel", "nv", "nv"]
    found = compare(answers(["nv", "mel", "nv", "mel"], truth), answers(["mel", "nv", "nv", "nv"], truth))
    assert found.table["image_id"][found.repaired].tolist() == ["i0", "i3"]
    assert found.table["image_id"][found.broken].tolist() == ["i1"]
    assert found.differences["balanced_accuracy"]["value"] == pytest.approx(0.25)
    assert found.differences["melanoma_sensitivity"]["value"] == pytest.approx(0.0)


def test_mcnemar_counts_one_image_of_each_lesion():
    truth = ["mel"] * 12
    lesions = ["same"] * 4 + [f"l{place}" for place in range(8)]
    found = compare(answers(["nv"] * 12, truth, lesions), answers(["mel"] * 12, truth, lesions))
    assert found.repaired.sum() == 12
    assert found.p_value == pytest.approx(binomtest(9, 9).pvalue)


def test_equal_runs_differ_by_nothing():
    truth = ["mel", "nv", "bcc"]
    found = compare(answers(truth, truth), answers(truth, truth))
    assert found.p_value == 1.0
    assert found.differences["balanced_accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_only_common_images_are_compared():
    truth = ["mel", "nv", "bcc"]
    found = compare(answers(truth, truth), answers(truth, truth).tail(1))
    assert found.table["image_id"].tolist() == ["i2"]
    assert np.isnan(found.differences["melanoma_sensitivity"]["value"])
    nothing = compare(answers(truth, truth).head(0), answers(truth, truth))
    assert np.isnan(nothing.differences["balanced_accuracy"]["value"]) and nothing.p_value == 1.0


def test_a_clear_difference_is_clear_and_none_is_rarely_so():
    rng = np.random.default_rng(5)
    said, truth = simulated(rng, 800, 0.5)
    better = np.where(rng.random(800) < 0.35, truth, said).tolist()
    assert compare(answers(said, truth), answers(better, truth)).differences["balanced_accuracy"]["low"] > 0
    wrong = 0
    for _ in range(60):
        truth = rng.choice(CODES, 300).tolist()
        two = [np.where(rng.random(300) < 0.7, truth, "nv").tolist() for _ in range(2)]
        figure = compare(answers(two[0], truth), answers(two[1], truth)).differences["balanced_accuracy"]
        wrong += not figure["low"] <= 0 <= figure["high"]
    assert wrong <= 8  # of 60, at 5 %: 9 or more happen once in 400 times
