"""From a click or a filter to the rows behind it; pure."""

from typing import Any

import numpy as np
import pandas as pd

from core.diagnoses import CODES

WRONG, RIGHT, ALL = "Wrong", "Right", "All"
SURE, UNSURE = "Most confident first", "Least confident first"


def customdata_of(event: Any) -> tuple[str, ...] | None:
    """What the first selected point of a chart carries; None where nothing is selected.

    Args:
        event: what `st.plotly_chart(..., on_select="rerun")` returns.
    """
    points = (event or {}).get("selection", {}).get("points", [])
    data = next((point["customdata"] for point in points if point.get("customdata")), None)
    if data is None:
        return None
    return tuple(data.values()) if isinstance(data, dict) else tuple(data)


def select_answers(
    predictions: pd.DataFrame, part: str, truth: str | None, said: str | None, which: str, order: str
) -> pd.DataFrame:
    """The answers of a gallery, with the confidence in the answer and in the truth.

    Args:
        predictions: as `Run.predictions` gives them.
        part: of the split.
        truth, said: only this true, or predicted, diagnosis; None for all.
        which: `WRONG`, `RIGHT` or `ALL`.
        order: `SURE` or `UNSURE`.

    Returns:
        image_id, dx, predicted, confidence, confidence_in_truth.
    """
    rows = predictions[predictions["split"] == part]
    if truth:
        rows = rows[rows["dx"] == truth]
    if said:
        rows = rows[rows["predicted"] == said]
    if which != ALL:
        rows = rows[(rows["dx"] == rows["predicted"]) == (which == RIGHT)]
    probabilities = rows.reindex(columns=[f"p_{code}" for code in CODES]).to_numpy(float)
    at = np.arange(len(rows))
    rows = rows[["image_id", "dx", "predicted"]].assign(
        confidence=probabilities[at, _places(rows["predicted"])],
        confidence_in_truth=probabilities[at, _places(rows["dx"])],
    )
    return rows.sort_values(["confidence", "image_id"], ascending=[order == UNSURE, True]).reset_index(drop=True)


def _places(codes: pd.Series) -> np.ndarray:
    return np.array([CODES.index(code) for code in codes], int)
