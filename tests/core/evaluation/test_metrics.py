"""Figures equal scikit-learn's; intervals come from lesions, not images; nothing breaks on small or odd sets."""

import json
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from core.diagnoses import CODES
from core.evaluation.metrics import balanced_accuracy, epoch_figures, evaluate
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
    for name in ("accuracy", "balanced_accuracy", "macro_auc"):
        assert perfect[name] == {"value": 1.0, "low": 1.0, "high": 1.0}
    hopeless = evaluate(labels, np.full((70, 7), 1 / 7), alone(70))
    assert hopeless["macro_auc"] == {"value": 0.5, "low": 0.5, "high": 0.5}  # ties count half


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
    assert figures["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}


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
    assert figures["low"] == pytest.approx(right.mean() - error, abs=0.006)
    assert figures["high"] == pytest.approx(right.mean() + error, abs=0.006)


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


@pytest.mark.parametrize("decimals", [1, 2, 9])
def test_the_resampled_auc_is_scikit_learns_with_weights(decimals):
    """One decimal makes many ties."""
    from core.evaluation.metrics import _lesion_weights, _weighted_auc

    labels, probabilities = example(120, decimals=decimals)
    weights = _lesion_weights(np.array([f"lesion {number // 2}" for number in range(120)]), seed=0)[:, :20]
    for index in range(7):
        got = _weighted_auc(labels == index, probabilities[:, index], weights)
        expected = [
            sk.roc_auc_score(labels == index, probabilities[:, index], sample_weight=column) for column in weights.T
        ]
        assert got == pytest.approx(expected, abs=1e-9)


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
