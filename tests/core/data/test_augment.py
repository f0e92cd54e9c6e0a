"""Augmented views: drawn from a seed, of the promised kind, and nothing when nothing is asked for."""

import numpy as np
import pytest

from core.config import TrainConfig
from core.data.augment import TURNS, augmented, turned, view_generator

SIZE = 64
NOTHING = TrainConfig(rotation=0.0, shift=0.0, zoom=0.0, flips=False)


@pytest.fixture
def pixels() -> np.ndarray:
    """A smooth picture in which every place has its own colour."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    return np.stack([rows * 3, columns * 3, (rows + columns) * 2], axis=2).astype(np.uint8)


def draw(pixels: np.ndarray, config: TrainConfig, view: int = 1, image_id: str = "a") -> np.ndarray:
    return augmented(pixels, config, view_generator(config.seed, image_id, view), view)


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


def test_turns_are_exact_and_all_eight_differ(pixels):
    """Three turns, the four mirrors, the image itself, and again."""
    pixels = pixels + np.random.default_rng(0).integers(0, 20, pixels.shape, np.uint8)
    expected = [
        np.rot90(pixels), np.rot90(pixels, 2), np.rot90(pixels, 3),
        pixels[:, ::-1], pixels.transpose(1, 0, 2), pixels[::-1], pixels[::-1, ::-1].transpose(1, 0, 2), pixels,
    ]  # fmt: skip
    drawn = [draw(pixels, only(turns=True), view) for view in range(1, 10)]
    assert len({picture.tobytes() for picture in drawn}) == TURNS
    for picture, due in zip(drawn, [*expected, expected[0]], strict=True):
        assert (picture == due).all()


def test_a_turn_comes_before_all_else(pixels):
    config = TrainConfig(turns=True)
    dice = view_generator(config.seed, "a", 2)
    without = augmented(turned(pixels, 2), TrainConfig(), dice)
    assert (draw(pixels, config, 2) == without).all()


def test_colours_change_moderately_and_leave_the_rest_of_a_view_as_it_was():
    skin = np.full((SIZE, SIZE, 3), (180, 130, 110), np.uint8)
    skin[20:40, 20:40] = (90, 60, 50)
    changed = np.stack([draw(skin, only(colour=0.5), view) for view in range(1, 40)]).astype(float)
    means = changed.mean(axis=(1, 2)) / skin.mean(axis=(0, 1))
    assert 0.6 < means.min() < 0.95 and 1.05 < means.max() < 1.6
    warmth = means[:, 0] / means[:, 2]
    assert 0.7 < warmth.min() < 0.97 and 1.03 < warmth.max() < 1.5
    for picture in changed:  # the lesion stays where it was, darker than the skin around it
        assert (picture[20:40, 20:40].max(axis=(0, 1)) < picture[0, 0]).all()
    faint = np.stack([draw(skin, only(colour=0.05), view) for view in range(1, 40)]).astype(float)
    assert np.abs(faint - skin).max() < np.abs(changed - skin).max() / 3


def test_views_that_were_drawn_before_there_were_turns_keep_their_place_in_the_cache():
    from core.models.trunk_cache import _drawing

    assert _drawing(TrainConfig(), 3) == [3, 7, 20.0, 0.2, 0.2, True]
    drawn = [_drawing(TrainConfig(**each), 3) for each in ({"turns": True}, {"colour": 0.5}, {"colour": 0.4}, {})]
    assert len({str(each) for each in drawn}) == len(drawn)
