"""Calibration: logits become probabilities that mean what they say.

Two numbers, fitted on the calibration split alone. The temperature of Guo et al., "On Calibration of Modern
Neural Networks", ICML 2017; and a factor on the class weights of the training: weighing the rare diagnoses up
makes a network answer as if all seven were equally common, so that "melanoma 62 %" would be said of far more
lesions than are melanomas. Taking the weights out again, as for a shift of priors (Saerens, Latinne and
Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori Probabilities", Neural Computation 2002),
mends that.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from core.diagnoses import CODES

LOWEST, HIGHEST = 0.05, 20.0  # temperature
STRONGEST = 1.5  # factor on the logarithm of the class weights; 1 takes them out whole
PRIOR_CASES = 5  # what is expected before any case is seen, temperature 1 and factor 1, counts as so many cases


@dataclass(frozen=True, eq=False)
class Calibration:
    """How logits become probabilities.

    Attributes:
        temperature: over 0; over 1 makes the answers less sure.
        offsets: (7,) taken from the logits at that temperature.
    """

    temperature: float
    offsets: np.ndarray

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """See `calibrated`."""
        return calibrated(logits, self.temperature, self.offsets)


def calibrated(logits: np.ndarray, temperature: float = 1.0, offsets: np.ndarray | float = 0.0) -> np.ndarray:
    """Probabilities at a temperature, less offsets.

    Args:
        logits: (n, 7).
        temperature: over 0; over 1 makes the answers less sure.
        offsets: (7,) or 0.

    Returns:
        (n, 7) float64, each row sums to 1.
    """
    return softmax(np.asarray(logits, np.float64) / temperature - offsets, axis=1)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature under which the labels are most likely.

    Args:
        logits: (n, 7) of the calibration split.
        labels: (n,) indices into `CODES`.

    Returns:
        Between 0.05 and 20.
    """

    def loss(log_temperature: float) -> float:
        return _loss(np.asarray(logits, np.float64) / np.exp(log_temperature), labels)

    best = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return float(np.exp(best.x))


def fit_calibration(logits: np.ndarray, labels: np.ndarray, class_weights: np.ndarray) -> Calibration:
    """Temperature and offsets under which the labels are most likely.

    Args:
        logits: (n, 7) of the calibration split.
        labels: (n,) indices into `CODES`.
        class_weights: (7,) over 0, what an image of each diagnosis counted in training; all 1 without weights,
            and then the temperature alone is fitted.
    """
    shift = np.log(np.asarray(class_weights, np.float64))
    if np.ptp(shift) == 0:
        return Calibration(fit_temperature(logits, labels), np.zeros(len(CODES)))
    logits = np.asarray(logits, np.float64)

    def loss(numbers: np.ndarray) -> float:
        log_temperature, factor = numbers
        # a handful of cases must not carry a small calibration split off
        held = PRIOR_CASES / len(labels) * (log_temperature**2 + (factor - 1) ** 2) / 2
        return _loss(logits / np.exp(log_temperature) - factor * shift, labels) + held

    bounds = ((np.log(LOWEST), np.log(HIGHEST)), (0.0, STRONGEST))
    log_temperature, factor = minimize(loss, (0.0, 1.0), method="L-BFGS-B", bounds=bounds).x
    return Calibration(float(np.exp(log_temperature)), factor * shift)


def _loss(scores: np.ndarray, labels: np.ndarray) -> float:
    return -log_softmax(scores, axis=1)[np.arange(len(labels)), labels].mean()
