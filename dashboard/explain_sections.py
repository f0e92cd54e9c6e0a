"""The explain page on how far heatmaps can be trusted: tested on this image, and measured for the run."""

import numpy as np
import streamlit as st

from core.explain.faithfulness import energy, pointing
from core.runs.run import Run
from dashboard import charts, explain_charts, loaders, models, widgets
from dashboard.explain_grid import Explained
from dashboard.widgets import percent

TEST_KEY = "explain_test"


def tested(image: Explained, heatmaps: dict[str, np.ndarray]) -> None:
    """Curves of heatmaps of this image, where they are asked for, and where the heat lies.

    Args:
        image: that is explained.
        heatmaps: method -> (h, w), of the explained diagnosis at the method's own depth; none, and nothing is shown.
    """
    if not heatmaps:
        return
    mask = image.seen_mask()
    lesion = (
        {} if mask is None else {name: (pointing(map_, mask), energy(map_, mask)) for name, map_ in heatmaps.items()}
    )
    asked = st.toggle(
        "Test these heatmaps on this image", key=TEST_KEY, persist_state="session",
        help="Blurs the image step by step, in the order of each heatmap, and asks the model again: some seconds.",
    )  # fmt: skip
    if asked:
        with st.spinner("Blurring step by step…"):
            curves = models.curves(image.run, image.source, image.code, [(name, "") for name in heatmaps])
        with st.grid(2, min_column_width=300) as grid:
            with grid.cell():
                figure = explain_charts.curve_chart(curves.fractions, curves.deletion, "of the image blurred")
                widgets.chart(figure, "explain_deletion", "Deletion: hottest parts blurred first")
                st.caption("The sooner it falls, the better.")
            with grid.cell():
                figure = explain_charts.curve_chart(curves.fractions, curves.insertion, "of the image sharp")
                widgets.chart(figure, "explain_insertion", "Insertion: hottest parts made sharp first")
                st.caption("The sooner it rises, the better.")
        if curves.kept:
            st.caption(
                f"The model says {charts.name_of(image.code)} of the wholly blurred image too: on such an image the "
                "curves tell little."
            )
        table = explain_charts.image_table(curves.fractions, curves.deletion, curves.insertion, lesion)
    else:
        table = explain_charts.image_table(None, {}, {}, lesion)
    if not table.empty:
        st.dataframe(table, hide_index=True)
    if asked:
        st.caption(
            f"Left under deletion and reached by insertion: the mean probability of {charts.name_of(image.code)} "
            "along the curve, not calibrated. Less is better in the first, more in the second."
        )
    if mask is not None:
        st.caption(f"The lesion takes {mask.mean():.0%} of what the model sees: heat spread evenly has that share.")


def measured_figures(run: Run) -> None:
    """What heatmaps.json says of the methods, in words and as a table."""
    measured = loaders.measured_heatmaps(run)
    if not measured:
        st.caption(f"This run's heatmaps are not measured yet: `python -m core.evaluation --run {run.id}`.")
        return
    st.subheader("How far this run's heatmaps can be trusted")
    sentences = [explain_charts.verdict(measured, name) for name in dict.fromkeys([measured["default"], "gradcam"])]
    st.markdown("  \n".join(sentences))
    st.dataframe(explain_charts.measured_table(measured), hide_index=True)
    words = [
        "Better in deletion, in insertion: the share of images on which a heatmap does better than both a random map "
        "and a blob in the middle of the image (95 % interval).",
        "Likeness after shuffling: rank correlation of the heatmaps with those of the network after the weights of its "
        "upper blocks were shuffled; a method that shows what was learned is near 0.",
    ]
    if measured["masks"]:
        centre, area = (percent(measured["lesion"][what]["value"], 0) for what in ("centre", "area"))
        words.append(
            f"The middle of the image lies in the lesion in {centre} of the images, and the lesion takes {area} of the "
            "area: so much is had by knowing nothing. To point at the lesion is not to point at what the model uses."
        )
    survives = percent(measured["answer_survives_blur"]["value"], 0)
    words.append(
        f"The wholly blurred image gets the same answer in {survives} of the images. At the last activation, HiResCAM "
        "is Grad-CAM."
    )
    st.caption("  \n".join(words))
