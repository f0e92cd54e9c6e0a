"""heatmaps.json: every method measured, the model left as it was."""

import json

import keras
import numpy as np
import pandas as pd
import pytest

from core.config import TrainConfig
from core.data.ham10000 import index_dataset
from core.data.masks import find_masks
from core.evaluation.bootstrap import LesionBootstrap
from core.evaluation.heatmaps import _figure, measure_heatmaps
from core.explain.ensemble import Ensemble
from core.explain.methods import DEFAULT_METHOD, METHODS
from core.models.classifier import build_classifier
from core.models.keras_network import KerasNetwork

COUNT = 3


@pytest.fixture(scope="module")
def measured(tiny_data):
    keras.utils.set_random_seed(5)
    classifier = build_classifier(TrainConfig(backbone="efficientnet_lite0"))
    before = [weights.copy() for weights in classifier.model.get_weights()]
    steps: list[tuple[int, int]] = []
    figures = measure_heatmaps(
        Ensemble([KerasNetwork(classifier.model, classifier.gradcam_layer)]),
        index_dataset(tiny_data).images,
        find_masks(tiny_data),
        COUNT,
        7,
        lambda done, total: steps.append((done, total)),
    )
    return figures, before, classifier.model, steps


def test_every_method_is_measured_with_intervals(measured):
    figures, *_ = measured
    assert set(figures["methods"]) == set(METHODS)
    assert figures["default"] == DEFAULT_METHOD
    for method in figures["methods"].values():
        shares = [share for reference in method["beats"].values() for share in reference.values()]
        assert len(shares) == 9
        for figure in (method["deletion"], method["insertion"], method["pointing"], *shares):
            assert figure["n"] == COUNT
            assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
        assert method["scale"] > 0
    assert figures["methods"]["hirescam"]["equal_to"] == "gradcam"
    assert 0 < figures["lesion"]["area"]["value"] < 1
    json.dumps(figures)  # nothing of NumPy's is left in it


def test_the_weights_are_put_back(measured):
    _, before, model, _ = measured
    for then, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(then, now)


def test_shuffled_weights_change_the_maps(measured):
    randomised = measured[0]["randomised"]
    assert set(randomised) == {"head", "top"}
    assert randomised["top"]["gradcam"]["value"] < 0.95


def test_progress_is_told_to_the_end(measured):
    steps = measured[3]
    assert steps[-1] == (2 * COUNT, 2 * COUNT)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_what_is_unknown_does_not_count():
    bootstrap = LesionBootstrap(np.array(["a", "b", "c", "c"]), 0)
    share = _figure([1.0, 0.0, np.nan, np.nan], bootstrap)
    assert share["value"] == 0.5 and share["n"] == 2
    assert 0 <= share["low"] < 0.2 and 0.8 < share["high"] <= 1
    mean = _figure(pd.Series([0.2, 0.4, 0.9, np.nan]), bootstrap)
    assert mean["value"] == pytest.approx(0.5) and mean["low"] < 0.5 < mean["high"] and mean["n"] == 3
    assert _figure([np.nan] * 4, bootstrap)["n"] == 0
