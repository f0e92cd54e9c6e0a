"""The cache gives what the trunk gives, once, and never half of it."""

import dataclasses
import os

import filelock
import numpy as np
import pytest

from core.config import TrainConfig
from core.data.augment import exact_turns
from core.data.ham10000 import load_dataset
from core.engines import ENGINES
from core.errors import ConfigError, DatasetError, TrainingStopped
from core.models import cluster, trunk_cache, trunk_pass
from core.models.classifier import build_classifier
from core.models.trunk_cache import BATCH, TrunkCache


class Killed(BaseException):
    """Stands for a process that ends."""


def no_steps(done, total, already):
    raise AssertionError("nothing should have been computed")


@pytest.fixture(scope="module")
def dataset(tiny_data):
    return load_dataset(tiny_data)


@pytest.fixture(scope="module")
def trunk():
    config = TrainConfig(backbone="mobilenetv3small", weights="none", train_from="head")
    return build_classifier(config).trunk


@pytest.fixture
def cache(trunk, tmp_path, monkeypatch):
    monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path))
    return TrunkCache(trunk, TrainConfig(backbone="mobilenetv3small", weights="none"))


def test_who_waits_for_another_trainings_outputs_can_be_stopped(cache, dataset, monkeypatch):
    monkeypatch.setattr(trunk_cache, "TICK", 0.01)
    looks = []

    def stop(*step):
        looks.append(step)
        if len(looks) == 3:
            raise TrainingStopped("enough")

    with filelock.FileLock(cache.entry(dataset, dataset.images, 0).with_suffix(".lock")):
        with pytest.raises(TrainingStopped):
            cache.outputs(dataset, dataset.images, 0, stop)
        assert looks == [(0, 70, 0)] * 3
    assert len(cache.outputs(dataset, dataset.images, 0, lambda *_: None)) == 70


def test_a_cache_that_lets_nobody_lock_an_entry_is_named(cache, dataset):
    cache.entry(dataset, dataset.images, 0).with_suffix(".lock").mkdir()
    with pytest.raises(DatasetError, match=r"Is a directory.*DERMLENS_CACHE"):
        cache.outputs(dataset, dataset.images, 0, lambda *_: None)


def test_two_trainings_that_make_room_at_once_do_not_stumble_over_each_other(cache, monkeypatch):
    for name in ("one", "two"):
        (cache.folder / f"{name}.f32").write_bytes(bytes(100))
    deleted = trunk_cache.delete_unless_in_use

    def both(path):
        for each in cache.folder.glob("*.f32"):
            each.unlink()
        deleted(path)

    monkeypatch.setattr(trunk_cache, "delete_unless_in_use", both)
    object.__setattr__(cache.config, "cache_gb", (10 * cache.row_bytes + 50) / 1e9)  # below the form's bound
    cache.make_room({cache.folder / "own.f32": 10})
    assert entries(cache) == []


def test_a_cache_that_cannot_be_written_says_what_to_do(trunk, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match="DERMLENS_CACHE"):
        TrunkCache(trunk, TrainConfig())


def entries(cache):
    return sorted(path.name for path in cache.folder.iterdir() if path.suffix == ".f32")


def test_gives_the_trunks_outputs_and_computes_them_once(cache, dataset, trunk):
    from core.data.loading import PixelSource

    outputs = cache.outputs(dataset, dataset.images, 0, lambda *_: None)
    rows = np.array([0, 41, 69])
    pixels = PixelSource(dataset.images, 224, cache.config).take(rows, np.zeros(3, int))
    np.testing.assert_allclose(outputs[rows], trunk(pixels.astype(np.float32)), atol=1e-4)
    np.testing.assert_array_equal(cache.outputs(dataset, dataset.images, 0, no_steps), outputs)


def test_a_killed_computation_leaves_no_entry_and_is_gone_on_with_bit_by_bit(cache, dataset, tmp_path, monkeypatch):
    def die_after_first_batch(done, total, already):
        if done > BATCH:
            raise Killed

    with pytest.raises(Killed):
        cache.outputs(dataset, dataset.images, 1, die_after_first_batch)
    assert entries(cache) == []
    (partial,) = cache.folder.glob("*.partial")
    with partial.open("ab") as stream:
        stream.write(b"half a row")
    steps = []
    resumed = cache.outputs(dataset, dataset.images, 1, lambda *step: steps.append(step))
    assert steps[0][2] >= BATCH  # what was there was not computed again

    monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path / "other"))
    unbroken = TrunkCache(cache.trunk, cache.config).outputs(dataset, dataset.images, 1, lambda *_: None)
    np.testing.assert_array_equal(resumed, unbroken)


def test_changed_images_views_and_settings_have_entries_of_their_own(cache, dataset):
    images = dataset.images.iloc[:3]

    def name(view=0, contents=dataset.contents, **settings):
        other = TrunkCache(cache.trunk, dataclasses.replace(cache.config, **settings))
        return other.entry(dataclasses.replace(dataset, contents=contents), images, view).name

    changed = {**dataset.contents, images["image_id"].iloc[1]: "another file"}
    names = [name(), name(contents=changed), name(1), name(2), name(1, rotation=5.0), name(1, seed=8)]
    assert len(set(names)) == len(names)
    # what does not change the numbers does not change the entry
    assert name(learning_rate=0.5, rotation=5.0, seed=8) == name()
    assert name(1, learning_rate=0.5) == name(1)


def test_exact_turns_are_those_of_every_seed(cache, dataset):
    def entry(view, seed):
        config = exact_turns(dataclasses.replace(cache.config, seed=seed))
        return TrunkCache(cache.trunk, config).entry(dataset, dataset.images.iloc[:3], view)

    assert len({entry(view, 7) for view in range(8)}) == 8
    assert entry(3, 7) == entry(3, 8) == entry(11, 7)
    assert entry(0, 8) == entry(8, 8) == cache.entry(dataset, dataset.images.iloc[:3], 0)
    assert entry(-1, 7) != entry(-1, 8)  # another camera's dice are thrown


def test_other_weights_have_an_entry_of_their_own(cache, dataset):
    other = build_classifier(TrainConfig(backbone="mobilenetv3small", weights="none", seed=9)).trunk
    need = (dataset, dataset.images, 0)
    assert TrunkCache(other, cache.config).entry(*need) != cache.entry(*need)


def test_both_engines_give_the_same_outputs_in_entries_of_their_own(trunk, tmp_path, dataset, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path))
    outputs = []
    for engine in ENGINES:
        monkeypatch.setenv("DERMLENS_ENGINE", engine)
        cache = TrunkCache(trunk, TrainConfig(backbone="mobilenetv3small", weights="none"))
        outputs.append(cache.outputs(dataset, dataset.images, 0, lambda *_: None))
    assert len(entries(cache)) == len(ENGINES)
    np.testing.assert_allclose(*outputs, atol=1e-4)


def test_outputs_of_a_gpu_have_entries_of_their_own_and_a_clusters_are_of_its_cores(cache, dataset, monkeypatch):
    need = (dataset, dataset.images.iloc[:3], 0)
    monkeypatch.setattr(trunk_pass, "gpus", lambda: ["one"])
    assert TrunkCache(cache.trunk, cache.config).entry(*need) != cache.entry(*need)
    monkeypatch.setenv(cluster.ENVIRONMENT, "head:6379")
    assert TrunkCache(cache.trunk, cache.config).entry(*need) == cache.entry(*need)


def test_the_oldest_entries_make_room(cache, dataset):
    few, more, rest = (dataset.images.iloc[a:b] for a, b in ((0, 10), (10, 30), (30, 70)))
    cache.outputs(dataset, few, 0, lambda *_: None)
    cache.outputs(dataset, more, 0, lambda *_: None)
    old = cache.entry(dataset, few, 0)
    os.utime(old, (1, 1))
    room_for = (20 + 40) * cache.row_bytes / 1e9
    tight = TrunkCache(cache.trunk, cache.config)
    tight.config = dataclasses.replace(cache.config, cache_gb=0.1)
    object.__setattr__(tight.config, "cache_gb", room_for)  # below the form's bound, for a small test
    tight.make_room({tight.entry(dataset, rest, 0): len(rest)})
    assert not old.exists()
    assert cache.entry(dataset, more, 0).exists()


def test_what_can_never_fit_is_refused_before_anything_is_deleted(cache, dataset):
    cache.outputs(dataset, dataset.images.iloc[:5], 0, lambda *_: None)
    before = entries(cache)
    object.__setattr__(cache.config, "cache_gb", 1e-9)
    with pytest.raises(ConfigError, match="--cache-gb"):
        cache.make_room({cache.entry(dataset, dataset.images, 0): len(dataset.images)})
    assert entries(cache) == before


def test_a_full_disk_is_a_sentence_and_keeps_what_was_computed(cache, dataset, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trunk_cache.os, "fsync", full)
    with pytest.raises(DatasetError, match="No space left on device.*--resume"):
        cache.outputs(dataset, dataset.images, 0, lambda *_: None)
    assert entries(cache) == []
    assert list(cache.folder.glob("*.partial"))
