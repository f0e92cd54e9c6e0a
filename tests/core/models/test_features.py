"""Refusal as a whole: features of a real network, fitted on few real images, and tried on photos and drawings."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.refusal import CAMERAS, not_dermatoscopy
from core.backbones import BACKBONES
from core.config import TrainConfig
from core.data.camera import other_camera
from core.data.ham10000 import index_dataset, load_dataset
from core.data.images import model_input, read_image
from core.data.strangers import stranger
from core.evaluation.outliers import fit_outliers, threshold
from core.models import strangeness
from core.models.classifier import build_classifier
from core.models.features import feature_layers
from core.models.frozen import frozen


@pytest.mark.parametrize("name", BACKBONES)
def test_every_network_has_features_from_early_to_late(name):
    backbone = BACKBONES[name]
    assert len(feature_layers(backbone)) >= 4


def test_more_than_200_pictures_are_no_dermatoscopy():
    kinds = not_dermatoscopy()
    assert sum(map(len, kinds.values())) > 200
    assert all(image.dtype == np.uint8 and image.shape[2] == 3 for images in kinds.values() for image in images)


def test_photos_are_refused_and_other_cameras_are_not(real_data):
    """A smaller fit than a training's: 120 images and 80 drawings. The figures of a whole run are in benchmarks/."""
    size = 224
    images = index_dataset(real_data / "ham10000-lesions-224").images.sample(200, random_state=0)
    originals = [model_input(read_image(path), size) for path in images["path"]]
    train, held, test = originals[:120], originals[120:170], originals[170:]
    sensor = _compiled(build_classifier(TrainConfig(data_dir="x", backbone="efficientnet_lite0")).sensor)
    dice = np.random.default_rng(0)

    def features(some: list[np.ndarray]) -> np.ndarray:
        pixels = np.stack([model_input(image, size) for image in some])
        return np.concatenate([np.asarray(sensor(pixels[at : at + 32])[0]) for at in range(0, len(pixels), 32)])

    drawn = [stranger(dice, train[:20]) for _ in range(80)]
    changed = [other_camera(image, dice) for image in train]
    outliers = fit_outliers(features(train), features(changed), features(drawn))
    seen_otherwise = features([other_camera(image, dice) for image in held])
    limit = threshold(outliers.score(features(held)), 0.05, outliers.score(seen_otherwise))

    kinds = not_dermatoscopy()
    strangers = [image for name, some in kinds.items() for image in some[:: 6 if "crops" in name else 3]]
    cameras = [camera(image, dice) for camera in CAMERAS.values() for image in test[:6]]
    assert np.mean(outliers.score(features(strangers)) > limit) > 0.85
    assert np.mean(outliers.score(features(test)) > limit) <= 0.1
    assert np.mean(outliers.score(features(cameras)) > limit) <= 0.2


def _compiled(sensor: keras.Model):
    signature = [tf.TensorSpec((None, *sensor.input.shape[1:]), tf.uint8)]
    return frozen(tf.function(lambda pixels: sensor(tf.cast(pixels, tf.float32), training=False), signature))


def test_what_is_drawn_for_one_split_is_not_taken_for_another(tiny_data):
    """Strangers hold pieces of training images: of another split, these are tested."""
    dataset, config = load_dataset(tiny_data), TrainConfig()
    asked = []

    class Cache:
        trunk = SimpleNamespace(input=np.empty((1, 32, 32, 3)))

        def of_drawn(self, what, draw, count, step):
            asked.append(what)
            return np.empty((count, 2))

    rows = np.arange(len(dataset.images))
    for train in (rows[:20], rows[:20], rows[10:30]):
        strangeness._strangers(Cache(), config, dataset, train, lambda *_: None)
    assert asked[0] == asked[1] != asked[2]
