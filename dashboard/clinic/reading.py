"""What the page does with one image: assess it, show a heatmap, find what is alike, keep the case, take it away."""

import base64
import dataclasses
import io
import json
import uuid
from contextlib import suppress
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from core.cases.case import OLDEST
from core.cases.log import CaseLog, NewCase
from core.data.images import at_most, read_image
from core.diagnoses import CODES, notices
from core.errors import CaseLogError, DermLensError, ImageError, RunNotFoundError
from core.evaluation.patient import Patient
from core.prediction import Prediction
from core.runs.all_runs import find_run, served_run
from core.runs.run import Run
from core.similar import run_images
from dashboard.clinic import markup, pictures
from dashboard.clinic.report import About, json_report, pdf_report
from dashboard.clinic.texts import text
from dashboard.clinic.uploads import Upload, predict_upload, uploaded_file

SHOWN_PIXELS = 1024  # the longer side of what the page draws, a session keeps, and a kept case holds
VISIBLE = 0.05  # of the colour scale: weaker heat is not seen

Answer = dict[str, str]  # HTML, code of the chosen diagnosis, the reader's own impression, whether it is an answer
Heat = dict[str, str]  # the comparison's HTML
Download = dict[str, str]  # a file for the browser: name, type, and its bytes in base64


def holds(html: str) -> Answer:
    """What the answer's place holds where there is no answer: not yet, or not to this image."""
    return {"html": html, "chosen": "", "impression": "", "answered": ""}


def answers(html: str, chosen: str = "", impression: str = "") -> Answer:
    """What the answer's place holds of a prediction."""
    return {"html": html, "chosen": chosen, "impression": impression, "answered": "yes"}


def on_page(prediction: Prediction | None, answer: Answer) -> Prediction | None:
    """The prediction, if it is that of the image on the page: a session keeps the last one until the next is there,
    while an image waits, and where it failed."""
    return prediction if answer.get("answered") else None


def assess(
    upload: Upload | None,
    own_first: bool,
    language: str,
    request: gr.Request,
    age: str = "",
    sex: str | None = None,
    site: str | None = None,
) -> tuple[Prediction | None, Answer, Any, Any]:
    """The prediction for an upload and how it reads, or what is wrong; the notices and the run that belong to it.

    Age, sex and site go into it where the served run lets them.
    """
    if upload is None:
        return None, holds(markup.waiting(language)), gr.skip(), gr.skip()
    try:
        patient = Patient(_years(age, language), sex, site) if patients_speak() else None
        prediction = predict_upload(upload, str(request.session_hash), language, patient)
    except DermLensError as error:
        return None, holds(problem(error, language)), gr.skip(), gr.skip()
    shown = dataclasses.replace(prediction, image=at_most(prediction.image, SHOWN_PIXELS))
    frame = markup.notices(prediction.synthetic, language), markup.provenance(prediction.run_id, language)
    if prediction.refused:  # nothing is chosen: choosing one is how somebody insists
        return shown, answers(markup.refusal(prediction, language)), *frame
    if own_first:
        return shown, answers(markup.impression_asked(language)), *frame
    return shown, answers(markup.answer(prediction, prediction.code, language), prediction.code), *frame


def patients_speak() -> bool:
    """Whether age, sex and site go into the answers of the run that is served."""
    try:
        run = served_run()
        return run is not None and bool(run.patient())
    except DermLensError:  # the answer's place says so
        return False


def about_in_words(language: str) -> str:
    """What becomes of age, sex and site."""
    return markup.fine("about_used" if patients_speak() else "about_unused", language)


def show(
    prediction: Prediction | None, answer: Answer, strength: float, own_first: bool, language: str
) -> tuple[Any, str, Heat]:
    """The heatmap of the chosen diagnosis, without running the model again; none while there is no answer."""
    new, evidence, heat = shown(prediction, answer, strength, own_first, language)
    # what is the same is not written: it would undo a click of the meantime
    return gr.skip() if new == answer else new, evidence, heat


def shown(
    prediction: Prediction | None, answer: Answer, strength: float, own_first: bool, language: str
) -> tuple[Answer, str, Heat]:
    """See `show`; the answer as it is where nothing may be seen of it."""
    code, impression = revealed(prediction, answer, own_first)
    if prediction is None or code is None:
        return answer, markup.evidence(None, language), {"html": ""}
    strongest = prediction.heatmaps[CODES.index(code)].max() / prediction.heatmap_scale
    heat = pictures.comparison(prediction.image, prediction.overlay(code, strength / 100), code, language)
    evidence = markup.evidence(code, language, strongest < VISIBLE, prediction.heatmap_beats)
    html = markup.answer(prediction, code, language, impression)
    return answers(html, code, impression), evidence, {"html": heat}


def revealed(prediction: Prediction | None, answer: Answer, own_first: bool) -> tuple[str | None, str]:
    """The diagnosis whose heatmap may be shown, None while nothing may be; and the reader's own impression."""
    prediction = on_page(prediction, answer)
    impression, chosen = answer.get("impression") or "", answer.get("chosen") or ""
    if prediction is None or impression not in ("", markup.NO_IMPRESSION, *CODES):
        return None, ""
    if prediction.refused:
        insisted = chosen == markup.INSIST or chosen in CODES
        return (chosen if chosen in CODES else prediction.code) if insisted else None, impression
    if own_first and not impression and not chosen:
        return None, ""
    return chosen if chosen in CODES else prediction.code, impression


def alike(prediction: Prediction | None, answer: Answer, own_first: bool, language: str) -> str:
    """The training images most like this one; nothing before the answer may be seen."""
    code, _ = revealed(prediction, answer, own_first)
    if prediction is None or code is None or prediction.features is None:
        return ""
    try:
        found = run_images(find_run(prediction.run_id)).most_alike(prediction.features)
    except DermLensError:  # the run was deleted since
        return ""
    return pictures.similar(found, language)


# ---- kept and taken away -------------------------------------------------------------------------


def keep(
    prediction: Prediction | None,
    answer: Answer,
    own_first: bool,
    age: str,
    sex: str | None,
    site: str | None,
    diagnosis: str | None,
    lesion: str,
    comment: str,
    language: str,
) -> tuple[str | None, str, Any]:
    """Put the case into the log; its id, a sentence, and the button that takes it out again."""
    prediction = on_page(prediction, answer)
    code, impression = revealed(prediction, answer, own_first)
    if prediction is None or code is None:
        return None, markup.note(_why_nothing(prediction, language), alarming=True), gr.skip()
    try:
        case = NewCase(
            image=prediction.image,
            prediction=prediction.to_dict(insist=True),
            model_sha256=str(find_run(prediction.run_id).manifest()["model_sha256"]),
            age=_years(age, language),
            sex=sex or None,
            site=site or None,
            lesion=lesion or None,
            own_impression=impression if impression in CODES else None,
            reader_diagnosis=diagnosis or None,
            comment=comment or "",
        )
        kept = CaseLog().add(case)
    except DermLensError as error:
        sentence = f"{text('kept_not', language)} {error}"
        return None, markup.note(sentence, alarming=True), gr.update(visible=False)
    return kept.id, markup.note(text("kept", language, case=kept.id[:12])), gr.update(visible=True)


def forget(case: str | None, language: str) -> tuple[str | None, str, Any]:
    """Delete a case that was just kept."""
    try:
        if case:
            CaseLog().delete(case)
    except DermLensError as error:
        return case, markup.note(str(error), alarming=True), gr.skip()
    return None, markup.note(text("forgotten", language)), gr.update(visible=False)


def take_away(
    kind: str,
    prediction: Prediction | None,
    answer: Answer,
    own_first: bool,
    strength: float,
    age: str,
    sex: str | None,
    site: str | None,
    comment: str,
    language: str,
) -> Download:
    """A file for the browser, made in memory: "pdf", "json" or "png" (the picture with the heatmap)."""
    prediction = on_page(prediction, answer)
    code, impression = revealed(prediction, answer, own_first)
    if prediction is None or (code is None and (kind == "png" or not prediction.refused)):
        raise gr.Error(_why_nothing(prediction, language), print_exception=False)
    if kind == "png" and code is not None:
        picture = prediction.overlay(code, strength / 100)
        return download(f"dermlens-{code}-research-only.png", "image/png", _png(picture, prediction.synthetic))
    try:
        years = _years(age, language)
    except DermLensError as error:
        raise gr.Error(str(error), print_exception=False) from None
    about = About(
        age=years, sex=sex or None, site=site or None, comment=comment or "",
        impression=impression if impression in CODES else None,
    )  # fmt: skip
    try:
        run, insisted = find_run(prediction.run_id), code is not None
    except DermLensError as error:  # it was deleted since
        raise gr.Error(str(error), print_exception=False) from None
    if kind == "pdf":
        content = pdf_report(prediction, run, language, code, about, insisted)
        return download("dermlens-report-research-only.pdf", "application/pdf", content)
    data = json_report(prediction, run, language, code, about, insisted)
    content = json.dumps(data, indent=2, ensure_ascii=False).encode()
    return download("dermlens-research-only.json", "application/json", content)


def _why_nothing(prediction: Prediction | None, language: str) -> str:
    """Why there is nothing yet to keep or to take away."""
    if prediction is None:
        return text("nothing_to_keep", language)
    return text("refused_title" if prediction.refused else "impression_title", language)


def download(name: str, kind: str, content: bytes) -> Download:
    """A file for the browser; the token makes two equal ones two."""
    encoded = base64.b64encode(content).decode()
    return {"name": name, "type": kind, "data": encoded, "token": uuid.uuid4().hex}


# ---- examples and other files --------------------------------------------------------------------


def take_file(upload: Upload | None, language: str, request: gr.Request) -> np.ndarray:
    """The pixels of a file that no browser shows, such as DICOM, for the image's place."""
    try:
        return read_image(uploaded_file(upload, str(request.session_hash), language))
    except DermLensError as error:  # the image before it stays, with its answer
        raise gr.Error(str(error), title=text("problem_title", language), print_exception=False) from None


def take_example(event: gr.EventData) -> np.ndarray | None:
    """The pixels of the example that was chosen."""
    index = event._data.get("index") if isinstance(event._data, dict) else None
    try:
        choices = dict(enumerate(example_images(served_run())))
    except DermLensError as error:
        raise gr.Error(str(error), print_exception=False) from None
    return choices[index][1] if isinstance(index, int) and index in choices else None


def example_images(run: Run | None) -> list[tuple[str, np.ndarray]]:
    """Code and pixels of one test image of each diagnosis; none without a run, or where it cannot be read any more."""
    found = []
    for code, path in run_images(run).examples() if run else []:
        with suppress(ImageError):
            found.append((code, read_image(path)))
    return found


def _years(age: str, language: str) -> float | None:
    """An age as it was typed; None where it was not."""
    if not age.strip():
        return None
    if not (age.strip().isdecimal() and int(age) <= OLDEST):
        raise CaseLogError(text("age_wrong", language, oldest=OLDEST, age=age))
    return float(int(age))


def problem(error: DermLensError, language: str) -> str:
    """What is wrong, in words."""
    if isinstance(error, RunNotFoundError):
        return markup.no_model(language)
    if isinstance(error, ImageError):
        advice = f"{text('problem_body', language)} {text('problem_next', language)}"
        return markup.problem(text("problem_title", language), str(error), advice)
    if isinstance(error, CaseLogError):  # an age that is none
        return markup.problem(text("problem_title", language), str(error))
    return markup.problem(text("broken_model_title", language), str(error))


def _png(picture: np.ndarray, synthetic: bool) -> bytes:
    """A PNG file that says what it is for, for whoever opens it later."""
    said = PngInfo()
    said.add_text("Comment", " ".join(notices(synthetic)))
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", pnginfo=said)
    return stream.getvalue()
