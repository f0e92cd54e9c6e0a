"""The gallery's other views: which diagnosis is taken for which, and what every run gets wrong."""

import pandas as pd
import streamlit as st

from core.runs.run import Run
from dashboard import charts, gallery_table, picked, selection, widgets
from dashboard.selection import ALL, ALL_PARTS

IMAGES, PAIRS, EVERY_RUN = "Images", "Confused pairs", "Wrong in every run"


def ask(filters: dict[str, str]) -> None:
    """Show the images that these filters leave: a callback. All the filters are on the page already.

    Streamlit writes a value that a program sets into the address only if its widget was there before.
    """
    st.session_state.update({"view": IMAGES, "page": 1} | filters)


def confused_pairs(table: pd.DataFrame) -> None:
    """Which diagnosis is taken for which, most often; a row opens its images.

    Args:
        table: the answers that the filters leave, right and wrong.
    """
    found = selection.confused_pairs(table)
    if found.empty:
        st.info("None of these images is taken for another diagnosis.", icon=":material/check:")
        return
    st.caption(f"Of {len(table):,} images that the filters leave, right answers included. Choose a row to see its own.")
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
            truth, said = (charts.name_of(found[column][place]) for column in ("dx", "predicted"))
            ask({"answers": ALL, "truth": truth, "said": said})

    st.dataframe(
        shown, hide_index=True, on_select=chosen, selection_mode="single-row", key="confused_pairs",
        column_config={"Share of the true diagnosis": share},
    )  # fmt: skip


def wrong_in_every_run(run: Run, table: pd.DataFrame) -> None:
    """Test images that every comparable run gets wrong: hard cases, or wrong labels.

    Args:
        run: whose gallery it is.
        table: the answers that the filters leave.
    """
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
        ask({"part": ALL_PARTS, "answers": ALL})

    st.button("See them", icon=":material/photo_library:", key="every_run_open", type="primary", on_click=see)
