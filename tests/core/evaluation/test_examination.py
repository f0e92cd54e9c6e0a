"""Examining a finished run: every part is written, what is there is not made again, and nothing takes the run away."""

import dataclasses
import shutil

import numpy as np
import pytest

from core.data import duplicates
from core.data.ham10000 import load_dataset
from core.diagnoses import CODES
from core.errors import DatasetError, RunError
from core.evaluation import examination
from core.evaluation.examination import examine
from core.evaluation.mean_images import split_means
from core.runs.run import (
    FEATURES,
    HEATMAPS,
    IMAGE_MAP,
    IMAGES,
    MEAN_IMAGES,
    MODEL_CARD,
    NEAR_DUPLICATES,
    OUTLIERS,
    SUBGROUPS,
    SUSPICIOUS_LABELS,
)

PARTS = (IMAGES, MEAN_IMAGES, SUBGROUPS, NEAR_DUPLICATES, SUSPICIOUS_LABELS, IMAGE_MAP, HEATMAPS)


@pytest.fixture(scope="module")
def examined(tiny_run, tmp_path_factory):
    """The tiny run, examined; a copy."""
    from core.runs.run import Run

    folder = tmp_path_factory.mktemp("examined") / tiny_run.id
    shutil.copytree(tiny_run.folder, folder)
    run = Run(folder)
    examine(run)
    return run


def test_every_image_is_judged_and_every_label_ranked(examined):
    images = examined.splits()["image_id"].tolist()
    assert examined.images()["image_id"].tolist() == images
    assert examined.images()["problems"].notna().all()
    suspicious = examined.suspicious_labels()
    assert sorted(suspicious["image_id"]) == sorted(images)
    assert suspicious["suspicion"].is_monotonic_decreasing
    assert suspicious["suggested"].isin(CODES).all()
    assert examined.image_map()["image_id"].tolist() == images
    assert set(split_means(examined.mean_images())) == set(examined.splits()["dx"])
    assert np.load(examined.folder / FEATURES).shape == (len(images), 1280)


def test_the_card_has_the_figures_that_were_measured(examined):
    card = examined.model_card()
    balanced = examined.metrics()["test"]["balanced_accuracy"]["value"]
    assert f"{balanced:.3f}" in card or f"{100 * balanced:.1f}" in card
    assert "research and education" in card
    assert examined.heatmaps()


def test_it_stays_finished_and_says_that_it_was_examined(examined):
    status = examined.status()
    assert (status.state, status.phase, status.error) == ("finished", "done", None)
    assert not status.examining


def test_only_what_is_missing_is_made(examined, monkeypatch):
    before = {name: (examined.folder / name).stat().st_mtime_ns for name in PARTS}
    (examined.folder / SUBGROUPS).unlink()
    monkeypatch.setattr(duplicates, "near_duplicates", lambda *_: pytest.fail("made again"))
    for name in ("label_table", "image_map", "measure_heatmaps"):
        monkeypatch.setattr(examination, name, lambda *_: pytest.fail("made again"))
    examine(examined)
    after = {name: (examined.folder / name).stat().st_mtime_ns for name in PARTS}
    assert {name for name in PARTS if after[name] != before[name]} == {SUBGROUPS}


def test_what_depends_on_the_images_alone_is_not_made_for_the_next_run(examined, tiny_run, tmp_path, monkeypatch):
    from core.runs.run import Run

    monkeypatch.setattr(duplicates, "near_duplicates", lambda *_: pytest.fail("made again"))
    monkeypatch.setattr(examination, "assess_quality", lambda *_: pytest.fail("made again"))
    monkeypatch.setattr(examination, "mean_images", lambda *_: pytest.fail("made again"))
    monkeypatch.setattr(examination, "measure_heatmaps", lambda *_: {})
    shutil.copytree(tiny_run.folder, tmp_path / "next")
    examine(Run(tmp_path / "next"))
    assert Run(tmp_path / "next").images().equals(examined.images())


def test_a_run_of_an_older_dermlens_is_brought_up_to_date(examined, tmp_path, monkeypatch):
    """It had a temperature, and neither thresholds nor a score for strangers."""
    from core.predictor import Predictor
    from core.runs.run import CALIBRATION, Run

    monkeypatch.setattr(examination, "measure_heatmaps", lambda *_: {})
    shutil.copytree(examined.folder, tmp_path / "old")
    old = Run(tmp_path / "old")
    new = old.calibration()
    old.write_json(CALIBRATION, {name: new[name] for name in ("temperature", "heatmap_scale", "fitted_on")})
    for name in (*PARTS, OUTLIERS, FEATURES, MODEL_CARD):
        (old.folder / name).unlink()
    path = load_dataset(old.config().data_dir).images["path"].iloc[0]
    answer = Predictor(old).predict(path)
    assert answer.prediction_set is None and answer.points == () and not answer.refused
    examine(old)
    assert old.calibration() == new
    assert old.metrics() == examined.metrics()
    assert Predictor(old).predict(path).prediction_set is not None


def test_features_that_were_deleted_are_made_again(examined, tmp_path):
    from core.runs.run import Run

    shutil.copytree(examined.folder, tmp_path / "thinner")
    run = Run(tmp_path / "thinner")
    for name in (FEATURES, SUSPICIOUS_LABELS):
        (run.folder / name).unlink()
    examine(run)
    assert np.array_equal(run.features(), examined.features())
    assert run.suspicious_labels().equals(examined.suspicious_labels())
    assert run.calibration() == examined.calibration()


def test_labels_are_judged_by_a_network_that_has_not_learned_them(examined, tmp_path):
    from core.runs.progress import Progress
    from core.runs.run import Run

    run = Run(shutil.copytree(examined.folder, tmp_path / "block"))
    run.write_bytes(FEATURES, b"what the trained network makes of them")
    config = dataclasses.replace(run.config(), train_from="block7")
    work = examination._Work(run, config, load_dataset(config.data_dir), run.splits(), Progress(run, 1))
    assert np.array_equal(examination._untrained_features(work), examined.features()), "as where the head alone learned"


def test_images_that_are_gone_leave_the_run_as_it_was(examined, tmp_path, monkeypatch):
    from core.runs.run import MANIFEST, Run

    shutil.copytree(examined.folder, tmp_path / "moved")
    run = Run(tmp_path / "moved")
    manifest = run.manifest()
    manifest["data"]["folder"] = str(tmp_path / "nowhere")
    run.write_json(MANIFEST, manifest)
    with pytest.raises(DatasetError, match="nowhere"):
        examine(run)
    assert run.usable and "nowhere" in run.status().error


def test_a_full_cache_costs_time_and_nothing_else(examined, tmp_path, monkeypatch):
    def full(*_):
        raise RunError("no space")

    monkeypatch.setattr(examination, "write_csv", full)
    table = examined.near_duplicates()
    assert examination._remembered("anything", ["new"], lambda: table) is table
