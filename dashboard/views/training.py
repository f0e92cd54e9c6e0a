"""How the runs learned: curves of one or several, and a table to compare them."""

import html
from typing import Any

import pandas as pd
import streamlit as st

from core.errors import DermLensError
from core.runs.history import before_cut
from core.runs.run import Run
from dashboard import charts, loaders, widgets
from dashboard.comparison_section import comparison
from dashboard.loaders import RunCard
from dashboard.run_details import about
from dashboard.widgets import duration

MEASURES = (
    ("loss", "Loss", False),
    ("balanced_accuracy", "Balanced accuracy", True),
    ("accuracy", "Accuracy", True),
    ("auc", "AUC", True),
)


def body(run: Run) -> None:
    """Choose runs, compare their curves."""
    cards = {card.run.id: card for card in loaders.run_cards() if card.state != "unreadable"}
    asked = st.multiselect(
        "Runs to compare", list(cards), default=[run.id] if run.id in cards else [], key=f"training_runs_{run.id}",
        format_func=lambda name: cards[name].label, max_selections=len(charts.RUN_COLOURS), persist_state="session",
    )  # fmt: skip
    histories = {name: loaders.history(cards[name].run) for name in asked}
    drawn = {label(cards[name], asked, cards): rows for name, rows in histories.items() if not rows.empty}
    for name in (name for name, rows in histories.items() if rows.empty):
        widgets.not_yet(cards[name].run, "curves")
    if drawn:
        plots(drawn)
    if len(asked) == 2:
        comparison(cards[asked[0]], cards[asked[1]])
    st.subheader("All runs")
    table(list(cards.values()))


def label(card: RunCard, asked: list[str], cards: dict[str, RunCard]) -> str:
    """A short name; with its time where another chosen run has the same."""
    same = sum(cards[name].name == card.name for name in asked)
    return card.name if same == 1 else f"{card.name}, {card.run.id[:15]}-{card.run.id[-4:]}"


def plots(histories: dict[str, pd.DataFrame]) -> None:
    """A chart for each measure, the learning rate, and how to read them."""
    with st.grid(3, min_column_width=270) as grid:
        for measure, title, share in MEASURES:
            with grid.cell():
                figure = charts.curves(histories, measure, share)
                widgets.chart(figure, f"training_{measure}", f"{title} over the epochs")
        with grid.cell():
            widgets.chart(charts.rate_steps(histories), "training_rate", "Learning rate over the epochs")
        with grid.cell():
            legend(histories)


def legend(histories: dict[str, pd.DataFrame]) -> None:
    """One legend for all the charts, in words, and the best epoch of each run."""
    st.markdown("**How to read them**")
    st.markdown(
        "Dotted: training. Solid: validation.  \n★ Highest validation balanced accuracy. A run keeps this "
        "epoch, or, if it averages its last epochs, their mean.  \n"
        "Dashed upright line: from here on the learning rate was lower."
    )
    for colour, (name, rows) in zip(charts.RUN_COLOURS, histories.items(), strict=False):
        best = charts.best_epoch(rows)
        if best is not None:
            figure = widgets.percent(rows["val_balanced_accuracy"].iloc[best])
            mark = f'<span style="color:{colour}">■</span> ' if len(histories) > 1 else ""
            first = len(before_cut(rows))
            whole = f"; in {first} of them the whole network learned" if first else ""
            st.html(f"{mark}<b>{html.escape(name)}</b>: epoch {best + 1} of {len(rows)}, {figure}{whole}")


def table(cards: list[RunCard]) -> None:
    """Every run with what tells it from the others; a chosen row can be named, noted, and deleted."""
    rows = [row(card) for card in cards]
    percent = st.column_config.NumberColumn(format="%.1f %%")
    formats = {"Balanced accuracy": percent, "Melanoma sensitivity": percent, "Macro AUC": percent}
    formats["Created"] = st.column_config.DatetimeColumn(format="D MMM, HH:mm")
    formats["Images"] = st.column_config.NumberColumn(format="localized")
    st.caption("Choose a row to name the run, to write a note, or to delete it.")
    event: Any = st.dataframe(
        pd.DataFrame(rows), hide_index=True, column_config=formats, placeholder="–", on_select="rerun",
        selection_mode="single-row", key=f"runs_{hash(tuple(card.run.id for card in cards))}",
    )  # fmt: skip
    for place in event.selection.rows:
        about(cards[place])


def row(card: RunCard) -> dict[str, object]:
    """One line of the table; what a run has not got stays empty."""
    try:
        test, manifest = loaders.metrics(card.run).get("test", {}), loaders.manifest(card.run)
    except DermLensError:
        test, manifest = {}, {}
    figures = {
        "Balanced accuracy": test.get("balanced_accuracy", {}).get("value"),
        "Melanoma sensitivity": test.get("per_class", {}).get("mel", {}).get("sensitivity"),
        "Macro AUC": test.get("macro_auc", {}).get("value"),
    }
    data = manifest.get("data", {})
    return {
        "Run": card.name,
        "State": "finished, served" if card.served else card.state,
        **{name: None if figure is None else 100 * figure for name, figure in figures.items()},
        "Created": card.created,
        "Took": duration(manifest.get("seconds")),
        "Images": data.get("images"),
        "Data": "drawn" if data.get("synthetic") else "photographs" if data else None,
        "Note": card.note or None,
        "Id": card.run.id,
    }


widgets.page("Training", "How the runs learned, epoch by epoch: one alone, or several beside each other.", body)
