"""Integrated gradients: complete on what is known in closed form."""

import numpy as np
import pytest

from core.explain.integrated import CELLS, integrated_map, way

DICE = np.random.default_rng(0)
START, END = DICE.random((2, 4, 4, 3))


def test_the_way_leads_from_start_to_end_by_midpoints():
    points = way(np.zeros((1, 1, 1)), np.ones((1, 1, 1)), 4)
    np.testing.assert_allclose(points.ravel(), [0.125, 0.375, 0.625, 0.875])


def test_a_map_sums_to_what_the_score_gained():
    """The score is the sum of squares: all of its gains are positive where the end is larger."""
    end = START + DICE.random(START.shape)
    heatmap = integrated_map(START, end, 2 * way(START, end, 50))
    assert heatmap.sum() == pytest.approx((end**2 - START**2).sum(), rel=1e-3)


def test_what_speaks_against_is_cut_off():
    assert not integrated_map(START, START + 1, -np.ones((2, 4, 4, 3))).any()


def test_fine_maps_are_summed_over_cells():
    start, end = np.zeros((4 * CELLS, 4 * CELLS, 1)), np.ones((4 * CELLS, 4 * CELLS, 1))
    heatmap = integrated_map(start, end, np.ones((1, *start.shape)))
    assert heatmap.shape == (CELLS, CELLS)
    np.testing.assert_allclose(heatmap, 16.0)
