"""Near-duplicates: the same photograph, whatever was done to it; and no two photographs that are only alike."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from core.data.duplicates import SIMILAR, near_duplicates
from core.data.ham10000 import index_dataset
from core.data.images import read_image
from core.errors import ImageError


def brightened(image: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(np.round(image * factor), 0, 255).astype(np.uint8)


def compressed(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)


def cropped(image: np.ndarray) -> np.ndarray:
    """A tenth off each side, not in the middle."""
    height, width = image.shape[:2]
    return image[round(0.03 * height) : round(0.93 * height), round(0.08 * width) : round(0.98 * width)]


CHANGES = {
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "turned": lambda image: np.rot90(image),
    "cropped": cropped,
    "compressed": compressed,
    "brighter": lambda image: brightened(image, 1.15),
    "darker": lambda image: brightened(image, 0.85),
    "all of it": lambda image: compressed(brightened(cropped(image[:, ::-1]), 0.85)),
}


def plant(images: pd.DataFrame, folder: Path, each: int) -> tuple[pd.DataFrame, set[frozenset[str]]]:
    """Changed copies of some images beside them, and which pairs they make."""
    rows, pairs = [], set()
    for number, (name, change) in enumerate(CHANGES.items()):
        for row in range(number * each, (number + 1) * each):
            copy = folder / f"copy-{row}-{name}.png"
            picture = change(read_image(images["path"].iloc[row]))
            cv2.imwrite(str(copy), np.ascontiguousarray(picture[:, :, ::-1]))
            rows.append((copy.stem, str(copy)))
            pairs.add(frozenset((copy.stem, images["image_id"].iloc[row])))
    copies = pd.DataFrame(rows, columns=["image_id", "path"])
    return pd.concat([images[["image_id", "path"]], copies], ignore_index=True), pairs


def found_pairs(table: pd.DataFrame) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in zip(table["image_id"], table["other_id"], strict=True)}


def saved(folder: Path, *pictures: np.ndarray) -> pd.DataFrame:
    """Pictures as a table of images."""
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        cv2.imwrite(str(path), picture)
    return pd.DataFrame({"image_id": [path.stem for path in paths], "path": [str(path) for path in paths]})


def test_planted_copies_of_real_images_are_found_and_nothing_else(real_data: Path, tmp_path: Path) -> None:
    """One image a lesion: whatever else is found among these is wrong."""
    images = index_dataset(real_data / "ham10000-lesions-224").images.iloc[:400]
    table, planted = plant(images, tmp_path, each=5)
    found = found_pairs(near_duplicates(table))
    assert len(found & planted) >= 0.95 * len(planted), planted - found
    assert len(found & planted) >= 0.95 * len(found), found - planted


def test_planted_copies_of_drawn_images_are_found(tiny_data: Path, tmp_path: Path) -> None:
    images = index_dataset(tiny_data).images
    table, planted = plant(images, tmp_path, each=2)
    found = near_duplicates(table)
    assert planted <= found_pairs(found), planted - found_pairs(found)
    lesion = dict(zip(images["image_id"], images["lesion_id"], strict=True))
    others = found[~found["image_id"].str.startswith("copy") & ~found["other_id"].str.startswith("copy")]
    assert (others["image_id"].map(lesion) == others["other_id"].map(lesion)).all()


def test_each_pair_once_and_the_most_similar_first(tiny_data: Path, tmp_path: Path) -> None:
    table, _ = plant(index_dataset(tiny_data).images, tmp_path, each=2)
    found = near_duplicates(table)
    assert list(found.columns) == ["image_id", "other_id", "similarity", "change"]
    assert (found["image_id"] < found["other_id"]).all()
    assert not found.duplicated(["image_id", "other_id"]).any()
    assert found["similarity"].is_monotonic_decreasing
    assert found["similarity"].between(SIMILAR, 1).all()
    again = near_duplicates(table.sample(frac=1, random_state=0))
    assert found_pairs(again) == found_pairs(found)


def test_what_was_done_is_said_in_words(tiny_data: Path, tmp_path: Path) -> None:
    picture = read_image(index_dataset(tiny_data).images["path"].iloc[0])
    pictures = [picture, picture[:, ::-1], picture[::-1, ::-1], cropped(picture), picture]
    found = near_duplicates(saved(tmp_path, *pictures)).set_index(["image_id", "other_id"])["change"]
    assert found["0", "1"] == "mirrored"
    assert found["0", "2"] == "turned"
    assert found["0", "3"] == "cropped"
    assert found["0", "4"] == "same picture"
    assert found["1", "3"] == "mirrored, cropped"


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_for_a_pair(tiny_data: Path, count: int) -> None:
    assert near_duplicates(index_dataset(tiny_data).images.iloc[:count]).empty


def test_empty_pictures_are_no_duplicates(tmp_path: Path) -> None:
    """Black and white ones have no structure in which they could agree; they are images of poor quality."""
    flat = [np.full((150, 200, 3), level, np.uint8) for level in (0, 0, 128, 255)]
    assert near_duplicates(saved(tmp_path, *flat)).empty


def test_frames_alike_make_no_duplicates(tmp_path: Path) -> None:
    """A dermatoscope's round dark frame is the same in all its photographs, and has the strongest edge in them."""
    dice = np.random.default_rng(0)
    inside = cv2.circle(np.zeros((150, 200), np.uint8), (100, 75), 80, 1, -1)[:, :, None]
    skins = [cv2.GaussianBlur(dice.integers(90, 250, (150, 200, 3)).astype(np.uint8), (0, 0), 2) for _ in range(12)]
    assert near_duplicates(saved(tmp_path, *(skin * inside for skin in skins))).empty


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        near_duplicates(pd.DataFrame({"image_id": ["broken"], "path": [str(path)]}))
