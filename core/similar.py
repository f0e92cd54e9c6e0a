"""The training images that a run's network sees as most like another image: what the answer may have been learned from.

Alike is the cosine between the means of the last activation, which every run keeps of all its images.
"""

import threading
from pathlib import Path

import numpy as np
import pandas as pd

from core.data.ham10000 import index_dataset
from core.errors import DermLensError
from core.runs.run import FEATURES, Run


def directions(path: Path) -> np.ndarray:
    """A run's features, each of length 1: (n, k) float32, in the order of splits.csv."""
    features = np.load(path).astype(np.float32)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    return features


def most_alike(
    features: np.ndarray, asked: np.ndarray, splits: pd.DataFrame, count: int, lesion: str | None = None
) -> pd.DataFrame:
    """The training images whose features point the same way.

    Args:
        features: of all images, see `directions`.
        asked: (k,), of the image that is asked about, of any length.
        splits: image_id, lesion_id, dx, split, in the order of the features.
        count: how many at most.
        lesion: whose own images are left out; None for an image of no known lesion.

    Returns:
        image_id, dx, similarity (cosine); the most similar first.
    """
    others = splits["split"] == "train"
    if lesion is not None:
        others &= splits["lesion_id"] != lesion
    cosines = np.where(others, features @ (asked / max(float(np.linalg.norm(asked)), 1e-6)), -np.inf)
    order = np.argsort(-cosines, kind="stable")[:count]
    order = order[np.isfinite(cosines[order])]
    return splits.iloc[order][["image_id", "dx"]].assign(similarity=cosines[order]).reset_index(drop=True)


class TrainingImages:
    """A run's training images, ready to be compared with any image.

    Args:
        run: a finished run.
    """

    def __init__(self, run: Run) -> None:
        path = run.folder / FEATURES
        self._splits = run.splits()
        self._features = directions(path) if path.is_file() else None
        try:
            table = index_dataset(Path(run.manifest()["data"]["folder"])).images
            self._paths = dict(zip(table["image_id"], table["path"], strict=True))
        except (DermLensError, KeyError):  # the images are elsewhere by now: the diagnoses are known all the same
            self._paths = {}

    def most_alike(self, features: np.ndarray, count: int = 6) -> pd.DataFrame:
        """Those most like an image, see `Prediction.features`.

        Returns:
            image_id, dx, similarity, path (None where the image is not there); empty for a run without features.
        """
        if self._features is None:
            return pd.DataFrame(columns=["image_id", "dx", "similarity", "path"])
        found = most_alike(self._features, features[-self._features.shape[1] :], self._splits, count)
        return found.assign(path=found["image_id"].map(self._paths.get))


_kept: tuple[str, TrainingImages] | None = None
_loading = threading.Lock()


def training_images(run: Run) -> TrainingImages:
    """Those of a run; the last run's stay in memory."""
    global _kept
    with _loading:
        if _kept is None or _kept[0] != str(run.folder):
            _kept = (str(run.folder), TrainingImages(run))
        return _kept[1]
