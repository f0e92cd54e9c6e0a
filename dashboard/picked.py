"""Sets of images that somebody picked on a chart, kept on disk, so that an address can name them.

One JSON file each, named by a hash of what it holds: the same pick made again is the same file. A pick with a name
stays until somebody deletes it; of those without, the oldest make room.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from core.errors import RunError
from core.places import selections_root
from core.runs.files import read_json, write_json

UNNAMED = 300  # picks without a name that are kept
_TOKEN = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Picked:
    """Images that were picked.

    Attributes:
        title: what they have in common, in words.
        image_ids: of the images, in the order that they are to be shown in.
        name: that somebody saved them under; empty for none.
        moment: when they were picked first, ISO 8601.
    """

    title: str
    image_ids: tuple[str, ...]
    name: str = ""
    moment: str = ""

    @property
    def token(self) -> str:
        """What an address calls them."""
        return hashlib.sha256(json.dumps([self.title, self.image_ids]).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """One line for a list."""
        return f"{self.name or self.title} ({len(self.image_ids):,})"


def keep(title: str, image_ids: Iterable[str]) -> Picked:
    """Keep a pick, or find the one that was kept before.

    Raises:
        RunError: it cannot be written.
    """
    picked = Picked(title, tuple(image_ids), moment=datetime.now(UTC).isoformat(timespec="seconds"))
    before = find(picked.token)
    if before is not None:
        return before
    _write(picked)
    _make_room()
    return picked


def find(token: str) -> Picked | None:
    """The pick that an address names; None when it is not there any more, or is none."""
    path = _path(token)
    if path is None:
        return None
    try:
        content = read_json(path)
        return Picked(content["title"], tuple(content["image_ids"]), content["name"], content["moment"])
    except (RunError, KeyError, TypeError):
        return None


def named() -> list[Picked]:
    """The picks that somebody saved under a name, by name."""
    found = (find(path.stem) for path in selections_root().glob("*.json"))
    return sorted((picked for picked in found if picked and picked.name), key=lambda picked: picked.name.lower())


def save(picked: Picked, name: str) -> None:
    """Give a pick a name, or another one; an empty one takes it away.

    Raises:
        RunError: it cannot be written.
    """
    _write(replace(picked, name=name.strip()))


def _path(token: str) -> Path | None:
    return selections_root() / f"{token}.json" if _TOKEN.fullmatch(token) else None


def _write(picked: Picked) -> None:
    path = _path(picked.token)
    assert path is not None
    write_json(path, asdict(picked))


def _make_room() -> None:
    paths = list(selections_root().glob("*.json"))
    if len(paths) <= UNNAMED:  # nothing need be opened
        return
    paths.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    without = [path for path in paths if (picked := find(path.stem)) is None or not picked.name]
    for path in without[UNNAMED:]:
        with suppress(OSError):
            path.unlink()
