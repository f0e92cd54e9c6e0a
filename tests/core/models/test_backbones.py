"""Weights that cannot be had end in a sentence that says what to do."""

import keras
import numpy as np
import pytest

from core.backbones import BACKBONES
from core.errors import WeightsError
from core.models.backbones import build_features


def pixels():
    return keras.Input((224, 224, 3))


def test_no_network_names_the_two_ways_on(monkeypatch):
    def no_network(*_args, **_settings):
        raise Exception("URL fetch failure on https://example.org/weights.h5: None -- no route")  # as Keras does

    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", no_network)
    with pytest.raises(WeightsError, match="(?s)URL fetch failure.*--weights PATH.*--backbone efficientnet_lite0"):
        build_features(BACKBONES["efficientnetb0"], pixels(), "imagenet")


@pytest.mark.parametrize("backbone", ["efficientnetb0", "efficientnet_lite0"])
def test_a_weights_file_that_is_not_there_is_named(backbone):
    with pytest.raises(WeightsError, match="no such file"):
        build_features(BACKBONES[backbone], pixels(), "/nowhere/weights.h5")


@pytest.mark.parametrize("backbone", ["efficientnetb0", "efficientnet_lite0"])
def test_a_weights_file_of_something_else_is_refused(backbone, tmp_path):
    path = tmp_path / "weights.h5"
    path.write_text("not weights")
    with pytest.raises(WeightsError, match="weights.h5"):
        build_features(BACKBONES[backbone], pixels(), str(path))


def test_a_local_weights_file_fills_the_network(tmp_path):
    donor = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(224, 224, 3))
    path = tmp_path / "mine.weights.h5"
    donor.save_weights(path)
    inputs = pixels()
    model = keras.Model(inputs, build_features(BACKBONES["mobilenetv3small"], inputs, str(path)))
    for ours, theirs in zip(model.get_weights(), donor.get_weights(), strict=True):
        assert (ours == theirs).all()


def test_a_named_file_and_the_same_file_fetched_make_one_network(tmp_path, monkeypatch):
    """The way out without a network must not be another, worse network."""
    donor = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(224, 224, 3))
    first = next(layer for layer in donor.layers if isinstance(layer, keras.layers.Normalization))
    first.adapt_mean.assign([0.485, 0.456, 0.406])  # as Keras's file has them
    first.adapt_variance.assign([0.229, 0.224, 0.225])
    path = str(tmp_path / "notop.weights.h5")
    donor.save_weights(path)
    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *_args, **_settings: path)
    seen = []
    for weights in ("imagenet", path):
        inputs = pixels()
        model = keras.Model(inputs, build_features(BACKBONES["efficientnetb0"], inputs, weights))
        stem = keras.Model(inputs, model.get_layer("stem_conv").input)
        photo = np.random.default_rng(2).integers(0, 256, (1, 224, 224, 3)).astype(np.float32)
        seen.append(stem(photo).numpy())
    assert abs(seen[0]).max() > 1.5
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenetv3small"])
def test_the_table_of_work_is_that_of_the_networks(name):
    """Times are told from it."""

    def work(model: keras.Model) -> float:
        kernels = [
            (layer.output.shape, layer.get_weights()[0].shape)
            for layer in model.layers
            if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))
        ]
        depthwise = {id(layer) for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)}
        assert depthwise, "a depthwise kernel has its channels in the third place"
        return sum(shape[1] * shape[2] * np.prod(kernel[:3] if kernel[3] == 1 else kernel) for shape, kernel in kernels)

    backbone, inputs = BACKBONES[name], pixels()
    model = keras.Model(inputs, build_features(backbone, inputs, "none"))
    total = work(model)
    assert total / 1e6 == pytest.approx(backbone.work, rel=0.03)
    assert set(backbone.above) == set(backbone.blocks)
    for cut, layer in backbone.blocks.items():
        below = keras.Model(inputs, model.get_layer(layer).output)
        assert 1 - work(below) / total == pytest.approx(backbone.above[cut], abs=0.02)
