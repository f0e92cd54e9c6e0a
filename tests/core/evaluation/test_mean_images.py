"""The mean image of each diagnosis is the mean of what the model sees of its images, and of no others."""

import cv2
import numpy as np
import pytest

from core.diagnoses import CODES
from core.errors import ImageError
from core.evaluation.mean_images import SIDE, mean_images, middle_and_rim, split_means


@pytest.fixture
def written(tmp_path):
    """Write plain images of these colours; their paths."""

    def write(*colours: tuple[int, int, int]) -> list[str]:
        paths = [str(tmp_path / f"{place}.png") for place in range(len(colours))]
        for path, colour in zip(paths, colours, strict=True):
            cv2.imwrite(path, np.full((90, 120, 3), colour[::-1], np.uint8))
        return paths

    return write


def test_each_diagnosis_has_its_own_mean(written):
    told = []
    paths = written((200, 100, 0), (100, 50, 100), (10, 20, 30))
    found = split_means(mean_images(paths, ["mel", "mel", "nv"], lambda done, total: told.append((done, total))))
    assert list(found) == ["mel", "nv"], "a diagnosis without images has no mean"
    assert found["mel"].shape == (SIDE, SIDE, 3)
    assert (found["mel"] == (150, 75, 50)).all() and (found["nv"] == (10, 20, 30)).all()
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_an_image_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError):
        mean_images([str(tmp_path / "broken.png")], ["mel"])


@pytest.mark.parametrize("content", [b"", b"no image", cv2.imencode(".png", np.ones((7, 9), np.uint8))[1].tobytes()])
def test_a_file_that_holds_something_else_has_no_means(content):
    assert split_means(content) == {}


def test_the_middle_and_the_rim():
    mean = np.full((90, 90, 3), (200, 150, 160), np.uint8)
    mean[25:65, 25:65] = (90, 40, 30)
    assert middle_and_rim(mean) == ((90, 40, 30), (200, 150, 160))


def test_the_squares_stand_in_the_order_of_the_diagnoses(written):
    colours = [(20 * place + 10, 0, 0) for place in range(7)]
    found = split_means(mean_images(written(*colours), list(CODES)))
    assert [int(square[0, 0, 0]) for square in found.values()] == [colour[0] for colour in colours]
