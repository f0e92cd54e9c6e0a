"""What age, sex and site say is learned as it is, holds where little is known, and says nothing where nothing is."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import log_softmax

from core.data.splits import class_weights
from core.diagnoses import CODES
from core.evaluation.comparison import Answers, beside
from core.evaluation.patient import NOBODY, Patient, PatientTerm, joined
from core.places import PROJECT

SITES = ("back", "ear", "face")
SHARES = np.array([0.15, 0.4, 0.15, 0.1, 0.1, 0.05, 0.05])


def population(n: int, seed: int = 0) -> tuple[list[Patient], np.ndarray]:
    """People whose melanomas sit on the back, whose keratoses on old faces; sex has nothing to do with it."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(CODES), n, p=SHARES)
    patients = []
    for label in labels:
        chances = {0: (0.8, 0.1, 0.1), 3: (0.1, 0.1, 0.8)}.get(int(label), (1 / 3, 1 / 3, 1 / 3))
        age = rng.normal(70 if label == 3 else 45, 8)
        patients.append(Patient(float(age), str(rng.choice(["female", "male"])), str(rng.choice(SITES, p=chances))))
    return patients, labels


@pytest.fixture(scope="module")
def term() -> PatientTerm:
    return PatientTerm.fit(*population(6000))


def test_a_planted_relation_is_found(term):
    on_the_back, of_women, old_face = term.log_ratio(
        [Patient(site="back"), Patient(sex="female"), Patient(72.0, "male", "face")]
    )
    back = 0.8 * 0.15 + 0.1 * 0.1 + 0.75 / 3  # how many of all lesions are there
    assert on_the_back[CODES.index("mel")] == pytest.approx(np.log(0.8 / back), abs=0.25)
    assert np.abs(of_women).max() < 0.3
    assert old_face.argmax() == CODES.index("akiec") and old_face[CODES.index("akiec")] > 1.5
    assert old_face[CODES.index("mel")] < 0


@pytest.mark.parametrize(
    "nothing",
    [NOBODY, Patient(sex="unknown", site="unknown"), Patient(float("nan"), "", ""), Patient(-3.0, "?", "tail"),
     Patient(400.0)],
)  # fmt: skip
def test_of_nobody_it_says_exactly_nothing(term, nothing):
    together = term.added([Patient(site="back"), nothing])
    assert together[0].any() and not together[1].any()
    assert term.understood(nothing) == NOBODY


def test_how_a_word_is_written_does_not_matter_and_a_new_site_hides_nothing_else(term):
    one, other, new = term.log_ratio(
        [Patient(50.0, "male", "back"), Patient(50.0, " Male", "BACK "), Patient(50.0, "male", "x")]
    )
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(new, term.log_ratio([Patient(50.0, "male")])[0])
    assert term.understood(Patient(50.0, "Male", "x")) == Patient(50.0, "male", None)


def test_the_strength_is_little_where_the_image_says_it_all_and_more_where_it_says_something_else(term):
    patients, labels = population(1500, 1)
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1, (len(labels), len(CODES)))
    weights = class_weights(np.array(CODES)[labels])
    apart = 2.0 * np.eye(len(CODES))[labels] + noise  # what image and person say is independent, given the diagnosis
    twice = apart + term.log_ratio(patients)  # the image says what the person says, too
    found = [term.with_strength(patients, labels, logits, weights).strength for logits in (apart, twice)]
    assert found[1] <= 0.1 < 0.5 < found[0]
    # a network that is too sure of itself by a factor is no reason to believe the person less
    assert term.with_strength(patients, labels, 2 * apart, weights).strength == pytest.approx(1.5, abs=0.3)


def test_a_diagnosis_that_is_missing_in_training_is_neither_favoured_nor_forbidden():
    patients, labels = population(600, 3)
    for kept in ((0, 1, 3), (0, 1)):
        rows = [row for row in range(600) if labels[row] in kept]
        few = PatientTerm.fit([patients[row] for row in rows], labels[rows])
        ratio = few.log_ratio([Patient(site="back")])[0]
        assert np.isfinite(ratio).all() and ratio[0] > 0
    alone = PatientTerm.fit(patients[:5], np.ones(5, int))
    np.testing.assert_allclose(alone.added(patients), 0, atol=1e-6, err_msg="of one diagnosis there is nothing to tell")


def test_what_is_written_is_what_is_read_and_the_mean_of_networks_is_the_mean_of_what_they_add(term):
    one = PatientTerm.from_dict(json.loads(json.dumps(term.to_dict())))
    patients, _ = population(20, 4)
    np.testing.assert_array_equal(one.added(patients), term.added(patients))
    assert PatientTerm.from_dict({}) is None and joined([None, None]) is None
    both = joined([one, None])
    np.testing.assert_allclose(both.added(patients), one.added(patients) / 2, rtol=1e-6)


def test_what_was_won_is_told_with_its_interval():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, len(CODES), 400)
    lesions = np.arange(400).astype(str)
    before = rng.normal(0, 1, (400, len(CODES))) + np.eye(len(CODES))[labels]
    after = before + np.eye(len(CODES))[labels]
    answers = [Answers(np.exp(log_softmax(x, axis=1)), x.argmax(axis=1)) for x in (before, after)]
    found = beside(labels, *answers, lesions)
    for name in ("balanced_accuracy", "macro_auc"):
        won = found["difference"][name]
        assert 0 < won["low"] < won["value"] < won["high"]
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    nothing = beside(labels, answers[0], answers[0], lesions)["difference"]
    assert {figure["value"] for figure in nothing.values()} == {0.0}


def test_to_apply_it_no_library_that_trains_is_loaded():
    code = "import core.evaluation.patient, sys; assert not {'sklearn', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)
