"""The parts of a recipe do what their papers say, on networks small enough to compute by hand."""

import dataclasses
import math

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from core.config import TrainConfig
from core.data.augment import TURNS
from core.diagnoses import CODES
from core.errors import RunError, TrainingStopped
from core.evaluation.results import training_weights
from core.models import fitting
from core.models.devices import Machine
from core.models.fitting import Examples, FitState, Objective, fit, step_rates
from core.runs.run import CHECKPOINT, Run

INPUTS = 4
RARE = np.array([0.02, 0.02, 0.04, 0.02, 0.1, 0.78, 0.02])  # shares of the diagnoses
PLAIN = TrainConfig(backbone="efficientnet_lite0", batch_size=8, epochs=6, class_weights=False)
NEW = dataclasses.replace(
    PLAIN, optimizer="adamw", weight_decay=0.1, schedule="cosine", warm_up=0.2, learning_rate=0.05,
    logit_adjustment=1.0, label_smoothing=0.1, mixup=0.4, average_last=3,
)  # fmt: skip


class Silence:
    """A progress that is told, and tells nobody; it can be made to stop after an epoch."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after

    def beat(self) -> None:
        pass

    def epoch(self, epoch: int, *_) -> None:
        if epoch == self.stop_after:
            raise TrainingStopped("asked to")


def small_network() -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dropout(0.2, seed=1), keras.layers.Dense(7)]
    return keras.Sequential([keras.Input((INPUTS,)), *layers])


def examples(seed: int, count: int = 60) -> Examples:
    """Inputs that tell something of their labels."""
    dice = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(7), dice.choice(7, count - 7, p=RARE)])
    inputs = dice.normal(size=(2, count, INPUTS)).astype(np.float32)
    inputs[..., 0] += labels
    return Examples(lambda rows, views: inputs[views, rows], labels, 2)


def fitted(config: TrainConfig, folder, *stops: int, machine: Machine | None = None) -> tuple[Run, keras.Model]:
    """A finished fit; `stops` are epochs after which its process ends, and another one goes on."""
    run = Run.create(config, folder)
    objective = Objective.of(config, (1 / (7 * RARE)).astype(np.float32))
    for stop in (*stops, None):
        top = small_network()
        parts = run, Silence(stop), config, top, examples(0), examples(1), objective, machine
        if stop is None:
            fit(*parts)
        else:
            with pytest.raises(TrainingStopped):
                fit(*parts)
    return run, top


# ---- schedule ------------------------------------------------------------------------------------


def test_a_cosine_warms_up_along_a_line_and_falls_to_nearly_nothing():
    config = dataclasses.replace(PLAIN, schedule="cosine", warm_up=0.1, learning_rate=0.4, epochs=10)
    rates = [rate for epoch in range(10) for rate in step_rates(config, FitState(9.0, epoch), 20)]
    assert len(rates) == 200
    np.testing.assert_allclose(rates[:20], 0.4 * np.arange(1, 21) / 20)
    assert rates[20] == pytest.approx(0.4)
    assert rates[20 + 90] == pytest.approx(0.2)  # half way
    assert rates[20 + 45] == pytest.approx(0.4 * (1 + math.cos(math.pi / 4)) / 2)
    assert 0 < rates[-1] < 1e-4
    assert (np.diff(rates[20:]) < 0).all()


def test_a_cosine_without_warm_up_begins_at_the_top():
    rates = step_rates(dataclasses.replace(PLAIN, schedule="cosine", warm_up=0.0), FitState(9.0), 5)
    assert rates[0] == PLAIN.learning_rate


def test_a_plateaus_rate_is_the_states():
    assert step_rates(PLAIN, FitState(0.25, epoch=3), 4) == [0.25] * 4


def test_every_step_is_taken_at_its_rate(tmp_path, monkeypatch):
    taken = []
    original = fitting._train_step

    def noting(top, optimizer, *rest):
        step = original(top, optimizer, *rest)

        def noted(*batch):
            taken.append(float(optimizer.learning_rate.numpy()))
            return step(*batch)

        return noted

    monkeypatch.setattr(fitting, "_train_step", noting)
    config = dataclasses.replace(PLAIN, schedule="cosine", epochs=2)
    run, _ = fitted(config, tmp_path / "run")
    due = [rate for epoch in range(2) for rate in step_rates(config, FitState(0.0, epoch), 8)]
    np.testing.assert_allclose(taken, due, rtol=1e-6)
    np.testing.assert_allclose(run.history()["learning_rate"], [max(due[:8]), max(due[8:])])


@pytest.mark.parametrize("settings", [{"schedule": "cosine"}, {"average_last": 2}])
def test_what_has_a_last_epoch_does_not_stop_early(tmp_path, settings):
    patience = {"early_stopping_patience": 1, "learning_rate": 1e-7}  # nothing ever gets better
    stopped, _ = fitted(dataclasses.replace(PLAIN, **patience), tmp_path / "stopped")
    run, _ = fitted(dataclasses.replace(PLAIN, **patience, **settings), tmp_path / "run")
    assert len(stopped.history()) < len(run.history()) == PLAIN.epochs


# ---- objective -----------------------------------------------------------------------------------


def each(objective: Objective, logits: np.ndarray, labels: list[int]) -> np.ndarray:
    return objective.each(tf.constant(logits, tf.float32), tf.constant(labels)).numpy()


def test_without_any_of_it_the_loss_is_the_weighed_cross_entropy():
    logits = np.random.default_rng(0).normal(size=(3, 7))
    weights = np.arange(1, 8, dtype=np.float32)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    found = each(Objective.of(TrainConfig(), weights), logits, [2, 0, 6])
    np.testing.assert_allclose(found, -logs[np.arange(3), [2, 0, 6]] * [3, 1, 7], rtol=1e-5)


def test_logit_adjustment_asks_for_logits_that_the_shares_do_not_explain():
    """Where nothing is to be seen in the images, the best logits are all alike, and no diagnosis is preferred."""
    balance = (1 / (7 * RARE)).astype(np.float32)
    objective = Objective.of(NEW, balance)
    assert (objective.weights == 1).all()
    np.testing.assert_allclose(np.exp(objective.offsets), 7 * RARE, rtol=1e-5)
    plain = dataclasses.replace(objective, smoothing=0.0)
    logits = tf.Variable(np.zeros((1, 7), np.float32))
    for adjusted, alike in ((plain, True), (dataclasses.replace(plain, offsets=0 * plain.offsets), False)):
        with tf.GradientTape() as tape:
            losses = tf.stack([adjusted.each(logits, tf.constant([label]))[0] for label in range(7)])
            loss = tf.reduce_sum(losses * RARE.astype(np.float32))
        assert np.allclose(tape.gradient(loss, logits), 0, atol=1e-6) == alike


def test_what_logit_adjustment_lifts_is_taken_out_of_probabilities_as_class_weights_are(tmp_path):
    counts = np.round(RARE * 1000).astype(int)
    splits = pd.DataFrame({"dx": np.repeat(CODES, counts), "split": "train"})
    splits = pd.concat([splits, pd.DataFrame({"dx": ["vasc"] * 500, "split": "test"})])

    def balance(name: str, **settings) -> np.ndarray:
        return training_weights(Run.create(TrainConfig(**settings), tmp_path / name), splits)

    weights = balance("weights")
    np.testing.assert_array_equal(balance("whole", class_weights=False, logit_adjustment=1.0), weights)
    np.testing.assert_allclose(balance("half", class_weights=False, logit_adjustment=0.5), weights**0.5, rtol=1e-6)
    assert (balance("none", class_weights=False) == 1).all()
    np.testing.assert_allclose(weights * RARE, 1 / 7, rtol=1e-5)


def test_a_label_that_is_smoothed_is_shared_by_all():
    logits = np.random.default_rng(0).normal(size=(2, 7))
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    target = np.full((2, 7), 0.2 / 7)
    target[[0, 1], [1, 4]] += 0.8
    smoothed = Objective(np.ones(7, np.float32), np.zeros(7, np.float32), 0.2)
    np.testing.assert_allclose(each(smoothed, logits, [1, 4]), -(target * logs).sum(axis=1), rtol=1e-5)


def test_smoothing_an_adjusted_label_draws_towards_logits_that_are_alike():
    """Spread evenly, it would draw towards the rare: a certain nevus and the rarest diagnosis came out nearly equal."""
    offsets = np.log(7 * RARE).astype(np.float32)
    only_spread = Objective(np.ones(7, np.float32), offsets, 1.0)
    logits = tf.Variable(np.full((1, 7), 0.3, np.float32))
    with tf.GradientTape() as tape:
        loss = only_spread.each(logits, tf.constant([5]))
    np.testing.assert_allclose(tape.gradient(loss, logits), 0, atol=1e-6)


# ---- mixup ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pasted", [False, True])
def test_a_mixture_is_of_inputs_and_of_labels_alike(pasted):
    """One step by hand: the loss of mixed inputs against mixed labels."""
    top = keras.Sequential([keras.Input((2, 5, 3)), keras.layers.Flatten(), keras.layers.Dense(7)])
    dice = np.random.default_rng(0)
    inputs, labels = dice.normal(size=(5, 2, 5, 3)).astype(np.float32), np.array([0, 5, 2, 2, 6])
    partners, shares = np.array([3, 0, 2, 4, 1]), np.array([0.5, 0.9, 1.0, 0.7, 0.6], np.float32)
    own = np.broadcast_to(shares[:, None, None], (5, 2, 5)).copy()
    if pasted:
        own[1:3], own[1, :, 1:3], own[2, 0, 4] = 1, 0, 0
        shares[1:3] = 0.6, 0.9
    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(top.trainable_variables)
    step = fitting._train_step(top, optimizer, Objective(np.ones(7, np.float32), np.zeros(7, np.float32)), Machine())
    loss, logits = step(inputs, labels, None, partners, own if pasted else shares)
    mixture = own[..., None] * inputs + (1 - own[..., None]) * inputs[partners]
    expected = top(mixture).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    targets = shares[:, None] * np.eye(7)[labels] + (1 - shares[:, None]) * np.eye(7)[labels[partners]]
    logs = expected - np.log(np.exp(expected).sum(axis=1, keepdims=True))
    assert float(loss) == pytest.approx(-(targets * logs).sum(axis=1).mean(), rel=1e-5)


@pytest.mark.parametrize("count", [8, 3])
def test_partners_are_of_the_same_batch_and_every_image_keeps_the_larger_share(count):
    config = dataclasses.replace(PLAIN, mixup=0.4)
    partners, shares = fitting._mixture(config, (count, INPUTS), np.random.default_rng(1))
    assert sorted(partners) == list(range(count))
    assert shares.shape == (count,) and shares.dtype == np.float32
    assert ((shares >= 0.5) & (shares <= 1)).all()
    np.testing.assert_array_equal(fitting._mixture(config, (count, INPUTS), np.random.default_rng(1))[1], shares)
    assert fitting._mixture(PLAIN, (count, INPUTS), np.random.default_rng(1)) == ()


def test_a_share_of_the_mixtures_is_pasted_in_squares():
    sums = dataclasses.replace(PLAIN, mixup=0.5)
    config = dataclasses.replace(sums, cutmix=0.25)
    partners, own = fitting._mixture(config, (4000, 14, 14, 112), np.random.default_rng(1))
    same_partners, shares = fitting._mixture(sums, (4000, 14, 14, 112), np.random.default_rng(1))
    np.testing.assert_array_equal(partners, same_partners)
    summed = (own == shares[:, None, None]).all((1, 2))
    assert 0.22 < 1 - summed.mean() < 0.28
    where = own[~summed] == 0
    assert ((own[~summed] == 1) | where).all()
    sides = where.any(2).sum(1)
    np.testing.assert_array_equal(sides, where.any(1).sum(1), "a square")
    np.testing.assert_array_equal(where.sum((1, 2)), sides**2, "in one piece")
    np.testing.assert_allclose(sides, 14 * np.sqrt(1 - shares[~summed]), atol=0.501)
    assert where.any(0).all(), "anywhere, the corners too"
    assert own.dtype == np.float32 and own.mean((1, 2)).min() > 0.48
    assert fitting._mixture(config, (9, 1280), np.random.default_rng(1))[1].shape == (9,), "a head sees no places"


# ---- optimizer -----------------------------------------------------------------------------------


def test_adamw_draws_weights_towards_zero_and_leaves_biases_alone():
    top = small_network()
    top.trainable_variables[1].assign(np.ones(7))
    before = [variable.numpy() for variable in top.trainable_variables]
    optimizer = fitting._optimizer(dataclasses.replace(NEW, learning_rate=0.1, weight_decay=0.5))
    optimizer.build(top.trainable_variables)
    optimizer.apply([tf.zeros_like(value) for value in before], top.trainable_variables)
    np.testing.assert_allclose(top.trainable_variables[0], before[0] * 0.95, rtol=1e-5)
    np.testing.assert_array_equal(top.trainable_variables[1], before[1])
    assert type(fitting._optimizer(PLAIN)) is keras.optimizers.Adam


# ---- mean of the last epochs ---------------------------------------------------------------------


@pytest.mark.parametrize("last", [1, 3, 50])
def test_the_weights_are_the_mean_of_those_after_each_of_the_last_epochs(tmp_path, monkeypatch, last):
    seen = []
    original = fitting._keep

    def noting(kept, top, *rest):
        seen.append([variable.numpy() for variable in top.trainable_variables])
        return original(kept, top, *rest)

    monkeypatch.setattr(fitting, "_keep", noting)
    _, top = fitted(dataclasses.replace(PLAIN, average_last=last, learning_rate=0.05), tmp_path / "run")
    assert len(seen) == PLAIN.epochs
    for index, variable in enumerate(top.trainable_variables):
        by_hand = np.mean([weights[index] for weights in seen[-last:]], axis=0)
        np.testing.assert_allclose(variable, by_hand, rtol=1e-5, atol=1e-6)
        assert last == 1 or not np.allclose(variable, seen[-1][index], atol=1e-4)


# ---- going on ------------------------------------------------------------------------------------


def test_the_new_recipe_goes_on_as_if_unbroken(tmp_path):
    unbroken, expected = fitted(NEW, tmp_path / "unbroken")
    resumed, found = fitted(NEW, tmp_path / "resumed", 1, 3, 4, 6)  # in warm-up, before and within the mean, at the end
    assert (unbroken.folder / CHECKPOINT).exists()
    for one, other in zip(expected.variables, found.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    histories = [run.history().drop(columns="seconds") for run in (unbroken, resumed)]
    assert histories[0].equals(histories[1])
    assert len(histories[0]) == NEW.epochs


def rates(losses: list[float], patience: int) -> list[float]:
    """The step size after each epoch with such a validation loss."""
    config = dataclasses.replace(PLAIN, reduce_lr_patience=patience, reduce_lr_factor=0.5)
    state, found = FitState(1.0), []
    for loss in losses:
        fitting._take_note(state, config, {"val_balanced_accuracy": 0.5, "val_loss": loss})
        found.append(state.learning_rate)
    return found


def test_a_second_phase_begins_anew_and_its_epochs_count_on(tmp_path):
    alone, expected = fitted(NEW, tmp_path / "alone")
    run = Run.create(NEW, tmp_path / "run")
    objective = Objective.of(NEW, (1 / (7 * RARE)).astype(np.float32))
    earlier = fit(
        run, Silence(), dataclasses.replace(NEW, epochs=2), small_network(), examples(0), examples(1), objective,
        phase="whole network",
    )  # fmt: skip
    for stop in (4, None):  # its second epoch; then another process goes on with it
        top = small_network()
        parts = run, Silence(stop), NEW, top, examples(0), examples(1), objective
        if stop is None:
            fit(*parts, earlier=earlier)
        else:
            with pytest.raises(TrainingStopped):
                fit(*parts, earlier=earlier)
    history = run.history()
    assert history["phase"].tolist() == ["whole network"] * 2 + ["training"] * 6
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert history["loss"].tolist()[2:] == alone.history()["loss"].tolist()
    for one, other in zip(top.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("phase", "option"), [("training", "--learning-rate"), ("whole network", "--whole-learning-rate")]
)
def test_what_runs_away_names_the_step_size_of_its_phase_and_the_epoch(tmp_path, monkeypatch, phase, option):
    monkeypatch.setattr(fitting, "all_logits", lambda predict, take, rows, *_: np.full((len(rows), 7), np.nan))
    run, earlier = Run.create(NEW, tmp_path / "run"), [{"phase": "an earlier one", "epoch": 1}]
    objective = Objective.of(NEW, (1 / (7 * RARE)).astype(np.float32))
    with pytest.raises(RunError, match=f"in epoch 2.* lower {option} than 0.04"):
        fit(run, Silence(), NEW, small_network(), examples(0), examples(1), objective, phase=phase, earlier=earlier)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK" + bytes(50)])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    run, _ = fitted(PLAIN, tmp_path / "run")
    (run.folder / CHECKPOINT).write_bytes(content)
    objective = Objective.of(PLAIN, np.ones(7, np.float32))
    with pytest.raises(RunError, match=f"{CHECKPOINT}.*Delete it to train the run from its start"):
        fit(run, Silence(), PLAIN, small_network(), examples(0), examples(1), objective)


def test_a_plateau_cuts_the_step_size_as_keras_does():
    assert rates([1.0] * 6, 2) == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert rates([1.0, 1.1, 0.9, 1.0, 1.0, 0.8], 2) == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]
    creeping = [1.0 - 6e-5 * epoch for epoch in range(12)]  # 1e-4 lower every second epoch
    assert rates(creeping, 2) == [1.0] * 12


def test_a_teacher_is_imitated_beside_the_labels():
    """What is learned is the teacher's answer at the data's own frequencies, however the student lifts the rare."""
    config = TrainConfig(class_weights=False, logit_adjustment=1.0)
    objective = Objective.of(config, np.array([0.2, 1, 1, 1, 5, 5, 2], np.float32))
    taught = np.array([[2.0, 0, -1, 0, 0.5, 0, 0]], np.float32)
    like_the_teacher = taught - objective.offsets
    other = like_the_teacher + np.float32([0, 3, 0, 0, 0, 0, 0])

    def imitation(logits):
        labels = tf.constant([0])
        both = objective.each(tf.constant(logits), labels, tf.constant(taught)).numpy()
        return both - (1 - fitting.IMITATION) * objective.each(tf.constant(logits), labels).numpy()

    np.testing.assert_allclose(imitation(like_the_teacher), 0, atol=1e-5)
    assert imitation(other) > 0.1


# ---- views -----------------------------------------------------------------------------------------


def test_fresh_views_are_new_ones_each_epoch_in_every_exact_turn(tmp_path):
    seen = []

    def take(rows, views):
        seen.append(views)
        return np.zeros((len(rows), INPUTS), np.float32)

    config = dataclasses.replace(PLAIN, epochs=2)
    labels = np.arange(140) % 7
    fit(
        Run.create(config, tmp_path / "run"),
        Silence(),
        config,
        small_network(),
        Examples(take, labels, None),
        examples(1),
        Objective.of(config, np.ones(7, np.float32)),
    )
    first, second = np.split(np.concatenate(seen), 2)
    assert not set(first) & set(second)
    for views in (first, second):
        assert set(views % TURNS) == set(range(TURNS))
