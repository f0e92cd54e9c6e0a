"""What nobody should send, over HTTP: no crash, no trace of it, and nothing of a person in logs, cases or reports."""

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from core.cases.log import CaseLog, NewCase
from core.data.images import read_image
from core.diagnoses import CODES
from dashboard.clinic.report import json_report, pdf_report
from tests.hostile import dicom, hostile_files

SECRET = "SECRETNAME"


def ask(client: httpx.Client, address: str, path: Path, name: str) -> tuple[str, str]:
    """ "ok" and the answer, "error" and its sentence, or "refused" by the upload itself."""
    api = f"{address}/gradio_api"
    upload = client.post(f"{api}/upload", files={"files": (name, path.read_bytes())})
    if upload.status_code != 200:
        return "refused", str(upload.status_code)
    data = [{"path": upload.json()[0], "meta": {"_type": "gradio.FileData"}}, True]
    call = client.post(f"{api}/call/predict", json={"data": data}).json()["event_id"]
    reply = client.get(f"{api}/call/predict/{call}").text
    kind = reply.partition("event: ")[2].partition("\n")[0]
    return ("ok" if kind == "complete" else "error"), reply


def as_dicom(pixels: np.ndarray) -> bytes:
    return dicom(pixels.tobytes(), Rows=pixels.shape[0], Columns=pixels.shape[1])


def test_hostile_files_get_an_answer_or_a_sentence(clinic, tmp_path):
    everything = hostile_files(tmp_path)  # all of them are read in test_hostile_files.py
    alike = [path for path in everything if path.name.startswith(("cut", "flip"))]
    files = [path for path in everything if path not in alike] + alike[::12]
    assert len(files) >= 100
    names = ["../../escape.jpg", "/etc/passwd", "a\\..\\b.png", "<img src=x>.jpg", "…" * 60 + ".jpg", "nul\x01.jpg"]
    served = set(Path(clinic.run.folder.parent).rglob("*"))

    def one(item: tuple[int, Path]) -> tuple[Path, str, str]:
        index, path = item
        name = names[index % len(names)] if index % 5 == 0 else path.name
        return path, *ask(client, clinic.address, path, name)

    with httpx.Client(timeout=120) as client, ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, enumerate(files)))
        assert client.get(clinic.address).status_code == 200, "the page is still there"
    for path, kind, reply in results:
        if kind == "ok":
            answer = json.loads(reply.partition("data: ")[2].partition("\n")[0])[0]
            assert set(answer["probabilities"]) == set(CODES), path
        elif kind == "error":
            assert "Received" in reply and "Traceback" not in reply, (path, reply[:300])
        else:
            assert 400 <= int(reply) < 500, (path, reply)
    assert {kind for _, kind, _ in results} >= {"ok", "error"}
    new = {path for path in set(clinic.run.folder.parent.rglob("*")) - served if path.is_file()}
    temporary = clinic.run.folder.parent / "temporary"
    assert all(path.is_relative_to(temporary) for path in new), "written outside the temporary folder"


def test_dicom_answers_as_the_same_pixels_in_png(clinic, tmp_path):
    noise = np.random.default_rng(5).integers(60, 220, (9, 13, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(noise).resize((390, 270)))
    Image.fromarray(pixels).save(tmp_path / "same.png")
    (tmp_path / "same.dcm").write_bytes(as_dicom(pixels))
    png, dcm = (clinic.predictor.predict(tmp_path / name).probabilities for name in ("same.png", "same.dcm"))
    np.testing.assert_allclose(dcm, png, atol=1e-5)


def test_nothing_of_a_person_is_kept(clinic, tmp_path):
    """A name in the file's tags and in the file's name: not in the log, the database, the report or the exports."""
    import pydicom

    pixels = np.random.default_rng(5).integers(60, 220, (90, 130, 3)).astype(np.uint8)
    tagged = pydicom.dcmread(io.BytesIO(as_dicom(pixels)))
    for keyword in ("PatientName", "PatientID", "InstitutionName", "ReferringPhysicianName", "PatientComments"):
        setattr(tagged, keyword, SECRET)
    path = tmp_path / f"{SECRET}.dcm"
    tagged.save_as(path, enforce_file_format=True)
    assert SECRET.encode() in path.read_bytes()
    with httpx.Client(timeout=60) as client:
        kind, reply = ask(client, clinic.address, path, path.name)
    assert kind == "ok" and SECRET not in reply
    prediction = clinic.predictor.predict(path)
    log = CaseLog()
    model = clinic.run.manifest()["model_sha256"]
    case = log.add(NewCase(image=prediction.image, prediction=prediction.to_dict(insist=True), model_sha256=model))
    try:
        assert SECRET not in repr(case) and SECRET.encode() not in log.image(case.id)
        assert SECRET not in log.table().to_csv()
        assert SECRET not in json.dumps(json_report(prediction, clinic.run))
        assert SECRET.encode() not in pdf_report(prediction, clinic.run)
    finally:
        log.delete(case.id)
    printed = (clinic.run.folder.parent / "printed.txt").read_text()
    assert SECRET not in printed
    np.testing.assert_array_equal(read_image(path), pixels)


def test_real_images_as_dicom_answer_as_their_png(clinic, real_data, tmp_path):
    paths = sorted((real_data / "ham10000").rglob("*.jpg"))[::2500]
    assert paths
    for path in paths:
        pixels = read_image(path)
        (tmp_path / "one.dcm").write_bytes(as_dicom(pixels))
        there = clinic.predictor.predict(tmp_path / "one.dcm").probabilities
        np.testing.assert_allclose(there, clinic.predictor.predict(pixels).probabilities, atol=1e-5)


@pytest.mark.skipif(os.name == "nt", reason="file modes are POSIX's")
def test_the_temporary_folder_is_for_its_owner_alone(clinic):
    (folder,) = (clinic.run.folder.parent / "temporary").glob("dermlens-clinic-*")
    assert folder.stat().st_mode & 0o077 == 0
