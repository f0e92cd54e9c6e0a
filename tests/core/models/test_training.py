"""A training does what was asked, the same twice, and survives whatever ends it."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from core.config import TrainConfig
from core.data.ham10000 import load_dataset
from core.diagnoses import CODES
from core.errors import DatasetError, RunError, SplitLeakError, TrainingStopped
from core.evaluation.metrics import calibration_figures, evaluate
from core.models import fitting
from core.models.classifier import build_classifier, load_model
from core.models.training import train
from core.places import PROJECT
from core.presets import configured
from core.runs import run as files
from core.runs.all_runs import served_run
from core.runs.history import TRAINING, WHOLE_NETWORK
from core.runs.run import Run

pytestmark = pytest.mark.usefixtures("no_conversion")

CONTRACT = {
    files.CONFIG, files.MANIFEST, files.STATUS, files.SPLITS, files.HISTORY, files.PREDICTIONS, files.METRICS,
    files.CALIBRATION, files.MODEL, files.OPENVINO, files.OUTLIERS, files.FEATURES,
}  # fmt: skip


def outcome(run: Run) -> tuple:
    """All that two equal trainings must share: everything but times."""
    history = run.history().drop(columns="seconds")
    return run.splits(), history, run.predictions(), run.metrics(), run.calibration()


def assert_same_outcome(one: Run, other: Run) -> None:
    for ours, theirs in zip(outcome(one), outcome(other), strict=True):
        if isinstance(ours, pd.DataFrame):
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
        else:
            assert ours == theirs


@pytest.fixture(scope="module")
def plain_run(tiny_config, no_conversion, tmp_path_factory):
    """A finished run by the engine of all trainings in here: equal means to the last digit."""
    run = Run.create(tiny_config, tmp_path_factory.mktemp("tiny") / "tiny")
    train(run)
    return run


def test_a_finished_run_holds_the_contract_and_no_leftovers(tiny_run):
    names = {path.name for path in tiny_run.folder.iterdir()} - {files.LOCK}
    assert names == CONTRACT  # log.txt is written by whoever starts the process
    assert tiny_run.status().state == "finished"
    assert json.loads((tiny_run.folder / files.CONFIG).read_text()) == tiny_run.config().to_dict()
    manifest = tiny_run.manifest()
    assert manifest["classes"] == list(CODES)
    assert manifest["data"]["synthetic"] is True
    assert tiny_run.history().columns.tolist() == list(files.HISTORY_COLUMNS)


def test_every_figure_can_be_computed_again_from_the_predictions(tiny_run):
    table = tiny_run.predictions().merge(tiny_run.splits()[["image_id", "lesion_id"]], on="image_id")
    for part, figures in tiny_run.metrics().items():
        rows = table[table["split"] == part]
        labels = rows["dx"].map(CODES.index).to_numpy()
        probabilities, lesions = rows[[f"p_{code}" for code in CODES]].to_numpy(), rows["lesion_id"].to_numpy()
        answers, seed = rows["predicted"].map(CODES.index).to_numpy(), tiny_run.config().seed
        again = evaluate(labels, probabilities, lesions, seed, answers)
        after = calibration_figures(labels, probabilities, lesions, seed)
        assert after["ece"]["value"] == pytest.approx(figures["calibration"]["after"]["ece"]["value"], abs=1e-9)
        refused = (rows["ood_score"] > tiny_run.calibration()["refusal"]["threshold"]).mean()
        assert refused == pytest.approx(figures["refusal"]["refused"]["value"])
        assert again["n"] == figures["n"]
        assert again["confusion"] == figures["confusion"]
        for name in ("balanced_accuracy", "accuracy", "macro_auc"):
            for key in ("value", "low", "high"):
                assert again[name][key] == pytest.approx(figures[name][key], abs=1e-9)


def test_the_best_epoch_by_balanced_accuracy_is_the_one_that_is_kept(tiny_run):
    best = tiny_run.history()["val_balanced_accuracy"].max()
    assert tiny_run.metrics()["validation"]["balanced_accuracy"]["value"] == pytest.approx(best, abs=1e-12)


def test_same_seed_same_outcome(plain_run, tiny_config, tmp_path):
    again = Run.create(tiny_config, tmp_path / "again")
    train(again)
    assert_same_outcome(again, plain_run)


def test_another_learning_rate_reads_the_trunk_from_disk(plain_run, tiny_config, tmp_path, monkeypatch):
    def computed(*_):
        raise AssertionError("the trunk was computed again")

    monkeypatch.setattr("core.models.trunk_cache.TrunkCache._compute", computed)
    run = Run.create(dataclasses.replace(tiny_config, learning_rate=0.01), tmp_path / "warm")
    train(run)
    assert run.usable
    assert not run.history()["loss"].equals(plain_run.history()["loss"])


def test_a_block_learns_and_answers_as_the_saved_model_and_keeps_what_it_normalizes_by(
    tiny_data, tmp_path, monkeypatch
):
    config = TrainConfig(
        data_dir=str(tiny_data), backbone="efficientnet_lite0", train_from="block7", views=1, epochs=2,
        learning_rate=0.001, adapt_norm=0.5, whole_epochs=1,
    )  # fmt: skip
    run, spent = Run.create(config, tmp_path / "run"), 1000.0

    def end(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("core.models.training._inputs", end)
        with pytest.raises(KeyboardInterrupt):
            train(run)
    run.write_csv(files.HISTORY, run.history().assign(seconds=spent))
    train(Run(run.folder))  # raises if the saved model does not answer as trunk and top did
    assert run.manifest()["seconds"] > spent and run.manifest()["speed"]["trunk_seconds"] > spent
    assert not (run.folder / files.BEFORE_CUT).exists()
    assert run.history()["phase"].tolist() == [WHOLE_NETWORK, TRAINING, TRAINING]
    losses = run.history()["loss"].iloc[1:]
    assert losses.iloc[-1] < 0.9 * losses.iloc[0]
    learned, imagenet_network = load_model(run.folder / files.MODEL), build_classifier(config).model
    stems = [model.get_layer("stem_conv").get_weights()[0] for model in (learned, imagenet_network)]
    assert not np.array_equal(*stems), "all layers learned at first"
    for name in ("stem_bn", "top_bn"):  # below the cut and above it
        kept, imagenet = (model.get_layer(name).moving_variance.numpy() for model in (learned, imagenet_network))
        assert np.abs(kept - imagenet).max() > 0.1 * np.median(imagenet)


def test_each_repeat_is_another_network_before_its_first_epoch(tiny_data, tmp_path, monkeypatch):
    begun = []

    def learn(run, progress, config, classifier, *_):
        begun.append(classifier.model.get_layer("logits").get_weights()[0])
        raise KeyboardInterrupt

    monkeypatch.setattr("core.models.training.learn_as_a_whole", learn)
    for name, repeat in (("one", 0), ("again", 0), ("other", 1)):
        config = TrainConfig(
            data_dir=str(tiny_data), backbone="efficientnet_lite0", train_from="block7", whole_epochs=1, repeat=repeat
        )
        with pytest.raises(KeyboardInterrupt):
            train(Run.create(config, tmp_path / name))
    assert np.array_equal(begun[0], begun[1]) and not np.array_equal(begun[0], begun[2])


def test_the_long_recipe_learns_from_few_images(tiny_data, tmp_path):
    few = {"epochs": 6, "batch_size": 4, "average_last": 1, "test_views": 1}
    config = configured("long", {"data_dir": str(tiny_data), "backbone": "efficientnet_lite0", **few})
    run = Run.create(config, tmp_path / "run")
    train(run)
    history = run.history()
    assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]
    assert history["balanced_accuracy"].iloc[-1] > 0.5 > history["balanced_accuracy"].iloc[0]
    assert history["val_loss"].iloc[-1] < 0.9 * history["val_loss"].iloc[0]


def test_stopped_between_epochs_then_resumed_is_as_if_unbroken(plain_run, tiny_config, tmp_path, monkeypatch):
    run = Run.create(tiny_config, tmp_path / "run")
    from core.runs.progress import Progress

    heard = Progress.epoch

    def stop_after_first(self, epoch, *details):
        heard(self, epoch, *details)
        (run.folder / files.STOP_REQUEST).touch()

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "epoch", stop_after_first)
        with pytest.raises(TrainingStopped, match="--resume"):
            train(run)
    assert run.status().state == "stopped"
    assert len(run.history()) == 1
    assert not run.stop_requested()
    train(Run(run.folder))
    assert_same_outcome(run, plain_run)


def start(folder) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), "--resume", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=PROJECT, env=os.environ.copy(),
    )  # fmt: skip


@pytest.mark.parametrize("phase", ["data", "trunk", "training", "evaluation"])
def test_killed_in_any_phase_then_resumed_is_as_if_unbroken(plain_run, tiny_config, tmp_path, monkeypatch, phase):
    if phase == "trunk":
        monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path / "cold"))
    run = Run.create(tiny_config, tmp_path / "run")
    with start(run.folder) as process:
        for line in process.stdout:
            if line.startswith(f"[{phase}]"):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert run.status().state == "lost"
    train(Run(run.folder))
    assert_same_outcome(run, plain_run)
    assert {path.name for path in run.folder.iterdir()} - {files.LOCK} == CONTRACT - {files.OPENVINO}


def test_ctrl_c_stops_after_the_step_and_says_how_to_go_on(tiny_config, tmp_path):
    run = Run.create(dataclasses.replace(tiny_config, epochs=500, early_stopping_patience=500), tmp_path / "run")
    with start(run.folder) as process:
        while run.status().epoch < 1:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert f"--resume {run.folder}" in output
    assert run.status().state == "stopped"
    assert len(run.history()) >= 1


def test_a_split_that_leaks_is_refused(tiny_config, tmp_path):
    run = Run.create(tiny_config, tmp_path / "run")
    dataset = load_dataset(tiny_config.data_dir)
    splits = dataset.images[["image_id", "lesion_id", "dx"]].assign(split="train")
    shared = splits["lesion_id"].value_counts().index[0]
    splits.loc[splits.index[splits["lesion_id"] == shared][0], "split"] = "test"
    run.write_csv(files.SPLITS, splits)
    with pytest.raises(SplitLeakError, match=shared):
        train(run)
    assert run.status().state == "failed"
    assert shared in run.status().error


def test_data_that_changed_since_the_run_began_is_refused(tiny_run, tiny_config, tiny_data, tmp_path):
    data = shutil.copytree(tiny_data, tmp_path / "data")
    run = Run.create(dataclasses.replace(tiny_config, data_dir=str(data)), tmp_path / "run")
    for name in (files.SPLITS, files.MANIFEST):
        shutil.copy(tiny_run.folder / name, run.folder / name)
    table = (data / "HAM10000_metadata.csv").read_text()
    (data / "HAM10000_metadata.csv").write_text(table[: table.rstrip("\n").rfind("\n") + 1])
    with pytest.raises(DatasetError, match="has changed since"):
        train(run)


def test_class_weights_help_the_rare(plain_run, tiny_config, tmp_path):
    plain = Run.create(dataclasses.replace(tiny_config, class_weights=False), tmp_path / "plain")
    train(plain)
    share_of_nevi = [(run.predictions()["predicted"] == "nv").mean() for run in (plain_run, plain)]
    assert share_of_nevi[0] < share_of_nevi[1]


def test_patience_ends_training(tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, learning_rate=1e-7, epochs=8, early_stopping_patience=4)
    run = Run.create(config, tmp_path / "run")
    train(run)
    history = run.history()
    best = int(np.argmax(history["val_balanced_accuracy"]))
    assert len(history) == min(8, best + 1 + 4)


def test_a_training_that_runs_away_says_what_to_do(tiny_config, tmp_path):
    run = Run.create(dataclasses.replace(tiny_config, learning_rate=1.0, epochs=40), tmp_path / "run")
    original = fitting._train_step

    def overflowing(top, optimizer, *rest):
        step = original(top, optimizer, *rest)
        return lambda *batch: tuple(part * float("inf") for part in step(*batch))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_train_step", overflowing)
        with pytest.raises(RunError, match="lower --learning-rate than 1"):
            train(run)
    assert run.status().state == "failed"


def test_a_training_that_runs_away_in_its_last_step_says_so_too(tiny_config, tmp_path, monkeypatch):
    """The figures of the training were still sound then."""
    run = Run.create(tiny_config, tmp_path / "run")
    monkeypatch.setattr(fitting, "all_logits", lambda predict, take, rows, *_: np.full((len(rows), 7), np.nan))
    with pytest.raises(RunError, match="logits without end in epoch 1"):
        train(run)


@pytest.mark.parametrize("linked", [False, True])
def test_the_first_run_is_served_and_the_second_does_not_take_its_place(
    tiny_run, tiny_config, runs_folder, monkeypatch, linked
):
    if linked:  # the folder of all runs may lie on another disk
        link = runs_folder.with_name("link")
        link.symlink_to(runs_folder)
        monkeypatch.setenv("DERMLENS_RUNS", str(link))

    def trained(run, *_):
        for name in CONTRACT - {files.STATUS, files.OPENVINO}:
            shutil.copy(tiny_run.folder / name, run.folder / name)

    monkeypatch.setattr("core.models.training._train", trained)
    first, second = Run.create(tiny_config), Run.create(tiny_config)
    train(first)
    train(second)
    assert served_run().id == first.id
