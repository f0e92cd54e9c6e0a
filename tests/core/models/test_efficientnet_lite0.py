"""The packaged weights, in our network, see what is on a photo."""

import cv2
import keras
import numpy as np
import pytest

from core.errors import WeightsError
from core.models import efficientnet_lite0
from core.models.torch_file import read_torch_file

# classes of ImageNet
ESPRESSO, EGYPTIAN_CAT = 967, 285


@pytest.fixture(scope="module")
def imagenet_model():
    pixels = keras.Input((224, 224, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(efficientnet_lite0.features(pixels))
    model = keras.Model(pixels, keras.layers.Dense(1000, activation="softmax", name="predictions")(pooled))
    efficientnet_lite0.fill(model, efficientnet_lite0.packaged_weights())
    return model


@pytest.mark.parametrize(("photo", "label", "at_least"), [("coffee", ESPRESSO, 0.85), ("chelsea", EGYPTIAN_CAT, 0.7)])
def test_names_what_a_photo_shows(imagenet_model, photo, label, at_least):
    from skimage import data

    image = getattr(data, photo)()
    pixels = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA).astype(np.float32)
    probabilities = imagenet_model(pixels[None]).numpy()[0]
    assert probabilities.argmax() == label
    assert probabilities[label] > at_least


def test_a_file_that_asks_for_code_is_refused(tmp_path):
    import pickle

    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(eval))
    with pytest.raises(WeightsError, match="builtins.eval"):
        read_torch_file(path)


def test_a_file_that_ends_too_early_is_refused(tmp_path):
    whole = efficientnet_lite0.packaged_weights().read_bytes()
    path = tmp_path / "weights.pth"
    path.write_bytes(whole[:1_000_000])
    with pytest.raises(WeightsError, match="weights.pth"):
        read_torch_file(path)


def test_weights_of_another_network_are_refused(tmp_path, imagenet_model, monkeypatch):
    monkeypatch.setattr(efficientnet_lite0, "read_torch_file", lambda path: {"fc.weight": np.zeros(3)})
    with pytest.raises(WeightsError, match="EfficientNet-Lite0"):
        efficientnet_lite0.fill(imagenet_model, tmp_path / "resnet.pth")
