"""All of a network learns before it is cut: once for all trainings that begin so."""

import dataclasses
import io
import os

import keras
import numpy as np
import pytest

from core.config import TrainConfig
from core.errors import RunError, TrainingStopped
from core.models import whole_network
from core.models.classifier import build_classifier
from core.models.devices import Machine
from core.models.fitting import Examples, Objective
from core.models.whole_network import learn_as_a_whole
from core.runs.history import WHOLE_NETWORK
from core.runs.progress import Progress
from core.runs.run import BEFORE_CUT, STOP_REQUEST, Run

CONFIG = TrainConfig(
    backbone="mobilenetv3small", weights="none", train_from="block7", hidden_units=0, class_weights=False,
    batch_size=4, whole_epochs=2, whole_learning_rate=0.01,
)  # fmt: skip
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 224, 224, 3), np.uint8)
LABELS = np.arange(12) % 7
IMAGES = [f"image {number}" for number in range(len(PIXELS))]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def learn(tmp_path):
    """Let the whole network of a configuration learn, in a run folder of a name; the classifier and the history."""

    def learned(config=CONFIG, name="run", labels=LABELS, images=IMAGES):
        folder = tmp_path / name
        run = Run(folder) if folder.exists() else Run.create(config, folder)
        keras.utils.set_random_seed(config.seed)
        classifier = build_classifier(config)

        def take(rows, views):
            return PIXELS[rows]

        train, validation = Examples(take, labels), Examples(take, labels[:4])
        objective = Objective.of(config, np.ones(7, np.float32))
        with run.writing():
            history = learn_as_a_whole(
                run, Progress(run, 2), config, classifier, train, validation, images, objective, Machine.here(config)
            )
        return classifier, history

    return learned


@pytest.fixture
def fitted(monkeypatch):
    """One entry for each time that epochs are trained; all that they do here is to add its number to the network."""
    times = []

    def fit(run, progress, recipe, model, *_):
        times.append(recipe)
        for variable in model.trainable_variables:
            variable.assign_add(len(times) * np.ones(variable.shape))
        return [{"epoch": len(times), "seconds": 5.0}]

    monkeypatch.setattr(whole_network, "fit", fit)
    return times


def same_numbers(one, other) -> bool:
    return all(
        np.array_equal(ours.numpy(), theirs.numpy())
        for ours, theirs in zip(one.model.variables, other.model.variables, strict=True)
    )


def test_all_layers_learn_but_for_batch_normalization_and_the_trunk_is_frozen_afterwards(learn):
    keras.utils.set_random_seed(CONFIG.seed)
    before = build_classifier(CONFIG)
    after, history = learn()
    assert [(row["phase"], row["epoch"]) for row in history] == [(WHOLE_NETWORK, 1), (WHOLE_NETWORK, 2)]
    for old, new in zip(before.model.layers, after.model.layers, strict=True):
        kept = [np.array_equal(ours, theirs) for ours, theirs in zip(old.get_weights(), new.get_weights(), strict=True)]
        if isinstance(old, keras.layers.BatchNormalization):
            assert all(kept)
        elif isinstance(old, keras.layers.Conv2D):
            assert not kept[0] or "squeeze_excite" in old.name  # whose units may never be above zero
    assert not after.trunk.trainable_variables
    assert [variable.path for variable in after.top.trainable_variables] == [
        variable.path for variable in before.top.trainable_variables
    ]


def test_trainings_whose_later_epochs_alone_differ_begin_with_the_same_network(learn, fitted):
    first, history = learn()
    others = {
        "learning_rate": 0.02, "epochs": 3, "test_views": 4, "reduce_lr_patience": 9, "views": 8,
        "train_from": "block5",
    }  # fmt: skip
    for name, value in others.items():
        again, told = learn(dataclasses.replace(CONFIG, **{name: value}), name)
        assert same_numbers(first, again), name
        assert told == [row | {"seconds": 0.0} for row in history], "whose time was not theirs"
    assert len(fitted) == 1


def test_other_images_labels_or_settings_of_these_epochs_make_another(learn, fitted):
    learn()
    learn(name="labels", labels=LABELS[::-1])
    learn(name="images", images=IMAGES[::-1])
    others = {"whole_epochs": 1, "whole_learning_rate": 0.02, "mixup": 0.2, "hidden_units": 8, "repeat": 1}
    for name, value in others.items():
        learn(dataclasses.replace(CONFIG, **{name: value}), name)
    assert len(fitted) == 8


def arrays(**values) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **values)
    return stream.getvalue()


@pytest.mark.parametrize(
    "damaged",
    [
        lambda whole: whole[:1000],
        lambda whole: b"",
        lambda whole: b"no archive",
        lambda whole: whole[-1000:] + whole,
        lambda whole: arrays(history=np.array("[]"), value_0=np.zeros(3)),
        lambda whole: arrays(history=np.array("null")),
    ],
)
def test_what_the_cache_holds_and_cannot_be_read_is_learned_again(learn, fitted, tmp_path, damaged):
    learn()
    (kept,) = (tmp_path / "cache" / "whole-network").glob("*.npz")
    kept.write_bytes(damaged(kept.read_bytes()))
    learn(name="again")
    learn(name="third")
    assert len(fitted) == 2


def test_a_run_goes_on_with_its_own_network_whatever_the_cache_holds_and_whoever_computes(learn, fitted, monkeypatch):
    first, history = learn()
    monkeypatch.setenv("DERMLENS_CACHE", os.devnull)
    monkeypatch.setattr(whole_network, "versions", lambda engine: ["other versions"])
    again, told = learn()
    assert same_numbers(first, again) and told == history
    assert len(fitted) == 1


def test_what_was_learned_is_the_runs_own_though_the_cache_takes_no_more(learn, fitted, monkeypatch):
    write = whole_network.write_bytes

    def full(path, content):
        if path.name != BEFORE_CUT:
            raise RunError("no space")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(whole_network, "write_bytes", full)
        with pytest.raises(RunError, match="no space"):
            learn()
    _, history = learn()
    assert [row["seconds"] for row in history] == [5.0]
    assert len(fitted) == 1


def test_a_run_whose_own_network_is_damaged_says_so(learn, fitted, tmp_path):
    learn()
    (tmp_path / "run" / BEFORE_CUT).write_bytes(b"")
    with pytest.raises(RunError, match=f"{BEFORE_CUT}.*Delete it to train"):
        learn()


def test_networks_that_were_not_used_for_longest_leave_the_cache(learn, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(whole_network, "KEPT", 2)

    def entries():
        return set((tmp_path / "cache" / "whole-network").glob("*.npz"))

    learn()
    (first,) = entries()
    os.utime(first, (1, 1))
    learn(dataclasses.replace(CONFIG, mixup=0.1), "other")
    (second,) = entries() - {first}
    os.utime(second, (2, 2))
    learn(name="again")  # uses the first one
    learn(dataclasses.replace(CONFIG, mixup=0.2), "third")
    assert first in entries() and second not in entries() and len(entries()) == 2
    assert len(fitted) == 3


def test_stopped_between_these_epochs_it_goes_on_as_if_unbroken(learn, tmp_path, monkeypatch):
    heard = Progress.epoch

    def stop_after_first(self, *details):
        heard(self, *details)
        (self.run.folder / STOP_REQUEST).touch()

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "epoch", stop_after_first)
        with pytest.raises(TrainingStopped):
            learn()
    (tmp_path / "run" / STOP_REQUEST).unlink()
    assert len(Run(tmp_path / "run").history()) == 1
    resumed, _ = learn()
    monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path / "another"))
    unbroken, history = learn(name="unbroken")
    assert same_numbers(resumed, unbroken)
    assert len(history) == 2


@pytest.mark.parametrize("cut", ["head", "all"])
def test_where_nothing_is_frozen_or_everything_there_are_no_such_epochs(cut):
    config = dataclasses.replace(CONFIG, train_from=cut)
    assert config.epochs_before_cut == 0
    assert config.learned_before_cut() == {}
