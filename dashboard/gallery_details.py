"""One answer of the gallery in full: its confidences, the same lesion's other images, and training images like it."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.diagnoses import CODES
from core.evaluation.groups import NAMES
from core.runs.run import Run
from dashboard import charts, gallery_table, loaders, widgets
from dashboard.widgets import PARTS


@st.dialog("Details", width="large")
def details(run: Run, row: Any, table: pd.DataFrame, paths: dict[str, str]) -> None:
    """A dialog on one row of the gallery's table.

    Args:
        run: that answered.
        row: of the table.
        table: of `gallery_table.answers`: where the lesion's other images are.
        paths: image_id -> where the image lies.
    """
    left, right = st.columns([2, 3])
    with left:
        widgets.picture(paths.get(row.image_id))
        known = {"Image": row.image_id, "Lesion": row.lesion_id, "Part of the split": PARTS.get(row.split, row.split)}
        for name in gallery_table.DETAILS:
            value = getattr(row, name, None)
            if value is not None and not pd.isna(value) and value != "":
                known[NAMES[name].capitalize()] = f"{value:.0f}" if name == "age" else value
        st.markdown("  \n".join(f"{name}: **{value}**" for name, value in known.items()))
    with right:
        probabilities = np.array([getattr(row, f"p_{code}") for code in CODES])
        widgets.chart(charts.probability_bars(probabilities, row.dx), "details_bars", "Confidence in each diagnosis")
    same_lesion(row, table, paths)
    if row.split in PARTS:  # of an image from elsewhere the run keeps no features
        alike(run, row)


def same_lesion(row: Any, table: pd.DataFrame, paths: dict[str, str]) -> None:
    """The other photographs of this lesion, with what the run says of them."""
    st.markdown("**Other images of the same lesion**")
    others = table[(table["lesion_id"] == row.lesion_id) & (table["image_id"] != row.image_id)]
    if others.empty:
        st.caption("There are none.")
        return
    widgets.image_grid(
        [
            (f"{other.image_id}: called {charts.name_of(other.predicted)}, {charts.probability(other.confidence)}",
             paths.get(other.image_id))
            for other in others.itertuples()
        ]
    )  # fmt: skip


def alike(run: Run, row: Any) -> None:
    """The training images that the network sees as most alike."""
    st.markdown("**Training images of other lesions that the network sees as most alike**")
    found = gallery_table.nearest(run, row.image_id)
    if found.empty:
        st.caption("This run keeps no features: an older DermLens trained it.")
        return
    paths = loaders.image_paths(widgets.dataset_of(run))
    widgets.image_grid(
        [
            (f"{charts.name_of(str(other.dx))} ({other.similarity:.2f})", paths.get(str(other.image_id)))
            for other in found.itertuples()
        ]
    )
    st.caption("In brackets: cosine similarity of what the network makes of them; 1 is equal.")
