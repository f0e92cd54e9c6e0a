"""Masks are found by image id, wherever they lie, and fit the square that the model sees."""

import cv2
import numpy as np
import pytest

from core.data.masks import find_masks, model_mask, whole_mask
from core.errors import ImageError


def write(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask)
    return path


def test_masks_are_found_by_image_id_below_the_folder(tmp_path):
    deep = write(tmp_path / "any" / "where" / "A_1_segmentation.png", np.zeros((3, 3), np.uint8))
    write(tmp_path / "images" / "A_1.png", np.zeros((3, 3), np.uint8))
    write(tmp_path / "__MACOSX" / "B_2_segmentation.png", np.zeros((3, 3), np.uint8))
    write(tmp_path / "._C_3_segmentation.png", np.zeros((3, 3), np.uint8))
    assert find_masks(tmp_path) == {"A_1": str(deep)}


def test_masks_are_found_where_links_lead_and_in_every_folder(tmp_path):
    """As images are: else a data set of links would seem to have none."""
    real = write(tmp_path / "disk" / "A_1_segmentation.png", np.zeros((3, 3), np.uint8))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "masks").symlink_to(real.parent)
    (tmp_path / "data" / "masks" / "up").symlink_to(tmp_path / "data")
    more = write(tmp_path / "further" / "B_2_segmentation.png", np.zeros((3, 3), np.uint8))
    found = find_masks(tmp_path / "data", tmp_path / "further")
    assert found == {"A_1": str(tmp_path / "data" / "masks" / real.name), "B_2": str(more)}


def test_a_folder_without_masks_has_none(tmp_path):
    assert find_masks(tmp_path) == {}
    assert find_masks(tmp_path / "gone") == {}


def test_the_mask_is_cut_to_the_centre_square_as_its_image_is(tmp_path):
    mask = np.zeros((450, 600), np.uint8)
    mask[:, :75] = 255  # outside of the square
    mask[:225, 75:300] = 255  # its upper left quarter
    seen = model_mask(write(tmp_path / "m_segmentation.png", mask), 224)
    assert seen.shape == (224, 224) and seen.dtype == bool
    expected = np.zeros((224, 224), bool)
    expected[:112, :112] = True
    np.testing.assert_array_equal(seen, expected)


def test_the_whole_mask_is_what_is_white(tmp_path):
    mask = np.array([[0, 127], [128, 255]], np.uint8)
    np.testing.assert_array_equal(whole_mask(write(tmp_path / "m.png", mask)), [[False, False], [True, True]])


def test_a_damaged_mask_is_named(tmp_path):
    (tmp_path / "m_segmentation.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ImageError, match="m_segmentation.png"):
        model_mask(tmp_path / "m_segmentation.png", 224)


def test_the_synthetic_set_has_a_mask_for_each_image(tiny_data):
    from core.data.ham10000 import index_dataset

    masks = find_masks(tiny_data)
    assert set(masks) == set(index_dataset(tiny_data).images["image_id"])
    assert 0.01 < model_mask(next(iter(masks.values())), 224).mean() < 0.9


def test_real_masks_belong_to_real_images(real_data):
    from core.data.ham10000 import index_dataset

    folder = real_data / "ham10000"
    masks = find_masks(folder)
    assert set(index_dataset(folder).images["image_id"]) <= set(masks)
