"""Figures equal scikit-learn's; intervals come from lesions, not images; nothing breaks on small or odd sets."""

import json
import warnings
from itertools import product

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from core.diagnoses import CODES
from core.evaluation.calibration import calibrated, fit_calibration
from core.evaluation.metrics import (
    balanced_accuracy,
    calibration_figures,
    epoch_figures,
    evaluate,
    expected_calibration_error,
    sensitivity_at_specificity,
    top_ece,
)
from core.evaluation.operating import point_figures
from core.runs.files import without_nan

NEVUS = CODES.index("nv")


def example(n: int, seed: int = 0, classes: tuple[int, ...] = tuple(range(7)), decimals: int = 9):
    """Labels, and probabilities that are right more often than not."""
    dice = np.random.default_rng(seed)
    labels = dice.choice(classes, n)
    logits = dice.normal(size=(n, 7)) + 1.5 * np.eye(7)[labels]
    shares = np.exp(logits)
    return labels, (shares / shares.sum(axis=1, keepdims=True)).round(decimals)


def alone(n: int) -> np.ndarray:
    """Every image a lesion of its own."""
    return np.array([f"lesion {number}" for number in range(n)])


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_scikit_learns(seed):
    labels, probabilities = example(400, seed)
    predicted = probabilities.argmax(axis=1)
    figures = evaluate(labels, probabilities, alone(400))
    assert figures["n"] == 400
    assert figures["accuracy"]["value"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert figures["balanced_accuracy"]["value"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    aucs = [sk.roc_auc_score(labels == index, probabilities[:, index]) for index in range(7)]
    assert figures["macro_auc"]["value"] == pytest.approx(np.mean(aucs))
    assert figures["always_nevus_accuracy"] == pytest.approx((labels == NEVUS).mean())
    precision, recall, f1, support = sk.precision_recall_fscore_support(labels, predicted, zero_division=np.nan)
    for index, code in enumerate(CODES):
        of_code = figures["per_class"][code]
        assert of_code["n"] == support[index]
        assert of_code["sensitivity"] == pytest.approx(recall[index])
        assert of_code["precision"] == pytest.approx(precision[index])
        assert of_code["f1"] == pytest.approx(f1[index])
        assert of_code["auc"] == pytest.approx(aucs[index])
        others = labels != index
        assert of_code["specificity"] == pytest.approx((predicted[others] != index).mean())
    assert figures["confusion"]["labels"] == list(CODES)
    assert (np.array(figures["confusion"]["counts"]) == sk.confusion_matrix(labels, predicted)).all()


def test_the_true_diagnosis_is_in_the_rows():
    figures = evaluate(np.array([0, 0, 1]), np.eye(7)[[3, 3, 1]], alone(3))
    counts = np.array(figures["confusion"]["counts"])
    assert counts[0, 3] == 2 and counts[1, 1] == 1 and counts.sum() == 3


def test_a_perfect_and_a_hopeless_model():
    labels = np.arange(70) % 7
    perfect = evaluate(labels, np.eye(7)[labels], alone(70))
    assert perfect["macro_auc"]["value"] == 1
    for name in ("accuracy", "balanced_accuracy"):  # ten of ten right is not yet certainty
        assert perfect[name]["value"] == perfect[name]["high"] == pytest.approx(1)
        assert 0.8 < perfect[name]["low"] < 0.96
    hopeless = evaluate(labels, np.full((70, 7), 1 / 7), alone(70))
    chance = hopeless["macro_auc"]
    assert chance["value"] == 0.5 and chance["low"] < 0.5 < chance["high"]  # ties count half


# ---- odd sets ----------------------------------------------------------------------------------


def test_absent_diagnoses_are_unknown_and_not_zero():
    labels, probabilities = example(200, classes=(0, 1, 4))
    figures = evaluate(labels, probabilities, alone(200))
    predicted = probabilities.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predictions that are no label
        expected = sk.balanced_accuracy_score(labels, predicted)
    assert figures["balanced_accuracy"]["value"] == pytest.approx(expected)
    absent = figures["per_class"]["df"]
    assert absent["n"] == 0
    assert np.isnan(absent["sensitivity"]) and np.isnan(absent["auc"])
    assert 0 <= absent["specificity"] <= 1
    present = [figures["per_class"][CODES[index]]["auc"] for index in (0, 1, 4)]
    assert figures["macro_auc"]["value"] == pytest.approx(np.mean(present))


def test_a_diagnosis_that_is_never_answered_has_no_precision():
    labels = np.array([0, 1, 1, 0])
    figures = evaluate(labels, np.eye(7)[[1, 1, 1, 1]], alone(4))["per_class"]["mel"]
    assert figures["sensitivity"] == 0 and figures["f1"] == 0
    assert np.isnan(figures["precision"])


def test_one_diagnosis_only():
    figures = evaluate(np.zeros(20, int), example(20)[1], alone(20))
    assert np.isnan(figures["macro_auc"]["value"]) and np.isnan(figures["macro_auc"]["low"])
    assert 0 <= figures["balanced_accuracy"]["value"] <= 1


def test_one_image_only():
    figures = evaluate(np.array([2]), np.eye(7)[[2]], np.array(["x"]))
    assert figures["n"] == 1
    assert figures["accuracy"]["value"] == 1
    assert figures["accuracy"]["low"] < 0.3  # one image shows next to nothing


def test_what_is_stored_is_json_whatever_is_unknown():
    figures = without_nan(evaluate(np.zeros(3, int), np.eye(7)[[0, 1, 2]], alone(3)))
    text = json.dumps(figures, allow_nan=False)  # refuses NaN and infinity
    assert json.loads(text)["per_class"]["df"]["auc"] is None


# ---- intervals ---------------------------------------------------------------------------------


def test_the_interval_is_deterministic_and_holds_its_value():
    labels, probabilities = example(300)
    figures = evaluate(labels, probabilities, alone(300))
    assert figures == evaluate(labels, probabilities, alone(300))
    for name in ("accuracy", "balanced_accuracy", "macro_auc"):
        assert figures[name]["low"] < figures[name]["value"] < figures[name]["high"]
    other = evaluate(labels, probabilities, alone(300), seed=1)
    assert other["accuracy"]["value"] == figures["accuracy"]["value"]
    assert other["accuracy"]["low"] != figures["accuracy"]["low"]


def test_the_order_of_images_does_not_matter():
    labels, probabilities = example(200, decimals=2)
    lesions = np.array([f"lesion {number // 3}" for number in range(200)])
    order = np.random.default_rng(1).permutation(200)
    one, two = evaluate(labels, probabilities, lesions), evaluate(labels[order], probabilities[order], lesions[order])
    for name in ("accuracy", "balanced_accuracy", "macro_auc"):
        assert one[name] == pytest.approx(two[name])


def test_the_interval_of_an_accuracy_is_the_textbooks():
    dice = np.random.default_rng(3)
    labels = np.full(1000, NEVUS)
    right = dice.random(1000) < 0.7
    figures = evaluate(labels, np.eye(7)[np.where(right, NEVUS, 0)], alone(1000))["accuracy"]
    error = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 1000)
    assert figures["low"] == pytest.approx(right.mean() - error, abs=0.003)
    assert figures["high"] == pytest.approx(right.mean() + error, abs=0.003)


def test_images_of_one_lesion_do_not_count_as_independent():
    """Every image five times: the figures are the same, and so must the intervals be if lesions are named."""
    labels, probabilities = example(100)
    lesions = alone(100)
    once = evaluate(labels, probabilities, lesions)
    repeated = labels.repeat(5), probabilities.repeat(5, axis=0)
    named = evaluate(*repeated, lesions.repeat(5))
    unnamed = evaluate(*repeated, alone(500))

    def width(figures: dict, name: str) -> float:
        return figures[name]["high"] - figures[name]["low"]

    for name in ("accuracy", "balanced_accuracy", "macro_auc"):
        assert named[name] == pytest.approx(once[name])
        assert width(named, name) > 1.8 * width(unnamed, name)  # the square root of five, nearly


# ---- against the official scorer ----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_figures_equal_the_official_scorers(seed):
    """isic-challenge-scoring scored the ISIC 2018 challenge."""
    import pandas as pd
    from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore

    labels, probabilities = example(500, seed)
    names = [code.upper() for code in CODES]
    index = [f"ISIC_{number}" for number in range(500)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # written for an older pandas
        scored = ClassificationScore(
            pd.DataFrame(np.eye(7)[labels], index, names),
            pd.DataFrame(probabilities, index, names),
            pd.DataFrame({"score_weight": 1.0, "validation_weight": 1.0}, index),
            ClassificationMetric.BALANCED_ACCURACY,
        )
    figures = evaluate(labels, probabilities, alone(500))
    assert figures["balanced_accuracy"]["value"] == pytest.approx(scored.overall, abs=1e-9)
    assert figures["macro_auc"]["value"] == pytest.approx(scored.macro_average["auc"], abs=1e-9)
    for code, row in zip(CODES, scored.per_category.itertuples(), strict=True):
        assert figures["per_class"][code]["auc"] == pytest.approx(row.auc, abs=1e-9)
    # its sensitivity, specificity, PPV and NPV are those of a threshold at 0.5
    point = point_figures(labels, probabilities, alone(500), ["mel"], np.nextafter(0.5, 1))
    melanoma = scored.per_category.loc["MEL"]
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        assert point[name]["value"] == pytest.approx(melanoma[name], abs=1e-9)
    assert point["average_precision"]["value"] == pytest.approx(melanoma["ap"], abs=1e-9)


@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize("specificity", [0.0, 0.5, 0.9, 0.95, 1.0])
def test_sensitivity_at_specificity_is_the_best_of_any_threshold(decimals, specificity):
    labels, probabilities = example(200, decimals=decimals)
    positive, scores = labels == 0, probabilities[:, 0]
    weights = np.column_stack([np.ones(200, int), np.random.default_rng(1).integers(0, 3, 200)])
    best = [0.0, 0.0]
    for threshold, resample in product([*scores, 2.0], range(2)):
        called, drawn = scores >= threshold, {"sample_weight": weights[:, resample]}
        if sk.recall_score(~positive, ~called, **drawn) >= specificity - 1e-12:
            best[resample] = max(best[resample], sk.recall_score(positive, called, **drawn))
    assert sensitivity_at_specificity(positive, scores, specificity, weights) == pytest.approx(best, abs=1e-9)
    assert np.isnan(sensitivity_at_specificity(np.ones(3, bool), scores[:3], 0.9, np.ones((3, 1)))).all()


# ---- calibration -------------------------------------------------------------------------------


@pytest.mark.parametrize("bins", [10, 15])
def test_calibration_figures_equal_scikit_learns(bins):
    labels, probabilities = example(600)
    figures = calibration_figures(labels, probabilities, alone(600), bins=bins)
    assert figures["brier"]["value"] == pytest.approx(sk.brier_score_loss(labels, probabilities), abs=1e-9)
    assert figures["nll"]["value"] == pytest.approx(sk.log_loss(labels, probabilities), abs=1e-9)
    malignant = [CODES.index(code) for code in ("mel", "bcc", "akiec")]
    for name, said, held in (
        ("", probabilities.max(axis=1), probabilities.argmax(axis=1) == labels),
        ("melanoma", probabilities[:, 0], labels == 0),
        ("malignant", probabilities[:, malignant].sum(axis=1), np.isin(labels, malignant)),
    ):
        true, predicted = calibration_curve(held, said, n_bins=bins)
        rows = figures["_".join(filter(None, ("reliability", name)))]
        assert [row["confidence"] for row in rows] == pytest.approx(predicted, abs=1e-9)
        assert [row["accuracy"] for row in rows] == pytest.approx(true, abs=1e-9)
        n = np.array([row["n"] for row in rows])
        assert n.sum() == 600
        expected = (n * abs(true - predicted)).sum() / 600
        assert figures["_".join(filter(None, (name, "ece")))]["value"] == pytest.approx(expected, abs=1e-9)
        assert expected_calibration_error(said, held, bins) == pytest.approx(expected, abs=1e-9)


def test_a_calibration_error_that_chance_explains_reaches_zero():
    """Of honest probabilities the error is not 0 in a sample, but the interval has to allow it."""
    dice = np.random.default_rng(5)
    probabilities = dice.dirichlet(np.ones(7) / 2, 400)
    labels = (dice.random((400, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=6)
    honest = top_ece(labels, probabilities, alone(400))
    assert honest["value"] > 0.02 and honest["low"] == 0
    sure = top_ece(labels, np.eye(7)[probabilities.argmax(axis=1)], alone(400))
    assert sure["low"] > 0.2  # always certain, often wrong


def test_a_temperature_of_2_is_undone():
    """Of logits twice as large as they should be: calibration error at most 0.02, log-likelihood a quarter better."""
    dice = np.random.default_rng(0)
    logits = 4.5 * np.eye(7)[dice.integers(0, 7, 12000)] + dice.normal(size=(12000, 7))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (dice.random((len(logits), 1)) > shares.cumsum(axis=1)).sum(axis=1).clip(max=6)
    sure, fitted = 2 * logits, slice(0, 4000)
    calibration = fit_calibration(sure[fitted], labels[fitted], np.ones(7))
    before, after = (
        calibration_figures(labels[4000:], said, alone(8000))
        for said in (calibrated(sure[4000:]), calibration.probabilities(sure[4000:]))
    )
    assert calibration.temperature == pytest.approx(2, rel=0.05)
    assert before["ece"]["value"] > 0.05 and after["ece"]["value"] <= 0.02
    assert after["nll"]["value"] <= 0.75 * before["nll"]["value"]


def test_the_answer_may_differ_from_the_most_probable_diagnosis():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.tile([0.3, 0.7, 0, 0, 0, 0, 0], (4, 1))
    figures = evaluate(labels, probabilities, alone(4), predicted=np.array([0, 0, 1, 0]))
    assert figures["melanoma_sensitivity"]["value"] == 1 and figures["melanoma_sensitivity"]["n"] == 2
    assert figures["accuracy"]["value"] == 0.75


# ---- pieces ------------------------------------------------------------------------------------


def test_balanced_accuracy_of_many_matrices_at_once():
    one = np.zeros((7, 7))
    one[0, 0], one[0, 1], one[1, 1] = 3, 1, 5
    assert balanced_accuracy(one) == pytest.approx((0.75 + 1) / 2)
    assert balanced_accuracy(np.stack([one, one.T])) == pytest.approx([0.875, (1 + 5 / 6) / 2])
    assert np.isnan(balanced_accuracy(np.zeros((7, 7))))


def test_epoch_figures_are_the_same_as_the_evaluations():
    labels, probabilities = example(300)
    logits = np.log(probabilities) + 50  # a constant more changes nothing
    epoch, full = epoch_figures(labels, logits), evaluate(labels, probabilities, alone(300))
    assert epoch["accuracy"] == full["accuracy"]["value"]
    assert epoch["balanced_accuracy"] == full["balanced_accuracy"]["value"]
    assert epoch["auc"] == pytest.approx(full["macro_auc"]["value"], abs=1e-6)


def test_epoch_figures_of_huge_logits():
    labels = np.arange(14) % 7
    figures = epoch_figures(labels, 1e30 * np.eye(7, dtype=np.float32)[labels])
    assert figures == {"accuracy": 1.0, "auc": 1.0, "balanced_accuracy": 1.0}
