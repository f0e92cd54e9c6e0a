"""What was uploaded to the page: read only from there, and deleted when nobody who uploaded it is there any more."""

import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from core import predictor
from core.errors import ImageError
from core.evaluation.patient import Patient
from core.prediction import Prediction
from dashboard.clinic.texts import ENGLISH, text

Upload = dict[str, Any]  # Gradio's FileData: the file as it was sent, not decoded and not converted

GRACE = 20.0  # seconds: Gradio gives equal files one path, and somebody may have sent it again and not yet asked

_holders: defaultdict[Path, set[str]] = defaultdict(set)
_left: dict[Path, float] = {}  # files that nobody holds, and since when
_lock = threading.Lock()
_sweeper: threading.Thread | None = None


def uploaded_file(upload: Upload | None, session: str, language: str = ENGLISH) -> Path:
    """The uploaded file; any other file of this computer is refused.

    Args:
        upload: what Gradio made of it.
        session: who holds it, until `release`.
        language: of the error.

    Raises:
        ImageError: there is none.
    """
    path = Path(str((upload or {}).get("path") or "")).resolve()
    with _lock:
        if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
            raise ImageError(text("not_a_file", language))
        _holders[path].add(session)
        _left.pop(path, None)
    return path


def predict_upload(
    upload: Upload | None, session: str, language: str = ENGLISH, patient: Patient | None = None
) -> Prediction:
    """What the served run says of an upload; see `Predictor.predict` and `uploaded_file`."""
    path = uploaded_file(upload, session, language)  # first: it is deleted afterwards also where nobody can answer
    return predictor.served_predictor().predict(path, patient)


def release(session: str) -> None:
    """What only this session held is deleted in a moment."""
    global _sweeper
    with _lock:
        for path in [path for path, holders in _holders.items() if session in holders]:
            _holders[path].discard(session)
            if not _holders[path]:
                del _holders[path]
                _left[path] = time.monotonic()
        if _left and _sweeper is None:
            _sweeper = threading.Thread(target=_sweep, name="uploads", daemon=True)
            _sweeper.start()


def _sweep() -> None:
    """Delete what nobody has held for a while; ends when nothing is left."""
    global _sweeper
    while True:
        time.sleep(GRACE / 4)
        with _lock:
            now = time.monotonic()
            for path in [path for path, since in _left.items() if now - since > GRACE]:
                del _left[path]
                if not path.is_file():
                    continue
                if time.time() - path.stat().st_mtime < GRACE:  # sent once more
                    _left[path] = now
                    continue
                path.unlink(missing_ok=True)
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()
            if not _left:
                _sweeper = None
                return
