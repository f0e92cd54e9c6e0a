"""A classifier cut in two answers as one, and its compiled heatmaps are those of the textbook."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.backbones import BACKBONES
from core.config import TrainConfig
from core.errors import RunError
from core.models.classifier import answering_pass, build_classifier, load_model

BLOCKS = [(name, tuple(backbone.blocks)[-2]) for name, backbone in BACKBONES.items()]
# the heatmaps belong to the flat model, which is the same for every cut: all three regimes for one network
SAVED = [*((name, "head") for name in BACKBONES), ("efficientnet_lite0", "block6"), ("efficientnet_lite0", "all")]
EXPLAINED = (0, 5)


def images(n: int = 1) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, 224, 224, 3), dtype=np.uint8)


def built(name: str, cut: str, **settings):
    keras.utils.set_random_seed(5)
    weights = "imagenet" if name == "efficientnet_lite0" else "none"
    return build_classifier(TrainConfig(backbone=name, train_from=cut, weights=weights, **settings))


def textbook(model: keras.Model, layer: str, pixels: np.ndarray) -> np.ndarray:
    """(n, 2, h, w) Grad-CAM as the paper has it: one class after another, eagerly, through the whole network."""
    both = keras.Model(model.input, [model.get_layer(layer).output, model.output])
    maps = []
    with tf.GradientTape(persistent=True) as tape:
        activations, logits = both(pixels.astype(np.float32), training=False)
        scores = [logits[:, index] for index in EXPLAINED]
    for score in scores:
        weights = tape.gradient(score, activations).numpy().mean(axis=(1, 2))
        maps.append(np.maximum((activations.numpy() * weights[:, None, None, :]).sum(axis=-1), 0))
    return np.stack(maps, axis=1)


@pytest.mark.parametrize(("name", "cut"), BLOCKS)
def test_trunk_then_top_is_the_flat_model(name, cut):
    classifier = built(name, cut)
    pixels = images().astype(np.float32)
    flat = classifier.model(pixels, training=False)
    np.testing.assert_allclose(classifier.top(classifier.trunk(pixels), training=False), flat, atol=1e-4)


@pytest.mark.parametrize(("name", "cut"), SAVED)
def test_saved_and_loaded_it_answers_as_before_and_its_heatmaps_are_the_textbooks(name, cut, tmp_path):
    classifier = built(name, cut)
    pixels = images()
    flat = classifier.model(pixels.astype(np.float32), training=False)
    classifier.model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    logits, maps, features = answering_pass(loaded, classifier.gradcam_layer, classifier.depths)(pixels)
    np.testing.assert_allclose(logits, flat, atol=1e-4)
    np.testing.assert_allclose(features, classifier.sensor(pixels.astype(np.float32)), atol=1e-4)
    expected = textbook(loaded, classifier.gradcam_layer, pixels)
    assert expected.max() > 0  # else the next line would prove nothing
    # networks of random weights have faint maps: the tolerance is of what there is to see
    np.testing.assert_allclose(maps.numpy()[:, EXPLAINED], expected, atol=1e-4 * min(expected.max(), 1.0))


def test_heatmaps_of_a_head_without_a_hidden_layer():
    classifier = built("efficientnet_lite0", "head", hidden_units=0)
    pixels = images(1)
    _, maps, _ = answering_pass(classifier.model, classifier.gradcam_layer)(pixels)
    expected = textbook(classifier.model, classifier.gradcam_layer, pixels)
    np.testing.assert_allclose(maps.numpy()[:, EXPLAINED], expected, atol=1e-4)


def test_batch_normalisation_stays_frozen_above_the_cut():
    classifier = built("efficientnet_lite0", "block6")
    norms = [layer for layer in classifier.top.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms
    before = [norm.get_weights() for norm in norms]
    outputs = classifier.trunk(images().astype(np.float32))
    classifier.top(outputs, training=True)
    for norm, weights in zip(norms, before, strict=True):
        assert not norm.trainable_variables
        for now, then in zip(norm.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, then)


def test_only_what_is_above_the_cut_learns():
    classifier = built("efficientnet_lite0", "block7")
    trained = {variable.path for variable in classifier.model.trainable_variables}
    assert trained
    assert {path.split("/")[0].split("_")[0] for path in trained} <= {"block7a", "top", "hidden", "logits"}


def test_a_damaged_model_file_is_named(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(RunError, match="model.keras"):
        load_model(tmp_path / "model.keras")
