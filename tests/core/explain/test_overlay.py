"""The picture: heat where it belongs on the original, the same scale for every image, the unseen marked."""

import numpy as np

from core.explain.overlay import lay_back, outlined, overlay


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def test_heat_lies_on_the_centre_square_and_nothing_on_the_rest():
    heatmap = np.zeros((7, 7), np.float32)
    heatmap[3, 0] = 1.0  # left edge of what the model saw, half-way down
    laid = lay_back(heatmap, 450, 600)
    assert laid.shape == (450, 600)
    assert np.isnan(laid[:, :75]).all()
    assert np.isnan(laid[:, 525:]).all()
    row, column = np.unravel_index(np.nanargmax(laid), laid.shape)
    assert abs(row - 225) < 40
    assert 75 <= column < 75 + 64


def test_two_images_share_one_scale():
    weak, strong = np.full((7, 7), 0.1, np.float32), np.full((7, 7), 1.0, np.float32)
    image = grey(64, 64)
    changed = [np.abs(overlay(image, heat, scale=1.0).astype(int) - 128).mean() for heat in (weak, strong)]
    assert changed[0] < changed[1] / 2


def test_no_heat_leaves_the_image_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay(image, np.zeros((7, 7), np.float32), scale=1.0), image)


def test_what_the_model_did_not_see_is_grey_even_without_heat():
    image = np.zeros((60, 90, 3), np.uint8)
    image[:, :, 0] = 200  # red
    picture = overlay(image, np.zeros((7, 7), np.float32), scale=1.0)
    assert (picture[:, :15, 0] == picture[:, :15, 1]).all()
    np.testing.assert_array_equal(picture[:, 15:75], image[:, 15:75])


def test_the_callers_image_is_left_alone():
    image, heatmap = grey(40, 60), np.ones((7, 7), np.float32)
    overlay(image, heatmap, scale=0.5)
    assert (image == 128).all()
    assert (heatmap == 1).all()


def test_the_outline_runs_along_the_lesions_border_and_leaves_the_rest():
    mask = np.zeros((45, 60), bool)
    mask[10:30, 20:40] = True
    image = grey(450, 600)
    changed = (outlined(image, mask) != image).any(axis=2)
    assert changed[100:300, 195:206].any(axis=1).all()  # the left border, from top to bottom
    assert not changed[130:270, 230:370].any()
    assert not changed[:80].any()
    assert (image == 128).all()


def test_no_lesion_has_no_outline():
    image = grey(30, 40)
    np.testing.assert_array_equal(outlined(image, np.zeros((30, 40), bool)), image)
