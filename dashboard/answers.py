"""What a run said of one set of images, as the sections of the evaluation page read it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.data.dataset import Dataset
from core.diagnoses import CODES, PROBABILITY_COLUMNS
from core.errors import DermLensError
from core.runs.run import Run
from dashboard import charts, loaders, picked, widgets
from dashboard.selection import evaluation_of

SHOWN = 12  # small images, in two rows


@dataclass(frozen=True, eq=False)
class Answers:
    """What a run said of one set of images, and what it fitted on its calibration images.

    Attributes:
        run: that answered.
        part: of the split, or `EXTERNAL` with the name of an external evaluation.
        figures: of these images, one split of `metrics.json`.
        table: image_id, dx, predicted, p_<code>, ood_score and lesion_id of each image; empty where it is not kept.
        fitted: `calibration.json`; where nothing is known of the people, with what is fitted to images alone.
        folder: of an external data set; None for the run's own images.
    """

    run: Run
    part: str
    figures: dict[str, Any]
    table: pd.DataFrame
    fitted: dict[str, Any]
    folder: str | None = None
    image_alone: bool = False  # nothing was known of the people, while the run hears of age, sex and site

    @classmethod
    def of_part(cls, run: Run, part: str) -> "Answers":
        """Those on a part of the run's own split."""
        predictions, splits = loaders.predictions(run), loaders.splits(run)
        table = predictions[predictions["split"] == part].merge(splits[["image_id", "lesion_id"]], on="image_id")
        return cls(run, part, loaders.metrics(run)[part], table, loaders.calibration(run))

    @classmethod
    def of_evaluation(cls, run: Run, part: str, content: dict[str, Any]) -> "Answers":
        """Those on images from elsewhere."""
        table = loaders.external_predictions(run, evaluation_of(part))
        data, fitted = content.get("data", {}), loaders.calibration(run)
        alone = bool(data.get("image_alone"))
        if alone:
            fitted = fitted | fitted.get("image_alone", {})
        folder = data.get("folder", "")
        with_lesions = cls(run, part, content.get("metrics", {}), table, fitted, folder)
        dataset = with_lesions.dataset()
        images = table[["image_id"]] if dataset is None else dataset.images[["image_id", "lesion_id"]]
        table = table.merge(images, on="image_id", how="left")
        lesions = table.get("lesion_id", table["image_id"])
        table["lesion_id"] = lesions.fillna(table["image_id"])  # of an unknown lesion, each image is one
        return cls(run, part, with_lesions.figures, table, fitted, folder, alone)

    @property
    def labels(self) -> np.ndarray:
        """(n,) indices into `CODES`."""
        return self.table["dx"].map(CODES.index).to_numpy(int)

    @property
    def probabilities(self) -> np.ndarray:
        """(n, 7), calibrated."""
        return self.table[PROBABILITY_COLUMNS].to_numpy(float)

    @property
    def lesions(self) -> np.ndarray:
        """(n,) lesion of each image."""
        return self.table["lesion_id"].to_numpy()

    @property
    def seed(self) -> int:
        """Of the bootstrap, so that figures are those that were stored."""
        return loaders.config(self.run).seed

    def dataset(self) -> Dataset | None:
        """Where the images lie; None where they are not there any more."""
        try:
            return loaders.dataset_of_part(self.run, self.part)
        except DermLensError:
            return None

    def subgroups(self) -> dict[str, Any]:
        """The figures of subgroups; empty where there are none."""
        if self.folder is not None:
            return loaders.external_subgroups(self.run, evaluation_of(self.part))
        return loaders.subgroups(self.run) if self.part == "test" else {}


def missing(answers: Answers, what: str) -> None:
    """Says that a run of an older DermLens has not got something, and how to make it."""
    st.info(
        f"This run has no {what} yet: an older DermLens trained it, or its examination is not through. This makes it:",
        icon=":material/hourglass_empty:",
    )
    of_folder = "" if answers.folder is None else f' --data-dir "{answers.folder}"'
    st.code(f"python -m core.evaluation --run {answers.run.id}{of_folder}", language="bash")


def thumbnails(answers: Answers, rows: pd.DataFrame, title: str, key: str) -> None:
    """Small images with truth and answer; each leads to its explanation, and all of them to the gallery.

    Args:
        answers: whose images they are.
        rows: image_id, dx, predicted; the first `SHOWN` are shown.
        title: what they have in common, in words.
        key: of this gallery, among those of the page.
    """
    paths = loaders.image_paths(answers.dataset())
    with st.grid(6, min_column_width=150) as grid:
        for row in rows.head(SHOWN).itertuples():
            with grid.cell(), st.container(border=True, height="stretch", gap="xsmall"):
                widgets.picture(paths.get(str(row.image_id)))
                called = charts.name_of(str(row.predicted))
                st.markdown(f"**{charts.name_of(str(row.dx))}**  \ncalled {called[0].lower()}{called[1:]}")
                if st.button(
                    str(row.image_id), icon=":material/center_focus_strong:", type="tertiary",
                    key=f"{key}_{row.image_id}", help="See the heatmaps of all seven diagnoses",
                ):  # fmt: skip
                    widgets.open_explanation(str(row.image_id), answers.part)
    shown = f"{SHOWN} of {len(rows):,} are shown." if len(rows) > SHOWN else ""
    if st.button(f"Open {'all' if shown else 'them'} in the gallery", icon=":material/photo_library:",
                   key=f"{key}_gallery", help=shown or None):  # fmt: skip
        widgets.show_pick(picked.keep(title, rows["image_id"]), answers.part)
