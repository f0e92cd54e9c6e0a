"""The report: one page that holds what was said, in every language, and nothing that it should not."""

import dataclasses
import io
import json
import shutil
import unicodedata
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pdfplumber
import pytest
import uharfbuzz
from fontTools.ttLib import TTFont
from pdfminer.pdftypes import resolve_all
from pdfplumber.page import Page
from PIL import Image

from core.diagnoses import CODES, DIAGNOSES, MALIGNANT
from core.errors import RunError
from core.prediction import STRANGE, OperatingPoint, Prediction, PredictionSet
from core.predictor import Predictor
from core.runs.run import Run
from dashboard.clinic import report, sheet, texts
from dashboard.clinic.markup import name, percent
from dashboard.clinic.report import About, json_report, pdf_report

MOMENT = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)
SPOKEN = tuple(
    code for code in texts.LANGUAGES if (Path(texts.__file__).parent / "languages" / f"{code}.json").is_file()
)
ABOUT = About(54, "female", "back", "nv", "Grown since May; itches.")
WORDY = About(54.5, "unknown", "where the sun rarely comes " * 9, "bkl", "It grew, it itched, it bled. " * 400)
MM = 72 / 25.4  # points


@pytest.fixture(scope="module")
def prediction(loaded: Predictor, tiny_data: Path) -> Prediction:
    """Of a drawn image, with a set and thresholds as a large run has them."""
    found = loaded.predict(sorted(tiny_data.rglob("*.jpg"))[0])
    points = (
        OperatingPoint("melanoma", ("mel",), 0.321, 0.123, 0.9, 0.87, 0.75),
        OperatingPoint("malignant", MALIGNANT, 0.054, 0.234, 0.95, None, None),
    )
    shares = np.array([0.321, 0.456, 0.05, 0.003, 0.1, 0.0699, 0.0001])
    return dataclasses.replace(
        found,
        logits=np.array([3, 2, 1, 0, 0, 0, 0], np.float32),  # speaks for melanoma, and nevus is more probable
        probabilities=shares,
        prediction_set=PredictionSet(("mel", "nv"), 0.9, ("df",)),
        points=points,
        refusals=(),
        quality=dataclasses.replace(found.quality, problems=()),
    )


@pytest.fixture(scope="module")
def wordiest(prediction: Prediction) -> Prediction:
    """Everything that can be said of one image at once."""
    problems = ("few_pixels", "blurred", "too_dark", "too_bright", "dark_frame", "lesion_cut")
    return dataclasses.replace(
        prediction,
        prediction_set=PredictionSet(CODES[:6], 0.9, CODES),
        refusals=(STRANGE, "too_small"),
        quality=dataclasses.replace(prediction.quality, problems=problems),
        synthetic=True,
        heatmap_beats=0.31,
    )


def opened(pdf: bytes) -> Page:
    """The one page of a report."""
    with pdfplumber.open(io.BytesIO(pdf)) as document:
        assert len(document.pages) == 1
        assert set(document.metadata) == {"Title", "Producer"}
        page = document.pages[0]
        assert (round(page.width), round(page.height)) == (595, 842)
        _ = page.chars, page.rects  # read while the file is open
        return page


def tight(words: str) -> str:
    """Without spaces and marks, since lines break anywhere and marks stand over letters."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", words) if unicodedata.category(c) not in ("Mn", "Cf"))
    return "".join(plain.split())


def said(pdf: bytes, language: str = "en") -> str:
    """All words of a report, tight; of Arabic, the words and the figures each in their own order."""
    lines: dict[float, list[dict]] = {}
    for char in opened(pdf).chars:
        lines.setdefault(round(char["matrix"][5], 1), []).append(char)
    rows = [sorted(lines[baseline], key=lambda char: char["x0"]) for baseline in sorted(lines, reverse=True)]
    backwards = [row[::-1] for row in rows] if language in texts.RIGHT_TO_LEFT else []
    return tight("".join(char["text"] for row in rows + backwards for char in row))


@pytest.mark.parametrize("language", SPOKEN)
def test_holds_what_was_said_and_where_it_comes_from(language: str, prediction: Prediction, module_run: Run) -> None:
    """Notice, names, confidences, provenance and what the reader gave can be read back out of the file."""
    pdf = pdf_report(prediction, module_run, language, about=ABOUT, moment=MOMENT)
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
    assert len(pdf) < 600_000
    words = said(pdf, language)
    for diagnosis, share in prediction.ranked():
        assert tight(name(diagnosis.code, language)) in words
        assert tight(percent(share, language)) in words
    for word in texts.text("research_notice", language).split():
        assert words.count(tight(word.strip(".,:;。，：؛،"))) >= 2, "at the top and at the foot"
    manifest = module_run.manifest()
    prints = (manifest["model_sha256"], manifest["data"]["fingerprint"], manifest["split"]["fingerprint"])
    for piece in (module_run.id, *prints, "2031-05-04T03:02:01Z", "tensorflow", "54", "GrownsinceMay;itches."):
        assert piece in words


def test_both_answers_and_the_thresholds_are_said(prediction: Prediction, module_run: Run) -> None:
    """What the image speaks for comes first; that another is more probable, thresholds and set follow in words."""
    words = said(pdf_report(prediction, module_run, about=ABOUT))
    assert tight("The image speaks most for Melanoma 32.1% confidence ▲ malignant") in words
    assert tight("it is far more common: Melanocytic nevus, 45.6%") in words
    page = opened(pdf_report(prediction, module_run, about=ABOUT))
    right = tight(page.crop((page.width / 2, 0, page.width, page.height)).extract_text())
    assert tight("Above the threshold for melanoma: 32.1% (threshold 12.3%).") in right
    assert tight("Below the threshold for malignant or premalignant lesions: 5.4% (threshold 23.4%).") in right
    assert tight("Cannot be ruled out: Melanoma, Melanocytic nevus.") in right
    assert tight("Nothing was found wrong with the image.") in right
    assert tight("This model was trained on drawn") in words


def test_bars_are_in_order_and_as_long_as_their_figures(prediction: Prediction, module_run: Run) -> None:
    """Seven bars, the most probable first, each marked in words where it is not left alone."""
    page = opened(pdf_report(prediction, module_run))
    left = page.crop((0, page.height * 0.4, page.width / 2, page.height))
    lines = [line["text"] for line in left.extract_text_lines()]
    for (diagnosis, share), row in zip(prediction.ranked(), _rows(lines), strict=True):
        assert row.startswith(diagnosis.name) and row.endswith(percent(share, "en"))
        assert ("▲" in row and "malignant" in row) == diagnosis.malignant
    bars = [rect for rect in page.rects if abs(rect["height"] - 1.9 * MM) < 0.1 and rect["x0"] < page.width / 2]
    shares = [bar["width"] / (sheet.HALF * MM) for bar in bars if bar["width"] < 0.99 * sheet.HALF * MM]
    assert np.allclose(shares, [max(share, 0.3 / sheet.HALF) for _, share in prediction.ranked()], atol=0.003)


def _rows(lines: list[str]) -> list[str]:
    return [line for line in lines if line.endswith("%") and line.startswith(tuple(d.name for d in DIAGNOSES))]


@pytest.mark.parametrize("language", SPOKEN)
def test_stays_on_one_page_and_nothing_overlaps(language: str, wordiest: Prediction, module_run: Run) -> None:
    """With everything to say at once: no word on another, none beyond the margins, and the end of a comment cut."""
    page = opened(pdf_report(wordiest, module_run, language, about=WORDY, insisted=True))
    for char in page.chars:
        assert char["x0"] > 13 * MM and char["x1"] < page.width - 13 * MM
        assert char["top"] > 8 * MM and char["bottom"] < page.height - 4 * MM
    assert "It grew, it itched, it bled." in page.extract_text()
    assert "…" in page.extract_text()
    # boxes from the baseline up, since the ascent that a font states is no letter's
    letters = [char for char in page.chars if tight(char["text"])]
    left, right = (np.array([char[side] for char in letters]) for side in ("x0", "x1"))
    size, base = np.array([char["size"] for char in letters]), np.array([char["matrix"][5] for char in letters])
    wide, high = _shared(left, right), _shared(base - 0.2 * size, base + 0.75 * size)
    clashes = np.argwhere(np.triu((wide > 1.5) & (high > 0.3), 1))
    assert not clashes.size, [(letters[i]["text"], letters[j]["text"]) for i, j in clashes]


def _shared(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How much of each other n intervals cover: (n, n), negative where they are apart."""
    return np.minimum(high[:, None], high) - np.maximum(low[:, None], low)


@pytest.mark.parametrize("shape", [(40, 900), (900, 40), (3, 3), (2400, 3000)])
def test_any_shape_of_image_fits(shape: tuple[int, int], prediction: Prediction, module_run: Run) -> None:
    """Even an image of noise leaves the file small, and no picture leaves its place."""
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    pdf = pdf_report(dataclasses.replace(prediction, image=noise), module_run)
    assert len(pdf) < 600_000
    for picture in opened(pdf).images:
        assert picture["x0"] >= 13.9 * MM and picture["x1"] <= 196.1 * MM
        assert picture["width"] / picture["height"] == pytest.approx(shape[1] / shape[0], rel=0.02)


def test_shows_the_heatmap_that_was_chosen(prediction: Prediction, module_run: Run) -> None:
    """Two pictures: the image as given, the same in every report, and the overlay of the chosen diagnosis."""
    pictures = {}
    for code in ("mel", "nv"):
        page = opened(pdf_report(prediction, module_run, chosen=code))
        assert f"Heatmap for {name(code, 'en')}" in page.extract_text()
        pictures[code] = [_pixels(image["stream"].rawdata) for image in page.images]
    (given, mel), (same, nv) = pictures["mel"], pictures["nv"]
    assert np.abs(given - prediction.image).mean() < 4
    assert np.array_equal(given, same)
    assert np.abs(mel - prediction.overlay("mel", 0.5)).mean() < 4
    assert np.abs(nv - prediction.overlay("nv", 0.5)).mean() < 4


def _pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file))).astype(float)


def test_a_refused_image_gets_reasons_and_no_figures(prediction: Prediction, module_run: Run) -> None:
    """Nothing of the answer is on the page, nor in the data, unless somebody insisted."""
    refused = dataclasses.replace(prediction, refusals=(STRANGE,))
    page = opened(pdf_report(refused, module_run, about=dataclasses.replace(ABOUT, impression=None)))
    words = page.extract_text()
    assert "No diagnosis for this image" in words
    assert texts.text(STRANGE) in words
    assert len(page.images) == 1
    assert "%" not in words and not any(diagnosis.name in words for diagnosis in DIAGNOSES)
    data = json_report(refused, module_run)
    assert data["prediction"]["probabilities"] is None and data["heatmap"] is None

    insisted = said(pdf_report(refused, module_run, insisted=True))
    assert tight("these figures do not hold. It does not look like") in insisted and "32.1%" in insisted
    assert json_report(refused, module_run, insisted=True)["prediction"]["diagnosis"] == "mel"


def test_says_what_is_wrong_with_the_image(prediction: Prediction, module_run: Run) -> None:
    """A warning stands in place of the sentence that nothing was found."""
    blurred = dataclasses.replace(prediction.quality, problems=("blurred",))
    words = said(pdf_report(dataclasses.replace(prediction, quality=blurred), module_run))
    assert tight("▲ The image is blurred: fine structures cannot be seen.") in words
    assert tight(texts.text("report_no_problem")) not in words


def test_no_name_of_a_file_goes_in(loaded: Predictor, module_run: Run, tiny_data: Path, tmp_path: Path) -> None:
    """A file's name is often a person's."""
    path = tmp_path / "Jane-Doe-1961.jpg"
    shutil.copy(sorted(tiny_data.rglob("*.jpg"))[0], path)
    found = loaded.predict(path)
    pdf = pdf_report(found, module_run)
    assert b"Jane" not in pdf and b"Doe" not in pdf
    assert "Jane" not in said(pdf) and "Jane" not in json.dumps(json_report(found, module_run))


def test_only_the_time_changes(prediction: Prediction, module_run: Run) -> None:
    """The same report at the same moment is the same file, byte for byte; the time is UTC."""
    first, again = (pdf_report(prediction, module_run, about=ABOUT, moment=MOMENT) for _ in range(2))
    assert first == again
    later = said(pdf_report(prediction, module_run, about=ABOUT, moment=MOMENT + timedelta(seconds=1)))
    assert later == said(first).replace("03:02:01Z", "03:02:02Z")


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_comment_may_hold_anything(
    language: str, prediction: Prediction, module_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters of several scripts are set; what has no letter is a box, and nothing is taken for a command."""
    monkeypatch.setattr(texts, "texts", lambda _: texts_of_english)
    monkeypatch.setattr(report, "texts", lambda _: texts_of_english)
    comment = "a\x00b\r\n{nb} **c** <b>d</b> \\ ( %s \ud800 \u202eevil 病 Ж ÿ \U0001f642 \u0e01 " + "w" * 900
    page = opened(pdf_report(prediction, module_run, language, about=About(comment=comment)))
    assert "a b {nb} **c** <b>d</b> \\ ( %s □ evil 病 Ж ÿ □ □" in page.extract_text()
    for nothing in ("", " \n\t ", "\u202e"):
        opened(pdf_report(prediction, module_run, language, about=About(comment=nothing, site=nothing)))


texts_of_english = texts.texts("en")
CHINESE = {"report_title": "皮肤镜报告", "name_mel": "黑色素瘤", "research_notice": "仅供研究，不作诊断。" * 9}
ARABIC = {"report_title": "تقرير", "name_mel": "ورم جلدي خبيث", "research_notice": "للبحث والتعليم فقط."}


@pytest.fixture
def speaks(monkeypatch: pytest.MonkeyPatch):
    """Let a language say some words of this test."""

    def speak(words: dict[str, str]) -> None:
        for module in (texts, report):
            monkeypatch.setattr(module, "texts", lambda _: texts_of_english | words)

    return speak


def test_chinese_has_its_letters(speaks, prediction: Prediction, module_run: Run) -> None:
    """Every character is there, in a font that is in the file, and a line breaks between characters."""
    speaks(CHINESE)
    pdf = pdf_report(prediction, module_run, "zh", about=About(comment="痒，出血。"))
    words = said(pdf)
    assert "□" not in words
    for piece in (*CHINESE.values(), "痒，出血。"):
        assert tight(piece) in words
    lines = [line["text"] for line in opened(pdf).extract_text_lines()]
    assert not any(line.startswith(("，", "。")) for line in lines)
    outlines = _outlines(pdf)
    assert all(_shaped("NotoSansSC-Bold.ttf", c)[0] in outlines for c in "黑色素瘤皮肤镜报告")
    assert len(pdf) < 600_000


def test_arabic_is_joined_and_runs_from_the_right(speaks, prediction: Prediction, module_run: Run) -> None:
    """Letters have the shapes that they have within words, the page is mirrored, and figures keep their order."""
    speaks(ARABIC)
    pdf = pdf_report(prediction, module_run, "ar", moment=MOMENT)
    outlines = _outlines(pdf)
    word = _shaped("NotoSansArabic-Bold.ttf", ARABIC["report_title"])
    alone = [outline for letter in ARABIC["report_title"] for outline in _shaped("NotoSansArabic-Bold.ttf", letter)]
    assert set(word) <= outlines
    assert set(alone) - set(word) and not (set(alone) - set(word)) <= outlines
    page = opened(pdf)
    title = [char for char in page.chars if char["size"] > 14 and char["top"] < 20 * MM]
    assert max(char["x1"] for char in title) == pytest.approx(page.width - 14 * MM, abs=2)
    assert "".join(c["text"] for c in sorted(title, key=lambda c: -c["x0"])) == ARABIC["report_title"]
    assert "<0.1%" in page.extract_text() and "2031-05-04T03:02:01Z" in page.extract_text()
    given, heat = page.images
    assert given["x0"] > heat["x0"], "one reads from the image to its heatmap"


def _outlines(pdf: bytes) -> set[bytes]:
    """The contours of all letters that the fonts within a PDF hold."""
    found = set()
    with pdfplumber.open(io.BytesIO(pdf)) as document:
        for font in resolve_all(document.pages[0].page_obj.resources["Font"]).values():
            file = font["DescendantFonts"][0]["FontDescriptor"]["FontFile2"]
            found |= set(_contours(TTFont(io.BytesIO(file.get_data()))))
    return found


def _contours(font: TTFont) -> list[bytes]:
    glyphs = font["glyf"]
    return [bytes(np.array(glyphs[g].getCoordinates(glyphs)[0], np.int32)) for g in font.getGlyphOrder()]


def _shaped(file: str, words: str) -> list[bytes]:
    """The contours that words are set with, as HarfBuzz says."""
    buffer = uharfbuzz.Buffer()
    buffer.add_str(words)
    buffer.guess_segment_properties()
    uharfbuzz.shape(uharfbuzz.Font(uharfbuzz.Face(uharfbuzz.Blob.from_file_path(sheet.FONTS / file))), buffer)
    contours = _all_contours(file)
    return [contours[glyph.codepoint] for glyph in buffer.glyph_infos if contours[glyph.codepoint]]


@cache
def _all_contours(file: str) -> list[bytes]:
    with TTFont(sheet.FONTS / file) as font:
        return _contours(font)


@pytest.mark.parametrize("language", SPOKEN)
def test_every_text_of_a_language_can_be_set(language: str) -> None:
    """No text holds a character that the fonts lack."""
    lacking = {c for words in texts.texts(language).values() for c in sheet.plain(words) if c == sheet.BOX}
    assert not lacking


def test_data_beside_the_page(prediction: Prediction, module_run: Run) -> None:
    """The side file holds the same, for programs."""
    data = json.loads(json.dumps(json_report(prediction, module_run, about=ABOUT, moment=MOMENT), allow_nan=False))
    assert data["notice"] == texts.text("research_notice")
    assert data["synthetic_notice"] == texts.text("synthetic_notice")
    assert data["prediction"] == prediction.to_dict()
    assert data["heatmap"] == "mel"
    assert data["about"] == dataclasses.asdict(ABOUT)
    assert data["provenance"]["time"] == "2031-05-04T03:02:01Z"
    assert data["provenance"]["model_sha256"] == module_run.manifest()["model_sha256"]


def test_another_run_is_not_named(prediction: Prediction, module_run: Run) -> None:
    """A report cannot vouch for a run that did not answer, nor show a heatmap of nothing."""
    with pytest.raises(RunError, match="names the run that answered"):
        pdf_report(dataclasses.replace(prediction, run_id="another"), module_run)
    with pytest.raises(ValueError, match="Received: 'wart'"):
        pdf_report(prediction, module_run, chosen="wart")
