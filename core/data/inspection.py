"""Open every image once, and remember which are sound: the next training asks again only about changed files."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pandas as pd
import PIL

from core.atomic import write_file
from core.data.images import MAX_BYTES, read_image
from core.errors import ImageError
from core.places import cache_root

COLUMNS = ("path", "size", "mtime_ns", "sha256", "pixels", "problem")
RULES = 4
"""Version of what `read_image` accepts: raise it whenever the same file would be judged otherwise."""

AT_A_TIME = 500  # files: a few seconds
UNOPENED = "cannot be opened"
"""How a problem begins that lies not in the file: it is asked about again next time."""


Step = Callable[[int, int], None]
"""Called with (done, total) now and then; may raise to stop."""


def inspect_images(paths: list[str], step: Step = lambda *_: None) -> pd.DataFrame:
    """Read each file whole and say whether it is an image.

    Verdicts are kept below `cache_root()`, those before a stop too; where they cannot be, every file is read again next
    time.

    Args:
        paths: of image files.
        step: told of files that have to be read.

    Returns:
        A row for each path, in their order: path, size in bytes, mtime_ns, sha256 of the bytes, pixels (sha256 of
        what was read from it: the same picture in another kind of file has the same), problem ("" if it is sound).
    """
    store = cache_root() / "inspected" / f"{_key(paths)}.csv"
    known = _remembered(store)
    stats = [_stat(path) for path in paths]
    new = any(stat not in known for stat in stats)
    rows: list[tuple] = []
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(stats), AT_A_TIME):
                rows += pool.map(lambda stat: known.get(stat) or _inspect(*stat), stats[start : start + AT_A_TIME])
                if new:
                    step(len(rows), len(stats))
    finally:
        if new:
            kept = rows + [known[stat] for stat in stats[len(rows) :] if stat in known]
            table = pd.DataFrame(kept, columns=list(COLUMNS))
            with suppress(OSError):  # a full or read-only disk costs the next training time, not this one its life
                write_file(store, table[~table["problem"].str.startswith(UNOPENED)].to_csv(index=False).encode())
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _key(paths: list[str]) -> str:
    """What the store of these files is named by: their folder, and who judges them how."""
    folder = os.path.commonpath(paths) if paths else ""
    return hashlib.sha256(f"{folder}:{RULES}:{PIL.__version__}".encode()).hexdigest()[:24]


def _stat(path: str) -> tuple[str, int, int]:
    try:
        stat = os.stat(path)
        return path, stat.st_size, stat.st_mtime_ns
    except OSError:
        return path, -1, -1


def _inspect(path: str, size: int, mtime_ns: int) -> tuple[str, int, int, str, str, str]:
    sha256 = pixels = problem = ""
    try:
        if size == 0:
            problem = "empty file"
        elif size > MAX_BYTES:
            problem = f"over {MAX_BYTES // 2**20} MB"
        else:
            content = Path(path).read_bytes()
            image = read_image(content)
            pixels = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()
            sha256 = hashlib.sha256(content).hexdigest()
    except OSError as error:
        problem = f"{UNOPENED}: {error.strerror}"
    except ImageError as error:
        short = isinstance(error.__context__, MemoryError)  # of this moment, not of the file
        problem = f"{UNOPENED}: not enough memory" if short else "no whole image within the limits"
    return path, size, mtime_ns, sha256, pixels, problem


def _remembered(store: Path) -> dict[tuple[str, int, int], tuple]:
    """Verdicts by path, size and time of change; a store that cannot be read is as good as none."""
    try:
        types = {"path": str, "size": int, "mtime_ns": int, "sha256": str, "pixels": str, "problem": str}
        table = pd.read_csv(store, dtype=types, keep_default_na=False)[list(COLUMNS)]
    except (OSError, ValueError, KeyError):
        return {}
    return {row[:3]: row for row in table.itertuples(index=False, name=None)}
