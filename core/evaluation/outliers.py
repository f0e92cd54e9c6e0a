"""Out-of-distribution score: how far an image's features lie from those of dermatoscopic images."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

import numpy as np
from sklearn.covariance import ledoit_wolf


@dataclass(frozen=True, eq=False)
class Outliers:
    """Distance from dermatoscopy; see `fit_outliers`."""

    mean: np.ndarray
    whitening: np.ndarray

    def score(self, features: np.ndarray) -> np.ndarray:
        """(n,) float64, higher is stranger, of features (n, k)."""
        centred = (np.asarray(features, np.float64) - self.mean) @ self.whitening
        return np.sqrt((centred**2).sum(axis=1))

    def save(self, file: str | Path | IO[bytes]) -> None:
        """Write as .npz, without pickles."""
        np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, file: str | Path | IO[bytes]) -> "Outliers":
        """Read what `save` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def fit_outliers(
    features: np.ndarray, changed_features: np.ndarray, negatives: np.ndarray | None = None, seed: int = 0
) -> Outliers:
    """Fit on features of training images alone.

    Args:
        features: (n, k) of training images.
        changed_features: (m, k) of training images seen by another camera (`core.data.camera`).
        negatives: (j, k) of what is no dermatoscopy (`core.data.strangers`); None fits without.
        seed: of what is drawn by lot.
    """
    known = np.concatenate([features[: len(changed_features)], changed_features]).astype(np.float64)
    mean = known.mean(axis=0)
    values, vectors = np.linalg.eigh(ledoit_wolf(known)[0])
    return Outliers(mean, vectors / np.sqrt(np.maximum(values, 1e-9)))


def threshold(scores: np.ndarray, false_refusals: float) -> float:
    """The score above which this share of the given images lies.

    Args:
        scores: (n,) of images that should be accepted.
        false_refusals: 0 to 1.
    """
    return float(np.quantile(scores, 1 - false_refusals, method="higher"))
