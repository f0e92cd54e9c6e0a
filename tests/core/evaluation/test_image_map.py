"""The map of the images: neighbours stay neighbours, and small sets have one too."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from core.evaluation.image_map import image_map


def test_groups_of_alike_images_lie_together():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 40)
    features = rng.normal(0, 5, (4, 64))[groups] + rng.normal(0, 1, (160, 64))
    places = image_map(features)
    distances = cdist(places, places) + np.eye(160) * 9
    nearest = groups[np.argsort(distances, axis=1)[:, :5]]
    assert (nearest == groups[:, None]).mean() > 0.98
    assert places.shape == (160, 2) and np.abs(places).max() == pytest.approx(1.0)


def test_same_seed_same_map():
    features = np.random.default_rng(1).normal(size=(60, 20))
    np.testing.assert_array_equal(image_map(features, 3), image_map(features, 3))


@pytest.mark.parametrize("shape", [(1, 8), (2, 8), (12, 8), (20, 1)])
def test_small_sets_have_a_map(shape):
    places = image_map(np.random.default_rng(2).normal(size=shape))
    assert places.shape == (shape[0], 2) and np.isfinite(places).all()
