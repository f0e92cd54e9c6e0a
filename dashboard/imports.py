"""Modules are loaded by one thread at a time.

Streamlit runs each visitor's page in a thread of its own. Two threads that load parts of scikit-learn at the same
moment wait for each other, and Python ends that with an error on one of the pages.
"""

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LATE = ("core.predictor", "core.evaluation.promotion", "core.explain.faithfulness")  # what pages load within functions
_lock = threading.RLock()
_loaded = False


def load_all() -> None:
    """Load what any page needs, unless that is done; whoever comes meanwhile waits."""
    global _loaded
    if _loaded:
        return
    with _lock:
        sections = [f"dashboard.{path.stem}" for path in sorted(Path(__file__).parent.glob("*.py"))]
        own = [name for name in sections if name not in ("dashboard.app", "dashboard.__main__", "dashboard.__init__")]
        for name in (*LATE, *own):
            importlib.import_module(name)
        _loaded = True


@contextmanager
def page_of(light: bool) -> Iterator[None]:
    """Around the run of a page.

    Args:
        light: it needs little, and should not wait for the rest: the first page of a fresh server.
    """
    if light and not _loaded:
        with _lock:
            yield
        return
    load_all()
    yield
