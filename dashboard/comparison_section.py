"""Two runs beside each other: what was asked of them, what they answered, and which images one repairs."""

import dataclasses

import pandas as pd
import streamlit as st

from core.config import TrainConfig
from core.evaluation.comparison import MEASURES, compare
from core.runs.run import Run
from dashboard import gallery_table, loaders, picked, widgets
from dashboard.loaders import RunCard


def comparison(before: RunCard, after: RunCard) -> None:
    """What differs from the first run to the second one."""
    st.subheader("What differs")
    st.caption(f"From **{before.label}** to **{after.label}**.")
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Settings**")
        settings(loaders.config(before.run), loaders.config(after.run))
    with right:
        st.markdown("**Answers to the test images of both**")
        answers(before.run, after.run)


def settings(before: TrainConfig, after: TrainConfig) -> None:
    """The settings that are not the same."""
    rows = [
        {"Setting": setting.name.replace("_", " "), "First": str(one), "Second": str(other)}
        for setting in dataclasses.fields(TrainConfig)
        if (one := getattr(before, setting.name)) != (other := getattr(after, setting.name))
    ]
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True)
    else:
        st.caption("Both were asked for the same. What differs comes from the machine, or from the data.")


def answers(before: Run, after: Run) -> None:
    """Repaired and broken answers, with the way to their images."""
    if not (loaders.has(before, "predictions") and loaders.has(after, "predictions")):
        st.caption("One of them has no predictions yet.")
        return
    first, second = tested(before), tested(after)
    found = compare(first, second, loaders.config(after).seed)
    if found.table.empty:
        st.caption("They were tested on different images: their answers cannot be compared.")
        return
    chance = "chance may explain it" if found.p_value >= 0.05 else "chance does not explain it"
    p = f"p = {found.p_value:.3f}" if found.p_value >= 0.001 else "p < 0.001"
    st.markdown(
        f"Of **{len(found.table):,} images**, the second run repairs **{found.repaired.sum():,}** and breaks "
        f"**{found.broken.sum():,}** (McNemar's test, one image a lesion: {p}; {chance})."
    )
    for measure, figure in found.differences.items():
        st.markdown(
            f"{MEASURES[measure]}: **{100 * figure['value']:+.1f} points** "
            f"(95 % interval {100 * figure['low']:+.1f} to {100 * figure['high']:+.1f})"
        )
    with st.container(horizontal=True, gap="small"):
        for name, rows in (("repaired", found.repaired), ("broken", found.broken)):
            label = f"See the {rows.sum():,} {name}"
            if st.button(label, icon=":material/photo_library:", key=f"see_{name}", disabled=not rows.any()):
                title = f"{name.capitalize()} from {before.id} to {after.id}"
                widgets.show_pick(picked.keep(title, found.table["image_id"][rows]))


def tested(run: Run) -> pd.DataFrame:
    """The answers to a run's test images."""
    table = gallery_table.answers(run)
    return table.loc[table["split"] == "test", ["image_id", "lesion_id", "dx", "predicted"]]
