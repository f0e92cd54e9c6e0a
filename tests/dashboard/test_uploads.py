"""What was uploaded is read from there alone, and deleted when nobody holds it any more."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import ImageError
from dashboard.clinic import many, uploads


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(uploads, "get_upload_folder", lambda: str(tmp_path / "uploads"))
    monkeypatch.setattr(uploads, "GRACE", 0.2)
    (tmp_path / "uploads" / "a-hash").mkdir(parents=True)
    return tmp_path / "uploads" / "a-hash"


def sent(folder: Path, name: str = "image.jpg") -> tuple[Path, dict]:
    path = folder / name
    path.write_bytes(b"somebody's image")
    return path, {"path": str(path)}


def gone(path: Path) -> bool:
    for _ in range(60):
        if not path.exists():
            return True
        time.sleep(0.05)
    return False


def test_deleted_when_its_only_session_ends(folder):
    path, upload = sent(folder)
    assert uploads.uploaded_file(upload, "one") == path
    uploads.release("one")
    assert gone(path)
    assert gone(folder), "its folder, which is named by its hash, goes too"


def test_kept_while_somebody_else_who_sent_the_same_file_is_there(folder):
    path, upload = sent(folder)
    uploads.uploaded_file(upload, "one")
    uploads.uploaded_file(upload, "two")
    uploads.release("one")
    time.sleep(0.6)
    assert path.exists()
    uploads.release("two")
    assert gone(path)


def test_sent_again_while_it_was_about_to_go(folder):
    path, upload = sent(folder)
    uploads.uploaded_file(upload, "one")
    uploads.release("one")
    uploads.uploaded_file(upload, "two")
    time.sleep(0.6)
    assert path.exists()
    uploads.release("two")
    assert gone(path)


def test_several_that_were_never_assessed_go_too(folder):
    sent_files = [sent(folder, name) for name in ("one.jpg", "two.jpg")]
    many.hold([upload for _, upload in sent_files], SimpleNamespace(session_hash="one"))
    uploads.release("one")
    assert all(gone(path) for path, _ in sent_files)


@pytest.mark.parametrize("upload", [None, {}, {"path": None}, {"path": "../../etc/passwd"}, {"path": "/etc/passwd"}])
def test_nothing_else_is_read(folder, upload):
    with pytest.raises(ImageError, match="none that was uploaded here"):
        uploads.uploaded_file(upload, "one")
