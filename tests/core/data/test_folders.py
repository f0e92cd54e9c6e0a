"""Several folders are one data set: no photograph crosses the split, and what the first one holds stays as it is."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from core.data import folders
from core.data.folders import BETWEEN, CONTRARY_TWINS, NAMESAKES, RESAVED
from core.data.ham10000 import load_dataset
from core.data.images import read_image
from core.data.splits import split_by_lesion, torn_lesions
from core.errors import DatasetError


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """The first folder: twenty images of twenty lesions."""
    rows = [(f"own_{row}", f"l_{row}", ("nv", "mel")[row % 2], noise(100 + row)) for row in range(20)]
    return further(tmp_path_factory.mktemp("joining") / "first", *rows)


@pytest.fixture
def own(first) -> pd.DataFrame:
    """Its images."""
    return load_dataset(first).images


def mirrored(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def smaller(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)


def cropped(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return image[: round(0.92 * height), round(0.05 * width) :]


def noise(seed: int) -> np.ndarray:
    picture = np.random.default_rng(seed).integers(60, 250, (90, 120, 3)).astype(np.uint8)
    return cv2.GaussianBlur(picture, (0, 0), 2)


def further(folder: Path, *rows: tuple[str, str, str, np.ndarray]) -> Path:
    """A folder of images: name, lesion, diagnosis, pixels."""
    (folder / "images").mkdir(parents=True)
    for name, _, _, pixels in rows:
        cv2.imwrite(str(folder / "images" / f"{name}.png"), np.ascontiguousarray(pixels[:, :, ::-1]))
    table = pd.DataFrame([row[:3] for row in rows], columns=["image_id", "lesion_id", "dx"])
    table.to_csv(folder / "HAM10000_metadata.csv", index=False)
    return folder


def test_near_duplicates_have_the_lesion_of_the_earlier_image_and_its_part(first, own, tmp_path):
    changes = (mirrored, smaller, cropped)
    pictures = [change(read_image(own["path"][row])) for row, change in enumerate(changes)]
    copies = [(f"copy_{row}", f"x_{row}", own["dx"][row], picture) for row, picture in enumerate(pictures)]
    sibling = ("sibling", "x_0", own["dx"][0], noise(1))
    other = ("other", "y", "nv", noise(2))
    folder = further(tmp_path / "more", *copies, sibling, other)
    alone, both = load_dataset(first), load_dataset(first, extra=[folder])
    assert both.left_out == {} and both.near == {"copy_0", "copy_1", "copy_2"}
    lesion = both.images.set_index("image_id")["lesion_id"]
    assert [lesion[f"copy_{row}"] for row in range(3)] == own["lesion_id"][:3].tolist()
    assert (lesion["sibling"], lesion["other"]) == (own["lesion_id"][0], "y")
    splits = split_by_lesion(both.images, 7, added=both.added)
    assert torn_lesions(splits) == []
    before = split_by_lesion(alone.images, 7).set_index("image_id")["split"]
    after = splits.set_index("image_id")["split"]
    assert after[before.index].equals(before)
    assert after["copy_0"] == after["sibling"] == before[own["image_id"][0]]


def test_near_duplicates_across_two_further_folders_are_found(first, tmp_path):
    one = further(tmp_path / "one", ("a", "la", "mel", noise(1)))
    two = further(tmp_path / "two", ("b", "lb", "mel", mirrored(noise(1))), ("c", "lc", "mel", noise(3)))
    both = load_dataset(first, extra=[one, two])
    assert both.near == {"b"} and both.added == {"a", "b", "c"}
    assert both.images.set_index("image_id").loc[["a", "b", "c"], "lesion_id"].tolist() == ["la", "la", "lc"]


def test_a_lesion_that_would_be_two_of_the_first_folder_is_left_out(first, own, tmp_path):
    """They may stand in two parts of the split, whatever its seed."""
    rows = [("a", "x", own["dx"][0], mirrored(read_image(own["path"][0])))]
    rows.append(("b", "x", own["dx"][1], smaller(read_image(own["path"][1]))))
    folder = further(tmp_path / "more", *rows, ("c", "x", "nv", noise(1)), ("d", "y", "nv", noise(2)))
    both = load_dataset(first, extra=[folder])
    assert both.left_out == {BETWEEN: ["a", "b", "c"]} and both.added == {"d"} and both.near == frozenset()
    assert both.fingerprint(with_added=False) == load_dataset(first).fingerprint()


def test_of_one_photograph_with_two_diagnoses_the_first_folders_is_kept(first, own, tmp_path):
    wrong = "mel" if own["dx"][0] != "mel" else "nv"
    folder = further(
        tmp_path / "more", ("a", "x", wrong, mirrored(read_image(own["path"][0]))), ("b", "y", "nv", noise(1))
    )
    both = load_dataset(first, extra=[folder])
    assert both.left_out == {CONTRARY_TWINS: ["a"]} and both.added == {"b"}


def test_the_same_image_saved_again_under_its_name_is_left_out(first, own, tmp_path):
    row = (own["image_id"][0], own["lesion_id"][0], own["dx"][0], smaller(read_image(own["path"][0])))
    folder = further(tmp_path / "more", row, ("b", "y", "nv", noise(1)))
    assert load_dataset(first, extra=[folder]).left_out == {RESAVED: [own["image_id"][0]]}


def test_another_image_of_that_name_is_refused_or_left_out(first, own, tmp_path):
    name = own["image_id"][0]
    folder = further(tmp_path / "more", (name, "x", "nv", noise(1)), ("b", "y", "nv", noise(2)))
    with pytest.raises(DatasetError, match=f"different names.*{name}.*--skip-damaged"):
        load_dataset(first, extra=[folder])
    both = load_dataset(first, skip_damaged=True, extra=[folder])
    assert both.left_out == {NAMESAKES: [name]} and both.added == {"b"}


def test_the_next_training_has_the_pairs_at_once(first, own, tmp_path, monkeypatch):
    folder = further(tmp_path / "more", ("a", "x", own["dx"][0], mirrored(read_image(own["path"][0]))))
    before = load_dataset(first, extra=[folder])
    monkeypatch.setattr(folders, "near_duplicates", lambda *_: pytest.fail("looked for again"))
    assert load_dataset(first, extra=[folder]).fingerprint() == before.fingerprint()
    further(tmp_path / "others", ("a", "x", own["dx"][0], noise(5)))
    with pytest.raises(pytest.fail.Exception, match="looked for again"):  # other pixels, other pairs
        load_dataset(first, extra=[tmp_path / "others"])
