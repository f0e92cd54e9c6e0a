"""Open every image once, and remember which are sound: the next training asks again only about changed files."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from core.data.images import read_image
from core.errors import ImageError
from core.places import cache_root

COLUMNS = ("path", "size", "mtime_ns", "sha256", "problem")


def inspect_images(paths: list[str]) -> pd.DataFrame:
    """Read each file whole and say whether it is an image.

    Args:
        paths: of image files.

    Returns:
        A row for each path: path, size in bytes, mtime_ns, sha256 of the bytes, problem ("" if it is sound).
    """
    store = cache_root() / "inspected" / f"{_key(paths)}.csv"
    known = _remembered(store)
    stats = [_stat(path) for path in paths]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = pool.map(lambda stat: known.get(stat) or _inspect(*stat), stats)
        table = pd.DataFrame(rows, columns=list(COLUMNS))
    if any(stat not in known for stat in stats):
        _remember(store, table)
    return table


def _key(paths: list[str]) -> str:
    folder = os.path.commonpath(paths) if paths else ""
    return hashlib.sha256(folder.encode()).hexdigest()[:24]


def _stat(path: str) -> tuple[str, int, int]:
    try:
        stat = os.stat(path)
        return path, stat.st_size, stat.st_mtime_ns
    except OSError:
        return path, -1, -1


def _inspect(path: str, size: int, mtime_ns: int) -> tuple[str, int, int, str, str]:
    try:
        content = Path(path).read_bytes()
        read_image(content)
        return path, size, mtime_ns, hashlib.sha256(content).hexdigest(), ""
    except OSError as error:
        return path, size, mtime_ns, "", f"cannot be opened: {error.strerror}"
    except ImageError:
        return path, size, mtime_ns, "", "empty file" if size == 0 else "no whole image"


def _remembered(store: Path) -> dict[tuple[str, int, int], tuple]:
    """Verdicts by path, size and time of change; a store that cannot be read is as good as none."""
    try:
        table = pd.read_csv(store, keep_default_na=False)[list(COLUMNS)]
    except (OSError, ValueError, KeyError):
        return {}
    return {row[:3]: row for row in table.itertuples(index=False, name=None)}


def _remember(store: Path, table: pd.DataFrame) -> None:
    store.parent.mkdir(parents=True, exist_ok=True)
    temporary = store.with_name(f".{store.name}.{os.getpid()}")
    table.to_csv(temporary, index=False)
    temporary.replace(store)
