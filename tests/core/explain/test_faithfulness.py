"""Orders, areas, pointing and energy on maps whose answer is known."""

import numpy as np
import pytest

from core.explain.faithfulness import (
    area,
    centred_gaussian,
    energy,
    hottest_first,
    pointing,
    random_map,
    rank_correlation,
    resized,
)


def spot(row: int, column: int, grid: int = 7) -> np.ndarray:
    heatmap = np.zeros((grid, grid), np.float32)
    heatmap[row, column] = 1.0
    return heatmap


def square(size: int = 70) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[:30, :30] = True
    return mask


def test_the_hottest_pixels_go_first_and_each_goes_once():
    ranks = hottest_first(spot(1, 5), 70)
    assert sorted(ranks.ravel()) == list(range(70 * 70))
    row, column = np.unravel_index(ranks.argmin(), ranks.shape)
    assert 10 <= row < 20 and 50 <= column < 60


def test_where_a_map_is_silent_no_place_is_favoured():
    """Ties in the order of memory would take the top of the image away first, whatever the map."""
    first = [hottest_first(spot(6, 6) * (1 + n), 70) < 0.4 * 4900 for n in range(60)]
    share = np.mean(first, axis=0)
    for part in (share[:35, :35], share[:35, 35:], share[20:50, 20:50]):
        assert 0.25 < part.mean() < 0.55


def test_the_same_map_gives_the_same_order():
    np.testing.assert_array_equal(hottest_first(np.zeros((7, 7)), 32), hottest_first(np.zeros((7, 7)), 32))


def test_the_area_under_a_curve_is_by_trapezoids():
    assert area(np.array([1.0, 0.5, 0.0]), (0.0, 0.1, 1.0)) == pytest.approx(0.075 + 0.225)
    np.testing.assert_allclose(area(np.array([[1, 1], [0, 1]]), (0.0, 1.0)), [1.0, 0.5])


def test_pointing_asks_for_the_hottest_point():
    assert pointing(spot(1, 1), square())
    assert not pointing(spot(5, 5), square())
    assert not pointing(np.zeros((7, 7)), square())  # a map without heat points nowhere


def test_energy_is_the_share_of_the_heat_in_the_lesion():
    assert energy(spot(1, 1), square()) > 0.9
    assert energy(spot(5, 5), square()) < 0.1
    assert energy(np.ones((7, 7)), square()) == pytest.approx(square().mean())
    assert np.isnan(energy(np.zeros((7, 7)), square()))


def test_cubic_growth_never_goes_below_zero():
    assert resized(spot(3, 3), 224).min() == 0.0


def test_the_controls_know_nothing_but_the_middle():
    assert random_map(np.random.default_rng(0)).shape == (7, 7)
    gaussian = centred_gaussian(64)
    np.testing.assert_allclose(gaussian, gaussian[::-1, ::-1])
    assert gaussian[32, 32] > gaussian[0, 0]


def test_rank_correlation_is_spearmans():
    one = np.arange(9.0).reshape(3, 3)
    assert rank_correlation(one, one**3) == pytest.approx(1.0)
    assert rank_correlation(one, -one) == pytest.approx(-1.0)
    assert np.isnan(rank_correlation(one, np.zeros((3, 3))))
