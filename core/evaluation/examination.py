"""Examine a finished run: the images, the labels and the heatmaps behind its figures.

Each part is written as soon as it is there, and only what is missing is made: a run that was interrupted, or
that an older DermLens trained, is brought up to date by `python -m core.evaluation --run ID`. What depends on
the images alone is kept below `cache_root()`, so that the next training on them need not wait for it.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from core.backbones import BACKBONES, HEAD
from core.config import TrainConfig
from core.data import duplicates
from core.data.dataset import Dataset
from core.data.ham10000 import load_again
from core.data.images import read_image
from core.data.masks import find_masks
from core.data.quality import assess_quality
from core.diagnoses import LOGIT_COLUMNS, PROBABILITY_COLUMNS
from core.engines import answering_ensemble
from core.errors import RunError
from core.evaluation.heatmaps import measure_heatmaps
from core.evaluation.image_map import image_map
from core.evaluation.mean_images import mean_images
from core.evaluation.model_card import model_card
from core.evaluation.patient import PatientTerm, patients_of
from core.evaluation.results import write_results
from core.evaluation.subgroups import subgroup_figures
from core.evaluation.suspicion import label_table
from core.models.classifier import build_classifier, load_model, sensor_of
from core.models.features import feature_layers
from core.models.joining import join
from core.models.strangeness import fit_strangeness
from core.models.trunk_cache import TrunkCache
from core.places import cache_root
from core.runs.files import read_bytes, read_csv, write_bytes, write_csv
from core.runs.jobs import finished
from core.runs.progress import Progress
from core.runs.run import (
    FEATURES,
    HEATMAPS,
    IMAGE_MAP,
    IMAGES,
    MEAN_IMAGES,
    MODEL,
    MODEL_CARD,
    NEAR_DUPLICATES,
    SUBGROUPS,
    SUSPICIOUS_LABELS,
    TEXT,
    Run,
)

RULES = 2
"""Version of what is kept in the cache: raise it whenever the same images would be judged otherwise."""


Kept = TypeVar("Kept", pd.DataFrame, bytes)


@dataclass(frozen=True)
class _Work:
    """What the parts of an examination share.

    Attributes:
        run: the finished run.
        config: what it was asked to do.
        dataset: the images that it learned from.
        splits: in the order of `dataset.images`.
        progress: what is told.
    """

    run: Run
    config: TrainConfig
    dataset: Dataset
    splits: pd.DataFrame
    progress: Progress

    def of_part(self, part: str) -> pd.DataFrame:
        """The images of one part of the split."""
        return self.dataset.images[(self.splits["split"] == part).to_numpy()]


def examine(run: Run, again: bool = False) -> None:
    """Make whatever a finished run has not got yet.

    Args:
        run: a finished run. Nobody else may write it meanwhile.
        again: make everything anew.

    Raises:
        DatasetError: the images that it learned from are not there any more, or have changed.
        RunError: the run is not finished, cannot be written, or its files do not fit.
    """
    with run.writing():
        finished(run)
        progress = Progress(run, run.config().all_epochs)
        with progress.examining():
            progress.phase("examination", "Reading the data set.")
            dataset = load_again(run.manifest()["data"], run.config().skip_damaged)
            work = _Work(run, run.config(), dataset, run.splits(), progress)
            if again or "operating_points" not in run.calibration() or not (run.folder / FEATURES).exists():
                progress.phase("examination", "Fitting probabilities, prediction sets, thresholds and refusal.")
                _fit_again(work)
            for name, message, make in _PARTS:
                if again or not (run.folder / name).exists():
                    progress.phase("examination", message)
                    make(work)
            run.write_bytes(MODEL_CARD, model_card(run).encode())


def _fit_again(work: _Work) -> None:
    """What training fits on the calibration split, for a run of an older DermLens; of an ensemble, of each member."""
    members = work.run.members()
    for run in members or [work.run]:
        _fit_network_again(work, run)
    if members:
        join(work.run, members, work.progress)


def _fit_network_again(work: _Work, run: Run) -> None:
    config = run.config()
    model, layer = load_model(run.folder / MODEL), run.manifest()["gradcam_layer"]
    sensor = sensor_of(model, layer, feature_layers(BACKBONES[config.backbone]))
    pooled = model.get_layer(layer).output.shape[-1]
    cache = TrunkCache(sensor, config)
    strangeness = fit_strangeness(run, cache, pooled, config, work.dataset, work.splits, work.progress)
    logits = run.predictions()[LOGIT_COLUMNS].to_numpy(np.float32)
    term, added = PatientTerm.from_dict(run.patient()), None
    if term is not None:
        added = term.added(patients_of(work.dataset.images))
        logits = logits - added
    before = run.calibration()
    fitted_on = before["fitted_on"]["heatmaps"]
    write_results(run, work.splits, logits, strangeness, before["heatmap_scale"], fitted_on, added)


# ---- the parts -----------------------------------------------------------------------------------


def _images(work: _Work) -> None:
    """Quality and skin tone of every image."""

    def make() -> pd.DataFrame:
        paths = work.dataset.images["path"].tolist()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = []
            for row in pool.map(lambda path: assess_quality(read_image(path)).to_row(), paths):
                rows.append(row)
                work.progress.step(len(rows), len(paths))
        return pd.DataFrame(rows)

    table = _remembered("quality", [work.dataset.fingerprint()], make)
    work.run.write_csv(IMAGES, pd.concat([work.dataset.images[["image_id"]].reset_index(drop=True), table], axis=1))


def _subgroups(work: _Work) -> None:
    """Figures of the test split by who and where."""
    predictions = work.run.predictions()
    details = work.dataset.images.merge(work.run.images()[["image_id", "ita"]], on="image_id")
    table = predictions[predictions["split"] == "test"].merge(details.drop(columns="dx"), on="image_id")
    probabilities = table[PROBABILITY_COLUMNS].to_numpy()
    figures = subgroup_figures(table, probabilities, table["lesion_id"].to_numpy(), work.config.seed)
    work.run.write_json(SUBGROUPS, figures)


def _near_duplicates(work: _Work) -> None:
    images = work.dataset.images[["image_id", "path"]]
    key = [work.dataset.fingerprint(), str(duplicates.RULES)]
    found = _remembered("near-duplicates", key, lambda: duplicates.near_duplicates(images))
    work.run.write_csv(NEAR_DUPLICATES, found)


def _suspicious_labels(work: _Work) -> None:
    """Every label with how suspicious it is."""
    images, seed = work.dataset.images, work.config.seed
    features = _untrained_features(work)
    found = _of_features(work, "suspicious-labels", features, lambda: label_table(images, features, seed))
    work.run.write_csv(SUSPICIOUS_LABELS, found)


def _untrained_features(work: _Work) -> np.ndarray:
    """(n, k) of the pretrained network: one that has learned a wrong label takes it for right."""
    if all(config.train_from == HEAD for config in [one.config() for one in work.run.members()] or [work.config]):
        return work.run.features()
    config = dataclasses.replace(work.config, train_from=HEAD)
    backbone = build_classifier(config)
    outputs = TrunkCache(backbone.sensor, config).outputs(work.dataset, work.dataset.images, 0, work.progress.step)
    return np.asarray(outputs[:, -backbone.pooled :]).astype(np.float16)


def _image_map(work: _Work) -> None:
    images, seed = work.dataset.images[["image_id"]].reset_index(drop=True), work.config.seed
    features = work.run.features()

    def make() -> pd.DataFrame:
        return images.join(pd.DataFrame(image_map(features, seed), columns=["x", "y"]).round(4))

    work.run.write_csv(IMAGE_MAP, _of_features(work, "image-map", features, make))


def _mean_images(work: _Work) -> None:
    images = work.dataset.images

    def make() -> bytes:
        return mean_images(images["path"].tolist(), images["dx"].tolist(), work.progress.step)

    path = _place("mean-images", [work.dataset.fingerprint()], ".png")
    work.run.write_bytes(MEAN_IMAGES, _kept(path, read_bytes, write_bytes, make))


def _of_features(work: _Work, what: str, features: np.ndarray, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A table that is made from features, or the one in the cache."""
    key = [hashlib.sha256(features.tobytes()).hexdigest(), work.dataset.fingerprint(), str(work.config.seed)]
    return _remembered(what, key, make)


def _heatmaps(work: _Work) -> None:
    if not work.config.measured_heatmaps:
        return
    figures = measure_heatmaps(
        answering_ensemble(work.run, "tensorflow"),
        work.of_part("test"),
        find_masks(work.dataset.folder, *work.dataset.extra),
        work.config.measured_heatmaps,
        work.config.seed,
        work.progress.step,
    )
    work.run.write_json(HEATMAPS, figures)


_PARTS = (
    (IMAGES, "Judging the quality of every image.", _images),
    (MEAN_IMAGES, "Taking the mean of each diagnosis.", _mean_images),
    (SUBGROUPS, "Comparing subgroups.", _subgroups),
    (NEAR_DUPLICATES, "Looking for near-duplicates.", _near_duplicates),
    (SUSPICIOUS_LABELS, "Looking for suspicious labels.", _suspicious_labels),
    (IMAGE_MAP, "Drawing the map of the images.", _image_map),
    (HEATMAPS, "Measuring heatmaps.", _heatmaps),
)


def _remembered(what: str, key: list[str], make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A table, see `_kept`."""
    return _kept(_place(what, key, ".csv"), lambda path: read_csv(path, (), TEXT), write_csv, make)


def _kept(
    path: Path, read: Callable[[Path], Kept], write: Callable[[Path, Kept], None], make: Callable[[], Kept]
) -> Kept:
    """What lies in the cache, or is made now and kept there; a cache that cannot be written costs only time."""
    with suppress(RunError):
        if path.is_file():
            return read(path)
    made = make()
    with suppress(RunError):
        write(path, made)
    return made


def _place(what: str, key: list[str], ending: str) -> Path:
    digest = hashlib.sha256(",".join([*key, str(RULES)]).encode()).hexdigest()[:32]
    return cache_root() / "examined" / f"{what}-{digest}{ending}"
