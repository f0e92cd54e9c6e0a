"""The synthetic data set: same arguments, same bytes; HAM10000's form; nobody's files are lost."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.data import synthetic
from core.data.drawing import diagnoses, layers
from core.errors import DatasetError

CODES = {"akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"}
PLACES = {
    *("abdomen", "acral", "back", "chest", "ear", "face", "foot", "genital", "hand"),
    *("lower extremity", "neck", "scalp", "trunk", "unknown", "upper extremity"),
}
REPO = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    return synthetic.draw_dataset(tmp_path_factory.mktemp("synthetic") / "set", images=40, seed=3)


@pytest.fixture(scope="module")
def rows(drawn) -> list[dict]:
    with open(drawn / "HAM10000_metadata.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write_alone(folder: Path, lesion: synthetic.PlannedLesion, seed: int) -> dict[str, str]:
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    synthetic._write_lesion(folder, lesion, seed)
    return digests(folder)


class DrewAgain(Exception):
    """Stands in for a drawing."""


@pytest.fixture
def no_drawing(monkeypatch):
    def fail(*_):
        raise DrewAgain

    monkeypatch.setattr(synthetic, "_draw_into", fail)


# --- same arguments, same bytes -------------------------------------------------------------------


def test_same_arguments_write_the_same_bytes_and_progress_counts_them(drawn, tmp_path):
    calls = []
    again = synthetic.draw_dataset(tmp_path, images=40, seed=3, progress=lambda *call: calls.append(call))
    assert digests(again) == digests(drawn)
    done = [call[0] for call in calls]
    assert done == sorted(set(done)) and calls[-1] == (40, 40)


def test_another_seed_draws_other_pixels(drawn, tmp_path):
    lesion = synthetic.plan(40, 3)[0]
    other = write_alone(tmp_path, lesion, seed=4)
    assert set(other) < set(digests(drawn))
    assert not other.items() & digests(drawn).items()


def test_an_image_does_not_depend_on_what_is_drawn_before_it(drawn, tmp_path):
    """Threads finish in any order, so a lesion is drawn from its own seed alone."""
    lesion = synthetic.plan(40, 3)[-1]
    alone = write_alone(tmp_path, lesion, seed=3)
    assert len(alone) == 2 * len(lesion.image_ids)
    assert alone.items() <= digests(drawn).items()


# --- HAM10000's form ------------------------------------------------------------------------------


def test_metadata_has_the_columns_and_words_of_ham10000(rows):
    assert list(rows[0]) == ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    assert {row["dx"] for row in rows} == CODES
    assert {row["dx_type"] for row in rows} <= {"histo", "follow_up", "consensus", "confocal"}
    assert {row["sex"] for row in rows} <= {"male", "female", "unknown"}
    assert {row["localization"] for row in rows} <= PLACES
    ages = [float(row["age"]) for row in rows if row["age"]]
    assert 0 < len(ages) < len(rows), "a few ages, and only a few, are empty"
    assert all(0 <= age <= 85 and age % 5 == 0 for age in ages)


def test_ids_cannot_be_taken_for_real_ones(rows):
    numbers = [f"{number:07d}" for number in range(1, len(rows) + 1)]
    assert [row["image_id"] for row in rows] == [f"SYN_{number}" for number in numbers]
    assert all(row["lesion_id"].startswith("SYL_") for row in rows)
    assert all(len(row["lesion_id"]) == len("SYL_0000001") for row in rows)


def test_every_row_has_its_image_and_mask_and_nothing_else_is_there(drawn, rows):
    ids = [row["image_id"] for row in rows]
    expected = {"HAM10000_metadata.csv", "synthetic.json"}
    expected |= {f"images/{image_id}.jpg" for image_id in ids}
    expected |= {f"masks/{image_id}_segmentation.png" for image_id in ids}
    assert set(digests(drawn)) == expected


def test_images_and_masks_have_the_size_of_ham10000(drawn, rows):
    for row in rows:
        image = cv2.imread(str(drawn / "images" / f"{row['image_id']}.jpg"), cv2.IMREAD_UNCHANGED)
        path = drawn / "masks" / f"{row['image_id']}_segmentation.png"
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image.shape == (450, 600, 3) and image.dtype == np.uint8
        assert mask.shape == (450, 600) and set(np.unique(mask)) == {0, 255}


def test_a_mask_covers_a_lesion_and_not_the_whole_image(drawn):
    shares = [(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0).mean() for path in (drawn / "masks").iterdir()]
    assert min(shares) > 0.01 and max(shares) < 0.9
    assert 0.08 < np.median(shares) < 0.4  # 0.20 in HAM10000


def test_a_mask_lies_where_the_image_departs_from_the_skin(drawn, rows):
    """A mask that is turned or moved apart from its image would make heatmap figures worthless."""
    nevi = [row["image_id"] for row in rows if row["dx"] in ("nv", "vasc", "bkl")]
    darker = []
    for image_id in nevi:
        green = cv2.imread(str(drawn / "images" / f"{image_id}.jpg"))[..., 1].astype(float)
        mask = cv2.imread(str(drawn / "masks" / f"{image_id}_segmentation.png"), 0) > 0
        ring = cv2.dilate(mask.astype(np.uint8), np.ones((61, 61), np.uint8)).astype(bool) & ~mask
        darker.append(green[mask].mean() < green[ring].mean() - 5)
    assert np.mean(darker) >= 0.9


def test_the_images_of_one_lesion_share_its_metadata_and_differ_as_photographs(drawn, rows):
    lesions = defaultdict(list)
    for row in rows:
        lesions[row["lesion_id"]].append(row)
    repeated = [group for group in lesions.values() if len(group) > 1]
    assert 0.1 < len(repeated) / len(lesions) < 0.45
    for group in repeated:
        about = [{k: v for k, v in row.items() if k != "image_id"} for row in group]
        assert all(one == about[0] for one in about)
        paths = [drawn / "images" / f"{row['image_id']}.jpg" for row in group]
        assert len({path.read_bytes() for path in paths}) == len(paths)


@pytest.mark.parametrize(("images", "fewest_images", "fewest_lesions"), [(35, 5, 4), (70, 5, 4), (600, 12, 8)])
def test_rare_diagnoses_are_never_a_handful(images, fewest_images, fewest_lesions):
    lesions = synthetic.plan(images, seed=7)
    by_image = Counter(lesion.dx for lesion in lesions for _ in lesion.image_ids)
    by_lesion = Counter(lesion.dx for lesion in lesions)
    assert sum(by_image.values()) == images
    assert set(by_image) == CODES
    assert min(by_image.values()) >= fewest_images
    assert min(by_lesion.values()) >= fewest_lesions


def test_classes_are_as_unequal_as_in_ham10000():
    counts = synthetic.images_of_each(600)
    assert counts["nv"] / 600 == pytest.approx(0.67, abs=0.03)
    assert counts["mel"] / 600 == pytest.approx(0.111, abs=0.01)
    assert sorted(counts, key=counts.get)[:2] in (["vasc", "df"], ["df", "vasc"])


@pytest.mark.parametrize("dx", sorted(CODES))
def test_every_diagnosis_can_be_drawn_at_any_size(dx):
    for radius in (58.0, 180.0):
        lesion = diagnoses.DRAWERS[dx](np.random.default_rng(5), radius)
        side = layers.CANVAS
        assert lesion.mask.shape == (side, side)
        assert 0.4 < (lesion.mask > 0).sum() / (np.pi * radius**2) < 1.8
        colour = lesion.layers.colour()
        assert colour.shape == (side, side, 3) and colour.dtype == np.float32
        assert np.isfinite(colour).all() and colour.min() >= 0 and colour.max() <= 255.5


# --- the folder -----------------------------------------------------------------------------------


def test_the_marker_says_what_was_asked(drawn):
    assert synthetic.is_synthetic(drawn)
    marker = json.loads((drawn / "synthetic.json").read_text())
    assert marker == {"generator": synthetic.GENERATOR, "seed": 3, "images": 40}


def test_a_second_call_does_not_draw_again(drawn, no_drawing):
    before = digests(drawn)
    assert synthetic.draw_dataset(drawn, images=40, seed=3) == drawn
    assert digests(drawn) == before


def test_a_set_that_lost_an_image_is_drawn_again(drawn, tmp_path, no_drawing):
    folder = shutil.copytree(drawn, tmp_path / "set")
    (folder / "images" / "SYN_0000002.jpg").unlink()
    with pytest.raises(DrewAgain):
        synthetic.draw_dataset(folder, images=40, seed=3)


def test_a_set_of_an_older_generator_is_drawn_again(drawn, no_drawing, monkeypatch):
    monkeypatch.setattr(synthetic, "GENERATOR", synthetic.GENERATOR + 1)
    with pytest.raises(DrewAgain):
        synthetic.draw_dataset(drawn, images=40, seed=3)


def test_a_set_with_other_arguments_is_replaced(drawn, tmp_path):
    folder = shutil.copytree(drawn, tmp_path / "set")
    synthetic.draw_dataset(folder, images=35)
    assert len(list((folder / "images").iterdir())) == 35
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    keepsake = tmp_path / "HAM10000_metadata.csv"
    keepsake.write_text("somebody's")
    with pytest.raises(DatasetError, match="new or empty folder.*Received.*HAM10000_metadata"):
        synthetic.draw_dataset(tmp_path, images=35)
    assert keepsake.read_text() == "somebody's"
    assert [path.name for path in tmp_path.iterdir()] == [keepsake.name]


def test_a_set_that_somebody_put_files_into_is_not_replaced(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "synthetic.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="notes.txt"):
        synthetic.draw_dataset(folder, images=35)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "set").write_text("a file")
    with pytest.raises(DatasetError, match="Received"):
        synthetic.draw_dataset(tmp_path / "set", images=35)


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="at least 35.*images=34"):
        synthetic.draw_dataset(tmp_path / "set", images=34)
    assert not (tmp_path / "set").exists()


def test_an_interrupted_drawing_leaves_nothing(tmp_path):
    def interrupt(done, _):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic.draw_dataset(tmp_path / "set", images=35, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_in_a_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synthetic, "_write_lesion", full)
    with pytest.raises(DatasetError, match="No space left on device. Free some disk"):
        synthetic.draw_dataset(tmp_path / "set", images=35)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_drawing_leaves_nothing_that_looks_like_a_set(tmp_path):
    """A kill runs no `finally`: only the rename at the end makes a set appear."""
    code = (
        "import os, sys; from pathlib import Path; from core.data.synthetic import draw_dataset; "
        "draw_dataset(Path(sys.argv[1]), images=35, progress=lambda *_: os._exit(9))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "set")], cwd=REPO, check=False)
    assert run.returncode == 9
    assert not (tmp_path / "set").exists()
    assert not any(synthetic.is_synthetic(path) for path in tmp_path.iterdir())
