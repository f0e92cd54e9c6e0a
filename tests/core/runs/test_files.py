"""A file is there whole or as it was before, whatever happens; a half-written table is read as far as it goes."""

import errno
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from core.errors import RunError
from core.runs.files import read_csv, read_json, without_nan, write_bytes, write_csv, write_json

COLUMNS = ("name", "value")


# ---- writing -----------------------------------------------------------------------------------


def test_written_and_read_again(tmp_path):
    content = {"text": "Läsion", "list": [1, 2.5, None, True], "nested": {"a": {}}}
    write_json(tmp_path / "deep" / "a.json", content)
    assert read_json(tmp_path / "deep" / "a.json") == content
    table = pd.DataFrame({"name": ["a", "b, c"], "value": [1.5, np.nan]})
    write_csv(tmp_path / "a.csv", table)
    assert read_csv(tmp_path / "a.csv", COLUMNS, ("name",)).equals(table)


def test_nothing_but_the_file_is_left(tmp_path):
    write_json(tmp_path / "a.json", {})
    write_csv(tmp_path / "a.csv", pd.DataFrame({"x": [1]}))
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "a.csv"}


@pytest.mark.parametrize(
    "crash", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
def test_a_crash_before_the_rename_keeps_the_old_file(tmp_path, monkeypatch, crash, where):
    path = tmp_path / "status.json"
    write_json(path, {"epoch": 1})

    def crashing(*arguments):
        raise crash

    with monkeypatch.context() as patch:
        patch.setattr(where, crashing)
        with pytest.raises(RunError if isinstance(crash, OSError) else type(crash)) as caught:
            write_json(path, {"epoch": 2})
    if isinstance(crash, OSError):
        assert "No space left" in str(caught.value) and "status.json" in str(caught.value)
    assert read_json(path) == {"epoch": 1}
    assert os.listdir(tmp_path) == ["status.json"]


def test_a_killed_process_leaves_the_old_file(tmp_path):
    """A real end without any clean-up, in the middle of writing."""
    path = tmp_path / "status.json"
    write_json(path, {"epoch": 1})
    code = (
        "import os, pathlib, sys\nfrom core.runs.files import write_json\nos.fsync = lambda _: os._exit(9)\n"
        "write_json(pathlib.Path(sys.argv[1]), {'epoch': 2})"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == 9
    assert read_json(path) == {"epoch": 1}
    write_json(path, {"epoch": 3})
    assert read_json(path) == {"epoch": 3}


def test_a_folder_that_cannot_be_made_is_a_run_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match=r"a\.json must be written to .*file"):
        write_json(tmp_path / "file" / "a.json", {})


def test_readers_and_writers_at_once_never_meet_half_a_file(tmp_path):
    """Two sessions of the dashboard may promote at the same moment, while both interfaces read."""
    path = tmp_path / "current.json"
    write_json(path, {"run": "x" * 5000})
    failed, done = [], threading.Event()

    def write(letter: str) -> None:
        try:
            for _ in range(40):
                write_json(path, {"run": letter * 5000})
        except BaseException as error:
            failed.append(error)

    def read() -> None:
        try:
            while not done.is_set():
                assert len(set(read_json(path)["run"])) == 1
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "abc"]
    reader = threading.Thread(target=read)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert failed == []


def test_figures_become_plain_json(tmp_path):
    content = {
        "nan": float("nan"),
        "infinite": float("inf"),
        "numpy": np.float32(0.5),
        "numpy nan": np.float64("nan"),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "array": np.array([[1.0, np.nan]]),
        "tuple": (1, 2),
        7: "number as a name",
    }
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail) == {
        "nan": None,
        "infinite": None,
        "numpy": 0.5,
        "numpy nan": None,
        "count": 3,
        "flag": True,
        "array": [[1.0, None]],
        "tuple": [1, 2],
        "7": "number as a name",
    }
    assert without_nan({"kept": True, "text": "nan"}) == {"kept": True, "text": "nan"}


def test_a_folder_name_that_is_no_utf8_survives(tmp_path):
    name = os.fsdecode(b"/caf\xe9")
    write_json(tmp_path / "a.json", {"data_dir": name})
    assert read_json(tmp_path / "a.json") == {"data_dir": name}


# ---- reading -----------------------------------------------------------------------------------


def test_what_is_not_there_yet_is_empty(tmp_path):
    assert read_json(tmp_path / "a.json") == {}
    assert read_json(tmp_path / "gone" / "a.json") == {}
    table = read_csv(tmp_path / "a.csv", COLUMNS, ())
    assert table.empty and tuple(table.columns) == COLUMNS


@pytest.mark.parametrize("junk", [b"", b"{", b'{"a": 1', b"\xff\xfe\0", b"[1, 2]", b'"text"', b"null", b"[" * 100_000])
def test_corrupt_json_is_a_run_error_that_names_the_file(tmp_path, junk):
    path = tmp_path / "metrics.json"
    path.write_bytes(junk)
    with pytest.raises(RunError, match=r"metrics\.json must hold .*Received: .* Do this\."):
        read_json(path, "Do this.")


def test_a_last_line_that_is_half_written_is_left_out(tmp_path):
    path = tmp_path / "history.csv"
    whole = b"name,value\na,1.5\nb,2.5\n"
    for half in (b"", b"c", b"c,", b"c,3", b'"c', "ü".encode()[:1]):
        path.write_bytes(whole + half)
        assert read_csv(path, COLUMNS, ("name",))["value"].tolist() == [1.5, 2.5]
    for early in (b"", b"nam", b"name,value", b"\n"):
        path.write_bytes(early)
        table = read_csv(path, COLUMNS, ("name",))
        assert table.empty and tuple(table.columns) == COLUMNS


def test_names_stay_text(tmp_path):
    table = pd.DataFrame({"name": ["007", "NA", "null", "nan", "1e5"], "value": [1.0, 2.0, np.nan, 4.0, 5.0]})
    write_csv(tmp_path / "a.csv", table)
    again = read_csv(tmp_path / "a.csv", COLUMNS, ("name",))
    assert again["name"].tolist() == table["name"].tolist()
    assert again["value"].dtype == float


@pytest.mark.parametrize("junk", [b"\xff\xfe\x00\x9c\n", b"a,b\n1,2\n1,2,3,4\n"])
def test_a_table_that_is_none_is_a_run_error(tmp_path, junk):
    (tmp_path / "splits.csv").write_bytes(junk)
    with pytest.raises(RunError, match=r"splits\.csv must hold a table"):
        read_csv(tmp_path / "splits.csv", COLUMNS, ())


def test_bytes_are_written_as_they_are(tmp_path):
    write_bytes(tmp_path / "a.npz", b"\0\xff\n")
    assert (tmp_path / "a.npz").read_bytes() == b"\0\xff\n"
