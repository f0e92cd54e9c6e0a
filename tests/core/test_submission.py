"""The ISIC 2018 file of a folder: the official scorer takes it, and says what scikit-learn says."""

import io
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from core.config import TrainConfig
from core.data.ham10000 import index_dataset
from core.data.splits import class_weights
from core.diagnoses import CODES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.evaluation.calibration import calibrated
from core.predictor import Predictor
from core.runs.run import CONFIG, Run
from core.submission import COLUMNS, balanced_scores, main


@pytest.fixture(scope="module")
def predictor(tiny_run):
    return Predictor.load(tiny_run)


@pytest.fixture(autouse=True)
def _loaded_once(predictor, monkeypatch):
    """Every test asks a copy of one run: its model is loaded once for all of them."""
    monkeypatch.setattr(Predictor, "load", lambda run: predictor)


@pytest.fixture(scope="module")
def labelled(tiny_data: Path) -> pd.DataFrame:
    """Four images of each diagnosis: image_id, dx, path."""
    return index_dataset(tiny_data).images.groupby("dx").head(4).sort_values("image_id")


@pytest.fixture
def folder(labelled, tmp_path) -> Path:
    """The images alone, in two folders, beside what is no image and what is a mask."""
    folder = tmp_path / "images of a challenge"
    for index, path in enumerate(labelled["path"]):
        place = folder / f"part {index % 2}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    (folder / "LICENSE.txt").write_text("words")
    (folder / "masks").mkdir()
    shutil.copy(labelled["path"].iloc[0], folder / "masks" / "of_an_image.png")
    shutil.copy(labelled["path"].iloc[0], folder / "beside_an_image_segmentation.png")
    shutil.copy(labelled["path"].iloc[0], folder / "part 1")  # the same file twice, as in Kaggle's copy
    return folder


@pytest.fixture
def official_score(monkeypatch):
    """Balanced accuracy and AUC of each category by the challenge's own scorer."""
    if not hasattr(pd.DataFrame, "applymap"):  # the scorer was written before pandas 3 took the old name away
        monkeypatch.setattr(pd.DataFrame, "applymap", pd.DataFrame.map, raising=False)

    def score(truth: pd.DataFrame, file: Path) -> ClassificationScore:
        stream = io.StringIO(truth.to_csv(index=False))
        with file.open() as predictions, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pandas says of the scorer's ways is not ours to mend
            return ClassificationScore.from_stream(stream, predictions, ClassificationMetric.BALANCED_ACCURACY)

    return score


@pytest.mark.parametrize("scores", ["balanced", "calibrated"])
def test_the_official_scorer_takes_it_and_agrees(served_run, folder, labelled, official_score, tmp_path, scores):
    out = tmp_path / "new folder" / "submission.csv"
    arguments = ["--run", served_run.id, "--images", str(folder), "--out", str(out), "--scores", scores]
    assert main(arguments) == 0
    truth = pd.DataFrame({"image": labelled["image_id"]})
    for name in COLUMNS:
        truth[name] = (labelled["dx"] == name.lower()).astype(float)
    made = pd.read_csv(out)
    assert made.columns.tolist() == ["image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    assert made["image"].tolist() == labelled["image_id"].tolist()
    values = made[list(COLUMNS)].to_numpy()
    np.testing.assert_allclose(values.sum(axis=1), 1.0, atol=1e-12)

    found = official_score(truth, out)
    answers = [COLUMNS[index].lower() for index in values.argmax(axis=1)]
    assert found.overall == pytest.approx(balanced_accuracy_score(labelled["dx"], answers), abs=1e-9)
    for name in COLUMNS:
        expected = roc_auc_score(labelled["dx"] == name.lower(), made[name])
        assert found.per_category.loc[name, "auc"] == pytest.approx(expected, abs=1e-9)


def test_balanced_answers_as_the_run_does_and_calibrated_as_it_is_shown(served_run, folder, labelled, tmp_path):
    tables = {}
    for scores in ("balanced", "calibrated"):
        out = tmp_path / f"{scores}.csv"
        assert main(["--run", served_run.id, "--images", str(folder), "--out", str(out), "--scores", scores]) == 0
        tables[scores] = pd.read_csv(out).set_index("image")[list(COLUMNS)]
    recorded = served_run.predictions().set_index("image_id").loc[labelled["image_id"]]
    assert tables["balanced"].idxmax(axis=1).str.lower().tolist() == recorded["predicted"].tolist()
    shown = recorded[[f"p_{name.lower()}" for name in COLUMNS]].to_numpy()
    np.testing.assert_allclose(tables["calibrated"].to_numpy(), shown, atol=1e-4)


def test_without_class_weights_how_common_a_diagnosis_is_is_taken_out(served_run):
    config = TrainConfig.from_dict(served_run.config().to_dict() | {"class_weights": False})
    served_run.write_json(CONFIG, config.to_dict())
    splits = served_run.splits()
    weights = class_weights(splits.loc[splits["split"] == "train", "dx"])
    common = -np.log(weights)[None] * served_run.calibration()["temperature"]  # logits that know nothing else
    np.testing.assert_allclose(balanced_scores(served_run, common), np.full((1, len(CODES)), 1 / 7), atol=1e-6)
    assert calibrated(common)[0].argmax() == CODES.index("nv")


def test_a_refused_image_has_a_row_and_is_named(served_run, folder, labelled, tmp_path, monkeypatch, capsys):
    first = labelled["image_id"].iloc[0]
    asked = Predictor.predict_each

    class Refused:
        def __init__(self, answer):
            self.logits, self.probabilities = answer.logits, answer.probabilities
            self.refused, self.refusals = True, ("not_dermatoscopy",)

    def predict_each(self, images, patients=None):
        for path, answer in zip(images, asked(self, images), strict=True):
            yield Refused(answer) if Path(path).stem == first else answer

    monkeypatch.setattr(Predictor, "predict_each", predict_each)
    out = tmp_path / "submission.csv"
    assert main(["--run", served_run.id, "--images", str(folder), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert f"{first} (not_dermatoscopy)" in printed.err and "refused" in printed.err
    assert first in pd.read_csv(out)["image"].tolist()
    assert f"{len(labelled)} images" in printed.out and f"{len(labelled)} of {len(labelled)} images" in printed.err
    assert SYNTHETIC_NOTICE in printed.out and RESEARCH_NOTICE in printed.out


def test_a_damaged_image_stops_it_or_is_left_out(served_run, folder, labelled, tmp_path, capsys):
    (folder / "part 0" / "broken.png").write_bytes(b"no image")
    out = tmp_path / "submission.csv"
    arguments = ["--run", served_run.id, "--images", str(folder), "--out", str(out)]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and "1 of 29" in printed.err and "broken" in printed.err
    assert "--skip-damaged" in printed.err and not out.exists()

    assert main([*arguments, "--skip-damaged"]) == 0
    assert "left out 1 damaged: broken" in capsys.readouterr().err
    assert pd.read_csv(out)["image"].tolist() == labelled["image_id"].tolist()


def test_a_link_to_nowhere_is_a_damaged_image(served_run, folder, tmp_path, capsys):
    (folder / "part 0" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    arguments = ["--run", served_run.id, "--images", str(folder), "--out", str(tmp_path / "submission.csv")]
    assert main(arguments) == 1 and "nowhere" in capsys.readouterr().err
    assert main([*arguments, "--skip-damaged"]) == 0


def test_an_interrupted_one_leaves_what_was_there(served_run, folder, tmp_path, monkeypatch):
    out = tmp_path / "out" / "submission.csv"
    out.parent.mkdir()
    out.write_text("the last one")

    def predict_each(self, images, patients=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict_each", predict_each)
    assert main(["--run", served_run.id, "--images", str(folder), "--out", str(out)]) == 130
    assert out.read_text() == "the last one" and list(out.parent.iterdir()) == [out]


def test_what_cannot_be_handed_in_is_said_in_a_sentence(served_run, folder, labelled, tmp_path, capsys):
    out = str(tmp_path / "submission.csv")

    def said(images: Path, out: str = out, run: str = served_run.id) -> str:
        assert main(["--run", run, "--images", str(images), "--out", out]) == 1
        return capsys.readouterr().err

    (tmp_path / "empty").mkdir()
    assert "holds none" in said(tmp_path / "empty")
    assert "is none" in said(tmp_path / "nowhere")
    assert "--out must name a file" in said(folder, str(tmp_path))
    assert "--out must name a file" in said(folder, str(folder / "LICENSE.txt" / "x.csv"))
    assert "Received: 'no-such-run'" in said(folder, run="no-such-run")
    (folder / "LICENSE.txt").unlink()

    one, other = labelled["path"].iloc[:2]
    shutil.copy(other, folder / "part 0" / Path(one).name)
    shutil.copy(one, folder / "part 1" / Path(one).name)
    assert f"1 names of two different images: {Path(one).stem}" in said(folder)
    assert not Path(out).exists() and Run(served_run.folder).evaluations() == {}
