"""One door to a model: whoever asks gets the same answer."""

import dataclasses
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import predictor as module
from core.data.ham10000 import index_dataset
from core.diagnoses import CODES
from core.errors import ImageError, RunError, RunNotFoundError
from core.places import PROJECT
from core.prediction import STRANGE
from core.predictor import Predictor, served_predictor
from core.runs.all_runs import promote
from core.runs.run import CALIBRATION, MANIFEST, OUTLIERS, Run, Status


@pytest.fixture(scope="module")
def predictor(tiny_run):
    return Predictor.load(tiny_run)


@pytest.fixture(scope="module")
def paths(tiny_data):
    return index_dataset(tiny_data).images["path"].tolist()


def test_answers_as_the_run_recorded(predictor, tiny_run, tiny_data):
    images = index_dataset(tiny_data).images.set_index("image_id")
    rows = tiny_run.predictions().groupby("split").head(4)
    answers = predictor.predict_many(images.loc[rows["image_id"], "path"])
    recorded = rows[[f"p_{code}" for code in CODES]].to_numpy()
    np.testing.assert_allclose([answer.probabilities for answer in answers], recorded, atol=1e-5)
    assert [answer.code for answer in answers] == rows["predicted"].tolist()


def test_one_by_one_and_together_give_the_same(predictor, paths):
    together = predictor.predict_many(paths[:5])
    for path, answer in zip(paths, together, strict=False):
        alone = predictor.predict(path)
        np.testing.assert_allclose(alone.probabilities, answer.probabilities, atol=1e-5)
        np.testing.assert_allclose(alone.heatmaps, answer.heatmaps, atol=1e-4)


def test_a_path_its_bytes_and_its_array_give_the_same(predictor, paths):
    content = Path(paths[0]).read_bytes()
    array = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    answers = predictor.predict_many([paths[0], content, array])
    for answer in answers[1:]:
        np.testing.assert_allclose(answer.probabilities, answers[0].probabilities, atol=1e-6)


def test_a_refused_image_gets_no_figures_unless_somebody_insists(served_run, paths):
    fitted = served_run.calibration()
    served_run.write_json(CALIBRATION, fitted | {"refusal": fitted["refusal"] | {"threshold": -1e9}})
    answer = Predictor(served_run).predict(paths[0])
    assert answer.refused and STRANGE in answer.refusals
    export = answer.to_dict()
    assert export["diagnosis"] is None and export["probabilities"] is None and export["prediction_set"] is None
    assert export["reasons"][STRANGE]
    assert answer.to_dict(insist=True)["diagnosis"] == answer.code
    black = Predictor(served_run).predict(np.zeros((200, 200, 3), np.uint8))
    assert "black" in black.refusals and "black" in black.to_dict()["reasons"]


def test_the_sets_and_thresholds_of_an_image_are_those_of_the_run(predictor, paths, tiny_run):
    answer = predictor.predict(paths[0])
    fitted = tiny_run.calibration()
    for code, p in zip(CODES, answer.probabilities, strict=True):
        scores = np.array(fitted["prediction_sets"]["scores"][code])
        stays = (1 + (scores >= 1 - p).sum()) / (len(scores) + 1) > 1 - answer.prediction_set.level
        assert (code in answer.prediction_set.codes) == stays
    assert set(answer.prediction_set.unpromised) == set(CODES), "seven calibration images promise nothing"
    for point in answer.points:
        assert point.threshold == fitted["operating_points"][point.name]["threshold"]
        together = sum(answer.probabilities[CODES.index(code)] for code in point.positives)
        assert point.probability == pytest.approx(together)
        assert point.flagged == (together >= point.threshold)


def test_a_damaged_score_for_strangers_says_how_to_make_it_anew(served_run):
    (served_run.folder / OUTLIERS).write_bytes(b"PK")
    with pytest.raises(RunError, match="--again"):
        Predictor(served_run)


def test_many_threads_get_the_answers_of_one(predictor, paths):
    alone = [predictor.predict(path).probabilities for path in paths[:8]]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for answer, expected in zip(pool.map(predictor.predict, paths[:8]), alone, strict=True):
                np.testing.assert_allclose(answer.probabilities, expected, atol=1e-6)


def test_a_prediction_is_calibrated_complete_and_says_what_it_is_not(predictor, paths, tiny_run):
    answer = predictor.predict(paths[0])
    fitted = tiny_run.calibration()
    scores = answer.logits / fitted["temperature"] - np.array([fitted["offsets"][code] for code in CODES])
    np.testing.assert_allclose(answer.probabilities, np.exp(scores) / np.exp(scores).sum(), rtol=1e-4)
    assert [p for _, p in answer.ranked()] == sorted(answer.probabilities, reverse=True)
    assert answer.heatmaps.shape == (7, 7, 7)
    assert answer.overlay().shape == answer.image.shape
    export = json.loads(json.dumps(answer.to_dict(insist=True)))
    assert export["run"] == tiny_run.id
    assert "synthetic" in export["notice"]
    assert "no diagnosis" in export["notice"]


def test_heat_of_another_diagnosis_is_another_picture(predictor, paths):
    answer = predictor.predict(paths[0])
    pictures = {code: answer.overlay(code).tobytes() for code in CODES}
    assert len(set(pictures.values())) > 1
    assert answer.overlay().tobytes() == pictures[answer.code]


def test_a_damaged_image_is_an_image_error(predictor):
    with pytest.raises(ImageError):
        predictor.predict(b"not an image")


def test_an_unfinished_run_cannot_answer(served_run):
    served_run.write_status(Status(state="stopped"))
    with pytest.raises(RunError, match="finished.*stopped"):
        Predictor.load(served_run)


def test_a_model_of_another_order_of_classes_is_refused(served_run):
    manifest = served_run.manifest()
    served_run.write_json(MANIFEST, manifest | {"classes": manifest["classes"][::-1]})
    with pytest.raises(RunError, match="in this order"):
        Predictor.load(served_run)


def test_a_run_that_lacks_a_figure_is_named(served_run):
    served_run.write_json(CALIBRATION, {"temperature": 1.0})
    with pytest.raises(RunError, match="heatmap_scale.*Train the run again"):
        Predictor.load(served_run)


def test_nothing_served_is_an_error_that_says_what_to_do(runs_folder):
    with pytest.raises(RunNotFoundError, match="Train one"):
        served_predictor()


def test_a_promotion_is_followed_without_a_restart(served_run, runs_folder, paths):
    import shutil

    first = served_predictor()
    assert served_predictor() is first
    other = Run(shutil.copytree(served_run.folder, runs_folder / "other"))
    promote(other)
    assert served_predictor().run.id == "other"
    assert served_predictor().predict(paths[0]).run_id == "other"


def test_the_command_line_prints_a_table_or_json(served_run, predictor, paths, capsys):
    assert module.main(paths[:2]) == 0
    table = capsys.readouterr().out
    assert "research and education" in table
    assert "synthetic" in table
    assert module.main([*paths[:2], "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["image"] for answer in answers] == paths[:2]
    for path, answer in zip(paths, answers, strict=False):
        expected = predictor.predict(path).probabilities
        np.testing.assert_allclose(list(answer["probabilities"].values()), expected, atol=1e-5)


def test_a_damaged_file_is_named_and_the_others_are_answered(served_run, paths, tmp_path, capsys):
    damaged = tmp_path / "scan.jpg"
    damaged.write_bytes(b"\xff\xd8\xff nothing more")
    assert module.main([str(damaged), paths[0], "--json"]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {damaged}: ")
    assert [answer["image"] for answer in json.loads(printed.out)] == [paths[0]]


def test_python_m_core_predictor_runs(served_run, paths):
    done = subprocess.run(
        [sys.executable, "-m", "core.predictor", paths[0], "--json"], cwd=PROJECT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)[0]["run"] == served_run.id


def test_a_prediction_cannot_be_changed(predictor, paths):
    with pytest.raises(dataclasses.FrozenInstanceError):
        predictor.predict(paths[0]).run_id = "mine"


def test_what_a_run_takes_no_notice_of_is_said(served_run, paths, capsys):
    assert module.main(["--run", served_run.id, "--age", "50", "--site", "leg", paths[0]]) == 0
    assert "takes no notice of --age, --site as given" in capsys.readouterr().err
    assert module.main(["--run", served_run.id, paths[0]]) == 0
    assert "no notice" not in capsys.readouterr().err
