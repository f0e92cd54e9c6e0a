"""The explain page's grid: methods in columns; diagnoses, depths of the network and runs in rows."""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import streamlit as st

from core.data.images import model_input
from core.diagnoses import CODES, SYNTHETIC_NOTICE
from core.errors import ConfigError
from core.explain.methods import DEFAULT_METHOD, METHODS
from core.explain.overlay import full_colour, outlined, overlay
from core.prediction import Prediction
from core.runs.run import Run
from dashboard import charts, loaders, models
from dashboard.explain_charts import title_of

METHODS_KEY, LAYERS_KEY, BESIDE_KEY = "explain_methods", "explain_layers", "explain_beside"
OWN = "each method's own"
AT_FIRST = ["gradcam", DEFAULT_METHOD]
MOST = 48  # pictures of one grid: some seconds, most of them for integrated gradients and occlusion
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


def heatmap_grid(image: Explained, truth: str | None) -> dict[str, np.ndarray]:
    """The pictures that are asked for, a row for each diagnosis at each depth in each run.

    Args:
        image: that is explained.
        truth: its true diagnosis; None where that is not known.

    Returns:
        method -> (h, w): heatmaps of the explained diagnosis in the chosen run, each at its method's own depth.
    """
    st.subheader("Methods, diagnoses and depths side by side")
    methods = st.pills(
        "Methods", list(METHODS), selection_mode="multi", default=AT_FIRST, key=METHODS_KEY, wrap=True,
        format_func=title_of, persist_state="session",
    )  # fmt: skip
    left, middle, right = st.columns(3)
    with left:
        codes = st.multiselect("Diagnoses", CODES, [image.code], format_func=lambda code: named(code, truth),
                               key=f"explain_codes_{image.code}")  # fmt: skip
    with middle:
        layers = st.multiselect(
            "Cut points of the network", [OWN, *depths(image.run)], [OWN], key=LAYERS_KEY, persist_state="session",
            help="Deeper layers know more of what is seen, and less of where: the last activation has 7 x 7 places, "
            "each block below it up to four times as many. Occlusion looks at the image alone.",
        )  # fmt: skip
    with right:
        runs = [image.run, *filter(None, [beside(image.run)])]
    asked = [name for name in METHODS if name in methods]
    rows = [row for row in product(codes, layers, runs) if row[1] == OWN or row[1] in depths(row[2])]
    if not asked or not rows:
        st.caption("Choose a method, a diagnosis and a cut point.")
        return {}
    if len(asked) * len(rows) > MOST:
        st.info(f"At most {MOST} pictures at once. Chosen: {len(asked) * len(rows)}.", icon=":material/apps:")
        return {}
    own = {}
    for code, layer, run in rows:
        found = _row(image, run, code, "" if layer == OWN else layer, asked, len(runs) > 1)
        if (run, code, layer) == (image.run, image.code, OWN):
            own = found
    st.caption(
        "A map is in its own units: full colour is the run's scale of the method where that was measured, and "
        "otherwise what is hottest in the picture itself."
    )
    return own


def depths(run: Run) -> tuple[str, ...]:
    """The cut points of a run's network; another network may have others."""
    return models.predictor(run).explainer.layers


def named(code: str, truth: str | None) -> str:
    """The name of a diagnosis, marked where it is the truth."""
    return charts.name_of(code) + (" (the truth)" if code == truth else "")


def beside(run: Run) -> Run | None:
    """Another finished run to ask about the same image; None for none."""
    others = {card.run.id: card for card in loaders.run_cards() if card.finished and card.run.id != run.id}
    chosen = st.selectbox(
        "Beside another run", [None, *others], key=BESIDE_KEY, disabled=not others,
        format_func=lambda name: others[name].label if name in others else "none",
        help="Its answer and its heatmaps of the same image. Loading its network takes some seconds the first time.",
    )  # fmt: skip
    return others[chosen].run if chosen in others else None


def _row(image: Explained, run: Run, code: str, layer: str, methods: list[str], several: bool) -> dict[str, np.ndarray]:
    """One diagnosis at one depth in one run; each picture is shown as soon as it is there: method -> heatmap."""
    with st.spinner("Asking the run…"):
        prediction = models.answer(run, image.source)
    share = prediction.probabilities[CODES.index(code)]
    words = [f"**{charts.name_of(code)}**, {charts.probability(share)}"]
    words += [f"cut at {layer}"] if layer else []
    if several:
        words.append(f"run {run.id}, which answers {charts.name_of(prediction.code)}")
    st.markdown(" · ".join(words))
    if several and run.synthetic:
        st.caption(SYNTHETIC_NOTICE)
    heatmaps, known = {}, loaders.measured_heatmaps(run).get("methods", {})
    with st.grid(max(3, len(methods)), min_column_width=200) as grid:
        places = []
        for name in methods:
            with grid.cell():
                places.append(st.empty())
                places[-1].caption(f"{title_of(name)} is waiting…")
    for place, name in zip(places, methods, strict=True):
        cut = layer if METHODS[name].any_layer else ""
        try:
            with place.container(), st.spinner(f"{title_of(name)}…"):
                heatmap = models.explanation(run, image.source, name, code, cut)
        except ConfigError as error:  # a path that this network's head goes round
            place.caption(f"{title_of(name)}: {error}")
            continue
        heatmaps[name] = heatmap
        scale = (known.get(name, {}).get("scale") if not cut else None) or full_colour(heatmap)
        picture = image.with_outline(overlay(prediction.image, heatmap, scale, image.opacity))
        caption = f"{title_of(name)}: {METHODS[name].sentence}"
        if not heatmap.any():
            caption = f"{title_of(name)}: nothing speaks for it."
        place.image(picture, caption=caption, width="stretch", output_format="JPEG",
                    alt=f"{caption} {charts.name_of(code)}, run {run.id}")  # fmt: skip
    return heatmaps
