"""The log of cases: a table in an SQL database, kept only of those who asked for it.

`DERMLENS_CASES` names the database by any address that SQLAlchemy knows, such as
`postgresql+psycopg://user:password@host/cases`; PostgreSQL needs the package `psycopg[binary]`. Tested are SQLite,
the default, and PostgreSQL.

An image lies in the same row as its case: one transaction deletes both. SQLite overwrites what is deleted
(`secure_delete`), and its log of changes is emptied at once. A server keeps deleted rows until its next VACUUM; that,
and copies of the database, are its keeper's.
"""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from types import EllipsisType
from typing import Any

import filelock
import pandas as pd
import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from core.cases.case import COMMENT_LENGTH, NAME_LENGTH, Case, NewCase, check_code, check_text
from core.data.images import MAX_BYTES
from core.diagnoses import CODES, PROBABILITY_COLUMNS
from core.errors import CaseLogError, CaseLogVersionError
from core.places import cases_address
from core.runs.files import without_nan

__all__ = ["Case", "CaseLog", "NewCase"]

SCHEMA_VERSION = 1
PATIENCE = 10.0  # seconds that one waits for a server, or for another who writes
_CREATION_LOCK = 0x6465726D  # the number of PostgreSQL's advisory lock; "derm"


class _Moment(sql.types.TypeDecorator):
    """A time in UTC: SQLite forgets the zone, PostgreSQL gives its own."""

    impl = sql.DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: sql.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_METADATA = sql.MetaData()
_VERSION = sql.Table(
    "dermlens_schema", _METADATA,
    sql.Column("only", sql.Integer, primary_key=True, autoincrement=False),  # always 1: there is one row
    sql.Column("version", sql.Integer, nullable=False),
)  # fmt: skip
_CASES = sql.Table(
    "dermlens_cases", _METADATA,
    sql.Column("id", sql.String(32), primary_key=True),
    sql.Column("time", _Moment, nullable=False, index=True),
    sql.Column("image", sql.LargeBinary(2**32 - 1), nullable=False),  # the length is MySQL's: its default is 64 KB
    sql.Column("image_sha256", sql.String(64), nullable=False),
    sql.Column("run", sql.String(NAME_LENGTH), nullable=False),
    sql.Column("model_sha256", sql.String(64), nullable=False),
    sql.Column("prediction", sql.JSON, nullable=False),
    sql.Column("age", sql.Double),
    sql.Column("sex", sql.String(16)),
    sql.Column("site", sql.String(NAME_LENGTH)),
    sql.Column("lesion", sql.String(NAME_LENGTH), nullable=False),
    sql.Column("own_impression", sql.String(16)),
    sql.Column("reader_diagnosis", sql.String(16)),
    sql.Column("comment", sql.Text, nullable=False),
    sql.Column("histology", sql.String(16)),
    sql.Column("histology_time", _Moment),
)  # fmt: skip
_WITHOUT_IMAGE = [column for column in _CASES.c if column.name != "image"]


class CaseLog:
    """The cases of one database. Every method asks the database: what another process kept is seen at once.

    Nothing is created before the first case is added. Several processes may use it at once.

    Args:
        address: of the database, as SQLAlchemy writes it; by default `core.places.cases_address()`.

    Raises:
        CaseLogError: here, no such address, or its driver is not installed; from every method, the database cannot
            be reached, read or written.
    """

    def __init__(self, address: str | None = None) -> None:
        try:
            url = sql.make_url(address or cases_address())
            # connections are made anew: none outlives a file that was moved or a server that was restarted
            self._engine = sql.create_engine(url, poolclass=NullPool, hide_parameters=True, **_options(url))
        except (SQLAlchemyError, ImportError, ValueError) as error:
            raise CaseLogError(
                "DERMLENS_CASES is the address of a database, such as sqlite:////home/me/cases.sqlite or "
                f"postgresql+psycopg://user:password@host/cases. Received: {_without_secrets(error)}. Correct it, or "
                "install what it needs: pip install 'psycopg[binary]' for PostgreSQL."
            ) from None  # what SQLAlchemy says of an address holds its password
        self.address = url.render_as_string(hide_password=True)
        self._file = _sqlite_file(url)
        if self._file is not None:
            sql.event.listen(self._engine, "connect", _prepare_sqlite)

    def add(self, case: NewCase) -> Case:
        """Keep a case.

        Returns:
            The case as it is kept, with its id.
        """
        png = case.png()
        if len(png) > MAX_BYTES:  # it could be neither shown nor learned from
            raise CaseLogError(
                f"The image of a case takes at most {MAX_BYTES // 2**20} MB as a PNG. "
                f"Received: {len(png) // 2**20} MB. Crop it to the lesion."
            )
        self._create()
        key = uuid.uuid4().hex
        row = {field.name: getattr(case, field.name) for field in fields(NewCase) if field.name != "image"}
        row |= {
            "id": key,
            "time": datetime.now(UTC),
            "image_sha256": case.image_sha256(),
            "run": case.run,
            "prediction": without_nan(case.prediction),
            "site": (case.site or "").strip() or None,
            "lesion": (case.lesion or "").strip() or key,
            "histology": None,
            "histology_time": None,
        }
        with self._writing() as connection:
            connection.execute(_CASES.insert().values(image=png, **row))
        return Case(**row)

    def get(self, id: str) -> Case:  # noqa: A002
        """The case of an id.

        Raises:
            CaseLogError: there is none.
        """
        found = self._rows(sql.select(*_WITHOUT_IMAGE).where(_CASES.c.id == id))
        if not found:
            raise _unknown(id)
        return Case(**found[0])

    def cases(self) -> list[Case]:
        """The cases without their images, the newest first; empty while nothing was kept."""
        query = sql.select(*_WITHOUT_IMAGE).order_by(_CASES.c.time.desc(), _CASES.c.id)
        return [Case(**row) for row in self._rows(query)]

    def image(self, id: str) -> bytes:  # noqa: A002
        """The pixels of a case as a PNG file.

        Raises:
            CaseLogError: there is no such case.
        """
        found = self._rows(sql.select(_CASES.c.image).where(_CASES.c.id == id))
        if not found:
            raise _unknown(id)
        return found[0]["image"]

    def update(
        self,
        id: str,  # noqa: A002
        *,
        reader_diagnosis: str | None | EllipsisType = ...,
        comment: str | EllipsisType = ...,
        histology: str | None | EllipsisType = ...,
    ) -> Case:
        """Change what is given, and leave the rest.

        Args:
            id: of the case.
            reader_diagnosis, histology: code of a diagnosis; None takes it out again. The time of a histology is that
                of its last change.
            comment: in words.

        Returns:
            The case as it is now.

        Raises:
            CaseLogError: there is no such case, or a value is refused.
        """
        changes: dict[str, Any] = {}
        if not isinstance(reader_diagnosis, EllipsisType):
            check_code("reader_diagnosis", reader_diagnosis)
            changes["reader_diagnosis"] = reader_diagnosis
        if not isinstance(comment, EllipsisType):
            check_text("comment", comment, COMMENT_LENGTH)
            changes["comment"] = comment
        if not isinstance(histology, EllipsisType):
            check_code("histology", histology)
            changes["histology"] = histology
            changes["histology_time"] = histology and sql.case(
                (_CASES.c.histology == histology, _CASES.c.histology_time),
                else_=sql.literal(datetime.now(UTC), _Moment),
            )
        if changes and self._is_there():
            with self._writing() as connection:
                connection.execute(_CASES.update().where(_CASES.c.id == id).values(**changes))
        return self.get(id)

    def delete(self, id: str) -> bool:  # noqa: A002
        """Delete a case with its image, for good.

        Returns:
            Whether there was one.
        """
        if not self._is_there():
            return False
        with self._writing() as connection:
            deleted = connection.execute(_CASES.delete().where(_CASES.c.id == id)).rowcount > 0
        if self._file is not None:
            with self._reading() as connection:  # its pages stand in the write-ahead log until that is emptied
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
        return deleted

    def table(self) -> pd.DataFrame:
        """All cases, one a row, the newest first.

        Returns:
            The fields of `Case` but for the prediction, of which there are `predicted` (the answer), `most_probable`,
            `synthetic`, `refused`, and `p_mel` to `p_vasc`. What is not known is None, of an age NaN.
        """
        names = [field.name for field in fields(Case) if field.name != "prediction"]
        rows = []
        for case in self.cases():
            answer = case.prediction
            row: dict[str, Any] = {name: getattr(case, name) for name in names}
            row |= {"predicted": answer.get("diagnosis"), "most_probable": answer.get("most_probable")}
            row |= {"synthetic": case.synthetic, "refused": bool(answer.get("refused"))}
            row |= {f"p_{code}": (answer.get("probabilities") or {}).get(code) for code in CODES}
            rows.append(row)
        columns = [*names, "predicted", "most_probable", "synthetic", "refused", *PROBABILITY_COLUMNS]
        table = pd.DataFrame(rows, columns=columns, dtype=object)
        table[["age", *PROBABILITY_COLUMNS]] = table[["age", *PROBABILITY_COLUMNS]].astype(float)
        table[["synthetic", "refused"]] = table[["synthetic", "refused"]].astype(bool)
        return table

    # ---- the database --------------------------------------------------------------------------

    def _rows(self, query: sql.Select) -> list[dict[str, Any]]:
        if not self._is_there():
            return []
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _is_there(self) -> bool:
        """Whether anything was ever kept there, by a version of DermLens that this one knows."""
        if self._file is not None and not self._file.exists():
            return False  # SQLite would make an empty file
        with self._reading() as connection:
            return self._version(connection) is not None

    def _version(self, connection: sql.Connection) -> int | None:
        if not sql.inspect(connection).has_table(_VERSION.name):
            return None
        version = connection.execute(sql.select(_VERSION.c.version)).scalar()
        if version not in (None, SCHEMA_VERSION):
            raise CaseLogVersionError(
                f"The case log is one of version {SCHEMA_VERSION}. Received: {self.address}, of version {version}. "
                "Use the DermLens that wrote it, or name another database in DERMLENS_CASES."
            )
        return version

    def _create(self) -> None:
        """Make the tables where there are none yet; of several processes, one does it."""
        if self._is_there():
            return
        with self._alone(), self._writing() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_CREATION_LOCK)))
            if self._version(connection) is None:
                _METADATA.create_all(connection)
                connection.execute(_VERSION.insert().values(only=1, version=SCHEMA_VERSION))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """For SQLite: its folder and file are there, nobody else reads them, and no other process makes them too."""
        if self._file is None:
            yield
            return
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with filelock.FileLock(f"{self._file}.lock", timeout=PATIENCE):
                os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600))
                with self._reading() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL").all()  # readers do not wait for a writer
                yield
        except (OSError, filelock.Timeout) as error:
            raise self._trouble(error) from error

    @contextmanager
    def _reading(self) -> Iterator[sql.Connection]:
        with self._explained(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sql.Connection]:
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError, json.JSONDecodeError) as error:
            raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> CaseLogError:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        return CaseLogError(
            f"The case log must be read from and written to {self.address}. Received: {reason}. {_advice(reason)}"
        )


def _options(url: sql.URL) -> dict[str, Any]:
    """How long is waited, in each database's own words."""
    backend = url.get_backend_name()
    if backend == "sqlite":
        if _sqlite_file(url) is None:
            raise ValueError("a SQLite database without a file, which would be forgotten at once")
        return {"connect_args": {"timeout": PATIENCE}}
    if backend == "postgresql":
        waits = f"-c lock_timeout={PATIENCE * 1000:.0f}"
        return {"connect_args": {"connect_timeout": int(PATIENCE), "options": waits}}
    return {}


def _sqlite_file(url: sql.URL) -> Path | None:
    """The file of a SQLite database; None for one in memory, and for any other database."""
    if url.get_backend_name() != "sqlite" or not url.database or ":memory:" in url.database:
        return None
    return Path(url.database)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """What is deleted is overwritten."""
    connection.execute("PRAGMA secure_delete=ON")


def _without_secrets(error: Exception) -> str:
    """What is wrong with an address, without the address, which may hold a password."""
    if isinstance(error, ImportError):
        return f"one whose driver is not installed ({error.name})"
    if isinstance(error, sql.exc.NoSuchModuleError):
        return "one of a kind of database that SQLAlchemy does not know"
    if isinstance(error, ValueError):
        return str(error)
    return "something else"


def _advice(reason: str) -> str:
    said = reason.lower()
    if "locked" in said or "lock timeout" in said or "could not be acquired" in said:
        return "Somebody else is writing it: try again in a moment."
    if "full" in said or "no space" in said:
        return "Free some disk; what was kept before is still there."
    if "not a database" in said or "malformed" in said or "no such column" in said:
        return "Bring it back from a copy, or name another database in DERMLENS_CASES."
    if "readonly" in said or "read-only" in said or "permission denied" in said or "unable to open" in said:
        return "Check who may write there, or name another database in DERMLENS_CASES."
    return "Check that the database runs and that DERMLENS_CASES names it."


def _unknown(id: str) -> CaseLogError:  # noqa: A002
    return CaseLogError(
        f"A case is one that is in the log. Received: {id!r}, which is not, or not any more. Look at the list again."
    )
