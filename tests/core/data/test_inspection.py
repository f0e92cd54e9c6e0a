"""Every file is opened once; what was found is remembered for as long as the file and the rules stay the same."""

import os
import threading

import numpy as np
import pytest
from PIL import Image

from core.data import inspection
from core.data.images import MAX_BYTES
from core.data.inspection import inspect_images


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DERMLENS_CACHE", str(folder))
    return folder


@pytest.fixture
def files(tmp_path) -> list[str]:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8), (number * 50, 0, 0)).save(folder / f"{number}.png")
    return sorted(str(path) for path in folder.iterdir())


@pytest.fixture
def reads(monkeypatch) -> list[bytes]:
    """What was decoded, one entry a file."""
    seen: list[bytes] = []
    real = inspection.read_image

    def counting(content):
        seen.append(content)
        return real(content)

    monkeypatch.setattr(inspection, "read_image", counting)
    return seen


def problems(paths: list[str]) -> list[str]:
    return inspect_images(paths)["problem"].tolist()


def test_verdicts_come_in_the_order_of_the_paths(cache, files, tmp_path):
    (tmp_path / "images" / "0.png").write_bytes(b"")
    (tmp_path / "images" / "1.png").write_bytes(b"no image")
    with open(files[2], "wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    table = inspect_images([files[3], files[0], files[1], files[2], str(tmp_path / "gone.png")])
    assert table["path"].tolist() == [files[3], files[0], files[1], files[2], str(tmp_path / "gone.png")]
    sound, empty, text, large, gone = table["problem"]
    assert sound == "" and empty == "empty file" and "no whole image" in text and "64 MB" in large
    assert "No such file" in gone
    assert table["sha256"].str.len().tolist() == [64, 0, 0, 0, 0]


def test_only_changed_files_are_opened_again(cache, files, reads):
    first = inspect_images(files)
    assert len(reads) == 4
    assert inspect_images(files).equals(first)
    assert len(reads) == 4
    Image.new("RGB", (9, 9)).save(files[2])
    second = inspect_images(files)
    assert len(reads) == 5
    assert (second["sha256"] != first["sha256"]).tolist() == [False, False, True, False]


def test_what_was_read_before_a_stop_is_not_read_again(cache, files, reads, monkeypatch):
    monkeypatch.setattr(inspection, "AT_A_TIME", 2)
    told = []

    def stop(done, total):
        told.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect_images(files, stop)
    assert told == [(2, 4)] and len(reads) == 2
    with pytest.raises(KeyboardInterrupt):
        inspect_images([*files[2:], *files[:2]], stop)
    assert len(reads) == 4
    assert inspect_images(files, stop)["problem"].tolist() == [""] * 4
    assert len(reads) == 4 and len(told) == 2, "what is known is not told of"


def test_a_file_that_was_touched_is_opened_again(cache, files, reads):
    inspect_images(files)
    os.utime(files[0], ns=(1, 1))
    inspect_images(files)
    assert len(reads) == 5


def test_a_file_that_is_damaged_later_is_found(cache, files):
    assert problems(files) == ["", "", "", ""]
    with open(files[1], "r+b") as stream:
        stream.truncate(30)
    assert problems(files)[1] != ""
    Image.new("RGB", (8, 8)).save(files[1])
    assert problems(files) == ["", "", "", ""]


@pytest.mark.parametrize(
    "junk", [b"", b"\xff\xfe\0\0\x9c", b"path,size\n1,2\n", b"path,size,mtime_ns,sha256,problem\na,b,c,d,e\n"]
)
def test_an_unreadable_store_is_as_good_as_none(cache, files, reads, junk):
    first = inspect_images(files)
    (store,) = (cache / "inspected").iterdir()
    store.write_bytes(junk)
    assert inspect_images(files).equals(first)
    assert len(reads) == 8
    inspect_images(files)
    assert len(reads) == 8  # it was written anew


def test_a_store_that_was_cut_short_loses_its_last_lines_only(cache, files, reads):
    first = inspect_images(files)
    (store,) = (cache / "inspected").iterdir()
    lines = store.read_bytes().splitlines(keepends=True)
    store.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    assert inspect_images(files).equals(first)


def test_a_cache_that_cannot_be_written_does_not_stop_a_training(cache, files):
    cache.write_text("a file where the folder should be")
    assert problems(files) == ["", "", "", ""]


def test_a_full_disk_does_not_stop_a_training(cache, files, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert problems(files) == ["", "", "", ""]
    assert list((cache / "inspected").iterdir()) == []  # no half-written file is left


def test_a_file_that_could_not_be_opened_is_tried_again(cache, files, reads, monkeypatch):
    """Its rights may be mended without a trace in size or time of change."""
    real = inspection.Path.read_bytes

    def denied(path):
        if path.name == "1.png":
            raise PermissionError(13, "Permission denied")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.read_bytes", denied)
        assert problems(files) == ["", "cannot be opened: Permission denied", "", ""]
    assert problems(files) == ["", "", "", ""]
    assert len(reads) == 4


def test_an_image_that_did_not_fit_in_memory_is_tried_again(cache, files, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("core.data.images._to_rgb", lambda image, name: bytes(-1 & 2**62))  # MemoryError
        assert set(problems(files)) == {"cannot be opened: not enough memory"}
    assert problems(files) == ["", "", "", ""]


def test_other_rules_ask_about_every_file_again(cache, files, reads, monkeypatch):
    inspect_images(files)
    monkeypatch.setattr(inspection, "RULES", inspection.RULES + 1)
    inspect_images(files)
    assert len(reads) == 8


def test_names_full_of_commas(cache, tmp_path, reads):
    folder = tmp_path / 'a, "b"\nc'
    folder.mkdir()
    paths = [str(folder / "1,2.png"), str(folder / "NA"), str(folder / "皮膚.png")]
    for path in paths:
        with open(path, "wb") as stream:
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(stream, "PNG")
    assert problems(paths) == ["", "", ""]
    assert problems(paths) == ["", "", ""]
    assert len(reads) == 3


def test_no_files_at_all(cache):
    table = inspect_images([])
    assert len(table) == 0 and list(table.columns) == list(inspection.COLUMNS)


def test_several_may_inspect_at_once(cache, files):
    """Both write the store: neither may trip over the other's half-written file."""
    failed = []

    def work():
        for number in range(10):
            os.utime(files[0], ns=(number + 1, threading.get_ident()))
            try:
                assert problems(files) == ["", "", "", ""]
            except BaseException as error:
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
