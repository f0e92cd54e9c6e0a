"""Whatever arrives becomes pixels or one clear error: no other exception, no warning, no file, no lost memory."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import core.data.dicom  # noqa: F401  here, so that no compiled file is written while writing is watched
from core.data.images import MAX_PIXELS, read_image
from core.errors import ImageError
from tests.hostile import hostile_files, picture

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
watched: list[str] | None = None


def _watch(event: str, arguments: tuple) -> None:
    writes = event in ("os.mkdir", "os.remove", "os.rename") or event == "open" and arguments[2] & WRITING
    if watched is not None and writes:
        watched.append(f"{event} {arguments[0]}")


sys.addaudithook(_watch)  # stays for the process, and does nothing outside of these tests


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return hostile_files(tmp_path_factory.mktemp("hostile"))


@pytest.fixture
def written():
    global watched
    watched = []
    yield watched
    watched = None


def outcome(source) -> np.ndarray | str:
    """Pixels, or the words of a refusal; anything else that is raised is a bug and passes through."""
    try:
        return read_image(source)
    except ImageError as error:
        return str(error)


def test_every_file_becomes_pixels_or_one_clear_error(files, written):
    assert len(files) >= 600
    read, refused = 0, 0
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what images.py sets for a process, pytest takes back
        for path in files:
            for source in (path, path.read_bytes()):
                if "large" in path.name and source is not path:
                    continue  # once is enough
                result = outcome(source)
                if isinstance(result, str):
                    refused += 1
                    assert "Received" in result, path
                    assert str(path.parent) not in result, path
                    assert result.isprintable(), path
                    assert len(result) < 600, path
                else:
                    read += 1
                    assert result.dtype == np.uint8 and result.ndim == 3 and result.shape[2] == 3, path
                    assert 0 < result.shape[0] * result.shape[1] <= MAX_PIXELS, path
                    assert result.flags.writeable and result.base is None, path
    assert [str(warning.message) for warning in heard] == []
    assert written == []
    assert read > 200 and refused > 400  # the damage is neither too small nor too large to mean anything


def test_sound_files_of_every_form_are_read(files):
    sound = [path for path in files if path.name.startswith("sound-")]
    assert len(sound) >= 20
    for path in sound:
        assert isinstance(outcome(path), np.ndarray), (path, outcome(path))


def test_bombs_are_refused_without_unpacking_them(files):
    """In a process of its own, whose memory only ever grew by these files."""
    bombs = [str(path) for path in files if path.name.startswith("bomb")]
    assert len(bombs) >= 15
    code = (
        "import json, resource, sys\n"
        "import core.data.dicom\n"
        "from core.data.images import read_image\n"
        "from core.errors import ImageError\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "answers = {}\n"
        "for path in json.load(sys.stdin):\n"
        "    before = peak()\n"
        "    try:\n        answer = str(read_image(path).shape)\n"
        "    except ImageError as error:\n        answer = str(error)\n"
        "    answers[path] = answer, (peak() - before) // 1024\n"
        "print(json.dumps(answers))"
    )
    run = subprocess.run([sys.executable, "-c", code], input=json.dumps(bombs), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout)
    assert sorted(answers) == sorted(bombs)
    for path, (answer, megabytes) in answers.items():
        assert megabytes < 60, (path, answer, megabytes)
        assert "Received" in answer or answer == "(4, 4, 3)", (path, answer)


def test_an_image_of_50_megapixels_is_read_in_bounded_memory(files):
    path = next(path for path in files if path.name.startswith("large"))
    code = (
        "import resource, sys\n"
        "from core.data.images import read_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(read_image(sys.argv[1]).shape)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    shape, megabytes = run.stdout.splitlines()
    assert shape == "(6250, 8000, 3)"
    assert int(megabytes) < 400  # 150 are the answer itself


def test_names_appear_without_folders_and_control_characters(files):
    for path in files:
        if path.name.startswith("no image"):
            text = outcome(path)
            assert isinstance(text, str) and text.isprintable()
            assert "etc" not in text and "Users" not in text
            assert "\u202e" not in text and "\x1b" not in text


def test_missing_files_are_named_without_their_folder(tmp_path):
    secret = tmp_path / "patient-folder" / "gone.png"
    with pytest.raises(ImageError) as caught:
        read_image(secret)
    assert "gone.png" in str(caught.value) and "patient-folder" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__context__ is None  # the system's words name the path


def test_the_same_files_at_every_call(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    for one, other in zip(hostile_files(first), hostile_files(second), strict=True):
        assert one.name == other.name and one.read_bytes() == other.read_bytes()


def test_orientations_that_mean_nothing_change_nothing(files):
    by_name = {path.name: path for path in files}
    upright = read_image(by_name["orientation1.png"])
    assert (upright == picture()).all()
    for value in (0, 9, 65535):
        assert (read_image(by_name[f"orientation{value}.png"]) == upright).all()
    assert (read_image(by_name["orientation6.png"]) == np.rot90(upright, -1)).all()
