"""Curves and tables of heatmaps. Pure: nothing here knows of Streamlit."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.explain.faithfulness import area
from core.explain.methods import METHODS
from dashboard.charts import _figure

CONTROLS = {"random": "A random map", "gaussian": "A blob in the middle"}
INKS = ("#14958C", "#D9822B", "#5B6CC4", "#B5446E", "#3F9B5B", "#9A7B2F")
CONTROL_INK = "#8A98A3"
DASHES = {"random": "dot", "gaussian": "dash"}
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")


def title_of(name: str) -> str:
    """The name of a method or of a control, for people."""
    return METHODS[name].title if name in METHODS else CONTROLS.get(name, name)


def curve_chart(fractions: np.ndarray, curves: dict[str, np.ndarray], axis: str) -> go.Figure:
    """How far a diagnosis holds, for each heatmap.

    Args:
        fractions: (m,) shares of the image, 0 to 1.
        curves: name of a method or a control -> (m,) probability.
        axis: what the shares are of.
    """
    figure = _figure(370, showlegend=True, legend_y=-0.3)
    for index, (name, values) in enumerate(curves.items()):
        control = name in CONTROLS
        figure.add_scatter(
            x=fractions, y=values, name=title_of(name), mode="lines" if control else "lines+markers",
            line={"color": CONTROL_INK if control else INKS[index % len(INKS)], "dash": DASHES.get(name, "solid")},
            marker={"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 8},
            hovertemplate=f"{title_of(name)}: %{{y:.0%}} at %{{x:.0%}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(tickformat=".0%", range=[-0.02, 1.02], title=axis)
    figure.update_yaxes(tickformat=".0%", range=[-0.03, 1.05], title="probability of the diagnosis")
    return figure


def image_table(
    fractions: np.ndarray | None,
    deletion: dict[str, np.ndarray],
    insertion: dict[str, np.ndarray],
    lesion: dict[str, tuple[bool, float]],
) -> pd.DataFrame:
    """One row a heatmap of one image; a column only where something is known.

    Args:
        fractions: of the curves; None before there are any.
        deletion, insertion: name -> (m,) probability.
        lesion: name -> whether the hottest point lies in the lesion, and the share of the heat that does.
    """
    rows = []
    for name in dict.fromkeys([*deletion, *lesion]):
        row = {"Heatmap": title_of(name)}
        if name in lesion:
            hit, share = lesion[name]
            row |= {"Hottest point in the lesion": "yes" if hit else "no", "Heat in the lesion": _percent(share)}
        if fractions is not None and name in deletion:
            shares = tuple(fractions)
            row |= {
                "Left under deletion": _percent(float(area(deletion[name], shares))),
                "Reached by insertion": _percent(float(area(insertion[name], shares))),
            }
        rows.append(row)
    return pd.DataFrame(rows).fillna("–")


def measured_table(measured: dict[str, Any]) -> pd.DataFrame:
    """heatmaps.json: one row a method, its figures with intervals."""
    rows = []
    for name, figures in measured["methods"].items():
        if "equal_to" in figures:
            continue
        beats = figures["beats"]["both"]
        shuffled = measured["randomised"]["top"].get(name)
        row = {
            "Heatmap": title_of(name) + (" (the default)" if name == measured["default"] else ""),
            "Better in deletion": share(beats["deletion"]),
            "Better in insertion": share(beats["insertion"]),
        }
        if measured["masks"]:
            row |= {
                "Hottest point in the lesion": share(figures["pointing"]),
                "Heat in the lesion": share(figures["energy"]),
            }
        value = (shuffled or {}).get("value")
        rows.append(row | {"Likeness after shuffling": "–" if value is None else f"{value:.2f}"})
    return pd.DataFrame(rows)


def share(figure: dict[str, float]) -> str:
    """A share with its 95 % interval: "91 % (86 to 94)"."""
    if figure.get("value") is None:
        return "–"
    return f"{_percent(figure['value'])} ({100 * figure['low']:.0f} to {100 * figure['high']:.0f})"


def verdict(measured: dict[str, Any], name: str) -> str:
    """How far to trust one method, in a sentence."""
    figure = measured["methods"][name]["beats"]["both"]["both"]
    return (
        f"**{title_of(name)}** points better than a random map and than a blob in the middle, in deletion and in "
        f"insertion, on **{_percent(figure['value'])}** of {figure['n']:,} test images "
        f"(95 % interval {100 * figure['low']:.0f} to {100 * figure['high']:.0f} %)."
    )


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if np.isfinite(value) else "–"
