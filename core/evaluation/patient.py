"""What age, sex and body site say of a diagnosis before anybody has looked at the image.

That is a log-ratio, log p(diagnosis | age, sex, site) - log p(diagnosis), from a multinomial logistic regression on the
table of the training images. Times a strength, it is added to the logits of an image: as if image and person spoke
independently, given the diagnosis. They do not quite (hair tells of the scalp), and the strength takes back what is
said twice. Being the same for every pixel, it changes no gradient and no heatmap.

To apply it needs NumPy alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from core.diagnoses import CODES

KNOTS = (15.0, 30.0, 45.0, 60.0, 75.0)  # years; straight lines between them, level beyond the outer ones
OLDEST = 120.0  # years; more than that is a slip
SEXES = ("female", "male")
UNKNOWN = ("", "unknown")
INVERSE_PENALTY = 0.3  # scikit-learn's C, chosen on one run's validation part: a site has few cases of the rare
AS_RECORDED = 0.5  # share of the fit that sees what is recorded; the rest sees all seven ways of knowing less, alike
STRENGTHS = np.linspace(0.0, 1.5, 31)
TEMPERATURES = np.geomspace(0.2, 5.0, 33)
LEAST_CASES = 0.5  # what a diagnosis that training does not hold counts, so that it has a logarithm


@dataclass(frozen=True)
class Patient:
    """What is known of the person and the place of the lesion.

    Attributes:
        age: in years; None where it is not known.
        sex: "female" or "male"; None, or any other word, where it is not known.
        site: where on the body, in HAM10000's words; None where it is not known. A word that the run has not learned
            says nothing.
    """

    age: float | None = None
    sex: str | None = None
    site: str | None = None


NOBODY = Patient()


def patients_of(images: pd.DataFrame) -> list[Patient]:
    """The people of a data set's rows: age (years, may be NaN), sex, localization."""
    return [
        Patient(None if pd.isna(age) else float(age), sex or None, site or None)
        for age, sex, site in zip(images["age"], images["sex"], images["localization"], strict=True)
    ]


@dataclass(frozen=True, eq=False)
class PatientTerm:
    """A fitted regression, and how much of it is added to an image's logits.

    Attributes:
        sites: the body sites that it knows, in order.
        coefficients: (k, 7) of the columns: the knots of age, the sexes, the sites.
        intercept: (7,).
        log_shares: (7,) logarithm of how common each diagnosis was among the images that it was fitted on.
        strength: 0 to 1.5.
    """

    sites: tuple[str, ...]
    coefficients: np.ndarray
    intercept: np.ndarray
    log_shares: np.ndarray
    strength: float

    @classmethod
    def fit(cls, patients: Sequence[Patient], labels: np.ndarray) -> "PatientTerm":
        """Fit the regression, at strength 1.

        Every image counts as it is recorded, and with any of age, sex and site taken away, so that the regression
        also holds where only some are known.

        Args:
            patients: of n training images.
            labels: (n,) indices into `CODES`.
        """
        from sklearn.linear_model import LogisticRegression

        known = {_word(patient.site) for patient in patients} - set(UNKNOWN)
        sites, counts = tuple(sorted(known)), np.bincount(labels, minlength=len(CODES))
        columns = len(KNOTS) + len(SEXES) + len(sites)
        shares = np.maximum(counts, LEAST_CASES) / np.maximum(counts, LEAST_CASES).sum()
        nothing = cls(sites, np.zeros((columns, len(CODES))), np.log(shares), np.log(shares), 1.0)
        whole, present = nothing._columns(patients), np.flatnonzero(counts)
        if len(present) < 2 or not whole.any():
            return nothing
        of_field = np.repeat(np.arange(3), (len(KNOTS), len(SEXES), len(sites)))
        ways = np.array(list(product((0.0, 1.0), repeat=3)))  # which of the three fields are known
        weights = np.where(ways.all(axis=1), AS_RECORDED, (1 - AS_RECORDED) / (len(ways) - 1))
        fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=5000).fit(
            np.concatenate([whole * way[of_field] for way in ways]),
            np.tile(labels, len(ways)),
            np.repeat(weights, len(labels)),
        )
        coefficients, intercept = nothing.coefficients.copy(), nothing.intercept.copy()
        if len(present) == 2:  # scikit-learn then gives the logit of the second alone
            coefficients[:, present[1]] = fitted.coef_[0]
            intercept[present] = 0.0, fitted.intercept_[0]
        else:
            coefficients[:, present] = fitted.coef_.T
            intercept[present] = fitted.intercept_
        intercept[present] += np.log(shares[present].sum()) - np.log(np.exp(intercept[present]).sum())
        return replace(nothing, coefficients=coefficients, intercept=intercept)

    def with_strength(
        self, patients: Sequence[Patient], labels: np.ndarray, logits: np.ndarray, training_weights: np.ndarray
    ) -> "PatientTerm":
        """The same with the strength under which held-out labels are most likely, every diagnosis counting alike.

        A temperature is fitted beside it: how sure the network is of itself must not be mistaken for how much the
        person adds.

        Args:
            patients: of n images that neither the network nor the regression was fitted on.
            labels: (n,) indices into `CODES`.
            logits: (n, 7), of the image alone.
            training_weights: (7,), see `core.evaluation.results.training_weights`: how far they are balanced already.
        """
        counts = np.bincount(labels, minlength=len(CODES))
        weights = 1 / (np.maximum(counts, 1)[labels] * np.count_nonzero(counts))
        balanced = np.asarray(logits, float) - np.log(training_weights) - self.log_shares
        added, rows = self.log_ratio(patients), np.arange(len(labels))

        def loss(strength: float) -> float:
            scores = balanced + strength * added
            return min(
                -(weights * log_softmax(scores / temperature, axis=1)[rows, labels]).sum()
                for temperature in TEMPERATURES
            )

        return replace(self, strength=float(min(STRENGTHS, key=loss)))

    def log_ratio(self, patients: Sequence[Patient]) -> np.ndarray:
        """(n, 7) float32: log p(diagnosis | person) - log p(diagnosis); exactly 0 where nothing is known."""
        columns = self._columns(patients)
        ratios = log_softmax(columns @ self.coefficients + self.intercept, axis=1) - self.log_shares
        return np.where(columns.sum(axis=1, keepdims=True) > 0, ratios, 0.0).astype(np.float32)

    def added(self, patients: Sequence[Patient]) -> np.ndarray:
        """(n, 7) float32: what is added to the logits of the image alone."""
        return np.float32(self.strength) * self.log_ratio(patients)

    def understood(self, patient: Patient) -> Patient:
        """What of a person changes an answer; `NOBODY` where nothing does."""
        if self.strength == 0:
            return NOBODY
        age, sex, site = patient.age, _word(patient.sex), _word(patient.site)
        return Patient(
            age if age is not None and 0 <= age <= OLDEST else None,
            sex if sex in SEXES else None,
            site if site in self.sites else None,
        )

    def _columns(self, patients: Sequence[Patient]) -> np.ndarray:
        """(n, k): the shares of two knots that lie about an age, and a 1 for the sex and the site; else 0."""
        ages = np.array([np.nan if patient.age is None else patient.age for patient in patients], float)
        ages = np.where((ages >= 0) & (ages <= OLDEST), ages, np.nan)
        sexes, sites = ([_word(said) for said in each] for each in (
            [patient.sex for patient in patients], [patient.site for patient in patients]
        ))  # fmt: skip
        return np.column_stack(
            [np.nan_to_num(np.interp(ages, KNOTS, knot)) for knot in np.eye(len(KNOTS))]
            + [np.array([said == sex for said in sexes], float) for sex in SEXES]
            + [np.array([said == site for said in sites], float) for site in self.sites]
        )

    def to_dict(self) -> dict[str, Any]:
        """For `patient.json`: sums over images, and no image."""
        names = [*(f"age {knot:g}" for knot in KNOTS), *SEXES, *(f"site {site}" for site in self.sites)]
        return {
            "strength": self.strength,
            "age_knots": list(KNOTS),
            "sexes": list(SEXES),
            "sites": list(self.sites),
            "log_shares": dict(zip(CODES, self.log_shares.tolist(), strict=True)),
            "intercept": dict(zip(CODES, self.intercept.tolist(), strict=True)),
            "coefficients": {
                name: dict(zip(CODES, row, strict=True))
                for name, row in zip(names, self.coefficients.tolist(), strict=True)
            },
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "PatientTerm | None":
        """What `to_dict` gave; None of an empty dictionary: the run sees the image alone.

        Raises:
            KeyError: something is missing.
        """
        if not values:
            return None

        def row(of: dict[str, float]) -> np.ndarray:
            return np.array([of[code] for code in CODES])

        return cls(
            tuple(values["sites"]),
            np.array([row(of) for of in values["coefficients"].values()]),
            row(values["intercept"]),
            row(values["log_shares"]),
            float(values["strength"]),
        )


def joined(terms: Sequence[PatientTerm | None]) -> PatientTerm | None:
    """What networks that answer as one add in the mean. Of one split, they have the same regression."""
    known = [term for term in terms if term is not None]
    return replace(known[0], strength=sum(term.strength for term in known) / len(terms)) if known else None


def _word(said: str | None) -> str:
    return str(said or "").strip().lower()
