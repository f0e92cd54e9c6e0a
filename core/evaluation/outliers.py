"""Out-of-distribution score: how little the features of an image look like those of dermatoscopy.

Two views of the same features, added. The distance from the images that are known, in a Gaussian (Lee et al., "A
Simple Unified Framework for Detecting Out-of-Distribution Samples", NeurIPS 2018) that has a variance of its own in
its principal directions and one for all others (Moghaddam and Pentland, "Probabilistic Visual Learning for Object
Representation", TPAMI 1997); and the side on which the image lies of a plane between the known images and drawn
pictures of other things (Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure", ICLR 2019). The distance
alone refuses another clinic's images, the plane alone lets through what was not thought of; each makes up for the
other. What keeps other clinics' images in is that half and more of the known images are seen by another camera.

    outliers = fit_outliers(train_features, train_features_seen_by_another_camera, features_of_strangers)
    limit = threshold(outliers.score(calibration), 0.05, outliers.score(calibration_as_another_camera_sees_it))
    refused = outliers.score(features) > limit
"""

import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.utils.extmath import randomized_svd

from core.errors import RunError

DIRECTIONS = 64  # principal ones, each with its own variance: the rest share one
PENALTY = 1e-3  # LogisticRegression's C: a plane through 2,000 dimensions must not lean on any one of them
CHANGED_FACTOR = 1.5  # of images seen by another camera, harder than most, so many times more may be refused
BLOCK = 4096  # images scored at a time: an image takes 66 kB meanwhile
HELD_BACK = 5  # every fifth known image is not fitted, but shows how the two parts of the score spread


@dataclass(frozen=True, eq=False)
class Outliers:
    """The fitted score; see `fit_outliers`.

    Attributes:
        mean, spread: (k,) of the known features, after `_tamed`.
        directions: (k, d), orthonormal; variances: (d,) along them, and rest: that of every other direction.
        plane: (k,), and 0 everywhere when there were no negatives.
        middle, reach: (2,) of the two parts over known images that were not fitted: median, and from there to the
            90th percentile.
    """

    mean: np.ndarray
    spread: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    rest: np.ndarray
    plane: np.ndarray
    middle: np.ndarray
    reach: np.ndarray

    def score(self, features: np.ndarray) -> np.ndarray:
        """How strange images are.

        Args:
            features: (n, k), as those that were fitted.

        Returns:
            (n,) float64, higher is stranger; about 0 in the middle of the known images.
        """
        blocks = [features[start : start + BLOCK] for start in range(0, len(features), BLOCK)]
        parts = np.concatenate([self._parts(block) for block in blocks]) if blocks else np.empty((0, 2))
        return ((parts - self.middle) / self.reach).sum(axis=1)

    def save(self, file: str | Path | IO[bytes]) -> None:
        """Write as .npz, without pickles."""
        np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, file: str | Path | IO[bytes]) -> "Outliers":
        """Read what `save` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def _parts(self, features: np.ndarray) -> np.ndarray:
        """(n, 2): log of the squared distance, and where the plane has it."""
        centred = ((_tamed(features) - self.mean) / self.spread).astype(np.float32)
        along = (centred @ self.directions).astype(np.float64)
        outside = np.maximum((centred.astype(np.float64) ** 2).sum(axis=1) - (along**2).sum(axis=1), 0)
        distance = (along**2 / self.variances).sum(axis=1) + outside / self.rest
        return np.stack([np.log(distance + 1e-9), centred @ self.plane], axis=1)


def read_outliers(path: Path) -> Outliers | None:
    """The fitted score of a run or of an ensemble's member; None for a run of an older DermLens.

    Raises:
        RunError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        return Outliers.load(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{path.name} must hold the fitted score for strange images. Received: {path} ({error}). "
            "Make it anew: python -m core.evaluation --run ID --again"
        ) from error


def fit_outliers(features: np.ndarray, changed_features: np.ndarray, negatives: np.ndarray | None = None) -> Outliers:
    """Fit on features of training images alone.

    Args:
        features: (n, k) of training images, best half as many as changed ones.
        changed_features: (m, k) of training images seen by another camera (`core.data.camera`).
        negatives: (j, k) of what is no dermatoscopy (`core.data.strangers`); None leaves the plane out.
    """
    known = np.concatenate([_tamed(features), _tamed(changed_features)])
    held = np.arange(len(known)) % HELD_BACK == 0
    fitted = known[~held]
    mean, spread = fitted.mean(axis=0), fitted.std(axis=0) + 1e-6
    centred = (fitted - mean) / spread
    first = min(DIRECTIONS, *(side - 1 for side in centred.shape))
    _, scales, directions = randomized_svd(centred.astype(np.float32), first, random_state=0)
    variances = scales.astype(np.float64) ** 2 / len(centred)
    rest = (centred.var(axis=0).sum() - variances.sum()) / (centred.shape[1] - first)
    plane = np.zeros_like(mean) if negatives is None else _plane(centred, (_tamed(negatives) - mean) / spread)
    outliers = Outliers(
        mean=mean,
        spread=spread,
        directions=directions.T,
        variances=np.maximum(variances, 1e-9),
        rest=np.maximum(rest, 1e-9),
        plane=plane.astype(np.float32),
        middle=np.zeros(2),
        reach=np.ones(2),
    )
    middle, high = np.percentile(outliers._parts(np.square(known[held]) * np.sign(known[held])), (50, 90), axis=0)
    return replace(outliers, middle=middle, reach=np.where(high - middle > 1e-9, high - middle, 1.0))


def threshold(scores: np.ndarray, false_refusals: float, changed_scores: np.ndarray | None = None) -> float:
    """The score above which an image is refused.

    Args:
        scores: (n,) of images that should be accepted; at most this share of them is refused.
        false_refusals: 0 to 1.
        changed_scores: (m,) of the same images seen by another camera (`core.data.camera`); at most
            `CHANGED_FACTOR` times that share of them is refused. Nearly always this decides, and of the images as
            they are far fewer are refused: otherwise the next clinic's images would pay for it.
    """
    shares = ((scores, false_refusals), (changed_scores, min(1, CHANGED_FACTOR * false_refusals)))
    return max(
        float(np.quantile(group, 1 - share, method="higher"))
        for group, share in shares
        if group is not None and len(group)
    )


def _tamed(features: np.ndarray) -> np.ndarray:
    """Signed square roots: a few large activations must not outweigh all others."""
    features = np.asarray(features, np.float64)
    return np.sign(features) * np.sqrt(np.abs(features))


def _plane(known: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """(k,) weights that tell negatives (higher) from known images; both standardised."""
    both = np.concatenate([known, negatives])
    kinds = np.repeat([0, 1], [len(known), len(negatives)])
    model = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=3000).fit(both, kinds)
    return model.coef_[0]
