"""The arithmetic of Grad-CAM, on numbers written by hand."""

import numpy as np

from core.explain.gradcam import channel_weights, weighted_maps


def test_a_channel_weighs_as_much_as_its_mean_gradient():
    gradients = np.zeros((1, 2, 2, 2, 3), np.float32)
    gradients[0, 0, :, :, 1] = [[1, 2], [3, 6]]
    gradients[0, 1, 0, 0, 2] = -4
    np.testing.assert_allclose(channel_weights(gradients), [[[0, 3, 0], [0, 0, -1]]])


def test_what_speaks_against_a_diagnosis_is_cut_off_at_zero():
    activations = np.array([[[[1.0, 2.0], [3.0, 0.0]]]], np.float32)  # one image, 1 x 2 places, 2 channels
    weights = np.array([[[1.0, -1.0], [0.5, 0.5]]], np.float32)
    np.testing.assert_allclose(weighted_maps(activations, weights), [[[[0.0, 3.0]], [[1.5, 1.5]]]])


def test_no_evidence_gives_a_map_of_zeros_and_no_division():
    maps = np.asarray(weighted_maps(np.zeros((1, 2, 2, 3), np.float32), np.ones((1, 7, 3), np.float32)))
    assert maps.shape == (1, 7, 2, 2)
    assert not maps.any()
