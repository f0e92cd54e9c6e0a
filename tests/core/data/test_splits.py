"""The split: by lesion, stratified, the same everywhere; and what another kind of split would have leaked."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from core.data.splits import (
    EXCLUDED,
    HELD_OUT,
    PARTS,
    SHARES,
    check_no_leak,
    class_weights,
    leakage_report,
    split_by_lesion,
    split_fingerprint,
)
from core.diagnoses import CODES
from core.errors import DatasetError, SplitLeakError

ODDS = {"nv": 0.67, "mel": 0.11, "bkl": 0.11, "bcc": 0.05, "akiec": 0.03, "vasc": 0.015, "df": 0.015}


def table(images: int, seed: int = 0) -> pd.DataFrame:
    """Lesions in HAM10000's shares, one in five with two to six images."""
    dice = np.random.default_rng(seed)
    rows: list[tuple[str, str, str]] = []
    while len(rows) < images:
        lesion, dx = f"L{len(rows):05d}", str(dice.choice(list(ODDS), p=list(ODDS.values())))
        for _ in range(dice.integers(2, 7) if dice.random() < 0.2 else 1):
            rows.append((f"I{len(rows):05d}", lesion, dx))
    return pd.DataFrame(rows, columns=["image_id", "lesion_id", "dx"])


def by_hand() -> pd.DataFrame:
    """Twenty lesions written without any dice, so that the pinned split below depends on nothing else."""
    rows = []
    for number in range(20):
        dx = CODES[number % 3]
        rows += [(f"img_{number}_{view}", f"lesion_{number}", dx) for view in range(1 + number % 2)]
    return pd.DataFrame(rows, columns=["image_id", "lesion_id", "dx"])


def test_shares_and_lesions():
    images = table(4000)
    splits = split_by_lesion(images, seed=7)
    assert list(splits.columns) == ["image_id", "lesion_id", "dx", "split"]
    assert splits["image_id"].tolist() == images["image_id"].tolist()
    assert (splits.groupby("lesion_id")["split"].nunique() == 1).all()
    shares = splits["split"].value_counts(normalize=True)
    assert {part: round(shares[part], 2) for part in PARTS} == SHARES


def test_every_diagnosis_is_shared_out_alike():
    splits = split_by_lesion(table(4000), seed=7)
    for code in CODES:
        of_code = splits[splits["dx"] == code]
        for part in PARTS:
            wanted = SHARES[part] * len(of_code)
            assert abs((of_code["split"] == part).sum() - wanted) <= 6  # a lesion has six images at most


def test_the_split_is_pinned():
    """On another machine, or after another change, runs of the same seed would no longer be comparable."""
    splits = split_by_lesion(by_hand(), seed=7)
    assert split_fingerprint(splits) == "58a29caca1b3c3263c4d74c6d51c96b479f7aeeca0ec286348a250a1bb574f22"
    assert Counter(splits["split"]) == {"train": 20, "validation": 3, "calibration": 3, "test": 4}


def test_another_seed_is_another_split():
    images = table(500)
    prints = {split_fingerprint(split_by_lesion(images, seed)) for seed in range(5)}
    assert len(prints) == 5
    assert split_fingerprint(split_by_lesion(images, 3)) in prints


def test_the_order_of_rows_does_not_matter():
    images = table(500)
    images.loc[images["lesion_id"] == images["lesion_id"][100], "dx"] = "nv"
    several = images.groupby("lesion_id").filter(lambda rows: len(rows) > 2)["lesion_id"].iloc[0]
    first, *rest = images.index[images["lesion_id"] == several]
    images.loc[first, "dx"], images.loc[rest, "dx"] = "mel", "df"  # a lesion of two diagnoses, as labels go
    expected = split_fingerprint(split_by_lesion(images, 7))
    for seed in range(3):
        assert split_fingerprint(split_by_lesion(images.sample(frac=1, random_state=seed), 7)) == expected


def test_a_lesion_more_or_less_moves_few_others():
    images = table(2000)
    before = split_by_lesion(images, 7).set_index("image_id")["split"]
    fewer = images[images["lesion_id"] != images["lesion_id"][700]]
    after = split_by_lesion(fewer, 7).set_index("image_id")["split"]
    assert (before[after.index] == after).mean() > 0.5


@pytest.mark.parametrize("count", [2, 5])
def test_each_lesion_is_tested_in_exactly_one_fold(count):
    images = table(4000)
    splits = [split_by_lesion(images, 7, fold=(number, count)) for number in range(1, count + 1)]
    times = sum((one["split"] == "test").astype(int) for one in splits)
    assert (times == 1).all()
    for one in splits:
        shares = one["split"].value_counts(normalize=True)
        assert shares["test"] == pytest.approx(1 / count, abs=0.01)
        assert shares["validation"] == pytest.approx((1 - 1 / count) * 0.10 / 0.85, abs=0.01)
        rare = one[one["dx"] == "df"]["split"].value_counts(normalize=True)
        assert rare["test"] == pytest.approx(1 / count, abs=0.1)
    assert split_fingerprint(split_by_lesion(images, 8, fold=(1, count))) != split_fingerprint(splits[0])


def test_images_that_are_added_move_nobody_out_of_its_fold():
    images = table(2000)
    added = frozenset(images["image_id"].tail(500)) - frozenset(images["image_id"].head(1500))
    before = split_by_lesion(images.head(1500), 7, fold=(2, 5))["split"]
    assert split_by_lesion(images, 7, added=added, fold=(2, 5))["split"].head(1500).tolist() == before.tolist()


def test_the_caller_keeps_its_table():
    images = table(100)
    before = images.copy()
    split_by_lesion(images, 7)
    assert images.equals(before)


def test_small_sets():
    for count in range(1, 4):
        with pytest.raises(DatasetError, match=f"{count} lesions"):
            split_by_lesion(by_hand().drop_duplicates("lesion_id").head(count), 7)
    one_class = pd.DataFrame({"image_id": list("abcdefghijkl"), "lesion_id": list("abcdefghijkl"), "dx": "df"})
    assert set(split_by_lesion(one_class, 7)["split"]) == set(PARTS)


def test_a_leak_is_refused():
    splits = split_by_lesion(by_hand(), 7)
    check_no_leak(splits)
    pair = splits.index[splits["lesion_id"] == "lesion_1"]
    splits.loc[pair, "split"] = ["train", "test"]
    with pytest.raises(SplitLeakError, match="1 lesions in several, such as lesion_1"):
        check_no_leak(splits)


def test_held_out_parts_are_all_but_training():
    assert HELD_OUT == ("validation", "calibration", "test")
    assert sum(SHARES.values()) == pytest.approx(1)


# ---- excluded images ---------------------------------------------------------------------------


def test_an_excluded_image_moves_nobody_else():
    images = table(2000)
    before = split_by_lesion(images, 7)
    excluded = frozenset(before["image_id"].sample(100, random_state=0)) | {"not in this data set"}
    after = split_by_lesion(images, 7, excluded)
    others = ~before["image_id"].isin(excluded)
    assert after["image_id"].tolist() == images["image_id"].tolist()
    assert after["split"][others].equals(before["split"][others])
    assert set(after["split"][~others]) == {EXCLUDED, "test"}


def test_excluded_images_of_the_test_part_stay():
    """What was judged by other images than the run before could not be compared with it."""
    images = table(500)
    before = split_by_lesion(images, 7)
    excluded = frozenset(before["image_id"][before["split"].isin(["test", "calibration"])].iloc[::3])
    after = split_by_lesion(images, 7, excluded)
    assert (after["split"] == "test").equals(before["split"] == "test")
    assert not (set(after["image_id"][after["split"] == "calibration"]) & excluded)


def test_a_lesion_whose_image_is_excluded_is_no_leak():
    splits = split_by_lesion(by_hand(), 7)
    pair = splits.index[splits["lesion_id"] == "lesion_1"]
    after = split_by_lesion(by_hand(), 7, frozenset(splits["image_id"][pair[:1]]))
    check_no_leak(after)
    after.loc[pair, "split"] = [EXCLUDED, "test"]
    check_no_leak(after)
    after.loc[pair, "split"] = ["train", "test"]
    with pytest.raises(SplitLeakError):
        check_no_leak(after)


def test_excluding_a_whole_part_is_refused():
    splits = split_by_lesion(by_hand(), 7)
    calibration = frozenset(splits["image_id"][splits["split"] == "calibration"])
    with pytest.raises(DatasetError, match="3 excluded images, which leave calibration empty"):
        split_by_lesion(by_hand(), 7, calibration)


def test_excluded_images_leak_nothing():
    images = pd.DataFrame(
        {
            "image_id": list("abcde"),
            "lesion_id": ["p", "p", "p", "q", "r"],
            "dx": ["mel"] * 3 + ["nv"] * 2,
            "split": [EXCLUDED, "train", "train", "train", "test"],
        }
    )
    report = {row.code: (row.n, row.leaked) for row in leakage_report(images, train_share=0.5)}
    assert report == {"all": (4, 0.25), "mel": (2, 0.5), "nv": (2, 0.0)}


# ---- leakage -----------------------------------------------------------------------------------


def test_leakage_of_a_table_by_hand():
    """Two siblings of a pair are apart with half the images in training in one case of two."""
    images = pd.DataFrame(
        {"image_id": list("abcd"), "lesion_id": ["p", "p", "q", "r"], "dx": ["mel", "mel", "nv", "nv"]}
    )
    report = {row.code: (row.n, row.leaked) for row in leakage_report(images, train_share=0.5)}
    assert report == {"all": (4, 0.25), "mel": (2, 0.5), "nv": (2, 0.0)}


def test_leakage_is_what_a_real_image_level_split_leaks():
    images = table(3000)
    expected = leakage_report(images)[0].leaked
    leaked = []
    for seed in range(20):
        train = np.random.default_rng(seed).random(len(images)) < SHARES["train"]
        siblings = set(images["lesion_id"][train])
        leaked.append(images["lesion_id"][~train].isin(siblings).mean())
    assert np.mean(leaked) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("share", "everything", "melanoma"), [(0.65, 33.1, 58.5), (0.80, 38.7, 68.3)])
def test_leakage_of_the_real_metadata(real_data, share, everything, melanoma):
    images = pd.read_csv(real_data / "ham10000" / "HAM10000_metadata.csv")
    report = {row.code: row for row in leakage_report(images, share)}
    assert round(100 * report["all"].leaked, 1) == everything
    assert round(100 * report["mel"].leaked, 1) == melanoma
    assert report["all"].n == 10015 and report["mel"].n == 1113


# ---- weights -----------------------------------------------------------------------------------


def test_class_weights_make_every_diagnosis_count_the_same():
    codes = pd.Series(["nv"] * 60 + ["mel"] * 30 + ["df"] * 10)
    weights = class_weights(codes)
    assert weights.dtype == np.float32 and weights.shape == (7,)
    totals = {code: weights[CODES.index(code)] * (codes == code).sum() for code in ("nv", "mel", "df")}
    assert list(totals.values()) == pytest.approx([100 / 3] * 3)
    assert weights[[CODES.index(code) for code in CODES if code not in totals]].tolist() == [1, 1, 1, 1]
