"""What somebody typed does not become a formula in somebody else's spreadsheet."""

import io

import pandas as pd

from dashboard.findings import as_csv
from dashboard.spreadsheet import without_formulas


def test_texts_are_made_harmless_and_figures_stay():
    table = pd.DataFrame(
        {"comment": ["=HYPERLINK(1)", "-", None, "mole"], "share": [-0.5, 1.0, 2.0, 3.0], "n": [-1, 2, 3, 4]}
    )
    harmless = without_formulas(table)
    assert harmless["comment"].fillna("").tolist() == ["'=HYPERLINK(1)", "'-", "", "mole"]
    pd.testing.assert_frame_equal(harmless[["share", "n"]], table[["share", "n"]])
    assert table["comment"][0] == "=HYPERLINK(1)"


def test_a_table_of_the_dashboard_is_harmless():
    taken = pd.read_csv(io.BytesIO(as_csv(pd.DataFrame({"dx": ["mel"], "comment": ["@SUM(A1)"]}), False)))
    assert taken["comment"][0] == "'@SUM(A1)"
