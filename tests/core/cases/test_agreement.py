"""Agreement of model, reader and histology: figures that were worked out by hand, or by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from core.cases import agreement
from core.cases.agreement import agreements, changes, counted
from core.diagnoses import CODES


def cases(*rows: tuple[str | None, ...], lesions: list[str] | None = None, **more) -> pd.DataFrame:
    """predicted, own impression, reader's diagnosis, histology of each case."""
    table = pd.DataFrame(rows, columns=["predicted", "own_impression", "reader_diagnosis", "histology"], dtype=object)
    table["id"] = [f"case {number}" for number in range(len(rows))]
    table["lesion"] = lesions or table["id"]
    table["image_sha256"], table["run"] = [f"image {number}" for number in range(len(rows))], "mine"
    return table.assign(**({"synthetic": False, "refused": False} | more))


def by_name(found: list) -> dict:
    return {one.name: one for one in found}


def test_agreement_and_kappa_are_scikit_learns():
    rng = np.random.default_rng(0)
    truth = rng.choice(CODES, 200)
    said = np.where(rng.random(200) < 0.6, truth, rng.choice(CODES, 200))
    table = cases(*((one, None, None, other) for one, other in zip(said, truth, strict=True)))
    found = by_name(agreements(table))[agreement.MODEL]
    assert found.n == found.lesions == 200
    assert found.raw["value"] == pytest.approx((said == truth).mean())
    assert found.kappa["value"] == pytest.approx(cohen_kappa_score(truth, said))
    for figure in (found.raw, found.kappa):
        assert figure["low"] < figure["value"] < figure["high"]


def test_a_case_that_was_kept_again_counts_once_and_as_it_was_corrected():
    again = cases(("mel", None, "mel", "mel"), ("mel", None, "nv", "mel"), ("mel", None, "nv", "mel"))
    again["image_sha256"] = ["same", "same", "other"]
    found = by_name(agreements(counted(again)))[agreement.AFTER]
    assert (found.n, found.lesions) == (2, 2)
    assert found.raw["value"] == 0.5
    by_two = by_name(agreements(counted(again.assign(run=["mine", "another", "mine"]))))[agreement.AFTER]
    assert (by_two.n, by_two.lesions) == (3, 2), "each run's answer is one of its own, the image shows one lesion"


def test_an_image_that_was_named_once_has_that_lesion_in_every_case():
    rows = [("mel", None, "mel", "mel")] * 3
    table = cases(*rows, lesions=["case 0", "left arm", "left arm"], run=["mine", "another", "mine"])
    table["image_sha256"] = ["same", "same", "other"]
    assert set(counted(table)["lesion"]) == {"left arm"}


def test_the_reader_is_judged_by_histology_and_the_model_by_what_there_is():
    table = cases(
        ("mel", "nv", "mel", "mel"),
        ("mel", "nv", "nv", "mel"),
        ("nv", None, "bkl", None),
        ("nv", "nv", "nv", None),
        ("nv", None, None, None),
    )
    found = by_name(agreements(table))
    assert (found[agreement.MODEL].n, found[agreement.MODEL].raw["value"]) == (2, 1.0)
    assert (found[agreement.MODEL_ALL].n, found[agreement.MODEL_ALL].raw["value"]) == (4, 0.75)
    assert (found[agreement.BEFORE].n, found[agreement.BEFORE].raw["value"]) == (2, 0.0)
    assert (found[agreement.AFTER].n, found[agreement.AFTER].raw["value"]) == (2, 0.5)


def test_many_images_of_one_lesion_are_not_many_lesions():
    rows = [("mel", None, None, "mel"), ("nv", None, None, "mel")] * 20
    apart = by_name(agreements(cases(*rows)))[agreement.MODEL]
    lesions = [str(number // 10) for number in range(20)] + ["a"] * 20
    together = by_name(agreements(cases(*rows, lesions=lesions)))[agreement.MODEL]
    assert together.lesions == 3
    agreeing = cases(*[("mel", None, None, "mel")] * 20, lesions=["a"] * 20)
    one = by_name(agreements(agreeing))[agreement.MODEL]
    many = by_name(agreements(cases(*[("mel", None, None, "mel")] * 20)))[agreement.MODEL]
    assert one.raw["low"] < many.raw["low"] < 1
    assert apart.raw["value"] == together.raw["value"] == 0.5


def test_what_cannot_be_known_is_no_number():
    for one in agreements(cases()):
        assert one.n == 0 and np.isnan(one.raw["value"]) and np.isnan(one.kappa["low"])
    always = by_name(agreements(cases(*[("nv", None, None, "nv")] * 5)))[agreement.MODEL]
    assert always.raw["value"] == 1 and np.isnan(always.kappa["value"])
    assert all(change.n == 0 and np.isnan(change.share["value"]) for change in changes(cases()))


def test_changes_of_mind_are_told_by_their_direction():
    table = cases(
        ("mel", "nv", "mel", "mel"),  # towards the truth, to the model's answer
        ("nv", "mel", "nv", "mel"),  # away from it, to the model's answer
        ("nv", "bcc", "bkl", "mel"),  # between two wrong ones, not the model's
        ("nv", "nv", "mel", "mel"),  # towards it, against the model
        ("nv", "nv", "bkl", None),  # changed, nobody knows
        ("nv", "nv", "nv", "mel"),  # kept
        ("nv", None, "nv", "nv"),
        ("nv", "nv", None, "nv"),
    )
    found = {change.name: (change.count, change.n) for change in changes(table)}
    assert found == {
        agreement.CHANGED: (5, 6),
        agreement.TO_MODEL: (2, 5),
        agreement.TOWARDS: (2, 4),
        agreement.AWAY: (1, 4),
        agreement.BETWEEN: (1, 4),
    }
    assert by_name(changes(table))[agreement.CHANGED].share["value"] == pytest.approx(5 / 6)


def test_refused_images_never_count_and_drawn_ones_only_alone():
    rows = [("nv", None, None, "nv")] * 3
    assert len(counted(cases(*rows, synthetic=[True, False, False], refused=[False, False, True]))) == 1
    assert len(counted(cases(*rows, synthetic=True, refused=[False, False, True]))) == 2
    assert counted(cases()).empty


def test_what_histology_said_of_an_image_holds_however_often_it_is_kept():
    """The newest row comes first: a second reader kept the same answer, and entered no histology."""
    again = cases(("mel", None, None, None), ("mel", None, "nv", "mel"), ("nv", None, None, None))
    again["image_sha256"] = ["same", "same", "other"]
    once = counted(again)
    assert once["histology"].tolist() == ["mel", None] and once["predicted"].tolist() == ["mel", "nv"]
    assert by_name(agreements(once))[agreement.MODEL].n == 1
