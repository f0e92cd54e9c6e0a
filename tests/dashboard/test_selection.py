"""From filters and clicks to rows: exactly those that were asked for, in the order that was asked for."""

import numpy as np
import pandas as pd
import pytest

from core.diagnoses import CODES
from dashboard import selection
from dashboard.selection import AGREED, ALL, ALL_PARTS, AS_PICKED, LOSS, RIGHT, SURE, UNSURE, WRONG, Selection


@pytest.fixture
def table() -> pd.DataFrame:
    """Six answers: image, part, truth, answer, probability of the truth and of the answer."""
    rows = [
        ("a", "test", "mel", "mel", 0.9, 0.9),
        ("b", "test", "mel", "nv", 0.2, 0.7),
        ("c", "test", "nv", "nv", 0.6, 0.6),
        ("d", "train", "nv", "mel", 0.05, 0.8),
        ("e", "test", "mel", "nv", 0.01, 0.95),
        ("f", "test", "bcc", "bcc", 0.5, 0.5),
    ]
    probabilities = np.zeros((len(rows), len(CODES)))
    for place, (_, _, truth, said, of_truth, of_said) in enumerate(rows):
        probabilities[place, CODES.index(truth)] = of_truth
        probabilities[place, CODES.index(said)] = of_said
    predictions = pd.DataFrame([row[:4] for row in rows], columns=["image_id", "split", "dx", "predicted"])
    predictions[[f"p_{code}" for code in CODES]] = probabilities
    images = pd.DataFrame(
        {
            "image_id": list("abcde"),
            "lesion_id": ["l1", "l1", "l2", "l3", "l4"],
            "sex": ["female", "male", "female", "unknown", "male"],
            "age": [50.0, 50.0, 44.0, np.nan, 75.0],
        }
    )
    counts = pd.DataFrame({"image_id": list("abcef"), "wrong_runs": [0, 2, 0, 1, 0], "runs": 2})
    return selection.answer_table(predictions, images).merge(counts, on="image_id", how="left")


def ids(rows: pd.DataFrame) -> str:
    return "".join(rows["image_id"])


def test_an_answer_knows_its_confidences_and_its_loss(table):
    row = table.set_index("image_id").loc["b"]
    assert (row["confidence"], row["confidence_in_truth"]) == (0.7, 0.2)
    assert row["loss"] == pytest.approx(-np.log(0.2))
    assert len(table) == 6  # an image that the data set does not know keeps its answer


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Selection("test"), "eabcf"),
        (Selection("test", WRONG), "eb"),
        (Selection("test", RIGHT), "acf"),
        (Selection(ALL_PARTS, WRONG, truth="nv"), "d"),
        (Selection("test", ALL, "mel", "nv"), "eb"),
        (Selection("test", groups={"sex": "male"}), "eb"),
        (Selection("test", groups={"sex": "male", "age": "45 to 59"}), "b"),
        (Selection("test", groups={"age": "30 to 44"}), "c"),
        (Selection("test", groups={"sex": "of nobody"}), ""),
        (Selection("test", picked=("f", "b", "d")), "bf"),
        (Selection(ALL_PARTS, picked=("f", "b", "d"), order=AS_PICKED), "fbd"),
        (Selection("test", order=UNSURE), "fcbae"),
        (Selection("test", order=LOSS), "ebfca"),
        (Selection("test", order=AGREED), "befca"),
    ],
)
def test_filters_compose(table, asked, found):
    assert ids(selection.select(table, asked)) == found


def test_the_most_frequent_mistake_comes_first(table):
    pairs = selection.confused_pairs(table)
    assert pairs.iloc[0].to_dict() == {"dx": "mel", "predicted": "nv", "images": 2, "share": pytest.approx(2 / 3)}
    assert len(pairs) == 2


def test_only_images_that_every_run_was_tested_on_are_counted(table):
    other = table.assign(split=["test", "test", "train", "test", "test", "test"], predicted="nv")
    counts = selection.wrong_runs({"one": table, "other": other}).set_index("image_id")
    assert counts["wrong_runs"].to_dict() == {"a": 1, "b": 2, "e": 2, "f": 1}  # c and d were learned from once
    assert (counts["runs"] == 2).all()


def test_every_point_of_a_lasso_is_found():
    event = {"selection": {"points": [{"customdata": ["a"]}, {"customdata": {"0": "b"}}, {"x": 1}]}}
    assert selection.all_customdata_of(event) == [("a",), ("b",)]
    assert selection.customdata_of(event) == ("a",)
    assert selection.customdata_of({"selection": {"points": []}}) is None


def test_ties_have_one_order(table):
    assert ids(selection.select(table.sample(frac=1, random_state=3), Selection("test", order=SURE))) == "eabcf"
