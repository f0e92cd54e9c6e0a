"""A classifier cut in two answers as one, and its compiled heatmaps are those of the textbook."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.backbones import BACKBONES
from core.config import TrainConfig
from core.errors import ConfigError, RunError
from core.explain.ensemble import Ensemble
from core.explain.explainer import IMAGE, LAST, Explainer
from core.explain.integrated import STEPS
from core.models.classifier import answering_pass, beside, build_classifier, load_model
from core.models.keras_network import KerasNetwork

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


# ---- a head that sees several depths -----------------------------------------------------------------


@pytest.fixture(scope="module")
def deep():
    return built("efficientnet_lite0", "head", head_depths=True)


def test_with_several_depths_trunk_then_top_is_the_flat_model(deep):
    pixels = images(2).astype(np.float32)
    outputs = deep.trunk(pixels)
    np.testing.assert_allclose(deep.top(outputs, training=False), deep.model(pixels, training=False), atol=1e-4)
    assert deep.top.input.shape[1] == sum((16, 24, 40, 80, 112, 192, 320, 1280))
    early = np.array(outputs)
    early[:, :16] += 1.0  # the means of the earliest depth
    assert np.abs(deep.top(early, training=False) - deep.top(outputs, training=False)).max() > 1e-3
    plain = built("efficientnet_lite0", "head")
    kinds = [{layer.name for layer in classifier.model.layers} for classifier in (deep, plain)]
    assert "features" in kinds[0] and "features" not in kinds[1]


def test_with_several_depths_the_loaded_model_answers_as_before(deep, tmp_path):
    pixels = images(2)
    deep.model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    logits, _, features = answering_pass(loaded, deep.gradcam_layer, deep.depths)(pixels)
    np.testing.assert_allclose(logits, deep.model(pixels.astype(np.float32), training=False), atol=1e-4)
    np.testing.assert_allclose(features, deep.sensor(pixels.astype(np.float32)), atol=1e-4)


def test_grad_cam_of_a_head_that_sees_several_depths_is_exact(deep):
    """By hand: the head's own slope for each mean of the last activation, over the places that share it."""
    pixels = images(2)
    _, maps, features = answering_pass(deep.model, deep.gradcam_layer, deep.depths)(pixels)
    hidden, logits = deep.model.get_layer("hidden"), deep.model.get_layer("logits")
    first, bias, last = hidden.kernel.numpy(), hidden.bias.numpy(), logits.kernel.numpy()
    awake = (features.numpy() @ first + bias > 0).astype(float)
    slopes = np.einsum("fh,nh,hc->ncf", first, awake, last)[:, :, -deep.pooled :]
    activations = KerasNetwork(deep.model, deep.gradcam_layer).activations(pixels)
    expected = np.maximum(np.einsum("nhwk,nck->nchw", np.asarray(activations), slopes / 49), 0)
    assert expected.max() > 1e-3
    np.testing.assert_allclose(maps, expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("layer", [LAST, "block6", "block3"])
def test_gradients_at_a_cut_that_depths_pass_by_are_those_of_finite_differences(deep, layer):
    network = KerasNetwork(deep.model, deep.gradcam_layer)
    pixels, code = images(1), 3
    activations = network.activations(pixels, layer)
    gradients = network.gradients(activations, code, layer)
    assert np.isfinite(gradients).all()
    name = network.layer_name(layer)
    above = keras.Model([deep.model.get_layer(name).output, *beside(deep.model, name)], deep.model.output)
    towards = gradients / np.linalg.norm(gradients)
    step = 0.02 * np.linalg.norm(activations) / np.sqrt(activations.size)

    def logit(share: float) -> float:
        return float(above([np.asarray(activations) + share * step * towards, *activations.beside])[0, code])

    assert (logit(1) - logit(-1)) / (2 * step) == pytest.approx(float(np.linalg.norm(gradients)), rel=0.03)


def test_with_several_depths_a_path_of_activations_is_refused_and_of_images_is_not(deep):
    explainer = Explainer(Ensemble([KerasNetwork(deep.model, deep.gradcam_layer)]))
    pixels = images(1)[0]
    with pytest.raises(ConfigError, match="sees 4 depths below it.*'image'"):
        explainer.heatmap(pixels, "integrated", 1, "block6")
    for method, layer in (("integrated", IMAGE), ("layercam", None), ("gradcam", LAST), ("integrated", "block2")):
        heatmap = explainer.heatmap(pixels, method, 1, layer)
        assert type(heatmap) is np.ndarray and heatmap.max() > 0


def test_openvino_answers_and_explains_as_keras_does_with_several_depths(deep):
    pytest.importorskip("openvino")
    from core.engines import compiled_network
    from core.models.openvino_conversion import converted

    def compiled(function):
        return compiled_network(converted(function))

    pixels = images(STEPS)
    answer = answering_pass(deep.model, deep.gradcam_layer, deep.depths)
    for one, other in zip(compiled(answer)(pixels).values(), answer(pixels), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)
    network, shown = KerasNetwork(deep.model, deep.gradcam_layer), pixels.astype(np.float32)
    slopes = compiled(network.slopes(IMAGE, odds=True, count=STEPS))
    one = next(iter(slopes([shown, np.int32(4)]).values()))
    other = network.gradients(shown, 4, IMAGE, odds=True)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9999
