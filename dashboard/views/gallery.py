"""A run's answers beside their images: any selection of them, the wrong ones first, with what each rests on."""

import math
from typing import Any

import pandas as pd
import streamlit as st

from core.diagnoses import CODES
from core.errors import DermLensError
from core.evaluation.subgroups import NAMES, members
from core.runs.run import Run
from dashboard import charts, findings, gallery_table, loaders, picked, selection, widgets
from dashboard.gallery_details import details
from dashboard.picked import Picked
from dashboard.selection import AGREED, ALL, ALL_PARTS, AS_PICKED, EXTERNAL, ORDERS, RIGHT, SURE, WRONG, Selection
from dashboard.widgets import PARTS, percent

ON_A_PAGE = 12
IMAGES, PAIRS, EVERY_RUN = "Images", "Confused pairs", "Wrong in every run"
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
    if view == PAIRS:
        pairs(gallery_table.answers(run))
    elif view == EVERY_RUN:
        every_run(run, gallery_table.answers(run))
    else:
        images(run)


# ---- the gallery -------------------------------------------------------------------------------


def images(run: Run) -> None:
    """The images that all filters leave."""
    pick = the_pick()
    table, asked = filters(run, pick)
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
    parts = [*present, ALL_PARTS, *(f"{EXTERNAL}{name}" for name in run.evaluations())]
    with st.container(horizontal=True, gap="medium"):
        which = st.segmented_control("Answers", [WRONG, RIGHT, ALL], default=ALL if pick else WRONG, required=True,
                                     key="answers", **keep)  # fmt: skip
        part = st.segmented_control(
            "Part of the split", parts, default=ALL_PARTS if pick else parts[0], required=True, key="part",
            format_func=widgets.part_label, **keep,
        ) or parts[0]  # fmt: skip
    if part.startswith(EXTERNAL):
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


def take_away(run: Run, rows: pd.DataFrame, pick: Picked | None, asked: Selection, paths: dict[str, str]) -> None:
    """Save the selection, and take it away as a table or as pictures."""
    with st.popover("Selections", icon=":material/bookmark:"):
        name = st.text_input("Save these images under a name", key=f"save_as_{pick.token if pick else ''}")
        if st.button("Save", icon=":material/bookmark_add:", key="save_selection", disabled=not name.strip()):
            whole = pick and len(rows) == len(pick.image_ids)
            saved = pick if pick and whole else picked.keep(in_words(asked, pick), rows["image_id"])
            picked.save(saved, name)
            show(saved)
        for saved in picked.named():
            with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
                if st.button(saved.label, key=f"open_pick_{saved.token}", type="tertiary", help=saved.title):
                    show(saved)
                if st.button("", icon=":material/delete:", key=f"drop_pick_{saved.token}", type="tertiary",
                             help=f"Forget the name {saved.name}"):  # fmt: skip
                    picked.save(saved, "")
                    st.rerun()
    st.download_button(
        "CSV", lambda: findings.as_csv(rows), f"{run.id}-selection-research-only.csv", "text/csv",
        icon=":material/table:", key="export_csv", help=f"The {len(rows):,} answers as a table", on_click="ignore",
    )  # fmt: skip
    most = gallery_table.MOST_EXPORTED
    first = f"the first {most} images" if len(rows) > most else "the images"
    st.download_button(
        "Pictures", lambda: gallery_table.as_zip(run, rows, paths), f"{run.id}-selection-research-only.zip",
        "application/zip", icon=":material/folder_zip:", key="export_zip", on_click="ignore",
        help=f"A zip of {first}, each with the heatmap of its answer, and of the table",
    )  # fmt: skip


def in_words(asked: Selection, pick: Picked | None) -> str:
    """What a selection holds, for people."""
    parts = [pick.title] if pick else []
    parts += [f"{asked.which.lower()} answers"] if asked.which != ALL else []
    parts += [f"truth {charts.name_of(asked.truth)}"] if asked.truth else []
    parts += [f"called {charts.name_of(asked.said)}"] if asked.said else []
    parts += [f"{NAMES[by]} {group}" for by, group in asked.groups.items()]
    parts += [f"{PARTS[asked.part].lower()} images"] if asked.part in PARTS else []
    parts += [asked.part] if asked.part.startswith(EXTERNAL) else []
    return ", ".join(parts) or "all images"


# ---- a pick ------------------------------------------------------------------------------------


def the_pick() -> Picked | None:
    """The images that the address names, if it names any."""
    token = st.query_params.get("picked")
    found = picked.find(token) if token else None
    if token and found is None:
        st.warning("The images of this address are not kept any more. All are shown.", icon=":material/link_off:")
    return found


def show(pick: Picked) -> None:
    """Show picked images on this page, with the filters as they are."""
    st.query_params["picked"] = pick.token
    st.rerun()


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
    lines = [f"{mark} **{charts.name_of(row.predicted)}** {percent(row.confidence, 0)}"]
    if not right:
        lines.append(f"Truth: **{charts.name_of(row.dx)}** {percent(row.confidence_in_truth, 0)}")
    likely = max(CODES, key=lambda code: getattr(row, f"p_{code}"))
    if likely != row.predicted:  # the answer weighs all seven alike; probabilities hold for these images
        lines.append(f"Most probable: **{charts.name_of(likely)}** {percent(getattr(row, f'p_{likely}'), 0)}")
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
        pictures = loaders.overlays(run, [(path, code) for path, code, _ in waiting])
    except DermLensError as error:
        for _, _, place in waiting:
            place.empty()
        st.warning(f"Heatmaps cannot be shown. {error}", icon=":material/blur_off:")
        return
    for (_, code, place), picture in zip(waiting, pictures, strict=True):
        name = charts.SHORT[code].replace("-<br>", "").replace("<br>", " ")
        place.image(picture, caption=name, width="stretch", alt=f"Heatmap of {charts.name_of(code)}")


# ---- the other views ---------------------------------------------------------------------------


def pairs(table: pd.DataFrame) -> None:
    """Which diagnosis is taken for which, most often; a row opens its images."""
    test = table[table["split"] == "test"]
    found = selection.confused_pairs(test)
    if found.empty:
        st.info("No test image is taken for another diagnosis.", icon=":material/check:")
        return
    st.caption("On the test images. Choose a row to see its images.")
    shown = pd.DataFrame(
        {
            "Truth": found["dx"].map(charts.name_of),
            "Taken for": found["predicted"].map(charts.name_of),
            "Images": found["images"],
            "Share of the true diagnosis": 100 * found["share"],
        }
    )
    share = st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100)

    def chosen() -> None:
        for place in st.session_state["confused_pairs"].selection.rows:
            names = {
                name: charts.name_of(found[column][place]) for name, column in (("truth", "dx"), ("said", "predicted"))
            }
            st.session_state.update(view=IMAGES, part="test", answers=ALL, **names)

    st.dataframe(
        shown, hide_index=True, on_select=chosen, selection_mode="single-row", key="confused_pairs",
        column_config={"Share of the true diagnosis": share},
    )  # fmt: skip


def every_run(run: Run, table: pd.DataFrame) -> None:
    """Test images that every comparable run gets wrong: hard cases, or wrong labels."""
    runs = gallery_table.comparable(run)
    if len(runs) < 2:
        st.info(
            "There is only one finished run with this split. Train another one on the same images, with the same seed, "
            "and what both get wrong stands here.",
            icon=":material/compare:",
        )
        return
    wrong = table[table["wrong_runs"] == table["runs"]]
    of = f"{len(runs):,} runs that were tested on the same images"
    if wrong.empty:
        st.info(f"No image is wrong in all of the {of}.", icon=":material/check:")
        return
    st.markdown(
        f"**{len(wrong):,} test images** are wrong in all of the {of}: hard cases, or labels worth a second look."
    )
    widgets.chart(
        charts.class_bars(wrong["dx"], log=False), "every_run_codes", "Images that every run gets wrong, by diagnosis"
    )

    def see() -> None:
        st.query_params["picked"] = picked.keep(f"Wrong in all of {len(runs)} runs", wrong["image_id"]).token
        st.session_state.update(view=IMAGES, part=ALL_PARTS, answers=ALL, order=AGREED)

    st.button("See them", icon=":material/photo_library:", key="every_run_open", type="primary", on_click=see)


widgets.page(
    "Gallery",
    "Images beside what their answer rests on: heatmaps of the diagnosis that the model gave and of the true one. All "
    "heatmaps of a run have the same colour scale.",
    body,
)
