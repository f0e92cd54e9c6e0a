"""The clinician's whole way in a browser, in three languages, on a laptop's and a phone's screen."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.cases.log import CaseLog
from core.runs.all_runs import CURRENT, promote
from dashboard.clinic.texts import LANGUAGES, text

UPLOAD = "#image input[type=file]"
AGE = "#age textarea, #age input"
WAYS = [("en-GB", "en", 1366), ("de-DE", "de", 390), ("ar", "ar", 1366), ("ar", "ar", 390)]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Coloured noise under a name that must be found nowhere."""
    noise = np.random.default_rng(11).integers(60, 220, (9, 13, 3)).astype(np.uint8)
    path = tmp_path / "Secretname-Maria.jpg"
    Image.fromarray(noise).resize((390, 270)).save(path)
    return path


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[1]}-{way[2]}")
def way(request, browser, clinic) -> Iterator:
    """A tab of a browser that speaks a language, and that language."""
    locale, language, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 844}, locale=locale, accept_downloads=True)
    tab = context.new_page()
    tab.goto(clinic.address)
    tab.wait_for_function("said => document.querySelector('#assess')?.innerText === said", arg=text("assess", language))
    yield tab, language
    context.close()


def say(key: str, language: str, **values: object) -> str:
    return text(key, language, **values)


def unfold(tab, part: str, field: str) -> None:
    """Open a folded part of the page. A frame after its fields appear, Gradio writes to each what it held before: what
    was typed within that frame, as only a test can, is gone."""
    tab.click(f"{part} button >> nth=0")
    tab.wait_for_selector(field)
    tab.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_from_image_to_report_with_the_own_impression_first(way, clinic, photo):
    tab, language = way
    expected = clinic.predictor.predict(photo)
    assert tab.evaluate("document.documentElement.dir") == ("rtl" if language == "ar" else "ltr")
    assert say("research_notice", language) in tab.inner_text("body")
    assert tab.inner_text("#assess") == say("assess", language)
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    tab.check("#own-first input")
    unfold(tab, "#keep-case", "#comment textarea")
    tab.set_input_files(UPLOAD, photo)
    tab.wait_for_selector(".dl-impression")
    assert "%" not in tab.inner_text("#answer"), "the answer is not given away"
    assert not tab.query_selector("#heat img") and not tab.query_selector("#similar img")
    tab.click("[data-impression=bkl]")
    tab.wait_for_selector("#answer .dl-diagnosis")
    tab.wait_for_selector("#heat .dl-heat")
    answer = tab.inner_text("#answer")
    assert say(f"name_{expected.code}", language) in tab.inner_text("#answer .dl-diagnosis")
    assert say("impression_was", language, name=say("name_bkl", language)) in answer
    last = expected.ranked()[6][0].code
    tab.click(f"#answer [data-code={last}]")
    tab.wait_for_selector(f"#answer [data-code={last}][aria-pressed=true]")
    assert say(f"name_{last}", language) in tab.get_attribute("#heat .dl-heat", "alt")
    tab.wait_for_selector("#similar .dl-example")
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "no sideways scrolling"

    with tab.expect_download() as taken:
        tab.click("#take-pdf")
    assert Path(taken.value.path()).read_bytes()[:5] == b"%PDF-"
    with tab.expect_download() as taken:
        tab.click("#take-json")
    data = json.loads(Path(taken.value.path()).read_text())
    assert "Secretname" not in json.dumps(data)
    assert say("research_notice", language) in json.dumps(data, ensure_ascii=False)

    stored = tab.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "Secretname" not in stored and "data:image" not in stored, "the browser keeps nothing"
    before = {case.id for case in CaseLog().cases()}
    tab.fill("#comment textarea", "a note")
    tab.click("#keep")
    tab.wait_for_selector("#kept .dl-note")
    (kept,) = [case for case in CaseLog().cases() if case.id not in before]
    assert (kept.own_impression, kept.comment, kept.run) == ("bkl", "a note", clinic.run.id)
    assert kept.prediction["diagnosis"] == expected.code
    assert kept.id[:12] in tab.inner_text("#kept")
    tab.click("#forget")
    tab.wait_for_function("said => document.querySelector('#kept').innerText.includes(said)",
                          arg=say("forgotten", language))  # fmt: skip
    assert kept.id not in {case.id for case in CaseLog().cases()}


def test_a_comment_outlives_the_answer_and_not_the_image(browser, clinic, photo):
    tab = browser.new_page(viewport={"width": 1366, "height": 844}, locale="en-US")
    tab.goto(clinic.address)
    unfold(tab, "#keep-case", "#diagnosis input")
    unfold(tab, "#about", AGE)
    tab.fill(AGE, "61")
    tab.set_input_files(UPLOAD, photo)
    tab.wait_for_selector("#answer [aria-busy], #answer .dl-diagnosis")
    tab.fill("#comment textarea", "typed while the image was being assessed")
    tab.click("#diagnosis input")
    tab.click("ul[role=listbox] >> text=" + say("name_bkl", "en"))
    tab.wait_for_selector("#similar .dl-example")
    assert tab.input_value("#comment textarea") == "typed while the image was being assessed"
    assert tab.input_value("#diagnosis input") == say("name_bkl", "en")
    assert tab.input_value(AGE) == "61", "entered before the first image, it is of that image's person"
    tab.click(".dl-example >> nth=0")
    tab.wait_for_function("document.querySelector('#comment textarea').value === ''")
    assert tab.input_value("#diagnosis input") in ("", say("no_diagnosis", "en"))
    assert tab.input_value(AGE) == "", "the next image may be of somebody else"
    tab.close()


def test_the_language_can_be_switched_with_an_answer_on_the_page(browser, clinic, photo):
    tab = browser.new_page(viewport={"width": 1366, "height": 844}, locale="en-US")
    tab.goto(clinic.address)
    tab.wait_for_selector("#answer .dl-headline")
    tab.set_input_files(UPLOAD, photo)
    tab.wait_for_selector("#answer .dl-diagnosis")
    spoken = clinic.predictor.predict(photo).code
    (clinic.run.folder.parent / CURRENT).unlink()  # taken out of service meanwhile
    for language in (*LANGUAGES[1:], "en"):
        tab.click("#language input")
        tab.click(f"ul[role=listbox] >> text={say('language', language)}")
        tab.wait_for_function("said => document.querySelector('#answer .dl-diagnosis')?.innerText === said",
                              arg=say(f"name_{spoken}", language))  # fmt: skip
        assert tab.evaluate("document.documentElement.lang") == language
        assert say("research_notice", language) in tab.inner_text("body")
        assert say("synthetic_notice", language) in tab.inner_text("body")
        assert say("provenance", language, run=clinic.run.id) in tab.inner_text("body")
    promote(clinic.run)
    tab.close()


def test_several_images_give_a_table_to_take_away(browser, clinic, photo, tmp_path):
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(photo.read_bytes()[:500])
    tab = browser.new_page(viewport={"width": 1366, "height": 844}, locale="en-US")
    tab.goto(clinic.address)
    tab.click("button[role=tab] >> nth=1")
    tab.set_input_files("#files input[type=file]", [photo, damaged])
    tab.wait_for_selector("#files >> text=damaged")
    tab.click("#assess-many")
    tab.wait_for_selector("#table tbody tr")
    rows = [row.inner_text() for row in tab.query_selector_all("#table tbody tr")]
    assert say(f"name_{clinic.predictor.predict(photo).code}", "en") in rows[0]
    assert "damaged" in rows[1] and "Received" in rows[1]
    told = tab.inner_text("#table")
    assert clinic.predictor.predict(photo).run_id in told, "which run answered: another may be served since"
    assert say("synthetic_notice", "en") in told
    tab.click("#language input")
    tab.click(f"ul[role=listbox] >> text={say('language', 'de')}")
    tab.wait_for_selector(f"#table >> text={say('column_remark', 'de')}")
    assert len(tab.query_selector_all("#table tbody tr")) == 2, "another language takes no answer away"
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.wait_for_function("document.documentElement.scrollWidth <= 390")
    tab.set_viewport_size({"width": 1366, "height": 844})
    with tab.expect_download() as taken:
        tab.click("#take-csv")
    lines = Path(taken.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 3 and all("research and education" in line for line in lines[1:])
    with tab.expect_download() as taken:
        tab.click("#take-zip")
    assert Path(taken.value.path()).read_bytes()[:2] == b"PK"
    tab.close()
