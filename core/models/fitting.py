"""The epochs of a training: step by step, reproducible, and able to go on from any whole epoch.

Keras's own `fit` with `BackupAndRestore` loses the patience of EarlyStopping and the best weights when it
is interrupted; here all that a later epoch depends on is in one `FitState`.
"""

import io
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from core.config import TrainConfig
from core.data.loading import Take, in_batches, read_ahead
from core.errors import RunError
from core.evaluation.metrics import epoch_figures
from core.runs.files import write_bytes
from core.runs.progress import Progress
from core.runs.run import CHECKPOINT, HISTORY, HISTORY_COLUMNS, Run

EVALUATION_BATCH = 256


@dataclass
class FitState:
    """What a later epoch depends on, besides the numbers in the network and the optimizer.

    Attributes:
        epoch: whole epochs done.
        best: the best validation balanced accuracy so far.
        epochs_without_better: since then.
        lowest_loss: the lowest validation loss so far.
        epochs_without_lower: since then, or since the learning rate was cut.
        learning_rate: now.
        history: one row an epoch.
    """

    learning_rate: float
    epoch: int = 0
    best: float = -1.0
    epochs_without_better: int = 0
    lowest_loss: float = float("inf")
    epochs_without_lower: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Examples:
    """Labelled inputs of the part that is trained.

    Attributes:
        take: (rows, views) -> inputs.
        labels: (n,) indices into `CODES`.
        views: how many views there are of each; None draws a fresh one each epoch.
    """

    take: Take
    labels: np.ndarray
    views: int | None = 1


def fit(
    run: Run,
    progress: Progress,
    config: TrainConfig,
    top: keras.Model,
    train: Examples,
    validation: Examples,
    weights: np.ndarray,
) -> None:
    """Train `top`; afterwards it holds the weights of its best epoch.

    The best epoch is the one of the highest validation balanced accuracy. Goes on from the run's checkpoint
    if there is one.

    Args:
        run: where history and checkpoint go.
        progress: what is told, and where a stop is noticed.
        config: the recipe.
        top: inputs -> logits (n, 7).
        train, validation: what to learn from, and what to choose the epoch by.
        weights: (7,) what an image of each diagnosis counts.

    Raises:
        TrainingStopped: on request; whole epochs are kept.
    """
    optimizer = keras.optimizers.Adam(config.learning_rate)
    optimizer.build(top.trainable_variables)
    restored = _restore(run, top, optimizer)
    state, best = restored or (FitState(config.learning_rate), [variable.numpy() for variable in top.variables])
    train_step = _train_step(top, optimizer, tf.constant(weights))
    predict = compiled_logits(top)

    while state.epoch < config.epochs and state.epochs_without_better < config.early_stopping_patience:
        started = time.monotonic()
        rate = state.learning_rate
        optimizer.learning_rate.assign(rate)
        loss, logits, order = _one_epoch(config, progress, train_step, train, state.epoch)
        if not np.isfinite(logits).all():
            raise RunError(
                f"Training needs figures that stay finite. Received: logits without end in epoch {state.epoch + 1}. "
                f"Start a new run with a lower --learning-rate than {rate:g}."
            )
        seconds = time.monotonic() - started
        row: dict[str, Any] = {"phase": "training", "epoch": state.epoch + 1, "loss": loss}
        row |= epoch_figures(train.labels[order], logits)
        row |= _validate(predict, validation, weights)
        row |= {"learning_rate": rate, "seconds": round(time.monotonic() - started, 3)}
        if row["val_balanced_accuracy"] > state.best:
            best = [variable.numpy() for variable in top.variables]
        _take_note(state, config, row)
        _save(run, top, optimizer, state, best)
        run.write_csv(HISTORY, pd.DataFrame(state.history, columns=list(HISTORY_COLUMNS)))
        left = row["seconds"] * (config.epochs - state.epoch)
        progress.epoch(state.epoch, len(order) / seconds, left, _in_words(row))

    # the history may be newer than the last process's own: a kill can fall between checkpoint and history
    run.write_csv(HISTORY, pd.DataFrame(state.history, columns=list(HISTORY_COLUMNS)))
    for variable, value in zip(top.variables, best, strict=True):
        variable.assign(value)


def compiled_logits(model: keras.Model) -> Callable[[np.ndarray], tf.Tensor]:
    """A compiled pass: inputs (n, ...) -> logits (n, 7)."""

    @tf.function(reduce_retracing=True)
    def logits(inputs: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(inputs, tf.float32), training=False)

    return logits


def all_logits(predict: Callable[[np.ndarray], tf.Tensor], take: Take, rows: np.ndarray) -> np.ndarray:
    """(len(rows), 7) logits of the first view of each row."""
    batches = in_batches(rows, np.zeros(len(rows), int), EVALUATION_BATCH)
    return np.concatenate([np.asarray(predict(inputs)) for inputs in read_ahead(take, batches)])


def _one_epoch(
    config: TrainConfig, progress: Progress, train_step: Callable, train: Examples, epoch: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean loss, logits as they were in training, and the order they are in."""
    dice = np.random.default_rng([config.seed, epoch])
    order = dice.permutation(len(train.labels))
    views = np.full(len(order), epoch + 1) if train.views is None else dice.integers(0, train.views, len(order))
    batches = in_batches(order, views, config.batch_size)
    loss, logits = 0.0, []
    for inputs, (rows, _) in zip(read_ahead(train.take, batches), batches, strict=True):
        batch_loss, batch_logits = train_step(inputs, train.labels[rows])
        loss += float(batch_loss) * len(rows)
        logits.append(np.asarray(batch_logits))
        progress.beat()
    return loss / len(order), np.concatenate(logits), order


def _train_step(top: keras.Model, optimizer: keras.Optimizer, weights: tf.Tensor) -> Callable:
    @tf.function(reduce_retracing=True)
    def step(inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = top(tf.cast(inputs, tf.float32), training=True)
            loss = _loss(logits, labels, weights)
        gradients = tape.gradient(loss, top.trainable_variables)
        optimizer.apply(gradients, top.trainable_variables)
        return loss, logits

    return step


def _loss(logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Cross-entropy, each image weighed by its diagnosis; the mean over the batch, as Keras takes it."""
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(each * tf.gather(weights, labels))


def _validate(predict: Callable, validation: Examples, weights: np.ndarray) -> dict[str, float]:
    logits = all_logits(predict, validation.take, np.arange(len(validation.labels)))
    loss = float(_loss(tf.constant(logits), tf.constant(validation.labels), tf.constant(weights)))
    figures = {"loss": loss, **epoch_figures(validation.labels, logits)}
    return {f"val_{name}": value for name, value in figures.items()}


def _take_note(state: FitState, config: TrainConfig, row: dict[str, Any]) -> None:
    """What EarlyStopping and ReduceLROnPlateau would do after this epoch."""
    state.epoch += 1
    state.history.append(row)
    better = row["val_balanced_accuracy"] > state.best
    state.best = max(state.best, row["val_balanced_accuracy"])
    state.epochs_without_better = 0 if better else state.epochs_without_better + 1
    lower = row["val_loss"] < state.lowest_loss - 1e-4  # Keras's min_delta
    state.lowest_loss = min(state.lowest_loss, row["val_loss"])
    state.epochs_without_lower = 0 if lower else state.epochs_without_lower + 1
    if state.epochs_without_lower >= config.reduce_lr_patience:
        state.learning_rate *= config.reduce_lr_factor
        state.epochs_without_lower = 0


def _in_words(row: dict[str, Any]) -> str:
    return (
        f"loss {row['loss']:.3f} (validation {row['val_loss']:.3f}), "
        f"balanced accuracy {row['balanced_accuracy']:.3f} (validation {row['val_balanced_accuracy']:.3f})"
    )


# ---- checkpoint --------------------------------------------------------------------------------


def _save(run: Run, top: keras.Model, optimizer: keras.Optimizer, state: FitState, best: list[np.ndarray]) -> None:
    arrays = {f"top_{index}": variable.numpy() for index, variable in enumerate(top.variables)}
    arrays |= {f"optimizer_{index}": variable.numpy() for index, variable in enumerate(optimizer.variables)}
    arrays |= {f"best_{index}": value for index, value in enumerate(best)}
    stream = io.BytesIO()
    np.savez(stream, state=np.array(json.dumps(asdict(state))), **arrays)
    write_bytes(run.folder / CHECKPOINT, stream.getvalue())


def _restore(run: Run, top: keras.Model, optimizer: keras.Optimizer) -> tuple[FitState, list[np.ndarray]] | None:
    """Fill network and optimizer from the run's checkpoint; None when there is none."""
    path = run.folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for prefix, variables in (("top", top.variables), ("optimizer", optimizer.variables)):
                for index, variable in enumerate(variables):
                    variable.assign(arrays[f"{prefix}_{index}"])
            best = [arrays[f"best_{index}"] for index in range(len(top.variables))]
            return FitState(**json.loads(str(arrays["state"]))), best
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(
            f"A checkpoint must fit its run. Received: {path} ({error}). Delete it to train the run from its start."
        ) from error
