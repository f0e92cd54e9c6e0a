"""Data frames to Plotly figures. Pure: nothing here knows of Streamlit.

Figures are transparent and leave the colour of their text to the theme, so that they fit a light and a dark
page. Where a colour tells something, a position, a pattern or a label tells it too.
"""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.data.splits import PARTS
from core.diagnoses import BY_CODE, CODES, FEW
from core.runs.history import after_cut

INK = "#14958C"
TRAIN_INK = "#8A98A3"
PART_COLOURS = dict(zip(PARTS, ("#0F857E", "#D9822B", "#5B6CC4", "#B5446E"), strict=True))
RUN_COLOURS = (INK, "#D9822B", "#5B6CC4", "#B5446E", "#3F9B5B", "#7A8B99")
CLEAR = "rgba(0,0,0,0)"
# soft inks: who changes the theme can still read a chart that was drawn for the other one, until the next click
TEXT = {"light": "#4F5A62", "dark": "#B4BEC4"}
PAPER = {"light": "#FFFFFF", "dark": "#11181C"}  # the page's own, as in .streamlit/config.toml
TITLE_HEIGHT = 50  # pixels: a title, and the line below it
GRID = "rgba(128,140,148,0.22)"
SHORT = {  # two lines at most: they must fit below a column of a matrix
    "mel": "Melanoma",
    "nv": "Nevus",
    "bcc": "Basal cell<br>carcinoma",
    "akiec": "Actinic ker.<br>or Bowen's",
    "bkl": "Benign<br>keratosis",
    "df": "Dermato-<br>fibroma",
    "vasc": "Vascular<br>lesion",
}


def name_of(code: str) -> str:
    """The name for people, or the code itself where it is unknown."""
    return BY_CODE[code].name if code in BY_CODE else str(code)


def wrapped(name: str, width: int = 18) -> str:
    """A name broken into lines for an axis."""
    return "<br>".join(textwrap.wrap(name, width, break_long_words=False))


def _figure(height: int, **layout: Any) -> go.Figure:
    base = {
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 8, "b": 8},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "dragmode": False,
        "showlegend": False,
        "bargap": 0.28,
        "legend": {"orientation": "h", "y": -0.18, "x": 0, "traceorder": "normal", "title": None},
    }
    figure = go.Figure(layout=base | layout)
    axis = {"fixedrange": True, "automargin": True, "gridcolor": GRID, "zeroline": False, "title_standoff": 8}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure


def titled(figure: go.Figure, title: str, synthetic: bool = False) -> go.Figure:
    """The figure with a title that says what it shows, and the notice that a downloaded picture carries along."""
    notice = f"{'Drawn images, research' if synthetic else 'Research and education'} only, never a diagnosis"
    figure.update_layout(
        height=figure.layout.height + TITLE_HEIGHT,
        margin_t=figure.layout.margin.t + TITLE_HEIGHT,
        title={
            "text": f"<b>{title}</b>", "x": 0, "xanchor": "left", "yref": "container", "y": 1, "yanchor": "top",
            "pad": {"t": 8, "l": 4}, "font_size": 14,
            "subtitle": {"text": notice, "font_size": 10},
        },
    )  # fmt: skip
    return figure


def themed(figure: go.Figure, theme: str | None) -> go.Figure:
    """The figure with text for a "light" or a "dark" page, and its background, which a downloaded picture needs."""
    theme = theme if theme in TEXT else "light"
    ink = TEXT[theme]
    words = {"color": ink, "size": 12}
    figure.update_layout(font={"color": ink, "size": 13}, legend_font_color=ink, paper_bgcolor=PAPER[theme])
    figure.update_layout(title_font_color=ink, title_subtitle_font_color=ink)
    figure.update_xaxes(tickfont=words, title_font=words)
    figure.update_yaxes(tickfont=words, title_font=words)
    figure.update_traces(outsidetextfont_color=ink, selector={"type": "bar"})
    figure.update_traces(textfont_color=ink, selector={"meta": "themed"})
    return figure


def _bars(codes: list[str], values: Any, texts: list[str], height: int, **more: Any) -> go.Figure:
    """A horizontal bar for each diagnosis, with its text at its end; each carries its code as customdata."""
    figure = _figure(height)
    bar = {
        "x": list(values),
        "y": [wrapped(name_of(code)) for code in codes],
        "text": texts,
        "marker_color": [BY_CODE[code].colour for code in codes],
        "customdata": [[code] for code in codes],
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    figure.add_bar(orientation="h", textposition="outside", cliponaxis=False, **(bar | more))
    figure.update_yaxes(showgrid=False)
    return figure


# ---- the data set ------------------------------------------------------------------------------


def class_bars(codes: pd.Series, log: bool) -> go.Figure:
    """How many images each diagnosis has; each bar carries its code as customdata.

    Args:
        codes: the diagnosis of each image.
        log: whether the axis is logarithmic, which shows the rare diagnoses.
    """
    counts = codes.value_counts().reindex(CODES, fill_value=0).sort_values()
    texts = [f"{n:,}  ({n / max(1, counts.sum()):.1%})" for n in counts]
    figure = _bars(list(counts.index), counts, texts, 380)
    top = max(1, counts.max())
    limits = [0, np.log10(top) * 1.35 + 0.3] if log else [0, top * 1.5]
    figure.update_xaxes(type="log" if log else "linear", range=limits, title="images", dtick=1 if log else None)
    return figure


def split_bars(splits: pd.DataFrame) -> go.Figure:
    """The share of each diagnosis that went to each part of the split.

    Args:
        splits: dx, split.
    """
    table = pd.crosstab(splits["dx"], splits["split"]).reindex(index=CODES, columns=list(PARTS), fill_value=0)
    shares = table.div(table.sum(axis=1).clip(lower=1), axis=0)
    names = [wrapped(name_of(code)) for code in table.index]
    figure = _figure(420, barmode="stack", showlegend=True)
    for part in PARTS:
        figure.add_bar(
            x=shares[part], y=names, orientation="h", name=part, marker_color=PART_COLOURS[part],
            text=table[part], texttemplate="%{text:,}", textposition="inside", insidetextanchor="middle",
            textangle=0, textfont_color="#FFFFFF",
            hovertemplate=f"%{{y}}<br>{part}: %{{text:,}} images, %{{x:.0%}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(tickformat=".0%", range=[0, 1], title="share of the images of a diagnosis")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_layout(legend_y=-0.24)
    return figure


def age_boxes(images: pd.DataFrame) -> go.Figure:
    """The ages of each diagnosis: the box holds the middle half, the line is the median.

    Args:
        images: dx, age (years, may be NaN).
    """
    figure = _figure(400)
    for code in reversed(CODES):
        ages = images.loc[images["dx"] == code, "age"].dropna()
        if not ages.empty:
            low, middle, high = ages.quantile([0.25, 0.5, 0.75])
            figure.add_box(
                q1=[low], median=[middle], q3=[high], lowerfence=[ages.min()], upperfence=[ages.max()],
                y=[wrapped(name_of(code))], orientation="h", name=name_of(code), marker_color=BY_CODE[code].colour,
                hovertemplate="%{y}<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title="age in years", range=[0, max(90, images["age"].max() + 5)], dtick=10)
    figure.update_yaxes(showgrid=False)
    return figure


def stacked_bars(images: pd.DataFrame, column: str, share: bool) -> go.Figure:
    """The images of each value of a column, stacked by diagnosis; each piece carries number, value and code.

    Args:
        images: dx and the column; what is empty counts as "unknown".
        column: such as "sex" or "localization".
        share: whether each bar shows shares instead of numbers.
    """
    values = images[column].where(images[column].astype(str).str.strip() != "", "unknown").fillna("unknown")
    table = pd.crosstab(values, images["dx"]).reindex(columns=list(CODES), fill_value=0)
    table = table.loc[table.sum(axis=1).sort_values().index]
    totals = table.sum(axis=1)
    shown = table.div(totals, axis=0) if share else table
    labels = [f"{value} ({total:,})" for value, total in totals.items()]
    figure = _figure(170 + 34 * len(table), barmode="stack", showlegend=True)
    for code in CODES:
        figure.add_bar(
            x=shown[code], y=labels, orientation="h", name=name_of(code), marker_color=BY_CODE[code].colour,
            customdata=[[int(count), str(value), code] for value, count in table[code].items()],
            hovertemplate=f"%{{y}}<br>{name_of(code)}: %{{customdata[0]:,}} images<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(tickformat=".0%" if share else ",", title="share of the images" if share else "images")
    figure.update_layout(legend_y=-60 / (70 + 34 * len(table)))
    figure.update_yaxes(showgrid=False)
    return figure


def lesion_bars(images: pd.DataFrame) -> go.Figure:
    """How many lesions have one image, two images, and so on.

    Args:
        images: lesion_id.
    """
    sizes = images.groupby("lesion_id").size().value_counts().sort_index()
    figure = _figure(320)
    figure.add_bar(
        x=[str(size) for size in sizes.index], y=sizes.to_numpy(), marker_color=INK, text=sizes.to_numpy(),
        texttemplate="%{text:,}", textposition="outside", cliponaxis=False,
        hovertemplate="%{y:,} lesions with %{x} images<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="images of one lesion", type="category")
    figure.update_yaxes(title="lesions", range=[0, sizes.max() * 1.12])
    return figure


def image_map(table: pd.DataFrame, colour: str) -> go.Figure:
    """Each image as a point beside those that the network sees as alike; a point carries its image_id.

    Args:
        table: image_id, x, y, dx, and of images with an answer predicted and split.
        colour: "dx", "predicted", "split", or "right" for whether the answer is right.
    """
    figure = _figure(640, showlegend=True, dragmode="lasso", hovermode="closest", legend_y=-0.03)
    groups: list[tuple[str, str, pd.Series]]
    if colour == "split":
        groups = [(part.capitalize(), PART_COLOURS[part], table["split"] == part) for part in PARTS]
    elif colour == "right":
        wrong = table["dx"] != table["predicted"]
        groups = [("right", TRAIN_INK, ~wrong), ("wrong", "#C8402F", wrong)]
    else:
        groups = [(name_of(code), BY_CODE[code].colour, table[colour] == code) for code in CODES]
    for name, ink, rows in sorted(groups, key=lambda group: -group[2].sum()):  # the rare ones lie on top
        some = table[rows]
        truths = some["dx"].map(name_of)
        figure.add_scattergl(
            x=some["x"], y=some["y"], mode="markers", name=name, customdata=some[["image_id"]].to_numpy(),
            marker={"color": ink, "size": 5 if len(table) > 2000 else 8, "opacity": 0.75}, text=truths,
            hovertemplate="%{customdata[0]}<br>%{text}<extra></extra>",
        )  # fmt: skip
    hidden = {"visible": False, "fixedrange": False, "range": [-1.04, 1.04]}
    figure.update_xaxes(**hidden)
    figure.update_yaxes(scaleanchor="x", **hidden)
    figure.update_layout(legend_itemsizing="constant")
    return figure


# ---- training ----------------------------------------------------------------------------------


def best_epoch(history: pd.DataFrame) -> int | None:
    """The row with the highest validation balanced accuracy, of those that training chooses among; None without one."""
    figures = pd.to_numeric(after_cut(history)["val_balanced_accuracy"], errors="coerce").dropna()
    return None if figures.empty else int(figures.index.to_numpy()[figures.to_numpy().argmax()])


def rate_cuts(history: pd.DataFrame) -> list[int]:
    """The epochs, counted from 1, that began with a lower learning rate than the one before.

    None for a rate that falls all the time: that is a schedule, and marks would hide the curves.
    """
    lower = (history["learning_rate"].diff() < 0) & (history["phase"] == history["phase"].shift())
    fell = lower[after_cut(history).index]
    return [] if fell.sum() > len(fell) / 2 else [int(row) + 1 for row in fell.index[fell]]


def curves(histories: dict[str, pd.DataFrame], measure: str, share: bool) -> go.Figure:
    """A measure over the epochs, training dotted, validation solid.

    Marked are the epoch of the highest validation balanced accuracy, and each cut of the learning rate.

    Args:
        histories: name of a run -> its history.
        measure: a column, such as "loss".
        share: whether the measure lies between 0 and 1 and is shown in per cent.
    """
    several = len(histories) > 1
    figure = _figure(280, hovermode="x unified")
    unit = {"auc": "AUC", "loss": "loss (cross-entropy)"}.get(measure, measure.replace("_", " "))
    number = ".1%" if share else ".3f"
    for position, (name, history) in enumerate(histories.items()):
        colour = RUN_COLOURS[position % len(RUN_COLOURS)]
        epochs = np.arange(1, len(history) + 1)
        for column, what, dash in ((measure, "training", "dot"), (f"val_{measure}", "validation", "solid")):
            ink = colour if several or what == "validation" else TRAIN_INK
            label = f"{name}, {what}" if several else what
            figure.add_scatter(
                x=epochs, y=history[column], mode="lines" if len(history) > 1 else "markers", name=label,
                line={"dash": dash, "width": 2.2, "color": ink},
                hovertemplate=f"%{{y:{number}}}",
            )  # fmt: skip
        for epoch in rate_cuts(history):
            figure.add_vline(epoch - 0.5, line={"color": colour, "width": 1, "dash": "dash"}, opacity=0.6)
        best = best_epoch(history)
        if best is not None:
            figure.add_scatter(
                x=[epochs[best]], y=[history[f"val_{measure}"].iloc[best]], mode="markers", hoverinfo="skip",
                marker={"symbol": "star", "size": 13, "color": colour, "line": {"width": 1, "color": "#FFFFFF"}},
            )  # fmt: skip
    longest = max((len(history) for history in histories.values()), default=0)
    figure.update_xaxes(title="epoch", tickformat="d", dtick=1 if longest < 10 else None)
    figure.update_yaxes(tickformat=".0%" if share else None, title=unit)
    return figure


def rate_steps(histories: dict[str, pd.DataFrame]) -> go.Figure:
    """The learning rate of each epoch."""
    figure = _figure(280)
    for position, (name, history) in enumerate(histories.items()):
        figure.add_scatter(
            x=np.arange(1, len(history) + 1), y=history["learning_rate"], mode="lines+markers", name=name,
            line={"shape": "hv", "width": 2.2, "color": RUN_COLOURS[position % len(RUN_COLOURS)]}, marker_size=5,
            hovertemplate="epoch %{x}: %{y:.2g}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="epoch", tickformat="d")
    figure.update_yaxes(type="log", tickformat=".1e", nticks=5, title="learning rate")
    return figure


# ---- evaluation --------------------------------------------------------------------------------


def confusion(counts: np.ndarray, as_rates: bool) -> go.Figure:
    """The confusion matrix: true diagnoses in rows, the model's answers in columns.

    Plotly reports no clicks on heatmaps: invisible squares lie over the cells, and the nearest is taken.

    Args:
        counts: (7, 7) numbers of images.
        as_rates: whether cells show the share of their row instead.
    """
    counts = np.asarray(counts, int)
    totals = counts.sum(axis=1, keepdims=True)
    rates = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    cells = pd.DataFrame(
        [(r, c, *_cell(r, c, counts, rates, as_rates)) for r in range(len(CODES)) for c in range(len(CODES))],
        columns=["row", "column", "text", "story"],
    )
    figure = _figure(560, hovermode="closest", hoverdistance=-1, clickmode="event+select")
    figure.add_heatmap(
        z=rates, zmin=0, zmax=1, showscale=False, hoverinfo="skip", xgap=3, ygap=3,
        colorscale=[[0, "rgba(15,133,126,0.06)"], [0.5, "rgba(15,133,126,0.55)"], [1, "rgba(15,133,126,1)"]],
    )  # fmt: skip
    strong = rates.ravel() >= 0.45
    for rows, ink, meta in ((cells[~strong], None, "themed"), (cells[strong], "#FFFFFF", "strong")):
        figure.add_scatter(
            x=rows["column"], y=rows["row"], mode="text", text=rows["text"], hoverinfo="skip",
            textfont={"size": 15, "color": ink}, meta=meta,
        )  # fmt: skip
    figure.add_scatter(
        x=cells["column"], y=cells["row"], mode="markers", opacity=0, marker={"symbol": "square", "size": 26},
        selected_marker_opacity=0, unselected_marker_opacity=0, text=cells["story"],
        customdata=[[CODES[r], CODES[c]] for r, c in zip(cells["row"], cells["column"], strict=True)],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
    limits, names = [-0.5, len(CODES) - 0.5], [SHORT[code] for code in CODES]
    axes = {"tickvals": list(range(len(CODES))), "ticktext": names, "showgrid": False}
    figure.update_xaxes(range=limits, title="the model said", **axes)
    figure.update_yaxes(range=limits[::-1], title="truth", **axes)
    return figure


def _cell(row: int, column: int, counts: np.ndarray, rates: np.ndarray, as_rates: bool) -> tuple[str, str]:
    """What stands in a cell, and what it tells when pointed at."""
    count, total, rate = counts[row, column], counts[row].sum(), rates[row, column]
    said = "recognised" if row == column else f"taken for<br>{name_of(CODES[column])}"
    story = f"{name_of(CODES[row])}, {said}:<br><b>{count:,} of {total:,}</b> ({rate:.1%})"
    if not count:
        return "·", story
    return f"{rate:.0%}" if as_rates else f"{count:,}", story


def sensitivity_bars(per_class: dict[str, dict[str, Any]]) -> go.Figure:
    """The share of each diagnosis that was recognised, with its number of cases."""
    codes = [code for code in reversed(CODES) if (per_class.get(code) or {}).get("sensitivity") is not None]
    values = [per_class[code]["sensitivity"] for code in codes]
    labels = [_with_n(value, per_class[code]["n"]) for value, code in zip(values, codes, strict=True)]
    few = ["/" if per_class[code]["n"] < FEW else "" for code in codes]
    figure = _bars(codes, values, labels, 370, marker_pattern_shape=few)
    shares = [0, 0.25, 0.5, 0.75, 1]
    figure.update_xaxes(tickformat=".0%", range=[0, 1.5], tickvals=shares, title="sensitivity")
    return figure


def _with_n(value: float, n: int) -> str:
    return f"{value:.0%} of {n:,}" + ("<br>few cases" if n < FEW else "")


# ---- one image ---------------------------------------------------------------------------------


def probability(value: float) -> str:
    """0.7421 -> "74.2 %": what is said of one image is never a certainty, whatever it rounds to."""
    return "< 0.1 %" if value < 0.001 else "> 99.9 %" if value > 0.999 else f"{100 * value:.1f} %"


def probability_bars(probabilities: np.ndarray, truth: str | None = None) -> go.Figure:
    """The confidence in each of the seven diagnoses, in their fixed order; the truth is marked where known.

    Args:
        probabilities: (7,), sum 1.
        truth: a code, or None.
    """
    names = [f"<b>{wrapped(name_of(c))}</b><br>(the truth)" if c == truth else wrapped(name_of(c)) for c in CODES]
    figure = _bars(list(CODES), probabilities, [probability(p) for p in probabilities], 330, y=names)
    figure.update_xaxes(tickformat=".0%", range=[0, 1.25], tickvals=[0, 0.5, 1], title="probability")
    figure.update_yaxes(autorange="reversed")
    return figure
