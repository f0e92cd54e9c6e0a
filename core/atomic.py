"""A file that is written whole or not at all."""

import os
import threading
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename: nobody ever sees half of it.

    Raises:
        OSError: the disk is full, or the folder cannot be written; what was there before still is.
    """
    # named by process and thread: two sessions of one server may write the same file at once
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
