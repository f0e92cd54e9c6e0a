"""Any method, any diagnosis, any depth, on flat models of every backbone."""

import keras
import numpy as np
import pytest

from core.backbones import BACKBONES
from core.config import TrainConfig
from core.errors import ConfigError
from core.explain.ensemble import Ensemble
from core.explain.explainer import IMAGE, LAST, Explainer, log_odds
from core.explain.methods import METHODS
from core.models.classifier import answering_pass, build_classifier
from core.models.keras_network import KerasNetwork

PIXELS = np.random.default_rng(3).integers(0, 256, (224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(5)
    return build_classifier(TrainConfig(backbone="efficientnet_lite0", hidden_units=0))


@pytest.fixture(scope="module")
def explainer(classifier):
    return Explainer(Ensemble([KerasNetwork(classifier.model, classifier.gradcam_layer)]))


def test_its_grad_cam_is_the_one_of_the_compiled_answer(classifier, explainer):
    _, maps = answering_pass(classifier.model, classifier.gradcam_layer)(PIXELS[None])[:2]
    for code in (0, 5):
        np.testing.assert_allclose(explainer.heatmap(PIXELS, "gradcam", code), maps[0, code], atol=1e-4)


def test_at_the_last_activation_hires_cam_is_grad_cam_and_below_it_is_not(explainer):
    for layer, same in ((LAST, True), ("block6", False)):
        one, other = (explainer.heatmap(PIXELS, method, 1, layer) for method in ("gradcam", "hirescam"))
        assert one.max() > 0
        assert np.allclose(one, other, rtol=1e-3, atol=1e-5) == same


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains_every_diagnosis(explainer, method):
    maps = [explainer.heatmap(PIXELS, method, code) for code in (1, 4)]
    for heatmap in maps:
        assert heatmap.ndim == 2 and heatmap.dtype == np.float32
        assert heatmap.min() >= 0 and heatmap.max() > 0
    assert not np.allclose(*maps)


@pytest.mark.parametrize(("layer", "side"), [("top", 7), ("block4", 28)])
def test_a_map_is_as_fine_as_its_cut_point(explainer, layer, side):
    assert explainer.heatmap(PIXELS, "layercam", 2, layer).shape == (side, side)


def test_cut_points_of_another_backbone():
    name = "mobilenetv3small"
    keras.utils.set_random_seed(5)
    other = build_classifier(TrainConfig(backbone=name, weights="none"))
    explainer = Explainer(Ensemble([KerasNetwork(other.model, other.gradcam_layer)]))
    assert explainer.layers == (LAST, *reversed(BACKBONES[name].blocks), IMAGE)
    for layer in ("top", explainer.default_layer("layercam")):
        assert explainer.heatmap(PIXELS, "gradcam", 0, layer).ndim == 2


def test_integrated_gradients_add_up_to_the_difference_of_the_scores(explainer):
    """Completeness, with the cut at zero taken out: the maps of a diagnosis and against it are one sum."""
    from core.explain import integrated
    from core.explain.perturbation import blurred

    image = np.kron(np.random.default_rng(1).integers(60, 200, (14, 14, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    end, start = explainer.network.networks[0].activations(np.stack([image, blurred(image)]), "top")
    slopes = explainer.network.networks[0].gradients(integrated.way(start, end, 40), 1, "top", odds=True)
    added = ((end - start) * slopes.mean(axis=0)).sum()
    scores = log_odds(explainer.network.logits(np.stack([image, blurred(image)])), 1)
    assert added == pytest.approx(scores[0] - scores[1], rel=0.05, abs=0.02)


def test_curves_begin_and_end_at_the_same_two_images(explainer):
    heatmap = np.zeros((7, 7), np.float32)
    heatmap[3, 3] = 1
    curves = explainer.faithfulness(PIXELS, {"a": heatmap, "b": heatmap, "c": heatmap.T[::-1] + 1}, 1)
    np.testing.assert_allclose(curves.deletion["a"], curves.deletion["b"], rtol=1e-4)
    for name in "abc":
        assert curves.deletion[name][0] == curves.insertion[name][-1]
        assert curves.deletion[name][-1] == curves.insertion[name][0]
        assert len(curves.deletion[name]) == len(curves.fractions)
    assert ((curves.deletion["a"] >= 0) & (curves.deletion["a"] <= 1)).all()


def test_the_log_odds_are_those_of_the_softmax():
    logits = np.array([[1.0, 2, 0, 0, -1, 3, 0], [900, 0, 0, 0, 0, 0, -900]], np.float32)
    shares = np.exp(logits[0]) / np.exp(logits[0]).sum()
    odds = log_odds(logits, 1)
    assert odds[0] == pytest.approx(np.log(shares[1] / (1 - shares[1])))
    assert odds[1] == pytest.approx(-900)


@pytest.mark.parametrize(("method", "layer"), [("gradcan", None), ("gradcam", "block9")])
def test_unknown_names_are_refused(explainer, method, layer):
    with pytest.raises(ConfigError, match="Received"):
        explainer.heatmap(PIXELS, method, 0, layer)
