"""Another camera: the same dice give the same picture, and a lesion stays one."""

import numpy as np
import pytest

from core.data.camera import CHANGES, changed, other_camera


@pytest.fixture
def lesion() -> np.ndarray:
    """A brown spot on pale skin, not square."""
    rows, columns = np.mgrid[:90, :120]
    spot = np.exp(-(((rows - 45) / 18) ** 2) - ((columns - 60) / 22) ** 2)[..., None]
    return (np.array([225, 185, 170]) - spot * [120, 120, 110]).astype(np.uint8)


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_seen_keeps_the_form_and_leaves_the_original_alone(name, lesion):
    before = lesion.copy()
    seen = 0
    for seed in range(8):
        image = changed(lesion, name, np.random.default_rng(seed))
        assert image.shape == lesion.shape
        assert image.dtype == np.uint8
        seen += not np.array_equal(image, lesion)
    assert seen >= 6, "nearly every draw changes something"
    np.testing.assert_array_equal(lesion, before)


def test_the_same_dice_give_the_same_picture(lesion):
    """A fit must be the same on every machine and after every restart."""
    first, again = (other_camera(lesion, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other_camera(lesion, np.random.default_rng(6)))


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 300, 3), (31, 7, 3)])
def test_no_size_is_too_small(shape):
    for seed in range(40):
        assert other_camera(np.full(shape, 120, np.uint8), np.random.default_rng(seed)).shape == shape


def test_weak_changes_change_little(lesion):
    far = [np.abs(other_camera(lesion, np.random.default_rng(s), 1.0).astype(int) - lesion).mean() for s in range(30)]
    near = [
        np.abs(changed(lesion, "brightness", np.random.default_rng(s), 0.01).astype(int) - lesion).mean()
        for s in range(30)
    ]
    assert max(near) < 3 < np.mean(far)
