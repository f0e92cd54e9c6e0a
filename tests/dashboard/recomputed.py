"""What the evaluation page has to say of a run, computed from the run's tables alone and in another way.

Of `core.evaluation` the resamples alone are used: others would give other intervals.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from core.diagnoses import CODES
from core.evaluation import bootstrap
from core.evaluation.bootstrap import lesion_bootstrap
from core.runs.run import Run

MALIGNANT = ["mel", "bcc", "akiec"]
Figure = tuple[float, float, float]  # value, and the ends of its interval


@dataclass(frozen=True, eq=False)
class Said:
    """What a run said of one part of its images, read from its tables."""

    run: Run
    part: str

    @cached_property
    def fitted(self) -> dict[str, Any]:
        return json.loads((self.run.folder / "calibration.json").read_text())

    @cached_property
    def table(self) -> pd.DataFrame:
        predictions, splits = (pd.read_csv(self.run.folder / f"{name}.csv") for name in ("predictions", "splits"))
        table = predictions.merge(splits.drop(columns=["dx", "split"]), on="image_id")
        return table[table["split"] == self.part].reset_index(drop=True)

    @cached_property
    def truth(self) -> np.ndarray:
        return self.table["dx"].map(list(CODES).index).to_numpy()

    @cached_property
    def answers(self) -> np.ndarray:
        return self.table["predicted"].map(list(CODES).index).to_numpy()

    @cached_property
    def logits(self) -> np.ndarray:
        written = self.table[[f"logit_{code}" for code in CODES]].to_numpy(np.float32)  # as the network gives them
        return written.astype(float)

    @cached_property
    def p(self) -> np.ndarray:
        """(n, 7) probabilities: a softmax at the temperature, less the offsets."""
        offsets = [self.fitted["offsets"][code] for code in CODES]
        return softmax(self.logits / self.fitted["temperature"] - offsets, axis=1)

    @cached_property
    def resamples(self) -> Any:
        return lesion_bootstrap(self.table["lesion_id"].to_numpy(), self.run.config().seed)

    def rows(self, rows: np.ndarray) -> "Said":
        """Some of the images."""
        some = Said(self.run, self.part)
        some.__dict__["table"] = self.table[rows].reset_index(drop=True)
        return some

    def score(self, codes: list[str]) -> np.ndarray:
        return self.p[:, [CODES.index(code) for code in codes]].sum(axis=1)

    def share(self, hits: np.ndarray, among: np.ndarray | None = None) -> Figure:
        among = np.ones(len(self.table), bool) if among is None else among
        found = self.resamples.share(hits, among)
        value = hits[among].mean() if among.any() else np.nan
        return value, found["low"], found["high"]

    def sensitivities(self) -> dict[str, Figure]:
        right = self.truth == self.answers
        return {code: self.share(right, self.truth == index) for index, code in enumerate(CODES)}

    def balanced_accuracy(self, codes: tuple[str, ...] = CODES) -> Figure:
        """The mean sensitivity; its interval by the sum of the squared distances (Zou and Donner)."""
        found = self.sensitivities()
        each = np.array([found[code] for code in codes if not np.isnan(found[code][0])])
        value = each[:, 0].mean()
        down, up = (np.sqrt(((each[:, 0] - each[:, side]) ** 2).sum()) / len(each) for side in (1, 2))
        return value, value - down, value + up

    def macro_auc(self) -> Figure:
        value = roc_auc_score(self.truth, self.p, multi_class="ovr", average="macro", labels=range(7))
        each = np.array([self.area(self.truth == index, self.p[:, index]) for index in range(7)])
        down, up = (np.sqrt(((each[:, 0] - each[:, side]) ** 2).sum()) / 7 for side in (1, 2))
        return value, value - down, value + up

    def area(self, positive: np.ndarray, scores: np.ndarray) -> Figure:
        """Wilson's interval with the spread of the resamples, but not that of over five times the rarer lesions."""
        value, moved = roc_auc_score(positive, scores), bootstrap.weighted_auc(positive, scores, self.resamples.weights)
        lesions = pd.Series(positive).groupby(self.table["lesion_id"].to_numpy()).max()
        n = min(lesions.sum(), (~lesions).sum())
        like = value * (1 - value) / (np.nanvar(moved) * n / (n - 1)) if 0 < value < 1 else n
        squared = norm.ppf(0.975) ** 2 / np.clip(like, 1, 5 * n)  # (p - value)^2 = squared * p * (1 - p)
        low, high = sorted(np.roots([1 + squared, -2 * value - squared, value**2]))
        return value, low, high

    def statements(self, p: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What was said with which probability, and whether it was so."""
        dx = self.table["dx"]
        malignant = p[:, [CODES.index(code) for code in MALIGNANT]].sum(axis=1)
        return {
            "": (p.max(axis=1), p.argmax(axis=1) == self.truth),
            "melanoma": (p[:, CODES.index("mel")], (dx == "mel").to_numpy()),
            "malignant": (malignant, dx.isin(MALIGNANT).to_numpy()),
        }

    def calibration_error(self, said: np.ndarray, held: np.ndarray) -> Figure:
        """Guo's error over 15 bins: each bin's share of the images times its distance from the truth."""
        bins = pd.Series(fifteenth(said))
        groups = pd.DataFrame({"said": said, "held": held}).groupby(bins)
        distance = (groups["said"].mean() - groups["held"].mean()).abs()
        value = (distance * groups.size() / len(said)).sum()
        gaps = np.eye(15)[bins] * (said - held)[:, None]
        drawn, *moved = self.resamples.totals(np.column_stack([np.ones(len(said)), gaps]))
        return ends(value, bootstrap.distance_interval(gaps.mean(axis=0), np.array(moved) / drawn))

    def mean(self, each: np.ndarray) -> Figure:
        """The mean over images; its interval by percentiles."""
        total, drawn = self.resamples.totals(np.stack([each, np.ones(len(each))], axis=1))
        return each.mean(), *np.percentile(total / drawn, (2.5, 97.5))


def fifteenth(said: np.ndarray) -> np.ndarray:
    """Which fifteenth of the probabilities each is in, from 0; an edge belongs to the lower one."""
    return pd.cut(said, np.linspace(0, 1, 16), labels=False, include_lowest=True)


def ends(value: float, figure: dict[str, float]) -> Figure:
    return float(value), figure["low"], figure["high"]


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def span(figure: Figure) -> str:
    return f"95 % interval {100 * figure[1]:.1f} to {100 * figure[2]:.1f} %"


def same(shown: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.array(shown, float), np.array(expected, float), rtol=1e-6, atol=1e-9)
