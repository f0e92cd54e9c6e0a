"""Integrated gradients from the blurred image to the sharp one: what each place adds to an answer.

Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, with a blurred image where the way
begins, as nothing is a neutral colour of skin; taken between activations instead of pixels it is Sattarzadeh et al.,
"Integrated Grad-CAM", ICASSP 2021.
"""

import cv2
import numpy as np

STEPS = 3
CELLS = 28
"""Cells in a row of a map: single pixels of such maps are noise (Smilkov et al., "SmoothGrad", 2017)."""


def way(start: np.ndarray, end: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """Points on the straight line between two arrays, at the middle of equal steps.

    Args:
        start, end: (h, w, k).
        steps: how many.

    Returns:
        (steps, h, w, k) float32.
    """
    shares = ((np.arange(steps, dtype=np.float32) + 0.5) / steps)[:, None, None, None]
    return start + shares * (end.astype(np.float32) - start)


def integrated_map(start: np.ndarray, end: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """What each place adds to the score between start and end, positive part only.

    Args:
        start, end: (h, w, k), of the blurred image and of the image.
        gradients: (steps, h, w, k), of the score at the points of `way`.

    Returns:
        (h, w) float32, or (`CELLS`, `CELLS`) where that is less: at least 0. In units of the score: before the cut at
        zero, a map's sum is nearly the difference of the scores.
    """
    added = ((end.astype(np.float32) - start) * gradients.mean(axis=0)).sum(axis=-1)
    side = added.shape[0]
    if side > CELLS:
        added = cv2.resize(added, (CELLS, CELLS), interpolation=cv2.INTER_AREA) * (side / CELLS) ** 2
    return np.maximum(added, 0.0).astype(np.float32)
