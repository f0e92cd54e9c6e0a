"""Picks are kept under an address, named, forgotten; a damaged or strange one is no pick."""

import json

import pytest

from core.errors import RunError
from dashboard import picked


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMLENS_SELECTIONS", str(tmp_path / "selections"))
    return tmp_path / "selections"


def test_a_pick_is_found_by_its_address_in_its_order(folder):
    kept = picked.keep("Nevi at the ear", ["b", "a"])
    found = picked.find(kept.token)
    assert found is not None and found.image_ids == ("b", "a") and found.title == "Nevi at the ear"
    assert picked.keep("Nevi at the ear", ["b", "a"]).token == kept.token
    assert picked.keep("Nevi at the ear", ["a", "b"]).token != kept.token
    assert len(list(folder.glob("*.json"))) == 2


def test_a_name_is_kept_when_the_same_is_picked_again():
    kept = picked.keep("Nevi", ["a"])
    picked.save(kept, " For Monday ")
    assert [one.name for one in picked.named()] == ["For Monday"]
    assert picked.keep("Nevi", ["a"]).name == "For Monday"
    picked.save(kept, "")
    assert picked.named() == [] and picked.find(kept.token) is not None


@pytest.mark.parametrize("token", ["", "no", "../../etc/passwd", "0123456789abcdef", "0123456789ABCDEF"])
def test_what_is_no_pick_is_none(token):
    assert picked.find(token) is None


def test_a_damaged_pick_is_none_and_takes_nothing_down(folder):
    kept = picked.keep("Nevi", ["a"])
    (folder / f"{kept.token}.json").write_text("{ no")
    assert picked.find(kept.token) is None
    assert picked.named() == []
    (folder / f"{kept.token}.json").write_text(json.dumps({"title": 3}))
    assert picked.find(kept.token) is None


def test_the_oldest_without_a_name_make_room(folder, monkeypatch):
    monkeypatch.setattr(picked, "UNNAMED", 3)
    named = picked.keep("named", ["x"])
    picked.save(named, "Mine")
    for number in range(6):
        picked.keep(f"pick {number}", ["a"])
    assert picked.find(named.token) is not None
    assert len(list(folder.glob("*.json"))) == 4


def test_a_folder_that_cannot_be_written_is_a_sentence(folder):
    folder.write_text("a file")
    with pytest.raises(RunError, match="must be written to"):
        picked.keep("Nevi", ["a"])
