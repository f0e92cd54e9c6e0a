"""Temperature scaling: logits become probabilities that mean what they say.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. One number, fitted on the calibration
split alone.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax


def calibrated(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature.

    Args:
        logits: (n, 7).
        temperature: over 0; over 1 makes the answers less sure.

    Returns:
        (n, 7) float64, each row sums to 1.
    """
    return softmax(np.asarray(logits, np.float64) / temperature, axis=1)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature under which the labels are most likely.

    Args:
        logits: (n, 7) of the calibration split.
        labels: (n,) indices into `CODES`.

    Returns:
        Between 0.05 and 20.
    """
    rows = np.arange(len(labels))
    logits = np.asarray(logits, np.float64)

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(best.x))
