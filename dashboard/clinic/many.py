"""Several images at once: a line for each, a table to take away, and a zip of pictures with their heatmaps."""

import io
import zipfile
from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape

import gradio as gr
import pandas as pd

from core import predictor
from core.data.images import at_most
from core.diagnoses import BY_CODE, CODES, RESEARCH_NOTICE, notices
from core.errors import ImageError
from core.prediction import Prediction
from dashboard.clinic import markup
from dashboard.clinic.pictures import jpeg
from dashboard.clinic.texts import text
from dashboard.clinic.uploads import Upload, uploaded_file
from dashboard.spreadsheet import without_formulas

MOST = 200  # images: some seconds, and 20 MB of pictures in memory
PICTURE_SIDE = 600  # pixels of a picture's longer side


@dataclass(frozen=True, eq=False)
class Line:
    """One file of many.

    Attributes:
        file: its name.
        prediction: what the run says, its image shrunk; None where the file cannot be read.
        error: why not; empty otherwise.
        picture: a JPEG of the heatmap of the answer over the image; empty where there is no answer.
    """

    file: str
    prediction: Prediction | None
    error: str = ""
    picture: bytes = b""


def hold(uploads: list[Upload] | None, request: gr.Request) -> None:
    """What was uploaded is deleted with its page, assessed or not."""
    for upload in uploads or []:
        with suppress(ImageError):
            uploaded_file(upload, str(request.session_hash))


def assess_many(uploads: list[Upload], language: str, session: str) -> list[Line]:
    """A line for each upload, in their order.

    Raises:
        ImageError: there are too many.
        RunError: no run is served, or it cannot answer.
    """
    if len(uploads) > MOST:
        raise ImageError(text("many_too_many", language, most=MOST, count=len(uploads)))
    ready, lines = predictor.served_predictor(), []
    for upload in uploads:
        file = str(upload.get("orig_name") or "image")
        try:
            prediction = ready.predict(uploaded_file(upload, session, language))
        except ImageError as error:
            lines.append(Line(file, None, str(error)))
            continue
        picture = b""
        if not prediction.refused:
            small = at_most(prediction.image, PICTURE_SIDE)
            picture = jpeg(replace(prediction, image=small).overlay())
        lines.append(Line(file, replace(prediction, image=prediction.image[:1, :1].copy()), "", picture))
    return lines


def table_in_html(lines: list[Line], language: str) -> str:
    """The lines as people read them, and which run they are of: the page's own may be served since; without any, what
    would be there."""
    if not lines:
        return markup.note(text("many_waiting", language))
    keys = ("column_file", "column_answer", "column_confidence", "column_malignant", "column_remark")
    head = "".join(f'<th scope="col">{escape(text(key, language))}</th>' for key in keys)
    body = "".join(_row(line, language) for line in lines)
    table = f'<table class="dl-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    runs = {line.prediction.run_id for line in lines if line.prediction}  # one, or none
    told = markup.notices(True, language) if _synthetic(lines) else ""
    origin = "".join(f'<p class="dl-provenance">{escape(text("provenance", language, run=run))}</p>' for run in runs)
    return f'{told}<div class="dl-scroll">{table}</div>{origin}'


def _row(line: Line, language: str) -> str:
    file = f"<td><bdi>{escape(line.file)}</bdi></td>"
    if line.prediction is None:
        return f'<tr>{file}<td colspan="3">–</td><td><bdi dir="auto">{escape(line.error)}</bdi></td></tr>'
    prediction = line.prediction
    remarks = [text(code, language) for code in dict.fromkeys((*prediction.refusals, *prediction.quality.problems))]
    remarks += [remark for remark in (markup.more_probable(prediction, language),) if remark]
    if prediction.refused:
        refused = markup.labelled("refused_title", " ".join(remarks), language)
        return f'<tr>{file}<td colspan="3">–</td><td>{escape(refused)}</td></tr>'
    share = markup.percent(float(prediction.probabilities[CODES.index(prediction.code)]), language)
    cells = (
        markup.name(prediction.code, language),
        share,
        markup.kind(BY_CODE[prediction.code], language),
        " ".join(remarks),
    )
    return f"<tr>{file}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _synthetic(lines: list[Line]) -> bool:
    """Whether a model of drawn images answered."""
    return any(line.prediction is not None and line.prediction.synthetic for line in lines)


def as_csv(lines: list[Line]) -> bytes:
    """The table for programs: codes, a point for the decimal sign, and the notice in every row."""
    rows = []
    for line in lines:
        found = line.prediction.to_dict() if line.prediction else {}
        shares = found.get("probabilities") or {}
        rows.append(
            {"file": line.file, "diagnosis": found.get("diagnosis"), "most_probable": found.get("most_probable")}
            | {f"p_{code}": shares.get(code) for code in CODES}
            | {"refused": found.get("refused"), "reasons": " ".join(found.get("reasons") or {})}
            | {"quality": " ".join(found.get("quality") or {}), "error": line.error, "run": found.get("run")}
            | {"notice": found.get("notice") or RESEARCH_NOTICE}
        )
    return without_formulas(pd.DataFrame(rows)).to_csv(index=False, lineterminator="\n").encode("utf-8-sig")


def as_zip(lines: list[Line]) -> bytes:
    """The table, and each image that was answered with the heatmap of its answer over it."""
    stream = io.BytesIO()
    notice = "\n".join(notices(_synthetic(lines)))
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("README.txt", f"{notice}\n")
        archive.writestr("answers.csv", as_csv(lines))
        for number, line in enumerate(lines, 1):
            if line.picture and line.prediction:
                archive.writestr(f"{number:03d}-{line.prediction.code}-research-only.jpg", line.picture)
    return stream.getvalue()
