"""The evaluation page on what others have reached, beside the chosen run."""

from typing import Any

import pandas as pd
import streamlit as st

from core.diagnoses import CODES
from core.evaluation.published import PUBLISHED
from dashboard.widgets import percent

COMPARED = {"balanced_accuracy": "Balanced accuracy", "macro_auc": "Macro AUC", "accuracy": "Accuracy"}


def published(figures: dict[str, Any]) -> None:
    """Published figures, each with its split, beside those of a run that learned from photographs.

    Args:
        figures: of the run's test part, as in `metrics.json`.
    """
    fair = [other.balanced_accuracy for other in PUBLISHED if other.by_lesion and other.balanced_accuracy]
    least, most = percent(min(fair), 0), percent(max(fair), 0)
    st.caption(
        f"To compare: always answering “nevus” has a balanced accuracy of {percent(1 / len(CODES), 0)}; published "
        f"networks, tested on lesions that they had not learned, {least} to {most}."
    )
    with st.expander("Published figures, and the split of each", on_change="rerun") as opened:
        if opened.open:
            st.table(as_table(figures), border="horizontal", hide_index=True)
            st.caption("Other images, another split or another seed moves each figure by some points.")


def as_table(figures: dict[str, Any]) -> pd.DataFrame:
    """The run, always "nevus", and what others have published; words for people."""
    n = figures.get("n", 0)
    run = {name: (figures.get(key) or {}).get("value") for key, name in COMPARED.items()}
    nevus = dict(zip(COMPARED.values(), (1 / len(CODES), 0.5, figures.get("always_nevus_accuracy")), strict=True))
    rows: list[dict[str, Any]] = [
        {"Model": "**This run**", "Split": "by lesion; test, looked at once", **run, "Images": n, "Source": ""},
        {"Model": "Always “nevus”", "Split": "the same images", **nevus, "Images": n, "Source": ""},
    ]
    rows += [
        {
            "Model": other.model,
            "Split": other.split,
            **{name: getattr(other, key) for key, name in COMPARED.items()},
            "Images": other.images,
            "Source": f"[open]({other.source})" if other.source else "",
        }
        for other in PUBLISHED
    ]
    for row in rows:
        row |= {name: percent(row[name]) for name in COMPARED.values()}
        row["Images"] = "–" if row["Images"] is None else f"{row['Images']:,}"
    return pd.DataFrame(rows)
