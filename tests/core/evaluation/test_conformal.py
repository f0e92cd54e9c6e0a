"""Prediction sets: the library's p-values, the level kept for each diagnosis, and honesty where cases are few."""

import numpy as np
import pytest
from crepes import ConformalClassifier

from core.diagnoses import CODES
from core.evaluation.conformal import FEWEST, calibration_scores, prediction_sets, set_figures


def example(n: int, seed: int, rare: float = 0.02):
    """Labels with two rare diagnoses, and probabilities that are worst on melanoma."""
    dice = np.random.default_rng(seed)
    labels = dice.choice(7, n, p=[0.15, 0.5, 0.1, 0.1, 0.15 - 2 * rare, rare, rare])
    logits = dice.normal(size=(n, 7)) + np.array([0.7, 3, 2, 1.5, 1.5, 2, 2])[labels, None] * np.eye(7)[labels]
    shares = np.exp(logits)
    return labels, shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_each_diagnosis_is_covered_at_the_level(level):
    """Over many calibrations, whatever its frequency and however hard it is: an overall level would fail melanoma."""
    covered: dict[int, list[float]] = {index: [] for index in range(7)}
    for seed in range(40):
        labels, probabilities = example(1500, seed)
        scores = calibration_scores(labels[:700], probabilities[:700])
        members = prediction_sets(probabilities[700:], scores, level)
        for index in range(7):
            if len(scores[CODES[index]]) >= FEWEST or index < 5:
                covered[index].append(members[labels[700:] == index, index].mean())
    for index in range(5):
        assert level - 0.03 <= np.mean(covered[index]) <= level + 0.035, CODES[index]


def test_members_are_those_of_the_librarys_class_conditional_p_values():
    labels, probabilities = example(600, 1)
    scores = calibration_scores(labels[:400], probabilities[:400])
    judge = ConformalClassifier().fit(
        1 - probabilities[np.arange(400), labels[:400]], bins=labels[:400]
    )  # one fit, a Mondrian category for each diagnosis
    for index in range(7):
        p_values = judge.predict_p(1 - probabilities[400:, index], np.full(200, index), smoothing=False)
        assert (prediction_sets(probabilities[400:], scores, 0.9)[:, index] == (p_values > 0.1)).all()


def test_a_larger_level_never_takes_a_diagnosis_away():
    labels, probabilities = example(600, 2)
    scores = calibration_scores(labels[:400], probabilities[:400])
    before = np.zeros((200, 7), bool)
    for level in (0.5, 0.8, 0.9, 0.99):
        members = prediction_sets(probabilities[400:], scores, level)
        assert (members >= before).all() and members.dtype == bool
        before = members


def test_the_same_image_has_the_same_set_each_time_whatever_else_is_asked():
    labels, probabilities = example(500, 3)
    scores = calibration_scores(labels[:300], probabilities[:300])
    together = prediction_sets(probabilities[300:], scores, 0.9)
    alone = np.concatenate([prediction_sets(row[None], scores, 0.9) for row in probabilities[300:]])
    assert (together == alone).all()


def test_a_diagnosis_that_calibration_hardly_saw_is_never_ruled_out():
    """With eight cases, no answer can be unlikelier than one in nine."""
    scores = {code: [] for code in CODES} | {"vasc": [0.1] * 8, "mel": [0.1] * 9}
    members = prediction_sets(np.eye(7)[[1]], scores, 0.9)[0]
    assert members.tolist() == [False, True, True, True, True, True, True]


def test_figures_say_what_was_covered_and_what_is_not_promised():
    labels, probabilities = example(900, 4)
    scores = calibration_scores(labels[:400], probabilities[:400])
    lesions = np.array([f"lesion {number // 2}" for number in range(500)])
    figures = set_figures(labels[400:], probabilities[400:], lesions, scores, 0.9)
    members = prediction_sets(probabilities[400:], scores, 0.9)
    held = members[np.arange(500), labels[400:]]
    assert figures["level"] == 0.9
    assert figures["coverage"]["value"] == pytest.approx(held.mean())
    assert figures["coverage"]["low"] < held.mean() < figures["coverage"]["high"]
    assert figures["mean_size"] == pytest.approx(members.sum(axis=1).mean())
    assert figures["sizes"] == [int((members.sum(axis=1) == size).sum()) for size in range(8)]
    for index, code in enumerate(CODES):
        of_code, rows = figures["per_class"][code], labels[400:] == index
        assert of_code["n"] == rows.sum() and of_code["n_calibration"] == (labels[:400] == index).sum()
        assert of_code["promised"] == (of_code["n_calibration"] >= 20)
        assert of_code["coverage"]["value"] == pytest.approx(held[rows].mean())
        assert of_code["mean_size"] == pytest.approx(members[rows].sum(axis=1).mean())
    assert not figures["per_class"]["df"]["promised"] and figures["per_class"]["nv"]["promised"]


def test_a_diagnosis_without_test_cases_is_unknown():
    figures = set_figures(np.ones(3, int), np.eye(7)[[1, 1, 0]], np.arange(3), {"nv": [0.0] * 30}, 0.9)
    assert figures["per_class"]["df"]["n"] == 0
    assert np.isnan(figures["per_class"]["df"]["mean_size"]) and np.isnan(figures["per_class"]["df"]["coverage"]["low"])
