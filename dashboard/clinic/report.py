"""An assessment to file: one A4 page as PDF, and the same content as plain data. No file's name goes into either."""

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.fonts import TTFFont
from fpdf.output import OutputProducer, PDFInfo

from core.diagnoses import BY_CODE, CODES, Diagnosis
from core.errors import RunError
from core.prediction import Prediction
from core.runs.run import Run
from dashboard.clinic.markup import (
    NO_IMPRESSION,
    kind,
    more_probable,
    name,
    of_ten,
    percent,
    point_in_words,
    reason,
    set_in_words,
    unpromised_in_words,
)
from dashboard.clinic.pictures import jpeg
from dashboard.clinic.texts import RIGHT_TO_LEFT, text, texts

# ---- what a report says --------------------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """What the reader gave beside the image; all of it is optional, and none of it is seen by the model.

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
    with closing(_Sheet(language)) as sheet:
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


# ---- letters -------------------------------------------------------------------------------------

FONTS = Path(__file__).parent / "fonts"
FAMILIES = {"latin": "NotoSans", "arabic": "NotoSansArabic", "chinese": "NotoSansSC"}  # tried in this order
BOX = "□"  # stands for a character that no font has
LINE = 0.49  # mm from line to line for each point of size
ELLIPSIS = "…"
MOST_OF_A_COMMENT = 2000  # characters: far more than fit

# Chinese breaks between any two characters, but not before a closing mark or after an opening one
_HAN, _OPEN, _CLOSE = (
    r"\u2e80-\u2fff\u3040-\u9fff\uf900-\ufaff",
    r"（《〈「『【“‘(",
    r"，。、；：？！）》〉」』】”’％…,.;:!?)%",
)
_PIECES = re.compile(
    rf"[{_OPEN}]*[{_HAN}][{_CLOSE}]*[ ]*|[^ {_HAN}]+?(?=[{_OPEN}]*[{_HAN}]|[ ]|$)[ ]*",
)


# a figure keeps its order of signs among words that run from right to left
LEFT_TO_RIGHT, AS_BEFORE = "\u2066", "\u2069"
_FIGURE = re.compile(r"(?<![\w-])[<>]?\d[\d.,:TZ-]*%?(?<![.,:])")


@cache
def _covered(family: str) -> frozenset[int]:
    """The code points that a family has letters for."""
    with TTFont(FONTS / f"{FAMILIES[family]}-Regular.ttf", lazy=True) as font:
        return frozenset(font.getBestCmap())


def _family_of(character: str) -> str | None:
    return next((family for family in FAMILIES if ord(character) in _covered(family)), None)


def _plain(words: str) -> str:
    """One paragraph of characters that can be set: no control characters, no letters that no font has."""
    # marks of direction would let a comment turn what stands beside it; the non-joiner is part of words
    kept = (c for c in unicodedata.normalize("NFC", words) if c == "\u200c" or unicodedata.category(c) != "Cf")
    spaced = "".join(" " if c.isspace() and c != "\u00a0" or unicodedata.category(c) == "Cc" else c for c in kept)
    return "".join(c if _family_of(c) else BOX for c in re.sub(" +", " ", spaced).strip(" "))


# ---- the sheet -----------------------------------------------------------------------------------

WIDTH, HEIGHT = 210.0, 297.0  # mm, A4
MARGIN, INNER = 14.0, 182.0
GUTTER = 8.0
HALF = (INNER - GUTTER) / 2
FOOT = 282.0  # nothing but the notice below

Colour = tuple[int, int, int]
INK, GREY, RULE, RED, WARNING, TRACK = (
    (25, 28, 33), (90, 96, 105), (200, 204, 210), (165, 28, 28), (255, 245, 221), (232, 234, 238),
)  # fmt: skip


@dataclass(frozen=True)
class _Style:
    size: float = 8.5  # points
    bold: bool = False
    ink: Colour = INK


BODY, STRONG, FINE = _Style(), _Style(bold=True), _Style(7.2, ink=GREY)
TITLE, HEADLINE, HEADING, LARGE = _Style(15, True), _Style(15, True), _Style(9, True), _Style(10.5)


@dataclass(frozen=True)
class _Block:
    """A piece of the page that knows its height in mm, and draws itself below a given y."""

    height: float
    draw: Callable[[float], None]


def _stack(blocks: Sequence[_Block], gap: float = 0.0) -> _Block:
    blocks = [block for block in blocks if block.height]

    def draw(y: float) -> None:
        for block in blocks:
            block.draw(y)
            y += block.height + gap

    return _Block(sum(block.height for block in blocks) + gap * max(0, len(blocks) - 1), draw)


def _beside(*blocks: _Block) -> _Block:
    def draw(y: float) -> None:
        for block in blocks:
            block.draw(y)

    return _Block(max(block.height for block in blocks), draw)


def _space(height: float) -> _Block:
    return _Block(height, lambda y: None)


class _Nameless(OutputProducer):
    """Leaves the date out of the PDF's metadata: a report says its time where people read it."""

    def _add_info(self) -> PDFInfo:
        info = super()._add_info()
        info.creation_date = None  # type: ignore[assignment]
        return info


class _Sheet:
    """One A4 page. x is in mm from the margin where reading begins: the left one, or the right one in Arabic.

    Args:
        language: of the words.

    Attributes:
        size: of all letters, beside their own; it may change until something is drawn.
    """

    def __init__(self, language: str) -> None:
        self.language, self.size = language, 1.0
        self.mirrored = language in RIGHT_TO_LEFT
        self.direction = "rtl" if self.mirrored else "ltr"
        self.pdf = FPDF(unit="mm", format="A4")
        self.pdf.set_auto_page_break(False)
        self.pdf.alias_nb_pages("")  # or "{nb}" in a comment became a number
        self.pdf.set_margins(0, 0)
        self.pdf.c_margin = 0
        self.pdf.file_id = lambda: None  # type: ignore[method-assign]
        self.pdf.add_page()
        self._fonts: set[tuple[str, str]] = set()
        self._widths: dict[tuple[str, bool], float] = {}

    def say(self, key: str, **values: object) -> str:
        """A text in the sheet's language."""
        return text(key, self.language, **values)

    def bytes(self, title: str) -> bytes:
        """The page as a PDF file."""
        self.pdf.set_title(title)
        self.pdf.set_producer("DermLens")
        self.pdf.set_lang(self.language)
        return bytes(self.pdf.output(output_producer_class=_Nameless))

    def close(self) -> None:
        """Let go of the font files."""
        for font in self.pdf.fonts.values():
            if isinstance(font, TTFFont):
                font.close()

    def _set(self, words: str, style: _Style, direction: str | None) -> None:
        """Choose fonts and direction for a line; a font is read when a line first needs it."""
        families = {"latin"} | {family for character in set(words) if (family := _family_of(character))}
        weight = "B" if style.bold else ""
        missing = {(family, weight) for family in families} - self._fonts
        for family, _ in sorted(missing):
            file = f"{FAMILIES[family]}-{'Bold' if style.bold else 'Regular'}.ttf"
            self.pdf.add_font(family, weight, FONTS / file)
        if missing:
            self._fonts |= missing
            loaded = {family for family, _ in self._fonts}
            self.pdf.set_fallback_fonts([family for family in FAMILIES if family in loaded])
        # the spaces between Arabic words are Arabic, so that a line is shaped in one piece
        self.pdf.set_font("arabic" if "arabic" in families else "latin", weight, style.size * self.size)
        self.pdf.set_text_shaping(True, direction=direction)

    def width(self, words: str, style: _Style) -> float:
        """Of a line, in mm."""
        key = (words, style.bold)
        if key not in self._widths:
            self._set(words, style, self.direction)
            self._widths[key] = self.pdf.get_string_width(words) / (style.size * self.size)  # grows with the size
        return self._widths[key] * style.size * self.size

    def lines(self, words: str, width: float, style: _Style, most: int = 99) -> list[str]:
        """Words broken to a width in mm; where they need more lines than allowed, the last ends with an ellipsis."""
        lines, line, used = [], "", 0.0
        for piece in self._pieces(words, width, style):
            if line and used + self.width(piece.rstrip(" "), style) > width:
                lines.append(line.rstrip(" "))
                line, used = "", 0.0
            line, used = line + piece, used + self.width(piece, style)
            if len(lines) > most:
                break
        lines.append(line.rstrip(" "))
        if len(lines) <= most:
            return lines
        kept = _PIECES.findall(lines[most - 1])
        while self.width("".join(kept).rstrip(" ") + ELLIPSIS, style) > width:
            kept = kept[:-1] if len(kept) > 1 else [kept[0][:-1]]
        return [*lines[: most - 1], "".join(kept).rstrip(" ") + ELLIPSIS]

    def _pieces(self, words: str, width: float, style: _Style) -> list[str]:
        """Words with the space behind them; what is wider than a line is cut to fit."""
        pieces = []
        for piece in _PIECES.findall(words):
            parts = -(-self.width(piece, style) // (0.9 * width)) if self.width(piece, style) > width else 1
            step = max(1, int(-(-len(piece) // parts)))
            pieces += [piece[start : start + step] for start in range(0, len(piece), step)]
        return pieces

    def paragraph(
        self,
        words: str,
        x: float = 0.0,
        width: float = INNER,
        style: _Style = BODY,
        most: int = 99,
        own: bool = False,
        end: bool = False,
    ) -> _Block:
        """Words in lines.

        Args:
            words: any; what cannot be set is shown as a box.
            x, width: in mm.
            style: of the letters.
            most: lines.
            own: the words have a direction of their own, whatever the page's: a person's comment, a checksum.
            end: set them against the side where lines end.
        """
        plain = _plain(words)
        if self.mirrored and not own:
            plain = _FIGURE.sub(f"{LEFT_TO_RIGHT}\\g<0>{AS_BEFORE}", plain)
        lines = self.lines(plain, width, style, most) if plain else []
        step = style.size * self.size * LINE
        align = "R" if self.mirrored != end else "L"

        def draw(y: float) -> None:
            self.pdf.set_text_color(*style.ink)
            for number, line in enumerate(lines):
                self._set(line, style, None if own else self.direction)
                # fpdf2 forgets that a line ended in another font, unless the state is put back
                with self.pdf.local_context():
                    self.pdf.set_xy(self._left(x, width), y + number * step)
                    self.pdf.cell(width, step, line, align=align)

        return _Block(step * len(lines), draw)

    def fitted(self, words: str, width: float, style: _Style) -> _Style:
        """The style, smaller where the words would not fit on one line."""
        return dataclasses.replace(style, size=style.size * min(1.0, width / max(self.width(_plain(words), style), 1)))

    def heading(self, words: str, x: float = 0.0, width: float = INNER) -> _Block:
        """A section's name over a thin rule."""
        return _stack([self.paragraph(words, x, width, HEADING), self.box(x, width, 0.25, RULE), _space(1.4)])

    def box(self, x: float, width: float, height: float, fill: Colour) -> _Block:
        """A filled rectangle."""

        def draw(y: float) -> None:
            self.pdf.set_fill_color(*fill)
            self.pdf.rect(self._left(x, width), y, width, height, "F")

        return _Block(height, draw)

    def panel(self, inside: _Block, edge: Colour, fill: Colour) -> _Block:
        """A block on a coloured ground over the whole width, with a strong edge where reading begins."""
        pad = 1.8
        height = inside.height + 2 * pad
        ground, bar = self.box(0, INNER, height, fill), self.box(0, 1.4, height, edge)
        return _beside(ground, bar, _stack([_space(pad), inside, _space(pad)]))

    def picture(self, image: np.ndarray, x: float, width: float, height: float) -> _Block:
        """(H, W, 3) uint8 RGB as large as fits, with a thin frame."""
        rows, columns = image.shape[:2]
        scale = min(width / columns, height / rows)
        wide, high = columns * scale, rows * scale
        file = _file(image)

        def draw(y: float) -> None:
            left = self._left(x, wide)
            self.pdf.image(BytesIO(file), left, y, wide, high)
            self.pdf.set_draw_color(*GREY)
            self.pdf.set_line_width(0.15)
            self.pdf.rect(left, y, wide, high)

        return _Block(high, draw)

    def _left(self, x: float, width: float) -> float:
        return WIDTH - MARGIN - x - width if self.mirrored else MARGIN + x


# ---- the sections --------------------------------------------------------------------------------

PICTURES = (900, 640, 450, 320)  # pixels, the longer side; at first over 250 dots an inch
HEAVIEST = 200_000  # bytes: a picture of mere noise is made smaller
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


def _laid_out(report: _Report, sheet: _Sheet) -> bool:
    """Draw the page; False, and nothing drawn, where the pictures would become too small in this size of letters."""
    top = _stack([_header(report, sheet), _notices(report, sheet), _headline(report, sheet)], 4)
    below = _stack([_beside(_bars(report, sheet), _words(report, sheet))] if report.shown else [])
    last = _stack([_about(report, sheet), _origin(report, sheet)], 3.5)
    captions = _captions(report, sheet)
    start = 11.0
    free = FOOT - start - top.height - captions.height - below.height - last.height - 4 * 4.0
    if free < SMALLEST and sheet.size > SIZES[-1]:
        return False
    pictures = _pictures(report, sheet, max(8.0, min(TALLEST, free)))
    # what is left over opens the page up between its parts
    spare = max(0.0, free - pictures.height)
    gap = 4.0 + min(spare / 4, 4.0)
    _stack([top, _stack([pictures, captions], 0.8), below], gap).draw(start)
    last.draw(FOOT - 3.5 - last.height)
    _foot(sheet)
    return True


def _header(report: _Report, sheet: _Sheet) -> _Block:
    time = f"{sheet.say('report_time')}: {report.origin['time']}"
    title = sheet.paragraph(sheet.say("report_title"), 0, HALF, TITLE, most=1)
    when = sheet.paragraph(time, HALF + GUTTER, HALF, FINE, end=True)
    return _beside(title, _stack([_space(title.height - when.height - 0.9), when]))


def _notices(report: _Report, sheet: _Sheet) -> _Block:
    keys = ["research_notice", "synthetic_notice"][: 1 + report.prediction.synthetic]
    inside = [sheet.paragraph(sheet.say(key), 4, INNER - 7, _Style(9, True)) for key in keys]
    return sheet.panel(_stack(inside, 0.8), RED, WARNING)


def _headline(report: _Report, sheet: _Sheet) -> _Block:
    prediction = report.prediction
    reasons = " ".join(reason(code, report.language) for code in prediction.refusals)
    if not report.shown:
        blocks = [sheet.paragraph(sheet.say("refused_title"), style=HEADLINE), sheet.paragraph(reasons, style=LARGE)]
        return _stack([*blocks, sheet.paragraph(sheet.say("refused_next"), style=LARGE)], 0.6)
    spoken = BY_CODE[prediction.code]
    share = float(prediction.probabilities[CODES.index(spoken.code)])
    remark = more_probable(prediction, report.language) or (sheet.say("unsure") if share < 0.5 else "")
    sure = f"{percent(share, report.language)} {sheet.say('confidence')}"
    beside = sheet.width(_plain(sure), LARGE) + 5
    warned = sheet.paragraph(f"{sheet.say('insisted')} {reasons}", 4, INNER - 7, STRONG)
    return _stack(
        [
            *([sheet.panel(warned, INK, TRACK), _space(2)] if prediction.refused else []),
            sheet.paragraph(sheet.say("speaks_for"), style=_Style(ink=GREY)),
            sheet.paragraph(name(spoken.code, report.language), style=HEADLINE),
            _beside(
                sheet.paragraph(sure, style=LARGE),
                sheet.paragraph(kind(spoken, report.language), beside, INNER - beside, _inked(spoken, LARGE)),
            ),
            *([_space(0.8), sheet.paragraph(remark)] if remark else []),
        ]
    )


def _inked(diagnosis: Diagnosis, style: _Style) -> _Style:
    return dataclasses.replace(style, ink=RED if diagnosis.malignant else GREY)


def _pictures(report: _Report, sheet: _Sheet, height: float) -> _Block:
    image = _shrunk(report.prediction.image, PICTURES[0])
    given = sheet.picture(image, 0, HALF, height)
    if not report.shown:
        return given
    heat = dataclasses.replace(report.prediction, image=image).overlay(report.chosen, 0.5)
    return _beside(given, sheet.picture(heat, HALF + GUTTER, HALF, height))


def _shrunk(image: np.ndarray, longest: int) -> np.ndarray:
    """The image, no larger than a longer side in pixels."""
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _file(image: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB as a JPEG file that leaves the report small."""
    files = (jpeg(_shrunk(image, longest)) for longest in PICTURES)
    return next((file for file in files if len(file) <= HEAVIEST), jpeg(_shrunk(image, PICTURES[-1])))


def _captions(report: _Report, sheet: _Sheet) -> _Block:
    given = sheet.paragraph(sheet.say("report_image"), 0, HALF, STRONG)
    if not report.shown:
        return given
    heat = sheet.say("report_overlay", name=name(report.chosen, report.language))
    legend = " · ".join(sheet.say(f"legend_{part}") for part in ("none", "some", "strong", "unseen"))
    beats = report.prediction.heatmap_beats
    faithful = "" if beats is None else sheet.say("heatmap_beats", beats=of_ten(beats, report.language))
    titles = _beside(given, sheet.paragraph(heat, HALF + GUTTER, HALF, STRONG))
    return _stack([titles, sheet.paragraph(legend, style=FINE), sheet.paragraph(faithful, style=FINE)], 0.4)


def _bars(report: _Report, sheet: _Sheet) -> _Block:
    rows = [_bar(report, sheet, diagnosis, share) for diagnosis, share in report.prediction.ranked()]
    return _stack([sheet.heading(sheet.say("report_confidence"), 0, HALF), _stack(rows, 1.3)])


def _bar(report: _Report, sheet: _Sheet, diagnosis: Diagnosis, share: float) -> _Block:
    """Name and figure over a bar; the answer in bold, what is malignant with a symbol and a word."""
    figure, called = percent(share, report.language), name(diagnosis.code, report.language)
    marked = kind(diagnosis, report.language) if diagnosis.malignant else ""
    style = STRONG if diagnosis.code == report.prediction.code else BODY
    room = HALF - 14
    style = sheet.fitted(f"{called}   {marked}", room, style)
    beside = sheet.width(_plain(called) + " ", style) + 1
    lowered = _space((BODY.size - style.size) * 0.7 * LINE * sheet.size)  # to the figure's baseline
    words = _beside(
        _stack([lowered, sheet.paragraph(called, 0, room, style, most=1)]),
        _stack([lowered, sheet.paragraph(marked, beside, HALF - beside, _inked(diagnosis, style), most=1)]),
        sheet.paragraph(figure, 0, HALF, dataclasses.replace(style, size=BODY.size), end=True),
    )
    fill = sheet.box(0, max(0.3, HALF * share), 1.9, RED if diagnosis.malignant else GREY)
    return _stack([words, _beside(sheet.box(0, HALF, 1.9, TRACK), fill)], 0.3)


def _words(report: _Report, sheet: _Sheet) -> _Block:
    """Operating points, prediction set and quality."""
    prediction, language, x = report.prediction, report.language, HALF + GUTTER
    blocks = []
    for point in prediction.points:
        where, worth = point_in_words(point, language)
        sentence = _marked(sheet, "▲" if point.flagged else "○", where, x, HALF, STRONG)
        blocks.append(_stack([sentence, _marked(sheet, "", worth, x, HALF, _Style(8, ink=GREY))]))
    if prediction.prediction_set is not None:
        few = unpromised_in_words(prediction.prediction_set, language)
        members = sheet.paragraph(set_in_words(prediction.prediction_set, language), x, HALF)
        blocks.append(_stack([members, sheet.paragraph(few, x, HALF, _Style(8, ink=GREY))]))
    blocks = [sheet.heading(sheet.say("answer"), x, HALF), _stack(blocks, 1.6), _space(3.5)] if blocks else []
    return _stack([*blocks, _quality(report, sheet, x, HALF)])


def _quality(report: _Report, sheet: _Sheet, x: float, width: float) -> _Block:
    found = [code for code in report.prediction.quality.problems if code not in report.prediction.refusals]
    lines = [_marked(sheet, "▲", reason(code, report.language), x, width, BODY) for code in found]
    # of a refused image, what was found is said above
    if not lines and not report.prediction.refused:
        lines = [sheet.paragraph(sheet.say("report_no_problem"), x, width)]
    return _stack([sheet.heading(sheet.say("report_quality"), x, width), *lines] if lines else [])


def _marked(sheet: _Sheet, mark: str, words: str, x: float, width: float, style: _Style) -> _Block:
    indent = 4.0
    return _beside(sheet.paragraph(mark, x, indent, style), sheet.paragraph(words, x + indent, width - indent, style))


def _about(report: _Report, sheet: _Sheet) -> _Block:
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
        cells.append(_stack([label, given]))
        x += width
    blocks = [sheet.heading(sheet.say("report_about")), _beside(*cells)]
    if about.comment and about.comment.strip():
        cut = about.comment[:MOST_OF_A_COMMENT]
        comment = sheet.paragraph(cut, style=BODY, most=4, own=True)
        blocks += [_space(1), sheet.paragraph(sheet.say("report_comment"), style=FINE), comment]
    return _stack(blocks)


def _origin(report: _Report, sheet: _Sheet) -> _Block:
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
        _beside(
            sheet.paragraph(sheet.say(key), 0, side - 3, FINE, most=1),
            sheet.paragraph(value or "–", side, INNER - side, _Style(7.2), most=2, own=True),
        )
        for key, value in rows
    ]
    return _stack([sheet.heading(sheet.say("report_provenance")), *lines])


def _foot(sheet: _Sheet) -> None:
    notice = sheet.paragraph(sheet.say("research_notice"), style=_Style(7.2, True, GREY), most=2)
    _stack([sheet.box(0, INNER, 0.25, RULE), _space(1), notice]).draw(FOOT)
