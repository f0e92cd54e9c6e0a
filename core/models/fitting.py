"""The epochs of a training: step by step, reproducible, and able to go on from any whole epoch.

Keras's own `fit` with `BackupAndRestore` loses the patience of EarlyStopping and the best weights when it
is interrupted; here all that a later epoch depends on is in one `FitState`.
"""

import io
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from core.config import ADAMW, COSINE, TrainConfig
from core.data.augment import TURNS
from core.data.loading import Take, in_batches, read_ahead
from core.errors import RunError
from core.evaluation.metrics import epoch_figures
from core.models.devices import AtOnce, Machine
from core.models.fused_adamw import FusedAdamW
from core.runs.files import read_arrays, write_bytes
from core.runs.history import TRAINING, WHOLE_NETWORK
from core.runs.progress import Progress
from core.runs.run import CHECKPOINT, HISTORY, HISTORY_COLUMNS, Run

EVALUATION_BATCH = 256
AGAIN = "Delete it to train the run from its start."
LEARNING_RATES = {TRAINING: "--learning-rate", WHOLE_NETWORK: "--whole-learning-rate"}  # the option of each phase
IMITATION, SOFTNESS = 0.7, 2.0  # share of the loss that is the teacher's, and the temperature of its answers
evaluated_at_once = AtOnce(EVALUATION_BATCH)


@dataclass
class FitState:
    """What a later epoch depends on, besides the numbers in the network and the optimizer.

    Attributes:
        epoch: whole epochs done.
        best: the best validation balanced accuracy so far.
        epochs_without_better: since then.
        lowest_loss: the lowest validation loss so far.
        epochs_without_lower: since then, or since the learning rate was cut.
        learning_rate: now, where a plateau sets it.
        history: one row an epoch, those of earlier phases too.
        phase: which of a run's trainings this is.
    """

    learning_rate: float
    epoch: int = 0
    best: float = -1.0
    epochs_without_better: int = 0
    lowest_loss: float = float("inf")
    epochs_without_lower: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    phase: str = TRAINING


@dataclass(frozen=True, eq=False)
class Objective:
    """What training makes small: a cross-entropy, and how it helps the rare diagnoses.

    Attributes:
        weights: (7,) float32, what an image of each diagnosis counts.
        offsets: (7,) float32, added to the logits in training, and in training alone.
        smoothing: share of each label that is spread over all seven; evenly, or as the offsets weigh them.
    """

    weights: np.ndarray
    offsets: np.ndarray
    smoothing: float = 0.0

    @classmethod
    def of(cls, config: TrainConfig, balance: np.ndarray) -> "Objective":
        """The objective that teaches a network the balance that was asked for.

        Logits balanced by weights come from counting rare images more often. By adjustment (Menon et al., "Long-tail
        Learning via Logit Adjustment", ICLR 2021) every image counts the same, but the logits that are compared with
        the labels have what the training part's shares explain added to them, so that the network's own are left with
        the rest. Weights w have the same optimum as offsets -log(w).

        Args:
            config: the recipe.
            balance: (7,) over 0, see `core.evaluation.results.training_weights`.
        """
        ones, zeros = np.ones_like(balance), np.zeros_like(balance)
        if config.logit_adjustment:
            return cls(ones, -np.log(balance), config.label_smoothing)
        return cls(balance, zeros, config.label_smoothing)

    def each(self, logits: tf.Tensor, labels: tf.Tensor, taught: tf.Tensor | None = None) -> tf.Tensor:
        """(n,) loss of logits (n, 7) for labels (n,), and where there is a teacher, for what it says.

        Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.

        Args:
            logits: of the network.
            labels: indices into `CODES`.
            taught: (n, 7) the teacher's logits, with every diagnosis as common as it is; as balanced as the weights
                make the labels, where there are weights.
        """
        adjusted = logits + self.offsets
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=adjusted)
        if self.smoothing:
            # to where all logits are alike: spread evenly, an adjusted nevus would hardly outdo the rarest diagnosis
            shares = np.exp(self.offsets) / np.exp(self.offsets).sum()
            spread = -tf.reduce_sum(tf.nn.log_softmax(adjusted) * shares, axis=1)
            loss = (1 - self.smoothing) * loss + self.smoothing * spread
        if taught is not None:
            wanted = tf.nn.log_softmax(taught / SOFTNESS)
            missed = tf.reduce_sum(tf.exp(wanted) * (wanted - tf.nn.log_softmax(adjusted / SOFTNESS)), axis=1)
            loss = (1 - IMITATION) * loss + IMITATION * SOFTNESS**2 * missed
        return loss * tf.gather(self.weights, labels)


@dataclass(frozen=True)
class Examples:
    """Labelled inputs of the part that is trained.

    Attributes:
        take: (rows, views) -> inputs.
        labels: (n,) indices into `CODES`.
        views: how many views there are of each; None draws a fresh one each epoch.
        taught: (n, 7) float32, what a teacher says of each; see `Objective.each`.
    """

    take: Take
    labels: np.ndarray
    views: int | None = 1
    taught: np.ndarray | None = None


def fit(
    run: Run,
    progress: Progress,
    config: TrainConfig,
    top: keras.Model,
    train: Examples,
    validation: Examples,
    objective: Objective,
    machine: Machine | None = None,
    phase: str = TRAINING,
    earlier: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Train `top`; afterwards it holds the weights of its best epoch, or the mean of its last ones.

    The best epoch is the one of the highest validation balanced accuracy. The mean is that of Izmailov et al.,
    "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018; every BatchNormalization is
    frozen, so that none has to be measured anew for it. Goes on from the run's checkpoint if there is one.

    Args:
        run: where history and checkpoint go.
        progress: what is told, and where a stop is noticed.
        config: the recipe.
        top: inputs -> logits (n, 7).
        train, validation: what to learn from, and what to choose the epoch by.
        objective: what is made small.
        machine: what computes; by default, all that is there.
        phase: `TRAINING` or `WHOLE_NETWORK`.
        earlier: the run's history so far, of other phases; a checkpoint that came after other epochs is none.

    Returns:
        The run's history.

    Raises:
        TrainingStopped: on request; whole epochs are kept.
    """
    machine = machine or Machine.here(config)
    model, top = top, machine.trainable(top)
    optimizer = machine.optimizer(lambda: _optimizer(config), top.trainable_variables)
    begun = FitState(config.learning_rate, history=list(earlier), phase=phase)
    state, kept = _restore(run, begun, top, optimizer) or (begun, [variable.numpy() for variable in top.variables])
    train_step = _train_step(top, optimizer, objective, machine)
    predict = compiled_logits(top)

    while state.epoch < config.epochs and not _had_enough(state, config):
        started = time.monotonic()
        rates = step_rates(config, state, math.ceil(len(train.labels) / config.batch_size))
        rate = max(rates)
        loss, logits, order = _one_epoch(config, progress, _at_rates(optimizer, rates, train_step), train, state.epoch)
        seconds = time.monotonic() - started
        held = all_logits(predict, validation.take, np.arange(len(validation.labels)))
        number = len(state.history) + 1
        if not (np.isfinite(logits).all() and np.isfinite(held).all()):
            raise RunError(
                f"Training needs figures that stay finite. Received: logits without end in epoch {number}. "
                f"Start a new run with a lower {LEARNING_RATES[phase]} than {rate:g}."
            )
        row: dict[str, Any] = {"phase": phase, "epoch": number, "loss": loss}
        row |= epoch_figures(train.labels[order], logits)
        row |= _validation_figures(held, validation.labels, objective)
        row |= {"learning_rate": rate, "seconds": round(time.monotonic() - started, 3)}
        kept = _keep(kept, top, config, state, row["val_balanced_accuracy"] > state.best)
        _take_note(state, config, row)
        _save(run, top, optimizer, state, kept)
        run.write_csv(HISTORY, pd.DataFrame(state.history, columns=list(HISTORY_COLUMNS)))
        left = row["seconds"] * (config.epochs - state.epoch)
        progress.epoch(number, len(order) / seconds, left, _in_words(row))

    # the history may be newer than the last process's own: a kill can fall between checkpoint and history
    run.write_csv(HISTORY, pd.DataFrame(state.history, columns=list(HISTORY_COLUMNS)))
    for variable, value in zip(model.variables, kept, strict=True):
        variable.assign(value)
    return state.history


def step_rates(config: TrainConfig, state: FitState, steps: int) -> list[float]:
    """The step size of each step of the next epoch.

    A cosine (Loshchilov and Hutter, "SGDR", ICLR 2017) without restarts, after a warm-up along a straight line.

    Args:
        config: the recipe.
        state: epochs done, and where a plateau has brought the rate.
        steps: of one epoch.
    """
    if config.schedule != COSINE:
        return [state.learning_rate] * steps
    total = steps * config.epochs
    warm = round(config.warm_up * total)

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2

    return [config.learning_rate * share(state.epoch * steps + step) for step in range(steps)]


def compiled_logits(model: keras.Model) -> Callable[[np.ndarray], tf.Tensor]:
    """A compiled pass: inputs (n, ...) -> logits (n, 7)."""

    @tf.function(reduce_retracing=True)
    def logits(inputs: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(inputs, tf.float32), training=False)

    return logits


def all_logits(predict: Callable[[np.ndarray], tf.Tensor], take: Take, rows: np.ndarray, view: int = 0) -> np.ndarray:
    """(len(rows), 7) logits of one view of each row."""
    batches = in_batches(rows, np.full(len(rows), view), EVALUATION_BATCH)
    return np.concatenate([evaluated_at_once(predict, inputs) for inputs in read_ahead(take, batches)])


def _one_epoch(
    config: TrainConfig, progress: Progress, train_step: Callable, train: Examples, epoch: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean loss, logits as they were in training, and the order they are in."""
    dice = np.random.default_rng([config.seed, epoch, *filter(None, [config.repeat])])
    order = dice.permutation(len(train.labels))
    # fresh views: as many numbers of the epoch's own as there are exact turns, or all images would be turned alike
    first, count = (TURNS * (epoch + 1), TURNS) if train.views is None else (0, train.views)
    views = first + dice.integers(0, count, len(order))
    batches = in_batches(order, views, config.batch_size)
    loss, logits = 0.0, []
    for inputs, (rows, _) in zip(read_ahead(train.take, batches), batches, strict=True):
        taught = None if train.taught is None else train.taught[rows]
        batch_loss, batch_logits = train_step(inputs, train.labels[rows], taught, *_mixture(config, inputs.shape, dice))
        loss += batch_loss * len(rows)
        logits.append(batch_logits)
        progress.beat()
    return loss / len(order), np.concatenate(logits), order


def _mixture(config: TrainConfig, shape: tuple[int, ...], dice: np.random.Generator) -> tuple[np.ndarray, ...]:
    """With whom each image of a batch is mixed (b,), and its own share, or its share at each place; () without mixup.

    A sum is that of Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; a square of the other image
    instead is from Yun et al., "CutMix", ICCV 2019. An image keeps the larger share, so that the figures of the
    training are those of its own label: as each is somebody's partner too, the mixtures are the same.

    Args:
        config: the recipe.
        shape: of the inputs (b, ...).
        dice: what is drawn with.

    Returns:
        Partners, and float32 shares (b,), or (b, h, w) of inputs (b, h, w, k) where squares are pasted.
    """
    if not config.mixup:
        return ()
    count, *places = shape[:-1]
    shares = dice.beta(config.mixup, config.mixup, count)
    partners, shares = dice.permutation(count), np.maximum(shares, 1 - shares).astype(np.float32)
    if not (config.cutmix and places):
        return partners, shares
    everywhere = np.broadcast_to(shares[:, None, None], shape[:-1]).copy()
    for row in np.flatnonzero(dice.random(count) < config.cutmix):
        height, width = (round(math.sqrt(1 - shares[row]) * side) for side in places)
        top, left = dice.integers(0, places[0] - height + 1), dice.integers(0, places[1] - width + 1)
        everywhere[row] = 1
        everywhere[row, top : top + height, left : left + width] = 0
    return partners, everywhere


def _optimizer(config: TrainConfig) -> keras.Optimizer:
    """AdamW is Loshchilov and Hutter's, "Decoupled Weight Decay Regularization", ICLR 2019."""
    if config.optimizer != ADAMW:
        return keras.optimizers.Adam(config.learning_rate)
    optimizer = FusedAdamW(config.learning_rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def _at_rates(optimizer: keras.Optimizer, rates: list[float], train_step: Callable) -> Callable:
    """The same step, which takes the next rate each time it is called."""
    coming = iter(rates)

    def step(*batch: np.ndarray | None) -> tuple[float, np.ndarray]:
        optimizer.learning_rate.assign(next(coming))
        return train_step(*batch)

    return step


def _train_step(top: keras.Model, optimizer: keras.Optimizer, objective: Objective, machine: Machine) -> Callable:
    """A compiled step -> loss, logits (b, 7). It takes inputs (b, ...), labels (b,), a teacher's logits (b, 7) or None,
    and with mixup what `_mixture` gives."""

    def losses(inputs: tf.Tensor, *rest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`rest` is what is said of the inputs; mixed, also the other inputs, what is said of them, and the shares."""
        inputs = tf.cast(inputs, tf.float32)
        if len(rest) <= 2:
            logits = top(inputs, training=True)
            return objective.each(logits, *rest), logits
        said = len(rest) // 2 - 1
        others, shares = tf.cast(rest[said], tf.float32), rest[-1]
        logits = top(_mixed(inputs, others, shares), training=True)
        own, other = objective.each(logits, *rest[:said]), objective.each(logits, *rest[said + 1 : -1])
        return _mixed(own, other, tf.reduce_mean(shares, range(1, len(shares.shape)))), logits

    on_batch = machine.step(losses, top.trainable_variables, optimizer)

    def step(
        inputs: np.ndarray,
        labels: np.ndarray,
        taught: np.ndarray | None = None,
        partners: np.ndarray | None = None,
        shares: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        said = [labels] if taught is None else [labels, taught]
        if partners is None:
            return on_batch(inputs, *said)
        return on_batch(inputs, *said, inputs[partners], *(some[partners] for some in said), shares)

    return step


def _mixed(own: tf.Tensor, others: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """Each row as a sum of two: own and others (b, ...), shares of the own (b,) or at each place (b, h, w)."""
    shares = tf.reshape(shares, (-1, *shares.shape[1:], *[1] * (len(own.shape) - len(shares.shape))))
    return shares * own + (1 - shares) * others


def _validation_figures(logits: np.ndarray, labels: np.ndarray, objective: Objective) -> dict[str, float]:
    loss = float(tf.reduce_mean(objective.each(tf.constant(logits), tf.constant(labels))))
    figures = {"loss": loss, **epoch_figures(labels, logits)}
    return {f"val_{name}": value for name, value in figures.items()}


def _take_note(state: FitState, config: TrainConfig, row: dict[str, Any]) -> None:
    """What EarlyStopping and ReduceLROnPlateau would do after this epoch."""
    state.epoch += 1
    state.history.append(row)
    better = row["val_balanced_accuracy"] > state.best
    state.best = max(state.best, row["val_balanced_accuracy"])
    state.epochs_without_better = 0 if better else state.epochs_without_better + 1
    lower = row["val_loss"] < state.lowest_loss - 1e-4  # Keras's min_delta
    state.lowest_loss = row["val_loss"] if lower else state.lowest_loss
    state.epochs_without_lower = 0 if lower else state.epochs_without_lower + 1
    if state.epochs_without_lower >= config.reduce_lr_patience:
        state.learning_rate *= config.reduce_lr_factor
        state.epochs_without_lower = 0


def _had_enough(state: FitState, config: TrainConfig) -> bool:
    """Whether EarlyStopping would stop now; what has a last epoch goes on to it."""
    return not config.runs_to_the_end and state.epochs_without_better >= config.early_stopping_patience


def _keep(
    kept: list[np.ndarray], top: keras.Model, config: TrainConfig, state: FitState, better: bool
) -> list[np.ndarray]:
    """The weights that the run would end with now, before this epoch is counted: the best, or a mean so far."""
    now = [variable.numpy() for variable in top.variables]
    if not config.average_last:
        return now if better else kept
    earlier = state.epoch - max(0, config.epochs - config.average_last)  # epochs that are in the mean already
    if earlier <= 0:
        return now
    return [
        before + (value - before) / (earlier + 1) if np.issubdtype(value.dtype, np.floating) else value
        for before, value in zip(kept, now, strict=True)
    ]


def _in_words(row: dict[str, Any]) -> str:
    return (
        f"loss {row['loss']:.3f} (validation {row['val_loss']:.3f}), "
        f"balanced accuracy {row['balanced_accuracy']:.3f} (validation {row['val_balanced_accuracy']:.3f})"
    )


# ---- checkpoint --------------------------------------------------------------------------------


def _save(run: Run, top: keras.Model, optimizer: keras.Optimizer, state: FitState, kept: list[np.ndarray]) -> None:
    arrays = {f"top_{index}": variable.numpy() for index, variable in enumerate(top.variables)}
    optimized, scale = _of_optimizer(optimizer)
    arrays |= {f"optimizer_{index}": variable.numpy() for index, variable in enumerate(optimized)}
    arrays |= {f"scale_{index}": variable.numpy() for index, variable in enumerate(scale)}
    # called so since it could only be the best epoch's: a run goes on from an older checkpoint too
    arrays |= {f"best_{index}": value for index, value in enumerate(kept)}
    stream = io.BytesIO()
    np.savez(stream, state=np.array(json.dumps(asdict(state))), **arrays)
    write_bytes(run.folder / CHECKPOINT, stream.getvalue())


def _of_optimizer(optimizer: keras.Optimizer) -> tuple[list[keras.Variable], list[keras.Variable]]:
    """What it is in any precision, and the scale of the loss, which mixed precision has besides: a run that a GPU began
    goes on without one."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer.variables, [optimizer.step_counter, optimizer.dynamic_scale]
    return optimizer.variables, []


def _restore(
    run: Run, begun: FitState, top: keras.Model, optimizer: keras.Optimizer
) -> tuple[FitState, list[np.ndarray]] | None:
    """Fill network and optimizer from the run's checkpoint; None when there is none that began like this."""
    path = run.folder / CHECKPOINT
    arrays = read_arrays(path, AGAIN)
    if not arrays:
        return None
    try:
        state = FitState(**json.loads(str(arrays["state"])))
        before = state.history[: len(begun.history)]  # as text: an AUC that is not a number equals itself there
        if state.phase != begun.phase or json.dumps(before) != json.dumps(begun.history):
            return None
        optimized, scale = _of_optimizer(optimizer)
        if "scale_0" not in arrays:  # begun without mixed precision: the scale is found anew
            scale = []
        for prefix, variables in (("top", top.variables), ("optimizer", optimized), ("scale", scale)):
            for index, variable in enumerate(variables):
                variable.assign(arrays[f"{prefix}_{index}"])
        return state, [arrays[f"best_{index}"] for index in range(len(top.variables))]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"A checkpoint must fit its run. Received: {path} ({error}). {AGAIN}") from error
