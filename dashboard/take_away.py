"""What can be done with the images of the gallery: save them under a name, take them away as a table or as pictures."""

import pandas as pd
import streamlit as st

from core.evaluation.groups import NAMES
from core.runs.run import Run
from dashboard import charts, findings, gallery_table, picked
from dashboard.picked import Picked
from dashboard.selection import ALL, Selection, evaluation_of
from dashboard.widgets import PARTS


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
        "CSV", lambda: findings.as_csv(rows, run.synthetic), f"{run.id}-selection-research-only.csv", "text/csv",
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
    parts += [asked.part] if evaluation_of(asked.part) else []
    return ", ".join(parts) or "all images"


def show(pick: Picked) -> None:
    """Show picked images on this page, with the filters as they are."""
    st.query_params["picked"] = pick.token
    st.rerun()
