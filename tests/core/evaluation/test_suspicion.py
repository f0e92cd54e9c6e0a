"""Suspicious labels: flipped ones come first, siblings speak, and no image judges itself."""

import numpy as np
import pandas as pd
import pytest

from core.diagnoses import CODES
from core.evaluation import suspicion
from core.evaluation.suspicion import label_table, lesion_posterior, suspicious_labels

NV, MEL = CODES.index("nv"), CODES.index("mel")


def clouds(count: int, apart: float = 6.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and lesions: a cloud for each diagnosis, two nevi in three, two lesions of three images."""
    dice = np.random.default_rng(seed)
    lesion = np.arange(count) * 2 // 3
    shares = np.full(7, 0.055)
    shares[NV] = 0.67
    labels = dice.choice(7, p=shares, size=lesion[-1] + 1)[lesion]
    middles = dice.normal(size=(7, 20)) * apart / np.sqrt(20)
    return middles[labels] + dice.normal(size=(count, 20)), labels, np.char.add("lesion_", lesion.astype(str))


def flip(labels: np.ndarray, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Some labels changed to another diagnosis, and which."""
    dice = np.random.default_rng(seed)
    rows = dice.permutation(len(labels))[: round(share * len(labels))]
    changed = labels.copy()
    changed[rows] = (labels[rows] + dice.integers(1, 7, len(rows))) % 7
    return changed, rows


def scores(table: pd.DataFrame) -> np.ndarray:
    """The score of each row."""
    return table.sort_values("row")["score"].to_numpy()


def test_flipped_labels_are_the_most_suspicious() -> None:
    features, labels, lesions = clouds(1000)
    changed, rows = flip(labels, 0.03)
    table = suspicious_labels(features, changed, lesions)
    first = table.iloc[: len(table) // 20]
    assert np.isin(rows, first["row"]).mean() >= 0.8
    suggested = table.set_index("row")["suggested"][rows].map(CODES.index).to_numpy()
    assert (suggested == labels[rows]).mean() >= 0.8


def test_every_image_once_the_most_suspicious_first() -> None:
    features, labels, lesions = clouds(300)
    table = suspicious_labels(features, labels, lesions)
    assert list(table.columns) == ["row", "given", "suggested", "score"]
    assert sorted(table["row"]) == list(range(300))
    assert table["score"].is_monotonic_decreasing and table["score"].between(0, 1).all()
    assert (table["given"].to_numpy() == np.array(CODES)[labels[table["row"]]]).all()
    assert (table["given"] != table["suggested"]).all()


def test_a_label_does_not_speak_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The closed form is what leaving each lesion out and fitting again gives."""
    dice = np.random.default_rng(1)
    seen = dice.normal(size=(60, 5)).astype(np.float32)
    seen /= np.sqrt((seen**2).sum(axis=1).mean())
    truth = np.eye(7, dtype=np.float32)[dice.integers(0, 7, 60)]
    lesion = dice.integers(0, 35, 60)
    squares = ((seen[:, None] - seen[None]) ** 2).sum(axis=2)
    kernel = np.exp(-suspicion.WIDTH * squares / 2)
    expected = np.empty_like(truth)
    mean = truth.mean(axis=0)
    for number in np.unique(lesion):
        out = lesion == number
        inner = kernel[~out][:, ~out] + suspicion.RIDGE * np.eye((~out).sum())
        expected[out] = kernel[out][:, ~out] @ np.linalg.solve(inner, truth[~out] - mean) + mean
    assert suspicion._left_out_scores(seen, truth, lesion) == pytest.approx(expected, abs=1e-4)


def test_a_label_that_differs_from_its_siblings_is_suspicious() -> None:
    uninformed = np.full((6, 7), 1 / 7)
    labels = np.array([NV, NV, MEL, MEL, MEL, NV])
    posterior = lesion_posterior(uninformed, labels, np.array(["a", "a", "a", "b", "b", "c"]))
    wrong = 1 - posterior[np.arange(6), labels]
    assert wrong[2] > 0.9  # two siblings against one
    assert wrong[:2].max() < 0.1
    assert wrong[3:5].max() < wrong[5]  # two that agree are more certain than one
    assert posterior[0] == pytest.approx(posterior[2])  # a lesion has one diagnosis


def test_between_two_siblings_the_picture_decides() -> None:
    shows_nevus = np.full((2, 7), 0.02)
    shows_nevus[:, NV] = 0.88
    wrong = 1 - lesion_posterior(shows_nevus, np.array([NV, MEL]), np.array(["a", "a"]))[[0, 1], [NV, MEL]]
    assert wrong[0] < 0.2 and wrong[1] > 0.8


def test_a_lesion_whose_labels_are_all_wrong_is_still_found() -> None:
    features, labels, _ = clouds(400)
    lesions = np.array([f"lesion_{row // 2}" for row in range(400)])
    labels = labels[::2].repeat(2)
    middle = {code: features[labels == code].mean(axis=0) for code in set(labels)}
    features = np.array([middle[label] for label in labels]) + np.random.default_rng(0).normal(size=features.shape) / 3
    nevus = np.flatnonzero(labels == NV)[0] // 2 * 2
    labels[nevus : nevus + 2] = MEL
    table = suspicious_labels(features, labels, lesions)
    assert set(table["row"].iloc[:2]) == {nevus, nevus + 1}
    assert table["suggested"].iloc[0] == "nv"


def test_many_images_are_judged_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, lesions = clouds(1000)
    changed, rows = flip(labels, 0.03)
    monkeypatch.setattr(suspicion, "AT_ONCE", 400)
    table = suspicious_labels(features, changed, lesions)
    assert np.isin(rows, table["row"].iloc[:50]).mean() >= 0.8


def test_the_same_seed_gives_the_same_table() -> None:
    features, labels, lesions = clouds(300)
    assert suspicious_labels(features, labels, lesions, 5).equals(suspicious_labels(features, labels, lesions, 5))


@pytest.mark.parametrize("codes", [[NV], [NV, MEL], list(range(7))])
def test_few_images_or_diagnoses(codes: list[int]) -> None:
    """A small data set has nothing to say, and says so without a crash."""
    labels = np.array(codes * 2)
    features = np.random.default_rng(0).normal(size=(len(labels), 12))
    table = suspicious_labels(features, labels, np.array([f"l{row}" for row in range(len(labels))]))
    assert len(table) == len(labels) and table["score"].between(0, 1).all()


def test_images_without_any_difference_are_no_crash() -> None:
    labels = np.array([NV, MEL] * 10)
    table = suspicious_labels(np.ones((20, 12)), labels, np.arange(20).astype(str))
    assert table["score"].notna().all()


def test_the_table_of_a_run_names_the_images() -> None:
    features, labels, lesions = clouds(300)
    names = [f"image_{row}" for row in range(300)]
    images = pd.DataFrame({"image_id": names, "lesion_id": lesions, "dx": np.array(CODES)[labels]})
    table = label_table(images, features)
    assert list(table.columns) == ["image_id", "dx", "suggested", "suspicion"]
    assert sorted(table["image_id"]) == sorted(names)
    given = images.set_index("image_id")["dx"]
    assert (table["dx"].to_numpy() == given[table["image_id"]].to_numpy()).all()
