"""The sections of the audit page: what was found, one table each, with the buttons that decide about an image."""

import hashlib
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.data.decisions import EXCLUDE, KEEP, Decision, Decisions
from core.data.quality import PROBLEMS
from core.data.splits import torn_lesions
from core.runs.run import Run
from dashboard import findings, loaders, widgets
from dashboard.charts import name_of
from dashboard.widgets import percent

DUPLICATES, LABELS, QUALITY = "Near-duplicates", "Suspicious labels", "Poor quality"
LEAKAGE, DECIDED = "Leakage", "Decisions"
ON_A_PAGE = 8
SHARES = {0.01: "The 1 % most suspicious", 0.05: "The 5 % most suspicious", 1.0: "All of them"}
Row = Any  # of DataFrame.itertuples


class Desk:
    """What every section needs: the decisions, and where the images are."""

    def __init__(self, decisions: Decisions, decided: dict[str, Decision], paths: dict[str, str]) -> None:
        self.decisions, self.decided, self.paths = decisions, decided, paths

    def card(self, image_id: str, split: str, lines: list[str], reason: str, place: str) -> None:
        """One image with what is known of it, and the buttons that decide about it."""
        widgets.picture(self.paths.get(image_id))
        st.markdown("  \n".join(lines))
        decision = self.decided.get(image_id)
        if decision is not None:
            if decision.choice == EXCLUDE:
                st.badge("excluded from training", color="red")
                if split == "test":
                    st.caption("It is a test image: no training learns from it, and it stays there to judge them.")
            else:
                st.badge("kept", color="green")
        with st.container(horizontal=True, gap="xsmall"):
            if decision is not None:
                self.button("Undo", ":material/undo:", f"undo_{place}", lambda: self.decisions.undo(image_id))
            else:
                self.button("Exclude", ":material/block:", f"exclude_{place}",
                            lambda: self.decide(image_id, EXCLUDE, reason))  # fmt: skip
                self.button("Keep", ":material/check:", f"keep_{place}",
                            lambda: self.decide(image_id, KEEP, reason))  # fmt: skip
        if st.button(image_id, icon=":material/center_focus_strong:", type="tertiary", key=f"open_{place}"):
            widgets.open_explanation(image_id)

    def decide(self, image_id: str, choice: str, reason: str) -> None:
        """Decide about the image as it is now."""
        content = ""
        with suppress(OSError, KeyError):  # where the file is away, its name has to do
            content = hashlib.sha256(Path(self.paths[image_id]).read_bytes()).hexdigest()
        self.decisions.decide(image_id, choice, reason, content)

    def button(self, label: str, icon: str, key: str, action: Callable[[], None]) -> None:
        """A button that decides and redraws."""
        if st.button(label, icon=icon, key=key):
            action()
            st.rerun()


# ---- the sections --------------------------------------------------------------------------------


def duplicates(run: Run, splits: pd.DataFrame, desk: Desk) -> None:
    """The same photograph twice: across the parts of the split it lets a run be asked what it has learned."""
    st.caption(
        "Two images that show the same photograph: turned, mirrored, cropped, brightened, or compressed again. Within "
        "a lesion they are harmless, since a lesion is never split. Across the split, exclude the one in training."
    )
    if not made(run, "near_duplicates"):
        return
    table = findings.duplicate_table(loaders.near_duplicates(run), splits)
    across = int(table["across"].sum())
    st.markdown(
        f"**{len(table):,} pair{'' if len(table) == 1 else 's'}**, {across:,} of them in two parts of the split."
        + (" What a run scores on the second of such a pair is too good." if across else "")
    )
    kinds, codes = st.columns([2, 1], vertical_alignment="bottom")
    with kinds:
        kind = st.segmented_control(
            "Pairs", [findings.ACROSS, findings.BETWEEN, findings.ALL_PAIRS], required=True, key="audit_pairs",
            default=findings.BETWEEN if not table["same_lesion"].all() else findings.ALL_PAIRS, on_change=first_page,
        )  # fmt: skip
    with codes:
        code = widgets.diagnosis_filter("Diagnosis", "audit_pair_code", first_page)
    rows = paged(findings.pairs_of(table, kind or findings.ALL_PAIRS, code), "near-duplicates", run)
    if rows:
        with st.grid(2, min_column_width=340) as cells:
            for row in rows:
                with cells.cell(), st.container(border=True, height="stretch"):
                    pair(row, desk)


def pair(row: Row, desk: Desk) -> None:
    """Two images side by side, with what they have in common."""
    change = f", {row.change}" if isinstance(getattr(row, "change", None), str) else ""
    lesion = "the same lesion" if row.same_lesion else "**different lesions**"
    parts = f"**{findings.part_of(row.split)} and {findings.part_of(row.other_split)}**"
    st.markdown(f"{percent(row.similarity, 0)} alike{change}: {lesion}, {parts if row.across else 'one part'}")
    sides = ((row.image_id, row.dx, row.split), (row.other_id, row.other_dx, row.other_split))
    for column, side, twin in zip(st.columns(2, wrap=False), sides, reversed(sides), strict=True):
        with column:
            lines = [f"**{name_of(side[1])}**", findings.part_of(side[2])]
            desk.card(side[0], side[2], lines, f"near-duplicate of {twin[0]}", f"{row.Index}_{side[0]}")


def labels(run: Run, splits: pd.DataFrame, desk: Desk) -> None:
    """Labels that the images of other lesions, or of the same one, speak against."""
    st.caption(
        "Each label is judged by images of other lesions and by its own lesion's other images. Suspicious is not "
        "wrong: rare looks of a diagnosis stand here too. Look, then decide."
    )
    if not made(run, "suspicious_labels"):
        return
    shares, codes = st.columns(2)
    with shares:
        share = st.selectbox(
            "How many", tuple(SHARES), format_func=lambda share: SHARES[share], key="audit_share", on_change=first_page
        )
    with codes:
        code = widgets.diagnosis_filter("Labelled as", "audit_given", first_page)
    table = findings.label_table(loaders.suspicious_labels(run), splits, share or 1.0)
    table = table[table["dx"] == code].reset_index(drop=True) if code else table
    grid(table, "suspicious-labels", run, lambda row: desk.card(
        row.image_id, row.split, label_lines(row), f"label {row.dx} looks like {row.suggested}", row.image_id
    ))  # fmt: skip


def label_lines(row: Row) -> list[str]:
    """A label, what speaks against it, and how much."""
    siblings = " and ".join(name_of(code) for code in row.siblings.split())
    return [
        f"Label: **{name_of(row.dx)}**",
        f"Looks like: **{name_of(row.suggested)}**",
        *([f"Its lesion is labelled **{siblings}** in another image"] if siblings else []),
        f"{percent(row.suspicion, 0)} suspicious · {findings.part_of(row.split)}",
    ]


def quality(run: Run, splits: pd.DataFrame, desk: Desk) -> None:
    """Images that are hard to assess, for people and for the model."""
    if not made(run, "images"):
        return
    images = loaders.images(run)
    counts = findings.problem_counts(images)
    problems, codes = st.columns([2, 1])
    with problems:
        problem = st.selectbox(
            "Problem", [None, *counts], key="audit_problem", on_change=first_page,
            format_func=lambda code: f"{PROBLEMS.get(code, code)} ({counts[code]:,})" if code else "Any problem",
        )  # fmt: skip
    with codes:
        code = widgets.diagnosis_filter("Diagnosis", "audit_quality_code", first_page)
    table = findings.quality_table(images, splits, problem, code)
    grid(table, "poor-quality", run, lambda row: desk.card(
        row.image_id, row.split,
        [findings.problems_in_words(row.problems), f"{name_of(row.dx)} · {findings.part_of(row.split)}"],
        row.problems, row.image_id,
    ))  # fmt: skip


def leakage(run: Run, splits: pd.DataFrame, desk: Desk) -> None:
    """Whether test images have a near relative in training, and how many would have had one otherwise."""
    torn = len(torn_lesions(splits))
    if torn:
        st.error(f"**{torn:,} lesions stand in several parts of the split.** Train again.", icon=":material/error:")
    else:
        st.success("**No lesion stands in two parts of the split.**", icon=":material/check_circle:")
    if loaders.has(run, "near_duplicates"):
        across = int(findings.duplicate_table(loaders.near_duplicates(run), splits)["across"].sum())
        words = "1 pair of near-duplicates stands" if across == 1 else f"{across:,} pairs of near-duplicates stand"
        if across:
            st.warning(
                f"**{words} in two parts**: one lesion under two names, most likely. See {DUPLICATES}, "
                f"{findings.ACROSS.lower()}.", icon=":material/content_copy:",
            )  # fmt: skip
        else:
            st.success("**No near-duplicates stand in two parts.**", icon=":material/check_circle:")
    rows = loaders.manifest(run).get("split", {}).get("leakage", [])
    if not rows:
        return
    st.markdown("**Held-out images that a split by image would have given a sibling in training**")
    table = findings.leakage_table(rows)
    widgets.leakage(table)
    export(table, "leakage", run)


def decided_ones(run: Run, splits: pd.DataFrame, desk: Desk) -> None:
    """Everything that was decided about this data set."""
    st.caption(
        "Decisions belong to the data set, not to the run: they are kept beside its fingerprint "
        f"({desk.decisions.fingerprint[:12]}…), and every training on it applies them."
    )
    rows = [vars(decision) for decision in reversed(desk.decided.values())]
    if not rows:
        st.info("Nothing was decided about this data set yet.", icon=":material/fact_check:")
        return
    table = pd.DataFrame(rows).merge(splits[["image_id", "dx", "split"]], on="image_id", how="left")
    known = table["dx"].notna()  # another run on this data may have had images from further folders
    table["what"] = "Not among this run's images"
    table.loc[known, "what"] = table[known].apply(
        lambda row: f"{name_of(row.dx)} · {findings.part_of(row.split)}", axis=1
    )
    grid(table, "decisions", run, lambda row: desk.card(
        row.image_id, row.split, [row.what, row.reason, row.moment[:16].replace("T", " ")], row.reason, row.image_id,
    ))  # fmt: skip


# ---- pieces --------------------------------------------------------------------------------------


def made(run: Run, what: str) -> bool:
    """Whether the examination has come to it; says how to make it where not."""
    if loaders.has(run, what):
        return True
    st.info(
        f"This run was not examined so far. Examine it on the page Retrain, or with: "
        f"`python -m core.evaluation --run {run.id}`",
        icon=":material/hourglass_empty:",
    )
    return False


def first_page() -> None:
    """Another table, its first page."""
    if "audit_page" in st.session_state:
        st.session_state["audit_page"] = 1


def paged(table: pd.DataFrame, name: str, run: Run) -> list[Row]:
    """The rows of the present page, with the pages and the export above them."""
    if table.empty:
        st.success("None found.", icon=":material/check_circle:")
        return []
    pages = math.ceil(len(table) / ON_A_PAGE)
    with st.container(horizontal=True, vertical_alignment="center"):
        if pages > 1:
            if st.session_state.get("audit_page", 1) > pages:
                first_page()
            st.pagination(pages, key="audit_page", persist_state="session")
        export(table, name, run)
    start = (st.session_state.get("audit_page", 1) - 1) * ON_A_PAGE if pages > 1 else 0
    return list(table.iloc[start : start + ON_A_PAGE].itertuples())


def export(table: pd.DataFrame, name: str, run: Run) -> None:
    """The button that takes the whole table away."""
    st.download_button(
        f"All {len(table):,} as CSV", findings.as_csv(table, widgets.drawn(run)), f"{run.id}-{name}-research-only.csv",
        "text/csv", icon=":material/download:", key=f"audit_export_{name}",
    )  # fmt: skip


def grid(table: pd.DataFrame, name: str, run: Run, draw: Callable[[Row], None]) -> None:
    """One card for each row of the present page."""
    rows = paged(table, name, run)
    if rows:
        with st.grid(4, min_column_width=230) as cells:
            for row in rows:
                with cells.cell(), st.container(border=True, height="stretch"):
                    draw(row)


SECTIONS: dict[str, Callable[[Run, pd.DataFrame, Desk], None]] = {
    DUPLICATES: duplicates,
    LABELS: labels,
    QUALITY: quality,
    LEAKAGE: leakage,
    DECIDED: decided_ones,
}
