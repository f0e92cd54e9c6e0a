"""Figures from hand-made frames, and rows from selections: no page, no browser, no model."""

import numpy as np
import pandas as pd
import pytest

from core.diagnoses import BY_CODE, CODES
from core.runs.history import TRAINING, WHOLE_NETWORK
from dashboard import charts, selection


@pytest.fixture
def images() -> pd.DataFrame:
    """Four images of three lesions; one age and one sex are missing."""
    return pd.DataFrame(
        {
            "image_id": ["a", "b", "c", "d"],
            "lesion_id": ["1", "1", "2", "3"],
            "dx": ["nv", "nv", "mel", "df"],
            "age": [40.0, 50.0, np.nan, 70.0],
            "sex": ["male", "male", "", "female"],
        }
    )


@pytest.fixture
def history() -> pd.DataFrame:
    """Three epochs; the second is best."""
    figures = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 2.5, 2.6], "learning_rate": [0.1, 0.1, 0.02]}
    for name in ("accuracy", "auc", "balanced_accuracy"):
        figures |= {name: [0.4, 0.6, 0.8], f"val_{name}": [0.3, 0.5, 0.4]}
    return pd.DataFrame(figures | {"phase": TRAINING})


def test_class_bars_show_every_diagnosis_with_its_number_and_share(images: pd.DataFrame) -> None:
    bars = charts.class_bars(images["dx"], log=False).data[0]
    assert dict(zip([data[0] for data in bars.customdata], bars.x, strict=True)) == {
        "nv": 2, "mel": 1, "df": 1, "bcc": 0, "akiec": 0, "bkl": 0, "vasc": 0,
    }  # fmt: skip
    assert bars.text[-1] == "2  (50.0%)"


def test_class_bars_on_a_logarithmic_axis_stay_in_sight(images: pd.DataFrame) -> None:
    figure = charts.class_bars(images["dx"], log=True)
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis.range[1] > np.log10(2)


def test_colours_come_from_the_diagnoses(images: pd.DataFrame) -> None:
    bars = charts.class_bars(images["dx"], log=False).data[0]
    assert list(bars.marker.color) == [BY_CODE[data[0]].colour for data in bars.customdata]


def test_split_bars_are_shares_of_each_diagnosis() -> None:
    splits = pd.DataFrame({"dx": ["mel"] * 4, "split": ["train", "train", "train", "test"]})
    bars = {trace.name: trace.x[0] for trace in charts.split_bars(splits).data}
    assert bars == {"train": 0.75, "validation": 0.0, "calibration": 0.0, "test": 0.25}


def test_stacked_bars_call_what_is_empty_unknown(images: pd.DataFrame) -> None:
    figure = charts.stacked_bars(images, "sex", share=True)
    assert "unknown (1)" in figure.data[0].y
    assert sum(trace.x[list(trace.y).index("male (2)")] for trace in figure.data) == pytest.approx(1.0)


def test_age_boxes_leave_out_diagnoses_without_an_age(images: pd.DataFrame) -> None:
    assert [trace.name for trace in charts.age_boxes(images).data] == ["Dermatofibroma", "Melanocytic nevus"]


def test_lesion_bars_count_lesions_not_images(images: pd.DataFrame) -> None:
    bars = charts.lesion_bars(images).data[0]
    assert dict(zip(bars.x, bars.y, strict=True)) == {"1": 2, "2": 1}


def test_best_epoch_is_that_of_the_validation_balanced_accuracy(history: pd.DataFrame) -> None:
    assert charts.best_epoch(history) == 1
    assert charts.best_epoch(history.assign(val_balanced_accuracy=np.nan)) is None
    assert charts.best_epoch(history.iloc[:0]) is None


def test_curves_tell_training_and_validation_apart_without_colour(history: pd.DataFrame) -> None:
    lines = [trace for trace in charts.curves({"one": history}, "loss", share=False).data if trace.mode == "lines"]
    assert {trace.name: trace.line.dash for trace in lines} == {"training": "dot", "validation": "solid"}


def test_curves_of_several_runs_carry_the_names_of_the_runs(history: pd.DataFrame) -> None:
    figure = charts.curves({"one": history, "two": history}, "auc", share=True)
    assert {trace.name for trace in figure.data if trace.mode == "lines"} == {
        "one, training", "one, validation", "two, training", "two, validation",
    }  # fmt: skip


def test_curves_of_a_single_epoch_show_points(history: pd.DataFrame) -> None:
    assert charts.curves({"one": history.iloc[:1]}, "loss", share=False).data[0].mode == "markers"


def test_learning_rate_steps(history: pd.DataFrame) -> None:
    assert list(charts.rate_steps({"one": history}).data[0].y) == [0.1, 0.1, 0.02]


def test_confusion_squares_carry_truth_and_answer_of_their_cell() -> None:
    counts = np.arange(49).reshape(7, 7)
    squares = charts.confusion(counts, as_rates=False).data[-1]
    at = {(x, y): tuple(data) for x, y, data in zip(squares.x, squares.y, squares.customdata, strict=True)}
    assert len(at) == 49
    assert at[1, 0] == ("mel", "nv")  # column 1, row 0: a melanoma taken for a nevus
    assert charts.confusion(counts, as_rates=False).layout.hoverdistance == -1  # the whole cell can be clicked


def test_confusion_fixes_its_axes_so_that_squares_lie_on_cells() -> None:
    layout = charts.confusion(np.eye(7, dtype=int), as_rates=True).layout
    assert tuple(layout.xaxis.range) == (-0.5, 6.5)
    assert tuple(layout.yaxis.range) == (6.5, -0.5)


def test_confusion_shows_numbers_or_shares_of_the_row() -> None:
    counts = np.zeros((7, 7), int)
    counts[0, :2] = (3, 1)

    def texts(as_rates: bool) -> set[str]:
        return {
            text for trace in charts.confusion(counts, as_rates).select_traces({"mode": "text"}) for text in trace.text
        }

    assert texts(as_rates=False) == {"3", "1", "·"}
    assert texts(as_rates=True) == {"75%", "25%", "·"}


def test_sensitivity_bars_hatch_diagnoses_with_few_cases_and_leave_out_those_without() -> None:
    per_class = {
        "mel": {"n": 100, "sensitivity": 0.5},
        "df": {"n": 4, "sensitivity": 0.25},
        "vasc": {"n": 0, "sensitivity": None},
    }
    bars = charts.sensitivity_bars(per_class).data[0]
    assert [data[0] for data in bars.customdata] == ["df", "mel"]
    assert list(bars.marker.pattern.shape) == ["/", ""]
    assert list(bars.text) == ["25% of 4<br>few cases", "50% of 100"]


def test_probability_bars_keep_the_order_and_mark_the_truth() -> None:
    bars = charts.probability_bars(np.array([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]), truth="mel").data[0]
    assert [data[0] for data in bars.customdata] == list(CODES)
    assert "the truth" in bars.y[0] and not any("the truth" in name for name in bars.y[1:])
    sure = charts.probability_bars(np.array([0.99996, 0, 0.00004, 0, 0, 0, 0])).data[0]
    assert list(sure.text[:3]) == ["> 99.9 %", "< 0.1 %", "< 0.1 %"], "nothing is certain of one image"


def test_a_title_says_what_it_shows_and_what_it_is_not_for() -> None:
    plain = charts.lesion_bars(pd.DataFrame({"lesion_id": ["a", "a", "b"]}))
    height = plain.layout.height
    figure = charts.titled(plain, "Lesions")
    assert "Lesions" in figure.layout.title.text and "never a diagnosis" in figure.layout.title.subtitle.text
    assert figure.layout.height == height + charts.TITLE_HEIGHT, "the chart keeps its room"
    drawn = charts.titled(plain, "Lesions", synthetic=True).layout.title.subtitle.text
    assert "Drawn images" in drawn and "never a diagnosis" in drawn
    assert len(drawn) <= len("Research and education only, never a diagnosis"), "what is longer is cut off"


def test_curves_mark_each_cut_of_the_learning_rate() -> None:
    history = pd.DataFrame({"learning_rate": [1e-3, 1e-3, 2e-4, 2e-4, 4e-5], "loss": 1.0, "val_loss": 1.0,
                            "val_balanced_accuracy": [0.2, 0.4, 0.5, 0.4, 0.3], "phase": TRAINING})  # fmt: skip
    assert charts.rate_cuts(history) == [3, 5]
    lines = [shape.x0 for shape in charts.curves({"run": history}, "loss", share=False).layout.shapes]
    assert lines == [2.5, 4.5]


def test_epochs_of_the_whole_network_are_neither_the_best_nor_a_cut_of_the_rate(history: pd.DataFrame) -> None:
    first = history.assign(phase=WHOLE_NETWORK, val_balanced_accuracy=0.9, learning_rate=[0.3, 0.2, 0.1])
    both = pd.concat([first, history], ignore_index=True)
    assert charts.best_epoch(both) == 3 + 1
    assert charts.rate_cuts(both) == [3 + 3]
    two = pd.concat([both.assign(phase=["whole network"] * 3 + ["network 1"] * 3), both], ignore_index=True)
    assert charts.best_epoch(two) == 3 + 1
    assert charts.rate_cuts(two) == [3 + 3, 6 + 3 + 3], "another network begins with a rate of its own"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themed_writes_in_the_ink_of_the_page(theme: str) -> None:
    figure = charts.themed(charts.confusion(np.eye(7, dtype=int), as_rates=False), theme)
    assert figure.layout.font.color == figure.layout.xaxis.tickfont.color == charts.TEXT[theme]
    assert figure.layout.paper_bgcolor == charts.PAPER[theme], "a picture that is saved has a ground to be read on"
    inks = {trace.meta: trace.textfont.color for trace in figure.select_traces({"mode": "text"})}
    assert inks == {"themed": charts.TEXT[theme], "strong": "#FFFFFF"}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (None, None),
        ({}, None),
        ({"selection": {"points": []}}, None),
        ({"selection": {"points": [{"x": 1}]}}, None),
        ({"selection": {"points": [{"customdata": ["mel", "nv"]}]}}, ("mel", "nv")),
        ({"selection": {"points": [{"customdata": {"0": "mel", "1": "nv"}}]}}, ("mel", "nv")),
    ],
)
def test_customdata_of_a_selection(event: dict | None, expected: tuple | None) -> None:
    assert selection.customdata_of(event) == expected


def test_every_cell_of_a_runs_matrix_has_as_many_answers(tiny_run) -> None:
    predictions = selection.answer_table(tiny_run.predictions(), pd.DataFrame({"image_id": []}, dtype=str))
    for part in ("validation", "calibration", "test"):
        counts = tiny_run.metrics()[part]["confusion"]["counts"]
        for row, truth in enumerate(CODES):
            for column, said in enumerate(CODES):
                rows = selection.select(predictions, selection.Selection(part, truth=truth, said=said))
                assert len(rows) == counts[row][column]
