"""A data set is found, indexed and checked; each fault is named before anything is trained."""

import os
import shutil
import sys
import types
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from core.config import TrainConfig
from core.data import ham10000
from core.data.ham10000 import extra_folders, find_dataset, index_dataset, load_dataset
from core.errors import DatasetError

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization"
TABLE = "HAM10000_metadata.csv"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "set"
    place.mkdir()
    return place


def draw(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        # every file has its own content: its name
        colour = tuple(sum(map(ord, str(path))) * factor % 256 for factor in (1, 7, 31))
        Image.new("RGB", (8, 6), colour).save(path)


def rows(*names: str, dx: str = "nv") -> list[str]:
    return [f"L_{name},{name},{dx},histo,50.0,male,back" for name in names]


def write(folder: Path, lines: list[str], name: str = TABLE, header: str = HEADER) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def refusal(folder: Path, **options) -> str:
    with pytest.raises(DatasetError) as caught:
        load_dataset(folder, **options)
    return str(caught.value)


# ---- layouts -----------------------------------------------------------------------------------


def test_images_lie_anywhere_below_the_folder(folder):
    write(folder, rows("c", "a", "b", "d"))
    draw(folder / "a.jpg", folder / "images" / "b.PNG", folder / "part_1" / "deep" / "c.jpeg", folder / "d.bmp")
    dataset = load_dataset(folder)
    assert dataset.images["image_id"].tolist() == ["a", "b", "c", "d"]
    assert [Path(path).name for path in dataset.images["path"]] == ["a.jpg", "b.PNG", "c.jpeg", "d.bmp"]
    assert not dataset.synthetic and dataset.left_out == {}
    row = dataset.images.iloc[0]
    assert (row["lesion_id"], row["dx"], row["age"], row["sex"]) == ("L_a", "nv", 50.0, "male")


def test_kaggles_copy_holds_everything_twice(folder):
    write(folder, rows("a", "b"))
    first = folder / "HAM10000_images_part_1"
    draw(first / "a.jpg", first / "b.jpg")
    shutil.copytree(first, folder / "ham10000_images_part_1")
    paths = load_dataset(folder).images["path"].tolist()
    assert [Path(path).parent.name for path in paths] == ["HAM10000_images_part_1"] * 2


def test_the_table_may_lie_deeper_than_the_folder_that_is_named(folder):
    write(folder / "versions" / "2", rows("a"))
    draw(folder / "versions" / "2" / "images" / "a.jpg")
    assert len(load_dataset(folder).images) == 1


def test_a_table_without_a_suffix_as_harvard_gives_it(folder):
    write(folder, rows("a"), name="HAM10000_metadata")
    draw(folder / "a.jpg")
    assert len(load_dataset(folder).images) == 1


def test_links_are_followed_and_a_circle_ends(folder, tmp_path):
    write(folder, rows("a"))
    draw(tmp_path / "elsewhere" / "a.jpg")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(folder)
    assert len(load_dataset(folder).images) == 1


def test_hidden_files_and_masks_are_no_images(folder):
    """Each of these comes before `images` in order, and would have been trained on instead."""
    write(folder, rows("a", "b"))
    draw(folder / "images" / "a.jpg", folder / "images" / "b.jpg")
    for trap in (".Trash", "__MACOSX", "MASKS", "A_masks", "HAM10000_segmentations_lesion_tschandl"):
        draw(folder / trap / "a.png")
    (folder / "._a.jpg").write_bytes(b"\0\5\x16\7 Mac OS X")
    (folder / "images" / "._b.jpg").write_bytes(b"\0\5\x16\7 Mac OS X")
    write(folder / ".ipynb_checkpoints", rows("old"))
    assert {Path(path).parent.name for path in load_dataset(folder).images["path"]} == {"images"}


def test_the_fingerprint_follows_rows_and_pixels(folder):
    path = write(folder, rows("a", "b"))
    draw(folder / "a.jpg", folder / "b.jpg")
    first = load_dataset(folder).fingerprint()
    assert load_dataset(folder).fingerprint() == first
    path.write_text(path.read_text().replace(",nv,", ",mel,", 1))
    other_row = load_dataset(folder).fingerprint()
    draw(folder / "x" / "b.jpg")
    (folder / "x" / "b.jpg").replace(folder / "b.jpg")
    other_pixels = load_dataset(folder).fingerprint()
    assert len({first, other_row, other_pixels}) == 3


def test_the_order_of_rows_does_not_matter(folder):
    draw(folder / "a.jpg", folder / "b.jpg")
    write(folder, rows("a", "b"))
    first = load_dataset(folder)
    write(folder, rows("b", "a"))
    second = load_dataset(folder)
    assert first.fingerprint() == second.fingerprint()
    assert first.images.equals(second.images)


# ---- faults ------------------------------------------------------------------------------------


@pytest.fixture
def faulty(folder) -> Path:
    """Every fault at once, missing images in large number."""
    missing = [f"gone_{number}" for number in range(12)]
    lines = [
        *rows("good", "twice", "twice"),
        *rows("odd", dx="wart"),
        *rows(*missing),
        *rows("empty", "text"),
        *rows("both"),
        *rows("both", dx="mel"),
        "L_x,,nv,histo,50.0,male,back",
        ",orphan,nv,histo,50.0,male,back",
    ]
    write(folder, lines)
    draw(*(folder / f"{name}.jpg" for name in ("good", "twice", "odd", "both", "orphan")))
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no image")
    return folder


def test_every_fault_is_named_in_one_message(faulty):
    text = refusal(faulty)
    assert "12 missing images: gone_0, gone_1, gone_2, gone_3, gone_4, ...\n" in text
    assert "gone_5" not in text
    assert "1 duplicate rows: twice" in text
    assert "1 rows with an unknown diagnosis" in text and ": odd" in text
    assert "2 images with two diagnoses: both, both" in text
    assert "1 damaged or unreadable image files (empty file): empty" in text
    assert "1 damaged or unreadable image files (no whole image within the limits): text" in text
    assert "1 rows without an image_id: line 22" in text
    assert "1 rows without a lesion_id: orphan" in text
    assert "--skip-damaged" in text


def test_skip_damaged_goes_on_and_records_what_it_left(faulty):
    dataset = load_dataset(faulty, skip_damaged=True)
    assert dataset.images["image_id"].tolist() == ["good", "twice"]
    assert sorted(sum(dataset.left_out.values(), [])) == sorted(
        [
            "twice",
            "odd",
            *(f"gone_{number}" for number in range(12)),
            "empty",
            "text",
            "both",
            "both",
            "line 22",
            "orphan",
        ]
    )
    assert set(dataset.contents) == {"good", "twice"}


def test_indexing_alone_opens_no_image_and_leaves_out_what_it_can_see(faulty, monkeypatch):
    monkeypatch.setattr(ham10000, "inspect_images", None)
    dataset = index_dataset(faulty)
    assert dataset.images["image_id"].tolist() == ["empty", "good", "orphan", "text", "twice"]
    assert len(dataset.left_out["missing images"]) == 12


def test_nothing_readable_is_an_error_even_when_skipping(folder):
    write(folder, rows("a", "b"))
    text = refusal(folder, skip_damaged=True)
    assert "at least one readable image" in text and "2 missing images: a, b" in text


def test_a_table_with_a_header_only(folder):
    write(folder, [])
    assert "no rows" in refusal(folder)


# ---- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        b"\xef\xbb\xbflesion_id,image_id,dx\nL1,a,nv\n",
        b"lesion_id,image_id,dx\r\nL1,a,nv\r\n",
        b"lesion_id, image_id ,dx\n L1 , a , nv \n",
        b"LESION_ID,Image_ID,DX\nL1,a,NV\n",
        b'"lesion_id","image_id","dx"\n"L1","a","nv"\n',
        b"image_id,dx,lesion_id,more,age\na,nv,L1,x,\n",
        b"lesion_id,image_id,dx\nL1,a,nv",
    ],
    ids=["bom", "crlf", "spaces", "upper case", "quoted", "other columns", "no last newline"],
)
def test_the_table_is_read_as_people_write_it(folder, table):
    (folder / TABLE).write_bytes(table)
    draw(folder / "a.jpg")
    row = load_dataset(folder).images.iloc[0]
    assert (row["lesion_id"], row["image_id"], row["dx"]) == ("L1", "a", "nv")
    assert row["sex"] == "" and pd.isna(row["age"])


def test_names_stay_text(folder):
    """ "007" is no number and "NA" is not missing."""
    write(folder, ["NA,007,nv,,unknown,,", "nan,null,mel,,35,,"])
    draw(folder / "007.jpg", folder / "null.jpg")
    images = load_dataset(folder).images
    assert images["image_id"].tolist() == ["007", "null"]
    assert images["lesion_id"].tolist() == ["NA", "nan"]
    assert pd.isna(images["age"][0]) and images["age"][1] == 35


@pytest.mark.parametrize(
    ("table", "word"),
    [
        (b"", "CSV form"),
        ("lesion_id,image_id,dx\nL\u00e4,a,nv\n".encode("latin-1"), "UTF-8"),
        ("lesion_id,image_id,dx\nL1,a,nv\n".encode("utf-16"), "UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\xff\xfe", "UTF-8"),
        (b"Just a sentence.\nAnd another.\n", "without image_id, dx, lesion_id"),
        (b"lesion_id;image_id;dx\nL1;a;nv\n", "lesion_id;image_id;dx"),
        (b"lesion_id,image_id\nL1,a\n", "without dx"),
        (b"image_id,dx\na,nv\n", "without lesion_id"),
        (b"lesion_id,image_id,dx\nL1,a,nv,\nL2,b,mel,\n", "more"),
        (b"lesion_id,image_id,dx\nL1,a,nv\nL2,b,mel,x,y\n", "CSV form"),
        (b"lesion_id,image_id,dx, dx\nL1,a,nv,mel\n", "twice"),
    ],
    ids=["empty", "latin-1", "utf-16", "binary", "prose", "semicolons", "no dx", "no lesion", "trailing comma",
         "ragged", "column twice"],
)  # fmt: skip
def test_a_table_that_is_none(folder, table, word):
    (folder / TABLE).write_bytes(table)
    draw(folder / "a.jpg")
    text = refusal(folder)
    assert word in text
    assert TABLE in text and "Received: " in text


def test_lines_that_end_early_are_faults_of_their_rows(folder):
    (folder / TABLE).write_text("lesion_id,image_id,dx\nL1,a,nv\nL2,b\nL3\n")
    draw(folder / "a.jpg", folder / "b.jpg")
    text = refusal(folder)
    assert "1 rows with an unknown diagnosis" in text and ": b" in text
    assert "1 rows without an image_id: line 4" in text


def test_a_table_that_may_not_be_read(folder, monkeypatch):
    write(folder, rows("a"))

    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ham10000.pd, "read_csv", denied)
    assert "Permission denied" in refusal(folder)


def test_no_table_and_two_tables(folder):
    draw(folder / "a.jpg")
    assert "0 such files" in refusal(folder)
    write(folder, rows("a"), name="one.csv")
    (folder / "pixels.csv").write_text("pixel0000,label\n1,2\n")
    (folder / "._one.csv").write_text("image_id,dx\n")
    assert len(load_dataset(folder).images) == 1  # the only table that has the columns
    write(folder, rows("a"), name="two.csv")
    assert "2 such files (one.csv, two.csv)" in refusal(folder)
    write(folder, rows("a"))
    assert len(load_dataset(folder).images) == 1  # HAM10000's own name decides


def test_of_two_tables_of_that_name_the_upper_one_counts(folder):
    write(folder, rows("a"))
    write(folder / "backup", rows("b"))
    draw(folder / "a.jpg", folder / "b.jpg")
    assert load_dataset(folder).images["image_id"].tolist() == ["a"]


def test_a_data_set_is_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "is a folder" in refusal(tmp_path / "file")
    assert "is a folder" in refusal(tmp_path / "gone")


def test_a_folder_whose_path_is_no_text(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    write(folder, rows("a"))
    draw(folder / "a.jpg")
    assert "UTF-8" in refusal(folder)


def test_external_data_needs_image_and_diagnosis_only(folder):
    (folder / "labels.csv").write_text("image_id,dx\nb,MEL\na,nv\n")
    draw(folder / "a.jpg", folder / "b.jpg")
    images = load_dataset(folder, need_lesions=False).images
    assert images["lesion_id"].tolist() == ["a", "b"]  # each image stands for a lesion of its own
    assert images["dx"].tolist() == ["nv", "mel"]
    assert images["age"].isna().all() and (images["localization"] == "").all()
    assert "without lesion_id" in refusal(folder)  # a training needs it


# ---- finding -----------------------------------------------------------------------------------


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """A kagglehub that has the data set; its calls are in the list."""
    calls: list[tuple] = []

    def download(*arguments, **options):
        calls.append((arguments, options))
        return str(tmp_path / "kaggle")

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=download))
    return calls


def test_where_a_data_set_is_looked_for(tmp_path, monkeypatch, kaggle):
    named, variable = tmp_path / "named", tmp_path / "variable"
    named.mkdir(), variable.mkdir()
    assert find_dataset(TrainConfig()) == tmp_path / "kaggle"
    assert kaggle == [(("kmader/skin-cancer-mnist-ham10000",), {})]
    monkeypatch.setenv("DERMLENS_DATA", str(variable))
    assert find_dataset(TrainConfig()) == variable
    assert find_dataset(TrainConfig(data_dir=str(named))) == named
    monkeypatch.setenv("DERMLENS_DATA", "")
    assert find_dataset(TrainConfig()) == tmp_path / "kaggle"
    assert len(kaggle) == 2


def test_a_named_folder_that_is_none_is_not_passed_over(tmp_path, monkeypatch, kaggle):
    (tmp_path / "file").write_text("x")
    for place in ("gone", "file"):
        with pytest.raises(DatasetError, match="--data-dir must name a folder"):
            find_dataset(TrainConfig(data_dir=str(tmp_path / place)))
        monkeypatch.setenv("DERMLENS_DATA", str(tmp_path / place))
        with pytest.raises(DatasetError, match="DERMLENS_DATA must name a folder"):
            find_dataset(TrainConfig())
    assert kaggle == []


@pytest.mark.parametrize("named", ["~nobody-of-this-name/ham", "x" * 5000])
def test_what_cannot_even_be_looked_for_is_no_folder(named):
    for asked in (
        lambda: find_dataset(TrainConfig(data_dir=named)),
        lambda: extra_folders(TrainConfig(extra_data=named)),
        lambda: load_dataset(Path(named)),
    ):
        with pytest.raises(DatasetError, match="which is none"):
            asked()


def test_home_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "skin").mkdir()
    assert find_dataset(TrainConfig(data_dir="~/skin")) == tmp_path / "skin"
    drawn = []
    monkeypatch.setattr(ham10000, "draw_dataset", lambda folder: drawn.append(folder) or folder)
    find_dataset(TrainConfig(dataset="synthetic", data_dir="~/drawn"))
    assert drawn == [tmp_path / "drawn"]


@pytest.mark.parametrize("error", [ConnectionError("no route"), ValueError("404"), OSError(28, "No space left")])
def test_without_a_network_one_error_names_both_ways_on(monkeypatch, error):
    def fail(handle):
        raise error

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=fail))
    with pytest.raises(DatasetError) as caught:
        find_dataset(TrainConfig())
    text = str(caught.value)
    assert "--data-dir" in text and "DERMLENS_DATA" in text and "--dataset synthetic" in text
    assert str(error) in text


def test_without_kagglehub_the_same_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DatasetError, match="--dataset synthetic"):
        find_dataset(TrainConfig())


def test_kagglehub_has_the_function_that_is_called(monkeypatch, tmp_path):
    """The real package, its network cut: a renamed function would be an AttributeError in the message."""
    asked = []

    def offline(self, request, **options):
        asked.append(request)
        raise ConnectionError("no network in tests")

    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", offline)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(DatasetError) as caught:
        find_dataset(TrainConfig())
    assert "no network in tests" in str(caught.value)
    assert "kaggle.com" in asked[0].url
    assert b"skin-cancer-mnist-ham10000" in asked[0].url.encode() + (asked[0].body or b"")


# ---- synthetic and real ------------------------------------------------------------------------


def test_drawn_data_says_so(tiny_data):
    dataset = load_dataset(tiny_data)
    assert dataset.synthetic
    assert len(dataset.images) == 70
    assert {Path(path).parent.name for path in dataset.images["path"]} == {"images"}  # and not the masks


@pytest.mark.parametrize(
    ("name", "images", "lesions", "mel"),
    [("ham10000", 10015, 7470, 1113), ("ham10000-lesions-224", 5984, 5984, None), ("ham10000-originals", 25, 24, 4)],
)
def test_the_real_folders_are_indexed(real_data, name, images, lesions, mel):
    dataset = index_dataset(real_data / name)
    assert len(dataset.images) == images and dataset.left_out == {}
    assert dataset.images["lesion_id"].nunique() == lesions
    assert mel is None or (dataset.images["dx"] == "mel").sum() == mel
    assert not dataset.images["path"].str.contains("segmentation").any()
    assert not dataset.synthetic


def test_real_images_are_opened_and_checked(real_data):
    dataset = load_dataset(real_data / "ham10000-originals")
    assert len(dataset.contents) == 25 and len(set(dataset.contents.values())) == 25


def test_an_image_id_with_the_files_ending_is_its_image(tiny_data, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_data, tmp_path / "set")
    table = pd.read_csv(folder / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)
    table.assign(image_id=table["image_id"] + ".JPG").to_csv(folder / "HAM10000_metadata.csv", index=False)
    found = ham10000.index_dataset(folder)
    assert found.left_out == {}
    assert set(found.images["image_id"]) == set(table["image_id"])


def test_two_different_files_of_one_name_are_a_fault_and_the_same_file_twice_is_none(folder):
    draw(folder / "a" / "one.jpg", folder / "a" / "two.jpg", folder / "a" / "three.jpg")
    (folder / "b").mkdir()
    (folder / "b" / "one.jpg").write_bytes((folder / "a" / "one.jpg").read_bytes())
    (folder / "b" / "two.jpg").write_bytes((folder / "a" / "two.jpg").read_bytes() + b"edited")
    Image.new("RGB", (8, 6)).save(folder / "b" / "three.png")
    write(folder, rows("one", "two", "three"))
    assert "2 names of two different image files: two, three" in refusal(folder)
    assert load_dataset(folder, skip_damaged=True).images["image_id"].tolist() == ["one"]


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    def listed(place, onerror, followlinks):
        onerror(PermissionError(13, "Permission denied", str(folder / "images")))
        return []

    monkeypatch.setattr("core.data.walking.os.walk", listed)
    with pytest.raises(DatasetError, match=r"images \(Permission denied\)"):
        load_dataset(folder)


@pytest.mark.parametrize("word", ["NA", "NaN", "None", "null", "n/a"])
def test_no_lesion_is_no_common_lesion_whatever_another_program_writes_for_it(folder, word):
    draw(folder / "one.jpg", folder / "two.jpg")
    write(folder, [f"{word},{name},nv,histo,50.0,{word},back" for name in ("one", "two")])
    assert "2 rows without a lesion_id" in refusal(folder)
    images = load_dataset(folder, need_lesions=False).images
    assert images["lesion_id"].tolist() == ["one", "two"] and set(images["sex"]) == {""}


def test_the_folder_of_the_environment_is_settled_for_every_process(folder, monkeypatch):
    draw(folder / "one.jpg")
    write(folder, rows("one"))
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv(ham10000.ENVIRONMENT, folder.name)
    assert ham10000.settled(TrainConfig()).data_dir == str(folder)
    assert ham10000.settled(TrainConfig(dataset="synthetic")).data_dir is None
    monkeypatch.delenv(ham10000.ENVIRONMENT)
    assert ham10000.settled(TrainConfig()).data_dir is None
