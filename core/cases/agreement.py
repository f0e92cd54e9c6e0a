"""How model, reader and histology agree on logged cases. Arithmetic on `CaseLog.table()`; lesions are the groups.

Cohen's kappa is agreement beyond chance (Educational and Psychological Measurement 20(1), 1960). Its interval is that
of the agreement itself, with the agreement by chance held fixed: simulated on 10 to 200 cases of the seven diagnoses
with kappas of 0.5 to 0.95, it covers 92 to 98 % in place of 95 %, where the percentiles of resampled kappas cover 17
to 96 %, since few cases often all agree.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.diagnoses import CODES
from core.evaluation.bootstrap import Figure, LesionBootstrap

MODEL = "model"  # its answer against the histology
MODEL_ALL = "model_all"  # against the histology, or the reader's diagnosis where there is none
BEFORE = "reader_before"  # the reader's own impression against the histology
AFTER = "reader_after"  # the reader's diagnosis against the histology

CHANGED = "changed"  # other diagnosis after the model's answer than before, among cases with both
TO_MODEL = "to_model"  # among the changed ones: to the model's answer
TOWARDS = "towards"  # among the changed ones with histology: wrong before, right after
AWAY = "away"  # right before, wrong after
BETWEEN = "between"  # wrong before and after

UNKNOWN = {"value": np.nan, "low": np.nan, "high": np.nan}


@dataclass(frozen=True)
class Agreement:
    """How often two say the same.

    Attributes:
        name: `MODEL`, `MODEL_ALL`, `BEFORE` or `AFTER`.
        n: cases of which both are known.
        lesions: how many lesions these show.
        raw: the share of cases on which they agree, 0 to 1, with its 95 % interval; NaN where n is 0.
        kappa: Cohen's kappa, at most 1, with its 95 % interval; NaN where chance alone would always agree.
    """

    name: str
    n: int
    lesions: int
    raw: Figure
    kappa: Figure


@dataclass(frozen=True)
class Change:
    """How often a reader changed the mind, and where to.

    Attributes:
        name: `CHANGED`, `TO_MODEL`, `TOWARDS`, `AWAY` or `BETWEEN`.
        count: how often.
        n: among how many cases.
        share: count of n, 0 to 1, with its 95 % interval; NaN where n is 0.
    """

    name: str
    count: int
    n: int
    share: Figure


def counted(table: pd.DataFrame) -> pd.DataFrame:
    """The cases that the figures are about: where the run gave an answer, by a model of real images where there is one.

    An image that was kept several times with the answer of one run is one case: the one with histology, or else the
    newest. With the answers of several runs it is several cases of one lesion, whether or not somebody named it. Of a
    refused image there is no answer to agree with or to change one's mind for. A model of drawn images knows nothing of
    skin: its cases count only as long as there are no others, to show how the page works.
    """
    known_first = table.iloc[np.argsort(table["histology"].isna().to_numpy(), kind="stable")]  # each newest first
    once = known_first.drop_duplicates(["image_sha256", "run"]).sort_index()
    named_first = table.iloc[np.argsort((table["lesion"] == table["id"]).to_numpy(), kind="stable")]
    lesions = named_first.drop_duplicates("image_sha256").set_index("image_sha256")["lesion"]
    once = once.assign(lesion=once["image_sha256"].map(lesions))
    answered = once[~once["refused"].astype(bool)]
    real = answered[~answered["synthetic"].astype(bool)]
    return answered if real.empty else real


def agreements(table: pd.DataFrame) -> list[Agreement]:
    """The model and the reader, before and after its answer, against the truth.

    The reader is compared with histology only: with the reader's own diagnosis everybody agrees.

    Args:
        table: (n rows) lesion, predicted, own_impression, reader_diagnosis, histology; codes, or None.
    """
    known = table["histology"].where(table["histology"].notna(), table["reader_diagnosis"])
    asked = {
        MODEL: (table["predicted"], table["histology"]),
        MODEL_ALL: (table["predicted"], known),
        BEFORE: (table["own_impression"], table["histology"]),
        AFTER: (table["reader_diagnosis"], table["histology"]),
    }
    return [_agreement(name, one, truth, table["lesion"]) for name, (one, truth) in asked.items()]


def changes(table: pd.DataFrame) -> list[Change]:
    """How often the reader's diagnosis is another than the own impression before the model's answer, and which way.

    Args:
        table: as of `agreements`.
    """
    before, after, truth = table["own_impression"], table["reader_diagnosis"], table["histology"]
    both = (before.notna() & after.notna()).to_numpy()
    changed = both & (before != after).to_numpy()
    confirmed = changed & truth.notna().to_numpy()
    right_before, right_after = (before == truth).to_numpy(), (after == truth).to_numpy()
    asked = {
        CHANGED: (changed, both),
        TO_MODEL: ((after == table["predicted"]).to_numpy(), changed),
        TOWARDS: (right_after, confirmed),
        AWAY: (right_before, confirmed),
        BETWEEN: (~right_before & ~right_after, confirmed),
    }
    found = []
    for name, (hits, among) in asked.items():
        count, n = int((hits & among).sum()), int(among.sum())
        lesions = table["lesion"].to_numpy()[among]
        found.append(Change(name, count, n, LesionBootstrap(lesions, 0).share(hits[among]) if n else UNKNOWN))
    return found


def _agreement(name: str, one: pd.Series, other: pd.Series, lesions: pd.Series) -> Agreement:
    both = (one.notna() & other.notna()).to_numpy()
    if not both.any():
        return Agreement(name, 0, 0, UNKNOWN, UNKNOWN)
    first, second, groups = one.to_numpy()[both], other.to_numpy()[both], lesions.to_numpy()[both]
    raw = LesionBootstrap(groups, 0).share(first == second)
    return Agreement(name, len(first), len(np.unique(groups.astype(str))), raw, _kappa(raw, first, second))


def _kappa(raw: Figure, first: np.ndarray, second: np.ndarray) -> Figure:
    """Agreement beyond chance, of agreement and its interval."""
    chance = sum(float((first == code).mean() * (second == code).mean()) for code in CODES)
    if chance >= 1:  # both always say the same one thing
        return UNKNOWN
    return {end: (value - chance) / (1 - chance) for end, value in raw.items()}
