"""The four maps on numbers written by hand, and where they must agree."""

import numpy as np
import pytest

from core.explain.cam import CAMS, grad_cam, grad_cam_plus_plus, hires_cam, layer_cam

ACTIVATIONS = np.array([[[1.0, 2.0], [3.0, 0.5]]])  # 1 x 2 places, 2 channels
GRADIENTS = np.array([[[2.0, -1.0], [0.0, 3.0]]])  # channel means: 1 and 1


def test_grad_cam_weighs_a_channel_by_its_mean_gradient():
    np.testing.assert_allclose(grad_cam(ACTIVATIONS, GRADIENTS), [[3.0, 3.5]])


def test_hires_cam_weighs_each_place_by_its_own_gradient_and_cuts_off_what_speaks_against():
    np.testing.assert_allclose(hires_cam(ACTIVATIONS, GRADIENTS), [[0.0, 1.5]])  # 2 - 2 and 0 + 1.5
    np.testing.assert_allclose(hires_cam(ACTIVATIONS, -GRADIENTS), [[0.0, 0.0]])


def test_layer_cam_hears_only_what_speaks_for_it():
    np.testing.assert_allclose(layer_cam(ACTIVATIONS, GRADIENTS), [[2.0, 1.5]])


def test_grad_cam_plus_plus_is_the_papers_formula():
    # alpha = g^2 / (2 g^2 + sum(A) g^3), one channel at a time; sums of A: 4 and 2.5
    first = 4 / (8 + 4 * 8) * 2
    second = 9 / (18 + 2.5 * 27) * 3  # the place of gradient -1 has no positive part
    expected = ACTIVATIONS @ np.array([first, second])
    np.testing.assert_allclose(grad_cam_plus_plus(ACTIVATIONS, GRADIENTS), expected, rtol=1e-6)


def test_before_an_average_pooling_hires_cam_is_grad_cam():
    dice = np.random.default_rng(0)
    activations = dice.random((2, 7, 7, 5))
    gradients = np.broadcast_to(dice.normal(size=(2, 1, 1, 5)), activations.shape)
    np.testing.assert_allclose(hires_cam(activations, gradients), grad_cam(activations, gradients), rtol=1e-5)


@pytest.mark.parametrize("method", CAMS.values(), ids=CAMS)
def test_no_gradient_gives_a_map_of_zeros(method):
    heatmap = method(np.ones((2, 3, 3, 4)), np.zeros((2, 3, 3, 4)))
    assert heatmap.shape == (2, 3, 3) and heatmap.dtype == np.float32
    assert not heatmap.any()


@pytest.mark.parametrize("method", CAMS.values(), ids=CAMS)
def test_the_callers_arrays_are_left_alone(method):
    activations, gradients = ACTIVATIONS.copy(), GRADIENTS.copy()
    method(activations, gradients)
    np.testing.assert_array_equal(activations, ACTIVATIONS)
    np.testing.assert_array_equal(gradients, GRADIENTS)
