"""Figures on how far answers can be trusted: calibration, prediction sets, operating points, subgroups. Pure.

As in `dashboard.charts`, figures are transparent and leave the colour of their text to the theme.
"""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.diagnoses import BY_CODE, CODES
from dashboard.charts import INK, TRAIN_INK, _figure, name_of, wrapped

OTHER = "#D9822B"  # what is compared with
FAINT = "rgba(128,140,148,0.55)"  # few cases, chance, limits
SQUARE = 380  # pixels high: about as wide on a page of two columns


def reliability(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> go.Figure:
    """What was said against what happened, before and after calibration; on the diagonal both are equal.

    Args:
        before, after: bins of `core.evaluation.metrics.calibration_figures`.
    """
    figure = _figure(SQUARE + 60, showlegend=True, legend_y=-0.2)
    _line(figure, [0, 1], [0, 1], "said and happened are equal", FAINT, "dash")
    for rows, name, ink, symbol in (
        (before, "before calibration", TRAIN_INK, "circle-open"),
        (after, "calibrated", INK, "circle"),
    ):
        rows = [row for row in rows if row["n"]]
        accuracy = np.array([row["accuracy"] for row in rows])
        figure.add_scatter(
            x=[row["confidence"] for row in rows], y=accuracy, name=name, mode="lines+markers",
            line={"color": ink, "width": 2 if ink == INK else 1.2},
            marker={"symbol": symbol, "size": [_area(row["n"], rows) for row in rows], "color": ink},
            error_y=_errors(
                accuracy, [row["accuracy_low"] for row in rows], [row["accuracy_high"] for row in rows], ink
            ) if ink == INK else None,
            customdata=[[row["n"], row["low"], row["high"]] for row in rows] if ink == INK else None,
            text=[f"{row['n']:,}" for row in rows],
            hovertemplate="said %{x:.0%}, happened %{y:.0%}<br>%{text} images<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="probability that was said", range=[-0.02, 1.02], **_shares())
    figure.update_yaxes(title="how often it was so", range=[-0.04, 1.04], **_shares())
    return figure


def coverage(per_class: dict[str, dict[str, Any]], level: float) -> go.Figure:
    """How often the set held the truth, for each diagnosis, beside the level; hollow where nothing is promised.

    Args:
        per_class: of `core.evaluation.conformal.set_figures`.
        level: that was asked for.
    """
    codes = [code for code in reversed(CODES) if per_class.get(code, {}).get("n")]
    rows = [
        {"name": wrapped(name_of(code)), "colour": BY_CODE[code].colour, "faint": not per_class[code]["promised"]}
        | per_class[code]["coverage"]
        | {"story": f"{per_class[code]['n']:,} images, {per_class[code]['n_calibration']:,} for calibration"}
        for code in codes
    ]
    figure = _dots(rows)
    figure.add_vline(x=level, line={"color": OTHER, "width": 2, "dash": "dash"}, layer="below")
    figure.update_xaxes(title="sets that held the truth")
    return figure


def set_sizes(sizes: list[int]) -> go.Figure:
    """How many sets have one diagnosis, two, and so on.

    Args:
        sizes: (8,) how many sets have 0 to 7 members.
    """
    total = max(1, sum(sizes))
    names = ["none", *(str(number) for number in range(1, len(sizes)))]
    shown = [place for place, n in enumerate(sizes) if place or n]
    figure = _figure(300)
    figure.add_bar(
        x=[names[place] for place in shown], y=[sizes[place] / total for place in shown], marker_color=INK,
        text=[f"{sizes[place] / total:.0%}" if sizes[place] else "" for place in shown], textposition="outside",
        cliponaxis=False, customdata=[[sizes[place]] for place in shown],
        hovertemplate="%{x}: %{customdata[0]:,} images<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="diagnoses in the set", type="category", showgrid=False)
    figure.update_yaxes(title="share of the images", tickformat=".0%", range=[0, max(sizes) / total * 1.18 or 1])
    return figure


# ---- operating points ----------------------------------------------------------------------------


def roc(curves: pd.DataFrame, stored: float | None, chosen: float) -> go.Figure:
    """Sensitivity against false alarms, with the stored and the chosen threshold.

    Args:
        curves: of `core.evaluation.operating.curves`.
        stored: the threshold that the run holds; None for none.
        chosen: the threshold that is looked at.
    """
    figure = _figure(SQUARE + 40, showlegend=True, legend_y=-0.28)
    _line(figure, [0, 1], [0, 1], "guessing", FAINT, "dash")
    _line(figure, 1 - curves["specificity"], curves["sensitivity"], None, INK, hover=_hover(curves))
    _thresholds(figure, curves, "specificity", "sensitivity", stored, chosen, mirrored=True)
    figure.update_xaxes(title="1 – specificity: others that are flagged", range=[-0.02, 1.02], **_shares())
    figure.update_yaxes(title="sensitivity", range=[-0.02, 1.04], **_shares())
    return figure


def precision_recall(curves: pd.DataFrame, prevalence: float, stored: float | None, chosen: float) -> go.Figure:
    """PPV against sensitivity; arguments as of `roc`. Guessing has the prevalence as its PPV."""
    figure = _figure(SQUARE + 40, showlegend=True, legend_y=-0.28)
    _line(figure, [0, 1], [prevalence, prevalence], "guessing", FAINT, "dash")
    drawn = curves[curves["ppv"].notna()]
    _line(figure, drawn["sensitivity"], drawn["ppv"], None, INK, hover=_hover(drawn))
    _thresholds(figure, drawn, "sensitivity", "ppv", stored, chosen)
    figure.update_xaxes(title="sensitivity", range=[-0.02, 1.02], **_shares())
    figure.update_yaxes(title="PPV: flagged ones that are positive", range=[-0.02, 1.04], **_shares())
    return figure


def decision(curves: pd.DataFrame, prevalence: float, stored: float | None, chosen: float) -> go.Figure:
    """Net benefit of following the run, of treating all and of treating none; arguments as of `roc`."""
    figure = _figure(SQUARE + 40, showlegend=True, legend_y=-0.28)
    most = max(prevalence * 1.1, 0.001)
    acting = float(curves.loc[curves["threshold"] >= chosen, "probability"].min())
    end = min(1.0, max(4 * prevalence, 2 * (0.0 if np.isnan(acting) else acting), 0.02))
    drawn = curves[curves["probability"] <= end]
    _line(figure, [0, end], [0, 0], "flag none", FAINT, "dash")
    points = np.linspace(0, min(end, 0.99), 100)
    everybody = prevalence - (1 - prevalence) * points / (1 - points)
    _line(figure, points, everybody, "flag all", OTHER, "dot")
    _line(figure, drawn["probability"], drawn["net_benefit"], "follow the run", INK, hover=_hover(drawn))
    _thresholds(figure, drawn, "probability", "net_benefit", stored, chosen)
    figure.update_xaxes(
        title="probability from which one would act", range=[-0.01 * end, end], tickformat="~%", nticks=6
    )
    figure.update_yaxes(title="net benefit for each image", range=[-0.3 * most, most], tickformat="~g", nticks=7)
    return figure


# ---- subgroups and refusal ------------------------------------------------------------------------


def subgroups(groups: dict[str, dict[str, Any]], measure: str) -> go.Figure:
    """A measure of each group with its interval; grey and hollow where there are few cases.

    Args:
        groups: group -> figures, of `core.evaluation.subgroups.subgroup_figures`.
        measure: "balanced_accuracy", "melanoma_sensitivity" or "ece".
    """
    rows = []
    for group, figures in reversed(groups.items()):
        figure = figures[measure]
        n = figure.get("n", figures["n"])
        few = bool(figures["few"] or figure.get("few"))
        label = f"{wrapped(group.replace('_', ' '))} ({n:,}{', few' if few else ''})"
        rows.append({"name": label, "colour": INK, "faint": few, "story": f"{n:,} cases", "carries": group} | figure)
    highest = max((row["high"] for row in rows if row["high"] is not None), default=1.0)
    return _dots(rows, min(1.0, float(np.ceil(20 * highest) / 20)) if measure == "ece" else 1.0)


def strangeness(scores: np.ndarray, threshold: float) -> go.Figure:
    """How strange the images are to the run, and from where on they are refused.

    Args:
        scores: (n,) out-of-distribution scores.
        threshold: images above it are refused.
    """
    figure = _figure(300)
    counts, edges = np.histogram(scores, bins=40)
    middles = (edges[1:] + edges[:-1]) / 2
    refused = middles > threshold
    figure.add_bar(
        x=middles, y=counts, width=np.diff(edges) * 0.92, marker_color=np.where(refused, OTHER, INK),
        marker_pattern_shape=np.where(refused, "/", ""),
        hovertemplate="score %{x:.3g}: %{y:,} images<extra></extra>",
    )  # fmt: skip
    figure.add_vline(
        x=threshold, line={"color": OTHER, "width": 2, "dash": "dash"}, annotation_text=" refused",
        annotation_position="top right",
    )  # fmt: skip
    figure.update_xaxes(title="out-of-distribution score", showgrid=False)
    figure.update_yaxes(title="images")
    return figure


# ---- pieces ---------------------------------------------------------------------------------------


def _dots(rows: list[dict[str, Any]], end: float = 1.0) -> go.Figure:
    """A row for each name: its value with the interval, on an axis from 0 to `end`.

    `rows` hold name, colour, faint, story, value, low and high.
    """
    figure = _figure(70 + 46 * max(len(rows), 1))
    for row in rows:
        if row["value"] is None or np.isnan(row["value"]):
            figure.add_scatter(x=[None], y=[row["name"]], hoverinfo="skip")
            continue
        ink = FAINT if row["faint"] else row["colour"]
        figure.add_scatter(
            x=[row["value"]], y=[row["name"]], mode="markers",
            marker={"size": 11, "color": ink, "symbol": "circle-open" if row["faint"] else "circle"},
            error_x=_errors(np.array([row["value"]]), [row["low"]], [row["high"]], ink),
            customdata=[[row["story"], row["low"], row["high"], row.get("carries")]],
            hovertemplate="%{y}: %{x:.1%}<br>95 % interval %{customdata[1]:.1%} to %{customdata[2]:.1%}<br>"
            "%{customdata[0]}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[1.18 * end], y=[row["name"]], mode="text", text=[f"{row['value']:.0%}"], meta="themed", hoverinfo="skip"
        )
    ticks = _shares() if end == 1 else {"tickformat": ".0%", "nticks": 6}
    figure.update_xaxes(range=[-0.03 * end, 1.28 * end], **ticks)
    figure.update_yaxes(
        showgrid=False, type="category", categoryorder="array", categoryarray=[row["name"] for row in rows],
        range=[-0.6, len(rows) - 0.4],
    )  # fmt: skip
    return figure


def _shares() -> dict[str, Any]:
    return {"tickformat": ".0%", "tickvals": [0, 0.2, 0.4, 0.6, 0.8, 1]}


def _errors(value: np.ndarray, low: list[Any], high: list[Any], ink: str) -> dict[str, Any]:
    return {
        "type": "data", "symmetric": False, "array": np.array(high, float) - value,
        "arrayminus": value - np.array(low, float), "color": ink, "thickness": 1.6, "width": 4,
    }  # fmt: skip


def _area(n: int, rows: list[dict[str, Any]]) -> float:
    """A marker's size: its area grows with the images of its bin."""
    return 5 + 11 * float(np.sqrt(n / max(row["n"] for row in rows)))


def _line(
    figure: go.Figure, x: Any, y: Any, name: str | None, ink: str, dash: str = "solid", hover: list[str] | None = None
) -> None:
    figure.add_scatter(
        x=x, y=y, mode="lines", name=name, showlegend=name is not None, text=hover,
        line={"color": ink, "dash": dash, "width": 2.4 if dash == "solid" else 1.6},
        hovertemplate="%{text}<extra></extra>" if hover else None, hoverinfo=None if hover else "skip",
    )  # fmt: skip


def _hover(curves: pd.DataFrame) -> list[str]:
    return [
        f"threshold {row.threshold:.1%}<br>sensitivity {row.sensitivity:.1%}, specificity {row.specificity:.1%}"
        for row in curves.itertuples()
    ]


def _thresholds(
    figure: go.Figure, curves: pd.DataFrame, x: str, y: str, stored: float | None, chosen: float, mirrored: bool = False
) -> None:
    """Marks on a curve: hollow the stored threshold, full the chosen one."""
    for threshold, name, symbol in ((stored, "stored", "circle-open"), (chosen, "chosen", "circle")):
        if threshold is None or curves.empty or (name == "stored" and threshold == chosen):
            continue
        row = curves.iloc[min(int(np.searchsorted(curves["threshold"], threshold)), len(curves) - 1)]
        figure.add_scatter(
            x=[1 - row[x] if mirrored else row[x]], y=[row[y]], mode="markers", name=f"{name} threshold",
            marker={"symbol": symbol, "size": 13, "color": OTHER, "line": {"width": 2.5, "color": OTHER}},
            hovertemplate=f"{name} threshold {threshold:.1%}<extra></extra>",
        )  # fmt: skip
