"""Does a heatmap point at what the model uses, and at the lesion? Arithmetic on arrays.

Deletion and insertion: Petsiuk, Das and Saenko, "RISE", BMVC 2018. Pointing game: Zhang et al., "Top-down Neural
Attention by Excitation Backprop", ECCV 2016. Energy: Wang et al., "Score-CAM", CVPR Workshops 2020.
"""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.stats import rankdata

FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Shares of the image, hottest first, after which the curves are measured. The ends are the same for every map."""
RANDOM_GRID = 7


@dataclass(frozen=True, eq=False)
class Curves:
    """What deletion and insertion do to the probability of one diagnosis.

    Attributes:
        fractions: (m,) shares of the image, the hottest part first.
        deletion: name of a heatmap -> (m,) probability when so much is blurred.
        insertion: name of a heatmap -> (m,) probability when only so much is sharp.
        kept: whether the diagnosis is the answer to the wholly blurred image too.
    """

    fractions: np.ndarray
    deletion: dict[str, np.ndarray]
    insertion: dict[str, np.ndarray]
    kept: bool


def resized(heatmap: np.ndarray, size: int) -> np.ndarray:
    """(h, w) -> (size, size) float32, by cubic interpolation, at least 0."""
    grown = cv2.resize(np.asarray(heatmap, np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.maximum(grown, 0.0)


def random_map(generator: np.random.Generator) -> np.ndarray:
    """(7, 7) float32, 0 to 1: a map that knows nothing, as coarse as a real one."""
    return generator.random((RANDOM_GRID, RANDOM_GRID), np.float32)


def centred_gaussian(size: int) -> np.ndarray:
    """(size, size) float32: a map that knows only that lesions are photographed in the middle."""
    line = np.exp(-0.5 * ((np.arange(size) + 0.5 - size / 2) / (0.25 * size)) ** 2).astype(np.float32)
    return np.outer(line, line)


def hottest_first(heatmap: np.ndarray, size: int) -> np.ndarray:
    """In which order a heatmap would take the pixels away.

    Where it says nothing, as everywhere that it is 0, a smooth map drawn for it decides: no place of the image is
    favoured, and no grain appears that the heatmap did not ask for.

    Args:
        heatmap: (h, w), at least 0.
        size: side of the image in pixels.

    Returns:
        (size, size) int: 0 is the hottest pixel.
    """
    grown = resized(heatmap, size).ravel()
    drawn = random_map(np.random.default_rng(zlib.crc32(grown.tobytes())))
    order = np.lexsort((-resized(drawn, size).ravel(), -grown))
    ranks = np.empty(order.size, int)
    ranks[order] = np.arange(order.size)
    return ranks.reshape(size, size)


def area(scores: np.ndarray, fractions: tuple[float, ...] = FRACTIONS) -> np.ndarray:
    """Area under a curve by trapezoids.

    Args:
        scores: (..., len(fractions)).

    Returns:
        (...).
    """
    return np.trapezoid(scores, fractions, axis=-1)


def pointing(heatmap: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the hottest point lies in the lesion.

    Args:
        heatmap: (h, w), at least 0.
        mask: (size, size) bool.
    """
    grown = resized(heatmap, len(mask))
    return bool(grown.max() > 0 and mask.flat[int(grown.argmax())])


def energy(heatmap: np.ndarray, mask: np.ndarray) -> float:
    """The share of the heat that lies in the lesion; NaN where there is no heat.

    Args:
        heatmap: (h, w), at least 0.
        mask: (size, size) bool.
    """
    grown = resized(heatmap, len(mask))
    total = float(grown.sum())
    return float(grown[mask].sum()) / total if total > 0 else float("nan")


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's: 1 for the same order, 0 for none in common; NaN where a map is flat.

    Args:
        one, other: of the same shape.
    """
    ranks = [rankdata(values) for values in (np.ravel(one), np.ravel(other))]
    if any(rank.std() == 0 for rank in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])
