"""Charts on trust, from figures made by hand: what is few looks so, and marks lie on their curves."""

import numpy as np
import pandas as pd
import pytest

from core.diagnoses import CODES
from core.evaluation.operating import curves
from dashboard import trust_charts
from dashboard.charts import themed


def bins(accuracies: list[float]) -> list[dict]:
    """Bins of 10, 20, ... images, each with an interval of 0.1 to either side."""
    return [
        {
            "low": place / 4, "high": (place + 1) / 4, "n": 10 * (place + 1), "confidence": (place + 0.5) / 4,
            "accuracy": value, "accuracy_low": value - 0.1, "accuracy_high": value + 0.1,
        }
        for place, value in enumerate(accuracies)
    ]  # fmt: skip


@pytest.fixture
def table() -> pd.DataFrame:
    """The curves of ten lesions, four of them positive."""
    positive = np.array([0, 0, 0, 1, 0, 0, 1, 0, 1, 1], bool)
    return curves(positive, np.arange(1, 11) / 12)


def test_reliability_tells_before_from_after_without_colour() -> None:
    figure = trust_charts.reliability(bins([0.2, 0.3, 0.4, 0.5]), bins([0.1, 0.4, 0.6, 0.9]))
    diagonal, before, after = figure.data
    assert list(diagonal.x) == list(diagonal.y) == [0, 1]
    assert (before.marker.symbol, after.marker.symbol) == ("circle-open", "circle")
    assert list(after.y) == [0.1, 0.4, 0.6, 0.9]
    assert after.error_y.array == pytest.approx([0.1] * 4)
    assert list(after.marker.size) == sorted(after.marker.size)  # the more images, the larger


def test_reliability_of_empty_bins_is_an_empty_chart() -> None:
    assert len(trust_charts.reliability([], []).data) == 3


def test_coverage_is_hollow_where_nothing_is_promised() -> None:
    figure_of = {"value": 0.95, "low": 0.9, "high": 0.99}
    per_class = {
        "mel": {"n": 40, "n_calibration": 30, "promised": True, "coverage": figure_of},
        "df": {"n": 5, "n_calibration": 4, "promised": False, "coverage": figure_of},
        "vasc": {"n": 0, "n_calibration": 4, "promised": False, "coverage": dict.fromkeys(figure_of, float("nan"))},
    }
    figure = trust_charts.coverage(per_class, 0.9)
    dots = [trace for trace in figure.data if trace.mode == "markers"]
    assert {dot.y[0]: dot.marker.symbol for dot in dots} == {"Dermatofibroma": "circle-open", "Melanoma": "circle"}
    assert dots[1].error_x.array[0] == pytest.approx(0.04) and dots[1].error_x.arrayminus[0] == pytest.approx(0.05)
    assert figure.layout.shapes[0].x0 == 0.9  # the level


def test_set_sizes_leave_out_empty_sets_only_where_there_are_none() -> None:
    assert list(trust_charts.set_sizes([0, 3, 1, 0, 0, 0, 0, 0]).data[0].x) == list("1234567")
    bars = trust_charts.set_sizes([1, 3, 0, 0, 0, 0, 0, 0]).data[0]
    assert bars.x[0] == "none" and bars.y[1] == 0.75


def test_the_roc_curve_runs_between_the_corners_with_its_marks_on_it(table: pd.DataFrame) -> None:
    figure = trust_charts.roc(table, stored=0.5, chosen=0.25)
    guessing, curve, stored, chosen = figure.data
    assert (curve.x[0], curve.y[0]) == (1, 1) and (curve.x[-1], curve.y[-1]) == (0, 0)
    on_curve = set(zip(curve.x, curve.y, strict=True))
    assert (stored.x[0], stored.y[0]) in on_curve and (chosen.x[0], chosen.y[0]) in on_curve
    assert (stored.marker.symbol, chosen.marker.symbol) == ("circle-open", "circle")
    assert stored.y[0] == 0.75 and chosen.y[0] == 1.0  # of scores 4, 7, 9 and 10 twelfths
    assert len(trust_charts.roc(table, stored=0.25, chosen=0.25).data) == 3  # the same threshold is marked once


def test_guessing_has_the_prevalence_as_its_ppv(table: pd.DataFrame) -> None:
    guessing, curve = trust_charts.precision_recall(table, 0.4, None, 0.25).data[:2]
    assert list(guessing.y) == [0.4, 0.4]
    assert curve.y[0] == pytest.approx(0.4) and curve.y[-1] == 1


def test_the_decision_curve_compares_with_all_and_none(table: pd.DataFrame) -> None:
    none, everybody, run = trust_charts.decision(table, 0.4, None, 0.25).data[:3]
    assert set(none.y) == {0}
    assert everybody.y[0] == pytest.approx(0.4) and run.y[0] == pytest.approx(0.4)
    crossing = np.interp(0, -np.array(everybody.y), np.array(everybody.x))
    assert crossing == pytest.approx(0.4, abs=0.01)  # flagging all is worth it up to the prevalence


def test_curves_of_one_kind_only_are_no_error() -> None:
    nobody = curves(np.zeros(4, bool), np.arange(4) / 4)
    for draw in (trust_charts.precision_recall, trust_charts.decision):
        draw(nobody, 0.0, 0.5, 0.2)


def test_few_cases_are_hollow_and_say_so() -> None:
    known, unknown = {"value": 0.5, "low": 0.3, "high": 0.7}, dict.fromkeys(("value", "low", "high"))
    groups = {
        "female": {"n": 100, "few": False, "ece": known, "melanoma_sensitivity": {"n": 9, "few": True, **known}},
        "male": {"n": 12, "few": True, "ece": known, "melanoma_sensitivity": {"n": 0, "few": True, **unknown}},
    }
    symbols = {trace.y[0]: trace.marker.symbol for trace in trust_charts.subgroups(groups, "ece").data[::2]}
    assert symbols == {"male (12, few)": "circle-open", "female (100)": "circle"}
    melanoma = trust_charts.subgroups(groups, "melanoma_sensitivity")
    assert [trace.y[0] for trace in melanoma.data if trace.mode == "markers"] == ["female (9, few)"]
    assert melanoma.layout.yaxis.categoryarray[-1] == "female (9, few)"  # the first group is on top


def test_small_calibration_errors_fill_their_axis() -> None:
    small = {"value": 0.04, "low": 0.0, "high": 0.07}
    figure = trust_charts.subgroups({"female": {"n": 100, "few": False, "ece": small}}, "ece")
    assert figure.layout.xaxis.range[1] < 0.2


def test_strange_images_are_hatched() -> None:
    bars = trust_charts.strangeness(np.r_[np.zeros(50), np.full(3, 10.0)], threshold=5).data[0]
    assert sum(bars.y) == 53
    hatched = [y for y, pattern in zip(bars.y, bars.marker.pattern.shape, strict=True) if pattern]
    assert sum(hatched) == 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_chart_takes_the_ink_of_the_page(theme: str, table: pd.DataFrame) -> None:
    sure = {"value": 1.0, "low": 0.2, "high": 1.0}
    per_class = {code: {"n": 1, "n_calibration": 1, "promised": True, "coverage": sure} for code in CODES}
    for figure in (
        trust_charts.coverage(per_class, 0.9),
        trust_charts.roc(table, 0.5, 0.25),
        trust_charts.strangeness(np.arange(9.0), 5),
    ):
        ink = themed(figure, theme).layout.font.color
        assert figure.layout.xaxis.tickfont.color == ink
