"""What is taken away is blurred, softly, and the patches cover the image evenly."""

import numpy as np

from core.explain.perturbation import blurred, mixed, occlusion_map, patches, soft

PIXELS = np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8)


def test_blurring_takes_structure_and_leaves_colour():
    gone = blurred(PIXELS, 5 / 56)
    assert gone.dtype == np.uint8
    assert gone.std() < PIXELS.std() / 8
    np.testing.assert_allclose(gone.mean((0, 1)), PIXELS.mean((0, 1)), atol=3)


def test_nothing_covered_is_the_image_and_all_covered_the_baseline():
    baseline = blurred(PIXELS)
    np.testing.assert_array_equal(mixed(PIXELS, baseline, np.zeros((56, 56))), PIXELS)
    np.testing.assert_array_equal(mixed(PIXELS, baseline, np.ones((2, 56, 56))), np.stack([baseline] * 2))


def test_edges_are_soft_and_the_inside_is_whole():
    cover = np.zeros((224, 224), bool)
    cover[:, :112] = True
    edge = soft(cover)
    assert edge[112, 60] > 0.999 and edge[112, 160] < 0.001
    assert np.abs(np.diff(edge[112])).max() < 0.1


def test_patches_cover_the_image_evenly():
    covers = patches(60, 5)
    assert covers.shape == (25, 60, 60)
    inner = covers.sum(0)[12:48, 12:48]
    assert inner.max() / inner.min() < 1.2
    row, column = np.unravel_index(covers[7].argmax(), (60, 60))  # the second row's third patch
    assert 12 <= row < 24 and 24 <= column < 36


def test_what_falls_is_hot_and_what_rises_is_not():
    np.testing.assert_array_equal(occlusion_map(np.array([2.0, -1.0, 0.5, 0.0])), [[2.0, 0.0], [0.5, 0.0]])
