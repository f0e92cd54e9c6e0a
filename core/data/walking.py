"""The files below a folder of images."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from core.errors import DatasetError

HIDDEN = re.compile(r"\.|__MACOSX$|lost\+found$")  # what systems leave: macOS, files that look like images
NO_IMAGES = re.compile(rf"{HIDDEN.pattern}|masks?$|.*_masks?$|.*segmentations?", re.IGNORECASE)
"""Folders of masks too: their files often bear the names of their images."""


def _refuse(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):  # it has gone meanwhile: nothing lies there
        return
    raise DatasetError(
        f"Every folder of images can be read. Received: {error.filename} ({error.strerror}). Check who may read it."
    ) from error


def walk(folder: Path, passed_over: re.Pattern[str] = NO_IMAGES) -> Iterator[tuple[str, list[str]]]:
    """Each folder and the names of its files, in order; links are followed, hidden files are not listed.

    Args:
        folder: where to begin.
        passed_over: names of folders that are not looked into.

    Raises:
        DatasetError: one of them may not be read.
    """
    seen = set()  # a link may lead back up
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        place = os.path.realpath(parent)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not passed_over.match(name))
        yield parent, sorted(name for name in names if not name.startswith("."))
