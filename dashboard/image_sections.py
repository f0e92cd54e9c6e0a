"""The data set page on images: the mean of each diagnosis, samples of it, and the map of all."""

import numpy as np
import pandas as pd
import streamlit as st

from core.data.dataset import Dataset
from core.diagnoses import BY_CODE, CODES
from core.evaluation.mean_images import middle_and_rim, split_means
from core.runs.run import Run
from dashboard import charts, loaders, picked, selection, widgets

INKS = {"dx": "Diagnosis", "predicted": "Answer", "right": "Right or wrong", "split": "Part of the split"}


def means(run: Run, images: pd.DataFrame) -> None:
    """The mean image of each diagnosis, with the colour of its middle and of its rim.

    Args:
        run: a run that was examined.
        images: dx of each image.
    """
    st.subheader("The mean image of each diagnosis")
    counts = images["dx"].value_counts()
    with st.grid(7, min_column_width=120) as grid:
        for code, mean in split_means(loaders.mean_images(run)).items():
            with grid.cell(), st.container(gap="xsmall"):
                name = charts.name_of(code)
                st.image(mean, width="stretch", alt=f"Mean image of {name}")
                st.markdown(f":small[**{name}**  \n{counts.get(code, 0):,} images]")
                for what, colour in zip(("middle", "rim"), middle_and_rim(mean), strict=True):
                    swatch(what, colour)
    st.caption(
        "All images of a diagnosis laid over each other, as the model sees them. What shows is how they are framed, "
        "lit and coloured on the whole, which a model can learn instead of the lesion; no lesion looks like this."
    )


def swatch(what: str, colour: tuple[int, ...]) -> None:
    """A patch of a colour, named by its place and its code."""
    code = "#{:02X}{:02X}{:02X}".format(*colour)
    st.html(
        f'<span style="display:inline-block;width:1em;height:0.9em;border-radius:3px;vertical-align:-0.1em;'
        f'border:1px solid rgba(128,140,148,0.5);background:{code}"></span> '
        f'<span style="font-size:0.72rem;opacity:0.8;white-space:nowrap">{what} {code}</span>'
    )


def samples(dataset: Dataset) -> None:
    """Six images of each diagnosis, others at each press of the button."""
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left:
        chosen = widgets.diagnosis_filter("Diagnosis", "dataset_samples")
    with right:
        if st.button("Other images", icon=":material/shuffle:", key="dataset_shuffle"):
            st.session_state["dataset_seed"] = st.session_state.get("dataset_seed", 0) + 1
    rng = np.random.default_rng(st.session_state.get("dataset_seed", 0))
    for code in (chosen,) if chosen else CODES:
        rows = dataset.images[dataset.images["dx"] == code]
        if rows.empty:
            continue
        drawn = rows.iloc[rng.permutation(len(rows))[: 24 if chosen else 6]]
        st.markdown(f"**{BY_CODE[code].name}**  \n:small[{BY_CODE[code].sentence}]")
        widgets.image_grid(list(zip(drawn["image_id"], drawn["path"], strict=True)))


def image_map(run: Run, splits: pd.DataFrame) -> None:
    """Every image beside those that the network sees as alike; what is circled opens in the gallery."""
    places, predictions = loaders.image_map(run), loaders.predictions(run)
    if places.empty or predictions.empty:
        st.info("This run has no map yet. This makes it:", icon=":material/hourglass_empty:")
        st.code(f"python -m core.evaluation --run {run.id}", language="bash")
        return
    ink = st.segmented_control(
        "Colours show", list(INKS), format_func=INKS.__getitem__, default="dx", required=True, key="dataset_ink",
        persist_state="session",
    ) or "dx"  # fmt: skip
    table = places.merge(predictions[["image_id", "split", "dx", "predicted"]], on="image_id")
    title = f"Map of {len(table):,} images, by {INKS[ink].lower()}"
    event = widgets.chart(charts.image_map(table, ink), f"dataset_map_{ink}", title, lasso=True)
    st.caption(
        "Images that the network sees as alike lie close together (t-SNE of its features); how far apart groups lie "
        "means nothing. Circle some to see them in the gallery; the wheel zooms, a click on the legend hides."
    )
    names = [data[0] for data in selection.all_customdata_of(event)]
    if names:
        widgets.show_pick(picked.keep("Circled on the map of the images", names))
