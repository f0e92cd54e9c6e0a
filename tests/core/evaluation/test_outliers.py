"""The out-of-distribution score on features drawn here: what is strange, and what only comes from another camera."""

import io

import numpy as np
import pytest

from core.evaluation.outliers import Outliers, fit_outliers, threshold

SIZE = 60


def known(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Features on a plane of six dimensions, with a little noise; another camera shifts them along two of these."""
    dice = np.random.default_rng(seed)
    basis = np.random.default_rng(99).normal(size=(6, SIZE))
    place = dice.normal(size=(count, 6))
    place[:, :2] += shift * dice.normal(size=(count, 2))
    return (place @ basis + 0.1 * dice.normal(size=(count, SIZE)) + 3).astype(np.float32)


def strange(count: int, seed: int) -> np.ndarray:
    """Features anywhere."""
    return np.random.default_rng(seed).normal(3, 3, (count, SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def outliers():
    return fit_outliers(known(600, 0)[:300], known(600, 1, shift=3), strange(200, 2))


def test_strange_features_score_higher_than_known_ones(outliers):
    pairs = outliers.score(strange(200, 7))[:, None] > outliers.score(known(200, 8))[None]
    assert pairs.mean() > 0.999


def test_another_camera_is_not_strange_when_it_was_fitted(outliers):
    """A trial that was fitted on one clinic's images refused more than half of two other clinics'."""
    limit = threshold(outliers.score(known(500, 3)), 0.05)
    narrow = fit_outliers(known(600, 0)[:300], known(600, 1))
    narrow_limit = threshold(narrow.score(known(500, 3)), 0.05)
    other = known(500, 5, shift=3)
    assert np.mean(narrow.score(other) > narrow_limit) > 0.5
    with_other = threshold(outliers.score(known(500, 3)), 0.05, outliers.score(known(500, 4, shift=3)))
    assert with_other >= limit
    assert np.mean(outliers.score(other) > with_other) < 0.15
    assert np.mean(outliers.score(strange(200, 6)) > with_other) > 0.98


def test_negatives_help_where_the_distance_is_blind():
    """What lies in a direction that the known images spread in as well is only told by the negatives."""
    far = known(400, 9)
    far[:, 0] += 12
    alone = fit_outliers(known(600, 0)[:300], known(600, 1, shift=3))
    together = fit_outliers(known(600, 0)[:300], known(600, 1, shift=3), far[:200])
    truth = known(300, 3, shift=3)

    def gap(outliers):
        return np.mean(outliers.score(far[200:])[:, None] > outliers.score(truth)[None])

    assert gap(together) > gap(alone)
    assert gap(together) > 0.99


def test_what_is_saved_scores_the_same(outliers, tmp_path):
    features = known(5, 3)
    outliers.save(tmp_path / "outliers.npz")
    stream = io.BytesIO()
    outliers.save(stream)
    stream.seek(0)
    for file in (tmp_path / "outliers.npz", stream):
        np.testing.assert_array_equal(type(outliers).load(file).score(features), outliers.score(features))


def test_one_image_scores_as_among_many(outliers):
    features = known(5, 3)
    each = [outliers.score(features[row : row + 1])[0] for row in range(5)]
    np.testing.assert_allclose(each, outliers.score(features), rtol=1e-4)


def test_the_fit_is_the_same_every_time_and_leaves_its_input_alone():
    features, changed, negatives = known(100, 0), known(100, 1), strange(50, 2)
    before = features.copy(), changed.copy(), negatives.copy()
    first, again = (fit_outliers(features, changed, negatives).score(before[0]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    for now, then in zip((features, changed, negatives), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("count", [2, 10, 40])
def test_a_small_data_set_can_be_fitted(count):
    outliers = fit_outliers(known(count, 0), known(count, 1), strange(count, 2))
    assert np.isfinite(outliers.score(known(20, 3))).all()


def test_features_that_never_change_do_no_harm():
    features, changed, negatives = known(100, 0), known(100, 1), strange(50, 2)
    for some in (features, changed, negatives):
        some[:, :5] = 0
    assert np.isfinite(fit_outliers(features, changed, negatives).score(known(20, 3))).all()


def test_threshold_refuses_no_more_than_it_may():
    scores = np.arange(100.0)
    assert np.mean(scores > threshold(scores, 0.05)) <= 0.05
    assert threshold(scores, 0.05, scores + 50) > threshold(scores, 0.05), "another camera's images raise it"
    assert threshold(scores, 0.05, scores - 50) == threshold(scores, 0.05), "and never lower it"
    assert threshold(scores, 0.05, np.array([])) == threshold(scores, 0.05)


def test_a_million_images_are_scored_a_few_at_a_time(outliers, monkeypatch):
    features, sizes, parts = known(50, 3), [], Outliers._parts
    whole = outliers.score(features)
    monkeypatch.setattr(Outliers, "_parts", lambda self, some: sizes.append(len(some)) or parts(self, some))
    monkeypatch.setattr("core.evaluation.outliers.BLOCK", 20)
    np.testing.assert_allclose(outliers.score(features), whole, rtol=1e-4, atol=1e-4)
    assert sizes == [20, 20, 10]
    assert outliers.score(features[:0]).shape == (0,)
