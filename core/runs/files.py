"""JSON, CSV and .npz files that are written whole or not at all, and read while somebody else writes them."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.atomic import write_file
from core.errors import RunError

MEND = "Delete the run, or bring the file back from a copy."


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; see `core.atomic`.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    try:
        write_file(path, content)
    except OSError as error:
        raise RunError(
            f"{path.name} must be written to {path.parent}. Received: {error.strerror or error}. "
            "Free some disk, or check who may write there; what was written before is kept."
        ) from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all; figures that are not numbers become null."""
    text = json.dumps(without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV file whole or not at all; what is not a number becomes an empty field."""
    write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode())


def read_json(path: Path, advice: str = MEND) -> dict[str, Any]:
    """One JSON object; empty while there is no such file.

    Args:
        path: of the file.
        advice: what to do when it cannot be read.

    Raises:
        RunError: it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path.name} must hold JSON. Received: {path}, which cannot be read ({error}). {advice}") from (
            error
        )
    if not isinstance(content, dict):
        raise RunError(f"{path.name} must hold one JSON object. Received: {type(content).__name__} in {path}. {advice}")
    return content


def read_bytes(path: Path, advice: str = MEND) -> bytes:
    """The whole file; empty while there is none.

    Args:
        path: of the file.
        advice: what to do when it cannot be read.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise RunError(f"{path.name} must be a file. Received: {path} ({error.strerror or error}). {advice}") from error


def read_arrays(path: Path, advice: str = MEND) -> dict[str, np.ndarray]:
    """All arrays of an .npz file; empty while there is none.

    Args:
        path: of the file.
        advice: what to do when it cannot be read.

    Raises:
        RunError: it is something else, or damaged.
    """
    content = read_bytes(path, "Check who may read it.")
    if not path.exists():
        return {}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    except MemoryError:
        raise
    except Exception as error:  # numpy and zipfile have a dozen for bytes that are not theirs
        raise RunError(
            f"{path.name} must hold arrays. Received: {path}, which cannot be read ({error}). {advice}"
        ) from error


def read_csv(path: Path, columns: tuple[str, ...], text: tuple[str, ...]) -> pd.DataFrame:
    """The rows that are whole: a last line that is still being written is left out.

    Args:
        path: of the file.
        columns: of the empty table that stands for a file that is not there.
        text: columns of names: "007" and "NA" are read as they stand.

    Raises:
        RunError: it is no table.
    """
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole.strip():
            types = dict.fromkeys(text, "str")
            return pd.read_csv(io.BytesIO(whole), dtype=types, keep_default_na=False, na_values=[""])
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path.name} must hold a table. Received: {path}, which cannot be read ({error}). {MEND}"
        ) from error
    return pd.DataFrame(columns=list(columns))


def without_nan(value: Any) -> Any:
    """The same as plain Python, fit for JSON: a figure that is not a finite number becomes None."""
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [without_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
