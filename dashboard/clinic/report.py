"""An assessment to file: one A4 page as PDF, and the same content as plain data. No file's name goes into either."""

import dataclasses
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.data.images import at_most
from core.diagnoses import BY_CODE, CODES, Diagnosis
from core.errors import RunError
from core.prediction import Prediction
from core.runs.run import Run
from dashboard.clinic.markup import (
    NO_IMPRESSION,
    kind,
    labelled,
    more_probable,
    name,
    of_ten,
    percent,
    person_in_words,
    point_in_words,
    reason,
    set_in_words,
    unpromised_in_words,
)
from dashboard.clinic.sheet import (
    BODY,
    FINE,
    FOOT,
    GREY,
    GUTTER,
    HALF,
    HEADLINE,
    INK,
    INNER,
    LARGE,
    LINE,
    MOST_OF_A_COMMENT,
    PICTURES,
    RED,
    RULE,
    STRONG,
    TITLE,
    TRACK,
    WARNING,
    Block,
    Sheet,
    Style,
    beside,
    plain,
    space,
    stack,
)
from dashboard.clinic.texts import text, texts

# ---- what a report says --------------------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """What the reader gave beside the image; all of it is optional. The prediction says what of it went into the
    answer.

    Attributes:
        age: in years.
        sex: "female", "male" or "unknown".
        site: of the body, as HAM10000 names it.
        impression: the reader's own diagnosis before the model's answer: one of `CODES`, or "none".
        comment: free text.
    """

    age: float | None = None
    sex: str | None = None
    site: str | None = None
    impression: str | None = None
    comment: str | None = None


def json_report(
    prediction: Prediction,
    run: Run,
    language: str = "en",
    chosen: str | None = None,
    about: About | None = None,
    insisted: bool = False,
    moment: datetime | None = None,
) -> dict[str, Any]:
    """The report as plain data, ready for `json.dumps`; arguments and errors as of `pdf_report`."""
    shown = insisted or not prediction.refused
    return {
        "title": text("report_title", language),
        "language": language,
        "notice": text("research_notice", language),
        "synthetic_notice": text("synthetic_notice", language) if prediction.synthetic else None,
        "prediction": prediction.to_dict(insist=insisted),
        "heatmap": _chosen(prediction, chosen) if shown else None,
        "about": dataclasses.asdict(about or About()),
        "provenance": _provenance(prediction, run, moment),
    }


def pdf_report(
    prediction: Prediction,
    run: Run,
    language: str = "en",
    chosen: str | None = None,
    about: About | None = None,
    insisted: bool = False,
    moment: datetime | None = None,
) -> bytes:
    """The report as a PDF of one A4 page, with the letters in it that it needs.

    Args:
        prediction: what the run said of the image.
        run: the run that answered, for the provenance.
        language: of the words; one of `dashboard.clinic.texts.LANGUAGES`.
        chosen: the diagnosis whose heatmap is shown; by default the answer.
        about: what the reader gave; a comment that does not fit ends with an ellipsis.
        insisted: give the figures of a refused image too.
        moment: when the image was assessed, with its time zone; by default now.

    Raises:
        RunError: the prediction is another run's.
        ValueError: `chosen` is no diagnosis.
    """
    origin = _provenance(prediction, run, moment)
    report = _Report(prediction, language, _chosen(prediction, chosen), about or About(), insisted, origin)
    with closing(Sheet(language)) as sheet:
        for sheet.size in SIZES:
            if _laid_out(report, sheet):
                break
        return sheet.bytes(text("report_title", language))


def _chosen(prediction: Prediction, chosen: str | None) -> str:
    if chosen is not None and chosen not in CODES:
        raise ValueError(
            f"A heatmap belongs to one of {list(CODES)}. Received: {chosen!r}. Leave it out for the answer."
        )
    return chosen or prediction.code


def _provenance(prediction: Prediction, run: Run, moment: datetime | None) -> dict[str, Any]:
    if prediction.run_id != run.id:
        raise RunError(
            f"A report names the run that answered. Received: run {run.id!r} for an answer of run "
            f"{prediction.run_id!r}. Pass the run of the predictor that answered."
        )
    manifest = run.manifest()
    return {
        "run": run.id,
        "model_sha256": manifest.get("model_sha256"),
        "data_fingerprint": manifest.get("data", {}).get("fingerprint"),
        "split_fingerprint": manifest.get("split", {}).get("fingerprint"),
        "packages": manifest.get("packages", {}),
        "time": (moment or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


# ---- the sections --------------------------------------------------------------------------------

TALLEST, SMALLEST = 65.0, 34.0  # mm
SIZES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)  # a page that is too full is set smaller, and not cut


@dataclass(frozen=True)
class _Report:
    prediction: Prediction
    language: str
    chosen: str
    about: About
    insisted: bool
    origin: dict[str, Any]

    @property
    def shown(self) -> bool:
        """Whether there are figures."""
        return self.insisted or not self.prediction.refused


def _laid_out(report: _Report, sheet: Sheet) -> bool:
    """Draw the page; False, and nothing drawn, where the pictures would become too small in this size of letters."""
    top = stack([_header(report, sheet), _notices(report, sheet), _headline(report, sheet)], 4)
    below = stack([beside(_bars(report, sheet), _words(report, sheet))] if report.shown else [])
    last = stack([_about(report, sheet), _origin(report, sheet)], 3.5)
    captions = _captions(report, sheet)
    start = 11.0
    free = FOOT - start - top.height - captions.height - below.height - last.height - 4 * 4.0
    if free < SMALLEST and sheet.size > SIZES[-1]:
        return False
    pictures = _pictures(report, sheet, max(8.0, min(TALLEST, free)))
    # what is left over opens the page up between its parts
    spare = max(0.0, free - pictures.height)
    gap = 4.0 + min(spare / 4, 4.0)
    stack([top, stack([pictures, captions], 0.8), below], gap).draw(start)
    last.draw(FOOT - 3.5 - last.height)
    _foot(sheet)
    return True


def _header(report: _Report, sheet: Sheet) -> Block:
    time = labelled("report_time", report.origin["time"], report.language)
    title = sheet.paragraph(sheet.say("report_title"), 0, HALF, TITLE, most=1)
    when = sheet.paragraph(time, HALF + GUTTER, HALF, FINE, end=True)
    return beside(title, stack([space(title.height - when.height - 0.9), when]))


def _notices(report: _Report, sheet: Sheet) -> Block:
    keys = ["research_notice", "synthetic_notice"][: 1 + report.prediction.synthetic]
    inside = [sheet.paragraph(sheet.say(key), 4, INNER - 7, Style(9, True)) for key in keys]
    return sheet.panel(stack(inside, 0.8), RED, WARNING)


def _headline(report: _Report, sheet: Sheet) -> Block:
    prediction = report.prediction
    reasons = " ".join(reason(code, report.language) for code in prediction.refusals)
    if not report.shown:
        blocks = [sheet.paragraph(sheet.say("refused_title"), style=HEADLINE), sheet.paragraph(reasons, style=LARGE)]
        return stack([*blocks, sheet.paragraph(sheet.say("refused_next"), style=LARGE)], 0.6)
    spoken = BY_CODE[prediction.code]
    share = float(prediction.probabilities[CODES.index(spoken.code)])
    remark = more_probable(prediction, report.language) or (sheet.say("unsure") if share < 0.5 else "")
    remark = " ".join(filter(None, (remark, person_in_words(prediction, report.language))))
    sure = f"{percent(share, report.language)} {sheet.say('confidence')}"
    after = sheet.width(plain(sure), LARGE) + 5
    warned = sheet.paragraph(f"{sheet.say('insisted')} {reasons}", 4, INNER - 7, STRONG)
    return stack(
        [
            *([sheet.panel(warned, INK, TRACK), space(2)] if prediction.refused else []),
            sheet.paragraph(sheet.say("speaks_for"), style=Style(ink=GREY)),
            sheet.paragraph(name(spoken.code, report.language), style=HEADLINE),
            beside(
                sheet.paragraph(sure, style=LARGE),
                sheet.paragraph(kind(spoken, report.language), after, INNER - after, _inked(spoken, LARGE)),
            ),
            *([space(0.8), sheet.paragraph(remark)] if remark else []),
        ]
    )


def _inked(diagnosis: Diagnosis, style: Style) -> Style:
    return dataclasses.replace(style, ink=RED if diagnosis.malignant else GREY)


def _pictures(report: _Report, sheet: Sheet, height: float) -> Block:
    image = at_most(report.prediction.image, PICTURES[0])
    given = sheet.picture(image, 0, HALF, height)
    if not report.shown:
        return given
    heat = dataclasses.replace(report.prediction, image=image).overlay(report.chosen, 0.5)
    return beside(given, sheet.picture(heat, HALF + GUTTER, HALF, height))


def _captions(report: _Report, sheet: Sheet) -> Block:
    given = sheet.paragraph(sheet.say("report_image"), 0, HALF, STRONG)
    if not report.shown:
        return given
    heat = sheet.say("report_overlay", name=name(report.chosen, report.language))
    legend = " · ".join(sheet.say(f"legend_{part}") for part in ("none", "some", "strong", "unseen"))
    beats = report.prediction.heatmap_beats
    faithful = "" if beats is None else sheet.say("heatmap_beats", beats=of_ten(beats, report.language))
    titles = beside(given, sheet.paragraph(heat, HALF + GUTTER, HALF, STRONG))
    return stack([titles, sheet.paragraph(legend, style=FINE), sheet.paragraph(faithful, style=FINE)], 0.4)


def _bars(report: _Report, sheet: Sheet) -> Block:
    rows = [_bar(report, sheet, diagnosis, share) for diagnosis, share in report.prediction.ranked()]
    return stack([sheet.heading(sheet.say("report_confidence"), 0, HALF), stack(rows, 1.3)])


def _bar(report: _Report, sheet: Sheet, diagnosis: Diagnosis, share: float) -> Block:
    """Name and figure over a bar; the answer in bold, what is malignant with a symbol and a word."""
    figure, called = percent(share, report.language), name(diagnosis.code, report.language)
    marked = kind(diagnosis, report.language) if diagnosis.malignant else ""
    style = STRONG if diagnosis.code == report.prediction.code else BODY
    room = HALF - 14
    style = sheet.fitted(f"{called}   {marked}", room, style)
    after = sheet.width(plain(called) + " ", style) + 1
    lowered = space((BODY.size - style.size) * 0.7 * LINE * sheet.size)  # to the figure's baseline
    words = beside(
        stack([lowered, sheet.paragraph(called, 0, room, style, most=1)]),
        stack([lowered, sheet.paragraph(marked, after, HALF - after, _inked(diagnosis, style), most=1)]),
        sheet.paragraph(figure, 0, HALF, dataclasses.replace(style, size=BODY.size), end=True),
    )
    fill = sheet.box(0, max(0.3, HALF * share), 1.9, RED if diagnosis.malignant else GREY)
    return stack([words, beside(sheet.box(0, HALF, 1.9, TRACK), fill)], 0.3)


def _words(report: _Report, sheet: Sheet) -> Block:
    """Operating points, prediction set and quality."""
    prediction, language, x = report.prediction, report.language, HALF + GUTTER
    blocks = []
    for point in prediction.points:
        where, worth = point_in_words(point, language)
        sentence = _marked(sheet, "▲" if point.flagged else "○", where, x, HALF, STRONG)
        blocks.append(stack([sentence, _marked(sheet, "", worth, x, HALF, Style(8, ink=GREY))]))
    if prediction.prediction_set is not None:
        few = unpromised_in_words(prediction.prediction_set, language)
        members = sheet.paragraph(set_in_words(prediction.prediction_set, language), x, HALF)
        blocks.append(stack([members, sheet.paragraph(few, x, HALF, Style(8, ink=GREY))]))
    blocks = [sheet.heading(sheet.say("answer"), x, HALF), stack(blocks, 1.6), space(3.5)] if blocks else []
    return stack([*blocks, _quality(report, sheet, x, HALF)])


def _quality(report: _Report, sheet: Sheet, x: float, width: float) -> Block:
    found = [code for code in report.prediction.quality.problems if code not in report.prediction.refusals]
    lines = [_marked(sheet, "▲", reason(code, report.language), x, width, BODY) for code in found]
    # of a refused image, what was found is said above
    if not lines and not report.prediction.refused:
        lines = [sheet.paragraph(sheet.say("report_no_problem"), x, width)]
    return stack([sheet.heading(sheet.say("report_quality"), x, width), *lines] if lines else [])


def _marked(sheet: Sheet, mark: str, words: str, x: float, width: float, style: Style) -> Block:
    indent = 4.0
    return beside(sheet.paragraph(mark, x, indent, style), sheet.paragraph(words, x + indent, width - indent, style))


def _about(report: _Report, sheet: Sheet) -> Block:
    about, missing = report.about, sheet.say("report_not_given")
    known = texts(report.language)
    impression = sheet.say("impression_none") if about.impression == NO_IMPRESSION else about.impression
    columns = (
        ("report_age", f"{about.age:g}" if about.age is not None else None, 28.0),
        ("report_sex", about.sex and known.get(about.sex, about.sex), 28.0),
        ("report_site", about.site and known.get(f"site_{about.site}", about.site), 44.0),
        ("report_impression", impression and known.get(f"name_{impression}", impression), 82.0),
    )
    cells, x = [], 0.0
    for key, value, width in columns:
        label = sheet.paragraph(sheet.say(key), x, width - 3, FINE)
        given = sheet.paragraph(value or missing, x, width - 3, BODY, most=2, own=bool(value))
        cells.append(stack([label, given]))
        x += width
    blocks = [sheet.heading(sheet.say("report_about")), beside(*cells)]
    if about.comment and about.comment.strip():
        cut = about.comment[:MOST_OF_A_COMMENT]
        comment = sheet.paragraph(cut, style=BODY, most=4, own=True)
        blocks += [space(1), sheet.paragraph(sheet.say("report_comment"), style=FINE), comment]
    return stack(blocks)


def _origin(report: _Report, sheet: Sheet) -> Block:
    packages = ", ".join(f"{package} {version}" for package, version in report.origin["packages"].items())
    rows = (
        ("report_run", report.origin["run"]),
        ("report_model", report.origin["model_sha256"]),
        ("report_data", report.origin["data_fingerprint"]),
        ("report_split", report.origin["split_fingerprint"]),
        ("report_versions", packages),
    )
    side = 46.0
    lines = [
        beside(
            sheet.paragraph(sheet.say(key), 0, side - 3, FINE, most=1),
            sheet.paragraph(value or "–", side, INNER - side, Style(7.2), most=2, own=True),
        )
        for key, value in rows
    ]
    return stack([sheet.heading(sheet.say("report_provenance")), *lines])


def _foot(sheet: Sheet) -> None:
    notice = sheet.paragraph(sheet.say("research_notice"), style=Style(7.2, True, GREY), most=2)
    stack([sheet.box(0, INNER, 0.25, RULE), space(1), notice]).draw(FOOT)
