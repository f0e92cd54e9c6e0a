"""The dashboard as people meet it: a server of its own, and Chromium."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from core.diagnoses import CODES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.places import PROJECT
from core.runs.run import Run

PAGES = {
    "": "Overview",
    "dataset": "Data set",
    "training": "Training",
    "evaluation": "Evaluation",
    "gallery": "Gallery",
    "explain": "Explain",
    "retrain": "Retrain",
}
MATRIX = ".st-key-evaluation_matrix_test .js-plotly-plot"
CARDS = "[class*=st-key-card_]"


@pytest.fixture(scope="module")
def address(module_run: Run, tmp_path_factory: pytest.TempPathFactory, when_it_answers: Callable) -> Iterator[str]:
    """Where a dashboard answers that serves the tiny run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "dashboard/app.py", "--server.port", str(port)]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    environment = dict(os.environ) | {"DERMLENS_RUNS": str(module_run.folder.parent)}
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=output, stderr=output)
    try:
        yield when_it_answers(f"http://127.0.0.1:{port}", server, log)
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture
def page(browser, address: str) -> Iterator:
    """A page of a browser that fails the test on an error in its scripts or a request to elsewhere."""
    context = browser.new_context(viewport={"width": 1366, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if _foreign(request.url, address) else None)
    yield page
    context.close()
    assert not faults


def _foreign(url: str, address: str) -> bool:
    return not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))


def settled(page) -> None:
    """Wait until the server has drawn everything."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")


@pytest.mark.parametrize("path", PAGES)
def test_each_page_opens_with_its_notices_and_without_an_error(path: str, page, address: str) -> None:
    page.goto(f"{address}/{path}")
    page.wait_for_selector(f"h1:has-text('{PAGES[path]}')")
    settled(page)
    body = page.inner_text("[data-testid=stMain]")
    assert RESEARCH_NOTICE in body and SYNTHETIC_NOTICE in body
    assert page.locator("[data-testid=stException]").count() == 0
    assert page.locator("[data-testid=stAlertContentError]").count() == 0


@pytest.mark.parametrize("width", [1366, 390])
def test_no_page_is_wider_than_its_window(width: int, page, address: str) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    for path, title in PAGES.items():
        page.goto(f"{address}/{path}")
        page.wait_for_selector(f"h1:has-text('{title}')")
        settled(page)
        wide = page.evaluate(
            "() => { const main = document.querySelector('[data-testid=stMain]');"
            " return main.scrollWidth - main.clientWidth }"
        )
        assert wide <= 0, title


def _cells(run: Run) -> list[tuple[int, int, int]]:
    """Up to three cells of the matrix that hold images: row, column, how many; mistakes first."""
    counts = run.metrics()["test"]["confusion"]["counts"]
    filled = [(r, c, counts[r][c]) for r in range(7) for c in range(7) if counts[r][c]]
    return sorted(filled, key=lambda cell: (cell[0] == cell[1], cell))[:3]


def test_a_click_on_a_cell_of_the_matrix_shows_exactly_its_images(page, address: str, tiny_run: Run) -> None:
    for row, column, count in _cells(tiny_run):
        page.goto(f"{address}/evaluation")
        page.wait_for_selector(f"{MATRIX} .nsewdrag", state="attached")
        settled(page)
        page.locator(MATRIX).scroll_into_view_if_needed()
        page.wait_for_timeout(500)  # Plotly draws once more when it has its final width
        box = page.locator(f"{MATRIX} .nsewdrag").first.bounding_box()
        # near the corner of the cell, not on the invisible square in its middle: all of a cell can be clicked
        x, y = box["x"] + box["width"] * (column + 0.85) / 7, box["y"] + box["height"] * (row + 0.8) / 7
        page.mouse.move(x - 2, y)
        page.wait_for_timeout(150)
        page.mouse.click(x, y)
        page.wait_for_selector("h1:has-text('Gallery')")
        settled(page)
        page.locator(f"{CARDS} >> text=/SYN_\\d+/").first.wait_for()  # a card is there before its words are
        number = "1 image" if count == 1 else f"{count} images"
        assert page.locator(f"text=/^{number}/").count() == 1
        assert page.locator(CARDS).count() == min(count, 12)
        shown = set(re.findall(r"SYN_\d+", page.inner_text("[data-testid=stMain]")))
        table = tiny_run.predictions()
        rows = table[(table["dx"] == CODES[row]) & (table["predicted"] == CODES[column]) & (table["split"] == "test")]
        assert shown <= set(rows["image_id"]) and len(shown) == min(count, 12)


def test_the_gallery_gets_its_heatmaps_and_leads_to_the_explanation(page, address: str) -> None:
    page.goto(f"{address}/gallery?answers=Right")
    page.wait_for_selector(f"{CARDS} img >> nth=1")
    settled(page)
    cards = page.locator(CARDS)
    expect(page.locator(f"{CARDS} img")).to_have_count(2 * cards.count())  # the image, and its heatmap
    link = cards.first.get_by_role("button", name=re.compile("SYN_"))
    name = re.findall(r"SYN_\d+", link.inner_text())[0]
    link.click()
    page.wait_for_selector("h1:has-text('Explain')")
    settled(page)
    expect(page.get_by_label("Image id")).to_have_value(name, timeout=20_000)


def test_an_upload_is_answered_with_seven_confidences(page, address: str, tiny_data: Path) -> None:
    page.goto(f"{address}/explain")
    page.get_by_text("Upload", exact=True).click()
    page.locator("input[type=file]").set_input_files(next(tiny_data.glob("images/*.jpg")))
    page.wait_for_selector(".st-key-explain_bars .js-plotly-plot")
    settled(page)
    assert page.locator("[data-testid=stImage] img").count() >= 2
    assert page.locator(".st-key-explain_bars .point").count() == len(CODES)


def test_a_file_that_is_no_image_is_refused_in_words(page, address: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    page.goto(f"{address}/explain")
    page.get_by_text("Upload", exact=True).click()
    page.locator("input[type=file]").set_input_files(broken)
    page.wait_for_selector("text=An image must be JPEG")
    assert page.locator("[data-testid=stException]").count() == 0
