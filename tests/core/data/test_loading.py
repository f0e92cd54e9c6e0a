"""Batches of pixels: the right ones, in order, and nothing left running when the reader goes away."""

import threading
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.config import TrainConfig
from core.data.augment import augmented, view_generator
from core.data.images import model_input, read_image
from core.data.loading import PixelSource, in_batches, read_ahead
from core.errors import ImageError


@pytest.fixture
def images(tmp_path) -> pd.DataFrame:
    dice = np.random.default_rng(2)
    for number in range(6):
        Image.fromarray(dice.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    names = [str(number) for number in range(6)]
    return pd.DataFrame({"image_id": names, "path": [str(tmp_path / f"{name}.png") for name in names]})


def batches(count: int, size: int = 1) -> list:
    return in_batches(np.arange(count), np.zeros(count, int), size)


# ---- pixels ------------------------------------------------------------------------------------


def test_view_0_is_the_image_itself(images):
    pixels = PixelSource(images, 16, TrainConfig()).take(np.array([4, 1]), np.array([0, 0]))
    assert pixels.shape == (2, 16, 16, 3) and pixels.dtype == np.uint8
    for got, row in zip(pixels, (4, 1), strict=True):
        assert (got == model_input(read_image(images["path"][row]), 16)).all()


def test_other_views_are_drawn_by_name_and_seed(images):
    config = TrainConfig(seed=3)
    got = PixelSource(images, 16, config).take(np.array([2]), np.array([5]))[0]
    plain = model_input(read_image(images["path"][2]), 16)
    assert (got == augmented(plain, config, view_generator(3, "2", 5))).all()
    assert (got != plain).any()


def test_a_view_does_not_depend_on_its_neighbours(images):
    config = TrainConfig()
    together = PixelSource(images, 16, config).take(np.arange(6), np.full(6, 2))
    other_table = images.iloc[::-1].reset_index(drop=True)
    alone = [PixelSource(other_table, 16, config).take(np.array([5 - row]), np.array([2]))[0] for row in range(6)]
    assert (together == np.stack(alone)).all()


def test_a_table_with_an_index_of_its_own(images):
    """Rows are counted, whatever the index of a table cut from a larger one says."""
    part = images.iloc[[3, 5]]
    got = PixelSource(part, 16, TrainConfig()).take(np.array([1]), np.array([0]))[0]
    assert (got == model_input(read_image(images["path"][5]), 16)).all()


def test_an_image_that_is_gone_is_an_image_error(images, tmp_path):
    source = PixelSource(images, 16, TrainConfig())
    (tmp_path / "3.png").unlink()
    with pytest.raises(ImageError, match="3.png"):
        list(read_ahead(source.take, batches(6)))


# ---- batches -----------------------------------------------------------------------------------


def test_batches_hold_every_row_once():
    cut = in_batches(np.arange(10), np.arange(10) * 2, 4)
    assert [len(rows) for rows, _ in cut] == [4, 4, 2]
    assert np.concatenate([rows for rows, _ in cut]).tolist() == list(range(10))
    assert all((views == rows * 2).all() for rows, views in cut)
    assert in_batches(np.arange(0), np.arange(0), 4) == []


def test_order_is_kept_although_later_batches_are_ready_first():
    def take(rows, views):
        time.sleep(0.02 if rows[0] % 3 == 0 else 0)
        return rows

    assert [int(rows[0]) for rows in read_ahead(take, batches(30))] == list(range(30))


def test_it_reads_ahead_but_not_everything():
    taken = []

    def take(rows, views):
        taken.append(int(rows[0]))
        return rows

    reader = read_ahead(take, batches(500))
    next(reader)
    time.sleep(0.05)
    assert 1 < len(taken) < 300  # a data set does not fit in memory
    reader.close()


def test_no_batches():
    assert list(read_ahead(lambda rows, views: rows, [])) == []


def test_an_exception_comes_out_where_its_batch_would_have():
    def take(rows, views):
        if rows[0] == 5:
            raise OSError("the disk is gone")
        return rows

    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        seen.extend(int(rows[0]) for rows in read_ahead(take, batches(50)))
    assert seen == [0, 1, 2, 3, 4]


def test_a_reader_that_goes_away_leaves_no_thread_and_no_work():
    before = set(threading.enumerate())
    taken = []

    def take(rows, views):
        taken.append(int(rows[0]))
        time.sleep(0.005)
        return rows

    for _ in read_ahead(take, batches(500)):
        break
    assert set(threading.enumerate()) <= before
    done = len(taken)
    time.sleep(0.05)
    assert len(taken) == done < 300


def test_no_thread_is_left_after_an_exception():
    before = set(threading.enumerate())

    def take(rows, views):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(read_ahead(take, batches(50)))
    assert set(threading.enumerate()) <= before
