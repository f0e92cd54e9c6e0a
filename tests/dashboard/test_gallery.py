"""The gallery on a real run: picks, details, exports, and what its address holds."""

import io
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from core.config import TrainConfig
from core.diagnoses import RESEARCH_NOTICE
from core.places import PROJECT
from core.runs.run import HISTORY, HISTORY_COLUMNS, MANIFEST, MEMBERS, SPLITS, Run
from dashboard import gallery_table, loaders, picked
from dashboard.selection import Selection, select

pytestmark = pytest.mark.usefixtures("one_model")


@pytest.fixture(autouse=True)
def selections(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DERMLENS_SELECTIONS", str(tmp_path / "selections"))


def gallery(**address: str) -> AppTest:
    app = AppTest.from_file(str(PROJECT / "dashboard" / "app.py"), default_timeout=60)
    app = app.run().switch_page("views/gallery.py")
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


def shown(app: AppTest) -> list[str]:
    keys = (button.key or "" for button in app.button)
    return [key.removeprefix("open_") for key in keys if key.startswith("open_SYN")]


def test_an_address_names_picked_images_in_their_order(served_run):
    names = served_run.predictions()["image_id"].iloc[[5, 2, 9]].tolist()
    pick = picked.keep("Three of them", names)
    app = gallery(picked=pick.token)
    assert not app.exception
    assert shown(app) == names
    assert any("Three of them" in text.value and "3 images" in text.value for text in app.markdown)


def test_filters_leave_some_of_a_pick(served_run):
    table = served_run.predictions()
    pick = picked.keep("All of them", table["image_id"])
    app = gallery(picked=pick.token)
    app.segmented_control(key="answers").set_value("Wrong").run()
    wrong = int((table["dx"] != table["predicted"]).sum())
    assert any(f"The filters leave {wrong:,} of them" in text.value for text in app.markdown)


def test_an_address_of_a_pick_that_is_gone_says_so(served_run):
    app = gallery(picked="0123456789abcdef")
    assert "not kept any more" in app.warning[-1].value
    assert not app.exception


def test_a_selection_is_saved_under_a_name(served_run):
    app = gallery()
    app.text_input(key="save_as_").set_value("Mistakes to discuss").run()
    app.button(key="save_selection").click().run()
    saved = picked.named()
    assert [pick.name for pick in saved] == ["Mistakes to discuss"]
    table = served_run.predictions()
    wrong = table[(table["split"] == "test") & (table["dx"] != table["predicted"])]
    assert set(saved[0].image_ids) == set(wrong["image_id"])


def test_details_show_the_lesion_and_its_neighbours(served_run):
    app = gallery()
    first = shown(app)[0]
    app.button(key=f"details_{first}").click().run()
    assert not app.exception
    words = "\n".join(text.value for text in app.markdown)
    assert f"Image: **{first}**" in words and "sees as most alike" in words


def test_neighbours_are_training_images_of_other_lesions(served_run):
    splits = served_run.splits().set_index("image_id")
    asked = splits.index[splits["split"] == "train"][0]
    found = gallery_table.nearest(served_run, asked)
    assert len(found) == 6 and found["similarity"].is_monotonic_decreasing
    assert (splits.loc[found["image_id"], "split"] == "train").all()
    assert (splits.loc[found["image_id"], "lesion_id"] != splits.loc[asked, "lesion_id"]).all()


def test_the_zip_holds_pictures_heatmaps_table_and_notice(served_run):
    rows = select(gallery_table.answers(served_run), Selection("test")).head(3)
    paths = loaders.image_paths(loaders.dataset_of(served_run))
    with zipfile.ZipFile(io.BytesIO(gallery_table.as_zip(served_run, rows, paths))) as archive:
        names = archive.namelist()
        assert RESEARCH_NOTICE in archive.read("README.txt").decode()
        table = pd.read_csv(archive.open("answers.csv"))
        assert table["image_id"].tolist() == rows["image_id"].tolist()
        for row in rows.itertuples():
            assert f"{row.image_id}.jpg" in names
            picture = Image.open(archive.open(f"{row.image_id}-{row.predicted}-research-only.jpg"))
            assert max(picture.size) <= gallery_table.EXPORTED_SIDE
    assert len(names) == 2 + 2 * len(rows)


def test_an_image_that_is_gone_or_damaged_is_left_out_of_the_zip(served_run, tmp_path):
    rows = select(gallery_table.answers(served_run), Selection("test")).head(3)
    paths = loaders.image_paths(loaders.dataset_of(served_run))
    gone, damaged, whole = rows["image_id"]
    (tmp_path / "damaged.jpg").write_bytes(b"no image")
    paths |= {gone: str(tmp_path / "gone.jpg"), damaged: str(tmp_path / "damaged.jpg")}
    with zipfile.ZipFile(io.BytesIO(gallery_table.as_zip(served_run, rows, paths))) as archive:
        assert len(pd.read_csv(archive.open("answers.csv"))) == 3
        assert {name.split("-")[0] for name in archive.namelist() if name.endswith(".jpg")} == {whole, f"{whole}.jpg"}


def test_confused_pairs_are_those_of_the_filters(served_run):
    app = gallery(view="Confused pairs")
    table = served_run.predictions()
    test = table[table["split"] == "test"]
    wrong = test[test["dx"] != test["predicted"]]
    assert app.dataframe[0].value["Images"].sum() == len(wrong)
    part = app.segmented_control(key="part").set_value("validation").run()
    assert not part.exception
    held = table[table["split"] == "validation"]
    assert part.dataframe[0].value["Images"].sum() == (held["dx"] != held["predicted"]).sum()


def test_runs_are_comparable_whose_test_images_are_the_same(served_run):
    """An exclusion leaves the test images as they are."""
    splits = served_run.splits()
    one_less = splits["split"].where(splits["image_id"] != splits.query("split == 'train'")["image_id"].iloc[0])
    other_test = splits["split"].replace({"test": "calibration", "calibration": "test"})
    for name, parts in (("excluded", one_less.fillna("excluded")), ("others", other_test)):
        other = Run(shutil.copytree(served_run.folder, served_run.folder.parent / name))
        other.write_csv(SPLITS, splits.assign(split=parts))
    assert {run.id for run in gallery_table.comparable(served_run)} == {served_run.id, "excluded"}


def test_the_lesions_are_the_runs_own(served_run):
    """Those of several folders that show one lesion were merged for the training."""
    served_run.write_csv(SPLITS, served_run.splits().assign(lesion_id="merged"))
    table = gallery_table.answers(served_run)
    assert set(table["lesion_id"]) == {"merged"} and table["age"].notna().any()


def test_patients_are_known_as_soon_as_the_folder_of_the_images_is_back(served_run, tmp_path):
    manifest = served_run.manifest()
    folder = Path(manifest["data"]["folder"])
    served_run.write_json(MANIFEST, manifest | {"data": manifest["data"] | {"folder": str(tmp_path / "disk")}})
    away = gallery_table.answers(served_run)
    assert "age" not in away or away["age"].isna().all()
    shutil.copytree(folder, tmp_path / "disk")
    assert gallery_table.answers(served_run)["age"].notna().any()


def test_curves_of_an_ensemble_appear_while_it_is_trained(runs_folder):
    run = Run.create(TrainConfig(ensemble=2), runs_folder / "two")
    assert loaders.history(run).empty
    member = Run.create(TrainConfig(), run.folder / MEMBERS / "1")
    for epochs in (1, 2):
        rows = [dict.fromkeys(HISTORY_COLUMNS, 0.5) | {"phase": "training", "epoch": n + 1} for n in range(epochs)]
        member.write_csv(HISTORY, pd.DataFrame(rows))
        assert len(loaders.history(run)) == epochs
