"""Drawn pictures of other things."""

import numpy as np
import pytest

from core.data.strangers import DRAWINGS, SIDE, stranger


@pytest.mark.parametrize("name", DRAWINGS)
def test_each_kind_can_be_drawn_and_no_two_are_alike(name):
    images = [DRAWINGS[name](np.random.default_rng(seed)) for seed in range(6)]
    for image in images:
        assert image.shape == (SIDE, SIDE, 3)
        assert image.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == 6


def test_the_same_dice_draw_the_same_picture():
    familiar = [np.full((60, 80, 3), 180, np.uint8)]
    first, again = (stranger(np.random.default_rng(3), familiar) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_some_are_put_together_from_what_is_familiar():
    """Their colours are right, and only the order of their pieces is wrong: colour alone must not be trusted."""
    colour = np.zeros((SIDE, SIDE, 3), np.uint8)
    colour[:, : SIDE // 2] = (201, 133, 117)
    images = [stranger(np.random.default_rng(seed), [colour]) for seed in range(30)]
    shuffled = [image for image in images if ((image == (201, 133, 117)).all(axis=-1)).mean() > 0.2]
    assert 1 <= len(shuffled) <= 12
    assert all((image[:, : SIDE // 2] == 0).any() for image in shuffled)
