"""Keep or exclude: what was decided outlives the process, is undone at once, and is lost to nobody."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.data.decisions import EXCLUDE, KEEP, Decisions
from core.errors import DatasetError
from core.places import PROJECT, decisions_root

PRINT = "0123456789abcdef"


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    return Decisions(PRINT, tmp_path / "decisions")


def test_nothing_is_decided_at_first(decisions: Decisions) -> None:
    assert decisions.all() == {} and decisions.excluded() == frozenset()
    assert not decisions.path.parent.exists()  # reading writes nothing


def test_what_was_decided_is_there_for_the_next_process(decisions: Decisions) -> None:
    decisions.decide("a", EXCLUDE, "near-duplicate of b")
    decisions.decide(["b", "c"], KEEP)
    later = Decisions(PRINT, decisions.path.parent)
    assert list(later.all()) == ["a", "b", "c"]
    assert later.all()["a"].reason == "near-duplicate of b"
    assert later.all()["a"].moment.endswith("+00:00")
    assert later.excluded() == {"a"}


def test_a_later_decision_replaces_an_earlier_one(decisions: Decisions) -> None:
    decisions.decide(["a", "b"], EXCLUDE)
    decisions.decide("a", KEEP)
    assert decisions.excluded() == {"b"}
    assert list(decisions.all()) == ["b", "a"]


def test_undone_with_one_call(decisions: Decisions) -> None:
    decisions.decide(["a", "b", "c"], EXCLUDE)
    decisions.undo("b")
    assert decisions.excluded() == {"a", "c"}
    decisions.undo(["a", "c", "never decided"])
    assert decisions.all() == {}


def test_another_data_set_has_decisions_of_its_own(decisions: Decisions) -> None:
    decisions.decide("a", EXCLUDE)
    assert Decisions("f" * 64, decisions.path.parent).all() == {}


def test_the_place_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMLENS_DECISIONS", str(tmp_path / "elsewhere"))
    assert decisions_root() == tmp_path / "elsewhere"
    assert Decisions(PRINT).path == tmp_path / "elsewhere" / f"{PRINT}.json"


@pytest.mark.parametrize("name", ["", "short", "../../../etc/passwd", "ABCDEF0123456789"])
def test_a_fingerprint_is_never_a_path(name: str) -> None:
    with pytest.raises(DatasetError, match="hexadecimal"):
        Decisions(name)


def test_an_unknown_choice_is_refused(decisions: Decisions) -> None:
    with pytest.raises(DatasetError, match="keep, exclude"):
        decisions.decide("a", "delete")
    assert decisions.all() == {}


@pytest.mark.parametrize(
    "content",
    [
        "{ no JSON",
        "[]",
        "{}",
        json.dumps({"fingerprint": PRINT, "decisions": {"a": "exclude"}}),
        json.dumps({"fingerprint": PRINT, "decisions": {"a": {"choice": "burn", "reason": "", "moment": ""}}}),
        json.dumps({"fingerprint": "f" * 16, "decisions": {}}),
    ],
)
def test_a_damaged_file_is_said_and_kept(decisions: Decisions, content: str) -> None:
    """To start from nothing would train on what somebody had excluded, and overwrite what could be mended."""
    decisions.path.parent.mkdir()
    decisions.path.write_text(content)
    for use in (decisions.all, decisions.excluded, lambda: decisions.decide("a", KEEP), lambda: decisions.undo("a")):
        with pytest.raises(DatasetError, match=PRINT):
            use()
    assert decisions.path.read_text() == content


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="must be written to"):
        Decisions(PRINT, tmp_path / "file").decide("a", KEEP)


def decide_many(root: Path, start: int) -> None:
    for number in range(start, start + 20):
        Decisions(PRINT, root).decide(f"image_{number}", EXCLUDE)


def test_two_sessions_lose_nothing_of_each_other(decisions: Decisions) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda start: decide_many(decisions.path.parent, start), range(0, 80, 20)))
    assert len(decisions.excluded()) == 80


def test_another_process_loses_nothing_of_this_one(decisions: Decisions) -> None:
    root = decisions.path.parent
    other = f"""
import pathlib
from core.data.decisions import EXCLUDE, Decisions
for number in range(20, 40):
    Decisions({PRINT!r}, pathlib.Path({str(root)!r})).decide(f"image_{{number}}", EXCLUDE)
"""
    writer = subprocess.Popen([sys.executable, "-c", other], cwd=PROJECT)
    while writer.poll() is None:
        decide_many(root, 0)
    assert writer.returncode == 0
    assert len(decisions.excluded()) == 40
    assert not list(root.glob("*.tmp"))
