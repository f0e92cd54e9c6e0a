"""How strange an image is to a run: fitted on what its network makes of the training images."""

import io
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pandas as pd

from core.config import TrainConfig
from core.data.dataset import Dataset
from core.data.images import model_input, read_image
from core.data.strangers import stranger
from core.errors import ConfigError
from core.evaluation.outliers import fit_outliers
from core.evaluation.trust import Strangeness
from core.models.trunk_cache import TrunkCache
from core.runs.progress import Progress
from core.runs.run import FEATURES, OUTLIERS, Run

CHANGED_IMAGES = 2000  # training images that are seen as another camera would: at 50 a second, most of a minute
CHANGED_HELD = 500  # calibration images, seen so too, that the threshold is set by
CHANGED_VIEW = -1
STRANGERS = 1000  # pictures that are no dermatoscopy; never more than there are training images
STRANGERS_VERSION = 1
"""Raise it whenever `core.data.strangers` would draw otherwise."""
FAMILIAR = 64  # training images that some of them are put together from


def fit_strangeness(
    run: Run,
    cache: TrunkCache,
    pooled: int,
    config: TrainConfig,
    dataset: Dataset,
    splits: pd.DataFrame,
    progress: Progress,
) -> Strangeness:
    """Fit, and write features.npy and outliers.npz.

    Args:
        run: whose files they are.
        cache: outputs of the sensor, pixels -> features (n, k); see `core.models.classifier.Classifier`.
        pooled: how many of the features, the last ones, are the mean of the last activation.
        config: the run's.
        dataset: its images.
        splits: in the order of `dataset.images`.
        progress: what is told.

    Returns:
        The scores that results are made from.
    """
    phase = progress.status.phase
    train = np.random.default_rng(config.seed).permutation(np.flatnonzero(splits["split"] == "train"))
    some = np.sort(train[:CHANGED_IMAGES])
    views = ((dataset.images, 0), (dataset.images.iloc[some], CHANGED_VIEW))
    needs = {cache.entry(dataset, images, view): len(images) for images, view in views}
    with suppress(ConfigError):  # larger than the cache may grow: a finished training does not fail for that
        cache.make_room(needs)
    progress.phase(phase, "Features of every image.")
    features = np.asarray(cache.outputs(dataset, dataset.images, 0, progress.step))
    stream = io.BytesIO()
    np.save(stream, features[:, -pooled:].astype(np.float16))
    run.write_bytes(FEATURES, stream.getvalue())

    progress.phase(phase, "Training images as other cameras would have taken them.")
    held = np.flatnonzero(splits["split"] == "calibration")[:CHANGED_HELD]
    changed, changed_held = (
        np.asarray(cache.outputs(dataset, dataset.images.iloc[rows], CHANGED_VIEW, progress.step))
        for rows in (some, held)
    )
    progress.phase(phase, "Drawn pictures that are no dermatoscopy.")
    strangers = _strangers(cache, config, dataset, train, progress.step)
    known = features[train[: max(1, len(some) // 2)]]  # that half and more are seen by another camera keeps others in
    outliers = fit_outliers(known, changed, strangers)
    stream = io.BytesIO()
    outliers.save(stream)
    run.write_bytes(OUTLIERS, stream.getvalue())
    return Strangeness(outliers.score(features), outliers.score(changed_held))


def _strangers(
    cache: TrunkCache, config: TrainConfig, dataset: Dataset, train: np.ndarray, step: Callable
) -> np.ndarray:
    """(j, k): features of drawn pictures that are no dermatoscopy."""
    size = cache.trunk.input.shape[1]
    parts = dataset.images.iloc[train[:FAMILIAR]]  # never of an image that is tested: another split has others
    familiar = [model_input(read_image(path), size) for path in parts["path"]]

    def draw(number: int) -> np.ndarray:
        return model_input(stranger(np.random.default_rng([config.seed, number]), familiar), size)

    contents = ",".join(dataset.contents[image_id] for image_id in parts["image_id"])
    what = f"strangers {STRANGERS_VERSION}, seed {config.seed}, {contents}"
    return np.asarray(cache.of_drawn(what, draw, min(STRANGERS, len(train)), step))
