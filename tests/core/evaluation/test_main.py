"""`python -m core.evaluation`: a finished run on images that are not its own."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.config import TrainConfig
from core.data.ham10000 import load_dataset
from core.diagnoses import CODES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.errors import RunError
from core.evaluation import __main__ as command
from core.evaluation.__main__ import as_table, main
from core.evaluation.calibration import Calibration
from core.evaluation.metrics import evaluate
from core.evaluation.model_card import model_card
from core.evaluation.trust import Trust
from core.models.joining import check_together
from core.runs.run import MANIFEST, PREDICTIONS, SPLITS, Run, Status
from core.submission import balanced_scores


@pytest.fixture(scope="module")
def external(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of each diagnosis under other names, and a table of nothing but image_id and dx."""
    folder = tmp_path_factory.mktemp("external") / "another clinic, 2026"
    (folder / "pictures").mkdir(parents=True)
    images = load_dataset(tiny_data).images.groupby("dx").head(2)
    for row in images.itertuples():
        shutil.copy(row.path, folder / "pictures" / f"EXT_{row.image_id}.jpg")
    table = pd.DataFrame({"image_id": "EXT_" + images["image_id"], "dx": images["dx"]})
    table.to_csv(folder / "labels.csv", index=False)
    return folder


def test_by_id_as_json(served_run, external, capsys):
    assert main(["--run", served_run.id, "--data-dir", str(external), "--json"]) == 0
    printed = capsys.readouterr()
    figures = json.loads(printed.out, parse_constant=pytest.fail)
    test = served_run.metrics()["test"]
    assert figures.keys() == test.keys()  # the form of a split of metrics.json
    assert figures["n"] == 14 and figures["confusion"]["labels"] == list(CODES)
    assert figures["per_class"].keys() == test["per_class"].keys()
    assert figures["balanced_accuracy"].keys() == test["balanced_accuracy"].keys()
    assert figures["always_nevus_accuracy"] == pytest.approx(1 / 7)
    assert "warning" not in printed.err

    ((name, stored),) = served_run.evaluations().items()
    assert name.startswith("another-clinic-2026-")
    assert stored["metrics"] == figures
    assert stored["data"]["images"] == 14 and stored["data"]["known_to_the_run"] == 0
    assert stored["data"]["folder"] == str(external)

    table = pd.read_csv(served_run.folder / "evaluations" / name / "predictions.csv")
    assert table["image_id"].is_monotonic_increasing and (table["split"] == "external").all()
    labels = table["dx"].map(CODES.index).to_numpy()
    shares, answers = table[[f"p_{code}" for code in CODES]].to_numpy(), table["predicted"].map(CODES.index).to_numpy()
    again = evaluate(labels, shares, table["image_id"].to_numpy(), 7, answers)
    assert again["accuracy"] == figures["accuracy"]  # every figure can be computed again from the run's folder
    assert again["confusion"] == figures["confusion"]

    # the same images again take the place of their last time
    assert main(["--run", served_run.id, "--data-dir", str(external), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == figures
    assert list(served_run.evaluations()) == [name]


def test_by_path_as_a_table_on_images_that_the_run_knows(served_run, tiny_data, tmp_path, capsys):
    """A lesion that was trained on says nothing of new patients: whoever evaluates on it is told."""
    assert main(["--run", str(served_run.folder), "--data-dir", str(tiny_data)]) == 0
    printed = capsys.readouterr()
    assert "images             70" in printed.out and "Melanoma" in printed.out
    assert SYNTHETIC_NOTICE in printed.out and RESEARCH_NOTICE in printed.out
    splits = served_run.splits()
    known = int((splits["split"] != "test").sum())
    assert f"warning: {known} of 70 images" in printed.err
    ((_, stored),) = served_run.evaluations().items()
    assert stored["data"]["known_to_the_run"] == known and stored["data"]["synthetic"]

    predictions = served_run.predictions().set_index("image_id")
    (path,) = served_run.folder.glob("evaluations/*/predictions.csv")
    again = pd.read_csv(path).set_index("image_id").loc[predictions.index]
    columns = [f"p_{code}" for code in CODES]
    assert abs(again[columns] - predictions[columns]).to_numpy().max() < 1e-4  # as the trainer itself had said


def test_images_that_were_excluded_are_not_said_to_be_learned_from(served_run, tiny_data, capsys):
    splits = served_run.splits()
    before = int((splits["split"] != "test").sum())
    lesion = splits.query("split == 'train'")["lesion_id"].iloc[0]
    kept = splits["split"].where(splits["lesion_id"] != lesion, "excluded")
    served_run.write_csv("splits.csv", splits.assign(split=kept))
    assert main(["--run", served_run.id, "--data-dir", str(tiny_data)]) == 0
    assert f"warning: {before - (splits['lesion_id'] == lesion).sum()} of 70 images" in capsys.readouterr().err


def test_the_card_says_what_was_measured_elsewhere(served_run, external):
    served_run.write_bytes("MODEL_CARD.md", model_card(served_run).encode())
    assert "has not been evaluated on images from elsewhere" in served_run.model_card()
    assert main(["--run", served_run.id, "--data-dir", str(external)]) == 0
    assert "has not been evaluated on images from elsewhere" not in served_run.model_card()


def test_a_published_copy_does_not_claim_that_images_are_new_to_it(served_run, external, capsys):
    """It holds no splits, and a card that says more than could be written again from what it holds."""
    served_run.write_bytes("MODEL_CARD.md", b"the whole card")
    (served_run.folder / "splits.csv").unlink()
    assert main(["--run", served_run.id, "--data-dir", str(external)]) == 0
    assert "does not say which images it learned from" in capsys.readouterr().err
    ((_, stored),) = served_run.evaluations().items()
    assert stored["data"]["known_to_the_run"] is None
    assert served_run.model_card() == "the whole card"


def test_a_stop_that_was_asked_for_long_ago_ends_no_examination(served_run):
    (served_run.folder / "stop").touch()
    assert main(["--run", served_run.id]) == 0
    assert not served_run.stop_requested()


def test_a_run_that_is_not_finished_is_not_examined_and_can_go_on(served_run, capsys):
    """It was called finished from then on, and could not be resumed."""
    served_run.write_status(Status(state="stopped", epoch=1))
    assert main(["--run", served_run.id]) == 1
    assert "Only a finished run can be examined" in capsys.readouterr().err
    assert served_run.status().state == "stopped"


def test_a_damaged_image_stops_it_or_is_left_out(served_run, external, tmp_path, capsys):
    folder = tmp_path / "damaged"
    shutil.copytree(external, folder)
    victim = min((folder / "pictures").iterdir())
    victim.write_bytes(b"no image")
    arguments = ["--run", served_run.id, "--data-dir", str(folder), "--json"]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and victim.stem in printed.err
    assert served_run.evaluations() == {}

    assert main([*arguments, "--skip-damaged"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["n"] == 13
    assert "left out 1 damaged" in printed.err
    ((_, stored),) = served_run.evaluations().items()
    assert list(stored["data"]["left_out"].values()) == [[victim.stem]]


def test_what_cannot_be_evaluated_is_said_in_a_sentence(runs_folder, external, tmp_path, capsys):
    unfinished = Run.create(TrainConfig(), runs_folder / "unfinished")
    unfinished.write_status(Status(state="stopped"))
    for run, folder, word in (("gone", external, "gone"), ("unfinished", external, "finished run")):
        assert main(["--run", run, "--data-dir", str(folder)]) == 1
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith("error: ") and word in printed.err
        assert "Traceback" not in printed.err


def test_a_folder_that_is_no_data_set(served_run, tmp_path, capsys):
    assert main(["--run", served_run.id, "--data-dir", str(tmp_path / "gone")]) == 1
    assert "A data set is a folder" in capsys.readouterr().err


def test_a_run_that_is_being_written_is_refused_before_the_work(served_run, external, capsys):
    with Run(served_run.folder).writing():
        assert main(["--run", served_run.id, "--data-dir", str(external)]) == 1
    assert "one writer" in capsys.readouterr().err


def test_figures_that_are_unknown_are_dashes_in_the_table():
    trust = Trust(Calibration(1.0, np.zeros(7)))
    text = as_table(trust.figures(np.zeros(3, int), np.eye(7)[[0, 0, 1]], np.array(["a", "b", "c"])))
    dermatofibroma = next(line for line in text.splitlines() if line.startswith("Dermatofibroma"))
    assert dermatofibroma.split() == ["Dermatofibroma", "0", "-", "1.000", "-", "-", "-"]
    assert "macro AUC          unknown" in text


def test_examined_as_json_nothing_else_is_printed(served_run, monkeypatch, capsys):
    monkeypatch.setattr(command, "examine", lambda run, again: print("[examination] told on the way"))
    assert main(["--run", served_run.id, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["n"] == served_run.metrics()["test"]["n"]
    assert "told on the way" in printed.err


@pytest.mark.parametrize("options", [["--again", "--data-dir", "."], ["--skip-damaged"]])
def test_an_option_that_would_do_nothing_is_refused(served_run, options, capsys):
    assert main(["--run", served_run.id, *options]) == 1
    assert "Leave it out" in capsys.readouterr().err


def test_a_published_copy_says_what_it_lacks(served_run, capsys):
    """It names no folder of images and tells nothing of them."""
    manifest = served_run.manifest()
    del manifest["data"]["folder"]
    served_run.write_json(MANIFEST, manifest)
    for name in (PREDICTIONS, SPLITS):
        (served_run.folder / name).unlink()
    assert main(["--run", served_run.id]) == 1
    assert "a published copy, which names no folder" in capsys.readouterr().err
    with pytest.raises(RunError, match="a published copy without"):
        check_together([served_run, served_run])
    with pytest.raises(RunError, match="--scores calibrated"):
        balanced_scores(served_run, np.zeros((1, 7)))
