"""Confirmed cases become a data set, and a training adds it without letting a lesion cross the split."""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.cases import handover
from core.cases.handover import hand_over
from core.cases.log import CaseLog, NewCase
from core.config import TrainConfig
from core.data.decisions import EXCLUDE, Decisions
from core.data.folders import CONTRARY_TWINS, TWINS
from core.data.ham10000 import (
    extra_folders,
    index_dataset,
    load_dataset,
    settled,
)
from core.data.images import read_image
from core.data.splits import EXCLUDED, split_by_lesion, torn_lesions
from core.errors import CaseLogError, DatasetError
from core.models.training import train
from core.runs.run import Run

PREDICTION = {"diagnosis": "mel", "run": "one", "synthetic": False}


@pytest.fixture
def log(tmp_path: Path) -> CaseLog:
    return CaseLog(f"sqlite:///{tmp_path / 'cases.sqlite'}")


def confirmed(log: CaseLog, seed: int, histology: str | None = "nv", drawn: bool = False, **more) -> str:
    image = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
    prediction = PREDICTION | {"synthetic": drawn}
    key = log.add(NewCase(image=image, prediction=prediction, model_sha256="ab" * 32, **more)).id
    if histology:
        log.update(key, histology=histology)
    return key


def test_confirmed_cases_are_a_data_set_with_their_pixels(log, tmp_path):
    one = confirmed(log, 1, "mel", age=50.5, sex="female", site="back", lesion="left, upper")
    two = confirmed(log, 2, "mel", lesion="left, upper")
    three = confirmed(log, 3, "df")
    confirmed(log, 4, None)
    made = hand_over(log, tmp_path / "out")
    assert (made.images, made.lesions, made.per_diagnosis, made.left_out) == (3, 2, {"mel": 2, "df": 1}, {})
    images = load_dataset(made.folder).images.set_index("image_id")
    assert set(images.index) == {f"case_{key[:12]}" for key in (one, two, three)}
    row = images.loc[f"case_{one[:12]}"]
    assert tuple(row[["lesion_id", "dx", "dx_type", "age", "sex", "localization"]]) == (
        "case_left, upper", "mel", "histo", 50.5, "female", "back",
    )  # fmt: skip
    assert images.loc[f"case_{three[:12]}", "lesion_id"] == f"case_{three}"
    other = images.loc[f"case_{two[:12]}"]
    assert np.isnan(other["age"]) and (other["sex"], other["localization"]) == ("unknown", "unknown")
    assert (read_image(row["path"]) == read_image(log.image(one))).all()
    assert made.folder.stat().st_mode & 0o077 == 0


def test_the_next_hand_over_forgets_what_was_deleted(log, tmp_path):
    keys = [confirmed(log, number) for number in range(2)]
    folder = hand_over(log, tmp_path / "out").folder
    log.delete(keys[0])
    assert hand_over(log, folder).images == 1
    assert [path.stem for path in (folder / "images").iterdir()] == [f"case_{keys[1][:12]}"]
    log.delete(keys[1])
    assert hand_over(log, folder).images == 0
    assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_a_folder_with_something_else_is_left_alone(log, tmp_path):
    confirmed(log, 1)
    (tmp_path / "thesis.docx").write_text("years of work")
    before = sorted(tmp_path.iterdir())
    for place in (tmp_path, tmp_path / "thesis.docx"):
        with pytest.raises(CaseLogError, match="folder of their own"):
            hand_over(log, place)
    assert sorted(tmp_path.iterdir()) == before


def test_a_hand_over_that_fails_leaves_the_earlier_one(log, tmp_path, monkeypatch):
    confirmed(log, 1)
    folder = hand_over(log, tmp_path / "out").folder
    confirmed(log, 2)
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(CaseLogError, match="No space left.*Free some disk"):
        hand_over(log, folder)
    assert len(load_dataset(folder).images) == 1
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == ["out"]


def test_an_image_is_handed_over_once_and_not_with_two_truths(log, tmp_path):
    confirmed(log, 1)
    newest = confirmed(log, 1)
    confirmed(log, 2, "nv")
    confirmed(log, 2, "mel")
    confirmed(log, 3, drawn=True)
    made = hand_over(log, tmp_path / "out")
    assert made.left_out == {handover.DRAWN: 1, handover.CONTRARY: 2, handover.TWICE: 1}
    assert [path.stem for path in (made.folder / "images").iterdir()] == [f"case_{newest[:12]}"]
    assert hand_over(log, tmp_path / "out", drawn=True).images == 2


def test_by_default_the_folder_lies_beside_the_log(log, tmp_path, monkeypatch):
    monkeypatch.setenv("DERMLENS_CASES", f"sqlite:///{tmp_path / 'cases.sqlite'}")
    confirmed(log, 1)
    assert hand_over(CaseLog()).folder == tmp_path / "confirmed"


# ---- a training that adds them -------------------------------------------------------------------


@pytest.fixture
def extra(log, tmp_path) -> Path:
    """Six confirmed images of four lesions."""
    for number, (dx, lesion) in enumerate(
        [("mel", "a"), ("mel", "a"), ("nv", "b"), ("nv", "b"), ("df", "c"), ("bcc", "d")]
    ):
        confirmed(log, number, dx, lesion=lesion)  # fmt: skip
    return hand_over(log, tmp_path / "extra").folder


def rewrite(folder: Path, change) -> None:
    path = folder / "HAM10000_metadata.csv"
    table = pd.read_csv(path)
    change(table).to_csv(path, index=False)


def test_the_parts_of_the_data_set_stay_and_no_lesion_crosses(tiny_data, extra):
    alone, both = load_dataset(tiny_data), load_dataset(tiny_data, extra=[extra])
    assert len(both.images) == len(alone.images) + 6 and len(both.added) == 6
    assert both.images["image_id"].is_monotonic_increasing and both.images["path"].map(os.path.isfile).all()
    assert both.fingerprint() != alone.fingerprint() == both.fingerprint(with_added=False)
    before = split_by_lesion(alone.images, 7)
    after = split_by_lesion(both.images, 7, added=both.added)
    assert torn_lesions(after) == []
    merged = before.merge(after, on="image_id")
    assert len(merged) == len(before) and (merged["split_x"] == merged["split_y"]).all()
    assert after["split"].notna().all()


def test_the_fingerprint_covers_what_was_added(tiny_data, extra):
    before = load_dataset(tiny_data, extra=[extra]).fingerprint()
    rewrite(extra, lambda table: table.assign(dx="vasc"))
    assert load_dataset(tiny_data, extra=[extra]).fingerprint() != before


@pytest.mark.parametrize("kind", ["the same file", "a kept case's PNG"])
def test_an_image_that_is_there_already_is_left_out_and_its_lesion_is_the_same(kind, tiny_data, extra):
    own = load_dataset(tiny_data).images.iloc[0]
    names = pd.read_csv(extra / "HAM10000_metadata.csv").sort_values("lesion_id")["image_id"].tolist()
    png = extra / "images" / f"{names[0]}.png"  # one of the two images of lesion "a"
    if kind == "the same file":
        png.unlink()
        shutil.copy(own["path"], png.with_suffix(Path(own["path"]).suffix))
    else:
        Image.fromarray(read_image(own["path"])).save(png)
    both = load_dataset(tiny_data, extra=[extra])
    reason = TWINS if own["dx"] == "mel" else CONTRARY_TWINS
    assert both.left_out == {reason: [names[0]]}
    images = both.images.set_index("image_id")
    assert names[0] not in images.index
    assert images.loc[names[1], "lesion_id"] == own["lesion_id"]
    splits = split_by_lesion(both.images, 7, added=both.added).set_index("image_id")
    assert splits.loc[names[1], "split"] == splits.loc[own["image_id"], "split"]


def test_the_same_folder_twice_adds_nothing(tiny_data):
    both = load_dataset(tiny_data, extra=[tiny_data])
    assert both.fingerprint() == load_dataset(tiny_data).fingerprint()
    assert len(both.left_out[TWINS]) == 70
    assert len(index_dataset(tiny_data, [tiny_data]).images) == 70


def test_two_images_of_one_name_are_refused(tiny_data, extra):
    own = load_dataset(tiny_data).images["image_id"].iloc[0]
    first = pd.read_csv(extra / "HAM10000_metadata.csv")["image_id"].iloc[0]
    (extra / "images" / f"{first}.png").rename(extra / "images" / f"{own}.png")
    rewrite(extra, lambda table: table.replace({"image_id": {first: own}}))
    with pytest.raises(DatasetError, match=f"different names.*{own}.*Rename them"):
        load_dataset(tiny_data, extra=[extra])


def test_extra_folders_are_named_as_in_a_path_and_checked_before_a_run(tiny_data, extra, tmp_path):
    config = TrainConfig(data_dir=str(tiny_data), extra_data=f"{extra}{os.pathsep}{tiny_data}")
    assert extra_folders(config) == [extra, tiny_data] and extra_folders(TrainConfig()) == []
    settled(config)
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(DatasetError):
            settled(dataclasses.replace(config, extra_data=str(wrong)))
        with pytest.raises(DatasetError):
            settled(TrainConfig(dataset="synthetic", extra_data=str(wrong)))


@pytest.mark.usefixtures("no_conversion")
def test_a_training_learns_from_them_and_its_examination_finds_them(tiny_data, tiny_config, extra, tmp_path):
    from core.data.ham10000 import load_again
    from dashboard import loaders

    alone = load_dataset(tiny_data)
    plain = split_by_lesion(alone.images, tiny_config.seed)
    out = plain["image_id"][plain["split"] == "train"].iloc[0]
    namesake = min(extra.rglob("case_*.png")).stem
    Decisions(alone.fingerprint()).decide(out, EXCLUDE)
    Decisions(alone.fingerprint()).decide(namesake, EXCLUDE, content="0" * 64)  # of another folder's image
    try:
        run = Run.create(dataclasses.replace(tiny_config, extra_data=str(extra), epochs=1), tmp_path / "run")
        train(run)
    finally:
        Decisions(alone.fingerprint()).undo([out, namesake])
    data = run.manifest()["data"]
    assert (data["images"], data["extra_folders"], data["extra_images"]) == (76, [str(extra)], 6)
    splits = run.splits().set_index("image_id")
    assert splits.loc[out, "split"] == EXCLUDED  # decided about the data set without them
    assert splits.loc[namesake, "split"] != EXCLUDED
    assert (splits.index.str.startswith("case_")).sum() == 6
    assert set(run.predictions()["image_id"]) == set(splits.index)
    assert load_again(run.manifest()["data"], run.config().skip_damaged).fingerprint() == data["fingerprint"]
    paths = loaders.image_paths(loaders.dataset_of(run))
    assert set(paths) == set(splits.index) and all(map(os.path.isfile, paths.values()))
    shutil.rmtree(extra)
    assert len(loaders.dataset_of(run).images) == 70  # the others can still be seen
