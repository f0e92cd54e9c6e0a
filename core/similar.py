"""A run's own images beside another one: those of its training that the network sees as most alike, and examples.

Alike is the cosine between the means of the last activation, which every run keeps of all its images.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from core.data.ham10000 import index_dataset
from core.diagnoses import CODES
from core.errors import DermLensError, RunError
from core.runs.run import MANIFEST, Run

SHOWN = 6  # images, in one row


def directions(run: Run) -> np.ndarray:
    """A run's features, each of length 1: (n, k) float32, in the order of splits.csv; (0, 0) where it keeps none.

    Raises:
        RunError: they are damaged.
    """
    features = run.features().astype(np.float32)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    return features


def most_alike(
    features: np.ndarray, asked: np.ndarray, splits: pd.DataFrame, lesion: str | None = None
) -> pd.DataFrame:
    """The `SHOWN` training images whose features point the same way most.

    Args:
        features: of all images, see `directions`.
        asked: (k,), of the image that is asked about, of any length.
        splits: image_id, lesion_id, dx, split, in the order of the features.
        lesion: whose own images are left out; None for an image of no known lesion.

    Returns:
        image_id, dx, similarity (cosine); the most similar first.
    """
    others = splits["split"] == "train"
    if lesion is not None:
        others &= splits["lesion_id"] != lesion
    cosines = np.where(others, features @ (asked / max(float(np.linalg.norm(asked)), 1e-6)), -np.inf)
    order = np.argsort(-cosines, kind="stable")[:SHOWN]
    order = order[np.isfinite(cosines[order])]
    return splits.iloc[order][["image_id", "dx"]].assign(similarity=cosines[order]).reset_index(drop=True)


class RunImages:
    """A run's images, ready to be compared with any image.

    Args:
        run: a finished run.
    """

    def __init__(self, run: Run) -> None:
        self._splits = run.splits()
        self._features = np.zeros((0, 0), np.float32)
        with suppress(RunError):  # an answer does without similar images
            self._features = directions(run)
        try:
            data = run.manifest()["data"]
            further = [Path(folder) for folder in data.get("extra_folders", ()) if os.path.isdir(folder)]
            table = index_dataset(Path(data["folder"]), further).images
            self._paths = dict(zip(table["image_id"], table["path"], strict=True))
        except (DermLensError, KeyError):  # the images are elsewhere by now: the diagnoses are known all the same
            self._paths = {}

    def examples(self) -> list[tuple[str, Path]]:
        """Diagnosis and file of a test image of each diagnosis, in the order of `CODES`; those that are still there."""
        test = self._splits[(self._splits["split"] == "test") & self._splits["image_id"].isin(self._paths.keys())]
        first = test.drop_duplicates("dx").set_index("dx")["image_id"]
        found = [(code, Path(self._paths[first[code]])) for code in CODES if code in first]
        return [(code, path) for code, path in found if path.is_file()]

    def most_alike(self, features: np.ndarray) -> pd.DataFrame:
        """Those most like an image, see `Prediction.features`.

        Returns:
            image_id, dx, similarity, path (None where the image is not there); empty for a run without features.
        """
        if not len(self._features):
            return pd.DataFrame(columns=["image_id", "dx", "similarity", "path"])
        found = most_alike(self._features, features[-self._features.shape[1] :], self._splits)
        return found.assign(path=found["image_id"].map(self._paths.get))


_kept: tuple[tuple[str, int], RunImages] | None = None
_loading = threading.Lock()


def run_images(run: Run) -> RunImages:
    """Those of a run; the last run's stay in memory."""
    global _kept
    with _loading:
        key = (str(run.folder), (run.folder / MANIFEST).stat().st_mtime_ns)
        if _kept is None or _kept[0] != key:
            _kept = (key, RunImages(run))
        return _kept[1]
