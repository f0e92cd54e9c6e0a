"""The clinician's page: the same answer whichever way an image comes in, and a sentence when there is none."""

import dataclasses
import io
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from core import predictor
from core.data.ham10000 import index_dataset
from core.data.quality import PROBLEMS, assess_quality
from core.diagnoses import CODES, DIAGNOSES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.errors import ImageError
from core.evaluation.patient import Patient, PatientTerm, patients_of
from core.prediction import STRANGE, OperatingPoint, Prediction, PredictionSet
from core.predictor import Predictor
from core.runs.all_runs import CURRENT, promote
from core.runs.run import PATIENT
from core.similar import run_images
from dashboard import models
from dashboard.clinic import app, markup, pictures, reading, uploads
from dashboard.clinic.report import pdf_report
from dashboard.clinic.texts import LANGUAGES, text

WIDTH, HEIGHT = 130, 90
SOMEBODY = SimpleNamespace(session_hash="somebody")


@pytest.fixture(scope="module")
def client(clinic, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A program that calls the page."""
    client = Client(clinic.address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))
    yield client
    client.close()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """A blot on a skin-coloured ground, lit from one side: turned, it is another picture."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    blot = np.exp(-(((rows - 40) / 18) ** 2) - ((columns - 50) / 25) ** 2)[:, :, None]
    light = (columns / WIDTH * 40)[:, :, None]
    return np.clip(np.array([190, 140, 125]) + light - blot * [120, 110, 80], 0, 255).astype(np.uint8)


def file_of(kind: str, pixels: np.ndarray, folder: Path) -> Path:
    """The picture in one of the forms in which images come."""
    image = Image.fromarray(pixels)
    path = folder / f"{kind}.{'png' if 'png' in kind else 'jpg'}"
    if kind == "turned-jpg":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, quality=92, exif=exif)
    elif kind == "png-16-bit":
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)
    elif kind == "png-see-through":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(path)
    elif kind == "cmyk-jpg":
        image.convert("CMYK").save(path, quality=92)
    else:
        image.save(path)
    return path


@pytest.mark.parametrize("kind", ["jpg", "turned-jpg", "cmyk-jpg", "png", "png-16-bit", "png-see-through"])
def test_api_answers_like_the_command_line(kind, client, clinic, pixels, tmp_path):
    path = file_of(kind, pixels, tmp_path)
    expected = clinic.predictor.predict(path).to_dict()
    answer = client.predict(image=handle_file(path), api_name="/predict")
    assert answer["run"] == clinic.run.id
    assert answer["diagnosis"] == expected["diagnosis"]
    assert answer["notice"] == expected["notice"]
    for code in CODES:
        assert answer["probabilities"][code] == pytest.approx(expected["probabilities"][code], abs=1e-5)


def test_every_way_in_gives_the_same_answer(client, clinic, pixels, tmp_path, capsys):
    path = file_of("turned-jpg", pixels, tmp_path)
    assert predictor.main([str(path), "--run", str(clinic.run.folder), "--json"]) == 0
    command_line = json.loads(capsys.readouterr().out)[0]["probabilities"]
    dashboard = models.answer(clinic.run, path.read_bytes()).to_dict()["probabilities"]
    api = client.predict(image=handle_file(path), api_name="/predict")["probabilities"]
    assert command_line == pytest.approx(api, abs=1e-5)
    assert dashboard == pytest.approx(api, abs=1e-5)


def test_explain_returns_the_overlay_in_the_original_size(client, clinic, pixels, tmp_path):
    path = file_of("png", pixels, tmp_path)
    expected = clinic.predictor.predict(path).overlay("bkl", 0.7)
    answer = client.predict(image=handle_file(path), diagnosis="bkl", opacity=0.7, api_name="/explain")
    with Image.open(answer) as picture:
        assert picture.format == "PNG"
        assert picture.size == (WIDTH, HEIGHT)
        np.testing.assert_allclose(np.asarray(picture).astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"diagnosis": "mole"}, "must be one of mel, nv"),
        ({"opacity": 3}, "between 0 and 1"),
    ],
)
def test_explain_refuses_in_a_sentence(arguments, sentence, client, clinic, pixels, tmp_path):
    path = file_of("png", pixels, tmp_path)
    with pytest.raises(AppError, match=sentence):
        client.predict(image=handle_file(path), **arguments, api_name="/explain")


def test_damaged_file_gives_a_sentence(client, clinic, pixels, tmp_path):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    path = tmp_path / "cut.jpg"
    path.write_bytes(stream.getvalue()[:700])
    with pytest.raises(AppError, match="cut.jpg") as caught:
        client.predict(image=handle_file(path), api_name="/predict")
    assert "Traceback" not in str(caught.value)


def test_page_follows_what_is_served(client, clinic, pixels, tmp_path):
    """A run that is no longer served gives a sentence; served again, it answers, and nothing was restarted."""
    path = file_of("png", pixels, tmp_path)
    current = clinic.run.folder.parent / CURRENT
    current.unlink()
    try:
        with pytest.raises(AppError, match="A run must be served"):
            client.predict(image=handle_file(path), api_name="/predict")
    finally:
        promote(clinic.run)
    assert client.predict(image=handle_file(path), api_name="/predict")["run"] == clinic.run.id


def test_page_without_a_run_says_how_to_come_to_one(runs_folder):
    notices, examples, provenance, empty = app.frame("en")
    assert "make demo" in empty["html"]
    assert examples == ""
    assert RESEARCH_NOTICE in unescape(notices)
    assert text("no_provenance") in provenance


def test_only_uploaded_files_are_read(clinic, pixels, tmp_path):
    """Gradio 6.31 checks a path only when it comes with `meta`: without, any image of the server could be asked for."""
    path = file_of("png", pixels, tmp_path)
    call = httpx.post(f"{clinic.address}/gradio_api/call/explain", json={"data": [{"path": str(path)}, "", 0.5, True]})
    reply = httpx.get(f"{clinic.address}/gradio_api/call/explain/{call.json()['event_id']}", timeout=30).text
    assert "none that was uploaded here" in reply
    assert "image.png" not in reply


def test_programs_see_three_endpoints(client):
    assert sorted(client.view_api(return_format="dict")["named_endpoints"]) == ["/batch", "/explain", "/predict"]


def test_page_asks_no_other_host(clinic):
    html = httpx.get(clinic.address).text
    assert "fonts.googleapis.com" not in html
    assert '"analytics_enabled":false' in html.replace(" ", "")


# ---- the page's functions, with a prediction written by hand -------------------------------------


@pytest.fixture
def prediction() -> Prediction:
    """Melanoma with 0.45; its heatmap is one spot, that of nevus is empty."""
    heatmaps = np.zeros((7, 7, 7), np.float32)
    heatmaps[0, 3, 3] = 1.0
    shares = np.array([0.45, 0.25, 0.1, 0.1, 0.09, 0.01, 0.0])
    image = np.full((60, 80, 3), 128, np.uint8)
    quality = dataclasses.replace(assess_quality(image), problems=())
    logits = np.log(shares + 1e-9)
    return Prediction(image, logits, shares, heatmaps, 1.0, quality, 0.0, (), None, (), 0.26, "<run>", True)


def refused(prediction: Prediction) -> Prediction:
    return dataclasses.replace(prediction, refusals=(STRANGE,))


def test_answer_lists_all_seven_in_order_of_confidence(prediction):
    html = markup.answer(prediction, "nv", "en")
    assert re.findall(r'data-code="(\w+)"', html) == [d.code for d, _ in prediction.ranked()]
    assert html.count('aria-pressed="true"') == 1
    assert "45.0%" in html
    assert text("unsure") in unescape(html)


def test_what_the_image_speaks_for_and_what_is_more_probable_are_both_said(prediction):
    logits = np.zeros(7)
    logits[CODES.index("bcc")] = 2
    html = unescape(markup.answer(dataclasses.replace(prediction, logits=logits), "bcc", "en"))
    headline = html[: html.index("dl-bars")]
    assert headline.index("Basal cell carcinoma") < headline.index("10.0%") < headline.index("Melanoma, 45.0%")


def test_thresholds_are_said_in_words(prediction):
    point = OperatingPoint("malignant", ("mel", "bcc", "akiec"), 0.65, 0.16, 0.9, 0.87, 0.7)
    html = unescape(markup.answer(dataclasses.replace(prediction, points=(point,)), "mel", "en"))
    assert "Above the threshold for malignant or premalignant lesions: 65.0% (threshold 16.0%)" in html
    assert "found 8.7 of 10 such lesions and flagged 3.0 of 10 others" in html
    below = dataclasses.replace(point, probability=0.1, sensitivity=None, specificity=None)
    html = unescape(markup.answer(dataclasses.replace(prediction, points=(below,)), "mel", "en"))
    assert "Below the threshold" in html and "chosen to find 9.0 of 10" in html


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        (("mel", "nv"), "Cannot be ruled out: Melanoma, Melanocytic nevus. Such a list holds the truth for 90%"),
        ((), "None of the seven fits well"),
        (CODES, "None of the seven can be ruled out"),
    ],
)
def test_the_prediction_set_in_words(prediction, codes, sentence):
    members = PredictionSet(codes, 0.9, ("df",))
    html = unescape(markup.answer(dataclasses.replace(prediction, prediction_set=members), "mel", "en"))
    assert sentence in html
    assert "For Dermatofibroma there were too few cases" in html


def test_a_poor_image_is_warned_of(prediction):
    poor = dataclasses.replace(prediction, quality=dataclasses.replace(prediction.quality, problems=("blurred",)))
    assert PROBLEMS["blurred"] in unescape(markup.answer(poor, "mel", "en"))


def test_a_refused_image_gets_no_diagnosis_until_somebody_insists(prediction, monkeypatch):
    monkeypatch.setattr(reading, "predict_upload", lambda *_: refused(prediction))
    shown, answer, *_ = reading.assess({"path": "x"}, False, "en", SOMEBODY)
    assert "dl-diagnosis" not in answer["html"] and "45.0%" not in answer["html"]
    assert re.findall(r'data-code="(\w+)"', answer["html"])[0] == markup.INSIST, "not even in the page's source"
    assert text(STRANGE) in unescape(answer["html"])
    assert reading.shown(shown, answer, 50, False, "en")[2] == {"html": ""}, "no heatmap either"
    with pytest.raises(gr.Error, match=text("refused_title")):
        reading.take_away("png", shown, answer, False, 50, "", None, None, "", "en")
    insisted, evidence, heat = reading.shown(shown, answer | {"chosen": markup.INSIST}, 50, False, "en")
    assert "dl-diagnosis" in insisted["html"] and text("insisted") in unescape(insisted["html"])
    assert "<img" in heat["html"]


def with_person(run, monkeypatch):
    """A run in which age, sex and site speak: everybody on the back has a melanoma, and women a little more."""
    coefficients = np.zeros((8, len(CODES)))
    coefficients[7, CODES.index("mel")], coefficients[5, CODES.index("mel")] = 9.0, 0.5
    shares = np.log(np.full(len(CODES), 1 / len(CODES)))
    term = PatientTerm(("back",), coefficients, shares, shares, 1.0)
    run.write_json(PATIENT, term.to_dict())
    ready = Predictor(run)
    monkeypatch.setattr(predictor, "served_predictor", lambda: ready)
    monkeypatch.setattr(uploads, "uploaded_file", lambda upload, *_: upload["path"])
    return ready


def test_what_is_entered_of_the_person_goes_into_the_answer_and_the_page_says_so(
    served_run, pixels, tmp_path, monkeypatch
):
    assert text("about_unused") in unescape(reading.about_in_words("en"))
    path = file_of("png", pixels, tmp_path)
    ready = with_person(served_run, monkeypatch)
    assert text("about_used", "de") in unescape(reading.about_in_words("de"))
    alone, answer, *_ = reading.assess({"path": path}, False, "en", SOMEBODY, "", None, None)
    assert not alone.patient_used
    assert text("without_person") in unescape(answer["html"])
    told, answer, *_ = reading.assess({"path": path}, False, "en", SOMEBODY, "62", "female", "back")
    np.testing.assert_allclose(told.logits, ready.predict(path, Patient(62.0, "female", "back")).logits, atol=1e-6)
    np.testing.assert_array_equal(told.image_logits, alone.logits)
    np.testing.assert_array_equal(told.heatmaps, alone.heatmaps)
    html = unescape(answer["html"])
    assert told.code == "mel" and "Age: 62, Sex: female, Body site: back" in html
    assert f"speaks most for: {text(f'name_{alone.code}')}." in html
    _, answer, *_ = reading.assess({"path": path}, False, "en", SOMEBODY, "old", None, None)
    assert "Received: old" in unescape(answer["html"])
    for language in LANGUAGES:
        report = pdf_report(told, served_run, language)
        assert report.startswith(b"%PDF")
    assert reading.assess({"path": path}, False, "en", SOMEBODY, "", "unknown", "tail")[0].patient is None


def test_an_image_of_the_data_set_is_answered_as_it_was_recorded(served_run, tiny_data, monkeypatch):
    ready = with_person(served_run, monkeypatch)
    monkeypatch.setattr(models, "_predictor", lambda folder, stamp: ready)
    images = index_dataset(tiny_data).images
    row = images[images["localization"] == "back"].iloc[:1]
    path = row["path"].iloc[0]
    as_recorded = models.answer(served_run, path)
    np.testing.assert_allclose(as_recorded.logits, ready.predict(path, patients_of(row)[0]).logits, atol=1e-5)
    assert as_recorded.patient_used and not models.answer(served_run, Path(path).read_bytes()).patient_used


def test_programs_get_no_diagnosis_of_a_refused_image_unless_they_ask(client, clinic, pixels, tmp_path):
    path = file_of("png", pixels, tmp_path)
    clinic.refuse_above(-1e9)
    try:
        answer = client.predict(image=handle_file(path), api_name="/predict")
        assert answer["refused"] and answer["diagnosis"] is None and answer["probabilities"] is None
        assert STRANGE in answer["reasons"]
        with pytest.raises(AppError, match="show_anyway"):
            client.predict(image=handle_file(path), api_name="/explain")
        insisted = client.predict(image=handle_file(path), show_anyway=True, api_name="/predict")
        assert insisted["refused"] and insisted["diagnosis"] in CODES
        assert client.predict(image=handle_file(path), show_anyway=True, api_name="/explain")
    finally:
        clinic.refuse_above(1e9)


def test_malignant_diagnoses_are_marked_with_a_word(prediction):
    rows = markup.answer(prediction, "mel", "en").split('<button type="button" class="dl-bar"')[1:]
    for (diagnosis, _), row in zip(prediction.ranked(), rows, strict=True):
        assert ("malignant" in re.sub(r"<[^>]*>", "", row)) == diagnosis.malignant


def test_what_comes_from_outside_is_escaped():
    assert "<img" not in markup.problem("title", "Received: <img src=x onerror=alert(1)>.jpg")
    assert "<run>" not in markup.provenance("<run>", "en")


def test_choosing_does_not_run_the_model(prediction, monkeypatch):
    monkeypatch.setattr(predictor, "served_predictor", lambda: pytest.fail("the model ran again"))
    answer, evidence, heat = reading.shown(prediction, reading.answers("", "nv"), 80, False, "en")
    assert answer["chosen"] == "nv"
    assert "Melanocytic nevus" in evidence
    assert text("heatmap_empty") in unescape(evidence)
    assert "on 2.6 of 10 images" in unescape(evidence), "how far heatmaps can be trusted is said beside them"
    expected = pictures.comparison(prediction.image, prediction.overlay("nv", 0.8), "nv", "en")
    assert heat["html"] == expected


def test_no_old_heatmap_while_there_is_no_answer():
    assert reading.shown(None, reading.answers("", "mel"), 50, False, "en")[2] == {"html": ""}
    assert reading.alike(None, reading.answers("", "mel"), False, "en") == ""


@pytest.mark.parametrize("waits", [markup.assessing("en"), markup.failed("en")])
def test_an_image_that_waits_or_failed_gets_nothing_of_the_one_before(prediction, waits):
    place = reading.holds(waits)
    for before in (prediction, refused(prediction)):
        assert reading.shown(before, place, 50, False, "en") == (place, markup.evidence(None, "en"), {"html": ""})
        assert reading.alike(before, place, False, "en") == ""
        for kind in ("pdf", "json", "png"):
            with pytest.raises(gr.Error, match="no answer here any more, or not yet"):
                reading.take_away(kind, before, place, False, 50, "", None, None, "", "en")
        kept, said, _ = reading.keep(before, place, False, "", None, None, None, "", "", "en")
        assert kept is None and text("nothing_to_keep") in unescape(said)


def test_another_file_that_cannot_be_read_says_why_and_changes_nothing(tmp_path, monkeypatch):
    (tmp_path / "scan.dcm").write_bytes(b"no image")
    monkeypatch.setattr(reading, "uploaded_file", lambda *_: tmp_path / "scan.dcm")
    with pytest.raises(gr.Error, match=r"scan\.dcm") as error:
        reading.take_file({"path": "scan.dcm"}, "de", SOMEBODY)
    assert error.value.title == text("problem_title", "de")


def test_notices():
    assert RESEARCH_NOTICE in unescape(markup.notices(False, "en"))
    assert SYNTHETIC_NOTICE not in unescape(markup.notices(False, "en"))
    assert SYNTHETIC_NOTICE in unescape(markup.notices(True, "en"))


def test_examples_are_one_test_image_of_each_diagnosis(served_run):
    found = run_images(served_run).examples()
    assert [code for code, _ in found] == [code for code in CODES if code in dict(found)]
    assert len(found) >= 5
    table = served_run.splits().set_index("image_id")
    for code, path in found:
        assert table.loc[path.stem, ["dx", "split"]].tolist() == [code, "test"]


def test_an_example_that_cannot_be_read_any_more_is_left_out(served_run, monkeypatch):
    whole, readable = reading.example_images(served_run), reading.read_image
    lost = run_images(served_run).examples()[0][1]

    def read(path):
        if path == lost:
            raise ImageError("a damaged file")
        return readable(path)

    monkeypatch.setattr(reading, "read_image", read)
    assert [code for code, _ in reading.example_images(served_run)] == [code for code, _ in whole[1:]]
    assert app.frame("en")[3] is None, "the model answers all the same"


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0, "<0.1%"), (0.0012, "0.1%"), (0.5, "50.0%"), (0.9999, ">99.9%"), (1.0, ">99.9%")]
)
def test_percent_claims_no_certainty(share, shown):
    assert markup.percent(share, "en") == shown
    assert markup.percent(share, "de") == shown.replace(".", ",").replace("%", "\u00a0%")


def test_legend_says_the_colours_in_words():
    legend = unescape(markup.legend("en"))
    for word in ("No colour", "Blue", "red", "Hatched grey"):
        assert word in legend


def test_every_malignant_diagnosis_has_its_word():
    for diagnosis in DIAGNOSES:
        assert not diagnosis.malignant or text(f"kind_{diagnosis.code}")
