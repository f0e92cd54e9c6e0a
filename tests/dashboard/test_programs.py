"""What the README promises to programs, run as it stands there; and a batch, tool by tool."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from core.diagnoses import CODES
from core.places import PROJECT

PROMISED = (PROJECT / "README.md").read_text().split("### For programs")[1].split("### Who can reach them")[0]
PAGE = "http://127.0.0.1:7860"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the two files that the README speaks of."""
    noise = np.random.default_rng(3).integers(60, 220, (9, 13, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((130, 90)).save(tmp_path / "photo.jpg")
    Image.fromarray(noise[::-1]).resize((130, 90)).save(tmp_path / "another.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def example(language: str, address: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", PROMISED, re.DOTALL)[1].replace(PAGE, address)


def test_the_python_example(clinic, folder):
    found: dict = {}
    exec(example("python", clinic.address), found)
    expected = clinic.predictor.predict(folder / "photo.jpg").to_dict()
    assert found["answer"]["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    with Image.open(found["picture"]) as picture:
        assert picture.size == (130, 90)
    assert [answer["file"] for answer in found["answers"]] == ["photo.jpg", "another.png"]
    assert found["answers"][0]["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    found["client"].close()


def test_the_curl_example(clinic, folder):
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    printed = subprocess.run(
        ["bash", "-c", example("bash", clinic.address)], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    data = json.loads(re.search(r"event: complete\ndata: (.*)", printed)[1])
    expected = clinic.predictor.predict(folder / "photo.jpg").to_dict()
    assert data[0]["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    assert set(data[0]["probabilities"]) == set(CODES)


def test_a_batch_goes_on_after_a_damaged_file(clinic, folder):
    (folder / "cut.jpg").write_bytes((folder / "photo.jpg").read_bytes()[:400])
    client = Client(clinic.address, verbose=False)
    files = [handle_file(name) for name in ("cut.jpg", "another.png")]
    broken, whole = client.predict(files, api_name="/batch")
    assert "Received" in broken["error"] and "cut.jpg" in broken["error"]
    assert whole["diagnosis"] in CODES and "research and education" in whole["notice"]
    with pytest.raises(AppError, match="At most 200 images"):
        client.predict([handle_file("another.png")] * 201, api_name="/batch")
    client.close()


def test_every_page_without_mcp_has_none(clinic):
    assert httpx.post(f"{clinic.address}/gradio_api/mcp/", json={}).status_code in (404, 405)
