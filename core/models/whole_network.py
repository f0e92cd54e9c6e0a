"""The whole network learns for a few epochs, before it is cut and what lies below the cut is frozen.

Layers that ImageNet's photos taught then know dermatoscopic images too, at the price of a few epochs of every layer:
all others are of what lies above the cut alone, on outputs that are computed once.
"""

import hashlib
import io
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np

from core.config import TrainConfig
from core.errors import RunError
from core.models.classifier import Classifier, as_a_whole
from core.models.devices import Machine, gpus
from core.models.fitting import AGAIN, Examples, Objective, fit
from core.models.trunk_cache import cache_folder, delete_unless_in_use, locked
from core.models.trunk_pass import ON_GPU, trunk_hash, versions
from core.runs.files import read_arrays, write_bytes
from core.runs.history import WHOLE_NETWORK
from core.runs.progress import Progress
from core.runs.run import BEFORE_CUT, Run

Kept = tuple[list[dict[str, Any]], list[np.ndarray]]
KEPT = 20  # networks in the cache, of 16 MB each or a few times that
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
    """Train every layer for `epochs_before_cut`; an unfinished run keeps what comes of it, and so does the cache.

    So trainings with another cut or other settings of the later epochs begin with one network. Goes on from the run's
    checkpoint.

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
        The history of these epochs, one row each, with the seconds that this run spent on them.

    Raises:
        DatasetError: the cache cannot be used.
        RunError: the disk is full, or what the run kept of these epochs is damaged.
        TrainingStopped: on request; whole epochs are kept.
    """
    recipe, model, variables = config.before_cut(), classifier.model, classifier.model.variables
    own = run.folder / BEFORE_CUT  # whatever becomes of the cache, and whichever versions go on
    kept = _kept(own, variables, AGAIN)
    if kept is None:
        progress.phase("training", "The whole network learns first.")
        with as_a_whole(classifier):
            entry = _entry(config, classifier, train, validation, images, machine)
            with locked(entry, progress.beat):
                kept = _of_another_training(entry, variables)
                if kept is None:
                    history = fit(run, progress, recipe, model, train, validation, objective, machine, WHOLE_NETWORK)
                    kept = history, [variable.numpy() for variable in variables]
                    _keep(own, *kept)  # first, so that no run takes its own network for another's
                    _keep(entry, *kept)
                    _make_room(entry.parent)
                else:
                    _keep(own, *kept)
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


def _kept(path: Path, variables: list[keras.Variable], advice: str) -> Kept | None:
    """History and variables; None where there is no such file.

    Raises:
        RunError: it holds something else.
    """
    arrays = read_arrays(path, advice)
    if not arrays:
        return None
    try:
        history = [dict(row) for row in json.loads(str(arrays["history"]))]
        values = [arrays[f"value_{at}"].reshape(variable.shape) for at, variable in enumerate(variables)]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path.name} must hold this network. Received: {path} ({error}). {advice}") from error
    return history, values


def _of_another_training(entry: Path, variables: list[keras.Variable]) -> Kept | None:
    """What the cache holds; None where there is nothing, or nothing that can be read: it is learned again."""
    try:
        kept = _kept(entry, variables, "It is learned again.")
    except RunError as error:
        print(f"[training] {error}", flush=True)
        return None
    if kept is None:
        return None
    with suppress(OSError):  # somebody else's file, or deleted by now
        os.utime(entry)  # the oldest one is the one not used for longest
    print("[training] It did so in another training already: that network is in the cache.", flush=True)
    history, values = kept
    return [row | {"seconds": 0.0} for row in history], values


def _make_room(folder: Path) -> None:
    """Delete all but the latest entries; one that is wanted again is learned again."""
    times = {}
    for path in folder.glob("*.npz"):
        with suppress(FileNotFoundError):  # another training makes room too
            times[path] = path.stat().st_mtime
    for path in sorted(times, key=times.__getitem__)[:-KEPT]:
        delete_unless_in_use(path)
