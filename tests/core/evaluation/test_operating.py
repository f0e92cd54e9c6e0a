"""Operating points: thresholds keep their promise, and every curve agrees with scikit-learn."""

import time

import numpy as np
import pytest
from sklearn import metrics as sk

from core.diagnoses import BY_CODE, CODES
from core.evaluation.operating import (
    POINTS,
    at_prevalence,
    choose_threshold,
    curves,
    is_positive,
    point_figures,
    predictive_values,
    ranking_figures,
    score,
    threshold_figures,
)


@pytest.fixture
def answers():
    """Labels, probabilities and lesions of 600 images, two a lesion."""
    dice = np.random.default_rng(1)
    labels = dice.choice(7, 600, p=[0.1, 0.6, 0.05, 0.05, 0.1, 0.05, 0.05])
    logits = dice.normal(size=(600, 7)) + 1.5 * np.eye(7)[labels]
    shares = np.exp(logits)
    return labels, shares / shares.sum(axis=1, keepdims=True), np.arange(600) // 2


def test_the_malignant_point_looks_for_all_that_is_not_left_alone():
    assert set(POINTS["malignant"]) == {code for code in CODES if BY_CODE[code].malignant}
    probabilities = np.arange(14).reshape(2, 7) / 100
    assert score(probabilities, ("mel", "bcc")) == pytest.approx(probabilities[:, 0] + probabilities[:, 2])
    assert is_positive(np.array([0, 1, 2]), ("mel", "bcc")).tolist() == [True, False, True]


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("n_positive", [10, 21, 60])
def test_a_threshold_keeps_its_sensitivity_on_new_images(target, n_positive):
    """In the mean over many calibrations, also where positives are few: without the correction it would fall short."""
    dice = np.random.default_rng(0)
    reached = []
    for _ in range(600):
        positive = np.arange(300) < n_positive
        threshold = choose_threshold(positive, dice.beta(2 + 3 * positive, 4), target)
        reached.append((dice.beta(5, 4, 500) >= threshold).mean())
    possible = min(target, n_positive / (n_positive + 1))  # of ten positives, the lowest is reached by 10 of 11
    assert possible - 0.01 <= np.mean(reached) <= possible + 1 / (n_positive + 1) + 0.01


def test_the_last_digit_of_a_score_does_not_decide():
    scores = np.array([0.1, 0.2, 0.4, 0.6, 0.8])
    threshold = choose_threshold(np.array([False, True, False, True, True]), scores, 0.7)
    assert threshold == pytest.approx(0.15)  # three of three, halfway down to the image below
    assert np.isnan(choose_threshold(np.zeros(5, bool), scores, 0.9))
    assert choose_threshold(np.ones(5, bool), scores, 0.9) == pytest.approx(0.05)
    assert choose_threshold(np.array([True]), np.array([0.0]), 0.9) == 0  # nothing lies below


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.9])
def test_figures_equal_scikit_learns(answers, threshold):
    labels, probabilities, lesions = answers
    for positives in POINTS.values():
        positive, scores = is_positive(labels, positives), score(probabilities, positives)
        called = scores >= threshold
        figures = point_figures(labels, probabilities, lesions, positives, threshold)
        expected = {
            "sensitivity": sk.recall_score(positive, called),
            "specificity": sk.recall_score(~positive, ~called),
            "ppv": sk.precision_score(positive, called, zero_division=np.nan),
            "npv": sk.precision_score(~positive, ~called),
            "auc": sk.roc_auc_score(positive, scores),
            "average_precision": sk.average_precision_score(positive, scores),
        }
        for name, value in expected.items():
            assert figures[name]["value"] == pytest.approx(value, abs=1e-9, nan_ok=True), name
            assert np.isnan(value) or figures[name]["low"] <= value <= figures[name]["high"]
        assert figures["n"] == 600 and figures["n_positive"] == positive.sum()
        assert figures["prevalence"] == pytest.approx(positive.mean())


def test_predictive_values_at_another_prevalence_are_bayes(answers):
    labels, probabilities, lesions = answers
    positive, scores = labels == 0, probabilities[:, 0]
    at_home = threshold_figures(positive, scores, lesions, 0.2)
    same = threshold_figures(positive, scores, lesions, 0.2, prevalence=float(positive.mean()))
    for name in ("ppv", "npv"):
        assert same[name]["value"] == pytest.approx(at_home[name]["value"])
    rare = threshold_figures(positive, scores, lesions, 0.2, prevalence=0.01)
    sensitivity, specificity = rare["sensitivity"]["value"], rare["specificity"]["value"]
    assert rare["ppv"]["value"] == pytest.approx(sensitivity * 0.01 / (sensitivity * 0.01 + (1 - specificity) * 0.99))
    assert rare["ppv"]["low"] < rare["ppv"]["value"] < rare["ppv"]["high"] < at_home["ppv"]["low"]
    assert rare["npv"]["value"] > at_home["npv"]["value"] and rare["npv"]["high"] <= 1
    assert rare["sensitivity"] == at_home["sensitivity"]  # who is ill does not change with how many are


def test_predictive_values_of_a_textbook_case():
    ppv, npv = predictive_values(0.9, 0.8, 0.1)
    assert ppv == pytest.approx(0.09 / 0.27) and npv == pytest.approx(0.72 / 0.73)
    assert np.isnan(predictive_values(0.0, 1.0, 0.1)[0])  # nobody is called positive


def test_curves_hold_every_threshold(answers):
    labels, probabilities, _ = answers
    positive, scores = labels == 0, probabilities[:, 0].round(2)  # ties
    table = curves(positive, scores)
    assert table["threshold"].is_monotonic_increasing and table["threshold"].iloc[0] == 0
    first, last = table.iloc[0], table.iloc[-1]
    assert first["sensitivity"] == 1 and first["specificity"] == 0 and first["called"] == 600
    assert last["sensitivity"] == 0 and last["specificity"] == 1 and last["called"] == 0
    assert sk.auc(1 - table["specificity"], table["sensitivity"]) == pytest.approx(sk.roc_auc_score(positive, scores))
    for row in table.iloc[1:-1:7].itertuples():
        called = scores >= row.threshold
        assert row.sensitivity == pytest.approx(sk.recall_score(positive, called))
        assert row.ppv == pytest.approx(sk.precision_score(positive, called))
        assert row.called == called.sum()
        odds = row.threshold / (1 - row.threshold)  # Vickers and Elkin's own formula
        benefit = (called & positive).sum() / 600 - (called & ~positive).sum() / 600 * odds
        assert row.net_benefit == pytest.approx(benefit)
        everybody = positive.mean() - (1 - positive.mean()) * odds
        assert row.net_benefit_all == pytest.approx(everybody)
    assert first["net_benefit"] == pytest.approx(positive.mean())


def test_net_benefit_at_another_prevalence_is_that_of_probabilities_that_hold_there():
    """Those of a set in which a fifth are ill mean less where one in twenty-five is; following them must not look bad.

    A sample drawn at the other prevalence, with probabilities right for it, gives the same curve.
    """
    dice = np.random.default_rng(4)
    scores = dice.beta(0.5, 2, 60000)
    positive = dice.random(60000) < scores  # calibrated
    there = 0.04
    moved = curves(positive, scores, there)
    ill, well = np.flatnonzero(positive), np.flatnonzero(~positive)
    rows = np.r_[dice.choice(ill, 2400), dice.choice(well, 57600)]
    drawn = curves(positive[rows], at_prevalence(scores[rows], positive.mean(), there))
    for probability in (0.01, 0.03, 0.1):
        benefits = [np.interp(probability, table["probability"], table["net_benefit"]) for table in (moved, drawn)]
        assert benefits[0] == pytest.approx(benefits[1], abs=0.0015)
        assert benefits[0] >= 0
    assert (curves(positive[:50], scores[:50])["probability"] == curves(positive[:50], scores[:50])["threshold"]).all()


def test_a_probability_at_another_prevalence_is_bayes():
    assert at_prevalence(0.5, 0.5, 0.1) == pytest.approx(0.1)
    assert at_prevalence(0.3, 0.2, 0.2) == 0.3
    assert at_prevalence(np.array([0.0, 1.0]), 0.2, 0.01).tolist() == [0, 1]


def test_curves_of_one_kind_only_and_of_certainty():
    nobody = curves(np.zeros(3, bool), np.array([0.1, 0.5, 1.0]))
    assert nobody["sensitivity"].isna().all() and nobody["specificity"].iloc[-1] == 1
    sure = curves(np.array([True, False]), np.array([1.0, 0.0]))
    assert np.isfinite(sure["sensitivity"]).all()


def test_a_slider_is_followed_at_once():
    """1,500 images, three a lesion, in under a tenth of a second once the first figures are there."""
    dice = np.random.default_rng(2)
    positive, scores, lesions = dice.random(1500) < 0.1, dice.random(1500), np.arange(1500) // 3
    threshold_figures(positive, scores, lesions, 0.4)
    seconds = []
    for threshold in (0.3, 0.5, 0.6, 0.7, 0.8):
        started = time.perf_counter()
        threshold_figures(positive, scores, lesions, threshold, prevalence=0.02)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.1


def test_the_figures_that_no_threshold_changes_need_both_kinds():
    figures = ranking_figures(np.ones(4, bool), np.arange(4.0), np.arange(4))
    assert np.isnan(figures["auc"]["value"]) and figures["average_precision"]["value"] == 1
