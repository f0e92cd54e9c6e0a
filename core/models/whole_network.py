"""The whole network learns for a few epochs, before it is cut and what lies below the cut is frozen.

Layers that ImageNet's photos taught then know dermatoscopic images too, at the price of a few epochs of every layer:
all others are of what lies above the cut alone, on outputs that are computed once.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.config import TrainConfig
from core.models.classifier import Classifier, as_a_whole
from core.models.devices import Machine, gpus
from core.models.fitting import Examples, Objective, fit
from core.models.trunk_cache import cache_folder, locked
from core.models.trunk_pass import ON_GPU, trunk_hash, versions
from core.runs.files import write_bytes
from core.runs.history import WHOLE_NETWORK
from core.runs.progress import Progress
from core.runs.run import Run

VERSION = 1
"""Raise it whenever the same network, images and settings would end otherwise."""


def learn_as_a_whole(
    run: Run,
    progress: Progress,
    config: TrainConfig,
    classifier: Classifier,
    train: Examples,
    validation: Examples,
    images: Sequence[str],
    objective: Objective,
    machine: Machine,
) -> list[dict[str, Any]]:
    """Train every layer for `epochs_before_cut`; what comes of it is kept in the cache.

    So the networks of an ensemble, repeats, and trainings with another cut or other settings of the later epochs begin
    with one network. Goes on from the run's checkpoint.

    Args:
        run: where history and checkpoint go.
        progress: what is told, and where a stop is noticed.
        config: the recipe.
        classifier: changed in place.
        train, validation: what to learn from and what to measure, as pixels (n, size, size, 3).
        images: tells the images of both, in their order, from any others.
        objective: what is made small.
        machine: what computes.

    Returns:
        The history of these epochs, one row each.

    Raises:
        DatasetError: the cache cannot be written.
        RunError: the disk is full.
        TrainingStopped: on request; whole epochs are kept.
    """
    recipe, model, variables = config.before_cut(), classifier.model, classifier.model.variables
    with as_a_whole(classifier):
        path = _entry(config, classifier, train, validation, images, machine)
        with locked(path, progress.beat):
            kept = _kept(path, len(variables))
            if kept is None:
                progress.phase("training", "The whole network learns first.")
                history = fit(run, progress, recipe, model, train, validation, objective, machine, WHOLE_NETWORK)
                kept = history, [variable.numpy() for variable in variables]
                _keep(path, *kept)
    history, values = kept
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return history


def _entry(
    config: TrainConfig,
    classifier: Classifier,
    train: Examples,
    validation: Examples,
    images: Sequence[str],
    machine: Machine,
) -> Path:
    """Where the network is kept that these epochs come to."""
    begun_with = [trunk_hash(classifier.sensor), list(images), len(train.labels)]
    computed_by = [versions(ON_GPU if gpus() else "tensorflow"), machine.mixed, VERSION]
    digest = hashlib.sha256(json.dumps([config.learned_before_cut(), begun_with, computed_by]).encode())
    for numbers in (train.labels, validation.labels, train.taught):
        digest.update(b"" if numbers is None else np.ascontiguousarray(numbers).tobytes())
    return cache_folder("whole-network") / f"{digest.hexdigest()[:32]}.npz"


def _keep(path: Path, history: list[dict[str, Any]], values: list[np.ndarray]) -> None:
    stream, arrays = io.BytesIO(), {"history": np.array(json.dumps(history))}
    arrays |= {f"value_{at}": value for at, value in enumerate(values)}
    np.savez(stream, allow_pickle=False, **arrays)
    write_bytes(path, stream.getvalue())


def _kept(path: Path, count: int) -> tuple[list[dict[str, Any]], list[np.ndarray]] | None:
    """History and variables; None where there are none, or they cannot be read."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return json.loads(str(arrays["history"])), [arrays[f"value_{at}"] for at in range(count)]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
