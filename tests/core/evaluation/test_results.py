"""What a finished run says in figures: one table of predictions, and one way from logits to everything else."""

import json

import numpy as np
import pandas as pd

from core.config import TrainConfig
from core.diagnoses import CODES
from core.evaluation.calibration import calibrated
from core.evaluation.results import prediction_table, training_weights, write_results
from core.evaluation.trust import Strangeness, Trust
from core.runs.files import without_nan
from core.runs.run import Run


def test_predictions_survive_being_written(tmp_path):
    run = Run.create(TrainConfig(), tmp_path / "a")
    images = pd.DataFrame({"image_id": ["007", "NA"], "dx": ["nv", "mel"], "path": ["x", "y"]})
    logits = np.arange(14, dtype=np.float32).reshape(2, 7) / 3
    shares = np.full((2, 7), 1 / 7)
    run.write_csv("predictions.csv", prediction_table(images, ["train", "test"], logits, shares, np.array([1.5, 2])))
    table = run.predictions()
    figures = [f"{kind}_{code}" for kind in ("logit", "p") for code in CODES]
    assert list(table.columns) == ["image_id", "split", "dx", "predicted", *figures, "ood_score"]
    assert table["image_id"].tolist() == ["007", "NA"]
    assert table["predicted"].tolist() == [CODES[6]] * 2
    assert (table[[f"logit_{code}" for code in CODES]].to_numpy(np.float32) == logits).all()
    assert (table[[f"p_{code}" for code in CODES]].to_numpy() == shares).all()
    assert table["ood_score"].tolist() == [1.5, 2]


def imbalanced(n: int = 3000, seed: int = 3) -> tuple[pd.DataFrame, np.ndarray]:
    """A split, and the logits of a network that answers as if all seven were equally common."""
    dice = np.random.default_rng(seed)
    labels = dice.choice(7, n, p=[0.1, 0.6, 0.08, 0.06, 0.08, 0.04, 0.04])
    logits = dice.normal(size=(n, 7)) + 1.5 * np.eye(7)[labels]
    splits = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(n)],
            "lesion_id": [f"l{number}" for number in range(n)],
            "dx": np.array(CODES)[labels],
            "split": dice.choice(["train", "validation", "calibration", "test"], n, p=[0.4, 0.1, 0.2, 0.3]),
        }
    )
    return splits, logits.astype(np.float32)


def known(scores: np.ndarray) -> Strangeness:
    """Scores of images that no other camera has seen."""
    return Strangeness(scores, np.empty(0))


def test_probabilities_of_a_weighted_training_are_those_of_the_data(tmp_path):
    """A network that was taught to take all seven for equally common finds three times too many melanomas."""
    run = Run.create(TrainConfig(), tmp_path / "a")
    splits, logits = imbalanced()
    write_results(run, splits, logits, known(np.arange(len(splits), dtype=float)), 1.0, 5)
    predictions, test = run.predictions(), (splits["split"] == "test").to_numpy()
    naive = calibrated(logits)[test]
    for code in ("nv", "df"):
        share = (splits["dx"][test] == code).mean()
        assert abs(predictions[f"p_{code}"][test].mean() - share) < 0.03
        assert abs(naive[:, CODES.index(code)].mean() - share) > 0.05
    figures = run.metrics()["test"]
    before, after = figures["calibration"]["before"], figures["calibration"]["after"]
    for name in ("ece", "nll", "brier", "melanoma_ece"):
        assert after[name]["value"] < before[name]["value"]
        assert after[name]["low"] <= after[name]["value"] <= after[name]["high"]
    # the answer does not follow the probabilities: it stays what the image speaks for
    assert (predictions["predicted"] == np.array(CODES)[logits.argmax(axis=1)]).all()
    assert figures["balanced_accuracy"]["value"] > 0.5


def test_everything_is_fitted_on_the_calibration_split_alone(tmp_path):
    """Other labels elsewhere change no threshold."""
    splits, logits = imbalanced()
    strangeness = np.random.default_rng(0).normal(size=len(splits))
    first, second = (Run.create(TrainConfig(class_weights=False), tmp_path / name) for name in "ab")
    write_results(first, splits, logits, known(strangeness), 1.0, 5)
    elsewhere = splits["split"] != "calibration"
    other = splits.assign(dx=splits["dx"].where(~elsewhere, "vasc"))
    write_results(second, other, logits, known(np.where(elsewhere, 99.0, strangeness)), 1.0, 5)
    assert first.calibration() == second.calibration()
    assert first.calibration()["fitted_on"]["n"] == (~elsewhere).sum()
    assert second.metrics()["test"]["refusal"]["refused"]["value"] == 1


def test_levels_are_those_that_were_asked_for(tmp_path):
    splits, logits = imbalanced()
    strangeness = np.random.default_rng(0).normal(size=len(splits))
    shares = {}
    for level in (0.8, 0.95):
        config = TrainConfig(set_level=level, target_sensitivity=level, false_refusals=1 - level)
        run = Run.create(config, tmp_path / str(level))
        write_results(run, splits, logits, known(strangeness), 1.0, 5)
        test = run.metrics()["test"]
        shares[level] = (
            test["prediction_sets"]["coverage"]["value"],
            test["operating_points"]["malignant"]["sensitivity"]["value"],
            1 - test["refusal"]["refused"]["value"],
        )
        assert np.allclose(shares[level], level, atol=0.06)
    assert (np.array(shares[0.95]) > np.array(shares[0.8])).all()


def test_a_training_without_class_weights_is_not_corrected_for_them(tmp_path):
    splits, _ = imbalanced()
    weighted = training_weights(Run.create(TrainConfig(), tmp_path / "a"), splits)
    plain = training_weights(Run.create(TrainConfig(class_weights=False), tmp_path / "b"), splits)
    assert (plain == 1).all()
    assert weighted[CODES.index("df")] > 5 * weighted[CODES.index("nv")]


def test_a_calibration_part_without_a_melanoma_gives_no_threshold_and_an_answer_all_the_same():
    labels = np.repeat([CODES.index(code) for code in CODES if code != "mel"], 10)
    logits = np.random.default_rng(0).normal(size=(len(labels), 7)).astype(np.float32)
    fitted = Trust.fit(TrainConfig(), logits, labels, np.ones(7))
    written = json.loads(json.dumps(without_nan(fitted.to_dict())))
    trust = Trust.from_dict(written)
    assert set(trust.points) == {"malignant"}
    for judge in (fitted, trust):  # no melanoma may be said to be missed by a threshold that does not exist
        figures = judge.figures(labels, logits, np.arange(len(labels)).astype(str))
        assert set(figures["operating_points"]) == {"malignant"}
