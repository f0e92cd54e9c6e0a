"""The table of a data set: found, read, and brought into HAM10000's columns and diagnoses.

A folder whose table has other columns or labels says so in a file of its own, `dermlens-columns.json`:

    {
      "table": ["GroundTruth.csv", "Metadata.csv"],
      "columns": {"image_id": "image", "age": "age_approx"},
      "labels": {"MEL": "mel", "AK": "akiec", "SCC": null}
    }

Every key but `table` may be left out. `table`: a CSV file, or several that are joined by image_id. `columns`: ours ->
theirs; what is not named is looked for under our name. `labels`: theirs -> one of the seven codes, or null for rows
that are left out; where no table has the column `dx`, each label is a column of its own that holds 1 where it applies
(one-hot). `own_lesions`: true where an image whose row names no lesion is the only one of its lesion. `lesion_prefix`:
put before each lesion's name, where bare numbers would mean other lesions in another folder.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd

from core.data.images import SUFFIXES
from core.diagnoses import CODES
from core.errors import DatasetError

MAPPING = "dermlens-columns.json"
METADATA_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata")
REQUIRED = ("image_id", "dx")
OPTIONAL = ("lesion_id", "dx_type", "age", "sex", "localization")
PEOPLE = ("image_id", "age", "sex", "localization")
EXAMPLES = 5
UNNAMED = ("na", "n/a", "nan", "none", "null")  # what other programs write where there is nothing
SET, UNSET = ("1", "1.0", "true", "yes", "x"), ("0", "0.0", "false", "no", "")  # what a one-hot column may hold

Listing = list[tuple[str, list[str]]]
"""Folders and the names of their files."""

_SUFFIX = rf"(?i)({'|'.join(map(re.escape, SUFFIXES))})$"


@dataclass(frozen=True)
class Columns:
    """What a folder says of its table; see the top of this file. Labels and names of columns are in small letters."""

    table: list[str]
    columns: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str | None] = field(default_factory=dict)
    own_lesions: bool = False
    lesion_prefix: str = ""

    def column(self, name: str) -> str:
        """What the tables call one of our columns."""
        return self.columns.get(name, name)


@dataclass(frozen=True)
class Table:
    """What was read.

    Attributes:
        rows: image_id, dx and `OPTIONAL`, as text without spaces around it, age as a number; what is not there is
            empty, as is a dx of which nothing can be made.
        left_out: image ids that the mapping leaves out by their label: why -> which.
    """

    rows: pd.DataFrame
    left_out: dict[str, list[str]] = field(default_factory=dict)


def read_table(folder: Path, listing: Listing, need_lesions: bool) -> Table:
    """The table of a folder, by its mapping if it has one.

    Args:
        folder: of the data set.
        listing: its folders and files.
        need_lesions: whether a table without lesions is refused.

    Raises:
        DatasetError: there is no table, it cannot be read, or it does not fit the mapping.
    """
    mapping = read_columns(folder)
    left_out: dict[str, list[str]] = {}
    if mapping is None:
        path = _find_table(folder, listing)
        table = _read_csv(path)
        _check_columns(path.name, str(path), table, need_lesions)
    else:
        table = _joined_tables(folder, mapping)
        table, left_out = _mapped(folder, table, mapping, need_lesions)
    table = _cleaned(table, (*REQUIRED, *OPTIONAL))
    table["dx"] = table["dx"].str.lower()
    if mapping is not None:
        table = _own_names(table, mapping)
    return Table(table, left_out)


def read_people(folder: Path) -> pd.DataFrame:
    """What a folder's tables say of the person in each image, by its mapping if it has one; no diagnosis is read.

    Returns:
        image_id, age (a number), sex, localization, one row an image; none where the folder has no table.

    Raises:
        DatasetError: a table cannot be read.
    """
    mapping = read_columns(folder)
    if mapping is not None:
        table = _joined_tables(folder, mapping)
        ours = {mapping.column(name): name for name in PEOPLE if mapping.column(name) in table}
        table = table[list(ours)].rename(columns=ours)
    elif (folder / METADATA_NAMES[0]).is_file():
        table = _read_csv(folder / METADATA_NAMES[0])
    else:
        table = pd.DataFrame(columns=list(PEOPLE), dtype=str)
    table = _cleaned(table, PEOPLE)
    return table.assign(sex=table["sex"].str.lower()).drop_duplicates("image_id")


def _cleaned(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """These columns, as text without spaces around it, age as a number; what is not there is empty."""
    # a line that ends early leaves its last columns without any value
    table = table.reindex(columns=list(columns), fill_value="").fillna("").apply(lambda column: column.str.strip())
    for name in {"lesion_id", "sex", "localization"} & set(columns):
        empty = table[name].str.lower().isin(UNNAMED)
        if name == "lesion_id":  # one may be called so; several images of it are rather of none
            empty &= table[name].duplicated(keep=False)
        table[name] = table[name].mask(empty, "")
    return table.assign(image_id=_as_name(table["image_id"]), age=pd.to_numeric(table["age"], errors="coerce"))


def _as_name(column: pd.Series) -> pd.Series:
    """Image ids; who writes the file's name for its id means the same image."""
    return column.str.strip().str.replace(_SUFFIX, "", regex=True)


# ---- the mapping ---------------------------------------------------------------------------------


def read_columns(folder: Path) -> Columns | None:
    """The mapping of a folder; None where it has none.

    Raises:
        DatasetError: it is no mapping.
    """
    path = folder / MAPPING
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig"))
        return _columns(said)
    except (OSError, ValueError) as error:  # JSON's and UTF-8's errors are ValueErrors
        raise DatasetError(
            f"{MAPPING} says in JSON which table, columns and labels a folder has. Received: {path} ({error}). Correct "
            "it; the README has an example."
        ) from error


def _columns(said: Any) -> Columns:
    """What a mapping says, checked.

    Raises:
        ValueError: says what is wrong.
    """
    known = list(get_type_hints(Columns))
    if not isinstance(said, dict) or "table" not in said or set(said) - set(known):
        raise ValueError(f"it is an object with table and, if need be, {', '.join(known[1:])}")
    tables = [said["table"]] if isinstance(said["table"], str) else said["table"]
    if not (isinstance(tables, list) and tables and all(isinstance(name, str) and name for name in tables)):
        raise ValueError("table is the name of a file, or a list of names")
    columns, labels = said.get("columns", {}), said.get("labels", {})
    if not (isinstance(columns, dict) and set(columns) <= {*REQUIRED, *OPTIONAL} and _texts(columns)):
        raise ValueError(f"columns names some of {', '.join((*REQUIRED, *OPTIONAL))}, each with its column")
    if not (isinstance(labels, dict) and all(code in (*CODES, None) for code in labels.values())):
        raise ValueError(f"each label stands for one of {', '.join(CODES)}, or for null")
    own, prefix = said.get("own_lesions", False), said.get("lesion_prefix", "")
    if not (isinstance(own, bool) and isinstance(prefix, str)):
        raise ValueError("own_lesions is true or false, lesion_prefix a text")
    small = {label.strip().lower(): code for label, code in labels.items()}
    if len(small) < len(labels):
        raise ValueError("a label is written twice, in small and in capital letters")
    return Columns(tables, {name: its.strip().lower() for name, its in columns.items()}, small, own, prefix)


def _texts(values: Mapping[str, Any]) -> bool:
    return all(isinstance(value, str) for value in values.values())


def _joined_tables(folder: Path, mapping: Columns) -> pd.DataFrame:
    """The tables of a mapping, joined by image_id: the rows of the first, with the columns of all."""
    key = mapping.column("image_id")
    joined: pd.DataFrame | None = None
    for name in mapping.table:
        table = _read_csv(folder / name)
        if table.columns.tolist().count(key) != 1:
            raise DatasetError(
                f"Each table of {MAPPING} has the column {key!r}, once: it names the image. Received: {folder / name}, "
                f"with {', '.join(table.columns[:12])}. Correct columns.image_id."
            )
        table[key] = _as_name(table[key].fillna(""))
        if joined is None:
            joined = table
            continue
        if table[key].duplicated().any():
            raise DatasetError(
                f"A table that is joined to another one has a row for each image. Received: {folder / name}, with "
                f"{', '.join(table.loc[table[key].duplicated(), key].head(EXAMPLES))} twice. Name it first, or mend it."
            )
        joined = joined.merge(table[[key, *table.columns.difference(joined.columns)]], how="left", on=key)
    assert joined is not None
    return joined


def _mapped(
    folder: Path, table: pd.DataFrame, mapping: Columns, need_lesions: bool
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The tables under our names and with our codes, and who is left out by a label."""
    names, tables = table.columns.tolist(), " and ".join(mapping.table)
    unknown = [its for name, its in mapping.columns.items() if its not in names]
    if unknown or len(set(names)) < len(names):
        wrong = f"without {', '.join(unknown)}" if unknown else "with a column twice"
        raise DatasetError(
            f"The columns that {MAPPING} names stand in its tables, each once. Received: {folder}, whose {tables} is "
            f"{wrong} (it has {', '.join(names[:12])}). Correct the mapping."
        )
    ours = {name: mapping.column(name) for name in (*REQUIRED, *OPTIONAL) if mapping.column(name) in names}
    labels = _labels(folder, table, mapping)
    image_ids = table[ours["image_id"]]
    left_out = {
        f"rows with the label {label!r}, which {MAPPING} leaves out": image_ids[labels == label].tolist()
        for label, code in mapping.labels.items()
        if code is None and (labels == label).any()
    }
    table = table[list(ours.values())].set_axis(list(ours), axis="columns")
    meant = {code: code for code in CODES} | mapping.labels
    table = table.assign(dx=labels.map(meant))
    kept = ~labels.isin([label for label, code in mapping.labels.items() if code is None])
    _check_columns(tables, str(folder), table, need_lesions and not mapping.own_lesions)
    return table[kept].reset_index(drop=True), left_out


def _labels(folder: Path, table: pd.DataFrame, mapping: Columns) -> pd.Series:
    """The label of each row, in small letters; empty where a one-hot row has none or several.

    Raises:
        DatasetError: a label is neither mapped nor one of the seven codes, or there are no labels.
    """
    if mapping.column("dx") in table:
        labels = table[mapping.column("dx")].fillna("").str.strip().str.lower()
        counts = labels[~labels.isin([*CODES, *mapping.labels])].value_counts()
        if len(counts):
            named = ", ".join(f"{label!r} ({count:,})" for label, count in counts.items())
            raise DatasetError(
                f"Each label stands for one of {', '.join(CODES)}, or for null where its images are left out. "
                f"Received: {folder}, with unknown labels: {named}. Name them under labels in {MAPPING}."
            )
        return labels
    lacking = [label for label in mapping.labels if label not in table]
    if lacking or not mapping.labels:
        raise DatasetError(
            f"A table has its labels in one column (columns.dx), or a column for each label of {MAPPING}. Received: "
            f"{folder}, without {', '.join([mapping.column('dx'), *lacking])} "
            f"(it has {', '.join(table.columns[:12])}). Correct the mapping."
        )
    held = table[list(mapping.labels)].fillna("").apply(lambda column: column.str.strip().str.lower())
    strange = sorted(set(held.to_numpy().ravel()) - {*SET, *UNSET})
    if strange:
        raise DatasetError(
            f"A column of a label holds 1 where it applies, and 0 or nothing elsewhere. Received: {folder}, with "
            f"{', '.join(map(repr, strange[:EXAMPLES]))}. Correct the table, or name the column of the labels."
        )
    applies = held.isin(SET)
    return applies.idxmax(axis="columns").where(applies.sum(axis="columns") == 1, "")


def _own_names(table: pd.DataFrame, mapping: Columns) -> pd.DataFrame:
    """What a mapping says of lesions; and sexes as HAM10000 writes them."""
    lesions = table["lesion_id"]
    if mapping.own_lesions:
        lesions = lesions.where(lesions != "", table["image_id"])
    lesions = lesions.where(lesions == "", mapping.lesion_prefix + lesions)
    return table.assign(lesion_id=lesions, sex=table["sex"].str.lower())


# ---- the file ------------------------------------------------------------------------------------


def _read_csv(path: Path) -> pd.DataFrame:
    """A table as text, its columns in small letters."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise DatasetError(
            f"{path.name} must be a table in CSV form, in UTF-8. Received: {path} ({error}). Export it again."
        ) from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas would silently shift the columns
        raise DatasetError(
            f"Each line of {path.name} has as many fields as its first. Received: {path}, whose lines have more, "
            "such as a comma at their end. Export it again."
        )
    table.columns = [str(name).strip().lower() for name in table.columns]
    return table


def _check_columns(name: str, place: str, table: pd.DataFrame, need_lesions: bool) -> None:
    """Refuse a table without what is needed, or with one of our columns twice."""
    required = (*REQUIRED, "lesion_id") if need_lesions else REQUIRED
    known = [column for column in table.columns if column in (*REQUIRED, *OPTIONAL)]
    lacking = [column for column in required if column not in known]
    if lacking or len(set(known)) < len(known):
        wrong = f"without {', '.join(lacking)}" if lacking else "with one of them twice"
        raise DatasetError(
            f"{name} needs the columns {', '.join(required)}, each once. Received: {place}, {wrong} "
            f"(it has {', '.join(table.columns[:12])}). Name its columns so, and part them by commas; or say in "
            f"{MAPPING} what they are called."
        )


def _find_table(folder: Path, listing: Listing) -> Path:
    """HAM10000's own table, the one nearest to the top; else the only table at the top that has the columns."""
    named = [Path(parent, name) for parent, names in listing for name in names if name in METADATA_NAMES]
    if named:
        return min(named, key=lambda path: (len(path.parts), str(path)))
    fitting = []
    for path in sorted(path for path in folder.glob("*.csv") if path.is_file() and not path.name.startswith(".")):
        with suppress(OSError), path.open(encoding="utf-8-sig", errors="replace") as stream:
            columns = {name.strip().strip('"').lower() for name in stream.readline(10_000).split(",")}
            if set(REQUIRED) <= columns:
                fitting.append(path)
    if len(fitting) == 1:
        return fitting[0]
    names = f" ({', '.join(path.name for path in fitting[:EXAMPLES])})" if fitting else ""
    raise DatasetError(
        f"A data set holds {METADATA_NAMES[0]}, or one CSV file with the columns {', '.join(REQUIRED)}. "
        f"Received: {str(folder)!r}, with {len(fitting)} such files{names}. "
        f"Name the table {METADATA_NAMES[0]}, name the folder that holds it, or say in {MAPPING} what its columns are "
        "called."
    )
