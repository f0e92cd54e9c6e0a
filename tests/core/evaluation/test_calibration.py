"""Calibration: what was made too sure, or was taught to take all seven for equally common, is found and undone."""

import numpy as np
import pytest

from core.evaluation.calibration import calibrated, fit_calibration, fit_temperature


def drawn_from(logits: np.ndarray, seed: int = 0) -> np.ndarray:
    """A label for each row, drawn with the probabilities that its logits state."""
    shares = calibrated(logits, 1.0).cumsum(axis=1)
    return (np.random.default_rng(seed).random((len(logits), 1)) > shares).sum(axis=1).clip(max=6)


@pytest.fixture(scope="module")
def honest() -> np.ndarray:
    return np.random.default_rng(4).normal(scale=2, size=(4000, 7))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0])
def test_a_known_temperature_is_recovered(honest, temperature):
    labels = drawn_from(honest)
    assert fit_temperature(temperature * honest, labels) == pytest.approx(temperature, rel=0.06)


def test_calibrated_probabilities_mean_what_they_say(honest):
    """Of all answers given with about 0.8, about 80 % are right: not so before."""
    labels = drawn_from(honest)
    sure = 2.5 * honest
    for temperature, holds in ((1.0, False), (fit_temperature(sure, labels), True)):
        probabilities = calibrated(sure, temperature)
        answers = probabilities.max(axis=1)
        near = (answers > 0.7) & (answers < 0.9)
        right = (probabilities.argmax(axis=1) == labels)[near].mean()
        assert (abs(right - answers[near].mean()) < 0.05) == holds


def test_probabilities_sum_to_1_and_keep_their_order(honest):
    for temperature in (0.05, 1.0, 20.0):
        probabilities = calibrated(honest.astype(np.float32), temperature)
        assert probabilities.dtype == np.float64 and probabilities.shape == honest.shape
        assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-12)
        assert (probabilities >= 0).all()
        assert (probabilities.argmax(axis=1) == honest.argmax(axis=1)).all()


def test_a_temperature_of_1_is_softmax():
    expected = np.exp([1.0, 2.0, 3.0]) / np.exp([1.0, 2.0, 3.0]).sum()
    assert calibrated(np.array([[1.0, 2.0, 3.0]]), 1.0)[0] == pytest.approx(expected)


def test_huge_logits_do_not_overflow():
    assert calibrated(np.array([[1e6, 0, -1e6]]), 0.05)[0].tolist() == [1, 0, 0]
    assert 0.05 <= fit_temperature(np.array([[1e6, 0.0], [0.0, 1e6]]), np.array([0, 0])) <= 20.01


def test_all_right_and_all_wrong_stay_within_bounds():
    logits = np.eye(7)
    assert fit_temperature(logits, np.arange(7)) == pytest.approx(0.05, rel=0.01)
    assert fit_temperature(logits, (np.arange(7) + 1) % 7) == pytest.approx(20, rel=0.01)


def test_neither_logits_nor_labels_are_changed(honest):
    logits, labels = honest[:50].copy(), drawn_from(honest[:50])
    before = logits.copy(), labels.copy()
    calibrated(logits, fit_temperature(logits, labels))
    assert (logits == before[0]).all() and (labels == before[1]).all()


def test_class_weights_are_taken_out_again(honest):
    """Trained with weights, a network's logits are too high by their logarithm: the fit finds that, and the
    temperature with it."""
    labels = drawn_from(honest)
    weights = np.array([3.0, 0.2, 5.0, 8.0, 2.0, 20.0, 15.0])
    fitted = fit_calibration(1.7 * (honest + np.log(weights)), labels, weights)
    assert fitted.temperature == pytest.approx(1.7, rel=0.06)
    assert fitted.offsets == pytest.approx(np.log(weights), rel=0.06)
    assert np.abs(fitted.probabilities(1.7 * (honest + np.log(weights))) - calibrated(honest)).max() < 0.06


def test_without_weights_only_the_temperature_is_fitted(honest):
    labels = drawn_from(honest)
    fitted = fit_calibration(2 * honest, labels, np.ones(7))
    assert fitted.temperature == pytest.approx(fit_temperature(2 * honest, labels))
    assert (fitted.offsets == 0).all()


def test_a_handful_of_cases_does_not_carry_it_off():
    """Three images that happen to be right say nothing of how sure to be."""
    weights = np.array([3.0, 0.2, 5.0, 8.0, 2.0, 20.0, 15.0])
    fitted = fit_calibration(3 * np.eye(7)[:3], np.arange(3), weights)
    assert 0.3 < fitted.temperature < 3
    assert np.isfinite(fitted.offsets).all()
