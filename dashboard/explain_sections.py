"""The explain page on heatmaps of every kind: side by side, tested on this image, and measured for the run."""

from dataclasses import dataclass

import cv2
import numpy as np
import streamlit as st

from core.data.images import model_input
from core.explain.faithfulness import energy, pointing
from core.explain.methods import DEFAULT_METHOD, METHODS
from core.explain.overlay import full_colour, outlined, overlay
from core.prediction import Prediction
from core.runs.run import Run
from dashboard import charts, explain_charts, loaders, widgets
from dashboard.explain_charts import title_of
from dashboard.widgets import percent

METHODS_KEY, LAYER_KEY, TEST_KEY = "explain_methods", "explain_layer", "explain_test"
OWN = "each method's own"
AT_FIRST = ["gradcam", DEFAULT_METHOD]
OUTLINE_SIDE = 800  # pixels
SEEN_SIDE = 224  # pixels: what a lesion's mask is compared at


@dataclass(frozen=True, eq=False)
class Explained:
    """One image under explanation.

    Attributes:
        run: that answers.
        source: the path of the image, or the bytes of a file.
        prediction: the answer.
        code: of the diagnosis that is explained.
        mask: of the lesion on the whole image, (h, w) bool; None where none is known.
        outline: whether the lesion's border is drawn.
        opacity: of the heat, 0 to 1.
    """

    run: Run
    source: str | bytes
    prediction: Prediction
    code: str
    mask: np.ndarray | None
    outline: bool
    opacity: float

    def with_outline(self, picture: np.ndarray) -> np.ndarray:
        """The picture, with the lesion's border where that is asked for; a small one is grown for it first."""
        if not self.outline or self.mask is None:
            return picture
        growth = OUTLINE_SIDE / max(picture.shape[:2])
        if growth > 1:  # else the line would be as thick as what it surrounds
            picture = cv2.resize(picture, None, fx=growth, fy=growth, interpolation=cv2.INTER_CUBIC)
        return outlined(picture, self.mask)

    def seen_mask(self) -> np.ndarray | None:
        """The mask on the square that the model sees; None where no part of the lesion lies in it."""
        if self.mask is None:
            return None
        seen = model_input(np.repeat(self.mask[:, :, None].astype(np.uint8) * 255, 3, axis=2), SEEN_SIDE)[:, :, 0] > 127
        return seen if seen.any() else None


def methods_side_by_side(image: Explained) -> None:
    """Pictures of the chosen methods at the chosen depth, then what can be measured of them on this image."""
    st.subheader("Methods side by side")
    measured = loaders.measured_heatmaps(image.run)
    chosen = st.pills(
        "Methods", list(METHODS), selection_mode="multi", default=AT_FIRST, key=METHODS_KEY, wrap=True,
        format_func=title_of, persist_state="session",
    )  # fmt: skip
    explainer = loaders.predictor(image.run).explainer
    layer = st.selectbox(
        "Cut point of the network", [OWN, *explainer.layers], key=LAYER_KEY, persist_state="session",
        help="Deeper layers know more of what is seen, and less of where: the last activation has 7 x 7 places, each "
        "block below it up to four times as many. Occlusion looks at the image alone.",
    )  # fmt: skip
    asked = [(name, "" if layer == OWN or not METHODS[name].any_layer else layer) for name in METHODS if name in chosen]
    if not asked:
        st.caption("Choose a method.")
        return
    heatmaps = _pictures(image, asked, measured.get("methods", {}))
    st.caption(
        f"What speaks for {charts.name_of(image.code)}. A map is in its own units: full colour is the run's scale of "
        "the method where that was measured, and otherwise what is hottest in the picture itself."
    )
    _tested(image, asked, heatmaps)


def _pictures(image: Explained, asked: list[tuple[str, str]], measured: dict) -> dict[str, np.ndarray]:
    """One picture after another, each shown as soon as it is there; name -> heatmap."""
    heatmaps = {}
    with st.grid(3, min_column_width=240) as grid:
        places = []
        for _ in asked:
            with grid.cell():
                places.append(st.empty())
    for place, (name, _) in zip(places, asked, strict=True):
        place.caption(f"{title_of(name)} is waiting…")
    for place, (name, layer) in zip(places, asked, strict=True):
        with place.container(), st.spinner(f"{title_of(name)}…"):
            heatmap = loaders.explanation(image.run, image.source, name, image.code, layer)
        heatmaps[name] = heatmap
        scale = measured.get(name, {}).get("scale") if not layer else None
        scale = scale or full_colour(heatmap)
        picture = image.with_outline(overlay(image.prediction.image, heatmap, scale, image.opacity))
        caption = f"{title_of(name)}: {METHODS[name].sentence}"
        if not heatmap.any():
            caption = f"{title_of(name)}: nothing speaks for it."
        place.image(picture, caption=caption, width="stretch", output_format="JPEG", alt=caption)
    return heatmaps


def _tested(image: Explained, asked: list[tuple[str, str]], heatmaps: dict[str, np.ndarray]) -> None:
    """Curves of this image, where they are asked for, and where the heat lies."""
    mask = image.seen_mask()
    lesion = (
        {} if mask is None else {name: (pointing(map_, mask), energy(map_, mask)) for name, map_ in heatmaps.items()}
    )
    tested = st.toggle(
        "Test these heatmaps on this image", key=TEST_KEY, persist_state="session",
        help="Blurs the image step by step, in the order of each heatmap, and asks the model again: some seconds.",
    )  # fmt: skip
    if tested:
        with st.spinner("Blurring step by step…"):
            curves = loaders.curves(image.run, image.source, image.code, asked)
        with st.grid(2, min_column_width=300) as grid:
            with grid.cell():
                st.markdown("**Deletion**: the hottest parts are blurred first. The sooner it falls, the better.")
                figure = explain_charts.curve_chart(curves.fractions, curves.deletion, "of the image blurred")
                widgets.chart(figure, "explain_deletion", "Deletion curves")
            with grid.cell():
                st.markdown("**Insertion**: the hottest parts are made sharp first. The sooner it rises, the better.")
                figure = explain_charts.curve_chart(curves.fractions, curves.insertion, "of the image sharp")
                widgets.chart(figure, "explain_insertion", "Insertion curves")
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
    if tested:
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
