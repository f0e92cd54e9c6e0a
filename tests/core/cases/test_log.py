"""The case log keeps what it is given, on SQLite and on PostgreSQL, and deletes it for good."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql

from core.cases import log as log_module
from core.cases.log import CaseLog, NewCase
from core.data.images import read_image
from core.diagnoses import CODES
from core.errors import CaseLogError, CaseLogVersionError
from core.places import PROJECT

POSTGRES = "DERMLENS_TEST_POSTGRES"
MODEL = "ab" * 32


def new_case(seed: int = 0, **more) -> NewCase:
    image = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    probabilities = {code: 0.4 if code == "mel" else 0.1 for code in CODES}
    prediction = {
        "diagnosis": "mel", "most_probable": "mel", "probabilities": probabilities, "refused": False, "run": "one",
        "synthetic": False, "strangeness": float("nan"),
    }  # fmt: skip
    return NewCase(**{"image": image, "prediction": prediction, "model_sha256": MODEL} | more)


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'kept' / 'cases.sqlite'}"
        return
    server = os.environ.get(POSTGRES)
    if not server:
        pytest.skip(f"needs PostgreSQL: set {POSTGRES} to the address of a server where databases may be created")
    name = f"cases_{os.getpid()}_{abs(hash(tmp_path)) % 10**9}"
    engine = sql.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sql.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield sql.make_url(server).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def log(address: str) -> CaseLog:
    return CaseLog(address)


def test_a_case_comes_back_as_it_was_kept(log, address):
    case = new_case(
        age=61.5, sex="female", site="lower extremity", lesion="left calf", own_impression="nv",
        reader_diagnosis="mel", comment="grown since spring; 'ümlaut' \N{MICROSCOPE}",
    )  # fmt: skip
    kept = log.add(case)
    found = CaseLog(address).get(kept.id)  # another session
    assert vars(found) == vars(kept)
    assert (found.age, found.sex, found.site, found.lesion) == (61.5, "female", "lower extremity", "left calf")
    assert (found.own_impression, found.reader_diagnosis, found.run) == ("nv", "mel", "one")
    assert found.prediction["probabilities"] == case.prediction["probabilities"]
    assert found.prediction["strangeness"] is None  # JSON has no NaN
    assert found.time.utcoffset().total_seconds() == 0
    assert (read_image(log.image(kept.id)) == case.image).all()
    assert found.image_sha256 == case.image_sha256()


def test_what_was_not_said_is_none_and_a_lesion_is_its_own(log):
    one, other = log.add(new_case()), log.add(new_case(site="  ", lesion=" "))
    assert (one.age, one.sex, one.site, one.own_impression, one.histology) == (None,) * 5
    assert one.comment == "" and one.lesion == one.id and other.lesion == other.id and other.site is None
    assert len(one.id) == 32 and one.id != other.id


def test_looking_at_a_log_that_nobody_used_makes_nothing(log, tmp_path):
    assert log.cases() == [] and log.table().empty and log.delete("x") is False
    assert list(tmp_path.iterdir()) == []
    assert {"id", "predicted", "p_mel", "histology"} <= set(log.table().columns)


def test_the_newest_case_comes_first(log):
    kept = [log.add(new_case(number)) for number in range(3)]
    other = log.add(new_case(4, prediction=new_case().prediction | {"run": "two"}))
    log.update(kept[1].id, histology="nv")
    assert [case.id for case in log.cases()] == [other.id, *(case.id for case in reversed(kept))]


def test_an_update_changes_what_is_given_and_nothing_else(log):
    kept = log.add(new_case(reader_diagnosis="bkl", comment="first"))
    found = log.update(kept.id, histology="mel")
    assert (found.histology, found.reader_diagnosis, found.comment) == ("mel", "bkl", "first")
    assert found.histology_time >= kept.time
    again = log.update(kept.id, histology="mel", comment="")
    assert again.histology_time == found.histology_time and again.comment == ""
    corrected = log.update(kept.id, histology="nv")
    assert corrected.histology_time > found.histology_time
    taken_out = log.update(kept.id, histology=None, reader_diagnosis=None)
    assert (taken_out.histology, taken_out.histology_time, taken_out.reader_diagnosis) == (None, None, None)
    assert vars(log.update(kept.id)) == vars(taken_out)


def test_a_case_is_deleted_once_and_gone(log):
    kept, other = log.add(new_case(1)), log.add(new_case(2))
    assert log.delete(kept.id) is True and log.delete(kept.id) is False
    assert [case.id for case in log.cases()] == [other.id]
    for ask in (log.get, log.image, log.update):
        with pytest.raises(CaseLogError, match="not any more"):
            ask(kept.id)


def test_no_byte_of_a_deleted_image_stays_in_a_sqlite_file(tmp_path):
    log = CaseLog(f"sqlite:///{tmp_path / 'cases.sqlite'}")
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    kept = log.add(new_case(image=noise, comment="a comment to be forgotten"))
    pieces = [log.image(kept.id)[start : start + 64] for start in range(1000, 200_000, 20_000)]

    def files() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert sum(piece in files() for piece in pieces) > 5
    with sqlite3.connect(tmp_path / "cases.sqlite") as reader:  # its connection keeps the write-ahead log alive
        reader.execute("SELECT count(*) FROM dermlens_cases").fetchall()
        log.delete(kept.id)
        assert not any(piece in files() for piece in pieces)
        assert b"a comment to be forgotten" not in files()
    reader.close()


def test_the_table_has_a_row_for_each_case(log):
    assert log.table()["age"].dtype == float
    log.add(new_case(age=40, own_impression="nv"))
    log.add(new_case(prediction=new_case().prediction | {"synthetic": True}))
    table = log.table()
    assert table["predicted"].tolist() == ["mel", "mel"] and table["p_mel"].tolist() == [0.4, 0.4]
    assert table["synthetic"].tolist() == [True, False]
    assert table["age"].isna().tolist() == [True, False]
    assert table["own_impression"].tolist() == [None, "nv"]
    assert "image" not in table.columns


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"age": -1.0}, "between 0 and 120"),
        ({"age": float("nan")}, "between 0 and 120"),
        ({"age": True}, "between 0 and 120"),
        ({"sex": "f"}, "sex is one of"),
        ({"own_impression": "melanoma"}, "own_impression is one of"),
        ({"reader_diagnosis": ""}, "reader_diagnosis is one of"),
        ({"comment": "x" * 4001}, "at most 4,000"),
        ({"comment": None}, "comment is text"),
        ({"comment": "a\0b"}, "UTF-8"),
        ({"site": "\ud800"}, "UTF-8"),
        ({"lesion": "x" * 101}, "at most 100"),
        ({"model_sha256": "abc"}, "64 hexadecimal"),
        ({"image": np.zeros((4, 4), np.uint8)}, "uint8"),
        ({"image": np.zeros((4, 4, 3), np.float32)}, "float32"),
        ({"prediction": {"diagnosis": None, "run": "one"}}, "insist=True"),
        ({"prediction": {"diagnosis": "mel"}}, "names the run"),
    ],
)
def test_a_wrong_value_is_refused_with_its_rule(wrong, rule):
    with pytest.raises(CaseLogError, match=rule) as caught:
        new_case(**wrong)
    assert "Received: " in str(caught.value)


def test_an_update_is_checked_too(log):
    kept = log.add(new_case())
    for wrong in ({"histology": "melanoma"}, {"reader_diagnosis": "x"}, {"comment": "x" * 5000}):
        with pytest.raises(CaseLogError, match="Received: "):
            log.update(kept.id, **wrong)
    assert vars(log.get(kept.id)) == vars(kept)


def test_a_log_of_another_version_is_refused_by_its_name(log, address):
    log.add(new_case())
    engine = sql.create_engine(address, poolclass=sql.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE dermlens_schema SET version = 99")
    for ask in (log.cases, log.table, lambda: log.add(new_case()), lambda: log.delete("x")):
        with pytest.raises(CaseLogVersionError, match="version 1.*version 99"):
            ask()


WRITER = """
import sys, numpy
from core.cases.log import CaseLog, NewCase
prediction, image = {"diagnosis": "mel", "run": "one"}, numpy.zeros((8, 8, 3), "uint8")
case = NewCase(image=image, prediction=prediction, model_sha256="ab" * 32, comment=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    CaseLog(sys.argv[1]).add(case)
"""


def test_several_processes_make_the_log_and_write_it_at_once(address):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, address, str(number)],
            cwd=PROJECT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        for number in range(4)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        errors = writer.communicate(timeout=60)[1]
        assert writer.returncode == 0, errors
    assert CaseLog(address).table()["comment"].value_counts().to_dict() == dict.fromkeys("0123", 5)


def test_a_log_that_is_locked_says_to_try_again(tmp_path, monkeypatch):
    monkeypatch.setattr(log_module, "PATIENCE", 0.1)
    log = CaseLog(f"sqlite:///{tmp_path / 'cases.sqlite'}")
    kept = log.add(new_case())
    with sqlite3.connect(tmp_path / "cases.sqlite") as other:
        other.execute("BEGIN IMMEDIATE")
        assert log.get(kept.id).id == kept.id  # readers do not wait
        with pytest.raises(CaseLogError, match="locked.*try again in a moment"):
            log.add(new_case())
        other.rollback()
    other.close()
    assert log.add(new_case()).id


def test_a_full_disk_says_so_and_keeps_what_was_there(tmp_path):
    log = CaseLog(f"sqlite:///{tmp_path / 'cases.sqlite'}")
    kept = log.add(new_case())
    sql.event.listen(log._engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 10"))
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    with pytest.raises(CaseLogError, match="full.*Free some disk"):
        log.add(new_case(image=noise))
    assert [case.id for case in log.cases()] == [kept.id]


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "cases.sqlite").write_bytes(b"something else, and long enough " * 100)
    log = CaseLog(f"sqlite:///{tmp_path / 'cases.sqlite'}")
    for ask in (log.cases, lambda: log.add(new_case())):
        with pytest.raises(CaseLogError, match="cases.sqlite.*not a database.*Bring it back"):
            ask()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CaseLogError, match="Check"):
        CaseLog(f"sqlite:///{tmp_path / 'file' / 'cases.sqlite'}").add(new_case())


def test_a_server_that_does_not_answer_is_named_without_its_password():
    log = CaseLog("postgresql+psycopg://somebody:secret@127.0.0.1:1/cases")
    with pytest.raises(CaseLogError, match="127.0.0.1.*Check that the database runs") as caught:
        log.cases()
    assert "secret" not in str(caught.value) + log.address


@pytest.mark.parametrize(
    "wrong", ["no address", "nothing://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "postgresql+pg8000://u:secret@h/d"]
)  # fmt: skip
def test_an_address_that_is_none_is_refused_without_its_password(wrong):
    with pytest.raises(CaseLogError, match="DERMLENS_CASES") as caught:
        CaseLog(wrong)
    assert "secret" not in str(caught.value)


def test_the_database_is_for_its_owner_alone(tmp_path):
    CaseLog(f"sqlite:///{tmp_path / 'kept' / 'cases.sqlite'}").add(new_case())
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
    assert (tmp_path / "kept" / "cases.sqlite").stat().st_mode & 0o077 == 0


def test_by_default_the_variable_names_the_database(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMLENS_CASES", f"sqlite:///{tmp_path / 'mine.sqlite'}")
    CaseLog().add(new_case())
    assert (tmp_path / "mine.sqlite").is_file()
    monkeypatch.delenv("DERMLENS_CASES")
    assert CaseLog().address.endswith("data/cases/cases.sqlite")


def test_an_image_that_nothing_could_read_again_is_refused(log, monkeypatch):
    monkeypatch.setattr(log_module, "MAX_BYTES", 1000)
    with pytest.raises(CaseLogError, match="as a PNG.*Crop it"):
        log.add(new_case())
    assert log.cases() == []
