"""The time a training takes is told from those that were measured on this machine."""

import dataclasses

import pandas as pd
import pytest

from core.config import ADAPTED_IMAGES, TrainConfig
from core.places import cache_root
from core.runs.estimate import ADAPTING, OTHERS, estimate, measured
from core.runs.history import TRAINING, WHOLE_NETWORK
from core.runs.run import HISTORY, HISTORY_COLUMNS, MANIFEST, Run
from core.runs.status import Status

HEAD = TrainConfig(backbone="efficientnet_lite0", views=2, epochs=10)
COUNTS = {"train": 6000, "validation": 1000, "calibration": 1000, "test": 2000}


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A finished run that took so long, and whose trunk outputs are kept or not."""
    monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "trunk").mkdir(parents=True)

    def make(config: TrainConfig, trunk: float | None, epoch: float, kept: bool = True, data: str = "a") -> Run:
        run = Run.create(config, tmp_path / f"run-{len(list(tmp_path.iterdir()))}")
        run.write_status(Status(state="finished"))
        run.write_csv(HISTORY, pd.DataFrame([dict.fromkeys(HISTORY_COLUMNS, 0.0) | {"seconds": epoch}] * 5))
        spent = 100.0 if trunk else 0.0
        run.write_json(
            MANIFEST,
            {"schema_version": 1, "seconds": spent + 5 * epoch + 12, "data": {"fingerprint": data},
             "split": {"counts": COUNTS}, "speed": {"trunk": trunk, "trunk_seconds": spent}},
        )  # fmt: skip
        if kept:
            (tmp_path / "cache" / "trunk" / f"{config.backbone}-{config.train_from}-0123.f32").touch()
        return run

    return make


def test_the_same_again_takes_its_epochs_and_no_trunk(finished):
    run = finished(HEAD, 150.0, 2.0)
    found = estimate(HEAD, run.manifest(), measured([run]))
    assert found.measured
    assert (found.trunk, found.training, found.rest) == (0, pytest.approx(20), pytest.approx(12))
    assert found.seconds == pytest.approx(32)


def test_another_seed_draws_its_views_anew(finished):
    run = finished(HEAD, 150.0, 2.0)
    again = estimate(dataclasses.replace(HEAD, seed=8), run.manifest(), measured([run]))
    assert again.trunk == pytest.approx(6000 / 150)
    more = estimate(dataclasses.replace(HEAD, views=4), run.manifest(), measured([run]))
    assert more.trunk == pytest.approx(2 * 6000 / 150)


def test_a_network_adapted_to_other_images_computes_all_anew(finished):
    adapted = dataclasses.replace(HEAD, adapt_norm=0.5)
    plain, run = finished(HEAD, 150.0, 2.0), finished(adapted, 150.0, 2.0)
    seen = measured([plain, run])
    assert estimate(adapted, run.manifest(), seen).trunk == 0
    other_split = estimate(dataclasses.replace(adapted, seed=8), run.manifest(), seen)
    assert other_split.trunk == pytest.approx((10_000 + OTHERS + 6000 + ADAPTED_IMAGES * ADAPTING) / 150)
    assert estimate(adapted, plain.manifest(), measured([plain])).trunk == other_split.trunk


def test_epochs_of_the_whole_network_are_told_and_no_training_is_as_fast_as_they_are_slow(finished):
    block = dataclasses.replace(HEAD, train_from="block6", learning_rate=0.001)
    run = finished(block, 150.0, 100.0)
    plain = estimate(block, run.manifest(), measured([run]))
    first = dataclasses.replace(block, whole_epochs=2)
    found = estimate(first, run.manifest(), measured([run]))
    assert found.training > plain.training + 2 * 100, "an epoch of all layers takes longer than one above the cut"
    three = estimate(dataclasses.replace(first, ensemble=3), run.manifest(), measured([run]))
    assert (three.trunk, three.training) == (
        pytest.approx(3 * found.trunk, rel=0.05),
        pytest.approx(3 * found.training),
    )
    known = finished(first, 150.0, 100.0)
    history = known.history()
    slow = history.assign(phase=WHOLE_NETWORK, seconds=1000.0).head(2)
    known.write_csv(HISTORY, pd.concat([slow, history.assign(phase=TRAINING)]))
    (seen,) = measured([known])
    assert seen.training == pytest.approx(6000 / 100)
    assert estimate(first, known.manifest(), [seen]).training > 10 * 100, "that network has left the cache"
    kept = cache_root() / "whole-network" / "0123.npz"
    kept.parent.mkdir()
    kept.touch()
    assert estimate(first, known.manifest(), [seen]).training == pytest.approx(10 * 100)
    again = estimate(dataclasses.replace(first, ensemble=2), known.manifest(), [seen])
    assert again.trunk > 0 and again.training > 2 * 10 * 100, "the second network is a new one"
    for other in ({"mixup": 0.2}, {"teacher": "run"}):
        assert estimate(dataclasses.replace(first, **other), known.manifest(), [seen]).training > 10 * 100


def test_each_network_of_an_ensemble_above_a_block_sees_features_of_its_own(finished):
    block = dataclasses.replace(HEAD, train_from="block6")
    run = finished(block, 150.0, 2.0)
    assert estimate(block, run.manifest(), measured([run])).trunk == 0
    assert estimate(dataclasses.replace(block, ensemble=3), run.manifest(), measured([run])).trunk > 0


def test_turns_that_are_answered_are_computed_of_all_images_and_networks_trained_one_by_one(finished):
    turns = dataclasses.replace(HEAD, turns=True, rotation=0.0, shift=0.0, zoom=0.0, flips=False)
    run = finished(turns, 150.0, 2.0)
    more = estimate(dataclasses.replace(turns, test_views=4), run.manifest(), measured([run]))
    assert more.trunk == pytest.approx(3 * 10_000 / 150), "views of the training images are among them"
    three = estimate(dataclasses.replace(turns, ensemble=3), run.manifest(), measured([run]))
    assert (three.trunk, three.training) == (0, pytest.approx(3 * 20))


def test_an_empty_cache_is_filled_again(finished):
    run = finished(HEAD, 150.0, 2.0, kept=False)
    assert estimate(HEAD, run.manifest(), measured([run])).trunk == pytest.approx((10_000 + OTHERS + 6000) / 150)


def test_a_cut_that_was_never_trained_is_told_from_the_work_it_is(finished):
    run = finished(HEAD, 150.0, 2.0)
    block = estimate(dataclasses.replace(HEAD, train_from="block6"), run.manifest(), measured([run]))
    everything = estimate(dataclasses.replace(HEAD, train_from="all"), run.manifest(), measured([run]))
    assert not block.measured and not everything.measured
    assert 150 < (10_000 + 6000) / block.trunk < 300, "the part below the cut is faster than the whole"
    assert everything.trunk == 0
    assert 6000 * 10 / everything.training == pytest.approx(50), "a step is worth three passes"
    assert block.training < everything.training / 2


def test_a_slower_network_is_slower(finished):
    run = finished(HEAD, 150.0, 2.0)
    larger = estimate(dataclasses.replace(HEAD, backbone="efficientnetv2b0"), run.manifest(), measured([run]))
    smaller = estimate(dataclasses.replace(HEAD, backbone="mobilenetv3small"), run.manifest(), measured([run]))
    assert larger.trunk > 4 * smaller.trunk


def test_nothing_is_told_before_anything_was_measured(finished):
    old = finished(HEAD, 150.0, 2.0)
    manifest = old.manifest()
    del manifest["speed"]  # of an older version
    old.write_json(MANIFEST, manifest)
    assert estimate(HEAD, old.manifest(), measured([old])) is None
    assert estimate(HEAD, old.manifest(), []) is None


def test_a_head_that_sees_several_depths_is_told_too(finished):
    run = finished(dataclasses.replace(HEAD, head_depths=True), 150.0, 2.0)
    assert estimate(run.config(), run.manifest(), measured([run])).training == pytest.approx(20)
