"""A table with columns and labels of its own is read as its folder says; what does not fit is named."""

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from core.data.columns import MAPPING, METADATA_NAMES, read_people
from core.data.ham10000 import index_dataset, load_dataset
from core.errors import DatasetError

# as the ISIC challenge of 2019 gives them out: two tables, one-hot labels, lesions and ages that may be missing
TRUTH = "ISIC_2019_Training_GroundTruth.csv"
METADATA = "ISIC_2019_Training_Metadata.csv"
CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
MEANT = {"MEL": "mel", "NV": "nv", "BCC": "bcc", "AK": "akiec", "BKL": "bkl", "DF": "df", "VASC": "vasc"}
ISIC_2019 = {
    "table": [TRUTH, METADATA],
    "columns": {"image_id": "image", "age": "age_approx", "localization": "anatom_site_general"},
    "labels": MEANT | {"SCC": None, "UNK": None},
    "own_lesions": True,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMLENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "set"
    place.mkdir()
    return place


def draw(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / "images").mkdir(exist_ok=True)
        Image.new("RGB", (8, 6), (number * 7 % 256, 90, 120)).save(folder / "images" / name)


def say(folder: Path, **mapping) -> None:
    (folder / MAPPING).write_text(json.dumps(mapping), encoding="utf-8")


def refusal(folder: Path, **options) -> str:
    with pytest.raises(DatasetError) as caught:
        load_dataset(folder, **options)
    return str(caught.value)


@pytest.fixture
def isic(folder) -> Path:
    """Nine images, one of each label, in the shape of ISIC 2019."""
    names = [f"ISIC_{number:07d}" for number in range(len(CLASSES))]
    rows = [[name, *[f"{float(label == own)}" for label in CLASSES]] for name, own in zip(names, CLASSES, strict=True)]
    pd.DataFrame(rows, columns=["image", *CLASSES]).to_csv(folder / TRUTH, index=False)
    more = [[name, "55.0", "anterior torso", f"MSK4_{row}", "female"] for row, name in enumerate(names)]
    more[1][1:] = ["", "", "", ""]
    order = ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"]
    pd.DataFrame(more[::-1], columns=order).to_csv(folder / METADATA, index=False)
    draw(folder, *(f"{name}.jpg" for name in names))
    say(folder, **ISIC_2019)
    return folder


def test_isic_2019_is_read_from_both_of_its_tables(isic):
    dataset = load_dataset(isic)
    images = dataset.images.set_index("image_id")
    assert images["dx"].tolist() == ["mel", "nv", "bcc", "akiec", "bkl", "df", "vasc"]
    first, second = images.iloc[0], images.iloc[1]
    assert tuple(first[["lesion_id", "age", "sex", "localization"]]) == ("MSK4_0", 55.0, "female", "anterior torso")
    assert second["lesion_id"] == second.name and pd.isna(second["age"]) and second["sex"] == ""
    assert {reason.split("'")[1]: names for reason, names in dataset.left_out.items()} == {
        "scc": ["ISIC_0000007"],
        "unk": ["ISIC_0000008"],
    }
    assert index_dataset(isic).images.equals(dataset.images)


def test_a_lesion_that_is_not_named_is_a_fault_unless_the_mapping_says_otherwise(isic):
    say(isic, **{name: value for name, value in ISIC_2019.items() if name != "own_lesions"})
    assert "1 rows without a lesion_id: ISIC_0000001" in refusal(isic)
    assert len(load_dataset(isic, need_lesions=False).images) == 7


def test_a_row_with_no_label_or_with_two_is_a_fault(isic):
    text = (isic / TRUTH).read_text().replace("ISIC_0000000,1.0,0.0", "ISIC_0000000,1.0,1.0")
    (isic / TRUTH).write_text(text.replace("ISIC_0000002,0.0,0.0,1.0", "ISIC_0000002,0.0,0.0,0.0"))
    assert "2 rows with an unknown diagnosis" in refusal(isic)
    assert len(load_dataset(isic, skip_damaged=True).images) == 5


def test_labels_in_one_column_with_names_of_files(folder):
    """As PAD-UFES-20: another name for everything, bare numbers for lesions."""
    lines = ["img_id,lesion_id,diagnostic,gender,region", "a.png,7,NEV,MALE,FACE", "b.png,7,ACK,,ARM"]
    (folder / "metadata.csv").write_text("\n".join([*lines, "c.png,8,SCC,FEMALE,ARM", "d.png,9,mel,,"]) + "\n")
    draw(folder, "a.png", "b.png", "c.png", "d.png")
    names = {"image_id": "img_id", "dx": "diagnostic", "sex": "gender", "localization": "region"}
    labels = {"NEV": "nv", "ACK": "akiec", "SCC": None}  # MEL needs no line: it is one of the seven
    say(folder, table="metadata.csv", columns=names, labels=labels, lesion_prefix="pad-")
    images = load_dataset(folder).images
    assert images["image_id"].tolist() == ["a", "b", "d"] and images["dx"].tolist() == ["nv", "akiec", "mel"]
    assert images["lesion_id"].tolist() == ["pad-7", "pad-7", "pad-9"]
    assert images["sex"].tolist() == ["male", "", ""]


def test_crosses_are_labels_too_and_each_image_its_own_lesion(folder):
    """As PH2, exported."""
    (folder / "PH2.csv").write_text("Image Name,Common Nevus,Atypical Nevus,Melanoma\nI1,X,,\nI2,,X,\nI3,,,X\n")
    draw(folder, "I1.bmp", "I2.bmp", "I3.bmp")
    labels = {"Common Nevus": "nv", "Atypical Nevus": "nv", "Melanoma": "mel"}
    say(folder, table="PH2.csv", columns={"image_id": "Image Name"}, labels=labels, own_lesions=True)
    images = load_dataset(folder).images
    assert images["dx"].tolist() == ["nv", "nv", "mel"] and images["lesion_id"].tolist() == ["I1", "I2", "I3"]


def test_unknown_labels_are_all_named_even_when_damage_is_skipped(folder):
    (folder / "t.csv").write_text("image_id,dx,lesion_id\na,wart,1\nb,wart,2\nc,SEK,3\nd,nv,4\n")
    draw(folder, "a.png", "b.png", "c.png", "d.png")
    say(folder, table="t.csv", labels={"MEL": "mel"})
    for skip in (False, True):
        assert "unknown labels: 'wart' (2), 'sek' (1). Name them under labels" in refusal(folder, skip_damaged=skip)


@pytest.mark.parametrize(
    ("mapping", "word"),
    [
        ("{", "says in JSON"),
        ("[]", "is an object with table"),
        ('{"columns": {}}', "is an object with table"),
        ('{"table": "t.csv", "lables": {}}', "is an object with table"),
        ('{"table": []}', "name of a file"),
        ('{"table": "gone.csv"}', "gone.csv"),
        ('{"table": "t.csv", "columns": {"id": "image_id"}}', "columns names some of image_id"),
        ('{"table": "t.csv", "columns": {"age": "years"}}', "without years"),
        ('{"table": "t.csv", "columns": {"image_id": "picture"}}', "'picture'"),
        ('{"table": "t.csv", "columns": {"dx": "truth"}}', "without truth"),
        ('{"table": "t.csv", "labels": {"NV": "nevus"}}', "each label stands for"),
        ('{"table": "t.csv", "labels": {"NV": "nv", "nv": "mel"}}', "written twice"),
        ('{"table": "t.csv", "own_lesions": "yes"}', "true or false"),
        ('{"table": ["t.csv", "twice.csv"]}', "a row for each image"),
        ('{"table": "none.csv", "labels": {"MEL": "mel"}}', "a column for each label"),
        ('{"table": "none.csv", "labels": {"sex": "mel"}}', "holds 1 where it applies"),
    ],
)
def test_a_mapping_that_does_not_fit_is_said_in_a_sentence(folder, mapping, word):
    (folder / "t.csv").write_text("image_id,dx,lesion_id\na,nv,1\n")
    (folder / "twice.csv").write_text("image_id,age\na,50\na,51\n")
    (folder / "none.csv").write_text("image_id,lesion_id,sex\na,1,male\n")
    draw(folder, "a.png")
    (folder / MAPPING).write_text(mapping)
    text = refusal(folder)
    assert word in text and "Received: " in text, text


def test_a_folder_without_a_mapping_is_told_that_there_may_be_one(folder):
    (folder / "HAM10000_metadata.csv").write_text("image,label\na,nv\n")
    draw(folder, "a.png")
    assert MAPPING in refusal(folder)


def test_people_are_read_under_any_names_and_without_a_diagnosis(tmp_path):
    (tmp_path / "m.csv").write_text("image,age_approx,sex,anatom_site\na.jpg,61,FEMALE, back \nb,,,\n")
    columns = {"image_id": "image", "age": "age_approx", "localization": "anatom_site"}
    (tmp_path / MAPPING).write_text(json.dumps({"table": ["m.csv"], "columns": columns}))
    people = read_people(tmp_path).set_index("image_id")
    assert people.loc["a"].tolist() == [61.0, "female", "back"]
    assert people.loc["b", ["sex", "localization"]].tolist() == ["", ""] and pd.isna(people.loc["b", "age"])

    (tmp_path / MAPPING).unlink()
    (tmp_path / METADATA_NAMES[0]).write_text("image_id,dx,sex\na,mel,male\n")
    assert read_people(tmp_path)["sex"].tolist() == ["male"], "HAM10000's own table needs no mapping"
    (tmp_path / METADATA_NAMES[0]).unlink()
    assert read_people(tmp_path).empty
