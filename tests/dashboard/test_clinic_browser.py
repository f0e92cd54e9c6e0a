"""The clinician's page in a browser: upload, read, choose a diagnosis; no old answer beside a new image."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.diagnoses import CODES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.similar import run_images

UPLOAD = "#image input[type=file]"


@pytest.fixture
def tab(browser, clinic) -> Iterator:
    """A tab with the page, and what it asked of other hosts in `tab.strangers`."""
    tab = browser.new_page(viewport={"width": 1366, "height": 768})
    tab.strangers = []
    tab.on("request", lambda request: tab.strangers.append(request.url))
    tab.goto(clinic.address)
    tab.wait_for_selector(".dl-synthetic")
    yield tab
    tab.close()


def picture(path: Path, seed: int) -> Path:
    """A turned JPEG of coloured noise: not square."""
    noise = np.random.default_rng(seed).integers(60, 220, (9, 13, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).resize((130, 90)).save(path, exif=exif)
    return path


def shown_shares(tab) -> dict[str, float]:
    """The bars' lengths, 0 to 1."""
    bars = tab.query_selector_all("#answer .dl-bar")
    widths = [float(re.search(r"width:\s*([\d.]+)%", bar.inner_html())[1]) / 100 for bar in bars]
    return {bar.get_attribute("data-code"): width for bar, width in zip(bars, widths, strict=True)}


def test_upload_shows_seven_bars_and_a_heatmap(tab, clinic, tmp_path):
    path = picture(tmp_path / "lesion.jpg", 1)
    expected = clinic.predictor.predict(path)
    tab.set_input_files(UPLOAD, path)
    tab.wait_for_selector("#answer .dl-diagnosis")
    tab.wait_for_selector("#heat img")
    shares = shown_shares(tab)
    assert list(shares) == [diagnosis.code for diagnosis, _ in expected.ranked()]
    assert [shares[code] for code in CODES] == pytest.approx(expected.probabilities.tolist(), abs=6e-5)
    body = tab.inner_text("body")
    assert RESEARCH_NOTICE in body
    assert SYNTHETIC_NOTICE in body

    first = tab.get_attribute("#heat .dl-heat", "src")
    tab.click("#answer .dl-bar >> nth=6")
    tab.wait_for_function("old => document.querySelector('#heat .dl-heat')?.src !== old", arg=first)
    assert expected.ranked()[6][0].name in tab.inner_text("#evidence")
    own = re.compile(r"http://(127\.0\.0\.1|localhost)[:/]|data:|blob:")
    assert [url for url in tab.strangers if not own.match(url)] == []


def test_damaged_file_takes_the_old_answer_away(tab, tmp_path):
    tab.set_input_files(UPLOAD, picture(tmp_path / "first.jpg", 2))
    tab.wait_for_selector("#heat img")
    tab.click("#image button[aria-label*='lear'], #image button[aria-label*='emove']")
    tab.wait_for_selector("#answer .dl-waiting")
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(picture(tmp_path / "whole.jpg", 3).read_bytes()[:600])
    tab.set_input_files(UPLOAD, damaged)
    tab.wait_for_selector("#answer .dl-problem")
    assert "damaged.jpg" in tab.inner_text("#answer")
    assert tab.query_selector("#heat img") is None
    assert tab.query_selector("#answer .dl-diagnosis") is None


def test_example_answers_like_its_file(tab, clinic):
    (code, path), *_ = run_images(clinic.run).examples()
    expected = clinic.predictor.predict(path)
    tab.click(".dl-example >> nth=0")
    tab.wait_for_selector("#answer .dl-diagnosis")
    shares = shown_shares(tab)
    assert [shares[code] for code in CODES] == pytest.approx(expected.probabilities.tolist(), abs=6e-5)


def test_a_refused_image_is_shown_only_on_request(tab, clinic, tmp_path):
    clinic.refuse_above(-1e9)
    try:
        tab.set_input_files(UPLOAD, picture(tmp_path / "holiday.jpg", 7))
        tab.wait_for_selector("#answer .dl-refused")
        assert tab.query_selector("#answer .dl-diagnosis") is None and tab.query_selector("#heat img") is None
        tab.wait_for_timeout(300)  # who insists has read it: a click before the page is still can be lost
        tab.click("#answer .dl-insist")
        tab.wait_for_selector("#answer .dl-diagnosis")
        tab.wait_for_selector("#heat img")
        assert "figures do not hold" in tab.inner_text("#answer")
    finally:
        clinic.refuse_above(1e9)


def test_two_tabs_keep_their_own_answers(tab, browser, clinic, tmp_path):
    """Two people at once: what one chooses draws on that one's image."""
    other = browser.new_page()
    other.goto(clinic.address)
    other.wait_for_selector(".dl-synthetic")
    for page, seed in ((tab, 4), (other, 5)):
        page.set_input_files(UPLOAD, picture(tmp_path / f"{seed}.jpg", seed))
        page.wait_for_selector("#heat img")
    before = shown_shares(tab), shown_shares(other)
    assert before[0] != before[1]
    tab.click("#answer .dl-bar >> nth=5")
    tab.wait_for_selector("#answer .dl-bar:nth-child(6)[aria-pressed=true]")
    assert (shown_shares(tab), shown_shares(other)) == before
    other.close()


def test_phone_needs_no_sideways_scrolling(browser, clinic):
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    phone.goto(clinic.address)
    phone.wait_for_selector(".dl-synthetic")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.evaluate("window.scrollTo(0, 900)")
    assert phone.evaluate("document.querySelector('.dl-notices').getBoundingClientRect().top") >= 0, "always visible"
    phone.close()
