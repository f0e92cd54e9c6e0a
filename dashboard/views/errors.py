"""A gallery of a run's answers: the wrong ones first, with what each rests on."""

import math
from typing import Any

import pandas as pd
import streamlit as st

from core.errors import DermLensError
from core.runs.run import Run
from dashboard import charts, loaders, selection, widgets
from dashboard.selection import ALL, RIGHT, SURE, UNSURE, WRONG
from dashboard.widgets import PARTS, percent

ON_A_PAGE = 12
Waiting = tuple[str, str, Any]  # path, code to explain, the place of its picture


def body(run: Run) -> None:
    """Filters, then a page of cards."""
    loaders.manifest(run)
    predictions = loaders.predictions(run)
    if predictions.empty:
        widgets.not_yet(run, "predictions")
        return
    rows = filtered(predictions)
    if rows.empty:
        st.info("No answer fits these filters.", icon=":material/filter_alt_off:")
        return
    start = (current_page(len(rows)) - 1) * ON_A_PAGE
    shown = rows.iloc[start : start + ON_A_PAGE]
    number = "1 image" if len(rows) == 1 else f"{len(rows):,} images"
    st.markdown(f"**{number}**" + (f", {start + 1:,} to {start + len(shown):,} shown" if len(rows) > ON_A_PAGE else ""))
    gallery(run, shown)
    pages = math.ceil(len(rows) / ON_A_PAGE)
    if pages > 1:
        st.pagination(pages, key="errors_page", persist_state="session")


def first_page() -> None:
    """Other filters, other images: begin at the first page."""
    st.session_state["errors_page"] = 1


def current_page(rows: int) -> int:
    """The page to show; the first one where there are fewer pages than before."""
    if st.session_state.get("errors_page", 1) > math.ceil(rows / ON_A_PAGE):
        first_page()
    return st.session_state.get("errors_page", 1)


def filtered(predictions: pd.DataFrame) -> pd.DataFrame:
    """The answers that the filters leave."""
    keep: dict[str, Any] = {"on_change": first_page, "persist_state": "session"}
    present = [part for part in PARTS if (predictions["split"] == part).any()]
    st.session_state.setdefault("errors_which", WRONG)
    if st.session_state.get("errors_part") not in present:
        st.session_state["errors_part"] = present[0]
    with st.container(horizontal=True, gap="medium"):
        which = st.segmented_control("Answers", [WRONG, RIGHT, ALL], required=True, key="errors_which", **keep)
        part = st.segmented_control(
            "Images", present, format_func=lambda part: PARTS[part], required=True, key="errors_part", **keep
        )
    truth_column, said_column, order_column = st.columns(3)
    with truth_column:
        truth = widgets.diagnosis_filter("Truth", "errors_truth", first_page)
    with said_column:
        said = widgets.diagnosis_filter("The model said", "errors_said", first_page)
    with order_column:
        order = st.selectbox("Order", [SURE, UNSURE], key="errors_order", **keep)
    return selection.select_answers(predictions, part or present[0], truth, said, which or WRONG, order)


def gallery(run: Run, rows: pd.DataFrame) -> None:
    """The cards at once, their heatmaps as soon as the model has answered."""
    gone = "The folder of the images is not there any more: only the answers can be shown."
    paths = loaders.image_paths(widgets.dataset_of(run, gone))
    waiting: list[Waiting] = []
    answers: list[Any] = list(rows.itertuples())
    with st.grid(4, min_column_width=250) as grid:
        for row in answers:
            with grid.cell(), st.container(border=True, height="stretch", key=f"card_{row.image_id}"):
                path = paths.get(row.image_id)
                left, right = st.columns(2, gap="xxsmall", wrap=False)
                with left:
                    widgets.picture(path)
                if path:
                    with right:
                        waiting.append((path, row.predicted, st.empty()))
                words(row)
    if waiting:
        heatmaps(run, waiting)


def words(row: Any) -> None:
    """Truth and answer with their confidences, and the way to the whole story."""
    right = row.dx == row.predicted
    mark = ":green[:material/check:]" if right else ":red[:material/close:]"
    lines = [f"{mark} **{charts.name_of(row.predicted)}** {percent(row.confidence, 0)}"]
    if not right:
        lines.append(f"Truth: **{charts.name_of(row.dx)}** {percent(row.confidence_in_truth, 0)}")
    st.markdown("  \n".join(lines))
    if st.button(row.image_id, icon=":material/center_focus_strong:", type="tertiary", key=f"open_{row.image_id}",
                 help="See the heatmaps of all seven diagnoses"):  # fmt: skip
        widgets.open_explanation(row.image_id)


def heatmaps(run: Run, waiting: list[Waiting]) -> None:
    """Fill the places beside the images, all from one pass of the model."""
    for _, _, place in waiting:
        place.caption("Heatmap…")
    try:
        pictures = loaders.overlays(run, [(path, code) for path, code, _ in waiting])
    except DermLensError as error:
        for _, _, place in waiting:
            place.empty()
        st.warning(f"Heatmaps cannot be shown. {error}", icon=":material/blur_off:")
        return
    for (_, code, place), picture in zip(waiting, pictures, strict=True):
        place.image(picture, width="stretch", alt=f"Heatmap of {charts.name_of(code)}")


widgets.page(
    "Errors",
    "Images beside what the answer rests on: the heatmap of the diagnosis that the model gave. All heatmaps of a run "
    "have the same colour scale.",
    body,
)
