"""Augmented views: drawn from a seed, of the promised kind, and nothing when nothing is asked for."""

import numpy as np
import pytest

from core.config import TrainConfig
from core.data.augment import augmented, view_generator

SIZE = 64
NOTHING = TrainConfig(rotation=0.0, shift=0.0, zoom=0.0, flips=False)


@pytest.fixture
def pixels() -> np.ndarray:
    """A smooth picture in which every place has its own colour."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    return np.stack([rows * 3, columns * 3, (rows + columns) * 2], axis=2).astype(np.uint8)


def draw(pixels: np.ndarray, config: TrainConfig, view: int = 1, image_id: str = "a") -> np.ndarray:
    return augmented(pixels, config, view_generator(config.seed, image_id, view))


def only(**settings) -> TrainConfig:
    return TrainConfig(**({"rotation": 0.0, "shift": 0.0, "zoom": 0.0, "flips": False} | settings))


def test_zeroed_settings_change_nothing(pixels):
    for view in range(1, 9):
        assert (draw(pixels, NOTHING, view) == pixels).all()


def test_the_same_view_is_the_same_pixels(pixels):
    before = pixels.copy()
    config = TrainConfig()
    assert (draw(pixels, config) == draw(pixels, config)).all()
    assert (pixels == before).all()


def test_views_images_and_seeds_differ(pixels):
    drawn = [
        draw(pixels, TrainConfig(seed=seed), view, image_id)
        for seed in (7, 8)
        for view in (1, 2, 3)
        for image_id in ("a", "b")
    ]
    assert len({picture.tobytes() for picture in drawn}) == len(drawn)


def test_the_dice_are_pinned():
    """They are thrown by name, on every machine alike: the trunk cache and a resumed run rely on it."""
    assert view_generator(7, "ISIC_0024306", 1).integers(10**6, size=3).tolist() == [805246, 525872, 637148]


def test_flips_are_exact_and_all_four_occur(pixels):
    config = only(flips=True)
    kinds = {
        "as it is": pixels,
        "left-right": pixels[:, ::-1],
        "up-down": pixels[::-1],
        "both": pixels[::-1, ::-1],
    }
    found = set()
    for view in range(1, 40):
        picture = draw(pixels, config, view)
        found |= {name for name, flipped in kinds.items() if (picture == flipped).all()} or {"none of them"}
    assert found == set(kinds)


def test_rotation_stays_within_its_limit():
    """The centre of mass of a spot to the right of the centre tells by how much it was turned."""
    spot = np.zeros((SIZE, SIZE, 3), np.uint8)
    spot[29:35, 54:60] = 255
    angles = []
    for view in range(1, 60):
        rows, columns = np.nonzero(draw(spot, only(rotation=20.0), view)[:, :, 0] > 60)
        angles.append(np.degrees(np.arctan2(rows.mean() - 31.5, columns.mean() - 31.5)))
    assert 15 < max(angles) <= 21
    assert -21 <= min(angles) < -15


def test_shift_stays_within_its_limit():
    spot = np.zeros((SIZE, SIZE, 3), np.uint8)
    spot[31:33, 31:33] = 255
    moved = []
    for view in range(1, 60):
        rows, columns = np.nonzero(draw(spot, only(shift=0.2), view)[:, :, 0] > 60)
        moved.append((rows.mean() - 31.5, columns.mean() - 31.5))
    for axis in np.array(moved).T:
        assert 9 < axis.max() <= 0.2 * SIZE + 0.6
        assert -0.2 * SIZE - 0.6 <= axis.min() < -9


def test_zoom_stays_within_its_limit():
    disc = (np.mgrid[0:SIZE, 0:SIZE] - 31.5) ** 2
    spot = np.where(disc.sum(axis=0)[:, :, None] < 15**2, 255, 0).astype(np.uint8).repeat(3, axis=2)
    area = (spot[:, :, 0] > 127).sum()
    scales = [np.sqrt((draw(spot, only(zoom=0.2), view)[:, :, 0] > 127).sum() / area) for view in range(1, 60)]
    assert 1.15 < max(scales) < 1.22
    assert 0.78 < min(scales) < 0.85


def test_what_comes_in_from_outside_is_skin_and_no_black_edge():
    skin = np.full((SIZE, SIZE, 3), (210, 160, 140), np.uint8)
    config = TrainConfig(rotation=180.0, shift=0.5, zoom=0.5)
    for view in range(1, 20):
        assert (draw(skin, config, view) == skin).all()
