"""Networks that answer as one: means over networks and over exact turns, with heatmaps turned back."""

import numpy as np
import pytest

from core.data.augment import TURNS, turned, turned_back
from core.explain.cam import mean_map
from core.explain.ensemble import Ensemble
from core.explain.explainer import IMAGE, LAST, Explainer

SIZE = 28


class Brightness:
    """A network whose heatmap of every diagnosis is how bright each cell is, and whose logits lean on one corner."""

    size, layers = SIZE, (LAST, IMAGE)

    def __init__(self, strength: float = 1.0, cells: int = 7) -> None:
        self.strength, self._cells = strength, cells

    def answer(self, pixels):
        side = SIZE // self._cells
        cells = pixels.mean(axis=3).reshape(len(pixels), self._cells, side, self._cells, side).mean(axis=(2, 4))
        maps = np.repeat(cells[:, None], 7, axis=1).astype(np.float32) * self.strength
        corner = maps[:, :, 0, 0] * np.arange(7, dtype=np.float32)
        return corner, maps, maps[:, 0].reshape(len(pixels), -1)

    def logits(self, pixels):
        return self.answer(pixels)[0]

    def grad_cam(self, pixels, code_index):
        return self.answer(pixels[None])[1][0, code_index]

    def cells(self, layer):
        return SIZE if layer == IMAGE else self._cells


@pytest.fixture
def image():
    return np.random.default_rng(3).integers(0, 255, (SIZE, SIZE, 3), np.uint8)


@pytest.mark.parametrize("view", range(TURNS))
def test_what_is_seen_in_a_turned_image_is_laid_back_where_it_was(image, view):
    np.testing.assert_array_equal(turned_back(turned(image, view)[..., 0], view), image[..., 0])


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_the_heatmap_over_turns_is_that_of_the_upright_image(image, views):
    upright = Brightness().answer(image[None])[1]
    ensemble = Ensemble([Brightness()], views)
    np.testing.assert_allclose(ensemble.answer(image[None])[1], upright, rtol=1e-5)
    np.testing.assert_allclose(ensemble.grad_cam(image, 2), upright[0, 2], rtol=1e-5)


def test_the_answer_is_the_same_however_the_camera_was_held(image):
    ensemble = Ensemble([Brightness()], 8)
    for view in range(1, 8):
        logits, maps, _ = ensemble.answer(turned(image, view)[None])
        np.testing.assert_allclose(logits, ensemble.answer(image[None])[0], rtol=1e-5)
        np.testing.assert_allclose(turned_back(maps, view), ensemble.answer(image[None])[1], rtol=1e-5)
    assert not np.allclose(Brightness().logits(turned(image, 1)[None]), Brightness().logits(image[None]))


def test_networks_are_averaged_and_their_features_stand_side_by_side(image):
    one, other = Brightness(1.0), Brightness(3.0)
    logits, maps, features = Ensemble([one, other], 4).answer(image[None])
    np.testing.assert_allclose(logits, 2 * Ensemble([one], 4).answer(image[None])[0], rtol=1e-5)
    np.testing.assert_allclose(maps, 2 * one.answer(image[None])[1], rtol=1e-5)
    np.testing.assert_allclose(features, np.concatenate([each.answer(image[None])[2] for each in (one, other)], axis=1))


def test_maps_of_different_grids_meet_on_the_finer_one(image):
    ensemble = Ensemble([Brightness(cells=7), Brightness(cells=14)], 2)
    assert ensemble.answer(image[None])[1].shape == (1, 7, 14, 14)
    assert ensemble.cells(LAST) == 14
    np.testing.assert_allclose(mean_map([np.ones((2, 2), np.float32), np.full((4, 4), 3, np.float32)]), 2)


def test_other_kinds_of_heatmap_are_the_mean_of_the_networks_own(image):
    one, other = Brightness(0.01), Brightness(0.02)
    mean = Explainer(Ensemble([one, other], 4)).heatmap(image, "occlusion", 6)
    each = [Explainer(Ensemble([network])).heatmap(image, "occlusion", 6) for network in (one, other)]
    assert each[0].max() > 0
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-4, atol=1e-6)
