"""A run's answers beside their images: any selection of them, the wrong ones first, with what each rests on."""

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from core.diagnoses import CODES
from core.errors import DermLensError
from core.evaluation.groups import NAMES, members
from core.runs.run import Run
from dashboard import charts, gallery_table, loaders, models, picked, selection, widgets
from dashboard.gallery_details import details
from dashboard.mistake_sections import EVERY_RUN, IMAGES, PAIRS, confused_pairs, wrong_in_every_run
from dashboard.picked import Picked
from dashboard.selection import (
    ALL,
    ALL_PARTS,
    AS_PICKED,
    EXTERNAL,
    ORDERS,
    RIGHT,
    SURE,
    WRONG,
    Selection,
    evaluation_of,
)
from dashboard.take_away import take_away
from dashboard.widgets import PARTS

ON_A_PAGE = 12
Waiting = tuple[str, str, Any]  # path, code to explain, the place of its picture


def body(run: Run) -> None:
    """Filters, then a page of cards; every choice stands in the address."""
    loaders.manifest(run)
    if loaders.predictions(run).empty:
        widgets.not_yet(run, "predictions")
        return
    view = st.segmented_control(
        "View", [IMAGES, PAIRS, EVERY_RUN], default=IMAGES, required=True, key="view", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    pick = the_pick()
    table, asked = filters(run, pick)
    if view == PAIRS:
        confused_pairs(selection.select(table, replace(asked, which=ALL)))
    elif view == EVERY_RUN:
        wrong_in_every_run(run, selection.select(table, replace(asked, which=WRONG)))
    else:
        images(run, pick, table, asked)


# ---- the gallery -------------------------------------------------------------------------------


def images(run: Run, pick: Picked | None, table: pd.DataFrame, asked: Selection) -> None:
    """The images that all filters leave."""
    rows = selection.select(table, asked)
    if pick:
        about(pick, asked, len(rows))
    if rows.empty:
        st.info("No answer fits these filters.", icon=":material/filter_alt_off:")
        return
    pages = math.ceil(len(rows) / ON_A_PAGE)
    start = (current_page(pages) - 1) * ON_A_PAGE
    shown = rows.iloc[start : start + ON_A_PAGE]
    gone = "The folder of the images is not there any more: only the answers can be shown."
    paths = loaders.image_paths(widgets.dataset_of(run, gone, asked.part))
    number = "1 image" if len(rows) == 1 else f"{len(rows):,} images"
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(
            f"**{number}**" + (f", {start + 1:,} to {start + len(shown):,} shown" if pages > 1 else ""), width="content"
        )
        with st.container(horizontal=True, gap="xsmall", width="content"):
            take_away(run, rows, pick, asked, paths)
    cards(run, shown, table, paths, asked.part)
    if pages > 1:
        st.pagination(pages, key="page", bind="query-params")


def filters(run: Run, pick: Picked | None) -> tuple[pd.DataFrame, Selection]:
    """The answers that are looked at, and what the reader asks of them."""
    keep: dict[str, Any] = {"on_change": first_page, "bind": "query-params"}
    table = gallery_table.answers(run)
    present = [part for part in PARTS if (table["split"] == part).any()]
    parts = [*present, ALL_PARTS, *(f"{EXTERNAL}{name}" for name in loaders.evaluations(run))]
    with st.container(horizontal=True, gap="medium"):
        which = st.segmented_control("Answers", [WRONG, RIGHT, ALL], default=ALL if pick else WRONG, required=True,
                                     key="answers", **keep)  # fmt: skip
        part = st.segmented_control(
            "Part of the split", parts, default=ALL_PARTS if pick else parts[0], required=True, key="part",
            format_func=widgets.part_label, **keep,
        ) or parts[0]  # fmt: skip
    if evaluation_of(part):
        table = gallery_table.answers(run, part)
    with st.grid(4, min_column_width=200, vertical_alignment="bottom") as grid:
        with grid.cell():
            truth = diagnosis("Truth", "truth", keep)
        with grid.cell():
            said = diagnosis("The model said", "said", keep)
        with grid.cell():
            orders = [AS_PICKED, *ORDERS] if pick else list(ORDERS)
            order = st.selectbox("Order", orders, key="order", **keep)
        with grid.cell():
            groups = patients(table, keep)
    return table, Selection(part, which or ALL, truth, said, groups, pick.image_ids if pick else None, order or SURE)


def diagnosis(label: str, key: str, keep: dict[str, Any]) -> str | None:
    """A choice among the seven diagnoses; None for all of them."""
    name = st.selectbox(label, ["All diagnoses", *map(charts.name_of, CODES)], key=key, **keep)
    return next((code for code in CODES if charts.name_of(code) == name), None)


def patients(table: pd.DataFrame, keep: dict[str, Any]) -> dict[str, str]:
    """Filters on who and where, in a popover that says how many are set."""
    groups = members(table)
    chosen = [by for by in groups if st.query_params.get(by)]
    label = f"Patients ({len(chosen)})" if chosen else "Patients"
    asked = {}
    with st.popover(label, icon=":material/filter_alt:", width="stretch"):
        for by, rows_of in groups.items():
            options = ["all", *rows_of]
            name = st.selectbox(NAMES[by].capitalize(), options, key=by, **keep)
            if name in rows_of:
                asked[by] = name
        if not groups:
            st.caption("Nothing is known of the patients: the folder of the images is not there any more.")
    return asked


def first_page() -> None:
    """Other filters, other images: begin at the first page."""
    st.session_state["page"] = 1


def current_page(pages: int) -> int:
    """The page to show; the first one where there are fewer pages than before."""
    asked = str(st.session_state.get("page") or st.query_params.get("page"))
    page = int(asked) if asked.isdigit() else 1
    if not 1 <= page <= pages:
        first_page()
        return 1
    return page


# ---- a pick ------------------------------------------------------------------------------------


def the_pick() -> Picked | None:
    """The images that the address names, if it names any."""
    token = st.query_params.get("picked")
    found = picked.find(token) if token else None
    if token and found is None:
        st.warning("The images of this address are not kept any more. All are shown.", icon=":material/link_off:")
    return found


def about(pick: Picked, asked: Selection, shown: int) -> None:
    """What was picked, and the way out of it."""
    total = len(pick.image_ids)
    left = "" if shown == total else f" The filters leave {shown:,} of them."
    title = f"**{pick.name}:** {pick.title}" if pick.name else f"**{pick.title}**"
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/ads_click: {title}: {total:,} image{'' if total == 1 else 's'}.{left}")
        if st.button("Show all images again", icon=":material/close:", key="drop_pick"):
            del st.query_params["picked"]
            st.rerun()


# ---- cards -------------------------------------------------------------------------------------


def cards(run: Run, rows: pd.DataFrame, table: pd.DataFrame, paths: dict[str, str], part: str) -> None:
    """The cards at once, their heatmaps as soon as the model has answered.

    Args:
        run: that answered.
        rows: of the table; one card each.
        table: of `gallery_table.answers`.
        paths: image_id -> where the image lies.
        part: that is looked at.
    """
    waiting: list[Waiting] = []
    answers: list[Any] = list(rows.itertuples())
    with st.grid(3, min_column_width=330) as grid:
        for row in answers:
            with grid.cell(), st.container(border=True, height="stretch", key=f"card_{row.image_id}"):
                path = paths.get(row.image_id)
                explained = list(dict.fromkeys((row.predicted, row.dx)))
                places = st.columns(3, gap="xxsmall", wrap=False)
                with places[0]:
                    widgets.picture(path)
                if path:
                    for code, column in zip(explained, places[1:], strict=False):
                        with column:
                            waiting.append((path, code, st.empty()))
                words(row)
                ways_on(run, row, table, paths, part)
    if waiting:
        heatmaps(run, waiting)


def words(row: Any) -> None:
    """Truth and answer with their confidences, and whose lesion it is."""
    right = row.dx == row.predicted
    mark = ":green[:material/check:]" if right else ":red[:material/close:]"
    lines = [f"{mark} **{charts.name_of(row.predicted)}** {charts.probability(row.confidence)}"]
    if not right:
        lines.append(f"Truth: **{charts.name_of(row.dx)}** {charts.probability(row.confidence_in_truth)}")
    likely = max(CODES, key=lambda code: getattr(row, f"p_{code}"))
    if likely != row.predicted:  # the answer weighs all seven alike; probabilities hold for these images
        lines.append(f"Most probable: **{charts.name_of(likely)}** {charts.probability(getattr(row, f'p_{likely}'))}")
    lines.append(f":small[{who(row)}]")
    st.markdown("  \n".join(lines))


def ways_on(run: Run, row: Any, table: pd.DataFrame, paths: dict[str, str], part: str) -> None:
    """The ways from a card to the whole story; see `cards`."""
    with st.container(horizontal=True, gap="small"):
        if st.button(row.image_id, icon=":material/center_focus_strong:", type="tertiary", key=f"open_{row.image_id}",
                     help="See the heatmaps of all seven diagnoses"):  # fmt: skip
            widgets.open_explanation(row.image_id, part)
        if st.button("Details", icon=":material/info:", type="tertiary", key=f"details_{row.image_id}",
                     help="The same lesion's other images, and training images like it"):  # fmt: skip
            details(run, row, table, paths)


def who(row: Any) -> str:
    """Age, sex, site and part of the split in one line; what is unknown is left out."""
    age = getattr(row, "age", None)
    known = [f"{age:.0f} years"] if age is not None and not pd.isna(age) else []
    for name in ("sex", "localization"):
        value = getattr(row, name, None)
        known += [value] if isinstance(value, str) and value not in ("", "unknown") else []
    runs, wrong = getattr(row, "runs", None), getattr(row, "wrong_runs", None)
    if runs is not None and runs > 1:
        known.append(f"{wrong:.0f} of {runs:.0f} runs wrong")
    return " · ".join([*known, PARTS.get(row.split, row.split)])


def heatmaps(run: Run, waiting: list[Waiting]) -> None:
    """Fill the places beside the images, all from one pass of the model."""
    for _, _, place in waiting:
        place.caption("Heatmap…")
    try:
        pictures = models.overlays(run, [(path, code) for path, code, _ in waiting])
    except DermLensError as error:
        for _, _, place in waiting:
            place.empty()
        st.warning(f"Heatmaps cannot be shown. {error}", icon=":material/blur_off:")
        return
    for (_, code, place), picture in zip(waiting, pictures, strict=True):
        name = charts.SHORT[code].replace("-<br>", "").replace("<br>", " ")
        place.image(picture, caption=name, width="stretch", alt=f"Heatmap of {charts.name_of(code)}")


widgets.page(
    "Gallery",
    "Images beside what their answer rests on: heatmaps of the diagnosis that the model gave and of the true one. All "
    "heatmaps of a run have the same colour scale.",
    body,
)
