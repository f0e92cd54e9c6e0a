"""The audit page: what was found is shown, and what is decided reaches the next training."""

import hashlib
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from core.data.decisions import EXCLUDE, KEEP, Decisions
from core.data.splits import EXCLUDED, split_by_lesion, torn_lesions
from core.diagnoses import CODES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.runs import run as contract
from core.runs.all_runs import promote
from core.runs.run import Run
from dashboard import findings
from tests.dashboard.conftest import opened, texts

pytestmark = pytest.mark.usefixtures("no_model")


@pytest.fixture
def audited(tiny_run: Run, runs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of the tiny run with findings written by hand, and no decision yet."""
    monkeypatch.setenv("DERMLENS_DECISIONS", str(tmp_path / "decisions"))
    shutil.copytree(tiny_run.folder, runs_folder / tiny_run.id)
    run = Run(runs_folder / tiny_run.id)
    promote(run)
    splits = run.splits()
    train, test = (splits[splits["split"] == part]["image_id"].tolist() for part in ("train", "test"))
    pairs = [(train[0], train[1], 0.99, "mirrored"), (train[2], test[0], 0.91, "cropped")]
    run.write_csv(
        contract.NEAR_DUPLICATES, pd.DataFrame(pairs, columns=["image_id", "other_id", "similarity", "change"])
    )
    suspicious = splits[["image_id", "dx"]].assign(suggested="vasc", suspicion=[1 - n / 100 for n in range(70)])
    run.write_csv(contract.SUSPICIOUS_LABELS, suspicious)
    problems = ["blurred lesion_cut", "blurred"] + [""] * (len(splits) - 2)
    run.write_csv(contract.IMAGES, splits[["image_id"]].assign(problems=problems, ita=40.0))
    return run


page = partial(opened, "audit")


def test_a_pair_across_the_split_comes_first_and_is_named(audited):
    text = texts(page("Near-duplicates"))
    assert "2 pairs" in text and "1 of them in two parts" in text
    assert text.index("91 % alike, cropped") < text.index("99 % alike, mirrored")
    assert "different lesions" in text


def test_what_was_decided_about_the_first_folder_holds_with_further_ones(audited):
    """Their fingerprint changes with each case that is handed over, and what was decided would be lost."""
    alone = "ab" * 32
    data = audited.manifest()["data"] | {"fingerprint": "cd" * 32, "fingerprint_alone": alone}
    audited.write_json(contract.MANIFEST, audited.manifest() | {"data": data})
    first = audited.splits()["image_id"].iloc[0]
    Decisions(alone).decide(first, EXCLUDE, "a hand is in the picture")
    Decisions(alone).decide("of-another-folder", KEEP, "looks fine")
    assert "Not among this run's images" in texts(page("Decisions"))
    assert "1 image is excluded" in texts(page("Suspicious labels"))
    assert "1 image of this run's data set" in texts(opened("retrain", ""))


def test_an_exclusion_reaches_the_next_split_and_is_undone_with_a_click(audited, tiny_data):
    app = page("Suspicious labels")
    app.selectbox(key="audit_share").set_value(1.0).run()
    splits = audited.splits()
    first = splits["image_id"].iloc[0]
    app.button(key=f"exclude_{first}").click().run()
    assert "1 image is excluded" in texts(app)
    decisions = Decisions(audited.manifest()["data"]["fingerprint"])
    assert decisions.excluded() == {first}
    assert "looks like vasc" in decisions.all()[first].reason
    content = next(tiny_data.rglob(f"{first}.jpg")).read_bytes()
    assert decisions.all()[first].content == hashlib.sha256(content).hexdigest()
    again = split_by_lesion(splits, audited.config().seed, decisions.excluded())
    moved = again["split"] != splits["split"]
    expected = splits["split"].iloc[0] != "test"
    assert moved.sum() == expected
    assert (again["split"][moved] == EXCLUDED).all()

    app.button(key=f"undo_{first}").click().run()
    assert decisions.excluded() == frozenset()
    assert "excluded" not in texts(app)


def test_the_suggested_diagnosis_stands_beside_the_label(audited):
    app = page("Suspicious labels")
    app.selectbox(key="audit_share").set_value(1.0).run()
    assert "Looks like: **Vascular lesion**" in texts(app)


def test_poor_images_are_said_in_words_the_worst_first(audited):
    text = texts(page("Poor quality"))
    both, one = audited.splits()["image_id"][:2]
    assert "blurred: fine structures cannot be seen" in text
    table = findings.quality_table(audited.images(), audited.splits(), None)
    assert table["image_id"].tolist() == [both, one]
    assert findings.problem_counts(audited.images()) == {"blurred": 2, "lesion_cut": 1}


def test_what_was_decided_is_listed_with_its_reason(audited):
    image = audited.splits()["image_id"].iloc[3]
    Decisions(audited.manifest()["data"]["fingerprint"]).decide(image, EXCLUDE, "a hand is in the picture")
    text = texts(page("Decisions"))
    assert "a hand is in the picture" in text and "1 image is excluded" in text


def test_a_run_that_was_not_examined_says_how(audited):
    (audited.folder / contract.SUSPICIOUS_LABELS).unlink()
    assert f"python -m core.evaluation --run {audited.id}" in texts(page("Suspicious labels"))


def test_what_is_taken_away_says_what_it_is_for(audited):
    table = findings.label_table(audited.suspicious_labels(), audited.splits(), 0.05)
    assert len(table) == 4  # 5 % of 70
    text = findings.as_csv(table, audited.synthetic).decode()
    assert SYNTHETIC_NOTICE in text and RESEARCH_NOTICE in text and "Vascular" not in text.splitlines()[0]
    assert set(table["dx"]) <= set(CODES)


def test_pairs_within_a_lesion_do_not_bury_those_between_lesions():
    """All images of a lesion stand in one part; another lesion's may not, and those are what people look for."""
    splits = pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "lesion_id": ["p", "p", "q", "r", "s", "t"],
            "dx": ["nv", "nv", "nv", "mel", "nv", "nv"],
            "split": ["train", "train", "train", "train", "test", EXCLUDED],
        }
    )
    pairs = [("a", "b", 0.99), ("a", "d", 0.8), ("c", "e", 0.78), ("d", "f", 0.9)]
    table = findings.duplicate_table(pd.DataFrame(pairs, columns=["image_id", "other_id", "similarity"]), splits)
    assert table["other_id"].tolist() == ["e", "f", "d", "b"]

    def left(kind: str, code: str | None = None) -> list[str]:
        return findings.pairs_of(table, kind, code)["other_id"].tolist()

    assert left(findings.ACROSS) == ["e"]  # what is excluded stands in no part
    assert left(findings.BETWEEN) == ["e", "f", "d"]
    assert left(findings.BETWEEN, "mel") == ["f", "d"]
    assert left(findings.ALL_PAIRS) == ["e", "f", "d", "b"]


def test_the_filter_of_pairs_is_on_the_page(audited):
    app = page("Near-duplicates")
    app.segmented_control(key="audit_pairs").set_value(findings.ACROSS).run()
    assert "91 % alike" in texts(app) and "99 % alike" not in texts(app)


def test_a_label_that_differs_within_its_lesion_says_so():
    splits = pd.DataFrame(
        {"image_id": list("abc"), "lesion_id": ["p", "p", "q"], "dx": ["nv", "mel", "nv"], "split": "train"}
    )
    suspicious = splits[["image_id", "dx"]].assign(suggested="bcc", suspicion=[0.9, 0.8, 0.1])
    assert findings.label_table(suspicious, splits, 1.0)["siblings"].tolist() == ["mel", "nv", ""]


def test_the_leak_that_a_split_by_lesion_leaves_is_named(audited):
    app = page("Leakage")
    assert "No lesion stands in two parts" in texts(app)
    assert "1 pair of near-duplicates stands in two parts" in app.warning[-1].value
    assert len(app.dataframe) == 1
    splits = audited.splits()
    assert len(torn_lesions(splits)) == 0
    pair = splits.index[splits["lesion_id"] == splits.loc[splits.duplicated("lesion_id"), "lesion_id"].iloc[0]][:2]
    splits.loc[pair, "split"] = ["train", "test"]
    assert len(torn_lesions(splits)) == 1
    splits.loc[pair, "split"] = [EXCLUDED, "test"]
    assert len(torn_lesions(splits.loc[pair])) == 0


def test_excluding_a_test_image_is_told_apart(audited):
    """It changes nothing about the next training, and who believed it did would be misled."""
    splits = audited.splits()
    decisions = Decisions(audited.manifest()["data"]["fingerprint"])
    decisions.decide(splits["image_id"][splits["split"] == "train"].iloc[0], EXCLUDE)
    assert "It is a test image" not in texts(page("Decisions"))
    decisions.decide(splits["image_id"][splits["split"] == "test"].iloc[0], EXCLUDE)
    assert "It is a test image" in texts(page("Decisions"))
