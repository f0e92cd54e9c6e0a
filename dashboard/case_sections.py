"""The sections of the page Cases: the cases one by one, the agreement, and the way back into training."""

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.cases import agreement
from core.cases.agreement import Agreement, Change, agreements, changes, counted
from core.cases.case import COMMENT_LENGTH, Case
from core.cases.handover import DRAWN, HandOver, hand_over
from core.cases.log import CaseLog
from core.data.images import as_jpeg, at_most, read_image
from core.diagnoses import CODES, FEW, SYNTHETIC_NOTICE
from core.errors import DermLensError
from core.places import confirmed_cases_folder
from core.runs.run import Run
from dashboard import charts, findings, loaders, models, widgets
from dashboard.charts import name_of
from dashboard.widgets import Tile, percent

LIST, AGREEMENT, HAND_OVER = "Cases", "Agreement", "Hand over"
CONFIRMED, OPEN = "With histology", "Without"
CHOSEN = "cases_chosen"
OPENED = "cases_opened"  # the case on the page, and the form and its values as they were drawn last
COMPARED = {
    agreement.MODEL: ("Model", "The model's answer against the histology."),
    agreement.MODEL_ALL: ("Model, all", "Against the histology, or the reader's diagnosis where there is none yet."),
    agreement.BEFORE: ("Reader before", "The reader's own impression, before the model's answer, against histology."),
    agreement.AFTER: ("Reader after", "The reader's diagnosis, after the model's answer, against histology."),
}
DIRECTIONS = {
    agreement.CHANGED: ("Changed the mind", "cases with both"),
    agreement.TO_MODEL: ("To the model's answer", "changes"),
    agreement.TOWARDS: ("Towards the truth", "changes with histology"),
    agreement.AWAY: ("Away from it", "changes with histology"),
    agreement.BETWEEN: ("Wrong both times", "changes with histology"),
}


def empty() -> None:
    """What to do while nothing was kept."""
    st.info(
        "**No case was kept yet.** Give an image on the clinician's page, wait for the answer, and press **Keep this "
        "case** below it. Once histology is known, enter it here: then this page says how reader and model agree "
        "with it, and the case can be learned from.",
        icon=":material/inventory_2:",
    )
    st.code("python -m dashboard", language="bash")
    st.caption("starts both pages and says where they are.")


# ---- one by one --------------------------------------------------------------------------------


def cases(log: CaseLog, table: pd.DataFrame, run: Run | None) -> None:
    """The cases that pass the filters, and one of them in full."""
    found = filtered(table)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{len(found):,}** of {len(table):,} case{'' if len(table) == 1 else 's'}, the newest first.")
        st.download_button(
            "These as CSV", findings.as_csv(found, found["synthetic"]), "cases-research-only.csv", "text/csv",
            icon=":material/download:", key="cases_export", help="Without images.",
        )  # fmt: skip
    if found.empty:
        st.info("No case passes these filters. Take one of them back.", icon=":material/filter_alt_off:")
        return
    ids = found["id"].tolist()

    def pick() -> None:
        rows = st.session_state["cases_table"]["selection"]["rows"]
        if rows:
            st.session_state[CHOSEN] = ids[rows[0]]

    st.dataframe(
        listed(found), hide_index=True, height=min(38 + 35 * len(found), 320), key="cases_table", on_select=pick,
        selection_mode="single-row",
        column_config={"Kept": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm")},
    )  # fmt: skip
    if st.session_state.get(CHOSEN) not in ids:
        st.session_state[CHOSEN] = ids[0]
    rows = zip(ids, found["time"], found["predicted"], strict=True)
    labels = {key: f"{time:%d %b %Y %H:%M} · {name_of(code)} · {key[:8]}" for key, time, code in rows}
    chosen = st.selectbox("Case", ids, format_func=lambda key: labels.get(key, key), key=CHOSEN)
    detail(log, log.get(chosen))


def filtered(table: pd.DataFrame) -> pd.DataFrame:
    """The cases that pass the filters of the page."""
    with st.grid(3, min_column_width=220) as grid:
        with grid.cell():
            code = widgets.diagnosis_filter("Diagnosis", "cases_code")
        with grid.cell():
            state = st.selectbox("Histology", [None, CONFIRMED, OPEN], format_func=lambda it: it or "Any",
                                 key="cases_state", persist_state="session")  # fmt: skip
        with grid.cell():
            runs = [None, *sorted(table["run"].unique(), reverse=True)]
            run = st.selectbox("Answered by", runs, format_func=lambda it: it or "Any run", key="cases_run")
    keep = pd.Series(True, table.index)
    if code:
        keep &= best_known(table) == code
    if state:
        keep &= table["histology"].notna() == (state == CONFIRMED)
    if run:
        keep &= table["run"] == run
    return table[keep].reset_index(drop=True)


def best_known(table: pd.DataFrame) -> pd.Series:
    """Code of what a case is taken for: its histology, else the reader's diagnosis, else the model's answer."""
    known = table["histology"].where(table["histology"].notna(), table["reader_diagnosis"])
    return known.where(known.notna(), table["predicted"])


def listed(table: pd.DataFrame) -> pd.DataFrame:
    """The table for people."""

    def named(column: str) -> pd.Series:
        return table[column].map(lambda code: name_of(code) if isinstance(code, str) else "–")

    own_lesion = table["lesion"] == table["id"]
    return pd.DataFrame(
        {
            "Kept": pd.to_datetime(table["time"], utc=True),
            "Model": named("predicted"),
            "Before": named("own_impression"),
            "Reader": named("reader_diagnosis"),
            "Histology": named("histology"),
            "Lesion": table["lesion"].where(~own_lesion, "–"),
            "Age": table["age"],
            "Sex": table["sex"].fillna("–"),
            "Site": table["site"].fillna("–"),
            "Drawn": np.where(table["synthetic"], "model of drawn images", ""),
            "Run": table["run"],
        }
    )


def detail(log: CaseLog, case: Case) -> None:
    """One case: its image, what was said of it, and the form for what is known now."""
    left, right = st.columns([2, 3])
    with left:
        picture = as_jpeg(at_most(read_image(log.image(case.id)), models.DISPLAY_SIDE))
        st.image(picture, width="stretch", alt="The image that was assessed")
        st.caption(f"Case {case.id}  \nKept {case.time:%d %B %Y, %H:%M} UTC  \nRun {case.run}")
        if st.button("Delete this case…", icon=":material/delete:", key="cases_delete"):
            delete(log, case)
    with right:
        with st.container(horizontal=True, gap="xsmall"):
            if case.synthetic:
                st.badge("model of drawn images", icon=":material/draw:", color="orange", help=SYNTHETIC_NOTICE)
            if case.prediction.get("refused"):
                st.badge(
                    "refused", icon=":material/block:", color="red", help="The run gave no answer unless asked to."
                )
            st.badge("histology known" if case.histology else "no histology yet",
                     color="green" if case.histology else "gray")  # fmt: skip
        st.markdown("  \n".join(facts(case)))
        form(log, case)
        probabilities = case.prediction.get("probabilities") or {}
        if set(probabilities) == set(CODES):
            figure = charts.probability_bars(np.array([probabilities[code] for code in CODES]), case.histology)
            widgets.chart(
                figure, f"cases_bars_{case.id}", "The model's confidence in each diagnosis",
                answered_by=(case.run, case.synthetic),
            )  # fmt: skip


def facts(case: Case) -> list[str]:
    """What was known when the case was kept, line by line."""
    before = name_of(case.own_impression) if case.own_impression else "not given"
    person = [f"{case.age:g} years" if case.age is not None else "", case.sex or "", case.site or ""]
    return [
        f"Model's answer: **{name_of(case.prediction['diagnosis'])}**",
        f"Reader's own impression before it: **{before}**",
        f"Patient: {', '.join(filter(None, person)) or 'nothing given'}",
        f"Lesion: {case.lesion if case.lesion != case.id else 'not named, taken for one of its own'}",
    ]


def form(log: CaseLog, case: Case) -> None:
    """What the reader thinks now, and what histology said."""
    present = {"reader_diagnosis": case.reader_diagnosis, "histology": case.histology, "comment": case.comment}
    key = f"cases_{case.id}_{hash(tuple(present.values()))}"  # what another session entered is shown, not overwritten
    _carry_over(case, key, present)
    codes = [None, *CODES]
    entered: dict[str, Any] = {}
    with st.form(key):
        columns = st.columns(2)
        for column, name, label in zip(
            columns, ("reader_diagnosis", "histology"), ("Reader's diagnosis", "Histology"), strict=True
        ):
            entered[name] = column.selectbox(
                label, codes, codes.index(present[name]), lambda code: name_of(code) if code else "Not given",
                key=f"{key}_{name}",
            )  # fmt: skip
        entered["comment"] = st.text_area(
            "Comment", case.comment, max_chars=COMMENT_LENGTH, height=90, key=f"{key}_comment", help="No names, please."
        )
        saved = st.form_submit_button("Save", icon=":material/save:", key=f"{key}_save")
    if case.histology_time:
        st.caption(f"Histology entered {case.histology_time:%d %B %Y, %H:%M} UTC.")
    if saved:
        st.session_state.pop(OPENED, None)
        changed = {name: value for name, value in entered.items() if value != present[name]}
        widgets.attempt(lambda: log.update(case.id, **changed))


def _carry_over(case: Case, key: str, present: dict[str, Any]) -> None:
    """What was just to be saved, on a form that somebody else's entries have replaced: onto the new one."""
    state = st.session_state
    earlier, before, drawn = state.get(OPENED, ("", "", {}))
    state[OPENED] = (case.id, key, present)
    if earlier != case.id or before == key or not state.get(f"{before}_save"):
        return
    for name, value in drawn.items():
        entered = state.get(f"{before}_{name}", value)
        if entered != value:
            state[f"{key}_{name}"] = entered
    st.warning(
        "Somebody else has changed this case meanwhile. What you entered is below: save it again to keep it.",
        icon=":material/sync_problem:",
    )


@st.dialog("Delete this case?")
def delete(log: CaseLog, case: Case) -> None:
    """Ask, then delete."""
    st.markdown("The case is deleted with its image, its answer and all that was entered. This cannot be undone.")
    if case.histology:
        st.markdown(
            "If it was handed over, its copy there goes with the next hand-over. Runs that learned from it stay."
        )
    if st.button("Delete it", type="primary", icon=":material/delete_forever:", key="cases_delete_for_good"):
        widgets.attempt(lambda: log.delete(case.id))


# ---- agreement -----------------------------------------------------------------------------------


def agree(log: CaseLog, table: pd.DataFrame, run: Run | None) -> None:
    """Model and reader against the truth, and what the model's answer did to the reader's mind."""
    judged = counted(table)
    drawn = bool(len(judged)) and bool(judged["synthetic"].all())
    st.caption(
        f"Of {len(judged):,} of {len(table):,} cases: those that a run refused have no answer to agree with"
        + (", and all were answered by models of drawn images, which know nothing of real skin." if drawn else
           ", and those that a model of drawn images answered do not count.")
        + " Images of one lesion are not independent: the intervals are over lesions. Kappa is agreement beyond chance."
    )  # fmt: skip
    found = agreements(judged)
    st.subheader("Against the truth")
    widgets.metric_row([agreement_tile(one) for one in found])
    most = max(one.n for one in found)
    if most == 0:
        st.info("Nothing can be compared yet: enter the histology of some cases.", icon=":material/biotech:")
    elif most < FEW:
        st.caption(f"Fewer than {FEW} cases: the intervals are wide, and one case more may change the picture.")
    st.subheader("Before and after the model's answer")
    widgets.metric_row([change_tile(change) for change in changes(judged)])


def agreement_tile(one: Agreement) -> Tile:
    """How often two say the same, how sure that is, and how much of it is chance."""
    label, meaning = COMPARED[one.name]
    if not one.n:
        return Tile(label, "–", ("no case yet", "kappa unknown"), meaning)
    lesions = f"{one.n:,} case{'' if one.n == 1 else 's'} of {one.lesions:,} lesion{'' if one.lesions == 1 else 's'}"
    return Tile(label, percent(one.raw["value"]), (f"{widgets.interval(one.raw)}, {lesions}", kappa(one)), meaning)


def kappa(one: Agreement) -> str:
    """Cohen's kappa in words."""
    value, low, high = (round(one.kappa[end], 2) + 0 for end in ("value", "low", "high"))  # -0.00 becomes 0.00
    if math.isnan(value):
        return "kappa unknown: all cases are of one diagnosis"
    return f"kappa {value:.2f} (95 % interval {low:.2f} to {high:.2f})"


def change_tile(change: Change) -> Tile:
    """How often the reader's mind went one way."""
    label, among = DIRECTIONS[change.name]
    if not change.n:
        return Tile(label, "–", (f"no {among} yet", ""))
    return Tile(label, percent(change.share["value"]), (f"{change.count:,} of {change.n:,} {among}",
                                                        widgets.interval(change.share)))  # fmt: skip


# ---- back into training --------------------------------------------------------------------------


def back(log: CaseLog, table: pd.DataFrame, run: Run | None) -> None:
    """Write the confirmed cases as a data set, and say how a training learns from them."""
    known = table[table["histology"].notna()]
    drawn = int(known["synthetic"].sum())
    st.markdown(
        f"**{len(known):,} of {len(table):,} cases have histology.** They can be written as a data set that a training "
        "adds to its own. The folder is written anew each time: what was corrected or deleted here is corrected or "
        "deleted there."
    )
    if known.empty:
        st.info("Enter the histology of a case first.", icon=":material/biotech:")
    folder = st.text_input("Folder", str(confirmed_cases_folder()), key="cases_folder").strip()
    with_drawn = bool(drawn) and st.toggle(
        f"With the {drawn:,} that a model of drawn images answered", key="cases_drawn",
        help="Their images may be drawn too: a model of real images must not learn from them.",
    )  # fmt: skip
    if st.button("Write the data set", type="primary", icon=":material/outbox:", key="cases_hand_over",
                 disabled=not folder):  # fmt: skip
        try:
            st.session_state["cases_written"] = hand_over(log, Path(folder), with_drawn)
        except DermLensError as error:
            st.session_state.pop("cases_written", None)
            st.error(str(error), icon=":material/error:")
    if "cases_written" in st.session_state:
        written(st.session_state["cases_written"], run)


def written(made: HandOver, run: Run | None) -> None:
    """What was written, and what to do with it."""
    for reason, count in made.left_out.items():
        st.caption(f"Left out: {count:,}, {reason}.")
    if not made.images:
        more = " Switch on above what they are." if set(made.left_out) == {DRAWN} else ""
        st.warning(f"No case was left to write, so there is no folder {made.folder}.{more}", icon=":material/outbox:")
        return
    counts = ", ".join(f"{name_of(code)} {count:,}" for code, count in made.per_diagnosis.items())
    st.success(
        f"**{made.images:,} image{'' if made.images == 1 else 's'} of {made.lesions:,} "
        f"lesion{'' if made.lesions == 1 else 's'}** in {made.folder}: {counts}.",
        icon=":material/check_circle:",
    )
    st.markdown("A training adds them like this:")
    st.code(command(made.folder, run), language="bash")
    label = widgets.LABELS["extra_data"]
    st.markdown(f"or on the page Retrain: its form has the field **{label}** under Data, where this folder belongs.")
    st.page_link("views/retrain.py", label="Train again", icon=":material/model_training:")


def command(folder: Path, run: Run | None) -> str:
    """The command that trains on the chosen run's data set and on these cases."""
    data = loaders.manifest(run).get("data", {}) if run is not None else {}
    former = [other for other in data.get("extra_folders", ()) if other != str(folder)]
    named = [shlex.quote(one) if one else "FOLDER" for one in (data.get("folder"), *former, str(folder))]
    return "python train.py " + " ".join(f"--data-dir {one}" for one in named)


SECTIONS: dict[str, Callable[[CaseLog, pd.DataFrame, Run | None], None]] = {
    LIST: cases,
    AGREEMENT: agree,
    HAND_OVER: back,
}
