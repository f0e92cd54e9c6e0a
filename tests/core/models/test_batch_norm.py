"""What a network normalizes by moves towards the images that it learns from."""

import keras
import numpy as np
import pytest

from core.config import TrainConfig
from core.data.ham10000 import load_dataset
from core.data.loading import PixelSource
from core.errors import DatasetError
from core.models import batch_norm
from core.models.batch_norm import BATCH, adapt
from core.models.classifier import build_classifier

CONFIG = TrainConfig(backbone="mobilenetv3small", weights="none")


@pytest.fixture(scope="module")
def dataset(tiny_data):
    return load_dataset(tiny_data)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path))
    return tmp_path


def network():
    keras.utils.set_random_seed(3)
    return build_classifier(CONFIG).sensor


def norms(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def taken_in(model, layer, images):
    """Mean and variance of what a layer takes in, over images and places, in float64."""
    below = keras.Model(model.input, layer.input)
    pixels = PixelSource(images, model.input.shape[1], TrainConfig()).take(
        np.arange(len(images)), np.zeros(len(images))
    )
    values = np.asarray(below(pixels.astype(np.float32), training=False), float)
    return values.mean((0, 1, 2)), values.var((0, 1, 2))


def steps(*_):
    pass


def test_a_network_moved_all_the_way_normalizes_by_what_it_takes_in(dataset):
    images, model = dataset.images.iloc[:BATCH], network()
    adapt(model, 1.0, dataset, images, 7, steps)
    for layer in (norms(model)[0], norms(model)[-1]):
        mean, variance = taken_in(model, layer, images)
        np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-3, atol=1e-3 * variance.max() ** 0.5)
        np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-2)


def test_half_the_way_is_in_the_middle_of_the_former_statistics_and_all_batches(dataset):
    assert len(dataset.images) > BATCH, "or one batch is all"
    model = network()
    first = norms(model)[0]
    first.moving_mean.assign(first.moving_mean + 5)
    adapt(model, 0.5, dataset, dataset.images, 7, steps)
    mean, variance = taken_in(model, first, dataset.images)
    np.testing.assert_allclose(first.moving_mean.numpy(), (5 + mean) / 2, rtol=1e-4)
    np.testing.assert_allclose(first.moving_variance.numpy(), (1 + variance) / 2, rtol=1e-4)


def test_the_next_training_on_these_images_has_the_same_numbers_without_measuring(dataset, monkeypatch):
    one, other, third = network(), network(), network()
    adapt(one, 0.5, dataset, dataset.images, 7, steps)
    measured = []
    monkeypatch.setattr(batch_norm, "_measured", lambda *a: measured.append(a) or np.zeros(10**6, np.float32))
    adapt(other, 0.5, dataset, dataset.images, 7, steps)
    assert not measured
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    adapt(third, 0.5, dataset, dataset.images.iloc[1:], 7, steps)
    assert measured, "other images are measured anew"


def test_a_damaged_file_in_the_cache_is_made_again(dataset, cache):
    one, other = network(), network()
    adapt(one, 0.5, dataset, dataset.images, 7, steps)
    (kept,) = (cache / "batch-norm").glob("*.f32")
    whole = kept.read_bytes()
    for damage in (b"", whole[: len(whole) // 2]):
        kept.write_bytes(damage)
        adapt(other, 0.5, dataset, dataset.images, 7, steps)
        np.testing.assert_allclose(norms(one)[-1].moving_mean, norms(other)[-1].moving_mean, rtol=1e-5)
        other = network()


def test_excluding_an_image_that_was_not_measured_changes_nothing(dataset, monkeypatch):
    monkeypatch.setattr(batch_norm, "ADAPTED_IMAGES", 8)
    seen = []
    monkeypatch.setattr(
        batch_norm, "_measured", lambda model, images, step: seen.append(images) or np.zeros(10**6, "f")
    )
    adapt(network(), 0.5, dataset, dataset.images, 7, steps)
    measured = seen.pop()
    assert len(measured) == 8
    others = dataset.images[~dataset.images["image_id"].isin(measured["image_id"])]
    adapt(network(), 0.5, dataset, dataset.images.drop(others.index[:3]), 7, steps)
    assert seen.pop().equals(measured)


def test_a_cache_that_cannot_be_written_says_how_to_move_it(dataset, cache, monkeypatch):
    (cache / "file").write_text("in the way")
    monkeypatch.setenv("DERMLENS_CACHE", str(cache / "file"))
    with pytest.raises(DatasetError, match="DERMLENS_CACHE"):
        adapt(network(), 0.5, dataset, dataset.images, 7, steps)
